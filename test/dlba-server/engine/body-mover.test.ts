/** Big bodies that pass inside the kernel: byte for byte, whoever is slow, and never more than there is. */
import assert from "node:assert/strict";
import { createHash, randomFillSync } from "node:crypto";
import { connect, type Socket } from "node:net";
import { test } from "node:test";
import { rawServer, startRig, until } from "./rig.ts";

const BODY = randomFillSync(Buffer.allocUnsafe(8 << 20));
const digest = (bytes: Uint8Array): string => createHash("sha256").update(bytes).digest("hex");

/** Answers every request with the body, written in pieces of so many bytes, and something behind it. */
const sends =
  (piece_bytes: number, behind = "") =>
  (socket: Socket): void => {
    socket.on("data", () => {
      socket.write(`HTTP/1.1 200 OK\r\nContent-Length: ${BODY.length}\r\n\r\n`);
      for (let at = 0; at < BODY.length; at += piece_bytes) socket.write(BODY.subarray(at, at + piece_bytes));
      if (behind !== "") socket.write(behind);
    });
  };

/** Reads so many answers from one connection; a slow reader pauses at every sixteenth piece. */
async function read(port: number, answers: number, isSlow = false): Promise<Buffer[]> {
  const socket = connect(port, "127.0.0.1");
  const bodies: Buffer[] = [];
  let got = Buffer.alloc(0);
  let pieces: Buffer[] = [];
  let left = -1;
  let seen = 0;
  socket.on("data", (data) => {
    pieces.push(data);
    if (isSlow && ++seen % 16 === 0) {
      socket.pause();
      setTimeout(() => socket.resume(), 1);
    }
    if (left < 0) {
      got = Buffer.concat(pieces);
      const headEnd = got.indexOf("\r\n\r\n");
      if (headEnd < 0) return;
      pieces = [got.subarray(headEnd + 4)];
      left = BODY.length - pieces[0]!.length;
    } else left -= data.length;
    if (left > 0) return;
    bodies.push(Buffer.concat(pieces));
    pieces = [];
    left = -1;
    if (bodies.length < answers) socket.write("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
  });
  socket.write("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
  await until(() => bodies.length === answers, "the answers did not come");
  socket.destroy();
  return bodies;
}

for (const [name, piece_bytes, isSlow] of [
  ["at once", BODY.length, false],
  ["in small pieces", 3_001, false],
  ["to a slow reader", 262_144, true],
] as const) {
  test(`a big body arrives byte for byte: sent ${name}`, async () => {
    const web = await rawServer(sends(piece_bytes));
    const rig = await startRig({ serverPorts: [web.port] });
    try {
      for (const body of await read(rig.httpPort, 2, isSlow)) assert.equal(digest(body), digest(BODY));
      const [counters] = rig.worker.pools[0]!.servers.map((server) => server.counters);
      assert.ok(counters!.bytes_out > 2 * BODY.length);
      assert.equal(counters!.response_failures, 0);
    } finally {
      web.server.close();
      await rig.stop();
    }
  });
}

test("what a web server sends behind a moved body reaches nobody, and its connection is not used again", async () => {
  let connections = 0;
  const web = await rawServer((socket) => {
    connections++;
    sends(BODY.length, "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil")(socket);
  });
  const rig = await startRig({ serverPorts: [web.port] });
  try {
    for (const body of await read(rig.httpPort, 3)) assert.equal(digest(body), digest(BODY));
    assert.equal(connections, 3);
  } finally {
    web.server.close();
    await rig.stop();
  }
});

test("a client that goes in the midst of a moved body leaves nothing of it to others", async () => {
  const web = await rawServer(sends(BODY.length));
  const rig = await startRig({ serverPorts: [web.port] });
  try {
    for (let i = 0; i < 5; i++) {
      const socket = connect(rig.httpPort, "127.0.0.1");
      socket.on("error", () => {});
      socket.write("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
      socket.once("data", () => socket.resetAndDestroy());
      await until(() => socket.destroyed, "the client has not gone");
    }
    const [body] = await read(rig.httpPort, 1);
    assert.equal(digest(body!), digest(BODY));
    await until(() => rig.worker.clients.size === 0, "clients are left");
  } finally {
    web.server.close();
    await rig.stop();
  }
});
