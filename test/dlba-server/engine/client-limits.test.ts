/** What one client may have of a vserver: connections, and heads and bodies within the vserver's own bounds. */
import assert from "node:assert/strict";
import { once } from "node:events";
import { connect, type Socket } from "node:net";
import { after, describe, test } from "node:test";
import {
  addConnection,
  clientKey,
  createClientConnections,
  dropConnection,
} from "../../../dlba-server/rules/client-connections.ts";
import { exchange, readAll, startRig, until, webServer } from "./rig.ts";

const server = await webServer((_, response) => response.end("ok"));
after(() => server.server.close());

describe("connections are counted by client", () => {
  test("an IPv4 address, or a /64 of IPv6", () => {
    assert.equal(clientKey("192.0.2.1"), "192.0.2.1");
    assert.equal(clientKey("2001:db8::1"), clientKey("2001:db8:0:0:ffff::2"));
    assert.notEqual(clientKey("2001:db8::1"), clientKey("2001:db8:0:1::1"));
  });

  test("and forgotten when they are gone", () => {
    const counts = createClientConnections(2, 0);
    const verdicts = Array.from({ length: 5 }, () => addConnection(counts, "a"));
    assert.deepEqual(verdicts, ["served", "served", "answered", "answered", "refused"]);
    assert.equal(addConnection(counts, "b"), "served");
    for (let i = 0; i < 4; i++) dropConnection(counts, "a");
    assert.equal(addConnection(counts, "a"), "served");
    for (const client of ["a", "a", "b"]) dropConnection(counts, client);
    assert.equal(counts.counts.size, 0);
  });
});

const GET = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";

/** However long a connection waits here for its turn, it is still there. */
const PATIENT = { request_head_ms: 600_000, keep_alive_ms: 600_000 };

async function open(port: number): Promise<Socket> {
  const socket = connect(port, "127.0.0.1");
  socket.on("error", () => {});
  await once(socket, "connect");
  return socket;
}

test("connections beyond a client's are answered and closed, those far beyond closed at once", async (t) => {
  const rig = await startRig({
    serverPorts: [server.port],
    vserver: { max_connections_per_client: 2 },
    timeouts: PATIENT,
  });
  t.after(rig.stop);
  const held = [await open(rig.httpPort), await open(rig.httpPort)];
  await until(() => rig.worker.clients.size === 2, "two are there");
  const beyond = [await open(rig.httpPort), await open(rig.httpPort)];
  await until(() => rig.worker.clients.size === 4, "four are there");
  assert.equal(await readAll(connect(rig.httpPort, "127.0.0.1")), "");
  for (const socket of beyond) {
    socket.write(GET);
    assert.match(await readAll(socket), /^HTTP\/1\.1 429 [^]*Retry-After: \d+\r\n[^]*Connection: close\r\n/);
  }
  await until(() => rig.worker.clients.size === 2, "those beyond are gone");
  held[0]!.write(GET);
  const [answer] = (await once(held[0]!, "data")) as [Buffer];
  assert.match(answer.toString(), /^HTTP\/1\.1 200 /);
  for (const socket of held) socket.destroy();
  await until(() => rig.worker.clients.size === 0, "all are gone");
  assert.match(
    await exchange(rig.httpPort, GET.replace("\r\n\r\n", "\r\nConnection: close\r\n\r\n")),
    /^HTTP\/1\.1 200 /,
  );
  await until(
    () => [...rig.worker.vservers].every(({ clientConnections }) => clientConnections?.counts.size === 0),
    "nobody is counted any more",
  );
});

const proxied = (address: string): string => `PROXY TCP4 ${address} 192.0.2.1 4000 80\r\n${GET}`;

test("behind a PROXY header its client is counted", async (t) => {
  const vserver = { max_connections_per_client: 1, proxy_protocol_from: ["127.0.0.0/8"] };
  const rig = await startRig({ serverPorts: [server.port], vserver, timeouts: PATIENT });
  t.after(rig.stop);
  const one = await open(rig.httpPort);
  one.write(proxied("203.0.113.1"));
  await once(one, "data");
  const other = await open(rig.httpPort);
  other.write(proxied("203.0.113.2"));
  const [answer] = (await once(other, "data")) as [Buffer];
  assert.match(answer.toString(), /^HTTP\/1\.1 200 /);
  assert.match(await exchange(rig.httpPort, proxied("203.0.113.1")), /^HTTP\/1\.1 429 /);
  for (const socket of [one, other]) socket.destroy();
});

test("a vserver's own bounds hold instead of those of all", async (t) => {
  const limits = { request_head_bytes: 2048, request_target_bytes: 300, request_body_bytes: 10 };
  const rig = await startRig({
    serverPorts: [server.port],
    vserver: { limits },
    limits: { request_target_bytes: 2000 },
  });
  t.after(rig.stop);
  const rows: [status: string, request: string][] = [
    ["431", `GET / HTTP/1.1\r\nHost: a\r\nX: ${"x".repeat(3000)}\r\n\r\n`],
    ["414", `GET /${"x".repeat(400)} HTTP/1.1\r\nHost: a\r\n\r\n`],
    ["413", "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 11\r\n\r\nhello world"],
    ["200", "POST / HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Length: 5\r\n\r\nhello"],
  ];
  for (const [status, request] of rows) {
    assert.equal((await exchange(rig.httpPort, request)).slice(9, 12), status);
  }
});
