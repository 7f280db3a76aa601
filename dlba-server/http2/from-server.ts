/** A response of a web server that speaks HTTP/2, as the HTTP/1.1 message that sessions read. */
import { FIELD } from "../http/fields.ts";
import { decoded } from "./hpack-decoder.ts";
import { PSEUDO, valueOf } from "./hpack-fields.ts";

/** How the body of a response's message is framed. */
export interface MessageIn {
  /** Its final head has come. */
  hasHead: boolean;
  isChunked: boolean;
}
export const startResponse = (): MessageIn => ({ hasHead: false, isChunked: false });

/**
 * The head whose fields were decoded last, as text; undefined when it is malformed or too large. With `isEnded` nothing follows: a response
 * that consists of a head alone says so by its length.
 */
export function responseHead(message: MessageIn, isEnded: boolean, maxList: number): string | undefined {
  const { fields, count, listBytes } = decoded;
  if (count === 0 || listBytes > maxList || fields[0]!.id !== PSEUDO.status) return undefined;
  let lines = "";
  let hasLength = false;
  for (let i = 1; i < count; i++) {
    const field = fields[i]!;
    if (field.isBad || field.id >= PSEUDO.method) return undefined;
    if (field.id === FIELD.contentLength) hasLength = true;
    lines += field.line;
  }
  const status = valueOf(fields[0]!);
  if (fields[0]!.isBad) return undefined;
  const isInterim = status.startsWith("1");
  if (isInterim && isEnded) return undefined;
  if (!isInterim) {
    message.hasHead = true;
    message.isChunked = !isEnded && !hasLength;
    const hasNoBody = status === "204" || status === "304";
    if (message.isChunked && !hasNoBody) lines += "transfer-encoding: chunked\r\n";
    else if (isEnded && !hasLength && !hasNoBody) lines += "content-length: 0\r\n";
    if (hasNoBody) message.isChunked = false;
  }
  return `HTTP/1.1 ${status} \r\n${lines}\r\n`;
}

/** Data, framed as the head has said, into `to`; returns its length. */
export function frameData(
  { isChunked }: MessageIn,
  bytes: Buffer,
  start: number,
  end: number,
  to: Buffer,
): number {
  let at = isChunked ? to.latin1Write(`${(end - start).toString(16)}\r\n`) : 0;
  at += bytes.copy(to, at, start, end);
  return isChunked ? at + to.latin1Write("\r\n", at) : at;
}

/** What ends the message; "" where its length does. */
export const messageEnd = ({ isChunked }: MessageIn, trailers: string): string =>
  isChunked ? `0\r\n${trailers}\r\n` : "";
