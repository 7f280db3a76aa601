/** The request that opens an HTTP/2 stream, and what else comes on it. */
import { COMPLETE, head } from "../http/head.ts";
import { loggedRequest } from "../http/logged.ts";
import { MALFORMED, readStreamRequest, request } from "../http/request.ts";
import { PHASE, type SessionEnv, type SessionPort } from "../session-port.ts";
import { asksForHead, beginRequest, onClientBytes, onClientEnd, refuseRead } from "./client.ts";
import { failStream, openRequest, refuse } from "./ending.ts";
import type { Session } from "./state.ts";

/**
 * Takes the request whose head is noted in the scanner's record and stands in `bytes`. `verdict` is COMPLETE, MALFORMED or
 * the status to refuse it with; with `isEnded` no body follows.
 */
export function onStreamRequest(
  s: Session,
  env: SessionEnv,
  port: SessionPort,
  bytes: Buffer,
  verdict: number,
  isEnded: boolean,
): void {
  openRequest(s, port);
  request.isStream = true;
  const refusal = verdict === COMPLETE ? readStreamRequest(bytes, env, isEnded) : verdict;
  if (env.isLogged && head.fields > 0) s.logged = loggedRequest();
  if (refusal === 0) {
    if (request.protocol !== "") request.websocketKey = port.newWebsocketKey();
    beginRequest(s, env, port, bytes);
    return;
  }
  const isHead = asksForHead(bytes, head.start, head.end);
  if (refusal !== 404)
    port.noteRefused("request", refusal === MALFORMED ? 400 : refusal, bytes, 0, head.end, true);
  if (refusal === MALFORMED) failStream(s, port);
  else if (verdict === COMPLETE) refuseRead(s, port, refusal, isHead);
  else refuse(s, port, refusal, isHead);
}

/** Takes data of the request's body; like `onClientBytes`. Data after a body that was whole is malformed. */
export function onStreamData(
  s: Session,
  env: SessionEnv,
  port: SessionPort,
  bytes: Buffer,
  start: number,
  end: number,
): number {
  if (s.isRequestDone && s.phase !== PHASE.closed) {
    failStream(s, port);
    return end;
  }
  return onClientBytes(s, env, port, bytes, start, end);
}

/** The client has ended the stream on its side, with these trailers (whole lines). */
export function onStreamEnd(s: Session, env: SessionEnv, port: SessionPort, trailers: string): void {
  s.requestTrailers = trailers;
  onClientEnd(s, env, port);
}
