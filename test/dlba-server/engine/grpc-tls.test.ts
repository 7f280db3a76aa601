/** HTTP/2 over TLS to web servers: who is believed, what ALPN has to say, and checks of them, all with Node's own server. */
import assert from "node:assert/strict";
import { once } from "node:events";
import { readFileSync } from "node:fs";
import {
  type ClientHttp2Session,
  connect,
  createSecureServer,
  createServer,
  type Http2SecureServer,
  type IncomingHttpHeaders,
  type SecureServerOptions,
  type ServerHttp2Session,
  type ServerHttp2Stream,
} from "node:http2";
import { createServer as createHttpsServer } from "node:https";
import type { AddressInfo, Server } from "node:net";
import { after, describe, test } from "node:test";
import { createServer as createTlsServer, type TLSSocket } from "node:tls";
import type { CheckConfig, CheckedHost } from "../../../net/health/asking.ts";
import { probe } from "../../../net/health/checker.ts";
import { makeCa, makeSelfSigned, makeSigned, type KeyPair } from "../../certificates.ts";
import { type Rig, type RigOptions, startRig } from "./rig.ts";

const ca = makeCa();
const named = makeSigned(ca, "DNS:web.test");
const strange = makeSelfSigned("DNS:web.test");
const tls = { ca: ca.certificate, server_name: "web.test" };
const filesOf = ({ certificate, key }: KeyPair): SecureServerOptions => ({
  cert: readFileSync(certificate),
  key: readFileSync(key),
});

async function portOf(server: Server): Promise<number> {
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  after(() => server.close());
  return (server.address() as AddressInfo).port;
}

/** Echoes what comes and ends with trailers; tells what it saw of the connection in fields. */
function echo(stream: ServerHttp2Stream, fields: IncomingHttpHeaders): void {
  const socket = stream.session!.socket as TLSSocket;
  stream.on("error", () => undefined);
  const seen = { "x-scheme": fields[":scheme"]!, "x-name": String(socket.servername) };
  const alpn = { "x-alpn": String(socket.alpnProtocol), "x-resumed": String(socket.isSessionReused()) };
  stream.respond({ ":status": 200, ...seen, ...alpn }, { waitForTrailers: true });
  stream.on("wantTrailers", () => stream.sendTrailers({ "grpc-status": "0" }));
  stream.pipe(stream);
}

interface Web {
  readonly port: number;
  readonly sessions: ServerHttp2Session[];
}

async function secureServer(pair: KeyPair, options: SecureServerOptions = {}): Promise<Web> {
  const sessions: ServerHttp2Session[] = [];
  const server: Http2SecureServer = createSecureServer({ ...filesOf(pair), ...options });
  server.on("session", (session) => {
    sessions.push(session);
    session.on("error", () => undefined);
  });
  server.on("tlsClientError", () => undefined);
  server.on("stream", echo);
  return { port: await portOf(server), sessions };
}

async function withRig(
  port: number,
  options: Partial<RigOptions>,
  run: (client: ClientHttp2Session, rig: Rig) => Promise<void>,
): Promise<void> {
  const pool = { protocol: "h2", tls, ...options.pool };
  const rig = await startRig({ serverPorts: [port], ...options, pool });
  const client = connect(`http://127.0.0.1:${rig.httpPort}`);
  client.on("error", () => undefined);
  try {
    await run(client, rig);
  } finally {
    client.destroy();
    await rig.stop();
  }
}

interface Answer {
  readonly fields: IncomingHttpHeaders;
  readonly body: string;
  readonly trailers: IncomingHttpHeaders;
}

async function call(client: ClientHttp2Session, body: string | Buffer): Promise<Answer> {
  const stream = client.request({ ":method": "POST", ":path": "/", "content-type": "application/grpc" });
  let trailers: IncomingHttpHeaders = {};
  stream.on("trailers", (fields: IncomingHttpHeaders) => (trailers = fields));
  stream.end(body);
  const [fields] = (await once(stream, "response")) as [IncomingHttpHeaders];
  let text = "";
  for await (const piece of stream) text += (piece as Buffer).toString("latin1");
  return { fields, body: text, trailers };
}

test("calls go over TLS, with the name that is expected, by ALPN h2, many on a connection", async () => {
  const web = await secureServer(named);
  await withRig(web.port, {}, async (client) => {
    const big = Buffer.alloc(300_000, "b");
    const answers = await Promise.all([call(client, "a"), call(client, big), call(client, "c")]);
    assert.deepEqual(
      answers.map(({ body }) => body.length),
      [1, big.length, 1],
    );
    for (const { fields, trailers } of answers) {
      assert.equal(fields["x-scheme"], "https");
      assert.equal(fields["x-name"], "web.test");
      assert.equal(fields["x-alpn"], "h2");
      assert.equal(trailers["grpc-status"], "0");
    }
    assert.equal(web.sessions.length, 1);
  });
});

test("a further connection resumes the session", async () => {
  const web = await secureServer(named);
  await withRig(web.port, {}, async (client) => {
    assert.equal((await call(client, "a")).fields["x-resumed"], "false");
    web.sessions[0]!.close();
    await once(web.sessions[0]!, "close");
    assert.equal((await call(client, "b")).fields["x-resumed"], "true");
  });
});

describe("who is not what is expected gets nothing, and the table says why", () => {
  const rows: [name: string, web: () => Promise<number>, failure: RegExp][] = [
    ["another authority's", async () => (await secureServer(strange)).port, /self-signed/],
    [
      "another name's",
      async () => (await secureServer(makeSigned(ca, "DNS:other.test"))).port,
      /hostname mismatch/,
    ],
    [
      "HTTP/1.1 alone, which says so",
      () => portOf(createHttpsServer({ ...filesOf(named), ALPNProtocols: ["http/1.1"] })),
      /no application protocol/,
    ],
    [
      "TLS without ALPN",
      () => portOf(createTlsServer({ ...filesOf(named), ALPNProtocols: undefined }, (s) => s.resume())),
      /does not speak HTTP\/2 \(ALPN\)/,
    ],
    ["HTTP/2 without TLS", () => portOf(createServer()), /TLS: /],
  ];
  for (const [name, web, failure] of rows) {
    test(name, async () => {
      await withRig(await web(), {}, async (client, rig) => {
        assert.equal((await call(client, "a")).fields[":status"], 503);
        assert.match(rig.worker.pools[0]!.servers[0]!.failure, failure);
      });
    });
  }

  test("unless nothing is verified", async () => {
    const web = await secureServer(strange);
    await withRig(web.port, { pool: { tls: { verify: false } } }, async (client) => {
      assert.equal((await call(client, "a")).body, "a");
    });
  });
});

test("a handshake that never ends is given up, and another web server gets the request", async () => {
  const silent = await portOf(createTlsServer({}).on("error", () => undefined));
  const web = await secureServer(named);
  const options = {
    serverPorts: [silent, web.port],
    pool: { balance: "first" },
    timeouts: { connect_ms: 100 },
  };
  await withRig(web.port, options, async (client) => {
    assert.equal((await call(client, "a")).body, "a");
  });
});

const check: CheckConfig = {
  type: "http",
  path: "/health",
  service: "",
  statuses: [200],
  interval_ms: 50,
  timeout_ms: 10_000,
  rise: 1,
  fall: 1,
};

const bad = (reason: string) => ({ kind: "bad", reason });
/** HealthCheckResponse, behind its head: NOT_SERVING for one of the services. */
const answerOf = (service: string): Buffer => Buffer.from([0, 0, 0, 0, 2, 8, service === "ill" ? 2 : 1]);

describe("checks speak HTTP/2, too", () => {
  const known = { ca: readFileSync(ca.certificate), servername: "web.test" };
  const hostAt = (port: number, isTls: boolean): CheckedHost => ({
    number: 1,
    address: "127.0.0.1",
    port,
    isHttp2: true,
    ...(isTls ? { tls: known } : {}),
  });
  test("over TLS and without", async () => {
    const secure = await secureServer(named);
    const plain = createServer();
    plain.on("stream", (stream, fields) => {
      const isHealth = fields[":path"] === "/health" && fields[":method"] === "GET";
      stream.respond({ ":status": isHealth ? 200 : 404 });
      stream.end("well");
    });
    const port = await portOf(plain);
    for (const host of [hostAt(secure.port, true), hostAt(port, false)]) {
      for (const type of ["http", "tcp"] as const) {
        assert.deepEqual(await probe(host, { ...check, type }), { kind: "good" });
      }
    }
    assert.deepEqual(await probe(hostAt(port, false), { ...check, path: "/else" }), bad("status 404"));
  });

  test("who speaks something else is not well", async () => {
    const https = await portOf(createHttpsServer({ ...filesOf(named), ALPNProtocols: ["http/1.1"] }));
    const mute = await portOf(createTlsServer(filesOf(named), (socket) => socket.resume()));
    const stranger = await secureServer(strange);
    for (const type of ["http", "tcp"] as const) {
      const ask = (port: number) => probe(hostAt(port, true), { ...check, type });
      assert.deepEqual(await ask(https), bad("it speaks another protocol (ALPN)"));
      assert.deepEqual(await ask(mute), bad("it speaks another protocol (ALPN)"));
      assert.equal((await ask(stranger.port)).kind, "bad");
    }
    const hangsUp = await portOf(
      createTlsServer({ ...filesOf(named), ALPNProtocols: ["h2"] }, (s) => s.end()),
    );
    assert.equal((await probe(hostAt(hangsUp, true), check)).kind, "bad");
  });

  test("gRPC's own question is asked, about the whole server or a service", async () => {
    const asked: string[] = [];
    const server = createSecureServer(filesOf(named));
    server.on("stream", (stream, fields) => {
      const pieces: Buffer[] = [];
      stream.on("data", (piece: Buffer) => pieces.push(piece));
      stream.on("end", () => {
        const message = Buffer.concat(pieces).subarray(5);
        const service = message.subarray(2).toString();
        asked.push(`${fields[":method"]} ${fields[":path"]} ${fields["content-type"]} ${service}`);
        if (service === "none") {
          stream.respond({ ":status": 200, "grpc-status": "5" }, { endStream: true });
          return;
        }
        stream.respond({ ":status": 200, "content-type": "application/grpc" }, { waitForTrailers: true });
        stream.on("wantTrailers", () => stream.sendTrailers({ "grpc-status": "0" }));
        stream.end(answerOf(service));
      });
    });
    const host = hostAt(await portOf(server), true);
    const ask = (service: string) => probe(host, { ...check, type: "grpc", service });
    assert.deepEqual(await ask(""), { kind: "good" });
    assert.deepEqual(await ask("shop.v1.Cart"), { kind: "good" });
    assert.deepEqual(await ask("ill"), bad("it says NOT_SERVING"));
    assert.deepEqual(await ask("none"), bad("gRPC status 5"));
    const question = "POST /grpc.health.v1.Health/Check application/grpc ";
    assert.deepEqual(
      asked,
      ["", "shop.v1.Cart", "ill", "none"].map((service) => question + service),
    );
  });
});
