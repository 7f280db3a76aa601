/** Getting a request to a web server: the choice, the connection, and another one when it fails. */
import { MAX_TRIES } from "../../conf/limits.ts";
import type { RetryRules } from "../pools/retry-rules.ts";
import { BY, CHOICE, PHASE, type SessionEnv, type SessionPort } from "../session-port.ts";
import { answer, failServer, letGoOfServer } from "./ending.ts";
import { poolOf, type Session } from "./state.ts";
import { endStreamBody } from "./stream-body.ts";

function connect(s: Session, port: SessionPort, server: number, mayReuse: boolean): void {
  s.server = server;
  s.tries++;
  s.phase = PHASE.connect;
  port.connect(server, mayReuse);
}

/** Asks the web server that is next by the pool's scheduling; answers `statusIfNone` when none is left. */
export function connectNext(s: Session, env: SessionEnv, port: SessionPort, statusIfNone: number): void {
  const server = s.tries < MAX_TRIES ? port.choose(s.token, s.hash, s.tried) : CHOICE.none;
  if (server >= 0) connect(s, port, server, poolOf(s, env).serverKeepAlive);
  else if (server === CHOICE.full) waitForTurn(s, port);
  else {
    // Who is refused because there is too much to do had better not come back on the same connection.
    if (server === CHOICE.shed) s.isKept = false;
    answer(s, port, server === CHOICE.shed ? 503 : statusIfNone);
  }
}

function waitForTurn(s: Session, port: SessionPort): void {
  s.phase = PHASE.wait;
  if (!port.wait()) answer(s, port, 503);
}

/** A web server may have room now. */
export function onTurn(s: Session, env: SessionEnv, port: SessionPort): void {
  if (s.phase === PHASE.wait) connectNext(s, env, port, 503);
}

/** Whether the client's cookie names this web server; if not, the response tells it one. */
export const isNamed = (s: Session, env: SessionEnv): boolean =>
  s.token !== "" && poolOf(s, env).tokenIndex.get(s.token) === s.server;

function countRequest(s: Session, env: SessionEnv, port: SessionPort): void {
  if (s.countedServer === s.server) return;
  s.countedServer = s.server;
  if (poolOf(s, env).scheduling === "url-hash") port.countRequest(s.server, BY.hash);
  else port.countRequest(s.server, isNamed(s, env) ? BY.cookie : BY.newCookie);
}

/** The web server is there: it gets the head. The body follows as the client's bytes are offered. */
export function onServerConnected(s: Session, env: SessionEnv, port: SessionPort, isReused: boolean): void {
  if (s.phase !== PHASE.connect) return;
  s.isConnected = true;
  s.isReused = isReused;
  countRequest(s, env, port);
  port.serverText(s.requestHead);
  // A client that waits for 100 (Continue) sends nothing: it is the web server's turn.
  s.phase = s.isRequestDone || s.expectsContinue ? PHASE.responseHead : PHASE.requestBody;
  if (s.isStream && s.isClientEnded) endStreamBody(s, port);
}

/** It can't be connected: another one gets the request at once, since nothing of it has been sent. */
export function onServerFailed(s: Session, env: SessionEnv, port: SessionPort): void {
  if (s.phase !== PHASE.connect) return;
  s.tried.push(s.server);
  s.server = -1;
  connectNext(s, env, port, 503);
}

/**
 * Whether a request may be sent again when nothing of its response has gone to the client: only what is idempotent, and
 * whose body hasn't been sent, because the client's bytes aren't kept (RFC 9110 9.2.2).
 */
const mayAskAgain = (s: Session): boolean => s.interims === 0 && s.isIdempotent && !s.isBodyBegun;

/** Whether another web server may get a request that this one had. Takes it out of the pool's budget. */
const mayRetry = (s: Session, { most }: RetryRules, port: SessionPort): boolean =>
  s.retries < most && port.mayRetry();

/** Gives the request to another web server; the one that had it has failed at it. */
function retry(s: Session, env: SessionEnv, port: SessionPort, statusIfNone: number): void {
  const { server } = s;
  letGoOfServer(s, port, false);
  port.countServerFailure(server);
  s.tried.push(server);
  s.retries++;
  connectNext(s, env, port, statusIfNone);
}

/**
 * The web server says that it has not looked at the request (RFC 9113 8.7): then it may be sent again, whatever it is, as long as
 * nothing of its body is gone.
 */
export function onServerRefused(s: Session, env: SessionEnv, port: SessionPort): void {
  if (!s.isConnected) return;
  const { server } = s;
  if (s.hasResponse || s.isBodyBegun || s.tries >= MAX_TRIES) {
    failServer(s, port, 502);
    return;
  }
  letGoOfServer(s, port, false);
  connect(s, port, server, poolOf(s, env).serverKeepAlive);
}

/** The web server closed before it answered. A reused connection may just have been too old. */
export function askAgain(s: Session, env: SessionEnv, port: SessionPort): void {
  const { server, isReused } = s;
  const mayAgain = !s.hasResponse && mayAskAgain(s);
  if (mayAgain && isReused) {
    letGoOfServer(s, port, false);
    connect(s, port, server, false);
    return;
  }
  const rules = poolOf(s, env).retries;
  if (mayAgain && rules.afterClose && mayRetry(s, rules, port)) retry(s, env, port, 502);
  else failServer(s, port, 502);
}

/** The response's head hasn't come in time. */
export function onLateResponse(s: Session, env: SessionEnv, port: SessionPort): void {
  const rules = poolOf(s, env).retries;
  const mayAgain = rules.afterTimeout && !s.hasResponse && mayAskAgain(s);
  if (mayAgain && mayRetry(s, rules, port)) retry(s, env, port, 504);
  else failServer(s, port, 504);
}

/**
 * Whether a response with this status goes to nobody, because another web server gets the request. It doesn't when no
 * other one can be had at once: this answer is better than one of ours.
 */
export function retriesStatus(s: Session, env: SessionEnv, port: SessionPort, status: number): boolean {
  const rules = poolOf(s, env).retries;
  if (!rules.statuses.includes(status) || !mayAskAgain(s) || s.retries >= rules.most) return false;
  const { server } = s;
  s.tried.push(server);
  const next = s.tries < MAX_TRIES ? port.choose(s.token, s.hash, s.tried) : CHOICE.none;
  if (next < 0 || !port.mayRetry()) {
    s.tried.pop();
    return false;
  }
  letGoOfServer(s, port, false);
  port.countServerFailure(server);
  s.retries++;
  connect(s, port, next, poolOf(s, env).serverKeepAlive);
  return true;
}
