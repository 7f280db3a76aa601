/** The engine with real sockets: bodies, back-pressure, TLS, time-outs, abrupt ends. */
import assert from "node:assert/strict";
import { createHash, randomBytes } from "node:crypto";
import { once } from "node:events";
import { request as httpRequest, type IncomingMessage, type ServerResponse } from "node:http";
import { request as httpsRequest, Agent } from "node:https";
import { connect, type Socket } from "node:net";
import { readFileSync } from "node:fs";
import { after, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { connect as tlsConnect } from "node:tls";
import { SHED_CONNECTIONS } from "../../../conf/limits.ts";
import {
  exchange,
  freePort,
  openDescriptors,
  rawServer,
  readAll,
  startRig,
  until,
  webServer,
} from "./rig.ts";

const sha256 = (bytes: Buffer): string => createHash("sha256").update(bytes).digest("hex");

async function bodyOf(stream: IncomingMessage): Promise<Buffer> {
  const pieces: Buffer[] = [];
  for await (const piece of stream) pieces.push(piece as Buffer);
  return Buffer.concat(pieces);
}

/** Answers with what it got: the body itself, its hash in a header. */
async function answerEcho(request: IncomingMessage, response: ServerResponse): Promise<void> {
  const body = await bodyOf(request);
  response.setHeader("x-sha256", sha256(body));
  if (request.headers["x-chunked"] === undefined) response.setHeader("content-length", body.length);
  response.end(body);
}
const echo = await webServer((request, response) => void answerEcho(request, response));
after(() => echo.server.close());

interface Sent {
  readonly status: number;
  readonly headers: IncomingMessage["headers"];
  readonly body: Buffer;
}

async function send(
  rig: { httpPort: number; httpsPort: number; ca: string },
  scheme: "http" | "https",
  body: Buffer,
  isChunked: boolean,
): Promise<Sent> {
  const headers = isChunked ? { "x-chunked": "1" } : { "content-length": body.length };
  const options = { host: "127.0.0.1", method: "POST", path: "/echo", headers };
  const request =
    scheme === "http"
      ? httpRequest({ ...options, port: rig.httpPort })
      : httpsRequest({ ...options, port: rig.httpsPort, servername: "localhost", ca: readFileSync(rig.ca) });
  if (isChunked)
    for (let at = 0; at < body.length; at += 70_000) request.write(body.subarray(at, at + 70_000));
  request.end(isChunked ? undefined : body);
  const [response] = (await once(request, "response")) as [IncomingMessage];
  return { status: response.statusCode ?? 0, headers: response.headers, body: await bodyOf(response) };
}

test("bodies of every size arrive whole both ways, by length and in chunks, plain and over TLS", async () => {
  const rig = await startRig({ serverPorts: [echo.port] });
  try {
    for (const size of [0, 1, 16_383, 16_384, 65_536, 65_537, 300_000, 5_000_000]) {
      const body = randomBytes(size);
      for (const scheme of ["http", "https"] as const) {
        for (const isChunked of [false, true]) {
          const sent = await send(rig, scheme, body, isChunked);
          const what = `${size} bytes over ${scheme}${isChunked ? " in chunks" : ""}`;
          assert.equal(sent.status, 200, what);
          assert.equal(sent.headers["x-sha256"], sha256(body), `${what}: the upload`);
          assert.equal(sha256(sent.body), sha256(body), `${what}: the download`);
        }
      }
    }
  } finally {
    await rig.stop();
  }
});

test("a web server that can't be connected is passed over at once, and the table shows it", async () => {
  const rig = await startRig({ serverPorts: [await freePort(), echo.port] });
  try {
    for (let i = 0; i < 4; i++) assert.equal((await send(rig, "http", Buffer.from("x"), false)).status, 200);
    const [dead, alive] = rig.worker.pools[0]!.servers;
    assert.ok(dead!.counters.connect_failures >= 1);
    assert.equal(alive!.counters.response_time_count, 4);
    assert.notEqual(rig.worker.pools[0]!.state.servers[0]!.downUntil_ms, 0);
  } finally {
    await rig.stop();
  }
});

const silent = await rawServer(() => {});
const nonsense = await rawServer((socket) => void socket.end("SSH-2.0-OpenSSH\r\n\r\n"));
after(() => {
  silent.server.close();
  nonsense.server.close();
});
for (const [status, what, port] of [
  ["503", "can't be connected", await freePort()],
  ["504", "says nothing", silent.port],
  ["502", "talks nonsense", nonsense.port],
] as const) {
  test(`${status} when the web server ${what}`, async () => {
    const rig = await startRig({ serverPorts: [port], timeouts: { response_head_ms: 200 } });
    try {
      const answer = await exchange(rig.httpPort, "GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
      assert.equal(answer.split(" ")[1], status);
    } finally {
      await rig.stop();
    }
  });
}

test("408 when the client does not finish its request's head", async () => {
  const rig = await startRig({ serverPorts: [echo.port], timeouts: { request_head_ms: 200 } });
  try {
    assert.match(await exchange(rig.httpPort, "GET / HTTP/1.1\r\nHo"), /^HTTP\/1\.1 408/);
  } finally {
    await rig.stop();
  }
});

test("a big upload that is refused gets its 413 and not a reset", async () => {
  const rig = await startRig({ serverPorts: [echo.port], limits: { request_body_bytes: 1000 } });
  try {
    const head = "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 900000\r\n\r\n";
    const answer = await exchange(rig.httpPort, Buffer.concat([Buffer.from(head), randomBytes(900_000)]));
    assert.match(answer, /^HTTP\/1\.1 413 [^<]*$/s);
  } finally {
    await rig.stop();
  }
});

test("plain HTTP on the TLS port is told so", async () => {
  const rig = await startRig({ serverPorts: [echo.port] });
  try {
    assert.match(
      await exchange(rig.httpsPort, "GET / HTTP/1.1\r\nHost: a\r\n\r\n"),
      /^HTTP\/1\.1 400 .*HTTPS/s,
    );
  } finally {
    await rig.stop();
  }
});

test("TLS 1.2 and 1.3 are spoken, 1.1 is not; a session is resumed", async () => {
  const rig = await startRig({ serverPorts: [echo.port] });
  const options = {
    port: rig.httpsPort,
    host: "127.0.0.1",
    servername: "localhost",
    ca: readFileSync(rig.ca),
  };
  try {
    for (const version of ["TLSv1.2", "TLSv1.3"] as const) {
      const first = tlsConnect({
        ...options,
        minVersion: version,
        maxVersion: version,
        ALPNProtocols: ["h2", "http/1.1"],
      });
      const [session] = (await once(first, "session")) as [Buffer];
      assert.equal(first.getProtocol(), version);
      assert.equal(first.alpnProtocol, "h2");
      first.destroy();
      const second = tlsConnect({ ...options, minVersion: version, maxVersion: version, session });
      await once(second, "secureConnect");
      assert.equal(second.isSessionReused(), true, version);
      second.destroy();
    }
    const old = tlsConnect({
      ...options,
      minVersion: "TLSv1.1",
      maxVersion: "TLSv1.1",
      ciphers: "ALL:@SECLEVEL=0",
    });
    const [error] = (await once(old, "error")) as [Error];
    assert.match(error.message, /protocol version|unsupported protocol|alert/i);
  } finally {
    await rig.stop();
  }
});

test("a slow reader stops the web server from being read, and nothing else", async () => {
  const MEGABYTES = 64;
  let written = 0;
  const flood = await rawServer((socket) => {
    const piece = Buffer.alloc(1 << 20, "x");
    socket.write(`HTTP/1.1 200 OK\r\nContent-Length: ${MEGABYTES << 20}\r\n\r\n`);
    const more = (): void => {
      while (written < MEGABYTES && socket.write(piece)) written++;
    };
    socket.on("drain", more);
    socket.once("data", more);
  });
  const rig = await startRig({ serverPorts: [flood.port] });
  try {
    const reader = connect(rig.httpPort, "127.0.0.1");
    reader.pause();
    reader.write("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    await sleep(500);
    const [client] = rig.worker.clients;
    const queued = client!.stream.pending_bytes;
    assert.ok(queued > 0 && queued < 131_072 + 65_536 + 1, `${queued} bytes are queued`);
    assert.ok(written < MEGABYTES, "the web server was not held back");
    const quick = await exchange(rig.httpPort, "GET / HTTP/1.1\r\n\r\n");
    assert.match(quick, /^HTTP\/1\.1 400/, "others are served meanwhile");
    let got = 0;
    reader.on("data", (data) => (got += data.length));
    reader.resume();
    await until(() => got > MEGABYTES << 20, "the rest did not come");
    reader.destroy();
  } finally {
    flood.server.close();
    await rig.stop();
  }
});

test("a client that takes nothing of its response is dropped after a while", async () => {
  const flood = await rawServer((socket) => {
    socket.once("data", () => {
      socket.write("HTTP/1.1 200 OK\r\nContent-Length: 100000000\r\n\r\n");
      for (let i = 0; i < 100; i++) socket.write(Buffer.alloc(1_000_000));
    });
  });
  const rig = await startRig({ serverPorts: [flood.port], timeouts: { client_write_ms: 300 } });
  try {
    const reader = connect(rig.httpPort, "127.0.0.1");
    reader.on("error", () => {});
    reader.pause();
    reader.write("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    await until(() => rig.worker.counters.requests === 1, "no request");
    await until(() => rig.worker.clients.size === 0, "the client is still there");
    assert.equal(rig.worker.pools[0]!.servers[0]!.counters.open_connections, 0);
    reader.destroy();
  } finally {
    flood.server.close();
    await rig.stop();
  }
});

test("a response that is cut off is passed on as cut off, never as whole", async () => {
  const cutter = await rawServer((socket) => {
    socket.once("data", () => {
      socket.write("HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\nhalf", () => socket.destroy());
    });
  });
  const rig = await startRig({ serverPorts: [cutter.port] });
  try {
    const answer = await exchange(rig.httpPort, "GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
    assert.match(answer, /<.*ECONNRESET.*>$/);
  } finally {
    cutter.server.close();
    await rig.stop();
  }
});

test("abrupt ends of every kind leave no socket and no connection behind", async () => {
  let dropUpload = false;
  const server = await rawServer((socket) => {
    socket.on("data", (data) => {
      if (dropUpload) socket.resetAndDestroy();
      else if (data.includes("/half")) socket.write("HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\nsome");
    });
  });
  const timeouts = { request_body_ms: 300, request_head_ms: 300, keep_alive_ms: 300, linger_ms: 100 };
  const rig = await startRig({ serverPorts: [server.port], timeouts });
  const upload = "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 100000\r\n\r\nsome";
  const before = openDescriptors();
  try {
    for (let round = 0; round < 5; round++) {
      // The client goes in the midst of its upload, and in the midst of its download, with FIN and with RST.
      for (const [bytes, end] of [
        [upload, "destroy"],
        [upload, "resetAndDestroy"],
        ["GET /half HTTP/1.1\r\nHost: a\r\n\r\n", "destroy"],
        ["GET /half HTTP/1.1\r\nHost: a\r\n\r\n", "resetAndDestroy"],
        ["GET / HTT", "resetAndDestroy"],
        ["", "destroy"],
      ] as const) {
        const socket = connect(rig.httpPort, "127.0.0.1");
        await once(socket, "connect");
        if (bytes !== "") socket.write(bytes);
        await sleep(20);
        socket[end]();
      }
      // A half-open client: its part of the body never comes, nor does its end.
      const halfOpen = connect(rig.httpPort, "127.0.0.1");
      halfOpen.write(upload);
      assert.match(await readAll(halfOpen), /^HTTP\/1\.1 408/);
      // A TLS client that goes in the midst of its handshake.
      const handshake = connect(rig.httpsPort, "127.0.0.1");
      handshake.write(Buffer.from("16030100", "hex"));
      await sleep(10);
      handshake.destroy();
      // The web server resets in the midst of an upload.
      dropUpload = true;
      await exchange(rig.httpPort, upload);
      dropUpload = false;
    }
    await until(() => rig.worker.clients.size === 0, "client connections are left");
    const [web] = rig.worker.pools[0]!.servers;
    await until(() => web!.counters.open_connections === 0, "connections to the web server are left");
    await until(() => openDescriptors() <= before, `descriptors grew from ${before} to ${openDescriptors()}`);
  } finally {
    server.server.close();
    await rig.stop();
  }
});

test("while draining, a request under way is answered and the connection then closed", async () => {
  const slow = await webServer((_request, response) => void setTimeout(() => response.end("done"), 300));
  const rig = await startRig({ serverPorts: [slow.port] });
  try {
    const idle = connect(rig.httpPort, "127.0.0.1");
    idle.write("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    await once(idle, "data");
    const answer = exchange(rig.httpPort, "GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    await until(() => rig.worker.counters.requests === 2, "no request");
    await Promise.all([rig.drain(), readAll(idle)]);
    assert.match(await answer, /^HTTP\/1\.1 200 .*[Cc]onnection: close.*done/s);
  } finally {
    slow.server.close();
    await rig.stop();
  }
});

test("beyond the limit of connections some are told so, the next ones wait, and are served when others have gone", async () => {
  const rig = await startRig({ serverPorts: [echo.port], limits: { connections_per_worker: 2 } });
  const get = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";
  try {
    const opened = async (count: number): Promise<Socket[]> => {
      const sockets = Array.from({ length: count }, () => connect(rig.httpPort, "127.0.0.1"));
      await Promise.all(sockets.map((socket) => once(socket, "connect")));
      return sockets;
    };
    const first = await opened(2);
    await until(() => rig.worker.clients.size === 2, "two are not connected");
    assert.match(
      await exchange(rig.httpPort, get),
      /^HTTP\/1\.1 503 .*Retry-After: \d+\r\nConnection: close/s,
    );
    const surplus = await opened(SHED_CONNECTIONS);
    await until(() => rig.worker.clients.size === 2 + SHED_CONNECTIONS, "the others are not connected");
    const waiting = exchange(rig.httpPort, get.replace("\r\n\r\n", "\r\nConnection: close\r\n\r\n"));
    await sleep(100);
    assert.equal(rig.worker.clients.size, 2 + SHED_CONNECTIONS);
    for (const socket of [...first, ...surplus.slice(1)]) socket.destroy();
    assert.match(await waiting, /^HTTP\/1\.1 200/);
    // He was one too many, and is no longer.
    const [last] = surplus;
    last!.write(get.replace("\r\n\r\n", "\r\nConnection: close\r\n\r\n"));
    assert.match(await readAll(last!), /^HTTP\/1\.1 200/);
  } finally {
    await rig.stop();
  }
});

test("kept connections over TLS serve many requests", async () => {
  const rig = await startRig({ serverPorts: [echo.port] });
  const agent = new Agent({
    keepAlive: true,
    maxSockets: 1,
    ca: readFileSync(rig.ca),
    servername: "localhost",
  });
  try {
    for (let i = 0; i < 50; i++) {
      const request = httpsRequest({ agent, host: "127.0.0.1", port: rig.httpsPort, path: `/${i}` }).end();
      const [response] = (await once(request, "response")) as [IncomingMessage];
      assert.equal(response.statusCode, 200);
      await bodyOf(response);
    }
    assert.equal(rig.worker.counters.tls_handshakes, 1);
    assert.equal(rig.worker.counters.requests, 50);
  } finally {
    agent.destroy();
    await rig.stop();
  }
});
