/**
 * A web server that answers everything, with what it was asked: the stand-in for one of an operator's. Run as `node lab/rehearsal/stand-in.ts PLAN`
 * (PLAN is JSON, see stand-ins.ts; with the files of its certificate). Every answer names it (`X-Web-Server`) and who asked
 * (`X-Asked-By`).
 */
import { readFileSync } from "node:fs";
import { createServer as createHttp } from "node:http";
import {
  createServer as createHttp2,
  createSecureServer as createHttp2Tls,
  type Http2ServerRequest,
  type Http2ServerResponse,
} from "node:http2";
import { createServer as createHttps } from "node:https";
import { createServer as createNet, type Server, type Socket } from "node:net";
import { type Duplex, duplexPair, pipeline } from "node:stream";
import type { StandIn, StandInListener } from "./stand-ins.ts";

interface Given extends StandIn {
  readonly certificate: string | null;
  readonly key: string | null;
}

const given: Given = JSON.parse(process.argv[2] ?? "");
const BACKLOG = 4096;
const PREFACE = Buffer.from("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");
const PROXY_V2 = Buffer.from("\r\n\r\n\0\r\nQUIT\n", "latin1");
const PROXY_V1 = Buffer.from("PROXY ");
const PROXY_V1_MOST_BYTES = 107;

/** What the servers of HTTP/1.1 and HTTP/2 have in common. */
interface Request {
  readonly url?: string | undefined;
  readonly method?: string | undefined;
  readonly socket: { readonly remoteAddress?: string | undefined };
  readonly headers: Readonly<Record<string, string | string[] | undefined>>;
  readonly resume: () => unknown;
}
interface Response {
  statusCode: number;
  readonly setHeader: (name: string, value: string | number) => unknown;
  readonly end: (text: string) => unknown;
}

function answer(request: Request, response: Response): void {
  request.resume();
  const path = (request.url ?? "/").split("?")[0] ?? "/";
  const status = given.statuses[path] ?? 200;
  response.statusCode = status;
  response.setHeader("content-type", "text/plain");
  response.setHeader("server", "stand-in");
  response.setHeader("x-web-server", given.label);
  response.setHeader("x-asked-by", request.socket.remoteAddress ?? "");
  const text = `${given.label}\n${request.method} ${request.url}\n${headerLines(request.headers)}`;
  const hasBody = status !== 204 && status !== 304;
  if (hasBody) response.setHeader("content-length", Buffer.byteLength(text));
  response.end(hasBody && request.method !== "HEAD" ? text : "");
}

/** What has arrived, one header a line. */
function headerLines(headers: Request["headers"]): string {
  return Object.entries(headers)
    .map(([name, value]) => `${name}: ${String(value)}\n`)
    .join("");
}

const GRPC_HEALTH = "/grpc.health.v1.Health/Check";
/** A message of gRPC, not compressed, of two bytes: status SERVING. */
const SERVING = Buffer.of(0, 0, 0, 0, 2, 8, 1);

/** Over HTTP/2 gRPC's question for its health is answered, too. */
function answerHttp2(request: Http2ServerRequest, response: Http2ServerResponse): void {
  if (request.url !== GRPC_HEALTH) return answer(request, response);
  request.resume();
  response.setHeader("content-type", "application/grpc");
  response.addTrailers({ "grpc-status": "0" });
  response.end(SERVING);
}

/** The server behind one port. */
function serverOf(listener: StandInListener): Server {
  const { is_tls, is_h2, has_proxy_header } = listener;
  if (is_tls && is_h2) return createHttp2Tls({ ...certificateOf(given), allowHTTP1: true }, answerHttp2);
  const http = is_tls ? createHttps(certificateOf(given), answer) : createHttp(answer);
  // Connections from the array are kept for longer than it keeps them.
  http.keepAliveTimeout = 0;
  if (!is_h2 && !has_proxy_header) return http;
  const http2 = createHttp2(answerHttp2);
  return createNet({ pauseOnConnect: false }, (socket) =>
    sniff(socket, (first) => (is_h2 && startsWith(first, PREFACE) ? http2 : http)),
  );
}

function certificateOf({ certificate, key }: Given): { cert: Buffer; key: Buffer } {
  if (certificate === null || key === null) throw new Error("a certificate is needed for TLS");
  return { cert: readFileSync(certificate), key: readFileSync(key) };
}

/** Takes a PROXY header off, and hands the connection to the server that fits what follows. */
function sniff(
  socket: Socket,
  choose: (first: Buffer) => { emit: (name: string, socket: Duplex) => unknown },
): void {
  let received = Buffer.alloc(0);
  const look = (bytes: Buffer): void => {
    received = Buffer.concat([received, bytes]);
    const header_bytes = proxyHeaderBytes(received);
    if (header_bytes === undefined || received.length - header_bytes < 1) return;
    const rest = received.subarray(header_bytes);
    // What begins as the preface of HTTP/2 has to be there whole before anybody can say what it is.
    if (rest.length < PREFACE.length && startsWith(PREFACE, rest)) return;
    socket.off("data", look);
    // A pair of streams between the two: TLS and HTTP/2 would take the socket itself, without what was read from it.
    const [outer, inner] = duplexPair();
    outer.write(rest);
    pipeline(socket, outer, socket, () => undefined);
    choose(rest).emit("connection", inner);
  };
  socket.on("data", look);
  socket.on("error", () => socket.destroy());
}

/** The length of the PROXY header, 0 without one; undefined while that can't be told. */
function proxyHeaderBytes(received: Buffer): number | undefined {
  if (startsWith(PROXY_V2, received)) return undefined;
  if (startsWith(received, PROXY_V2)) {
    const whole_bytes = received.length < 16 ? Infinity : 16 + received.readUInt16BE(14);
    return received.length < whole_bytes ? undefined : whole_bytes;
  }
  if (startsWith(PROXY_V1, received)) return undefined;
  if (!startsWith(received, PROXY_V1)) return 0;
  const end = received.subarray(0, PROXY_V1_MOST_BYTES).indexOf("\r\n");
  return end === -1 ? undefined : end + 2;
}

const startsWith = (bytes: Buffer, start: Buffer): boolean =>
  bytes.length >= start.length && bytes.subarray(0, start.length).equals(start);

await Promise.all(
  given.listeners.map(async (listener) => {
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    const server = serverOf(listener);
    server.once("error", reject);
    server.listen({ host: given.address, port: listener.port, backlog: BACKLOG }, resolve);
    await promise;
  }),
);
console.log("ready");
