/** HTTP/2 clients on a whole worker: Node's client, curl, h2load and nghttp where they are there, and raw frames. */
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { createHash, randomBytes } from "node:crypto";
import { once } from "node:events";
import { readFileSync } from "node:fs";
import {
  connect as http2Connect,
  constants,
  type ClientHttp2Session,
  type ClientHttp2Stream,
} from "node:http2";
import type { IncomingMessage, ServerResponse } from "node:http";
import { connect, type Socket } from "node:net";
import { after, describe, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { HTTP2_CONNECTION_WINDOW_BYTES } from "../../../conf/limits.ts";
import { CODE, FLAG, FRAME, PREFACE } from "../../../dlba-server/http2/wire.ts";
import { frame, number, POST, request, START } from "../http2/harness.ts";
import { rawServer, type Rig, startRig, until, webServer } from "./rig.ts";

const sha256 = (bytes: Buffer): string => createHash("sha256").update(bytes).digest("hex");

async function bodyOf(stream: AsyncIterable<unknown>): Promise<Buffer> {
  const pieces: Buffer[] = [];
  for await (const piece of stream) pieces.push(piece as Buffer);
  return Buffer.concat(pieces);
}

async function answerEcho(message: IncomingMessage, response: ServerResponse): Promise<void> {
  // A request that breaks off is nobody's to answer.
  const body = await bodyOf(message).catch(() => undefined);
  if (body === undefined) return;
  response.setHeader("x-request", `${message.method} ${message.url} HTTP/${message.httpVersion}`);
  response.setHeader("x-headers", JSON.stringify(message.headers));
  response.setHeader("x-trailers", JSON.stringify(message.trailers));
  response.setHeader("x-sha256", sha256(body));
  if (message.headers["x-chunked"] === undefined) response.setHeader("content-length", body.length);
  else response.setHeader("trailer", "x-sum");
  response.write(body);
  if (message.headers["x-chunked"] !== undefined) response.addTrailers({ "x-sum": sha256(body) });
  response.end();
}
const echo = await webServer((message, response) => void answerEcho(message, response));
after(() => echo.server.close());

interface Answer {
  readonly status: number;
  readonly headers: Record<string, unknown>;
  readonly trailers: Record<string, unknown>;
  readonly body: Buffer;
}

async function ask(
  client: ClientHttp2Session,
  headers: Record<string, string>,
  body?: Buffer,
  trailers?: Record<string, string>,
): Promise<Answer> {
  const stream = client.request(headers, {
    endStream: body === undefined,
    waitForTrailers: trailers !== undefined,
  });
  let seen: Record<string, unknown> = {};
  let last: Record<string, unknown> = {};
  stream.on("wantTrailers", () => stream.sendTrailers(trailers!));
  stream.on("response", (fields) => (seen = fields));
  stream.on("trailers", (fields) => (last = fields));
  if (body !== undefined) stream.end(body);
  const got = await bodyOf(stream);
  return { status: Number(seen[":status"]), headers: seen, trailers: last, body: got };
}

function connectTo(rig: Rig, scheme: "http" | "https"): ClientHttp2Session {
  const client =
    scheme === "http"
      ? http2Connect(`http://127.0.0.1:${rig.httpPort}`)
      : http2Connect(`https://localhost:${rig.httpsPort}`, { ca: readFileSync(rig.ca) });
  client.on("error", () => {});
  return client;
}

async function withRig<T>(
  options: Parameters<typeof startRig>[0],
  run: (rig: Rig) => Promise<T>,
): Promise<T> {
  const rig = await startRig(options);
  try {
    return await run(rig);
  } finally {
    await rig.stop();
  }
}

test("bodies of every size arrive whole both ways, with and without a length, over TLS and plain", () =>
  withRig({ serverPorts: [echo.port] }, async (rig) => {
    for (const scheme of ["http", "https"] as const) {
      const client = connectTo(rig, scheme);
      for (const size of [0, 1, 16_384, 65_535, 65_536, 300_000, 3_000_000]) {
        const body = randomBytes(size);
        for (const headers of [{ "content-length": String(size) }, { "x-chunked": "1" }]) {
          const answer = await ask(client, { ":method": "POST", ":path": "/echo?a=b", ...headers }, body);
          const what = `${size} bytes over ${scheme} with ${JSON.stringify(headers)}`;
          assert.equal(answer.status, 200, what);
          assert.equal(answer.headers["x-request"], "POST /echo?a=b HTTP/1.1", what);
          assert.equal(answer.headers["x-sha256"], sha256(body), `${what}: the upload`);
          assert.equal(sha256(answer.body), sha256(body), `${what}: the download`);
          if ("x-chunked" in headers) assert.equal(answer.trailers["x-sum"], sha256(body));
        }
      }
      client.close();
    }
  }));

test("a hundred streams at once on one connection", () =>
  withRig({ serverPorts: [echo.port] }, async (rig) => {
    const client = connectTo(rig, "https");
    const answers = await Promise.all(
      Array.from({ length: 100 }, async (_, index) => {
        const body = randomBytes(index * 997);
        const answer = await ask(client, { ":method": "POST", ":path": `/${index}` }, body);
        return answer.headers["x-request"] === `POST /${index} HTTP/1.1` && answer.body.equals(body);
      }),
    );
    assert.ok(answers.every(Boolean));
    client.close();
  }));

test("what a web server gets is what HTTP/1.1 has for it, and trailers go both ways", () =>
  withRig({ serverPorts: [echo.port], vserver: { request_id: true } }, async (rig) => {
    const client = connectTo(rig, "http");
    const fields = { ":method": "POST", ":path": "/", cookie: "a=1", te: "trailers", "x-a": "b" };
    const answer = await ask(client, fields, Buffer.from("x"), { "x-last": "yes" });
    const got = JSON.parse(String(answer.headers["x-headers"])) as Record<string, string>;
    assert.equal(got["host"], `127.0.0.1:${rig.httpPort}`);
    assert.equal(got["cookie"], "a=1");
    assert.equal(got["te"], "trailers");
    assert.equal(got["x-a"], "b");
    assert.equal(got["transfer-encoding"], "chunked");
    assert.equal(got["x-forwarded-for"], "127.0.0.1");
    assert.match(got["x-request-id"] ?? "", /^[0-9a-f]{28}$/);
    assert.equal(got["via"], "2.0 rig");
    assert.deepEqual(JSON.parse(String(answer.headers["x-trailers"])), { "x-last": "yes" });
    assert.match(String(answer.headers["set-cookie"]), /^DLBA=/);
    client.close();
  }));

describe("odd responses", () => {
  test("HEAD, 204 and 304 have no body, and 103 comes before its response", async () => {
    const web = await webServer((message, response) => {
      if (message.url === "/early") {
        response.writeEarlyHints({ link: "</a.css>; rel=preload" });
        response.end("late");
      } else response.writeHead(Number(message.url!.slice(1))).end();
    });
    await withRig({ serverPorts: [web.port] }, async (rig) => {
      const client = connectTo(rig, "http");
      assert.deepEqual((await ask(client, { ":method": "HEAD", ":path": "/200" })).status, 200);
      for (const status of [204, 304]) {
        const answer = await ask(client, { ":path": `/${status}` });
        assert.deepEqual([answer.status, answer.body.length], [status, 0]);
      }
      const stream = client.request({ ":path": "/early" });
      const [hints] = (await once(stream, "headers")) as [Record<string, unknown>];
      assert.equal(hints[":status"], 103);
      assert.equal((await bodyOf(stream)).toString(), "late");
      client.close();
    });
    web.server.close();
  });
  test("a response that breaks off is reset, and the connection goes on", async () => {
    const web = await rawServer((socket) =>
      socket.once("data", (data) => {
        const isGood = data.includes("/good");
        socket.write(`HTTP/1.1 200 OK\r\nContent-Length: ${isGood ? 4 : 100}\r\n\r\nhalf`);
        if (!isGood) setImmediate(() => socket.destroy());
      }),
    );
    await withRig({ serverPorts: [web.port] }, async (rig) => {
      const client = connectTo(rig, "http");
      const stream = client.request({ ":path": "/bad" });
      stream.resume();
      const [error] = (await once(stream, "error")) as [Error & { code: string }];
      assert.match(error.message, /NGHTTP2_INTERNAL_ERROR/);
      assert.equal((await ask(client, { ":path": "/good" })).body.toString(), "half");
      client.close();
    });
    web.server.close();
  });
  test("the proxy's own answers: no web server, an unknown host, CONNECT, a head that is too large", () =>
    withRig({ serverPorts: [1], vserver: { hosts: ["served.example"] } }, async (rig) => {
      const client = connectTo(rig, "http");
      const served = { ":authority": "served.example" };
      const down = await ask(client, { ...served, ":path": "/" });
      assert.deepEqual([down.status, down.headers["retry-after"]], [503, "5"]);
      assert.match(down.body.toString(), /No web server/);
      assert.equal((await ask(client, { ":path": "/", ":authority": "other.example" })).status, 404);
      const head = await ask(client, { ...served, ":path": "/", ":method": "HEAD" });
      assert.deepEqual([head.status, head.body.length], [503, 0]);
      const large = await ask(client, { ...served, ":path": "/", "x-large": "x".repeat(33_000) });
      assert.equal(large.status, 431);
      assert.equal((await ask(client, { ...served, ":path": `/${"x".repeat(9000)}` })).status, 414);
      const connect = client.request({ ":method": "CONNECT", ":authority": "served.example:443" });
      const [fields] = (await once(connect, "response")) as [Record<string, unknown>];
      assert.equal(fields[":status"], 501);
      connect.destroy();
      client.close();
      assert.equal(rig.worker.counters.own_answers.get(503), 2);
      assert.deepEqual(
        rig.worker.refusals.kept.map(({ status }) => status),
        [431, 414, 501],
      );
    }));
});

describe("back-pressure", () => {
  const SIZE = 8_000_000;
  test("a client that does not read holds its own web server up, and nobody else's", async () => {
    let sent = 0;
    const web = await rawServer((socket) =>
      socket.on("data", (data) => {
        if (data.includes("/small")) return socket.write("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nsmall");
        socket.write(`HTTP/1.1 200 OK\r\nContent-Length: ${SIZE}\r\n\r\n`);
        const piece = Buffer.alloc(65_536, "x");
        const more = (): void => {
          while (sent < SIZE) {
            const length = Math.min(piece.length, SIZE - sent);
            sent += length;
            if (!socket.write(piece.subarray(0, length))) return void socket.once("drain", more);
          }
        };
        more();
      }),
    );
    await withRig({ serverPorts: [web.port] }, async (rig) => {
      const client = connectTo(rig, "https");
      await once(client, "connect");
      // The connection's window is not what holds it up here.
      client.setLocalWindowSize(2 * SIZE);
      const large = client.request({ ":path": "/large" });
      await once(large, "response");
      large.pause();
      for (let i = 0; i < 5; i++)
        assert.equal((await ask(client, { ":path": "/small" })).body.toString(), "small");
      const [connection] = rig.worker.clients;
      const [stream] = connection!.mux!.http2.streams.values();
      assert.ok(stream!.pending_bytes <= 65_536, `${stream!.pending_bytes} bytes wait`);
      assert.ok(sent < SIZE);
      assert.equal((await bodyOf(large)).length, SIZE);
      client.close();
    });
    web.server.close();
  });
  test("a web server that does not read holds its own client's stream up, and nobody else's", async () => {
    const held: Socket[] = [];
    let isRead = false;
    const web = await rawServer((socket) => {
      let got = 0;
      socket.on("data", (data) => {
        got += data.length;
        if (data.includes("/small")) socket.write("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nsmall");
        else if (!isRead) {
          held.push(socket);
          socket.pause();
        } else if (got >= SIZE) socket.write("HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nbig");
      });
    });
    await withRig({ serverPorts: [web.port] }, async (rig) => {
      const client = connectTo(rig, "http");
      const upload: ClientHttp2Stream = client.request({
        ":method": "POST",
        ":path": "/large",
        "content-length": SIZE,
      });
      upload.end(Buffer.alloc(SIZE, "y"));
      await until(() => held.length === 1, "the upload has not begun");
      for (let i = 0; i < 5; i++)
        assert.equal((await ask(client, { ":path": "/small" })).body.toString(), "small");
      isRead = true;
      held[0]!.resume();
      assert.equal((await bodyOf(upload)).toString(), "big");
      client.close();
    });
    web.server.close();
  });
});

test("what the kernel does not take of a large response follows, however large the windows are", async () => {
  const SIZE = 20_000_000;
  const piece = Buffer.alloc(SIZE, "z");
  const web = await webServer((_message, response) => response.end(piece));
  await withRig({ serverPorts: [web.port] }, async (rig) => {
    const socket = connect(rig.httpPort, "127.0.0.1").pause();
    const wide = frame(FRAME.settings, 0, 0, Buffer.concat([Buffer.from([0, 4]), number(0x7fffffff)]));
    socket.write(
      Buffer.concat([
        PREFACE,
        wide,
        frame(FRAME.windowUpdate, 0, 0, number(0x7fff0000 - 65_535)),
        request(1),
      ]),
    );
    await until(
      () => [...rig.worker.clients].some(({ stream }) => stream.pending_bytes > 0),
      "nothing waits",
    );
    const [client] = rig.worker.clients;
    assert.ok(client!.stream.pending_bytes < 1_000_000);
    let zs = 0;
    for await (const data of socket) {
      for (const byte of data as Buffer) if (byte === 122) zs++;
      if (zs >= SIZE) break;
    }
    // Heads may have one of these bytes, too.
    assert.ok(zs >= SIZE && zs < SIZE + 100, `${zs} bytes`);
  });
  web.server.close();
});

describe("clients that go away", () => {
  test("a stream that is reset lets go of its web server, and a connection that is cut of all of them", async () => {
    const gone: number[] = [];
    let count = 0;
    const web = await rawServer((socket) => {
      const number = count++;
      socket.resume();
      socket.on("close", () => gone.push(number));
    });
    await withRig({ serverPorts: [web.port] }, async (rig) => {
      const client = connectTo(rig, "http");
      const streams = [1, 2, 3].map(() => client.request({ ":path": "/" }));
      for (const stream of streams) stream.on("error", () => {});
      await until(() => count === 3, "the requests are not there");
      streams[0]!.close(constants.NGHTTP2_CANCEL);
      await until(() => gone.length === 1, "the first one is not let go of");
      client.destroy();
      await until(() => gone.length === 3, "the others are not let go of");
      await until(() => rig.worker.clients.size === 0, "the client is still there");
      assert.deepEqual(
        rig.worker.pools[0]!.state.servers.map(({ load }) => load),
        [0],
      );
    });
    web.server.close();
  });
  test("a flood is answered with ENHANCE_YOUR_CALM, and the connection closed", () =>
    withRig({ serverPorts: [echo.port] }, async (rig) => {
      const socket = connect(rig.httpPort, "127.0.0.1");
      socket.write(START);
      socket.write(
        Buffer.concat(Array.from({ length: 8000 }, () => frame(FRAME.ping, 0, 0, Buffer.alloc(8)))),
      );
      const got = await bodyOf(socket);
      assert.equal(got.readUInt32BE(got.length - 4), constants.NGHTTP2_ENHANCE_YOUR_CALM);
      await until(() => rig.worker.clients.size === 0, "the client is still there");
    }));
});

describe("the end of a worker", () => {
  test("what is under way is answered, and so is what was on its way when the client was told", async () => {
    const waiting: ServerResponse[] = [];
    const web = await webServer((_message, response) => void waiting.push(response));
    await withRig({ serverPorts: [web.port] }, async (rig) => {
      const socket = connect(rig.httpPort, "127.0.0.1");
      const got: Buffer[] = [];
      socket.on("data", (data) => got.push(data));
      const isClosed = once(socket, "close");
      socket.write(Buffer.concat([START, request(1)]));
      await until(() => waiting.length === 1, "the request is not there");
      const isDrained = rig.drain();
      await until(() => Buffer.concat(got).includes(Buffer.from("7fffffff", "hex")), "nothing was announced");
      // The client has not heard of it when it asks once more; then it answers the PING.
      socket.write(Buffer.concat([request(3), frame(FRAME.ping, FLAG.ack, 0, Buffer.alloc(8))]));
      await until(() => waiting.length === 2, "the second request is not served");
      for (const response of waiting) response.end("done");
      await isDrained;
      await isClosed;
      const text = Buffer.concat(got);
      assert.equal(text.toString("latin1").split("done").length, 3);
      assert.ok(text.includes(frame(FRAME.goaway, 0, 0, Buffer.concat([number(3), number(0)]))));
    });
    web.server.close();
  });
});

describe("time-outs", () => {
  test("an idle connection is told and closed; one that never asks sooner; a stuck body is answered", () =>
    withRig(
      {
        serverPorts: [echo.port],
        timeouts: { keep_alive_ms: 1500, request_head_ms: 1000, request_body_ms: 500 },
      },
      async (rig) => {
        const silent = connect(rig.httpPort, "127.0.0.1");
        silent.write(START);
        const idle = connect(rig.httpPort, "127.0.0.1");
        idle.write(Buffer.concat([START, request(1, POST, 0)]));
        const [first, second] = await Promise.all([bodyOf(silent), bodyOf(idle)]);
        assert.ok(first.includes(goaway(0)));
        assert.ok(second.includes(goaway(1)));
        assert.equal(rig.worker.counters.own_answers.get(408), 1);
      },
    ));
});

test("a vserver without http2 speaks HTTP/1.1 only", () =>
  withRig({ serverPorts: [echo.port], vserver: { http2: false } }, async (rig) => {
    const plain = connect(rig.httpPort, "127.0.0.1");
    plain.write(START);
    assert.match((await bodyOf(plain)).toString("latin1"), /^HTTP\/1\.1 /);
    const curl = await run("curl", [
      "-sk",
      "--http2",
      "-o",
      "/dev/null",
      "-w",
      "%{http_version}",
      `https://127.0.0.1:${rig.httpsPort}/`,
    ]);
    assert.equal(curl, "1.1");
  }));

test("a preface in pieces, and a request of HTTP/1.1 that begins like one", () =>
  withRig({ serverPorts: [echo.port] }, async (rig) => {
    const socket = connect(rig.httpPort, "127.0.0.1").setNoDelay();
    const bytes = Buffer.concat([START, request(1)]);
    const isAnswered = once(socket, "data");
    for (const byte of bytes.subarray(0, 30)) {
      socket.write(Buffer.from([byte]));
      await new Promise((resolve) => setImmediate(resolve));
    }
    socket.write(bytes.subarray(30));
    assert.equal(((await isAnswered) as [Buffer])[0][3], FRAME.settings);
    socket.destroy();
    const other = connect(rig.httpPort, "127.0.0.1").setNoDelay();
    other.write("PR");
    await new Promise((resolve) => setImmediate(resolve));
    other.write("OPFIND / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
    assert.match((await bodyOf(other)).toString("latin1"), /x-request: PROPFIND \/ HTTP\/1\.1/);
  }));

describe("other clients", () => {
  test("curl over TLS and plain, up and down", () =>
    withRig({ serverPorts: [echo.port] }, async (rig) => {
      for (const [flag, url] of [
        ["--http2", `https://localhost:${rig.httpsPort}/`],
        ["--http2-prior-knowledge", `http://127.0.0.1:${rig.httpPort}/`],
      ]) {
        const args = [
          "-sS",
          flag!,
          "--cacert",
          rig.ca,
          "-w",
          " %{http_version} %{http_code}",
          "--data-binary",
          "hello",
          url!,
        ];
        assert.equal(await run("curl", args), "hello 2 200");
      }
    }));
  test("h2load: thousands of requests, none of which fails", () =>
    withRig({ serverPorts: [echo.port] }, async (rig) => {
      const text = await run("h2load", [
        "-n",
        "2000",
        "-c",
        "8",
        "-m",
        "10",
        `https://127.0.0.1:${rig.httpsPort}/`,
      ]);
      assert.match(text, /2000 succeeded, 0 failed, 0 errored, 0 timeout/);
      await until(() => rig.worker.clients.size === 0, "clients are still there");
    }));
});

/** GOAWAY without a complaint. */
const goaway = (last: number): Buffer => frame(FRAME.goaway, 0, 0, Buffer.concat([number(last), number(0)]));

async function run(program: string, args: readonly string[]): Promise<string> {
  const child = spawn(program, args, { stdio: ["ignore", "pipe", "inherit"] });
  return (await bodyOf(child.stdout)).toString();
}

test("what nobody took of requests that were reset is given back to the connection's window", async () => {
  const web = await rawServer((socket) => socket.resume());
  await withRig({ serverPorts: [web.port] }, async (rig) => {
    const socket = connect(rig.httpPort, "127.0.0.1");
    const ids = Array.from({ length: 20 }, (_, index) => 2 * index + 1);
    const requests = ids.flatMap((id) => [
      request(id, POST, 0),
      frame(FRAME.data, 0, id, Buffer.alloc(10_000)),
      frame(FRAME.rstStream, 0, id, number(8)),
    ]);
    socket.write(Buffer.concat([START, ...requests]));
    const last = (): number => [...rig.worker.clients][0]?.mux?.http2.lastStream ?? 0;
    await until(() => last() === ids.at(-1), "the requests have not been read");
    const { http2 } = [...rig.worker.clients][0]!.mux!;
    await until(() => http2.streams.size === 0, "streams are still there");
    assert.equal(http2.receiveWindow + http2.unreturned_bytes, HTTP2_CONNECTION_WINDOW_BYTES);
    socket.destroy();
  });
  web.server.close();
});

test("a client that gives no window for its response is reset, and its web server not blamed", async () => {
  const web = await rawServer((socket) =>
    socket.on("data", () => {
      socket.write("HTTP/1.1 200 OK\r\nContent-Length: 200000\r\n\r\n");
      socket.write(Buffer.alloc(200_000));
    }),
  );
  await withRig({ serverPorts: [web.port], timeouts: { client_write_ms: 300 } }, async (rig) => {
    const socket = connect(rig.httpPort, "127.0.0.1");
    const noWindow = frame(FRAME.settings, 0, 0, Buffer.concat([Buffer.from([0, 4]), number(0)]));
    socket.write(Buffer.concat([START, noWindow, request(1)]));
    const pieces: Buffer[] = [];
    socket.on("data", (piece) => pieces.push(piece));
    const reset = frame(FRAME.rstStream, 0, 1, number(CODE.cancel));
    await until(() => Buffer.concat(pieces).includes(reset), "the stream has not been reset");
    assert.equal(rig.worker.pools[0]!.servers[0]!.counters.response_failures, 0);
    assert.equal(rig.worker.pools[0]!.state.servers[0]!.load, 0);
    socket.destroy();
  });
  web.server.close();
});

test("a client that gives its response little window at a time is served on", async () => {
  const web = await rawServer((socket) =>
    socket.on("data", () => {
      socket.write("HTTP/1.1 200 OK\r\nContent-Length: 200000\r\n\r\n");
      socket.write(Buffer.alloc(200_000));
    }),
  );
  await withRig({ serverPorts: [web.port], timeouts: { client_write_ms: 1500 } }, async (rig) => {
    const socket = connect(rig.httpPort, "127.0.0.1");
    const noWindow = frame(FRAME.settings, 0, 0, Buffer.concat([Buffer.from([0, 4]), number(0)]));
    socket.write(Buffer.concat([START, noWindow, request(1)]));
    socket.resume();
    await until(() => rig.worker.counters.requests === 1, "the request has not been read");
    const [connection] = rig.worker.clients;
    const { streams } = connection!.mux!.http2;
    await until(() => (streams.get(1)?.pending_bytes ?? 0) > 0, "nothing waits");
    // Twice as long as it may take nothing.
    for (let i = 0; i < 15; i++) {
      await sleep(200);
      socket.write(frame(FRAME.windowUpdate, 0, 1, number(1000)));
    }
    assert.ok(streams.get(1)!.pending_bytes > 0);
    socket.destroy();
  });
  web.server.close();
});
