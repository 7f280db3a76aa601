/** What comes from the engine's clock, and from the worker that stops. */
import { PHASE, type SessionEnv, type SessionPort } from "../session-port.ts";
import { answer, closeConnection, failExchange, failServer, refuse } from "./ending.ts";
import type { Session } from "./state.ts";
import { endTunnel } from "./tunnel.ts";
import { onLateResponse, onServerFailed } from "./web-server.ts";

/** The time-out of the session's phase has passed. */
export function onTimeout(s: Session, env: SessionEnv, port: SessionPort): void {
  switch (s.phase) {
    case PHASE.idle:
      closeConnection(s, port);
      return;
    case PHASE.requestHead:
      // Who has asked nothing gets no answer.
      if (s.requestProgress.scanned > 0) refuse(s, port, 408, false);
      else closeConnection(s, port);
      return;
    case PHASE.connect:
      port.releaseServer(false);
      onServerFailed(s, env, port);
      return;
    case PHASE.requestBody:
      failExchange(s, port, 408);
      return;
    case PHASE.responseHead:
      onLateResponse(s, env, port);
      return;
    case PHASE.responseBody:
      failServer(s, port, 504);
      return;
    case PHASE.tunnel:
      endTunnel(s, port, "cut");
      return;
    case PHASE.wait:
      answer(s, port, 503);
      return;
    case PHASE.closed:
  }
}

/** The whole request has taken too long, whoever is to blame. */
export function onOverdue(s: Session, port: SessionPort): void {
  if (!s.isRequest) return;
  if (s.phase === PHASE.wait) answer(s, port, 503);
  else failExchange(s, port, s.isRequestDone ? 504 : 408);
}

/** The worker stops: the request under way is the connection's last one. */
export function onDrain(s: Session, _env: SessionEnv, port: SessionPort): void {
  s.isDraining = true;
  if (s.phase === PHASE.idle) closeConnection(s, port);
}

/** The worker ends: who still has a request under way, or a WebSocket, loses it. */
export function onStop(s: Session, _env: SessionEnv, port: SessionPort): void {
  if (s.isRequest) endTunnel(s, port, "cut");
}

/**
 * Another worker takes new connections from now on: the next response is the last one here. A connection that is idle stays until
 * its next request or its time-out: a client may be asking just now, and would have to ask again.
 */
export function onRetire(s: Session): void {
  s.isDraining = true;
}
