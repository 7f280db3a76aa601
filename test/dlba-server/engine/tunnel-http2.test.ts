/** WebSockets over HTTP/2 (RFC 8441), by Node's own client, to web servers that speak HTTP/1.1. */
import assert from "node:assert/strict";
import { createHash, randomBytes } from "node:crypto";
import { once } from "node:events";
import { readFileSync } from "node:fs";
import {
  connect,
  type ClientHttp2Session,
  type ClientHttp2Stream,
  type OutgoingHttpHeaders,
} from "node:http2";
import type { Socket } from "node:net";
import { test } from "node:test";
import { acceptValue } from "../../../dlba-server/http/websocket.ts";
import { rawServer, startRig, until, type Rig, type RigOptions } from "./rig.ts";

const hash = (bytes: Buffer): string => createHash("sha256").update(bytes).digest("hex");

/** A web server that answers each request's head with what `answer` makes of its key, and hands what follows to the test. */
async function web(
  answer: (key: string) => string,
  onTunnel: (socket: Socket) => void = () => {},
): Promise<{ port: number; heads: string[]; close: () => void }> {
  const heads: string[] = [];
  const { server, port } = await rawServer((socket) => {
    let asked = "";
    const read = (data: Buffer): void => {
      asked += data.toString("latin1");
      if (!asked.includes("\r\n\r\n")) return;
      heads.push(asked);
      assert.ok(asked.endsWith("\r\n\r\n"), "nothing comes before the upgrade is granted");
      socket.off("data", read);
      socket.write(answer(/Sec-WebSocket-Key: (\S+)/.exec(asked)?.[1] ?? ""));
      onTunnel(socket);
    };
    socket.on("data", read);
  });
  return { port, heads, close: () => server.close() };
}

const granting = (key: string): string =>
  `HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Protocol: chat\r\nSec-WebSocket-Accept: ${acceptValue(key)}\r\n\r\n`;

interface Client {
  readonly rig: Rig;
  readonly session: ClientHttp2Session;
  readonly ask: (changes?: OutgoingHttpHeaders) => ClientHttp2Stream;
  readonly end: () => Promise<void>;
}

async function client(
  port: number,
  scheme: "http" | "https",
  options: Partial<RigOptions> = {},
): Promise<Client> {
  const rig = await startRig({ serverPorts: [port], ...options });
  const url = scheme === "http" ? `http://127.0.0.1:${rig.httpPort}` : `https://localhost:${rig.httpsPort}`;
  const session = connect(url, scheme === "https" ? { ca: readFileSync(rig.ca) } : {});
  session.on("error", () => {});
  await once(session, "remoteSettings");
  const ask = (changes: OutgoingHttpHeaders = {}): ClientHttp2Stream => {
    const fields = {
      ":scheme": scheme,
      ":authority": "a.test",
      ":path": "/chat",
      "sec-websocket-version": "13",
    };
    const stream = session.request({ ":method": "CONNECT", ":protocol": "websocket", ...fields, ...changes });
    stream.on("error", () => {});
    return stream;
  };
  const end = async (): Promise<void> => {
    session.destroy();
    await rig.stop();
  };
  return { rig, session, ask, end };
}

async function answered(stream: ClientHttp2Stream): Promise<Record<string, unknown>> {
  const [headers] = (await once(stream, "response")) as [Record<string, unknown>];
  return headers;
}

async function readToEnd(stream: ClientHttp2Stream | Socket): Promise<Buffer> {
  const pieces: Buffer[] = [];
  stream.on("data", (data: Buffer) => pieces.push(data));
  if (!stream.readableEnded) await once(stream, "end");
  return Buffer.concat(pieces);
}

for (const scheme of ["http", "https"] as const) {
  test(`${scheme}: a CONNECT for a WebSocket is an upgrade to the web server, and megabytes go both ways unchanged`, async () => {
    const [up, down] = [randomBytes(3_000_000), randomBytes(3_000_001)];
    const arrived = Promise.withResolvers<Buffer>();
    const server = await web(granting, (socket) => {
      socket.end(down);
      void readToEnd(socket).then(arrived.resolve, () => {});
    });
    const { rig, session, ask, end } = await client(server.port, scheme);
    try {
      assert.equal(session.remoteSettings.enableConnectProtocol, true);
      const stream = ask({ "sec-websocket-protocol": "chat" });
      const headers = await answered(stream);
      assert.equal(headers[":status"], 200);
      assert.equal(headers["sec-websocket-protocol"], "chat");
      assert.equal(headers["sec-websocket-accept"], undefined);
      const [head = ""] = server.heads;
      assert.match(head, /^GET \/chat HTTP\/1\.1\r\nhost: a\.test\r\n/i);
      assert.match(head, /\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: \S{24}\r\n/);
      const came = readToEnd(stream);
      stream.end(up);
      assert.equal(hash(await came), hash(down), "to the client");
      assert.equal(hash(await arrived.promise), hash(up), "to the web server");
      await until(() => rig.worker.counters.open_tunnels === 0, "the tunnel is over");
      // The connection serves on.
      const again = ask();
      assert.equal((await answered(again))[":status"], 200);
      assert.notEqual(server.heads[0], server.heads[1], "each has a key of its own");
    } finally {
      server.close();
      await end();
    }
  });
}

test("the web server ends first, and what the client says later still arrives", async () => {
  const arrived = Promise.withResolvers<Buffer>();
  const server = await web(granting, (socket) => {
    socket.end("goodbye");
    void readToEnd(socket).then(arrived.resolve, () => {});
  });
  const { ask, end } = await client(server.port, "http");
  try {
    const stream = ask();
    await answered(stream);
    assert.equal(String(await readToEnd(stream)), "goodbye");
    stream.end("and a late word");
    assert.equal(String(await arrived.promise), "and a late word");
  } finally {
    server.close();
    await end();
  }
});

test("a web server that dies resets the stream, and no other", async () => {
  const sockets: Socket[] = [];
  const server = await web(granting, (socket) =>
    sockets.push(socket.on("data", (data) => socket.write(data))),
  );
  const { rig, ask, end } = await client(server.port, "http");
  try {
    const [first, second] = [ask(), ask()];
    await Promise.all([answered(first), answered(second)]);
    first.resume();
    sockets[0]!.resetAndDestroy();
    await new Promise((resolve) => (first.closed ? resolve(undefined) : first.on("close", resolve)));
    assert.notEqual(first.rstCode, 0);
    second.write("still there?");
    const [word] = (await once(second, "data")) as [Buffer];
    assert.equal(String(word), "still there?");
    assert.equal(rig.worker.counters.open_tunnels, 1);
  } finally {
    server.close();
    await end();
  }
});

test("silence for too long ends the stream", async () => {
  const server = await web(granting, (socket) => socket.resume());
  const { rig, ask, end } = await client(server.port, "http", { timeouts: { tunnel_ms: 1000 } });
  try {
    const stream = ask();
    await answered(stream);
    await readToEnd(stream);
    await until(() => rig.worker.counters.open_tunnels === 0, "the tunnel is over");
  } finally {
    server.close();
    await end();
  }
});

const OK = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
const refusals: [
  what: string,
  answer: (key: string) => string,
  changes: OutgoingHttpHeaders,
  status: number,
][] = [
  ["the web server refuses", () => "HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n", {}, 403],
  ["the web server answers 200, which would be read as consent", () => OK, {}, 502],
  ["the web server's consent answers another key", () => granting("x"), {}, 502],
  ["another protocol", () => OK, { ":protocol": "connect-udp" }, 501],
  ["a key of the client's", () => OK, { "sec-websocket-key": "dGhlIHNhbXBsZSBub25jZQ==" }, 400],
];
for (const [what, answer, changes, status] of refusals) {
  test(`${what}: ${status}, and the connection goes on`, async () => {
    const server = await web(answer);
    const { ask, end, session } = await client(server.port, "http");
    try {
      const headers = await answered(ask(changes));
      assert.equal(headers[":status"], status);
      assert.equal(session.destroyed, false);
    } finally {
      server.close();
      await end();
    }
  });
}

test("a vserver without WebSockets says so, and a plain request after one is plain", async () => {
  const server = await web((key) => (key === "" ? OK : granting(key)));
  const without = await client(server.port, "http", { vserver: { websockets: false } });
  assert.notEqual(without.session.remoteSettings.enableConnectProtocol, true);
  await without.end();
  const { ask, session, end } = await client(server.port, "http");
  try {
    await answered(ask());
    const plain = session.request({ ":path": "/", ":authority": "a.test" });
    assert.equal((await answered(plain))[":status"], 200);
    assert.doesNotMatch(server.heads.at(-1)!, /upgrade/i);
  } finally {
    server.close();
    await end();
  }
});
