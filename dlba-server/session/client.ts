/** What comes from the client: request heads, bodies, ends. */
import { MAX_EMPTY_LINES } from "../../conf/limits.ts";
import { CR, LF } from "../http/characters.ts";
import { CHUNK, scanChunks, startChunks } from "../http/chunked.ts";
import { acceptedCoding } from "../http/content-coding.ts";
import { FRAMING } from "../http/framing.ts";
import { COMPLETE, head, INCOMPLETE, scanRequestHead } from "../http/head.ts";
import { advanceRequest, resetProgress } from "../http/head-progress.ts";
import { hashTarget } from "../http/hash-key.ts";
import { outgoing, rewriteRequestHead } from "../http/request-head.ts";
import { loggedRequest } from "../http/logged.ts";
import { readRequest, request } from "../http/request.ts";
import { PHASE, type SessionEnv, type SessionPort } from "../session-port.ts";
import {
  answer,
  closeConnection,
  endRequest,
  failExchange,
  letGoOfServer,
  openRequest,
  refuse,
} from "./ending.ts";
import { readKeys } from "./persistence.ts";
import { changes, passRules } from "./rules.ts";
import { awaitsHead, clearRequest, poolOf, type Session } from "./state.ts";
import { endStreamBody, takeStreamBody } from "./stream-body.ts";
import { endTunnelClient, tunnelClientBytes } from "./tunnel.ts";
import { connectNext } from "./web-server.ts";

/**
 * Whether the engine need read the client now. It need not while a web server is connected, or a response is
 * awaited: the next pipelined request is only taken when the one before is answered.
 */
export function takesClientBytes(s: Session): boolean {
  return awaitsHead(s) || (s.isConnected && !s.isRequestDone);
}

/**
 * Takes client bytes in `bytes[start, end)`. Returns the index up to which they were taken; the rest is to be
 * offered again, in front of newer bytes, after later inputs. Whatever was read must be offered before
 * `onClientEnd`.
 */
export function onClientBytes(
  s: Session,
  env: SessionEnv,
  port: SessionPort,
  bytes: Buffer,
  start: number,
  end: number,
): number {
  let at = start;
  while (at < end && takesClientBytes(s)) {
    const next = awaitsHead(s)
      ? takeHead(s, env, port, bytes, at, end)
      : s.phase === PHASE.tunnel
        ? tunnelClientBytes(port, bytes, at, end)
        : takeBody(s, env, port, bytes, at, end);
    if (next === at) break;
    at = next;
  }
  if (s.phase === PHASE.closed) at = end;
  s.hasUnread = at < end;
  if (s.isClientEnded) settleEnd(s, port);
  return at;
}

/** Empty lines before a request, as some clients send after a body (RFC 9112 2.2). */
function skipEmptyLines(s: Session, bytes: Buffer, start: number, end: number): number {
  let at = start;
  while (at + 1 < end && bytes[at] === CR && bytes[at + 1] === LF && s.emptyLines < MAX_EMPTY_LINES) {
    s.emptyLines++;
    at += 2;
  }
  return at;
}

/** COMPLETE with the head in the scanner's record, INCOMPLETE, or the status to refuse it with. */
function scanHead(s: Session, env: SessionEnv, bytes: Buffer, start: number, end: number): number {
  const { request_head_bytes: maxHead, request_target_bytes: maxTarget } = env.limits;
  const progress = s.requestProgress;
  const stop = Math.min(end, start + maxHead);
  if (progress.scanned === 0) {
    const verdict = scanRequestHead(bytes, start, stop, maxTarget);
    if (verdict !== INCOMPLETE) return verdict;
  }
  const verdict = advanceRequest(progress, bytes, start, end, maxHead, maxTarget);
  return verdict === COMPLETE ? scanRequestHead(bytes, start, stop, maxTarget) : verdict;
}

/** Whether a head that may be no good begins with HEAD: answers to that have no body. */
export function asksForHead(bytes: Buffer, start: number, end: number): boolean {
  return bytes.latin1Slice(start, Math.min(end, start + 5)) === "HEAD ";
}

function takeHead(
  s: Session,
  env: SessionEnv,
  port: SessionPort,
  bytes: Buffer,
  start: number,
  end: number,
): number {
  const at = s.requestProgress.scanned === 0 ? skipEmptyLines(s, bytes, start, end) : start;
  const isHalfLine = at + 1 === end && bytes[at] === CR && s.emptyLines < MAX_EMPTY_LINES;
  if (at === end || isHalfLine) return at;
  const verdict = scanHead(s, env, bytes, at, end);
  if (verdict === INCOMPLETE) {
    s.phase = PHASE.requestHead;
    return at;
  }
  if (verdict !== COMPLETE) {
    port.noteRefused("request", verdict, bytes, at, end, false);
    refuse(s, port, verdict, asksForHead(bytes, at, end));
    return end;
  }
  openRequest(s, port);
  resetProgress(s.requestProgress);
  s.emptyLines = 0;
  s.hasUnread = head.end < end;
  const refusal = readRequest(bytes, env);
  if (env.isLogged) s.logged = loggedRequest();
  const after = head.end;
  if (refusal === 0) beginRequest(s, env, port, bytes);
  else {
    if (refusal !== 404) port.noteRefused("request", refusal, bytes, at, after, true);
    refuseRead(s, port, refusal, asksForHead(bytes, at, end));
  }
  return after;
}

/** Answers a request that could be read: one that is clear up to its framing has an end, so that another may follow. */
export function refuseRead(s: Session, port: SessionPort, status: number, isHead: boolean): void {
  if (status !== 404 && status !== 417) {
    refuse(s, port, status, isHead);
    return;
  }
  s.isHead = isHead;
  s.responseEdits = null;
  s.isKept = request.isKept;
  s.clientMinor = head.minor;
  s.isRequestDone = request.framing === FRAMING.none;
  answer(s, port, status);
}

/** A request that is to be served: its head as it goes on, and the search for a web server. */
export function beginRequest(s: Session, env: SessionEnv, port: SessionPort, bytes: Buffer): void {
  clearRequest(s);
  s.clientMinor = head.minor;
  s.isHead = request.isHead;
  s.isIdempotent = request.isIdempotent;
  s.isKept = request.isKept;
  s.expectsContinue = request.expectsContinue;
  s.websocketKey = request.websocketKey;
  s.requestFraming = request.framing;
  s.requestLeft = request.length;
  s.requestChunks = request.framing === FRAMING.chunked && !s.isStream ? startChunks() : null;
  s.isRequestDone = request.framing === FRAMING.none;
  const { rules, compression } = env;
  if (compression !== null) s.coding = acceptedCoding(compression);
  if (rules !== null && !passRules(s, env, rules, port, bytes)) return;
  const pool = poolOf(s, env);
  if (request.maxForwards === 0) {
    // We are the last one that it may come to (RFC 9110 7.6.2). What TRACE would show is nobody's business.
    answer(s, port, asksForTrace(bytes) ? 501 : 200);
    return;
  }
  if (s.websocketKey !== "" && !pool.takesUpgrades) {
    refuseUpgrade(s, port, bytes);
    return;
  }
  rewriteRequestHead(
    env,
    pool,
    env.addsRequestId ? port.newRequestId() : "",
    port.newTraceId,
    rules === null ? null : changes,
  );
  s.requestId = outgoing.requestId;
  s.traceparent = outgoing.traceparent;
  s.requestHead = outgoing.text;
  s.token = outgoing.token;
  if (!pool.persistence.isPlain) readKeys(s, pool, bytes);
  else if (pool.scheduling === "url-hash") s.hash = hashTarget(bytes);
  connectNext(s, env, port, 503);
}

const asksForTrace = (bytes: Buffer): boolean => bytes.latin1Slice(head.start, head.methodEnd) === "TRACE";

/** A WebSocket that nobody in the pool could serve: better an answer that says so than a plain request in its place. */
function refuseUpgrade(s: Session, port: SessionPort, bytes: Buffer): void {
  answer(s, port, 501);
  port.noteRefused("request", 501, bytes, head.start, head.end, true);
}

/** The body, as it came, to the web server. */
function takeBody(
  s: Session,
  env: SessionEnv,
  port: SessionPort,
  bytes: Buffer,
  start: number,
  end: number,
): number {
  s.isBodyBegun = true;
  if (s.phase === PHASE.responseHead) s.phase = PHASE.requestBody;
  if (s.isStream) return takeStreamBody(s, port, bytes, start, end);
  const stop = s.requestChunks === null ? takeLength(s, start, end) : takeChunks(s, env, bytes, start, end);
  if (stop > start) port.serverBytes(bytes, start, stop);
  const step = s.requestChunks?.step;
  if (step === CHUNK.bad || step === CHUNK.tooLarge) {
    failExchange(s, port, step === CHUNK.bad ? 400 : 413);
    return end;
  }
  if (s.isRequestDone && s.phase === PHASE.requestBody) s.phase = PHASE.responseHead;
  return stop;
}

function takeLength(s: Session, start: number, end: number): number {
  const taken = Math.min(s.requestLeft, end - start);
  s.requestLeft -= taken;
  s.isRequestDone = s.requestLeft === 0;
  return start + taken;
}

function takeChunks(s: Session, env: SessionEnv, bytes: Buffer, start: number, end: number): number {
  const chunks = s.requestChunks!;
  const stop = scanChunks(chunks, bytes, start, end, env.limits.request_body_bytes);
  s.isRequestDone = chunks.step === CHUNK.done;
  return stop;
}

/** The client has said its last byte; a whole request is still answered. */
export function onClientEnd(s: Session, _env: SessionEnv, port: SessionPort): void {
  s.isClientEnded = true;
  settleEnd(s, port);
}

/** Ends what can't go on without more from a client that has ended. */
function settleEnd(s: Session, port: SessionPort): void {
  if (s.phase === PHASE.closed) return;
  if (s.phase === PHASE.tunnel) endTunnelClient(s, port);
  else if (s.isStream) endStreamBody(s, port);
  else if (s.requestProgress.scanned > 0) refuse(s, port, 400, false);
  else if (s.hasUnread) return;
  else if (awaitsHead(s)) closeConnection(s, port);
  else if (!s.isRequestDone) failExchange(s, port, 400);
}

/** The client's connection is gone: nobody is left to answer, and the engine has closed it. */
export function onClientLost(s: Session, _env: SessionEnv, port: SessionPort): void {
  if (s.phase === PHASE.closed) return;
  letGoOfServer(s, port, false);
  s.phase = PHASE.closed;
  s.requestHead = "";
  s.responsePart = "";
  endRequest(s, port, "lost");
}
