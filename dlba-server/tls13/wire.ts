/** Records of TLS 1.3 as they lie on the wire (RFC 8446 5), and what stands in them once they are opened. Pure. */
import { TAG_BYTES } from "../../net/openssl-aead.ts";

export const HEADER_BYTES = 5;
export const MOST_PLAIN_BYTES = 16_384;
/** Of a record behind its header: the text, its type, padding and tag. */
export const MOST_SEALED_BYTES = MOST_PLAIN_BYTES + 256;
/** What sealing adds to a text: header, inner type, tag. */
export const OVERHEAD_BYTES = HEADER_BYTES + 1 + TAG_BYTES;
const LEAST_SEALED_BYTES = 1 + TAG_BYTES;

export const TYPE = { changeCipherSpec: 20, alert: 21, handshake: 22, application: 23 } as const;

/** Alerts (RFC 8446 6). */
export const ALERT = {
  closeNotify: 0,
  unexpectedMessage: 10,
  badRecordMac: 20,
  recordOverflow: 22,
  illegalParameter: 47,
  decodeError: 50,
  internalError: 80,
  userCanceled: 90,
} as const;
const WARNING = 1;
const FATAL = 2;

/** What `sealedLength` says of a record that has not come whole. */
export const MORE_NEEDED = -1;
/** Results below this are an alert's code, negated, and this. */
export const REFUSED = -1000;

/** A wrong record, as a result that isn't a length. */
export const refusal = (alert: number): number => REFUSED - alert;
/** The alert for a wrong record; undefined for a result that is none. */
export const alertOf = (result: number): number | undefined =>
  result <= REFUSED ? REFUSED - result : undefined;

/**
 * How long the record at `at` of `bytes[at, end)` is behind its header, MORE_NEEDED, or a refusal. After the handshake all of them claim
 * to be application data; the version that they claim says nothing (5.1).
 */
export function sealedLength(bytes: Uint8Array, at: number, end: number): number {
  if (end > at && bytes[at] !== TYPE.application) return refusal(ALERT.unexpectedMessage);
  if (end - at < HEADER_BYTES) return MORE_NEEDED;
  const length = (bytes[at + 3]! << 8) | bytes[at + 4]!;
  if (length > MOST_SEALED_BYTES) return refusal(ALERT.recordOverflow);
  if (length < LEAST_SEALED_BYTES) return refusal(ALERT.decodeError);
  return end - at - HEADER_BYTES < length ? MORE_NEEDED : length;
}

/** Where in `bytes[start, end)`, an opened record, its type stands: behind the text and before padding. Below `start` when it has none. */
export function typeIndex(bytes: Uint8Array, start: number, end: number): number {
  let at = end - 1;
  while (at >= start && bytes[at] === 0) at--;
  return at;
}

/** What the peer wants by a message after its handshake. */
export const MESSAGE = { update: 0, updateBoth: 1 } as const;
const KEY_UPDATE = 24;
const KEY_UPDATE_BYTES = 5;

/** Reads a handshake message, which has to be one whole KeyUpdate: a client has no other. MESSAGE's, or a refusal. */
export function readMessage(bytes: Uint8Array, start: number, end: number): number {
  if (end === start || bytes[start] !== KEY_UPDATE) return refusal(ALERT.unexpectedMessage);
  const isWhole = end - start === KEY_UPDATE_BYTES && bytes[start + 3] === 1;
  if (!isWhole || bytes[start + 1] !== 0 || bytes[start + 2] !== 0) return refusal(ALERT.decodeError);
  const request = bytes[start + 4]!;
  return request <= MESSAGE.updateBoth ? request : refusal(ALERT.illegalParameter);
}

/** What the peer says by an alert. */
export const SAID = { end: 0, nothing: 1, failure: 2 } as const;

/** Reads an alert: the end of what the peer sends, nothing that matters, its failure, or a refusal. */
export function readAlert(bytes: Uint8Array, start: number, end: number): number {
  if (end - start !== 2) return refusal(ALERT.decodeError);
  const code = bytes[start + 1];
  if (code === ALERT.closeNotify) return SAID.end;
  return code === ALERT.userCanceled ? SAID.nothing : SAID.failure;
}

/** An alert's two bytes. */
export const alertBytes = (code: number): readonly [number, number] => [
  code === ALERT.closeNotify ? WARNING : FATAL,
  code,
];

/** KeyUpdate without the wish that the peer does the same. */
export const KEY_UPDATE_MESSAGE: readonly number[] = [KEY_UPDATE, 0, 0, 1, 0];
