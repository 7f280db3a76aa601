/** What a worker does when it has too much: whole-request time-outs, bytes that wait for slow clients. */
import assert from "node:assert/strict";
import { once } from "node:events";
import { connect as connectHttp2 } from "node:http2";
import { connect, type Socket } from "node:net";
import { test } from "node:test";
import { buffered } from "../../../dlba-server/engine/reading.ts";
import { exchange, rawServer, readAll, startRig, until, webServer } from "./rig.ts";

const GET = "GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";

test("a request that takes too long as a whole is ended, however busy everybody was", async () => {
  const timers = new Set<NodeJS.Timeout>();
  // A byte every now and then: no other time-out sees anything wrong.
  const { server, port } = await rawServer((socket) => {
    socket.once("data", () => {
      socket.write("HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n");
      const timer = setInterval(() => socket.write("x"), 20);
      timers.add(timer);
      socket.once("close", () => clearInterval(timer));
    });
  });
  const rig = await startRig({ serverPorts: [port], timeouts: { request_ms: 2000 } });
  try {
    await exchange(rig.httpPort, GET);
    assert.equal(rig.worker.pools[0]!.servers[0]!.counters.server_aborts, 1);
    assert.equal(rig.worker.clients.size, 0);
  } finally {
    for (const timer of timers) clearInterval(timer);
    server.close();
    await rig.stop();
  }
});

test("a connection may be kept for longer than one request may take", async () => {
  const { server, port } = await webServer((_request, response) => void response.end("ok"));
  const rig = await startRig({ serverPorts: [port], timeouts: { request_ms: 3000 } });
  try {
    const client = connect(rig.httpPort, "127.0.0.1");
    const all = readAll(client);
    client.write("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    await until(() => rig.worker.counters.requests === 1, "the first request");
    const since_ms = rig.worker.now_ms;
    await until(() => rig.worker.now_ms > since_ms + 3100, "more time than a request has");
    client.write(GET);
    assert.equal((await all).split("200 OK").length, 3);
  } finally {
    server.close();
    await rig.stop();
  }
});

test("who sends a body for ever is told 408 when the request's time is up", async () => {
  const { server, port } = await webServer((request) => void request.resume());
  const rig = await startRig({ serverPorts: [port], timeouts: { request_ms: 300 } });
  try {
    const client = connect(rig.httpPort, "127.0.0.1");
    const all = readAll(client);
    client.write("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000\r\n\r\n");
    const timer = setInterval(() => client.write("x"), 20);
    client.once("close", () => clearInterval(timer));
    assert.match(await all, /^HTTP\/1\.1 408 /);
  } finally {
    server.close();
    await rig.stop();
  }
});

test("at its bound of bytes a worker refuses new requests, goes on with those it has, and is well again after", async () => {
  const BIG = 8_000_000;
  const { server, port } = await webServer((_request, response) => void response.end(Buffer.alloc(BIG, "x")));
  const limits = { memory_bytes: 1_048_576, buffer_bytes: 1_000_000 };
  const rig = await startRig({ serverPorts: [port], limits });
  const clients: Socket[] = [];
  try {
    // Clients that ask for much and read nothing.
    for (let i = 0; i < 4; i++) {
      const client = connect(rig.httpPort, "127.0.0.1").pause();
      client.on("error", () => {}).write(GET);
      clients.push(client);
    }
    await until(() => buffered.bytes > limits.memory_bytes, "too much waits");
    assert.match(
      await exchange(rig.httpPort, GET),
      /^HTTP\/1\.1 503 .*Retry-After: \d+\r\nConnection: close/s,
    );
    // No more is taken for them than was, give or take one read for each.
    assert.ok(buffered.bytes < limits.memory_bytes + 4 * limits.buffer_bytes);
    let bytes = 0;
    clients[0]!.on("data", (data) => (bytes += data.length)).resume();
    await once(clients[0]!, "close");
    assert.ok(bytes > BIG, `${bytes} bytes have come`);
    for (const client of clients) client.destroy();
    await until(() => buffered.bytes === 0, "nothing waits any more");
    assert.match(await exchange(rig.httpPort, GET), /^HTTP\/1\.1 200 /);
  } finally {
    for (const client of clients) client.destroy();
    server.close();
    await rig.stop();
  }
});

test("what waits for the windows of HTTP/2 streams counts, and is forgotten with them", async () => {
  const BODY = Buffer.alloc(100_000, "x");
  const { server, port } = await webServer((_request, response) => void response.end(BODY));
  const rig = await startRig({ serverPorts: [port] });
  const client = connectHttp2(`http://127.0.0.1:${rig.httpPort}`, { settings: { initialWindowSize: 100 } });
  client.on("error", () => {});
  try {
    const stream = client
      .request({ ":path": "/" })
      .on("error", () => {})
      .pause();
    await until(() => buffered.bytes > 10_000, "most of the body waits");
    stream.close();
    await until(() => buffered.bytes === 0, "it is forgotten with its stream");
    client
      .request({ ":path": "/" })
      .on("error", () => {})
      .pause();
    await until(() => buffered.bytes > 10_000, "most of another body waits");
    client.destroy();
    await until(
      () => buffered.bytes === 0 && rig.worker.clients.size === 0,
      "and so it is with a connection",
    );
  } finally {
    client.destroy();
    server.close();
    await rig.stop();
  }
});

test("what clients send ahead of its turn counts, and is forgotten with them", async () => {
  const sockets: Socket[] = [];
  const { server, port } = await rawServer((socket) => void sockets.push(socket));
  const rig = await startRig({ serverPorts: [port] });
  try {
    const client = connect(rig.httpPort, "127.0.0.1");
    client.on("error", () => {}).write(`GET / HTTP/1.1\r\nHost: a\r\n\r\n${GET.repeat(20)}`);
    await until(() => buffered.bytes === GET.length * 20, "the other requests are held");
    client.resetAndDestroy();
    await until(() => buffered.bytes === 0 && rig.worker.clients.size === 0, "they are forgotten");
  } finally {
    for (const socket of sockets) socket.destroy();
    server.close();
    await rig.stop();
  }
});
