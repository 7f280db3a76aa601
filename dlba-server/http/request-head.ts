/**
 * The head that a web server gets: the client's, without what belongs to the client's connection, and with
 * who asked, how and for what. Works on the head that was scanned and read last.
 */
import type { PoolEnv, SessionEnv } from "../session-port.ts";
import { editedName, type HeaderEdits } from "../rules/edits.ts";
import { options } from "./connection-options.ts";
import { cookieValue, withoutCookie } from "./cookie.ts";
import { FIELD, FIELD_COUNT } from "./fields.ts";
import { FRAMING } from "./framing.ts";
import { fieldEnds, fieldStarts, hasField, head, idOf, joinedValue, nameText, valueText } from "./head.ts";
import { request } from "./request.ts";
import { newTraceparent, validTraceparent } from "./traceparent.ts";
import { UPGRADE_LINES } from "./websocket.ts";

/** The fields that a client's head never hands on as they are. */
const REPLACED = new Uint8Array(FIELD_COUNT);
for (const id of [
  FIELD.connection,
  FIELD.transferEncoding,
  FIELD.te,
  FIELD.upgrade,
  FIELD.keepAlive,
  FIELD.proxyConnection,
  FIELD.http2Settings,
  FIELD.xForwardedFor,
  FIELD.forwarded,
]) {
  REPLACED[id] = 1;
}

/** What rules change of a request. */
export interface RequestChanges {
  /** Path and query, instead of those that came. */
  path: string | undefined;
  host: string | undefined;
  edits: HeaderEdits | undefined;
}

/** The head's text and the injected cookie that was in it; one record for all. */
export const outgoing = { text: "", token: "", requestId: "", traceparent: "", isNewTrace: false };

/** A trusted proxy's request id is kept up to this length. */
const MAX_REQUEST_ID = 128;

const pathText = (): string => head.text.slice(request.pathStart - head.start, request.pathEnd - head.start);

function requestLine(changes: RequestChanges | null): string {
  const method = head.text.slice(0, head.methodEnd - head.start);
  return `${method} ${changes?.path ?? request.impliedPath + pathText()} HTTP/1.1\r\n`;
}

/** Whether a field is left out; those of untrusted clients that say where a request came from are. */
function isLeftOut(field: number, env: SessionEnv): boolean {
  const id = idOf(field);
  if (REPLACED[id] === 1) return true;
  if (options.named.length > 0 && options.named.includes(nameText(field))) return true;
  switch (id) {
    case FIELD.host:
      return request.isAbsolute;
    case FIELD.expect:
      return head.minor === 0;
    case FIELD.traceparent:
    case FIELD.tracestate:
      return outgoing.isNewTrace;
    case FIELD.xRequestId:
      return env.addsRequestId;
    case FIELD.xForwardedProto:
    case FIELD.xForwardedHost:
    case FIELD.xForwardedOther:
      return !env.isTrustedProxy;
    default:
      return false;
  }
}

/** What stands for a Cookie field once the injected cookies are out of it; undefined when there is none in it. */
function cookieReplacement(field: number, pool: PoolEnv): string | undefined {
  const value = valueText(field);
  let rest = value;
  if (pool.scheduling === "cookie") {
    const token = cookieValue(value, pool.cookieName, pool.tokenIndex) ?? "";
    if (outgoing.token === "" || pool.tokenIndex.has(token)) outgoing.token = token;
    rest = withoutCookie(rest, pool.cookieName);
  }
  for (const name of pool.otherCookies) rest = withoutCookie(rest, name);
  if (rest === value) return undefined;
  return rest === "" ? "" : `Cookie: ${rest}\r\n`;
}

/** Whether rules take a field out. */
function isEditedOut(field: number, { host, edits }: RequestChanges): boolean {
  if (host !== undefined && idOf(field) === FIELD.host) return true;
  return (
    edits !== undefined && edits.removed.length > 0 && edits.removed.includes(editedName(nameText(field)))
  );
}

/** What stands for a field, or undefined when it goes on as it is. */
function replacement(
  field: number,
  env: SessionEnv,
  pool: PoolEnv,
  changes: RequestChanges | null,
): string | undefined {
  const id = idOf(field);
  if (changes !== null && isEditedOut(field, changes)) {
    // The web server's name is read all the same.
    if (id === FIELD.cookie) cookieReplacement(field, pool);
    return "";
  }
  if (id === FIELD.other && options.named.length === 0) return undefined;
  if (isLeftOut(field, env)) return "";
  if (id === FIELD.maxForwards && request.maxForwards > 0)
    return `Max-Forwards: ${request.maxForwards - 1}\r\n`;
  return id === FIELD.cookie ? cookieReplacement(field, pool) : undefined;
}

/** By which scheme the client has asked: a trusted proxy says so in `:scheme`, where it speaks HTTP/2. */
const schemeOf = ({ scheme }: SessionEnv): string => (request.isStream ? request.scheme : scheme);

/** "for", "host" and "proto" of RFC 7239, quoted where they aren't tokens. */
function forwardedElement(env: SessionEnv): string {
  const client = env.clientAddress.includes(":") ? `"[${env.clientAddress}]"` : env.clientAddress;
  const host = request.authority.includes(":") ? `"${request.authority}"` : request.authority;
  return `for=${client};host=${host};proto=${schemeOf(env)}`;
}

const listed = (before: string, last: string): string => (before === "" ? last : `${before}, ${last}`);

/** Who asked, for which host, by which scheme. A trusted proxy's word on it is kept and added to. */
function forwardingFields(env: SessionEnv): string {
  const element = forwardedElement(env);
  if (!env.isTrustedProxy) {
    return (
      `X-Forwarded-For: ${env.clientAddress}\r\nX-Forwarded-Proto: ${schemeOf(env)}\r\n` +
      `X-Forwarded-Host: ${request.authority}\r\nForwarded: ${element}\r\n`
    );
  }
  let text = `X-Forwarded-For: ${listed(joinedValue(FIELD.xForwardedFor), env.clientAddress)}\r\n`;
  if (!hasField(FIELD.xForwardedProto)) text += `X-Forwarded-Proto: ${schemeOf(env)}\r\n`;
  if (!hasField(FIELD.xForwardedHost)) text += `X-Forwarded-Host: ${request.authority}\r\n`;
  return `${text}Forwarded: ${listed(joinedValue(FIELD.forwarded), element)}\r\n`;
}

/** The upgrade on this hop. A stream's client has no key: ours goes to the web server, and its answer no further. */
function upgradeFields(env: SessionEnv): string {
  if (!request.isStream) return `${UPGRADE_LINES}Via: 1.${head.minor} ${env.via}\r\n\r\n`;
  return `${UPGRADE_LINES}Sec-WebSocket-Key: ${request.websocketKey}\r\nVia: 2.0 ${env.via}\r\n\r\n`;
}

/** What this hop says of itself: framing, trailers, the connection, Via. */
function hopFields(env: SessionEnv, pool: PoolEnv): string {
  if (request.websocketKey !== "") return upgradeFields(env);
  let text = request.framing === FRAMING.chunked ? "Transfer-Encoding: chunked\r\n" : "";
  if (request.takesTrailers) {
    text += pool.serverKeepAlive
      ? "TE: trailers\r\nConnection: TE\r\n"
      : "TE: trailers\r\nConnection: close, TE\r\n";
  } else if (!pool.serverKeepAlive) {
    text += "Connection: close\r\n";
  }
  return `${text}Via: ${request.isStream ? "2.0" : `1.${head.minor}`} ${env.via}\r\n\r\n`;
}

/** The line that names the request to the web server, if there is to be one: a trusted proxy's name for it, or a new one. */
function requestIdField(env: SessionEnv, newId: string): string {
  const told = env.isTrustedProxy ? joinedValue(FIELD.xRequestId) : "";
  outgoing.requestId = told === "" || told.length > MAX_REQUEST_ID ? newId : told;
  return `X-Request-Id: ${outgoing.requestId}\r\n`;
}

/** The line that begins a trace, if there is to be one: what the client says of an invalid one goes (W3C Trace Context 4.3). */
function traceField(env: SessionEnv, newTraceId: () => string): string {
  outgoing.isNewTrace = false;
  outgoing.traceparent = "";
  if (!env.addsTraceparent) return "";
  outgoing.traceparent = validTraceparent();
  if (outgoing.traceparent !== "") return "";
  outgoing.isNewTrace = true;
  outgoing.traceparent = newTraceparent(newTraceId());
  return `traceparent: ${outgoing.traceparent}\r\n`;
}

/** Fills `outgoing`. `newId` names the request if nobody has yet; `changes` are those of rules. */
export function rewriteRequestHead(
  env: SessionEnv,
  pool: PoolEnv,
  newId: string,
  newTraceId: () => string,
  changes: RequestChanges | null,
): void {
  const { start } = head;
  let text = "";
  let from = 0;
  outgoing.token = "";
  outgoing.requestId = "";
  const traceLine = traceField(env, newTraceId);
  const host = changes?.host;
  if (request.isAbsolute || head.minor === 0 || host !== undefined || changes?.path !== undefined) {
    text = requestLine(changes);
    if (host !== undefined) text += `Host: ${host}\r\n`;
    else if (request.isAbsolute || !hasField(FIELD.host)) text += `Host: ${request.authority}\r\n`;
    from = head.fieldsStart - start;
  }
  for (let field = 0; field < head.fields; field++) {
    const instead = replacement(field, env, pool, changes);
    if (instead === undefined) continue;
    text += head.text.slice(from, fieldStarts[field]! - start) + instead;
    from = fieldEnds[field]! - start;
  }
  const ownFields = traceLine + (env.addsRequestId ? requestIdField(env, newId) : "") + forwardingFields(env);
  const added = changes?.edits === undefined ? "" : changes.edits.text;
  outgoing.text = text + head.text.slice(from) + added + ownFields + hopFields(env, pool);
}
