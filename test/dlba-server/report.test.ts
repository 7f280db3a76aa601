/** What a worker tells of itself, with real connections. */
import assert from "node:assert/strict";
import { once } from "node:events";
import { connect, type Socket } from "node:net";
import { after, test } from "node:test";
import { isDeepStrictEqual } from "node:util";
import { arrayKeyOf } from "../../conf/keys.ts";
import { SESSIONS_PER_WORKER } from "../../conf/limits.ts";
import { configSchema } from "../../conf/schema.ts";
import { createServices } from "../../dlba-server/vservers.ts";
import { connectionsReport } from "../../dlba-server/connections-report.ts";
import { workerReport } from "../../dlba-server/report.ts";
import { exchange, freePort, readAll, startRig, until, webServer } from "./engine/rig.ts";

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

const request = (path: string): string => `GET ${path} HTTP/1.1\r\nHost: a\r\n`;

test("bytes, requests and responses are counted by vserver and by web server, and so is how connections are used", async () => {
  const text = "x".repeat(5000);
  const app = await webServer((request, response) => {
    response.statusCode = request.url === "/none" ? 404 : 200;
    response.end(text);
  });
  const dead = await freePort();
  const rig = await startRig({ serverPorts: [dead, app.port], pool: { balance: "first" } });
  try {
    const close = "Connection: close\r\n\r\n";
    await exchange(rig.httpPort, `${request("/")}\r\n${request("/none")}${close}`);
    const refused = await exchange(rig.httpPort, "nonsense\r\n\r\n");
    assert.match(refused, / 400 /);
    const report = workerReport(rig.worker);
    const [served, ...others] = report.vservers;
    assert.ok(served !== undefined);
    assert.deepEqual(others, []);
    const sent = request("/").length + 2 + request("/none").length + close.length + "nonsense\r\n\r\n".length;
    assert.deepEqual(
      { ...served, bytes_out: 0, open_connections: 0, most_open_connections: 0 },
      {
        name: "plain",
        open_connections: 0,
        most_open_connections: 0,
        accepted: 2,
        requests: 3,
        bytes_in: sent,
        bytes_out: 0,
        own_answers: 1,
        refused_requests: 1,
        client_aborts: 0,
        server_aborts: 0,
        responses: [0, 0, 1, 0, 2, 0],
      },
    );
    assert.ok(served.bytes_out > 2 * text.length && served.bytes_out < 2 * text.length + 1500);
    assert.ok(served.most_open_connections >= 1);
    const [gone, web] = report.web_servers;
    assert.ok(gone !== undefined && web !== undefined);
    assert.deepEqual([gone.hits, gone.connects, gone.redispatches, gone.retries], [0, 1, 1, 0]);
    assert.deepEqual([web.hits, web.connects, web.reuses, web.retries], [2, 1, 1, 1]);
    assert.deepEqual([web.responses, web.active_requests], [[0, 0, 1, 0, 1, 0], 0]);
    assert.equal(web.most_active_requests, 1);
    assert.ok(web.bytes_in > sent / 2 && web.bytes_out > 2 * text.length);
  } finally {
    app.server.close();
    await rig.stop();
  }
});

test("who breaks a request off is counted", async () => {
  const app = await webServer((request, response) => {
    response.writeHead(200, { "Content-Length": 1_000_000 });
    response.write("the beginning");
    if (request.url === "/cut") setImmediate(() => response.destroy());
  });
  const rig = await startRig({ serverPorts: [app.port] });
  try {
    const client = await opened(rig.httpPort);
    client.write("GET /lost HTTP/1.1\r\nHost: a\r\n\r\n");
    await once(client, "data");
    client.resetAndDestroy();
    const cut = await opened(rig.httpPort);
    cut.resume().write("GET /cut HTTP/1.1\r\nHost: a\r\n\r\n");
    const aborts = (): unknown => {
      const { vservers, web_servers } = workerReport(rig.worker);
      return [...vservers, ...web_servers].map(({ client_aborts, server_aborts }) => [
        client_aborts,
        server_aborts,
      ]);
    };
    await until(
      () =>
        isDeepStrictEqual(aborts(), [
          [1, 1],
          [1, 1],
        ]),
      "both are counted",
    );
  } finally {
    app.server.close();
    await rig.stop();
  }
});

test("a worker tells of its client connections, and of no more than a bounded number", async () => {
  const held: (() => void)[] = [];
  const slow = await webServer((_request, response) => void held.push(() => response.end("done")));
  const rig = await startRig({ serverPorts: [slow.port] });
  try {
    const client = await opened(rig.httpPort);
    client.write("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    await until(() => held.length === 1, "the request");
    const tls = await opened(rig.httpsPort);
    await until(() => rig.worker.clients.size === 2, "both");
    const { total, connections } = connectionsReport(rig.worker);
    assert.equal(total, 2);
    assert.deepEqual(
      connections.map(({ vserver, phase, pool, web_server, is_tls }) => [
        vserver,
        phase,
        pool,
        web_server,
        is_tls,
      ]),
      [
        ["plain", "responseHead", "app", "web1", false],
        ["tls", "handshake", null, null, true],
      ],
    );
    assert.ok(connections.every(({ phase_ms, silent_ms }) => phase_ms >= 0 && silent_ms >= 0));
    assert.equal(connections[0]!.client_port, client.localPort);
    const [one] = rig.worker.clients;
    const many = new Set(Array.from({ length: 5000 }, () => Object.assign({}, one)));
    assert.equal(connectionsReport({ ...rig.worker, clients: many }).connections.length, SESSIONS_PER_WORKER);
    tls.destroy();
    client.destroy();
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
  const services = createServices(config, config.nodes[0]!, arrayKeyOf(Buffer.alloc(32, 7)));
  assert.deepEqual(
    [services.vservers, services.pools].map((list) =>
      list.map((each) => ("runtime" in each ? each.runtime.name : each.name)),
    ),
    [["web"], ["web"]],
  );
});
