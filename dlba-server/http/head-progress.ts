/**
 * Heads that arrive in pieces. Each new byte is looked at once, whatever the pieces, and a head that can't
 * become a right one is refused at its first wrong byte; the scan of head.ts then runs once, over the whole.
 * The rules are those of head.ts, byte by byte.
 */
import { MAX_HEADER_FIELDS } from "../../conf/limits.ts";
import { COLON, CR, DIGIT, LF, SPACE, TARGET, TOKEN, VALUE, ZERO } from "./characters.ts";
import { COMPLETE, INCOMPLETE } from "./head.ts";

export interface HeadProgress {
  /** Bytes looked at since the head's first one; 0: none. */
  scanned: number;
  state: number;
  fields: number;
  /** Bytes of the request target. */
  target: number;
}
export const startHead = (): HeadProgress => ({ scanned: 0, state: 0, fields: 0, target: 0 });

export function resetProgress(progress: HeadProgress): void {
  progress.scanned = 0;
  progress.state = 0;
  progress.fields = 0;
  progress.target = 0;
}

const METHOD_FIRST = 0;
const METHOD = 1;
const TARGET_FIRST = 2;
const TARGET_REST = 3;
/** 8 states, one per byte of "HTTP/d.d"; then CR LF. */
const REQUEST_VERSION = 10;
const REQUEST_LINE_CR = 18;
const LINE_LF = 19;
const FIELD_FIRST = 20;
const FIELD_NAME = 21;
const FIELD_VALUE = 22;
const FIELD_LF = 23;
const END_LF = 24;
const ENDED = 25;
/** 8 states, then the space and the three digits. */
const RESPONSE_VERSION = 30;
const STATUS_SPACE = 38;
const STATUS_FIRST = 39;
const STATUS_SECOND = 40;
const STATUS_THIRD = 41;
const STATUS_END = 42;
const REASON = 43;

const BAD = -1;
const isToken = (byte: number): boolean => TOKEN[byte] === 1;
const isVersionByte = (index: number, byte: number): boolean =>
  index === 5 || index === 7 ? DIGIT[byte] === 1 : "HTTP/1.1".charCodeAt(index) === byte;

/** The state after `byte`, or BAD. */
function nextState(state: number, byte: number): number {
  switch (state) {
    case METHOD_FIRST:
      return isToken(byte) ? METHOD : BAD;
    case METHOD:
      if (byte === SPACE) return TARGET_FIRST;
      return isToken(byte) ? METHOD : BAD;
    case TARGET_FIRST:
      return TARGET[byte] === 1 ? TARGET_REST : BAD;
    case TARGET_REST:
      if (byte === SPACE) return REQUEST_VERSION;
      return TARGET[byte] === 1 ? TARGET_REST : BAD;
    case REQUEST_LINE_CR:
      return byte === CR ? LINE_LF : BAD;
    case LINE_LF:
    case FIELD_LF:
      return byte === LF ? FIELD_FIRST : BAD;
    case FIELD_FIRST:
      if (byte === CR) return END_LF;
      return isToken(byte) ? FIELD_NAME : BAD;
    case FIELD_NAME:
      if (byte === COLON) return FIELD_VALUE;
      return isToken(byte) ? FIELD_NAME : BAD;
    case FIELD_VALUE:
      if (byte === CR) return FIELD_LF;
      return VALUE[byte] === 1 ? FIELD_VALUE : BAD;
    case END_LF:
      return byte === LF ? ENDED : BAD;
    default:
      return state < RESPONSE_VERSION ? nextVersionState(state, byte) : nextStatusState(state, byte);
  }
}

function nextVersionState(state: number, byte: number): number {
  return isVersionByte(state - REQUEST_VERSION, byte) ? state + 1 : BAD;
}

function nextStatusState(state: number, byte: number): number {
  switch (state) {
    case STATUS_SPACE:
      return byte === SPACE ? STATUS_FIRST : BAD;
    case STATUS_FIRST:
      return byte > ZERO && byte <= ZERO + 5 ? STATUS_SECOND : BAD;
    case STATUS_SECOND:
    case STATUS_THIRD:
      return DIGIT[byte] === 1 ? state + 1 : BAD;
    case STATUS_END:
      if (byte === CR) return LINE_LF;
      return byte === SPACE ? REASON : BAD;
    case REASON:
      if (byte === CR) return LINE_LF;
      return VALUE[byte] === 1 ? REASON : BAD;
    default:
      return isVersionByte(state - RESPONSE_VERSION, byte) ? state + 1 : BAD;
  }
}

/** 0, or the status for a head that has grown past a bound with the byte that led to `state`. */
function boundPassed(progress: HeadProgress, state: number, maxTarget: number): number {
  if (state === TARGET_REST && ++progress.target > maxTarget) return 414;
  if (state === FIELD_NAME && progress.state === FIELD_FIRST && ++progress.fields > MAX_HEADER_FIELDS)
    return 431;
  return 0;
}

/**
 * Looks at those bytes of a head, which begins at `start`, that are new since the last call. Returns COMPLETE
 * (`scanned` is then the head's length), INCOMPLETE, or the status to refuse it with. Bounds in bytes.
 */
export function advanceRequest(
  progress: HeadProgress,
  bytes: Uint8Array,
  start: number,
  end: number,
  maxHead: number,
  maxTarget: number,
): number {
  const stop = Math.min(end, start + maxHead);
  for (let at = start + progress.scanned; at < stop; at++) {
    const state = nextState(progress.state, bytes[at]!);
    if (state === BAD) return 400;
    const refusal = boundPassed(progress, state, maxTarget);
    if (refusal !== 0) return refusal;
    progress.state = state;
    progress.scanned = at + 1 - start;
    if (state === ENDED) return COMPLETE;
  }
  return progress.scanned >= maxHead ? 431 : INCOMPLETE;
}

/**
 * The like for a response head, of which `bytes[start, end)` are the newest bytes only: `scanned` counts
 * on from the pieces before.
 */
export function advanceResponse(
  progress: HeadProgress,
  bytes: Uint8Array,
  start: number,
  end: number,
  maxHead: number,
): number {
  if (progress.scanned === 0) progress.state = RESPONSE_VERSION;
  return advanceRequest(progress, bytes, start - progress.scanned, end, maxHead, 0);
}
