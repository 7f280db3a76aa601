/**
 * Where in a TLS ClientHello the session ticket stands (RFC 8446 4.1.2 and 4.2.11, RFC 5077 3.2). Pure; all else is OpenSSL's
 * to read and to judge.
 */

/** There is none, or none that can be told of: OpenSSL sees to it. */
export const NO_TICKET = -1;
/** The record is not whole yet. */
export const MORE_NEEDED = -2;

const HANDSHAKE = 22;
const CLIENT_HELLO = 1;
const SESSION_TICKET = 35;
const PRE_SHARED_KEY = 41;
const RECORD_HEADER_BYTES = 5;
/** Larger ones, and such as are spread over records, are left to OpenSSL. */
export const MOST_HELLO_BYTES = 16_384 + RECORD_HEADER_BYTES;

const word = (bytes: Uint8Array, at: number): number => ((bytes[at] ?? 0) << 8) | (bytes[at + 1] ?? 0);

/** The index of the first ticket in `bytes[0, end)` that has `least` bytes or more, NO_TICKET or MORE_NEEDED. */
export function findTicket(bytes: Uint8Array, end: number, least: number): number {
  if (end > 0 && bytes[0] !== HANDSHAKE) return NO_TICKET;
  if (end < RECORD_HEADER_BYTES) return MORE_NEEDED;
  const recordEnd = RECORD_HEADER_BYTES + word(bytes, 3);
  if (recordEnd > MOST_HELLO_BYTES) return NO_TICKET;
  if (recordEnd > end) return MORE_NEEDED;
  const from = RECORD_HEADER_BYTES;
  if (bytes[from] !== CLIENT_HELLO || recordEnd < from + 4) return NO_TICKET;
  const helloEnd = from + 4 + ((bytes[from + 1]! << 16) | word(bytes, from + 2));
  if (helloEnd > recordEnd) return NO_TICKET;
  return searchExtensions(bytes, skipToExtensions(bytes, from + 4), helloEnd, least);
}

/** Behind version, random, session id, cipher suites and compression methods. Beyond the end when it is malformed. */
function skipToExtensions(bytes: Uint8Array, start: number): number {
  let at = start + 34;
  at += 1 + (bytes[at] ?? 0);
  at += 2 + word(bytes, at);
  at += 1 + (bytes[at] ?? 0);
  return at + 2;
}

/** A pre-shared key's identity counts more: a client that has one speaks TLS 1.3. */
function searchExtensions(bytes: Uint8Array, start: number, end: number, least: number): number {
  let found = NO_TICKET;
  for (let at = start; at + 4 <= end;) {
    const kind = word(bytes, at);
    const from = at + 4;
    const to = from + word(bytes, at + 2);
    if (to > end) return NO_TICKET;
    if (kind === SESSION_TICKET && to - from >= least) found = from;
    if (kind === PRE_SHARED_KEY && to - from >= 4) {
      const identity_bytes = word(bytes, from + 2);
      return identity_bytes >= least && from + 4 + identity_bytes <= to ? from + 4 : NO_TICKET;
    }
    at = to;
  }
  return found;
}
