/**
 * The record layer of a client's TLS 1.3 connection: OpenSSL makes the handshake and hands over its secrets, and then its SSL object
 * goes. A quiet connection is two keys of 1 KB each instead of some 22 KB, and big bodies take two thirds of the time.
 *
 * What is received lies in one buffer for all connections; a connection keeps only the beginning of a record that has not come whole.
 */
import {
  MAX_IDLE_RECORDS,
  MAX_KEY_CHANGES_AT_ONCE,
  MAX_RECORDS_AT_ONCE,
  RECEIVE_BUFFER_BYTES,
  RECORDS_BY_ONE_KEY,
  SEALED_BUFFER_BYTES,
} from "../../conf/limits.ts";
import { nativeMemory } from "../../net/ffi.ts";
import { open, seal, type Suite, TAG_BYTES } from "../../net/openssl-aead.ts";
import { sslFree } from "../../net/openssl.ts";
import { createDirection, type Direction, endDirection, updateKey } from "../tls13/direction.ts";
import {
  ALERT,
  alertBytes,
  alertOf,
  HEADER_BYTES,
  KEY_UPDATE_MESSAGE,
  MESSAGE,
  MORE_NEEDED,
  MOST_PLAIN_BYTES,
  MOST_SEALED_BYTES,
  OVERHEAD_BYTES,
  readAlert,
  readMessage,
  refusal,
  SAID,
  sealedLength,
  TYPE,
  typeIndex,
} from "../tls13/wire.ts";
import { buffered } from "./reading.ts";

export interface Records {
  /** Until the handshake is over: OpenSSL's object, and the secret that it has told first. */
  ssl: number;
  serverSecret: Buffer | undefined;
  /** Behind the handshake. */
  incoming: Direction | undefined;
  outgoing: Direction | undefined;
  /** Records, or the beginning of one, that were received and not opened yet. */
  partial: Buffer | undefined;
  /** What was opened and had no room. */
  plain: Buffer | undefined;
  /** Session tickets: they go out in front of the first answer. */
  tickets: Buffer | undefined;
  /** What a record to the peer holds at most. */
  most_bytes: number;
  /** It will be OpenSSL's when what it has said has left. */
  isOpenSsls: boolean;
  /** The peer has changed its key and wants ours changed, too. */
  owesUpdate: boolean;
  /** Records in a row that brought nothing. */
  idleRecords: number;
  /** The peer has said its last; we have. */
  hasEnded: boolean;
  hasSaidEnd: boolean;
  /** What came last was no record of the peer's, and why. */
  alert: number | undefined;
}

export function createRecords(ssl: number): Records {
  return {
    ssl,
    serverSecret: undefined,
    incoming: undefined,
    outgoing: undefined,
    partial: undefined,
    plain: undefined,
    tickets: undefined,
    most_bytes: MOST_PLAIN_BYTES,
    isOpenSsls: false,
    owesUpdate: false,
    idleRecords: 0,
    hasEnded: false,
    hasSaidEnd: false,
    alert: undefined,
  };
}

/** The handshake is over: records are ours. `sent` records were sealed by the server's secret already. */
export function takeOver(records: Records, suite: Suite, clientSecret: Buffer, sent: number): void {
  records.incoming = createDirection(suite, clientSecret, false, 0);
  records.outgoing = createDirection(suite, records.serverSecret!, true, sent);
  records.serverSecret = undefined;
  sslFree(records.ssl);
  records.ssl = 0;
}

export function freeRecords(records: Records): void {
  if (records.ssl !== 0) sslFree(records.ssl);
  records.ssl = 0;
  records.serverSecret?.fill(0);
  if (records.incoming !== undefined) endDirection(records.incoming);
  if (records.outgoing !== undefined) endDirection(records.outgoing);
  keepPartial(records, undefined);
  keepPlain(records, undefined);
}

/** What is received from TLS 1.3 connections: room for what was kept, and as much again as one read takes. */
const memory = nativeMemory(MOST_SEALED_BYTES + HEADER_BYTES + RECEIVE_BUFFER_BYTES);
export const wire = { bytes: memory.bytes, address: memory.address };

/** Puts what was kept of a connection at the beginning of `wire`. Returns its length. */
export function unkeep(records: Records): number {
  const { partial } = records;
  if (partial === undefined) return 0;
  partial.copy(wire.bytes);
  keepPartial(records, undefined);
  return partial.length;
}

/** Keeps `wire[start, end)` until more comes. */
export function keep(records: Records, start: number, end: number): void {
  if (start === end) return keepPartial(records, undefined);
  // Not out of Node's pool, of which a kept byte would keep a whole piece.
  const bytes = Buffer.allocUnsafeSlow(end - start);
  wire.bytes.copy(bytes, 0, start, end);
  keepPartial(records, bytes);
}

function keepPartial(records: Records, bytes: Buffer | undefined): void {
  buffered.bytes += (bytes?.length ?? 0) - (records.partial?.length ?? 0);
  records.partial = bytes;
}

function keepPlain(records: Records, bytes: Buffer | undefined): void {
  buffered.bytes += (bytes?.length ?? 0) - (records.plain?.length ?? 0);
  records.plain = bytes;
}

/** Whether a whole record, or a wrong one, is in `wire[at, end)`. */
export const hasRecord = (at: number, end: number): boolean =>
  sealedLength(wire.bytes, at, end) !== MORE_NEEDED;

/** Where opened bytes go: `bytes` begin at `address`. */
export interface Target {
  readonly bytes: Buffer;
  readonly address: number;
}

/** A record that has no room where it should go. */
const aside = nativeMemory(MOST_SEALED_BYTES);

/** What was opened before and had no room. Returns how many bytes of it go to `target[offset, offset + room)`. */
export function takePlain(records: Records, target: Target, offset: number, room: number): number {
  const { plain } = records;
  if (plain === undefined) return 0;
  const count = plain.copy(target.bytes, offset, 0, room);
  keepPlain(records, count === plain.length ? undefined : plain.subarray(count));
  return count;
}

/** Where `openRecords` has stopped in `wire`, and how often the peer has changed its key on the way. */
export const opened = { at: 0, keyChanges: 0 };

/**
 * Opens the records in `wire[0, end)`, one after the other, to `target[offset, offset + room)`. Returns how many bytes they held. Ends
 * early when there is no room or after many records, and for good when `records` has ended or has an alert.
 */
export function openRecords(
  records: Records,
  end: number,
  target: Target,
  offset: number,
  room: number,
): number {
  let at = 0;
  let count = 0;
  opened.keyChanges = 0;
  for (let i = 0; i < MAX_RECORDS_AT_ONCE; i++) {
    const length = sealedLength(wire.bytes, at, end);
    if (length === MORE_NEEDED) break;
    records.alert = alertOf(length);
    if (records.alert !== undefined) break;
    const fits = length - TAG_BYTES <= room - count;
    if (!fits && count > 0) break;
    if (fits) count += openOne(records, at, length, target, offset + count);
    else {
      keepAside(records, openOne(records, at, length, aside, 0));
      count = takePlain(records, target, offset, room);
    }
    at += HEADER_BYTES + length;
    if (records.hasEnded || records.alert !== undefined || records.plain !== undefined) break;
  }
  opened.at = at;
  return count;
}

const keepAside = (records: Records, count: number): void =>
  count === 0 ? undefined : keepPlain(records, Buffer.from(aside.bytes.subarray(0, count)));

/** Opens the record at `at` to `target` from `offset` on. Returns how many bytes of application data it holds; all else is heeded. */
function openOne(records: Records, at: number, length: number, target: Target, offset: number): number {
  const incoming = records.incoming!;
  const header = wire.address + at;
  const text_bytes = length - TAG_BYTES;
  const to = target.address + offset;
  if (!open(incoming.key, incoming, header, HEADER_BYTES, header + HEADER_BYTES, text_bytes, to)) {
    records.alert = ALERT.badRecordMac;
    return 0;
  }
  incoming.sequence++;
  const end = typeIndex(target.bytes, offset, offset + text_bytes);
  const count = end - offset;
  if (count > MOST_PLAIN_BYTES) records.alert = ALERT.recordOverflow;
  else if (end >= offset && target.bytes[end] === TYPE.application && count > 0) {
    records.idleRecords = 0;
    return count;
  } else heed(records, end < offset ? 0 : target.bytes[end]!, target.bytes, offset, end);
  return 0;
}

/** A record without application data. */
function heed(records: Records, type: number, bytes: Uint8Array, start: number, end: number): void {
  const isFlood = ++records.idleRecords > MAX_IDLE_RECORDS;
  if (isFlood) records.alert = ALERT.unexpectedMessage;
  else if (type === TYPE.alert) heedAlert(records, readAlert(bytes, start, end));
  else if (type === TYPE.handshake) heedMessage(records, readMessage(bytes, start, end));
  else if (type !== TYPE.application) records.alert = alertOf(refusal(ALERT.unexpectedMessage));
}

function heedAlert(records: Records, said: number): void {
  records.alert = alertOf(said);
  if (said === SAID.end) records.hasEnded = true;
  // Who has failed isn't answered; the connection is over.
  if (said === SAID.failure) records.alert = NO_ANSWER;
}
/** Instead of an alert: the peer's own has come. */
export const NO_ANSWER = -1;

function heedMessage(records: Records, message: number): void {
  records.alert = alertOf(message);
  if (records.alert !== undefined) return;
  if (++opened.keyChanges > MAX_KEY_CHANGES_AT_ONCE) records.alert = ALERT.unexpectedMessage;
  else updateKey(records.incoming!);
  if (message === MESSAGE.updateBoth) records.owesUpdate = true;
}

/** What `sealNext` has sealed: `length` bytes. */
const out = nativeMemory(SEALED_BUFFER_BYTES);
export const sealed = { bytes: out.bytes, address: out.address, length: 0 };

const outHeader = nativeMemory(HEADER_BYTES);
outHeader.bytes.set([TYPE.application, 3, 3]);
const outType = nativeMemory(1);
const short = nativeMemory(8);

/**
 * Seals as many of the bytes at an address as there is room for, behind what has to go first. They are in `sealed`; returns how
 * many it took. Throws when OpenSSL fails.
 */
export function sealNext(records: Records, address: number, length: number): number {
  sealed.length = 0;
  sealFirst(records);
  let taken = 0;
  while (taken < length && sealed.length + OVERHEAD_BYTES < sealed.bytes.length) {
    const room = sealed.bytes.length - sealed.length - OVERHEAD_BYTES;
    const count = Math.min(length - taken, records.most_bytes, room);
    sealOne(records, TYPE.application, address + taken, count);
    taken += count;
  }
  return taken;
}

/** Seals an alert, behind what has to go first, into `sealed`. */
export function sealAlert(records: Records, code: number): void {
  sealed.length = 0;
  sealFirst(records);
  sealShort(records, TYPE.alert, alertBytes(code));
}

function sealFirst(records: Records): void {
  const { tickets } = records;
  if (tickets !== undefined) {
    tickets.copy(sealed.bytes);
    sealed.length = tickets.length;
    records.tickets = undefined;
  }
  const isWorn = records.outgoing!.sequence >= RECORDS_BY_ONE_KEY;
  if (!isWorn && !records.owesUpdate) return;
  sealShort(records, TYPE.handshake, KEY_UPDATE_MESSAGE);
  updateKey(records.outgoing!);
  records.owesUpdate = false;
}

function sealShort(records: Records, type: number, bytes: readonly number[]): void {
  short.bytes.set(bytes);
  sealOne(records, type, short.address, bytes.length);
}

function sealOne(records: Records, type: number, address: number, length: number): void {
  const outgoing = records.outgoing!;
  outHeader.view.setUint16(3, length + 1 + TAG_BYTES);
  outHeader.bytes.copy(sealed.bytes, sealed.length);
  outType.bytes[0] = type;
  const to = sealed.address + sealed.length + HEADER_BYTES;
  if (
    !seal(outgoing.key, outgoing, outHeader.address, HEADER_BYTES, address, length, outType.address, 1, to)
  ) {
    throw new Error("OpenSSL could not seal a record");
  }
  outgoing.sequence++;
  sealed.length += length + OVERHEAD_BYTES;
}
