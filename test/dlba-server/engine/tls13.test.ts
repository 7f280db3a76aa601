/** TLS 1.3 with records of ours, against real clients: OpenSSL's command and Node's own TLS. */
import assert from "node:assert/strict";
import { type ChildProcessWithoutNullStreams, spawn } from "node:child_process";
import { createHash, randomBytes } from "node:crypto";
import { once } from "node:events";
import { readFileSync } from "node:fs";
import { connect as connectPlain, type Socket } from "node:net";
import { Duplex } from "node:stream";
import { after, describe, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { connect, type ConnectionOptions, type TLSSocket } from "node:tls";
import { openDescriptors, readAll, type Rig, startRig, until, webServer } from "./rig.ts";
import { buffered } from "../../../dlba-server/engine/reading.ts";

const sha256 = (bytes: Uint8Array): string => createHash("sha256").update(bytes).digest("hex");

/** Answers with as many bytes as `x-size` says, or the hash of what it got. */
const web = await webServer((request, response) => {
  const hash = createHash("sha256");
  request.on("data", (piece: Buffer) => hash.update(piece));
  request.on("end", () => {
    const size = Number(request.headers["x-size"] ?? 0);
    const body = size > 0 ? Buffer.alloc(size, "0123456789abcdef") : Buffer.from(hash.digest("hex"));
    response.setHeader("content-length", body.length).end(body);
  });
});
const rig: Rig = await startRig({ serverPorts: [web.port] });
const ca = readFileSync(rig.ca);
after(async () => {
  await rig.stop();
  web.server.close();
});

async function open(wish: ConnectionOptions = {}): Promise<TLSSocket> {
  const socket = connect({ port: rig.httpsPort, host: "127.0.0.1", servername: "localhost", ca, ...wish });
  await once(socket, "secureConnect");
  return socket;
}

const GET = "GET / HTTP/1.1\r\nHost: localhost\r\n";
const LAST = `${GET}Connection: close\r\n\r\n`;
const NOTHING = sha256(Buffer.alloc(0));

/** `openssl s_client` on the rig, with what it prints. */
function client(...options: string[]): { child: ChildProcessWithoutNullStreams; said: () => string } {
  const where = ["-connect", `127.0.0.1:${rig.httpsPort}`, "-servername", "localhost", "-CAfile", rig.ca];
  const child = spawn("openssl", ["s_client", "-crlf", ...where, ...options]);
  let text = "";
  child.stdout.on("data", (piece: Buffer) => (text += piece.toString("latin1")));
  child.stderr.on("data", (piece: Buffer) => (text += piece.toString("latin1")));
  return { child, said: () => text };
}

for (const ciphers of ["TLS_AES_128_GCM_SHA256", "TLS_AES_256_GCM_SHA384", "TLS_CHACHA20_POLY1305_SHA256"]) {
  test(`${ciphers}: big bodies pass whole, both ways, several on a connection`, async () => {
    const socket = await open({ ciphers, minVersion: "TLSv1.3" });
    assert.equal(socket.getCipher().standardName, ciphers);
    const body = randomBytes(3_000_000);
    socket.write(`POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: ${body.length}\r\n\r\n`);
    socket.write(body);
    socket.write(`${GET}X-Size: 2500000\r\n\r\n`);
    socket.write(LAST);
    const text = await readAll(socket);
    assert.ok(text.includes(sha256(body)));
    assert.equal(text.split("0123456789abcdef").length - 1, 2_500_000 / 16);
    assert.ok(text.endsWith(NOTHING));
  });
}

test("a client that changes its keys, and wants ours changed, goes on", async () => {
  const { child, said } = client("-tls1_3", "-msg");
  await until(() => said().includes("Verify return code"), `no handshake: ${said().slice(-800)}`);
  // A line with k or K alone is s_client's command for an update, of its own key or of both.
  for (const [i, key] of ["K", "k", "K", "K"].entries()) {
    child.stdin.write(`${key}\n`);
    await until(() => said().split("KEYUPDATE").length > i + 1, "no KeyUpdate");
    child.stdin.write(`GET /${i} HTTP/1.1\nHost: localhost\n\n`);
    await until(
      () => said().split(NOTHING).length === i + 2,
      `no answer after ${key}: ${said().slice(-800)}`,
    );
  }
  assert.equal(said().split(/<<< TLS 1.3, Handshake .*KeyUpdate/).length - 1, 3, "answers to K");
  child.kill();
  await once(child, "close");
});

describe("handshakes that take another way", () => {
  const rows: [string, string[], RegExp][] = [
    [
      "HelloRetryRequest: a group that nobody here has comes first",
      ["-tls1_3", "-groups", "ffdhe4096:P-256"],
      /prime256v1|P-256|secp256r1/,
    ],
    ["a ClientHello in many records", ["-tls1_3", "-max_send_frag", "512", "-curves", "X25519"], /TLSv1.3/],
    ["without the middlebox' change_cipher_spec", ["-tls1_3", "-no_middlebox"], /TLSv1.3/],
    ["TLS 1.2, which stays with OpenSSL", ["-tls1_2"], /TLSv1.2/],
    ["TLS 1.2 in many records", ["-tls1_2", "-max_send_frag", "512"], /TLSv1.2/],
    ["a client that takes records of 512 bytes only", ["-tls1_3", "-maxfraglen", "512"], /TLSv1.3/],
    ["TLS 1.2 and records of 512 bytes only", ["-tls1_2", "-maxfraglen", "512"], /TLSv1.2/],
    ["records that are filled up", ["-tls1_3", "-record_padding", "4096"], /TLSv1.3/],
  ];
  for (const [what, options, expected] of rows) {
    test(what, async () => {
      const { child, said } = client(...options);
      await until(() => said().includes("Verify return code"), `no handshake: ${said().slice(-800)}`);
      assert.match(said(), expected);
      child.stdin.write("GET / HTTP/1.1\nHost: localhost\nX-Size: 40000\nConnection: close\n\n");
      await once(child, "close");
      assert.equal(said().split("0123456789abcdef").length - 1, 2500);
    });
  }
});

test("a client that has said its last still gets its answer, and both ends are said", async () => {
  const socket = await open({ allowHalfOpen: true } as ConnectionOptions);
  socket.end(`${GET}\r\n`);
  const text = await readAll(socket);
  assert.match(text, /^HTTP\/1\.1 200/);
  assert.ok(text.endsWith(NOTHING), "no error: close_notify came");
});

/** Below a TLS client: what it sends may be changed, held back and cut before it goes on. */
class Wire extends Duplex {
  readonly socket: Socket = connectPlain(rig.httpsPort, "127.0.0.1");
  /** What each piece to the server becomes. */
  change: (bytes: Buffer) => readonly Buffer[] = (bytes) => [bytes];

  constructor() {
    super();
    this.socket.on("data", (data) => this.push(data));
    this.socket.on("end", () => this.push(null));
    this.socket.on("error", () => this.destroy());
  }

  override _read(): void {}

  override _write(bytes: Buffer, _encoding: string, done: () => void): void {
    void this.pass(bytes, done);
  }

  override _final(done: () => void): void {
    this.socket.end();
    done();
  }

  override _destroy(error: Error | null, done: (error: Error | null) => void): void {
    this.socket.destroy();
    done(error);
  }

  private async pass(bytes: Buffer, done: () => void): Promise<void> {
    for (const piece of this.change(bytes)) {
      this.socket.write(piece);
      await sleep(1);
    }
    done();
  }
}

async function openOn(wire: Wire): Promise<TLSSocket> {
  const socket = connect({ socket: wire, servername: "localhost", ca });
  socket.on("error", () => {});
  await once(socket, "secureConnect");
  return socket;
}

test("records that come in pieces of every size are put together", async () => {
  const wire = new Wire();
  const socket = await openOn(wire);
  let at = 0;
  wire.change = (bytes) => {
    const pieces: Buffer[] = [];
    for (let from = 0; from < bytes.length; at++) {
      const size = 1 + ((at * 7) % 29);
      pieces.push(bytes.subarray(from, from + size));
      from += size;
    }
    return pieces;
  };
  socket.write(`${GET}X-Filler: ${"f".repeat(600)}\r\n\r\n`);
  socket.write(LAST);
  let text = "";
  socket.on("data", (data: Buffer) => (text += data.toString("latin1")));
  await once(socket, "end");
  assert.equal(text.split(NOTHING).length - 1, 2);
  wire.destroy();
});

const failures: [string, (bytes: Buffer) => readonly Buffer[], RegExp][] = [
  [
    "a bit was changed",
    (bytes) => {
      const changed = Buffer.from(bytes);
      changed[20] = changed[20]! ^ 1;
      return [changed];
    },
    /bad record mac/,
  ],
  ["a record comes twice", (bytes) => [bytes, bytes], /bad record mac/],
  ["plain text", () => [Buffer.from(LAST)], /unexpected[_ ]message/],
  ["an alert in the clear", () => [Buffer.from([21, 3, 3, 0, 2, 2, 40])], /unexpected[_ ]message/],
];
for (const [what, change, expected] of failures) {
  test(`${what}: the client is told by an alert, and nothing is left`, async () => {
    const wire = new Wire();
    const socket = await openOn(wire);
    const failed = once(socket, "error").then(
      ([error]) => error as Error,
      (error: Error) => error,
    );
    wire.change = change;
    socket.write(`${GET}\r\n`);
    socket.resume();
    assert.match((await failed).message, expected);
    await until(() => rig.worker.clients.size === 0, "the connection is still there");
    wire.destroy();
  });
}

test("what came before a wrong record is answered, and nothing follows the alert", async () => {
  const wire = new Wire();
  const socket = await openOn(wire);
  await sleep(50);
  const got: Buffer[] = [];
  wire.socket.removeAllListeners("data").on("data", (data: Buffer) => got.push(data));
  wire.change = (bytes) => [Buffer.concat([bytes, Buffer.from([21, 3, 3, 0, 2, 2, 40])])];
  socket.write(`${GET}X-Size: 50000\r\n\r\n`);
  await once(wire.socket, "close");
  const bytes = Buffer.concat(got);
  const lengths: number[] = [];
  for (let at = 0; at < bytes.length; at += 5 + lengths.at(-1)!) lengths.push(bytes.readUInt16BE(at + 3));
  // An alert is two bytes, its type and a tag; the answer may have been cut off by it.
  assert.equal(lengths.at(-1), 2 + 1 + 16, `records of ${lengths.join(", ")} bytes`);
  assert.equal(lengths.filter((length) => length === 2 + 1 + 16).length, 1);
  socket.destroy();
});

test("a ClientHello in records of a byte each, held up where a read has taken all there was, is put together", async () => {
  const wire = new Wire();
  let isFirst = true;
  wire.change = (bytes) => {
    if (!isFirst) return [bytes];
    isFirst = false;
    const tiny = Buffer.concat([...bytes.subarray(5)].map((byte) => Buffer.from([22, 3, 1, 0, 1, byte])));
    return [tiny.subarray(0, 65_536), tiny.subarray(65_536)];
  };
  const names = Array.from({ length: 60 }, (_, i) => String(i).padStart(200, "x"));
  const socket = connect({ socket: wire, servername: "localhost", ca, ALPNProtocols: names });
  await once(socket, "secureConnect");
  socket.destroy();
  wire.destroy();
});

test("clients that are cut off, close or reset after any number of bytes leave nothing behind", async () => {
  await until(() => rig.worker.clients.size === 0, "clients are still there");
  const [descriptors, waiting] = [openDescriptors(), buffered.bytes];
  for (const maxVersion of ["TLSv1.3", "TLSv1.2"] as const) {
    for (let length = 1; length < 2400; length += 399) {
      await Promise.all(
        (["end", "destroy", "resetAndDestroy"] as const).map(async (how) => {
          const wire = new Wire();
          const sent = { left: length };
          wire.change = (bytes) => {
            const piece = bytes.subarray(0, Math.max(0, sent.left));
            sent.left -= bytes.length;
            return piece.length === 0 ? [] : [piece];
          };
          const socket = connect({ socket: wire, servername: "localhost", ca, maxVersion });
          socket.on("error", () => {});
          socket.write(`${GET}\r\n${GET}X-Filler: ${"f".repeat(1500)}\r\n\r\n`);
          // All that it sends may be less.
          for (let i = 0; sent.left > 0 && i < 40; i++) await sleep(2);
          wire.socket[how]();
          await sleep(5);
          wire.destroy();
          socket.destroy();
        }),
      );
    }
  }
  await until(() => rig.worker.clients.size === 0, "clients are still there");
  await until(() => openDescriptors() <= descriptors, "descriptors are still there");
  assert.equal(buffered.bytes, waiting);
  assert.equal(rig.worker.holdingTickets.length, 0);
});

test("connections that end in every phase of the handshake leave nothing behind", async () => {
  await until(() => rig.worker.clients.size === 0, "clients are still there");
  const descriptors = openDescriptors();
  const waiting = buffered.bytes;
  for (const length of [1, 4, 5, 100, 250]) {
    const wire = new Wire();
    const socket = connect({ socket: wire, servername: "localhost", ca });
    socket.on("error", () => {});
    wire.change = (bytes) => [bytes.subarray(0, length)];
    await sleep(10);
    wire.socket.destroy();
    socket.destroy();
  }
  const silent = connectPlain(rig.httpsPort, "127.0.0.1");
  await once(silent, "connect");
  silent.destroy();
  const early = await open();
  early.destroy();
  await until(() => rig.worker.clients.size === 0, "clients are still there");
  await until(() => openDescriptors() <= descriptors, "descriptors are still there");
  assert.equal(buffered.bytes, waiting);
});
