/** Web servers of HTTP/2 that stall or want nothing, and what is left when a worker ends. */
import assert from "node:assert/strict";
import { once } from "node:events";
import { request as httpRequest, type IncomingMessage } from "node:http";
import {
  connect,
  constants,
  createServer,
  type IncomingHttpHeaders,
  type ServerHttp2Stream,
} from "node:http2";
import type { Socket } from "node:net";
import { test, type TestContext } from "node:test";
import { FLAG, FRAME, PREFACE, SETTING } from "../../../dlba-server/http2/wire.ts";
import { buffered } from "../../../dlba-server/engine/reading.ts";
import { frame, number } from "../http2/harness.ts";
import { openDescriptors, rawServer, type Rig, type RigOptions, startRig, until } from "./rig.ts";

/** A worker before a web server at this port, and a client of HTTP/2; both go with the test. */
async function start(t: TestContext, port: number, options: Partial<RigOptions> = {}) {
  const rig = await startRig({ serverPorts: [port], pool: { protocol: "h2" }, ...options });
  const client = connect(`http://127.0.0.1:${rig.httpPort}`);
  client.on("error", () => undefined);
  t.after(async () => {
    client.destroy();
    await rig.stop();
  });
  const upload = (body: Buffer) => {
    const call = client.request({ ":method": "POST", ":path": "/" });
    call.on("error", () => undefined);
    call.end(body);
    return call;
  };
  return { rig, client, upload };
}

/** A web server of frames; `onFrames` gets what comes after the preface. */
async function frameServer(t: TestContext, onConnection: (socket: Socket) => void): Promise<number> {
  const web = await rawServer(onConnection);
  t.after(() => web.server.close());
  return web.port;
}

/** Calls back for each stream that begins. */
function onHeads(socket: Socket, begins: (id: number) => void): void {
  let rest = Buffer.alloc(0);
  let hasPreface = false;
  socket.on("data", (bytes: Buffer) => {
    rest = Buffer.concat([rest, bytes]);
    if (!hasPreface && rest.length >= PREFACE.length) {
      rest = rest.subarray(PREFACE.length);
      hasPreface = true;
    }
    if (!hasPreface) return;
    while (rest.length >= 9 && rest.length >= 9 + rest.readUIntBE(0, 3)) {
      const [type, id] = [rest[3], rest.readUInt32BE(5)];
      rest = rest.subarray(9 + rest.readUIntBE(0, 3));
      if (type === FRAME.headers) begins(id);
    }
  });
}
const refused = (id: number): Buffer =>
  frame(FRAME.rstStream, 0, id, number(constants.NGHTTP2_REFUSED_STREAM));
const answer = (id: number): Buffer => frame(FRAME.headers, FLAG.endHeaders | FLAG.endStream, id, [0x88]);

async function statusOf(call: NodeJS.EventEmitter): Promise<unknown> {
  const [fields] = (await once(call, "response")) as [IncomingHttpHeaders];
  return fields[":status"];
}

const serverOf = (rig: Rig) => rig.worker.pools[0]!.servers[0]!;
const LARGE = Buffer.alloc(1_000_000);
const SLOW = { response_head_ms: 300, request_body_ms: 60_000, client_write_ms: 60_000 };

test("a web server that stops taking a request is to blame for it, whoever asks, and others go on", async (t) => {
  let stuck: ServerHttp2Stream | undefined;
  const server = createServer();
  server.on("stream", (stream, fields) => {
    stream.on("error", () => undefined);
    if (fields[":method"] === "POST") {
      stuck = stream;
      stream.pause();
    } else stream.respond({ ":status": 204 }, { endStream: true });
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  t.after(() => server.close());
  const { rig, client, upload } = await start(t, (server.address() as { port: number }).port, {
    timeouts: { ...SLOW, request_body_ms: 100 },
  });
  assert.equal(await statusOf(upload(LARGE)), 502);
  await until(() => stuck!.destroyed, "the web server has not heard of the end");
  assert.equal(stuck!.rstCode, constants.NGHTTP2_CANCEL);
  const message = httpRequest({ port: rig.httpPort, method: "POST", headers: { "content-length": 1e6 } });
  message.on("error", () => undefined);
  message.end(LARGE);
  const [response] = (await once(message, "response")) as [IncomingMessage];
  assert.equal(response.statusCode, 502);
  message.destroy();
  assert.equal(serverOf(rig).counters.response_failures, 2);
  assert.equal(await statusOf(client.request({ ":path": "/" })), 204);
  assert.equal(serverOf(rig).upstreams.length, 1, "the connection was not to blame");
});

test("what waits for a web server's windows counts with all that waits", async (t) => {
  const before = buffered.bytes;
  const port = await frameServer(t, (socket) => {
    socket.write(frame(FRAME.settings, 0, 0, [0, SETTING.initialWindowSize, ...number(0)]));
    onHeads(socket, (id) => id === 1 && socket.write(answer(1)));
  });
  const { client, upload } = await start(t, port);
  assert.equal(await statusOf(client.request({ ":path": "/" })), 200);
  const call = upload(Buffer.alloc(40_000));
  await until(() => buffered.bytes - before === 40_000, `${buffered.bytes - before} bytes are counted`);
  call.close(constants.NGHTTP2_CANCEL);
  await until(() => buffered.bytes === before, "they are given back");
});

test("a slow web server that takes a little at a time keeps the request", async (t) => {
  const PIECE = 1000;
  const PIECES = 20;
  const port = await frameServer(t, (socket) => {
    socket.write(frame(FRAME.settings, 0, 0, [0, SETTING.initialWindowSize, ...number(PIECE)]));
    let taken = 0;
    const take = (): void => {
      if (socket.destroyed) return;
      socket.write(frame(FRAME.windowUpdate, 0, 3, number(PIECE)));
      if (++taken < PIECES) setTimeout(take, 100);
      else socket.write(answer(3));
    };
    // Its settings are known when the first request is answered.
    onHeads(socket, (id) => (id === 1 ? void socket.write(answer(1)) : take()));
  });
  const { client, upload } = await start(t, port, {
    timeouts: { response_head_ms: 1500, request_body_ms: 100 },
  });
  assert.equal(await statusOf(client.request({ ":path": "/" })), 200);
  // It takes longer than both time-outs.
  assert.equal(await statusOf(upload(Buffer.alloc(PIECE * PIECES))), 200);
});

test("a connection on which a web server reads nothing is closed, and its requests end", async (t) => {
  const sockets: Socket[] = [];
  const window = [...number(0x7fffffff - 65_535)];
  const first = [0, SETTING.initialWindowSize, ...number(0x7fffffff)];
  const port = await frameServer(t, (socket) => {
    sockets.push(socket);
    socket.pause();
    socket.write(
      Buffer.concat([frame(FRAME.settings, 0, 0, first), frame(FRAME.windowUpdate, 0, 0, window)]),
    );
  });
  const { rig, upload } = await start(t, port, { timeouts: SLOW });
  // More than the kernel's buffers take of a connection.
  const calls = Array.from({ length: 12 }, () => upload(LARGE));
  const statuses = await Promise.all(calls.map(statusOf));
  assert.ok(
    statuses.every((status) => status === 502 || status === 504),
    String(statuses),
  );
  await until(() => serverOf(rig).upstreams.length === 0, "the connection is left");
  for (const socket of sockets) socket.destroy();
});

test("a web server that wants no streams gets one connection, not one for each request", async (t) => {
  const sockets: Socket[] = [];
  const none = frame(FRAME.settings, 0, 0, [0, SETTING.maxConcurrentStreams, ...number(0)]);
  const many = frame(FRAME.settings, 0, 0, [0, SETTING.maxConcurrentStreams, ...number(10)]);
  let isOpen = false;
  const port = await frameServer(t, (socket) => {
    sockets.push(socket);
    socket.write(none);
    onHeads(socket, (id) => void socket.write(isOpen ? answer(id) : refused(id)));
  });
  const { rig, client } = await start(t, port, { timeouts: { server_retry_ms: 100 } });
  for (let i = 0; i < 5; i++) assert.equal(await statusOf(client.request({ ":path": "/" })), 503);
  assert.equal(sockets.length, 1);
  assert.match(serverOf(rig).failure, /takes no streams/);
  isOpen = true;
  sockets[0]!.write(many);
  const { http2 } = serverOf(rig).upstreams[0]!.upstreams!;
  await until(() => http2.maxPeerStreams === 10, "it is not heard");
  assert.equal(await statusOf(client.request({ ":path": "/" })), 200);
  assert.equal(rig.worker.pools[0]!.state.servers[0]!.downUntil_ms, 0);
});

test("a worker that drains closes connections that nobody uses, and the others when they are done", async (t) => {
  const server = createServer();
  const streams: ServerHttp2Stream[] = [];
  server.on("stream", (stream, fields) => {
    stream.on("error", () => undefined);
    if (fields[":path"] === "/later") streams.push(stream);
    else stream.respond({ ":status": 200 }, { endStream: true });
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  t.after(() => server.close());
  const { port } = server.address() as { port: number };
  const before = openDescriptors();
  const { rig, client } = await start(t, port);
  assert.equal(await statusOf(client.request({ ":path": "/" })), 200);
  const later = client.request({ ":path": "/later" });
  await until(() => streams.length === 1, "the web server has not got it");
  const drained = rig.drain();
  assert.equal(serverOf(rig).upstreams.length, 1);
  streams[0]!.respond({ ":status": 200 }, { endStream: true });
  assert.equal(await statusOf(later), 200);
  later.close();
  await drained;
  assert.equal(serverOf(rig).upstreams.length, 0);
  await until(() => openDescriptors() <= before + 8, "descriptors are left");

  const idle = await start(t, port);
  assert.equal(await statusOf(idle.client.request({ ":path": "/" })), 200);
  idle.client.close();
  await until(() => idle.rig.worker.clients.size === 0, "the client is there");
  assert.equal(serverOf(idle.rig).upstreams.length, 1);
  await idle.rig.drain();
  assert.equal(serverOf(idle.rig).upstreams.length, 0);
});

test("a worker that ends at once leaves no connection to a web server", async (t) => {
  let closed = 0;
  const server = createServer();
  server.on("session", (session) => session.on("close", () => closed++));
  server.on("stream", (stream) => stream.on("error", () => undefined));
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  t.after(() => server.close());
  const rig = await startRig({
    serverPorts: [(server.address() as { port: number }).port],
    pool: { protocol: "h2" },
  });
  const client = connect(`http://127.0.0.1:${rig.httpPort}`);
  client.on("error", () => undefined);
  const call = client.request({ ":path": "/" });
  call.on("error", () => undefined);
  await until(() => serverOf(rig).upstreams.length === 1, "no connection");
  await rig.stop();
  await until(() => closed === 1, "the connection is left");
  client.destroy();
});
