/**
 * What a scanned request head means (RFC 9110, RFC 9112 3 and 6), pass by pass. Each pass returns 0 or the
 * status to refuse the request with; what could be read in two ways is refused.
 */
import type { SessionEnv } from "../session-port.ts";
import { equalsIgnoringCase } from "./characters.ts";
import { clearOptions, options, readOptions } from "./connection-options.ts";
import { FIELD } from "./fields.ts";
import { checkTransferEncoding, FRAMING, type Framing, readContentLength } from "./framing.ts";
import { head, idOf, readText, valueEnds, valueStarts, valueText } from "./head.ts";
import { hostEnd, isServed } from "./host.ts";
import { hasKey, isWebsocket, websocketKey } from "./websocket.ts";

/** What is known of the request whose head was scanned last; one record for all, as with `head`. */
export const request = {
  isHead: false,
  isIdempotent: false,
  framing: FRAMING.none as Framing,
  /** Content-Length, in bytes. */
  length: 0,
  /** The client wants the connection kept. */
  isKept: false,
  expectsContinue: false,
  takesTrailers: false,
  /** Of OPTIONS and TRACE: how often it may be forwarded (RFC 9110 7.6.2); -1: as often as need be. */
  maxForwards: -1,
  /** The key of a request for an upgrade to the WebSocket protocol; "" for any other request. */
  websocketKey: "",
  /** Of a stream: the protocol that it asks for (RFC 8441); "" for none. */
  protocol: "",
  /** Of a stream: the scheme that it says its URL has. */
  scheme: "",
  /** Host and port as the client wrote them, in its target or else in Host. */
  authority: "",
  /** It came on an HTTP/2 stream. */
  isStream: false,
  /** The target is a whole URL: Host is rewritten from it (RFC 9112 3.2.2). */
  isAbsolute: false,
  /** Path and query (or "*") in the buffer; `impliedPath` stands before them when the URL has no path. */
  pathStart: 0,
  pathEnd: 0,
  impliedPath: "",
};

/** What the passes before have counted. */
const seen = {
  upgrades: 0,
  hosts: 0,
  hostField: 0,
  lengths: 0,
  codings: 0,
  codingStatus: 0,
  expectStatus: 0,
};

function isMethod(bytes: Uint8Array, method: string): boolean {
  if (head.methodEnd - head.start !== method.length) return false;
  for (let i = 0; i < method.length; i++) if (bytes[head.start + i] !== method.charCodeAt(i)) return false;
  return true;
}

function checkVersion(): number {
  return head.major === 1 && head.minor <= 1 ? 0 : 505;
}

/** Methods that may be sent again after nothing came back (RFC 9110 9.2.2). Tunnels aren't made. */
function readMethod(bytes: Uint8Array): number {
  const isGet = isMethod(bytes, "GET");
  request.isHead = !isGet && isMethod(bytes, "HEAD");
  request.isIdempotent =
    isGet ||
    request.isHead ||
    isMethod(bytes, "PUT") ||
    isMethod(bytes, "DELETE") ||
    isMethod(bytes, "OPTIONS") ||
    isMethod(bytes, "TRACE");
  return !request.isIdempotent && isMethod(bytes, "CONNECT") ? 501 : 0;
}

function clearFields(): void {
  clearOptions();
  request.takesTrailers = false;
  request.maxForwards = -1;
  request.websocketKey = "";
  request.expectsContinue = false;
  request.length = 0;
  seen.hosts = 0;
  seen.lengths = 0;
  seen.codings = 0;
  seen.codingStatus = 0;
  seen.expectStatus = 0;
  seen.upgrades = 0;
}

function readFields(bytes: Buffer): number {
  clearFields();
  for (let field = 0; field < head.fields; field++) {
    if (idOf(field) === FIELD.other) continue;
    const refusal = readField(bytes, field);
    if (refusal !== 0) return refusal;
  }
  return 0;
}

function readField(bytes: Buffer, field: number): number {
  const start = valueStarts[field]!;
  const end = valueEnds[field]!;
  switch (idOf(field)) {
    case FIELD.host:
      seen.hosts++;
      seen.hostField = field;
      return 0;
    case FIELD.connection:
      return readOptions(bytes, start, end) ? 0 : 400;
    case FIELD.contentLength:
      request.length = readContentLength(bytes, start, end);
      return request.length < 0 || seen.lengths++ > 0 ? 400 : 0;
    case FIELD.transferEncoding:
      seen.codingStatus = checkTransferEncoding(bytes, start, end);
      return seen.codings++ > 0 ? 400 : 0;
    case FIELD.te:
      if (/(^|[\t ,])trailers([\t ,;]|$)/i.test(valueText(field))) request.takesTrailers = true;
      return 0;
    case FIELD.expect:
      readExpect(bytes, start, end);
      return 0;
    case FIELD.maxForwards:
      if (isMethod(bytes, "OPTIONS") || isMethod(bytes, "TRACE")) readMaxForwards(valueText(field));
      return 0;
    case FIELD.upgrade:
      seen.upgrades++;
      return 0;
    case FIELD.lookalike:
      return 400;
    default:
      return 0;
  }
}

/** What is no number is passed over. */
function readMaxForwards(value: string): void {
  if (/^\d{1,9}$/.test(value)) request.maxForwards = Number(value);
}

/** HTTP/1.0 knows no Expect, so it is passed over there (RFC 9110 10.1.1). */
function readExpect(bytes: Uint8Array, start: number, end: number): void {
  if (head.minor === 0) return;
  if (equalsIgnoringCase(bytes, start, end, "100-continue")) request.expectsContinue = true;
  else seen.expectStatus = 417;
}

function checkHost(bytes: Buffer): number {
  if (seen.hosts > 1 || (seen.hosts === 0 && head.minor === 1)) return 400;
  if (seen.hosts === 0) return 0;
  return hostEnd(bytes, valueStarts[seen.hostField]!, valueEnds[seen.hostField]!) === -1 ? 400 : 0;
}

/** Origin-form, "*" for OPTIONS, or absolute-form; where path and authority are. */
function readTarget(bytes: Buffer, env: SessionEnv): number {
  const start = head.targetStart;
  request.pathStart = start;
  request.pathEnd = head.targetEnd;
  request.impliedPath = "";
  request.isAbsolute = false;
  if (bytes[start] === 47) return readHost(env);
  if (bytes[start] !== 42) return readAbsolute(bytes, env);
  const isAsterisk = head.targetEnd - start === 1 && isMethod(bytes, "OPTIONS");
  return isAsterisk ? readHost(env) : 400;
}

function readHost(env: SessionEnv): number {
  request.authority = seen.hosts === 0 ? localAuthority(env) : valueText(seen.hostField);
  return 0;
}

/** What HTTP/1.0 without Host asks for: the address that it connected to. */
function localAuthority(env: SessionEnv): string {
  const host = env.localAddress.includes(":") ? `[${env.localAddress}]` : env.localAddress;
  const isUsual = env.localPort === (env.scheme === "https" ? 443 : 80);
  return isUsual ? host : `${host}:${env.localPort}`;
}

/** A URL of another scheme than the connection's is not ours to answer. */
function readAbsolute(bytes: Buffer, env: SessionEnv): number {
  const start = head.targetStart + env.scheme.length + 3;
  if (!equalsIgnoringCase(bytes, head.targetStart, Math.min(start, head.targetEnd), `${env.scheme}://`)) {
    return 400;
  }
  let end = start;
  while (end < head.targetEnd && bytes[end] !== 47 && bytes[end] !== 63) end++;
  if (hostEnd(bytes, start, end) === -1) return 400;
  request.isAbsolute = true;
  request.authority = head.text.slice(start - head.start, end - head.start);
  request.pathStart = end;
  if (end === head.targetEnd) request.impliedPath = isMethod(bytes, "OPTIONS") ? "*" : "/";
  else if (bytes[end] === 63) request.impliedPath = "/";
  return 0;
}

function readFraming(): number {
  if (seen.codings > 0 && (seen.lengths > 0 || head.minor === 0)) return 400;
  if (seen.codingStatus !== 0) return seen.codingStatus;
  if (seen.codings > 0) request.framing = FRAMING.chunked;
  else request.framing = request.length > 0 ? FRAMING.length : FRAMING.none;
  request.isKept = !options.close && (head.minor === 1 || options.keepAlive);
  return 0;
}

function checkServed(env: SessionEnv): number {
  if (env.hosts.length === 0) return 0;
  const { authority } = request;
  const port = authority.startsWith("[") ? authority.indexOf("]") + 1 : authority.indexOf(":");
  return isServed(env.hosts, port === -1 ? authority : authority.slice(0, port)) ? 0 : 404;
}

/**
 * Whether the request asks for a WebSocket, in full (RFC 6455 4.1): an upgrade that is asked for in another way, or to another
 * protocol, is passed over, and the request goes on without it.
 */
function readUpgrade(bytes: Buffer, env: SessionEnv): number {
  if (seen.upgrades !== 1 || !env.takesWebsockets || head.minor === 0) return 0;
  const isAsked = isMethod(bytes, "GET") && options.named.includes("upgrade");
  if (!isAsked || request.framing !== FRAMING.none || request.expectsContinue) return 0;
  request.websocketKey = websocketKey();
  return 0;
}

/** Fills `request` from the scanned head in `bytes`. Returns 0, or the status to refuse the request with. */
export function readRequest(bytes: Buffer, env: SessionEnv): number {
  request.isStream = false;
  readText(bytes);
  return (
    checkVersion() ||
    readMethod(bytes) ||
    readFields(bytes) ||
    checkHost(bytes) ||
    readTarget(bytes, env) ||
    readFraming() ||
    seen.expectStatus ||
    (request.length > env.limits.request_body_bytes ? 413 : 0) ||
    checkServed(env) ||
    readUpgrade(bytes, env)
  );
}

/** What stands for a status when a stream's request is malformed: its stream is reset (RFC 9113 8.1.1). */
export const MALFORMED = 2;

/**
 * The like for a request of an HTTP/2 stream, whose head lies in the scanner's record with its text. With `isEnded` no body
 * follows. MALFORMED when that and its length don't agree.
 */
export function readStreamRequest(bytes: Buffer, env: SessionEnv, isEnded: boolean): number {
  request.isStream = true;
  return (
    readMethod(bytes) ||
    readFields(bytes) ||
    checkHost(bytes) ||
    readTarget(bytes, env) ||
    checkScheme(env) ||
    readStreamFraming(env, isEnded) ||
    seen.expectStatus ||
    (request.length > env.limits.request_body_bytes ? 413 : 0) ||
    checkServed(env) ||
    readProtocol(env, isEnded)
  );
}

/**
 * A URL of another scheme than the connection's is not ours to answer (RFC 9110 7.4), unless who asks stands in front of us and
 * tells what its client has asked for.
 */
const checkScheme = (env: SessionEnv): number =>
  request.scheme === "" || request.scheme === env.scheme || env.isTrustedProxy ? 0 : 421;

/** A stream that is to be a WebSocket (RFC 8441): it has no body, and its key is ours to give. */
function readProtocol(env: SessionEnv, isEnded: boolean): number {
  if (request.protocol === "") return 0;
  if (!env.takesWebsockets) return MALFORMED;
  if (!isWebsocket(request.protocol)) return 501;
  if (isEnded || seen.lengths > 0 || hasKey()) return 400;
  request.framing = FRAMING.none;
  request.length = 0;
  return 0;
}

/** A body without a length goes on in chunks; `length` is then the most that it may have. */
function readStreamFraming(env: SessionEnv, isEnded: boolean): number {
  request.isKept = true;
  if (isEnded) {
    request.framing = FRAMING.none;
    return request.length > 0 ? MALFORMED : 0;
  }
  if (seen.lengths > 0) {
    request.framing = request.length > 0 ? FRAMING.length : FRAMING.none;
  } else {
    request.framing = FRAMING.chunked;
    request.length = env.limits.request_body_bytes;
  }
  return 0;
}
