/** Who a client is by the PROXY protocol: told by a load balancer in front, and told to the web servers. */
import assert from "node:assert/strict";
import { once } from "node:events";
import { readFileSync } from "node:fs";
import { connect, type Socket } from "node:net";
import { type TestContext, test } from "node:test";
import { connect as connectTls } from "node:tls";
import { readProxyHeader } from "../../../dlba-server/proxy-header.ts";
import { exchange, rawServer, readAll, type Rig, type RigOptions, startRig, webServer } from "./rig.ts";

const REQUEST = "GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";
const V1 = "PROXY TCP4 192.0.2.7 198.51.100.1 40000 443\r\n";
const IPV6 = "\x20\x01\x0d\xb8" + "\0".repeat(11);
const V2 = `\r\n\r\n\0\r\nQUIT\n\x21\x21\0\x24${IPV6}\x07${IPV6}\x01\x9c\x40\x01\xbb`;
const LOCAL = "\r\n\r\n\0\r\nQUIT\n\x20\0\0\0";
/** What has not been read makes a close a reset. */
const NOTHING = /^(?:<read ECONNRESET>)?$/;
const bytes = (text: string): Buffer => Buffer.from(text, "latin1");

/** A worker behind a load balancer, and what its web server takes clients for. */
async function behind(t: TestContext, options: Partial<RigOptions> = {}): Promise<Rig> {
  const { server, port } = await webServer((request, response) =>
    response.end(`for ${String(request.headers["x-forwarded-for"])}`),
  );
  const vserver = { proxy_protocol_from: ["127.0.0.1/32"], ...options.vserver };
  const rig = await startRig({ serverPorts: [port], ...options, vserver });
  t.after(async () => {
    await rig.stop();
    server.close();
  });
  return rig;
}

test("a request comes from whom the header names, however it is cut", async (t) => {
  const rig = await behind(t);
  for (const [header, client] of [
    [V1, "192.0.2.7"],
    [V2, "2001:db8::7"],
    [LOCAL, "127.0.0.1"],
    ["PROXY UNKNOWN\r\n", "127.0.0.1"],
  ] as const) {
    assert.match(await exchange(rig.httpPort, bytes(header + REQUEST)), new RegExp(`for ${client}$`));
    const socket = connect(rig.httpPort, "127.0.0.1").setNoDelay(true);
    const answer = readAll(socket);
    await once(socket, "connect");
    for (const byte of bytes(header)) {
      socket.write(Buffer.of(byte));
      await new Promise((resolve) => setImmediate(resolve));
    }
    socket.write(REQUEST);
    assert.match(await answer, new RegExp(`for ${client}$`));
  }
});

function overTls(socket: Socket, ca: string): Promise<string> {
  const secure = connectTls({ socket, ca: readFileSync(ca), servername: "localhost" });
  secure.write(REQUEST);
  return readAll(secure);
}

test("over TLS the header comes first, and TLS begins at the byte behind it", async (t) => {
  const rig = await behind(t);
  const socket = connect(rig.httpsPort, "127.0.0.1");
  socket.write(bytes(V2));
  assert.match(await overTls(socket, rig.ca), /for 2001:db8::7$/);
});

test("a trusted proxy is trusted by the address that the header names", async (t) => {
  const rig = await behind(t, { vserver: { trusted_proxies: ["192.0.2.7/32"] } });
  const request = REQUEST.replace("Host: a", "Host: a\r\nX-Forwarded-For: 203.0.113.9");
  assert.match(await exchange(rig.httpPort, bytes(V1 + request)), /for 203\.0\.113\.9, 192\.0\.2\.7$/);
  assert.match(await exchange(rig.httpPort, bytes(V2 + request)), /for 2001:db8::7$/);
});

test("what begins without a header, or ends before it, is closed without an answer, and counted", async (t) => {
  const rig = await behind(t);
  assert.match(await exchange(rig.httpPort, REQUEST), NOTHING);
  const socket = connect(rig.httpPort, "127.0.0.1");
  socket.end("PROXY TCP4 192");
  assert.match(await readAll(socket), NOTHING);
  assert.equal(rig.worker.counters.proxy_failures, 2);
});

test("a header that never comes is waited for as long as a request is", async (t) => {
  const rig = await behind(t, { timeouts: { request_head_ms: 100 } });
  const socket = connect(rig.httpPort, "127.0.0.1");
  socket.write("PROXY ");
  assert.match(await readAll(socket), NOTHING);
});

test("who is no load balancer begins with a request, and his header is a bad one", async (t) => {
  const rig = await behind(t, { vserver: { proxy_protocol_from: ["192.0.2.0/24"] } });
  assert.match(await exchange(rig.httpPort, REQUEST), /for 127\.0\.0\.1$/);
  assert.match(await exchange(rig.httpPort, bytes(V1 + REQUEST)), /^HTTP\/1\.1 400 /);
});

test("web servers are told who the client is, on a connection of its own for each request", async (t) => {
  for (const send_proxy of ["v1", "v2"]) {
    const heads: Buffer[] = [];
    const { server, port } = await rawServer((socket) =>
      socket.once("data", (data) => {
        heads.push(data);
        socket.write("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
      }),
    );
    const rig = await behind(t, { serverPorts: [port], pool: { send_proxy } });
    const socket = connect(rig.httpPort, "127.0.0.1");
    const request = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";
    socket.write(bytes(V1 + request + request.replace("Host", "Connection: close\r\nHost")));
    const answers = await readAll(socket);
    server.close();
    assert.equal(answers.match(/\r\n\r\nok/g)?.length, 2);
    assert.equal(heads.length, 2);
    for (const head of heads) {
      const header = readProxyHeader(head);
      assert.ok(typeof header !== "string");
      assert.deepEqual(header.source, { address: "192.0.2.7", port: 40_000 });
      assert.match(head.toString("latin1", header.length), /^GET \/ HTTP\/1\.1\r\n/);
      assert.equal(head.toString("latin1", 0, 6), send_proxy === "v1" ? "PROXY " : "\r\n\r\n\0\r");
    }
  }
});
