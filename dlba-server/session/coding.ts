/** Compressing a response on its way through a session. The session has only the coding's name; what compresses is the engine's. */
import { codedLines, isCompressible, STEP, varyLine, type Compression } from "../http/content-coding.ts";
import { FRAMING } from "../http/framing.ts";
import { response } from "../http/response.ts";
import type { SessionPort } from "../session-port.ts";
import type { Session } from "./state.ts";

const NOTHING = Buffer.alloc(0);

/**
 * Decides whether the response that was read last is compressed. Returns the lines that its head gets for it: of a response that
 * another client would get compressed, too.
 */
export function beginCoding(s: Session, compression: Compression, port: SessionPort): string {
  const isNotModified = response.status === 304;
  if (!isNotModified && !isCompressible(compression, s.isHead)) return "";
  const vary = varyLine();
  if (isNotModified || s.coding === "") return vary;
  // The answer to HEAD has the same head as one with content.
  s.isCoded = s.isHead || port.beginCoding(s.coding);
  if (!s.isCoded) return vary;
  const framing = s.isHead || s.isStream ? "" : "Transfer-Encoding: chunked\r\n";
  return vary + codedLines(s.coding) + framing;
}

/**
 * Brings out what was said so far, when nobody knows how long the response goes on: events must not wait for the next ones. One whose
 * length is known comes soon, and is smaller in one go.
 */
export function flushCoding(s: Session, port: SessionPort): void {
  if (s.responseFraming !== FRAMING.length) port.clientCoded(NOTHING, 0, 0, STEP.flush);
}

/** The content is whole. */
export function endCoding(s: Session, port: SessionPort): void {
  if (s.isHead) return;
  port.clientCoded(NOTHING, 0, 0, STEP.finish);
  if (!s.isStream) port.clientText("0\r\n\r\n");
}
