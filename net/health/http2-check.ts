/** How a host that speaks HTTP/2 is asked: a GET as over HTTP/1.1, or gRPC's own question (grpc.health.v1). */
import {
  connect as connectHttp2,
  type ClientHttp2Session,
  type ClientHttp2Stream,
  type IncomingHttpHeaders,
} from "node:http2";
import { connect, type Socket } from "node:net";
import { connect as connectTls } from "node:tls";
import { CHECK_BODY_BYTES } from "../../conf/limits.ts";
import { authorityOf, type CheckConfig, type CheckedHost, type Start } from "./asking.ts";
import { bad, failure, GOOD, OTHER_PROTOCOL } from "./results.ts";

/** Connects; `ask` gets a connection that speaks HTTP/2. Returns what ends it. */
function withSession(
  host: CheckedHost,
  check: CheckConfig,
  finish: Parameters<Start>[2],
  ask: (session: ClientHttp2Session) => void,
): () => void {
  const { address, port, tls } = host;
  const fail = (error: Error): void => finish(failure(error));
  let session: ClientHttp2Session | undefined;
  const begin = (): void => {
    const scheme = tls === undefined ? "http" : "https";
    session = connectHttp2(`${scheme}://${authorityOf(host, check)}`, { createConnection: () => socket });
    session.on("error", fail);
    session.on("close", () => finish(bad("connection closed without an answer")));
    ask(session);
  };
  const beginTls = (): void => (secured?.alpnProtocol === "h2" ? begin() : finish(OTHER_PROTOCOL));
  const secured =
    tls === undefined ? undefined : connectTls({ host: address, port, ALPNProtocols: ["h2"], ...tls });
  const socket: Socket = secured ?? connect({ host: address, port });
  socket.on("error", fail);
  if (secured === undefined) socket.on("connect", begin);
  else secured.on("secureConnect", beginTls);
  return () => {
    session?.destroy();
    socket.destroy();
  };
}

/** Whole when it ends; only its first bytes are kept. */
function readBody(stream: ClientHttp2Stream, done: (body: Buffer) => void): void {
  const pieces: Buffer[] = [];
  let bytes = 0;
  stream.on("data", (piece: Buffer) => {
    bytes += piece.length;
    if (bytes <= CHECK_BODY_BYTES) pieces.push(piece);
    else done(Buffer.concat(pieces));
  });
  stream.on("end", () => done(Buffer.concat(pieces)));
}

export const getHttp2: Start = (host, check, finish) =>
  withSession(host, check, finish, (session) => {
    const stream = session.request({ ":path": check.path, "user-agent": "dlba-check" });
    stream.on("error", (error) => finish(failure(error)));
    stream.on("response", (fields) => {
      const status = fields[":status"] ?? 0;
      if (!check.statuses.includes(status)) return finish(bad(`status ${status}`));
      readBody(stream, () =>
        finish(stream.rstCode === 0 ? GOOD : bad("connection closed within the answer")),
      );
    });
    stream.end();
  });

const GRPC = {
  ":method": "POST",
  ":path": "/grpc.health.v1.Health/Check",
  "content-type": "application/grpc",
  te: "trailers",
  "user-agent": "dlba-check",
} as const;
const GRPC_HEAD_BYTES = 5;
/** What ServingStatus may be. */
const SERVING = 1;
const STANDINGS = ["UNKNOWN", "SERVING", "NOT_SERVING", "SERVICE_UNKNOWN"];

/** HealthCheckRequest { string service = 1 }, behind the head of a gRPC message. */
function grpcQuestion(service: string): Buffer {
  const name = Buffer.from(service);
  const message = name.length === 0 ? name : Buffer.concat([Buffer.from([0x0a, name.length]), name]);
  const head = Buffer.alloc(GRPC_HEAD_BYTES);
  head.writeUInt32BE(message.length, 1);
  return Buffer.concat([head, message]);
}

/** HealthCheckResponse { ServingStatus status = 1 }: a field that is not there is 0. */
const standingIn = (body: Buffer): number =>
  body.length >= GRPC_HEAD_BYTES + 2 && body[GRPC_HEAD_BYTES] === 0x08 ? body[GRPC_HEAD_BYTES + 1]! : 0;

export const askGrpc: Start = (host, check, finish) =>
  withSession(host, check, finish, (session) => {
    const stream = session.request(GRPC);
    let last: IncomingHttpHeaders = {};
    stream.on("error", (error) => finish(failure(error)));
    stream.on("trailers", (fields) => (last = { ...last, ...fields }));
    stream.on("response", (fields) => {
      last = fields;
      if (fields[":status"] !== 200) return finish(bad(`status ${fields[":status"]}`));
      readBody(stream, (body) => {
        const code = last["grpc-status"] ?? "none";
        const standing = standingIn(body);
        if (code !== "0") finish(bad(`gRPC status ${String(code)}`));
        else finish(standing === SERVING ? GOOD : bad(`it says ${STANDINGS[standing] ?? standing}`));
      });
    });
    stream.end(grpcQuestion(check.service));
  });
