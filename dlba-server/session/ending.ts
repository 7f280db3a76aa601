/** How requests, exchanges and connections end: with a response, an answer of our own, or a cut. */
import { MAX_OWN_ANSWERS } from "../../conf/limits.ts";
import { mayKeepAfter, ownAnswer } from "../http/answers.ts";
import type { AccessEnd } from "../access-line.ts";
import { PHASE, type SessionPort } from "../session-port.ts";
import { clearResponse, type Session } from "./state.ts";

/** A request begins: whatever it is, it gets an answer and a line in the log. */
export function openRequest(s: Session, port: SessionPort): void {
  s.isRequest = true;
  s.logged = null;
  s.requestId = "";
  s.traceparent = "";
  port.requestBegins();
}

/** The request under way is over, if there is one. */
export function endRequest(s: Session, port: SessionPort, end: AccessEnd): void {
  if (!s.isRequest) return;
  s.isRequest = false;
  port.requestEnds(end);
  s.logged = null;
}

/** Nothing more will be said; what is staged is still written. */
export function closeConnection(s: Session, port: SessionPort): void {
  s.phase = PHASE.closed;
  s.requestHead = "";
  s.responsePart = "";
  port.closeClient();
}

/** The response can't be finished, and the client must see that. */
function cutClient(s: Session, port: SessionPort): void {
  s.phase = PHASE.closed;
  s.requestHead = "";
  s.responsePart = "";
  endRequest(s, port, "cut");
  port.abortClient();
}

/** The web server's part is over: its connection may serve others, or is closed. */
export function letGoOfServer(s: Session, port: SessionPort, isReusable: boolean): void {
  if (s.server === -1) return;
  clearResponse(s);
  port.releaseServer(isReusable);
}

/** The connection waits for its next request; a client that has ended and been read whole has none. */
export function awaitRequest(s: Session, port: SessionPort): void {
  s.phase = PHASE.idle;
  s.requestHead = "";
  s.token = ""; // A reference into the head's text, which would stay as long.
  if (s.isClientEnded && !s.hasUnread) closeConnection(s, port);
}

/**
 * Answers the request without a web server. The connection is kept when the request was whole and clear, the
 * client wants it, and it hasn't had too many such answers (they are cheap to ask for). `fields` are whole header lines, `page`
 * is HTML instead of a few words.
 */
export function answer(
  s: Session,
  port: SessionPort,
  status: number,
  fields = "",
  page = port.errorPage(status),
): void {
  s.ownAnswers++;
  const mayKeep = s.isKept && s.isRequestDone && !s.isDraining && mayKeepAfter(status);
  const isKept = mayKeep && s.ownAnswers < MAX_OWN_ANSWERS && !s.isStream;
  const connection = isKept ? (s.clientMinor === 0 ? "keep-alive" : "") : "close";
  port.clientText(ownAnswer(status, connection, s.isHead, fields, page, s.responseEdits));
  port.countOwnAnswer(status);
  endRequest(s, port, "done");
  if (isKept) awaitRequest(s, port);
  else closeConnection(s, port);
}

/** Refuses what could not be read as a request: where the next one would begin is unknown. */
export function refuse(s: Session, port: SessionPort, status: number, isHead: boolean): void {
  if (!s.isRequest) openRequest(s, port);
  s.isHead = isHead;
  s.isKept = false;
  s.isRequestDone = false;
  s.responseEdits = null;
  answer(s, port, status);
}

/** The exchange has failed: the client is told so, or cut off when its response has begun. */
export function failExchange(s: Session, port: SessionPort, status: number): void {
  const { isAnswered } = s;
  letGoOfServer(s, port, false);
  if (isAnswered) cutClient(s, port);
  else answer(s, port, status);
}

/** The like, by the web server's fault. */
export function failServer(s: Session, port: SessionPort, status: number): void {
  port.countServerFailure(s.server);
  failExchange(s, port, status);
}

/** A stream's request turns out to be malformed: nobody answers it. */
export function failStream(s: Session, port: SessionPort): void {
  letGoOfServer(s, port, false);
  s.phase = PHASE.closed;
  s.requestHead = "";
  s.responsePart = "";
  endRequest(s, port, "cut");
  port.refuseStream();
}
