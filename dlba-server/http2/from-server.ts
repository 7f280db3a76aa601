/** A response of a web server that speaks HTTP/2, as the HTTP/1.1 message that sessions read. */
import { STATUS_CODES } from "node:http";
import { FIELD } from "../http/fields.ts";
import { decoded } from "./hpack-decoder.ts";
import { PSEUDO, valueOf } from "./hpack-fields.ts";

/** How the body of a response's message is framed. */
export interface MessageIn {
  /** Its final head has come. */
  hasHead: boolean;
  isChunked: boolean;
  /** Of a body with a length: what is to come. */
  left: number;
  /** A body's last byte, which is kept back until it is known what follows; -1: none. */
  last: number;
}
export const startResponse = (): MessageIn => ({ hasHead: false, isChunked: false, left: 0, last: -1 });

/**
 * The head whose fields were decoded last, as text; undefined when it is malformed or too large. With `isEnded` nothing follows: a response
 * that consists of a head alone says so by its length.
 */
export function responseHead(message: MessageIn, isEnded: boolean, maxList: number): string | undefined {
  const { fields, count, listBytes } = decoded;
  if (count === 0 || listBytes > maxList || fields[0]!.id !== PSEUDO.status) return undefined;
  let lines = "";
  let length = "";
  for (let i = 1; i < count; i++) {
    const field = fields[i]!;
    if (field.isBad || field.id >= PSEUDO.method) return undefined;
    if (field.id === FIELD.contentLength) length = valueOf(field);
    // Trailers may follow a body that is empty, too: only chunks have room for them.
    if (field.id === FIELD.contentLength && length === "0" && !isEnded) length = "";
    else lines += field.line;
  }
  const hasLength = length !== "";
  const status = valueOf(fields[0]!);
  if (fields[0]!.isBad) return undefined;
  const isInterim = status.startsWith("1");
  if (isInterim && isEnded) return undefined;
  if (!isInterim) {
    message.hasHead = true;
    message.left = Number(length);
    message.isChunked = !isEnded && !hasLength;
    const hasNoBody = status === "204" || status === "304";
    if (message.isChunked && !hasNoBody) lines += "transfer-encoding: chunked\r\n";
    else if (isEnded && !hasLength && !hasNoBody) lines += "content-length: 0\r\n";
    if (hasNoBody) message.isChunked = false;
  }
  // HTTP/2 has no words for it; some clients of HTTP/1.1 don't do without.
  return `HTTP/1.1 ${status} ${STATUS_CODES[status] ?? ""}\r\n${lines}\r\n`;
}

/**
 * Data, framed as the head has said, into `to`; returns its length. With `mayHaveTrailers` the last byte of a body with a length
 * is kept back: to who reads the message its end is there.
 */
export function frameData(
  message: MessageIn,
  bytes: Buffer,
  start: number,
  end: number,
  to: Buffer,
  mayHaveTrailers: boolean,
): number {
  const { isChunked } = message;
  if (!isChunked) {
    message.left -= end - start;
    const keepsLast = message.left === 0 && mayHaveTrailers && start < end;
    if (keepsLast) message.last = bytes[end - 1]!;
    return bytes.copy(to, 0, start, keepsLast ? end - 1 : end);
  }
  let at = to.latin1Write(`${(end - start).toString(16)}\r\n`);
  at += bytes.copy(to, at, start, end);
  return at + to.latin1Write("\r\n", at);
}

/** What ends the message; "" where its length has ended it. */
export function messageEnd(message: MessageIn, trailers: string): string {
  if (message.isChunked) return `0\r\n${trailers}\r\n`;
  const { last } = message;
  message.last = -1;
  return last === -1 ? "" : String.fromCharCode(last);
}
