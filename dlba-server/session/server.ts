/** What comes from the web server: response heads, bodies, ends. */
import { MAX_INTERIM_RESPONSES, RECEIVE_BUFFER_BYTES } from "../../conf/limits.ts";
import { CHUNK, scanChunks, scanFraming, startChunks, takeData } from "../http/chunked.ts";
import { FRAMING } from "../http/framing.ts";
import { COMPLETE, head, INCOMPLETE, scanResponseHead } from "../http/head.ts";
import { advanceResponse, resetProgress } from "../http/head-progress.ts";
import { coding, rewriteResponseHead } from "../http/response-head.ts";
import { readResponse, response } from "../http/response.ts";
import { STEP } from "../http/content-coding.ts";
import { PHASE, type SessionEnv, type SessionPort } from "../session-port.ts";
import { beginCoding, endCoding, flushCoding } from "./coding.ts";
import { awaitRequest, closeConnection, endRequest, failServer, letGoOfServer } from "./ending.ts";
import { cookieLines } from "./persistence.ts";
import { poolOf, type Session } from "./state.ts";
import { endTunnelServer, isFalseConsent, switchProtocols } from "./tunnel.ts";
import { askAgain, retriesStatus } from "./web-server.ts";

/** Where a head that came in pieces is put together for its scan. */
const whole = Buffer.allocUnsafe(RECEIVE_BUFFER_BYTES);

/** Where the head stands that was scanned last; one record for all. */
const span = { start: 0, end: 0 };

/** Takes bytes from the web server, all of `bytes[start, end)`. */
export function onServerBytes(
  s: Session,
  env: SessionEnv,
  port: SessionPort,
  bytes: Buffer,
  start: number,
  end: number,
): void {
  let at = start;
  while (at < end && s.isConnected) {
    s.hasResponse = true;
    at = s.isAnswered ? takeBody(s, env, port, bytes, at, end) : takeHead(s, env, port, bytes, at, end);
  }
  if (s.isCoded) flushCoding(s, port);
}

function takeHead(
  s: Session,
  env: SessionEnv,
  port: SessionPort,
  bytes: Buffer,
  start: number,
  end: number,
): number {
  const progress = s.responseProgress;
  const maxHead = env.limits.response_head_bytes;
  if (progress.scanned === 0) {
    const verdict = scanResponseHead(bytes, start, Math.min(end, start + maxHead));
    if (verdict !== INCOMPLETE) {
      const after = head.end;
      span.start = start;
      span.end = verdict === COMPLETE ? after : end;
      takeVerdict(s, env, port, bytes, verdict, after < end);
      return verdict === COMPLETE ? after : end;
    }
  }
  const before = progress.scanned;
  const verdict = advanceResponse(progress, bytes, start, end, maxHead);
  const after = start + progress.scanned - before;
  s.responsePart += bytes.latin1Slice(start, after);
  if (verdict === INCOMPLETE) return end;
  takeWhole(s, env, port, verdict, after < end);
  return after;
}

/** A head that came in pieces, `verdict` being about all of them. */
function takeWhole(s: Session, env: SessionEnv, port: SessionPort, verdict: number, hasMore: boolean): void {
  const text = s.responsePart;
  s.responsePart = "";
  resetProgress(s.responseProgress);
  if (verdict === COMPLETE) {
    const length = whole.latin1Write(text);
    const again = scanResponseHead(whole, 0, length);
    span.start = 0;
    span.end = length;
    takeVerdict(s, env, port, whole, again, hasMore);
  } else {
    port.noteRefused("response", 502, whole, 0, whole.latin1Write(text), false);
    failServer(s, port, 502);
  }
}

function takeVerdict(
  s: Session,
  env: SessionEnv,
  port: SessionPort,
  bytes: Buffer,
  verdict: number,
  hasMore: boolean,
): void {
  if (verdict !== COMPLETE || !readResponse(bytes, s.isHead)) {
    port.noteRefused("response", 502, bytes, span.start, span.end, verdict === COMPLETE);
    failServer(s, port, 502);
  } else if (isFalseConsent(s)) failServer(s, port, 502);
  else if (response.status < 200) relayInterim(s, env, port, bytes);
  else if (response.status < 500 || !retriesStatus(s, env, port, response.status))
    relayFinal(s, env, port, bytes, hasMore);
}

/** 100, 103 and the like go on to clients that know them (RFC 9110 15.2). */
function relayInterim(s: Session, env: SessionEnv, port: SessionPort, bytes: Buffer): void {
  if (response.status === 101) {
    switchProtocols(s, env, port, bytes);
    return;
  }
  if (++s.interims > MAX_INTERIM_RESPONSES) {
    failServer(s, port, 502);
    return;
  }
  if (s.isStream) port.clientHead(bytes, null, "");
  else if (s.clientMinor > 0) port.clientText(rewriteResponseHead(false, env.via, null, ""));
  if (response.status === 100 && !s.isRequestDone) s.phase = PHASE.requestBody;
}

/** The lines that are ours: the cookie that names the web server, and whether the connection goes on. */
function addedFields(s: Session, env: SessionEnv): string {
  const cookie = cookieLines(s, env);
  if (s.isStream) return cookie;
  if (!s.isKept) return `${cookie}Connection: close\r\n`;
  return s.clientMinor === 0 ? `${cookie}Connection: keep-alive\r\n` : cookie;
}

/**
 * The connection can't be kept when the request's body is still on its way (what is left of it can't be told
 * from a next request), or when the response's end is its close.
 */
function relayFinal(s: Session, env: SessionEnv, port: SessionPort, bytes: Buffer, hasMore: boolean): void {
  const { compression } = env;
  const codingLines = compression === null ? "" : beginCoding(s, compression, port);
  const isChunked = response.framing === FRAMING.chunked;
  const isUnchunked = isChunked && (s.clientMinor === 0 || s.isStream);
  s.isDecoded = isUnchunked || (s.isCoded && isChunked);
  const isDelimited = s.isCoded || (response.framing !== FRAMING.close && !isUnchunked);
  s.isKept = s.isKept && s.isRequestDone && !s.isDraining && isDelimited;
  s.isServerKept = response.isKept && response.framing !== FRAMING.close;
  s.responseFraming = response.framing;
  s.responseLeft = response.length;
  s.responseChunks = response.framing === FRAMING.chunked ? startChunks() : null;
  s.isAnswered = true;
  s.requestHead = "";
  s.phase = PHASE.responseBody;
  port.countResponse(s.server, response.status);
  const added = codingLines + addedFields(s, env);
  coding.isOn = s.isCoded;
  if (s.isStream) port.clientHead(bytes, s.responseEdits, added);
  else port.clientText(rewriteResponseHead(s.clientMinor === 0, env.via, s.responseEdits, added));
  coding.isOn = false;
  if (response.framing === FRAMING.none) finishResponse(s, env, port, hasMore);
}

function takeBody(
  s: Session,
  env: SessionEnv,
  port: SessionPort,
  bytes: Buffer,
  start: number,
  end: number,
): number {
  if (s.responseFraming === FRAMING.length) return takeLength(s, env, port, bytes, start, end);
  if (s.responseFraming === FRAMING.chunked) return takeChunks(s, env, port, bytes, start, end);
  relayContent(s, port, bytes, start, end);
  return end;
}

function takeLength(
  s: Session,
  env: SessionEnv,
  port: SessionPort,
  bytes: Buffer,
  start: number,
  end: number,
): number {
  const stop = start + Math.min(s.responseLeft, end - start);
  s.responseLeft -= stop - start;
  relayContent(s, port, bytes, start, stop);
  if (s.responseLeft === 0) finishResponse(s, env, port, stop < end);
  return stop;
}

function takeChunks(
  s: Session,
  env: SessionEnv,
  port: SessionPort,
  bytes: Buffer,
  start: number,
  end: number,
): number {
  const chunks = s.responseChunks!;
  const stop = s.isDecoded
    ? decodeChunks(s, port, bytes, start, end)
    : scanChunks(chunks, bytes, start, end, Number.MAX_SAFE_INTEGER);
  if (!s.isDecoded && stop > start) port.clientBytes(bytes, start, stop);
  if (chunks.step === CHUNK.done) finishResponse(s, env, port, stop < end);
  else if (chunks.step > CHUNK.done) failServer(s, port, 502);
  return stop;
}

/** Chunked data without its framing, for a stream or a client of HTTP/1.0. Returns the index after what was taken. */
function decodeChunks(s: Session, port: SessionPort, bytes: Buffer, start: number, end: number): number {
  const chunks = s.responseChunks!;
  let at = start;
  while (at < end && chunks.step < CHUNK.done) {
    if (chunks.step === CHUNK.data) {
      const stop = takeData(chunks, at, end);
      relayContent(s, port, bytes, at, stop);
      at = stop;
    } else {
      const before = chunks.trailerBytes;
      at = scanFraming(chunks, bytes, at, end, Number.MAX_SAFE_INTEGER);
      const trailerBytes = chunks.trailerBytes - before;
      if (s.isStream && trailerBytes > 0) s.responseTrailers += bytes.latin1Slice(at - trailerBytes, at);
    }
  }
  return at;
}

/** A piece of the content, without its framing. */
function relayContent(s: Session, port: SessionPort, bytes: Buffer, start: number, end: number): void {
  if (s.isCoded) port.clientCoded(bytes, start, end, STEP.more);
  else port.clientBytes(bytes, start, end);
}

/** The response is whole. Bytes after it belong to no request: such a web server's connection isn't kept. */
function finishResponse(s: Session, env: SessionEnv, port: SessionPort, hasMore: boolean): void {
  const isReusable = s.isServerKept && s.isRequestDone && !hasMore && poolOf(s, env).serverKeepAlive;
  if (s.isCoded) endCoding(s, port);
  letGoOfServer(s, port, isReusable);
  endRequest(s, port, "done");
  if (s.isKept && !s.isDraining && !s.isStream) awaitRequest(s, port);
  else closeConnection(s, port);
}

/** How many bytes that come next are the response's body and go to the client as they are, whatever they are. */
export function unseen_bytes(s: Session): number {
  const isPlain = s.isAnswered && s.isConnected && s.responseFraming === FRAMING.length && !s.isCoded;
  return isPlain ? s.responseLeft : 0;
}

/** The engine has moved so many of them by itself. */
export function onBodyMoved(s: Session, env: SessionEnv, port: SessionPort, count: number): void {
  s.responseLeft -= count;
  if (s.responseLeft === 0) finishResponse(s, env, port, false);
}

/** Trailers behind a body with a length, whose last byte follows: chunks bring their own. Only for streams. */
export function onServerTrailers(s: Session, lines: string): void {
  s.responseTrailers = lines === "" ? "" : `${lines}\r\n`;
}

/** The web server's connection has failed: what it would have said is lost. */
export function onServerLost(s: Session, env: SessionEnv, port: SessionPort): void {
  if (s.phase === PHASE.tunnel) failServer(s, port, 502);
  else onServerEnd(s, env, port);
}

/**
 * The web server has closed, or its connection has failed. `isCut`: over TLS, without saying so, so that a response that
 * ends with the connection may have been cut off by anyone (RFC 9112 9.8).
 */
export function onServerEnd(s: Session, env: SessionEnv, port: SessionPort, isCut = false): void {
  if (!s.isConnected) return;
  if (s.phase === PHASE.tunnel) {
    if (isCut) failServer(s, port, 502);
    else endTunnelServer(s, port);
  } else if (!s.isAnswered) askAgain(s, env, port);
  else if (s.responseFraming === FRAMING.close && !isCut) finishResponse(s, env, port, false);
  else failServer(s, port, 502);
}
