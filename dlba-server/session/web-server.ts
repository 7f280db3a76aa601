/** Getting a request to a web server: the choice, the connection, and another one when it fails. */
import { MAX_TRIES } from "../../conf/limits.ts";
import { BY, PHASE, type SessionEnv, type SessionPort } from "../session-port.ts";
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
  const server = s.tries < MAX_TRIES ? port.choose(s.token, s.hash, s.tried) : -1;
  if (server === -1) answer(s, port, statusIfNone);
  else connect(s, port, server, poolOf(s, env).serverKeepAlive);
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
 * Whether a request may be sent again after the connection closed without a byte of response: only what is
 * idempotent, and whose body hasn't been sent, because the client's bytes aren't kept (RFC 9110 9.2.2).
 */
const mayAskAgain = (s: Session): boolean => !s.hasResponse && s.isIdempotent && !s.isBodyBegun;

/** The web server closed before it answered. A reused connection may just have been too old. */
export function askAgain(s: Session, env: SessionEnv, port: SessionPort): void {
  const { server, isReused } = s;
  if (!mayAskAgain(s)) {
    failServer(s, port, 502);
    return;
  }
  letGoOfServer(s, port, false);
  if (isReused) {
    connect(s, port, server, false);
    return;
  }
  port.countServerFailure(server);
  s.tried.push(server);
  connectNext(s, env, port, 502);
}
