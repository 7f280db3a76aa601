/** The body of a stream's request: its frames are taken off by now, and chunks put on where it has no length. */
import { FRAMING } from "../http/framing.ts";
import { PHASE, type SessionPort } from "../session-port.ts";
import { failExchange, failStream } from "./ending.ts";
import type { Session } from "./state.ts";

/** Takes a piece, all of it. */
export function takeStreamBody(
  s: Session,
  port: SessionPort,
  bytes: Buffer,
  start: number,
  end: number,
): number {
  const isChunked = s.requestFraming === FRAMING.chunked;
  s.requestLeft -= end - start;
  if (s.requestLeft < 0) {
    // More than it may have, or more than it said it has: that is malformed (RFC 9113 8.1.1).
    if (isChunked) failExchange(s, port, 413);
    else failStream(s, port);
    return end;
  }
  if (isChunked) port.serverText(`${(end - start).toString(16)}\r\n`);
  port.serverBytes(bytes, start, end);
  if (isChunked) port.serverText("\r\n");
  else s.isRequestDone = s.requestLeft === 0;
  if (s.isRequestDone && s.phase === PHASE.requestBody) s.phase = PHASE.responseHead;
  return end;
}

/** The client has ended its stream: what it sent is the whole body. */
export function endStreamBody(s: Session, port: SessionPort): void {
  if (s.isRequestDone || !s.isConnected || s.hasUnread) return;
  if (s.requestFraming === FRAMING.length) {
    failStream(s, port);
    return;
  }
  s.isBodyBegun = true;
  port.serverText(`0\r\n${s.requestTrailers}\r\n`);
  s.isRequestDone = true;
  if (s.phase === PHASE.requestBody) s.phase = PHASE.responseHead;
}
