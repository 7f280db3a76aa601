/**
 * The chunked transfer coding (RFC 9112 7.1), read strictly and byte by byte: what a lenient reader might
 * take in another way is refused. The bytes themselves are relayed as they came.
 */
import { CHUNK_LINE_BYTES, CHUNK_SIZE_DIGITS, TRAILER_BYTES } from "../../conf/limits.ts";
import {
  BACKSLASH,
  COLON,
  CR,
  EQUALS,
  HEX,
  LF,
  NAME,
  QUOTE,
  SEMICOLON,
  TOKEN,
  VALUE,
  VISIBLE,
} from "./characters.ts";
import { isForbiddenTrailer, TRAILER_NAME_KEPT } from "./fields.ts";

export const CHUNK = {
  sizeFirst: 0,
  size: 1,
  extensionFirst: 2,
  extensionName: 3,
  extensionValueFirst: 4,
  extensionValue: 5,
  extensionQuoted: 6,
  extensionQuotedEnd: 7,
  sizeLf: 8,
  data: 9,
  dataCr: 10,
  dataLf: 11,
  trailerFirst: 12,
  trailerName: 13,
  trailerValue: 14,
  trailerLf: 15,
  endLf: 16,
  done: 17,
  bad: 18,
  tooLarge: 19,
} as const;
type ChunkStep = (typeof CHUNK)[keyof typeof CHUNK];

export interface ChunkState {
  step: ChunkStep;
  /** Bytes of data left in the chunk. */
  left: number;
  digits: number;
  lineBytes: number;
  trailerBytes: number;
  /** The first characters of the trailer's name under way, in lower case. */
  trailerName: string;
  /** Bytes of data of all chunks announced so far. */
  total: number;
}

export const startChunks = (): ChunkState => ({
  step: CHUNK.sizeFirst,
  left: 0,
  digits: 0,
  lineBytes: 0,
  trailerBytes: 0,
  trailerName: "",
  total: 0,
});

/** After the body's last byte, or at one that may not be there. */
export const isChunkedOver = (c: ChunkState): boolean => c.step >= CHUNK.done;

function takeDigit(c: ChunkState, byte: number): ChunkStep {
  if (c.digits++ === CHUNK_SIZE_DIGITS) return CHUNK.bad;
  c.left = c.left * 16 + HEX[byte]!;
  return CHUNK.size;
}

function afterSize(c: ChunkState, byte: number): ChunkStep {
  if (HEX[byte] !== 255) return takeDigit(c, byte);
  if (byte === SEMICOLON) return CHUNK.extensionFirst;
  return byte === CR ? CHUNK.sizeLf : CHUNK.bad;
}

/** Another extension, or the end of the line. */
function afterExtension(byte: number): ChunkStep {
  if (byte === SEMICOLON) return CHUNK.extensionFirst;
  return byte === CR ? CHUNK.sizeLf : CHUNK.bad;
}

function inExtensionName(byte: number): ChunkStep {
  if (TOKEN[byte] === 1) return CHUNK.extensionName;
  return byte === EQUALS ? CHUNK.extensionValueFirst : afterExtension(byte);
}

function inExtensionValue(byte: number): ChunkStep {
  return TOKEN[byte] === 1 ? CHUNK.extensionValue : afterExtension(byte);
}

/** A quote that isn't closed on its line hides the line's end from some readers; so may an escaped one. */
function inExtensionQuotes(byte: number): ChunkStep {
  if (byte === QUOTE) return CHUNK.extensionQuotedEnd;
  return VISIBLE[byte] === 1 && byte !== BACKSLASH ? CHUNK.extensionQuoted : CHUNK.bad;
}

function afterSizeLine(c: ChunkState, byte: number, maxBytes: number): ChunkStep {
  if (byte !== LF) return CHUNK.bad;
  c.total += c.left;
  c.digits = 0;
  c.lineBytes = 0;
  if (c.total > maxBytes) return CHUNK.tooLarge;
  return c.left === 0 ? CHUNK.trailerFirst : CHUNK.data;
}

function inTrailerName(c: ChunkState, byte: number): ChunkStep {
  if (byte === COLON) return isForbiddenTrailer(c.trailerName) ? CHUNK.bad : CHUNK.trailerValue;
  if (TOKEN[byte] === 0) return CHUNK.bad;
  if (c.trailerName.length < TRAILER_NAME_KEPT) c.trailerName += String.fromCharCode(NAME[byte]!);
  return CHUNK.trailerName;
}

function atTrailer(c: ChunkState, byte: number): ChunkStep {
  if (byte === CR) return CHUNK.endLf;
  c.trailerName = "";
  return byte === COLON ? CHUNK.bad : inTrailerName(c, byte);
}

function inTrailerValue(byte: number): ChunkStep {
  if (byte === CR) return CHUNK.trailerLf;
  return VALUE[byte] === 1 ? CHUNK.trailerValue : CHUNK.bad;
}

function nextStep(c: ChunkState, byte: number, maxBytes: number): ChunkStep {
  switch (c.step) {
    case CHUNK.sizeFirst:
      return HEX[byte] === 255 ? CHUNK.bad : takeDigit(c, byte);
    case CHUNK.size:
      return afterSize(c, byte);
    case CHUNK.extensionFirst:
      return TOKEN[byte] === 1 ? CHUNK.extensionName : CHUNK.bad;
    case CHUNK.extensionName:
      return inExtensionName(byte);
    case CHUNK.extensionValueFirst:
      if (byte === QUOTE) return CHUNK.extensionQuoted;
      return TOKEN[byte] === 1 ? CHUNK.extensionValue : CHUNK.bad;
    case CHUNK.extensionValue:
      return inExtensionValue(byte);
    case CHUNK.extensionQuoted:
      return inExtensionQuotes(byte);
    case CHUNK.extensionQuotedEnd:
      return afterExtension(byte);
    case CHUNK.sizeLf:
      return afterSizeLine(c, byte, maxBytes);
    case CHUNK.dataCr:
      return byte === CR ? CHUNK.dataLf : CHUNK.bad;
    case CHUNK.dataLf:
      return byte === LF ? CHUNK.sizeFirst : CHUNK.bad;
    case CHUNK.trailerFirst:
      return atTrailer(c, byte);
    case CHUNK.trailerName:
      return inTrailerName(c, byte);
    case CHUNK.trailerValue:
      return inTrailerValue(byte);
    case CHUNK.trailerLf:
      return byte === LF ? CHUNK.trailerFirst : CHUNK.bad;
    case CHUNK.endLf:
      return byte === LF ? CHUNK.done : CHUNK.bad;
    case CHUNK.data:
    case CHUNK.done:
    case CHUNK.bad:
    case CHUNK.tooLarge:
      break;
  }
  return c.step;
}

/** Counts a byte of a size line or of the trailers; bad when there are too many of them. */
function bounded(c: ChunkState, before: ChunkStep): ChunkStep {
  if (before <= CHUNK.sizeLf)
    return c.step < CHUNK.sizeLf && ++c.lineBytes > CHUNK_LINE_BYTES ? CHUNK.bad : c.step;
  if (before >= CHUNK.trailerFirst && ++c.trailerBytes > TRAILER_BYTES) return CHUNK.bad;
  return c.step;
}

/**
 * Goes over framing bytes until data begins or the body is over. Returns the index after the last byte that
 * belongs to the body (a wrong byte doesn't). `maxBytes` bounds the data of the whole body.
 */
export function scanFraming(
  c: ChunkState,
  bytes: Uint8Array,
  start: number,
  end: number,
  maxBytes: number,
): number {
  let at = start;
  while (at < end && c.step !== CHUNK.data && c.step < CHUNK.done) {
    const before = c.step;
    c.step = nextStep(c, bytes[at]!, maxBytes);
    c.step = bounded(c, before);
    if (c.step > CHUNK.done) break;
    at++;
  }
  return at;
}

/** Takes data of the chunk under way. Returns the index after it. */
export function takeData(c: ChunkState, start: number, end: number): number {
  const taken = Math.min(c.left, end - start);
  c.left -= taken;
  if (c.left === 0) c.step = CHUNK.dataCr;
  return start + taken;
}

/** Framing and data together: the index after the last byte of the body, or of what there is of it. */
export function scanChunks(
  c: ChunkState,
  bytes: Uint8Array,
  start: number,
  end: number,
  maxBytes: number,
): number {
  let at = start;
  while (at < end && !isChunkedOver(c)) {
    at = c.step === CHUNK.data ? takeData(c, at, end) : scanFraming(c, bytes, at, end, maxBytes);
  }
  return at;
}
