/** WebSockets through the engine, with real sockets: bytes both ways, back-pressure, one side's end before the other's, death. */
import assert from "node:assert/strict";
import { createHash, randomBytes } from "node:crypto";
import { once } from "node:events";
import { readFileSync } from "node:fs";
import { connect as plainConnect, type Socket } from "node:net";
import { test } from "node:test";
import { connect as tlsConnect } from "node:tls";
import { acceptValue } from "../../../dlba-server/http/websocket.ts";
import { openDescriptors, rawServer, startRig, until, type Rig } from "./rig.ts";

const KEY = "dGhlIHNhbXBsZSBub25jZQ==";
const ASKING = `GET /chat HTTP/1.1\r\nHost: a.test\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: ${KEY}\r\n\r\n`;
const GRANTING = `HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: ${acceptValue(KEY)}\r\n\r\n`;
const hash = (bytes: Buffer): string => createHash("sha256").update(bytes).digest("hex");

/** A web server that grants every upgrade and hands its side of the tunnel to the test. */
async function granting(onTunnel: (socket: Socket) => void): Promise<{ port: number; close: () => void }> {
  const { server, port } = await rawServer((socket) => {
    let asked = "";
    const read = (data: Buffer): void => {
      asked += data.toString("latin1");
      if (!asked.includes("\r\n\r\n")) return;
      socket.off("data", read);
      assert.ok(asked.endsWith("\r\n\r\n"), "nothing comes before the upgrade is granted");
      socket.write(GRANTING);
      onTunnel(socket);
    };
    socket.on("data", read);
  });
  return { port, close: () => server.close() };
}

/** Opens a tunnel; resolves when the proxy has said 101. */
async function opened(rig: Rig, scheme: "http" | "https"): Promise<Socket> {
  const at = { host: "127.0.0.1", allowHalfOpen: true };
  const socket =
    scheme === "http"
      ? plainConnect({ ...at, port: rig.httpPort })
      : tlsConnect({ ...at, port: rig.httpsPort, servername: "localhost", ca: readFileSync(rig.ca) });
  socket.on("error", () => {});
  socket.write(ASKING);
  let head = "";
  while (!head.endsWith("\r\n\r\n")) {
    if (socket.readableLength === 0) await once(socket, "readable");
    const byte = socket.read(1) as Buffer | null;
    if (byte !== null) head += byte.toString("latin1");
  }
  assert.match(head, /^HTTP\/1\.1 101 /);
  return socket;
}

async function readToEnd(socket: Socket): Promise<Buffer> {
  const pieces: Buffer[] = [];
  socket.on("data", (data: Buffer) => pieces.push(data));
  if (!socket.readableEnded) await once(socket, "end");
  return Buffer.concat(pieces);
}

for (const scheme of ["http", "https"] as const) {
  test(`${scheme}: megabytes go both ways at once, unchanged, and each side's end arrives behind its bytes`, async () => {
    const [up, down] = [randomBytes(6_000_000), randomBytes(7_000_001)];
    const arrived = Promise.withResolvers<Buffer>();
    const web = await granting((socket) => {
      socket.end(down);
      void readToEnd(socket).then(arrived.resolve, () => {});
    });
    const rig = await startRig({ serverPorts: [web.port] });
    try {
      const client = await opened(rig, scheme);
      assert.equal(rig.worker.counters.open_tunnels, 1);
      const came = readToEnd(client);
      client.end(up);
      assert.equal(hash(await came), hash(down), "to the client");
      assert.equal(hash(await arrived.promise), hash(up), "to the web server");
      await until(() => rig.worker.clients.size === 0, "the tunnel is over");
      assert.deepEqual([rig.worker.counters.tunnels, rig.worker.counters.open_tunnels], [1, 0]);
    } finally {
      web.close();
      await rig.stop();
    }
  });

  test(`${scheme}: the web server ends first, and what the client says later still arrives`, async () => {
    const arrived = Promise.withResolvers<Buffer>();
    const web = await granting((socket) => {
      socket.end("goodbye");
      void readToEnd(socket).then(arrived.resolve, () => {});
    });
    const rig = await startRig({ serverPorts: [web.port] });
    try {
      const client = await opened(rig, scheme);
      assert.equal(String(await readToEnd(client)), "goodbye");
      client.end("and a late word");
      assert.equal(String(await arrived.promise), "and a late word");
    } finally {
      web.close();
      await rig.stop();
    }
  });
}

test("who takes nothing holds the other side up, and nothing grows", async () => {
  const sockets: Socket[] = [];
  const web = await granting((socket) => {
    socket.pause();
    sockets.push(socket);
  });
  const rig = await startRig({ serverPorts: [web.port], limits: { buffer_bytes: 16_384 } });
  try {
    const client = await opened(rig, "http");
    const up = randomBytes(20_000_000);
    client.end(up);
    const [connection] = rig.worker.clients;
    await until(() => (connection?.exchange.server?.stream.pending_bytes ?? 0) > 0, "the way is full");
    const bound = 16_384 + 65_536;
    assert.ok(connection!.exchange.server!.stream.pending_bytes <= bound);
    const came = readToEnd(sockets[0]!);
    sockets[0]!.resume();
    assert.equal(hash(await came), hash(up));
    client.destroy();
  } finally {
    web.close();
    for (const socket of sockets) socket.destroy();
    await rig.stop();
  }
});

test("a web server that dies: the client is cut off at once, and nothing is left", async () => {
  const sockets: Socket[] = [];
  const web = await granting((socket) => sockets.push(socket.resume()));
  const rig = await startRig({ serverPorts: [web.port] });
  try {
    const before = openDescriptors();
    for (const scheme of ["http", "https"] as const) {
      const client = await opened(rig, scheme);
      sockets.at(-1)!.resetAndDestroy();
      // `once` would reject at the error, which is right here.
      await new Promise((resolve) => (client.closed ? resolve(undefined) : client.on("close", resolve)));
    }
    await until(() => rig.worker.clients.size === 0, "all tunnels are over");
    await until(() => openDescriptors() <= before, "nothing is left open");
  } finally {
    web.close();
    await rig.stop();
  }
});

test("a client that dies: the web server hears of it", async () => {
  const gone = Promise.withResolvers<void>();
  const web = await granting((socket) =>
    socket
      .resume()
      .on("close", () => gone.resolve())
      .on("end", () => socket.end()),
  );
  const rig = await startRig({ serverPorts: [web.port] });
  try {
    (await opened(rig, "http")).resetAndDestroy();
    await gone.promise;
    await until(() => rig.worker.counters.open_tunnels === 0, "the tunnel is over");
  } finally {
    web.close();
    await rig.stop();
  }
});

test("silence for too long ends it; so it does when only one side has ended", async () => {
  const web = await granting((socket) => socket.resume());
  const rig = await startRig({ serverPorts: [web.port], timeouts: { tunnel_ms: 1000 } });
  try {
    const silent = await opened(rig, "http");
    const half = await opened(rig, "https");
    half.end();
    await Promise.all([readToEnd(silent), readToEnd(half)]);
    for (const socket of [silent, half]) socket.destroy();
    await until(() => rig.worker.clients.size === 0, "both are over");
  } finally {
    web.close();
    await rig.stop();
  }
});

test("a worker that drains lets tunnels go on, and ends them when it is stopped", async () => {
  const web = await granting((socket) => socket.on("data", (data: Buffer) => socket.write(data)));
  const rig = await startRig({ serverPorts: [web.port] });
  const client = await opened(rig, "http");
  void rig.drain().catch(() => {});
  client.write("still there?");
  await once(client, "readable");
  assert.equal(String(client.read()), "still there?");
  const ended = once(client, "close");
  client.resume().on("end", () => client.end());
  await rig.stop();
  await ended;
  web.close();
});
