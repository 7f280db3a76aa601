/** How a message's body is delimited, as its head says (RFC 9112 6.1 to 6.3). */
import { CONTENT_LENGTH_DIGITS } from "../../conf/limits.ts";
import { COMMA, DIGIT, equalsIgnoringCase, TOKEN, ZERO } from "./characters.ts";

export const FRAMING = { none: 0, length: 1, chunked: 2, close: 3 } as const;
export type Framing = (typeof FRAMING)[keyof typeof FRAMING];

/**
 * The number in `bytes[start, end)`, or -1 for what isn't plainly one: digits only, none of them a leading
 * zero (some read it as octal), and few enough to be counted exactly.
 */
export function readContentLength(bytes: Uint8Array, start: number, end: number): number {
  const digits = end - start;
  if (digits === 0 || digits > CONTENT_LENGTH_DIGITS) return -1;
  if (bytes[start] === ZERO && digits > 1) return -1;
  let length = 0;
  for (let at = start; at < end; at++) {
    if (DIGIT[bytes[at]!] === 0) return -1;
    length = length * 10 + (bytes[at]! - ZERO);
  }
  return length;
}

/** 0 for exactly "chunked"; 501 for one other coding alone; 400 for lists, parameters and all else. */
export function checkTransferEncoding(bytes: Uint8Array, start: number, end: number): number {
  if (equalsIgnoringCase(bytes, start, end, "chunked")) return 0;
  if (start === end) return 400;
  for (let at = start; at < end; at++) {
    if (TOKEN[bytes[at]!] === 0 || bytes[at] === COMMA) return 400;
  }
  return 501;
}
