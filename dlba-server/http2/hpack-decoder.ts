/**
 * HPACK, the reading side (RFC 7541): a header block into fields. What was decoded last stands in one module-level record
 * until the next block; fields that come by number are the table's own records, so nothing is allocated for them.
 */
import { HPACK_TABLE_BYTES, HTTP2_HEADER_BLOCK_BYTES } from "../../conf/limits.ts";
import { type Field, readField, sizeOf, STATIC_FIELDS, staticFields } from "./hpack-fields.ts";
import { decodeHuffman } from "./huffman.ts";

/** A field in the table costs 32 bytes at least (RFC 7541 4.1), so there are no more than these. */
const RING = HPACK_TABLE_BYTES / 32;

export interface HpackDecoder {
  /** The dynamic table, a ring; empty until something is put into it. */
  readonly ring: Field[];
  /** Fields put in ever, and those that are still there. */
  inserted: number;
  count: number;
  bytes: number;
  /** What the peer has bounded the table to, HPACK_TABLE_BYTES at most. */
  maxBytes: number;
}

export const createDecoder = (): HpackDecoder => ({
  ring: [],
  inserted: 0,
  count: 0,
  bytes: 0,
  maxBytes: HPACK_TABLE_BYTES,
});

/** The fields of the block that was decoded last. */
export const decoded = {
  fields: [] as Field[],
  count: 0,
  /** As SETTINGS_MAX_HEADER_LIST_SIZE counts them (RFC 9113 10.5.1); those beyond the bound are counted, and not kept. */
  listBytes: 0,
};

/** A block's text can't be longer than this: no code is shorter than five bits. Twice, for a name and its value. */
const scratch = Buffer.allocUnsafeSlow(Math.ceil((HTTP2_HEADER_BLOCK_BYTES * 8) / 5) * 2 + 4);

/** Where reading goes on. */
let at = 0;
const FAILED = -1;

/** An integer with a prefix of so many bits (RFC 7541 5.1); FAILED when it is cut off or larger than anything here. */
function readInteger(bytes: Uint8Array, end: number, prefixBits: number): number {
  const most = (1 << prefixBits) - 1;
  let value = bytes[at++]! & most;
  if (value < most) return value;
  for (let shift = 0; shift <= 21; shift += 7) {
    if (at >= end) return FAILED;
    const byte = bytes[at++]!;
    value += (byte & 127) << shift;
    if ((byte & 128) === 0) return value;
  }
  return FAILED;
}

/** A string into the scratch buffer from `to` on; returns the index after it, or FAILED. */
function readString(bytes: Buffer, end: number, to: number): number {
  if (at >= end) return FAILED;
  const isCoded = (bytes[at]! & 128) !== 0;
  const length = readInteger(bytes, end, 7);
  if (length === FAILED || length > end - at) return FAILED;
  const start = at;
  at += length;
  if (isCoded) return decodeHuffman(bytes, start, at, scratch, to);
  let out = to;
  // Mostly a few bytes: a loop is cheaper than a call.
  for (let i = start; i < at; i++) scratch[out++] = bytes[i]!;
  return out;
}

function fieldAt(decoder: HpackDecoder, index: number): Field | undefined {
  if (index <= STATIC_FIELDS) return index === 0 ? undefined : staticFields[index];
  const back = index - STATIC_FIELDS;
  return back > decoder.count ? undefined : decoder.ring[(decoder.inserted - back) % RING];
}

function evict(decoder: HpackDecoder, room_bytes: number): void {
  while (decoder.count > 0 && decoder.bytes > room_bytes) {
    decoder.bytes -= sizeOf(decoder.ring[(decoder.inserted - decoder.count) % RING]!);
    decoder.count--;
  }
}

function insert(decoder: HpackDecoder, field: Field): void {
  const size = sizeOf(field);
  evict(decoder, decoder.maxBytes - size);
  if (size > decoder.maxBytes) return;
  decoder.ring[decoder.inserted % RING] = field;
  decoder.inserted++;
  decoder.count++;
  decoder.bytes += size;
}

/** A field spelled out, its name perhaps by number; undefined when the block is broken. */
function readLiteral(
  decoder: HpackDecoder,
  bytes: Buffer,
  end: number,
  prefixBits: number,
): Field | undefined {
  const index = readInteger(bytes, end, prefixBits);
  if (index === FAILED) return undefined;
  let nameEnd = 0;
  if (index === 0) nameEnd = readString(bytes, end, 0);
  else {
    const named = fieldAt(decoder, index);
    if (named === undefined) return undefined;
    for (; nameEnd < named.nameLength; nameEnd++) scratch[nameEnd] = named.line.charCodeAt(nameEnd);
  }
  if (nameEnd < 0) return undefined;
  scratch[nameEnd] = 58;
  scratch[nameEnd + 1] = 32;
  const valueEnd = readString(bytes, end, nameEnd + 2);
  if (valueEnd < 0) return undefined;
  scratch[valueEnd] = 13;
  scratch[valueEnd + 1] = 10;
  return readField(scratch, 0, nameEnd, valueEnd + 2);
}

function keep(field: Field, maxListBytes: number): void {
  decoded.listBytes += sizeOf(field);
  if (decoded.listBytes <= maxListBytes) decoded.fields[decoded.count++] = field;
}

/** A change of the table's size may only begin a block, and not exceed what we have allowed (RFC 7541 4.2). */
function resize(decoder: HpackDecoder, bytes: Buffer, end: number): boolean {
  const size = readInteger(bytes, end, 5);
  if (size === FAILED || size > HPACK_TABLE_BYTES) return false;
  decoder.maxBytes = size;
  evict(decoder, size);
  return true;
}

/** Fills `decoded` from a whole header block. False when it is broken: then the connection can't go on. */
export function decodeBlock(
  decoder: HpackDecoder,
  bytes: Buffer,
  start: number,
  end: number,
  maxListBytes: number,
): boolean {
  at = start;
  decoded.count = 0;
  decoded.listBytes = 0;
  let isBegun = false;
  while (at < end) {
    const byte = bytes[at]!;
    if (byte >= 128) {
      const field = fieldAt(decoder, readInteger(bytes, end, 7));
      if (field === undefined) return false;
      keep(field, maxListBytes);
    } else if (byte >= 32 && byte < 64) {
      if (isBegun || !resize(decoder, bytes, end)) return false;
      continue;
    } else {
      const field = readLiteral(decoder, bytes, end, byte >= 64 ? 6 : 4);
      if (field === undefined) return false;
      if (byte >= 64) insert(decoder, field);
      keep(field, maxListBytes);
    }
    isBegun = true;
  }
  return true;
}
