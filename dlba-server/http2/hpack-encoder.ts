/**
 * HPACK, the writing side (RFC 7541): fields straight from the bytes of a head, without making text of them.
 *
 * A field that comes a second time on a connection is put into the table; from the third time on it is a byte or two.
 * What comes once (an ETag, a date of change) does not push out what comes always. Text goes uncoded: the Huffman code
 * would save a quarter of what is sent once, and costs more time than all the rest.
 */
import { HPACK_TABLE_BYTES } from "../../conf/limits.ts";
import { nameOf, STATIC_FIELDS, staticFields, valueOf } from "./hpack-fields.ts";

interface Entry {
  readonly hash: number;
  /** The name in lower case, and the value right behind it. */
  readonly bytes: Uint8Array;
  readonly nameLength: number;
  /** How many had been put in before. */
  readonly order: number;
}

export interface HpackEncoder {
  readonly byHash: Map<number, Entry>;
  readonly ring: Entry[];
  inserted: number;
  count: number;
  bytes: number;
  maxBytes: number;
  /** The bound has changed since the last block: the peer is told, of the lowest it was, too. */
  isResized: boolean;
  lowestBytes: number;
  /** Hashes of fields that came lately; a field whose hash is there comes again. */
  readonly seen: Int32Array;
}

const SEEN = 128;
const RING = HPACK_TABLE_BYTES / 32;

export const createEncoder = (): HpackEncoder => ({
  byHash: new Map(),
  ring: [],
  inserted: 0,
  count: 0,
  bytes: 0,
  maxBytes: HPACK_TABLE_BYTES,
  isResized: false,
  lowestBytes: HPACK_TABLE_BYTES,
  seen: new Int32Array(SEEN),
});

/** The peer's SETTINGS_HEADER_TABLE_SIZE. */
export function boundEncoder(e: HpackEncoder, bytes: number): void {
  const bound = Math.min(bytes, HPACK_TABLE_BYTES);
  if (bound === e.maxBytes) return;
  e.maxBytes = bound;
  e.lowestBytes = e.isResized ? Math.min(e.lowestBytes, bound) : bound;
  e.isResized = true;
  evict(e, bound);
}

/** Letters in lower case, all else as it is. */
const LOWER = Uint8Array.from({ length: 256 }, (_, byte) => (byte >= 65 && byte <= 90 ? byte + 32 : byte));
const hashByte = (hash: number, byte: number): number => (Math.imul(hash, 31) + byte) | 0;

/** By hash of the name: its index in the static table, and its letters to be sure. */
const staticNames = new Map<number, { readonly index: number; readonly name: string }>();
const statuses = new Map<number, number>();
for (let index = STATIC_FIELDS; index > 0; index--) {
  const name = nameOf(staticFields[index]!);
  if (name === ":status") statuses.set(Number(valueOf(staticFields[index]!)), index);
  if (name.startsWith(":")) continue;
  staticNames.set(Buffer.from(name).reduce(hashByte, 0), { index, name });
}
const STATUS_INDEX = 8;
const SET_COOKIE = Buffer.from("set-cookie").reduce(hashByte, 0);

function evict(e: HpackEncoder, room_bytes: number): void {
  while (e.count > 0 && e.bytes > room_bytes) {
    const oldest = e.ring[(e.inserted - e.count) % RING]!;
    if (e.byHash.get(oldest.hash) === oldest) e.byHash.delete(oldest.hash);
    e.bytes -= oldest.bytes.length + 32;
    e.count--;
  }
}

function writeInteger(to: Uint8Array, at: number, first: number, prefixBits: number, value: number): number {
  const most = (1 << prefixBits) - 1;
  let out = at;
  if (value < most) {
    to[out++] = first | value;
    return out;
  }
  to[out++] = first | most;
  let rest = value - most;
  for (; rest > 127; rest >>>= 7) to[out++] = (rest & 127) | 128;
  to[out++] = rest;
  return out;
}

/** Begins a block at `at`; returns the index to go on at. */
export function beginBlock(e: HpackEncoder, to: Uint8Array, at: number): number {
  if (!e.isResized) return at;
  e.isResized = false;
  const from = e.lowestBytes < e.maxBytes ? writeInteger(to, at, 32, 5, e.lowestBytes) : at;
  return writeInteger(to, from, 32, 5, e.maxBytes);
}

export function encodeStatus(to: Uint8Array, at: number, status: number): number {
  const index = statuses.get(status);
  if (index !== undefined) {
    to[at] = 128 | index;
    return at + 1;
  }
  to[at] = STATUS_INDEX;
  to[at + 1] = 3;
  to[at + 2] = 48 + Math.floor(status / 100);
  to[at + 3] = 48 + (Math.floor(status / 10) % 10);
  to[at + 4] = 48 + (status % 10);
  return at + 5;
}

/** A pseudo-header field whose name is in the static table, and which is not kept. */
export function encodePseudo(
  to: Uint8Array,
  at: number,
  index: number,
  bytes: Uint8Array,
  start: number,
  end: number,
): number {
  to[at] = index;
  return writeText(to, at + 1, bytes, start, end);
}

function isEntry(
  entry: Entry,
  bytes: Uint8Array,
  nameStart: number,
  nameEnd: number,
  valueStart: number,
  valueEnd: number,
): boolean {
  const known = entry.bytes;
  const { nameLength } = entry;
  if (nameEnd - nameStart !== nameLength || valueEnd - valueStart !== known.length - nameLength) return false;
  for (let i = 0; i < nameLength; i++) if (LOWER[bytes[nameStart + i]!] !== known[i]) return false;
  for (let i = nameLength, from = valueStart; i < known.length; i++, from++)
    if (bytes[from] !== known[i]) return false;
  return true;
}

function staticName(hash: number, bytes: Uint8Array, start: number, end: number): number {
  const known = staticNames.get(hash);
  if (known === undefined || known.name.length !== end - start) return 0;
  for (let i = start; i < end; i++) if (LOWER[bytes[i]!] !== known.name.charCodeAt(i - start)) return 0;
  return known.index;
}

function insert(
  e: HpackEncoder,
  hash: number,
  bytes: Uint8Array,
  nameStart: number,
  nameEnd: number,
  valueStart: number,
  valueEnd: number,
): boolean {
  const nameLength = nameEnd - nameStart;
  const size = nameLength + valueEnd - valueStart;
  if (size + 32 > e.maxBytes) return false;
  evict(e, e.maxBytes - size - 32);
  const kept = new Uint8Array(size);
  for (let i = 0; i < nameLength; i++) kept[i] = LOWER[bytes[nameStart + i]!]!;
  for (let i = nameLength, from = valueStart; i < size; i++, from++) kept[i] = bytes[from]!;
  const entry = { hash, bytes: kept, nameLength, order: e.inserted };
  e.ring[e.inserted % RING] = entry;
  e.byHash.set(hash, entry);
  e.inserted++;
  e.count++;
  e.bytes += size + 32;
  return true;
}

function writeText(to: Uint8Array, at: number, bytes: Uint8Array, start: number, end: number): number {
  let out = writeInteger(to, at, 0, 7, end - start);
  for (let i = start; i < end; i++) to[out++] = bytes[i]!;
  return out;
}

function writeName(to: Uint8Array, at: number, bytes: Uint8Array, start: number, end: number): number {
  let out = writeInteger(to, at, 0, 7, end - start);
  for (let i = start; i < end; i++) to[out++] = LOWER[bytes[i]!]!;
  return out;
}

/**
 * Writes a field whose name and value stand in `bytes`; returns the index after it. The caller has made room: a field
 * takes its length and ten bytes at most. An application's cookies are not kept in the table; ours are (`isOurs`).
 */
export function encodeField(
  e: HpackEncoder,
  to: Uint8Array,
  at: number,
  bytes: Uint8Array,
  nameStart: number,
  nameEnd: number,
  valueStart: number,
  valueEnd: number,
  isOurs: boolean,
): number {
  let hash = 0;
  for (let i = nameStart; i < nameEnd; i++) hash = hashByte(hash, LOWER[bytes[i]!]!);
  const nameHash = hash;
  hash = hashByte(hash, 58);
  for (let i = valueStart; i < valueEnd; i++) hash = hashByte(hash, bytes[i]!);
  const isKept = isOurs || nameHash !== SET_COOKIE;
  let first = 0;
  let prefixBits = 4;
  if (isKept) {
    const entry = e.byHash.get(hash);
    if (entry !== undefined && isEntry(entry, bytes, nameStart, nameEnd, valueStart, valueEnd)) {
      return writeInteger(to, at, 128, 7, STATIC_FIELDS + e.inserted - entry.order);
    }
    const slot = (hash ^ (hash >>> 15)) & (SEEN - 1);
    const isAgain = e.seen[slot] === hash;
    e.seen[slot] = hash;
    if (isAgain && insert(e, hash, bytes, nameStart, nameEnd, valueStart, valueEnd)) {
      first = 64;
      prefixBits = 6;
    }
  } else first = 16; // Never to be indexed by anyone on the way.
  const index = staticName(nameHash, bytes, nameStart, nameEnd);
  let out = writeInteger(to, at, first, prefixBits, index);
  if (index === 0) out = writeName(to, out, bytes, nameStart, nameEnd);
  return writeText(to, out, bytes, valueStart, valueEnd);
}
