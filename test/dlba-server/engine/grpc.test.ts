/** Web servers that speak HTTP/2, as gRPC has them: Node's server behind a worker, Node's client and HTTP/1.1 in front. */
import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { once } from "node:events";
import { request as httpRequest, type IncomingMessage } from "node:http";
import {
  type ClientHttp2Session,
  connect,
  constants,
  createServer,
  type Http2Server,
  type IncomingHttpHeaders,
  type ServerHttp2Session,
  type ServerHttp2Stream,
} from "node:http2";
import { test } from "node:test";
import { HTTP2_CONNECTION_WINDOW_BYTES } from "../../../conf/limits.ts";
import { FLAG, FRAME } from "../../../dlba-server/http2/wire.ts";
import { block, frame, number } from "../http2/harness.ts";
import { exchange, rawServer, type Rig, type RigOptions, startRig, until } from "./rig.ts";

type Handler = (stream: ServerHttp2Stream, headers: IncomingHttpHeaders) => void;

interface Surroundings {
  readonly rig: Rig;
  readonly client: ClientHttp2Session;
  readonly sessions: ServerHttp2Session[];
}

/** A web server with this handler, a worker before it, and a client. */
async function withGrpc(
  handler: Handler,
  run: (surroundings: Surroundings) => Promise<void>,
  options: Partial<RigOptions> = {},
): Promise<void> {
  const sessions: ServerHttp2Session[] = [];
  const server: Http2Server = createServer();
  server.on("session", (session) => sessions.push(session));
  server.on("stream", (stream, headers) => {
    stream.on("error", () => undefined);
    handler(stream, headers);
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address() as { port: number };
  const rig = await startRig({ serverPorts: [port], pool: { protocol: "h2" }, ...options });
  const client = connect(`http://127.0.0.1:${rig.httpPort}`);
  client.on("error", () => undefined);
  try {
    await run({ rig, client, sessions });
  } finally {
    client.destroy();
    await rig.stop();
    for (const session of sessions) session.destroy();
    server.close();
  }
}

async function bodyOf(stream: AsyncIterable<unknown>): Promise<Buffer> {
  const pieces: Buffer[] = [];
  for await (const piece of stream) pieces.push(piece as Buffer);
  return Buffer.concat(pieces);
}

const CALL = {
  ":method": "POST",
  ":path": "/echo.Echo/Say",
  "content-type": "application/grpc",
  te: "trailers",
};
const OK = { ":status": 200, "content-type": "application/grpc" };

/** Echoes what comes, as it comes, and ends with a status in trailers. */
const echo: Handler = (stream) => {
  stream.respond(OK, { waitForTrailers: true });
  stream.on("wantTrailers", () => stream.sendTrailers({ "grpc-status": "0", "grpc-message": "fine" }));
  stream.pipe(stream);
};

test("a call of any size comes back with its trailers, and knows what it was asked with", () => {
  let seen: IncomingHttpHeaders = {};
  return withGrpc(
    (stream, headers) => {
      seen = headers;
      echo(stream, headers);
    },
    async ({ client }) => {
      for (const size of [0, 5, 65_536, 2_000_000]) {
        const body = randomBytes(size);
        const call = client.request({ ...CALL, cookie: "a=1" });
        call.end(body);
        const trailers = once(call, "trailers") as Promise<[Record<string, string>]>;
        assert.ok((await bodyOf(call)).equals(body), `${size} bytes`);
        const [last] = await trailers;
        assert.deepEqual([last["grpc-status"], last["grpc-message"]], ["0", "fine"]);
      }
      assert.equal(seen[":path"], "/echo.Echo/Say");
      assert.equal(seen[":scheme"], "http");
      assert.equal(seen["te"], "trailers");
      assert.equal(seen["cookie"], "a=1");
      assert.equal(seen["x-forwarded-for"], "127.0.0.1");
      assert.equal(seen["connection"], undefined);
      assert.equal(seen["transfer-encoding"], undefined);
    },
  );
});

test("messages go both ways while the call lasts", () =>
  withGrpc(echo, async ({ client }) => {
    const call = client.request(CALL);
    call.write("first");
    const [fields] = (await once(call, "response")) as [IncomingHttpHeaders];
    assert.equal(fields[":status"], 200);
    for (const message of ["first", "second", "third"]) {
      if (message !== "first") call.write(message);
      const [piece] = (await once(call, "data")) as [Buffer];
      assert.equal(piece.toString(), message);
    }
    const trailers = once(call, "trailers") as Promise<[Record<string, string>]>;
    call.end();
    assert.equal((await trailers)[0]["grpc-status"], "0");
  }));

test("an answer of trailers alone stays one", () =>
  withGrpc(
    (stream) => stream.respond({ ...OK, "grpc-status": "12" }, { endStream: true }),
    async ({ client }) => {
      const call = client.request(CALL);
      call.end("x");
      const [fields] = (await once(call, "response")) as [IncomingHttpHeaders];
      assert.equal(fields["grpc-status"], "12");
      assert.equal((await bodyOf(call)).length, 0);
    },
  ));

test("trailers come behind a body with a length, too, to clients that have room for them", () =>
  withGrpc(
    (stream, headers) => {
      const body = headers[":path"] === "/empty" ? "" : "body";
      stream.respond({ ...OK, "content-length": String(body.length) }, { waitForTrailers: true });
      stream.on("wantTrailers", () => stream.sendTrailers({ "grpc-status": "3" }));
      stream.end(body);
    },
    async ({ client, rig }) => {
      for (const path of ["/full", "/empty"]) {
        const call = client.request({ ...CALL, ":path": path });
        call.end();
        const trailers = once(call, "trailers") as Promise<[Record<string, string>]>;
        assert.equal(String(await bodyOf(call)), path === "/full" ? "body" : "");
        assert.equal((await trailers)[0]["grpc-status"], "3");
      }
      const lines = "GET /full HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";
      assert.match(
        await exchange(rig.httpPort, lines),
        /^HTTP\/1\.1 200 OK\r\n[^]*\r\ncontent-length: 4\r\n[^]*\r\n\r\nbody$/,
      );
    },
  ));

test("a body with a length arrives whole, whether its end comes with its last piece or behind it", async () => {
  const begun = [frame(FRAME.settings, 0, 0)];
  const fields: [string, string][] = [
    [":status", "200"],
    ["content-length", "4"],
  ];
  for (const ends of ["with", "behind"]) {
    const web = await rawServer((socket) =>
      socket.once("data", () => {
        const head = frame(FRAME.headers, FLAG.endHeaders, 1, block(fields));
        const flags = ends === "with" ? FLAG.endStream : 0;
        const last = frame(FRAME.data, flags, 1, Buffer.from("dy"));
        const end = ends === "with" ? [] : [frame(FRAME.data, FLAG.endStream, 1)];
        socket.write(
          Buffer.concat([...begun, head, frame(FRAME.data, 0, 1, Buffer.from("bo")), last, ...end]),
        );
      }),
    );
    const rig = await startRig({ serverPorts: [web.port], pool: { protocol: "h2" } });
    const client = connect(`http://127.0.0.1:${rig.httpPort}`);
    client.on("error", () => undefined);
    assert.equal(String(await bodyOf(client.request({ ":path": "/" }))), "body");
    client.destroy();
    await rig.stop();
    web.server.close();
  }
});

test("a hundred calls share one connection to the web server, and a later one takes it, too", () =>
  withGrpc(echo, async ({ client, sessions, rig }) => {
    const call = async (): Promise<boolean> => {
      const body = randomBytes(1000);
      const stream = client.request(CALL);
      stream.end(body);
      return (await bodyOf(stream)).equals(body);
    };
    const answers = await Promise.all(Array.from({ length: 100 }, call));
    assert.ok(answers.every(Boolean) && (await call()));
    assert.equal(sessions.length, 1);
    const [pool] = rig.worker.pools;
    assert.equal(pool!.state.servers[0]!.load, 0);
    assert.equal(pool!.servers[0]!.upstreams.length, 1);
  }));

test("clients of HTTP/1.1 are served as well", () =>
  withGrpc(echo, async ({ rig }) => {
    const body = randomBytes(300_000);
    for (const headers of [{ "content-length": body.length }, { "transfer-encoding": "chunked" }]) {
      const message = httpRequest({ port: rig.httpPort, method: "POST", path: "/", headers });
      message.end(body);
      const [response] = (await once(message, "response")) as [IncomingMessage];
      assert.equal(response.statusCode, 200);
      assert.ok((await bodyOf(response)).equals(body));
      assert.equal(response.trailers["grpc-status"], "0");
    }
  }));

test("a call that is cancelled is cancelled at the web server", async () => {
  let code = -1;
  await withGrpc(
    (stream) => {
      stream.respond(OK);
      stream.write("begun");
      stream.on("close", () => (code = stream.rstCode));
    },
    async ({ client, sessions }) => {
      const call = client.request(CALL);
      await once(call, "data");
      call.close(constants.NGHTTP2_CANCEL);
      await until(() => code !== -1, "the web server has not heard of it");
      assert.equal(code, constants.NGHTTP2_CANCEL);
      assert.equal(sessions[0]!.destroyed, false);
    },
  );
});

test("a call that the web server resets is reset with its code", async () => {
  const web = await rawServer((socket) =>
    socket.once("data", () => {
      const begun = [frame(FRAME.settings, 0, 0), frame(FRAME.headers, FLAG.endHeaders, 1, [0x88])];
      const reset = frame(FRAME.rstStream, 0, 1, number(constants.NGHTTP2_ENHANCE_YOUR_CALM));
      socket.write(Buffer.concat([...begun, frame(FRAME.data, 0, 1, Buffer.from("begun")), reset]));
    }),
  );
  const rig = await startRig({ serverPorts: [web.port], pool: { protocol: "h2" } });
  const client = connect(`http://127.0.0.1:${rig.httpPort}`);
  client.on("error", () => undefined);
  const call = client.request(CALL);
  call.resume();
  const [error] = (await once(call, "error")) as [Error];
  assert.match(error.message, /NGHTTP2_ENHANCE_YOUR_CALM/);
  client.destroy();
  await rig.stop();
  web.server.close();
});

test("a request that was refused before it was looked at goes there once more", async () => {
  let count = 0;
  await withGrpc(
    (stream) => {
      if (count++ === 0) stream.close(constants.NGHTTP2_REFUSED_STREAM);
      else stream.respond({ ":status": 200, "x-count": count }, { endStream: true });
    },
    async ({ client }) => {
      const call = client.request({ ":path": "/" });
      const [fields] = (await once(call, "response")) as [IncomingHttpHeaders];
      assert.equal(fields["x-count"], "2");
    },
  );
});

test("a web server that says goodbye gets no more calls on that connection, and those that are there end well", () =>
  withGrpc(echo, async ({ client, sessions, rig }) => {
    const first = client.request(CALL);
    first.write("a");
    await once(first, "data");
    sessions[0]!.goaway(constants.NGHTTP2_NO_ERROR, 1);
    const [connection] = rig.worker.pools[0]!.servers[0]!.upstreams;
    await until(() => connection!.upstreams!.isGoingAway, "the worker has not heard of it");
    const second = client.request(CALL);
    second.end("b");
    assert.equal((await bodyOf(second)).toString(), "b");
    first.end("c");
    assert.equal((await bodyOf(first)).toString(), "c");
  }));

test("who is not there is answered for, and a connection that breaks ends its calls", async () => {
  await withGrpc(
    echo,
    async ({ client }) => {
      const call = client.request(CALL);
      const [fields] = (await once(call, "response")) as [IncomingHttpHeaders];
      assert.equal(fields[":status"], 503);
      call.destroy();
    },
    { serverPorts: [1] },
  );
  await withGrpc(echo, async ({ client, sessions }) => {
    const call = client.request(CALL);
    call.write("a");
    await once(call, "data");
    call.resume();
    const error = once(call, "error") as Promise<[Error]>;
    sessions[0]!.destroy();
    assert.match((await error)[0].message, /NGHTTP2_/);
  });
});

test("a client that does not read holds up its own call, and nobody else's", () => {
  const SIZE = 4_000_000;
  return withGrpc(
    (stream, headers) => {
      stream.respond(OK);
      stream.end(headers[":path"] === "/large" ? Buffer.alloc(SIZE, "x") : "small");
    },
    async ({ client, rig }) => {
      await once(client, "connect");
      client.setLocalWindowSize(2 * SIZE);
      const large = client.request({ ...CALL, ":path": "/large" });
      large.end();
      await once(large, "response");
      large.pause();
      for (let i = 0; i < 5; i++) {
        const small = client.request({ ...CALL, ":path": "/small" });
        small.end();
        assert.equal((await bodyOf(small)).toString(), "small");
      }
      const [connection] = rig.worker.clients;
      const [stream] = connection!.mux!.http2.streams.values();
      assert.ok(stream!.pending_bytes <= 131_072, `${stream!.pending_bytes} bytes wait`);
      assert.equal((await bodyOf(large)).length, SIZE);
    },
  );
});

test("responses that end while their clients are slow leave the connection's window whole", () =>
  withGrpc(
    (stream) => {
      stream.respond({ ":status": 200, "content-length": 5000 });
      stream.end(Buffer.alloc(5000));
    },
    async ({ rig }) => {
      const client = connect(`http://127.0.0.1:${rig.httpPort}`, { settings: { initialWindowSize: 100 } });
      client.on("error", () => undefined);
      for (let i = 0; i < 5; i++) {
        const call = client.request({ ":path": "/" });
        assert.equal((await bodyOf(call)).length, 5000);
      }
      const { http2 } = rig.worker.pools[0]!.servers[0]!.upstreams[0]!.upstreams!;
      assert.equal(http2.receiveWindow + http2.unreturned_bytes, HTTP2_CONNECTION_WINDOW_BYTES);
      client.destroy();
    },
  ));

test("a web server that does not read holds up its own call, and nobody else's", () => {
  const SIZE = 4_000_000;
  let large: ServerHttp2Stream | undefined;
  return withGrpc(
    (stream, headers) => {
      stream.respond(OK);
      if (headers[":path"] !== "/large") return void stream.end("small");
      large = stream;
      let got = 0;
      stream.on("data", (data: Buffer) => (got += data.length));
      stream.on("end", () => stream.end(String(got)));
      stream.pause();
    },
    async ({ client, rig }) => {
      const upload = client.request({ ...CALL, ":path": "/large" });
      upload.end(Buffer.alloc(SIZE));
      const { servers } = rig.worker.pools[0]!;
      const waiting = (): number =>
        [...(servers[0]!.upstreams[0]?.upstreams!.http2.streams.values() ?? [])].reduce(
          (sum, { pending_bytes }) => sum + pending_bytes,
          0,
        );
      await until(() => large !== undefined && waiting() > 0, "nothing waits");
      for (let i = 0; i < 20; i++) {
        const small = client.request({ ...CALL, ":path": "/small" });
        small.end();
        assert.equal((await bodyOf(small)).toString(), "small");
        assert.ok(waiting() <= 131_072, `${waiting()} bytes wait`);
      }
      large!.resume();
      assert.equal((await bodyOf(upload)).toString(), String(SIZE));
    },
  );
});

test("a connection on which nothing is heard any more gets no further calls", async () => {
  const connections: unknown[] = [];
  const silent = await rawServer((socket) => {
    connections.push(socket);
    socket.resume();
    socket.write(frame(FRAME.settings, 0, 0));
  });
  const rig = await startRig({
    serverPorts: [silent.port],
    pool: { protocol: "h2" },
    timeouts: { response_head_ms: 500 },
  });
  const client = connect(`http://127.0.0.1:${rig.httpPort}`);
  client.on("error", () => undefined);
  // The first one may still have heard the web server's settings.
  for (let calls = 0; calls < 5 && connections.length < 2; calls++) {
    const call = client.request({ ":path": "/" });
    const [fields] = (await once(call, "response")) as [IncomingHttpHeaders];
    assert.equal(fields[":status"], 504);
    call.destroy();
  }
  assert.equal(connections.length, 2);
  client.destroy();
  await rig.stop();
  silent.server.close();
});

test("a WebSocket is refused to clients of HTTP/1.1 and of HTTP/2, before any web server is asked, and calls go on", () => {
  let asked = 0;
  return withGrpc(
    (stream, headers) => {
      asked++;
      echo(stream, headers);
    },
    async ({ rig, client }) => {
      const lines = [
        "GET /chat HTTP/1.1",
        "Host: a.test",
        "Connection: Upgrade, close",
        "Upgrade: websocket",
      ];
      const key = ["Sec-WebSocket-Version: 13", "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==", "", ""];
      assert.match(await exchange(rig.httpPort, [...lines, ...key].join("\r\n")), /^HTTP\/1\.1 501 /);
      const fields = { ":scheme": "http", ":authority": "a.test", ":path": "/chat" };
      const socket = client.request({ ":method": "CONNECT", ":protocol": "websocket", ...fields });
      const [refused] = (await once(socket, "response")) as [IncomingHttpHeaders];
      assert.equal(refused[":status"], 501);
      socket.close();
      assert.equal(asked, 0);
      const call = client.request(CALL);
      call.end("still here");
      assert.equal(String(await bodyOf(call)), "still here");
    },
  );
});
