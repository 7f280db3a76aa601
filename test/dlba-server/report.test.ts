/** What a worker tells of itself, with real connections. */
import assert from "node:assert/strict";
import { once } from "node:events";
import { connect, type Socket } from "node:net";
import { after, test } from "node:test";
import { configSchema } from "../../conf/schema.ts";
import { createServices } from "../../dlba-server/vservers.ts";
import { workerReport } from "../../dlba-server/report.ts";
import { exchange, readAll, startRig, until, webServer } from "./engine/rig.ts";

const web = await webServer((_request, response) => void response.end("ok"));
after(() => web.server.close());

async function opened(port: number): Promise<Socket> {
  const socket = connect(port, "127.0.0.1");
  socket.on("error", () => undefined);
  await once(socket, "connect");
  return socket;
}

test("open connections are told by vserver, and vservers without one are left out", async () => {
  const rig = await startRig({ serverPorts: [web.port] });
  const open = (): Readonly<Record<string, number>> => workerReport(rig.worker).open_by_vserver;
  try {
    assert.deepEqual(open(), {});
    const plain = [await opened(rig.httpPort), await opened(rig.httpPort)];
    const tls = await opened(rig.httpsPort);
    await until(() => open()["plain"] === 2 && open()["tls"] === 1, "three connections");
    assert.equal(workerReport(rig.worker).open_connections, 3);
    tls.destroy();
    plain[0]!.resetAndDestroy();
    await until(() => open()["plain"] === 1 && open()["tls"] === undefined, "one connection");
    await exchange(rig.httpPort, "GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
    await until(() => open()["plain"] === 1, "the one connection again");
    plain[1]!.destroy();
    await until(() => Object.keys(open()).length === 0, "no connection");
  } finally {
    await rig.stop();
  }
});

test("a worker accepts until it drains; what is under way then is still told", async () => {
  const held: (() => void)[] = [];
  const slow = await webServer((_request, response) => void held.push(() => response.end("done")));
  const rig = await startRig({ serverPorts: [slow.port] });
  try {
    assert.equal(workerReport(rig.worker).is_accepting, true);
    const client = await opened(rig.httpPort);
    client.write("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    await until(() => held.length === 1, "the request");
    const drained = rig.drain();
    const report = workerReport(rig.worker);
    assert.deepEqual([report.is_accepting, report.open_by_vserver], [false, { plain: 1 }]);
    held[0]!();
    assert.match(await readAll(client), /done$/);
    await drained;
    assert.deepEqual(workerReport(rig.worker).open_by_vserver, {});
  } finally {
    slow.server.close();
    await rig.stop();
  }
});

test("workers have nothing to do with direct pools and what goes to them", () => {
  const config = configSchema.parse({
    array: { name: "a", key_file: "unused" },
    nodes: [{ number: 1, name: "n", address: "192.0.2.1", interface: "eth0" }],
    vservers: [
      { name: "web", vips: ["192.0.2.10"], ports: [80], protocol: "http", pool: "web" },
      { name: "names", vips: ["192.0.2.10"], ports: [53], protocol: "tcp", pool: "names" },
      { name: "mail", vips: ["192.0.2.10"], ports: [25], protocol: "tcp" },
    ],
    pools: [
      { name: "names", scheduling: "direct", servers: [{ id: "n", number: 1, address: "192.0.2.31" }] },
      { name: "web", servers: [{ id: "w", address: "192.0.2.21" }] },
    ],
  });
  const services = createServices(config, config.nodes[0]!, Buffer.alloc(32, 7));
  assert.deepEqual(
    [services.vservers, services.pools].map((list) =>
      list.map((each) => ("runtime" in each ? each.runtime.name : each.name)),
    ),
    [["web"], ["web"]],
  );
});
