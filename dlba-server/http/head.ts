/**
 * The scanner of whole heads (RFC 9112 2, 3 and 5): every byte is looked at once, nothing is allocated. What
 * it found lies in the module's one record until the next scan. It reports INCOMPLETE whenever the end is
 * missing; whether what is there can still become a head is head-progress.ts' to say, with the same rules.
 */
import { MAX_HEADER_FIELDS } from "../../conf/limits.ts";
import { COLON, CR, DIGIT, LF, NAME, SPACE, TAB, TARGET, TOKEN, VALUE, ZERO } from "./characters.ts";
import { fieldId, nameHash } from "./fields.ts";

export const INCOMPLETE = 0;
export const COMPLETE = 1;

/** Where things are in the buffer that was scanned; one record for all, so that its shape never changes. */
export const head = {
  start: 0,
  end: 0,
  methodEnd: 0,
  targetStart: 0,
  targetEnd: 0,
  major: 1,
  minor: 1,
  status: 0,
  /** Where the status code begins. */
  statusStart: 0,
  fieldsStart: 0,
  fields: 0,
  /** The head as text, once it was asked for with `readText`. */
  text: "",
};
export const ids = new Uint8Array(MAX_HEADER_FIELDS);
/** A field's first byte, its value without the white space around it, and the byte after its CRLF. */
export const fieldStarts = new Int32Array(MAX_HEADER_FIELDS);
export const nameEnds = new Int32Array(MAX_HEADER_FIELDS);
export const valueStarts = new Int32Array(MAX_HEADER_FIELDS);
export const valueEnds = new Int32Array(MAX_HEADER_FIELDS);
export const fieldEnds = new Int32Array(MAX_HEADER_FIELDS);

/** The id of a field of the scanned head. */
export const idOf = (field: number): number => ids[field]!;

/** Whether "HTTP/d.d" stands at `at`; the digits go to the record. */
function takeVersion(bytes: Uint8Array, at: number): boolean {
  head.major = bytes[at + 5]! - ZERO;
  head.minor = bytes[at + 7]! - ZERO;
  return (
    bytes[at] === 72 &&
    bytes[at + 1] === 84 &&
    bytes[at + 2] === 84 &&
    bytes[at + 3] === 80 &&
    bytes[at + 4] === 47 &&
    DIGIT[bytes[at + 5]!] === 1 &&
    bytes[at + 6] === 46 &&
    DIGIT[bytes[at + 7]!] === 1
  );
}

/** The field lines and the empty line. Its length is on purpose: calls per field would cost a tenth. */
function scanFields(bytes: Uint8Array, from: number, end: number): number {
  let at = from;
  let count = 0;
  for (;;) {
    if (at >= end) return INCOMPLETE;
    if (bytes[at] === CR) break;
    const fieldStart = at;
    if (count === MAX_HEADER_FIELDS) return TOKEN[bytes[at]!] === 1 ? 431 : 400;
    let hash = 0;
    let name: number;
    while (at < end && (name = NAME[bytes[at]!]!) !== 0) {
      hash = nameHash(hash, name);
      at++;
    }
    if (at >= end) return INCOMPLETE;
    if (bytes[at] !== COLON || at === fieldStart) return 400;
    const nameEnd = at++;
    while (at < end && (bytes[at] === SPACE || bytes[at] === TAB)) at++;
    const valueStart = at;
    while (at < end && VALUE[bytes[at]!] === 1) at++;
    if (at + 1 >= end) return INCOMPLETE;
    if (bytes[at] !== CR || bytes[at + 1] !== LF) return 400;
    let valueEnd = at;
    while (valueEnd > valueStart && (bytes[valueEnd - 1] === SPACE || bytes[valueEnd - 1] === TAB))
      valueEnd--;
    at += 2;
    ids[count] = fieldId(bytes, fieldStart, nameEnd, hash);
    fieldStarts[count] = fieldStart;
    nameEnds[count] = nameEnd;
    valueStarts[count] = valueStart;
    valueEnds[count] = valueEnd;
    fieldEnds[count] = at;
    count++;
  }
  if (at + 1 >= end) return INCOMPLETE;
  if (bytes[at + 1] !== LF) return 400;
  head.fields = count;
  head.end = at + 2;
  return COMPLETE;
}

/**
 * Scans a request head in `bytes[start, end)`. Returns COMPLETE, INCOMPLETE, or the status to refuse it with
 * (400, 414, 431). `maxTarget` in bytes; the caller bounds `end` by the most that a head may have.
 */
export function scanRequestHead(bytes: Uint8Array, start: number, end: number, maxTarget: number): number {
  let at = start;
  while (at < end && TOKEN[bytes[at]!] === 1) at++;
  if (at >= end) return INCOMPLETE;
  if (bytes[at] !== SPACE || at === start) return 400;
  head.start = start;
  head.methodEnd = at++;
  head.targetStart = at;
  while (at < end && TARGET[bytes[at]!] === 1) at++;
  if (at - head.targetStart > maxTarget) return 414;
  if (at >= end) return INCOMPLETE;
  if (bytes[at] !== SPACE || at === head.targetStart) return 400;
  head.targetEnd = at++;
  if (at + 10 > end) return INCOMPLETE;
  if (!takeVersion(bytes, at) || bytes[at + 8] !== CR || bytes[at + 9] !== LF) return 400;
  head.fieldsStart = at + 10;
  return scanFields(bytes, at + 10, end);
}

/** Scans a response head. Returns COMPLETE, INCOMPLETE, or 400 or 431 for one that is none. */
export function scanResponseHead(bytes: Uint8Array, start: number, end: number): number {
  if (start + 14 > end) return INCOMPLETE;
  let at = start + 9;
  if (!takeVersion(bytes, start) || bytes[start + 8] !== SPACE) return 400;
  const first = bytes[at]! - ZERO;
  if (first < 1 || first > 5 || DIGIT[bytes[at + 1]!] === 0 || DIGIT[bytes[at + 2]!] === 0) return 400;
  head.start = start;
  head.statusStart = at;
  head.status = first * 100 + (bytes[at + 1]! - ZERO) * 10 + (bytes[at + 2]! - ZERO);
  at += 3;
  // The space before an absent reason is left out by some; it can't be misread.
  if (bytes[at] === SPACE) while (at < end && VALUE[bytes[at]!] === 1) at++;
  if (at + 1 >= end) return INCOMPLETE;
  if (bytes[at] !== CR || bytes[at + 1] !== LF) return 400;
  head.fieldsStart = at + 2;
  return scanFields(bytes, at + 2, end);
}

/**
 * Makes text of the scanned head (char codes are bytes), up to its empty line: one call and one copy, of
 * which all that is looked at or sent on as text are then references.
 */
export function readText(bytes: Buffer): void {
  head.text = bytes.latin1Slice(head.start, head.end - 2);
}

export function valueText(field: number): string {
  return head.text.slice(valueStarts[field]! - head.start, valueEnds[field]! - head.start);
}

/** A field's name in lower case. */
export function nameText(field: number): string {
  return head.text.slice(fieldStarts[field]! - head.start, nameEnds[field]! - head.start).toLowerCase();
}

/** Whether the scanned head has a field of this kind. */
export function hasField(id: number): boolean {
  for (let field = 0; field < head.fields; field++) if (ids[field] === id) return true;
  return false;
}

/** The values of all fields with a lower-case name as the one list they make; undefined when there is none. */
export function joinedNamed(name: string): string | undefined {
  let joined: string | undefined;
  for (let field = 0; field < head.fields; field++) {
    if (nameEnds[field]! - fieldStarts[field]! !== name.length || nameText(field) !== name) continue;
    joined = joined === undefined ? valueText(field) : `${joined}, ${valueText(field)}`;
  }
  return joined;
}

/** The values of all fields of one kind, in order, as the one list they make (RFC 9110 5.3). */
export function joinedValue(id: number): string {
  let joined = "";
  for (let field = 0; field < head.fields; field++) {
    if (ids[field] !== id || valueStarts[field] === valueEnds[field]) continue;
    joined += (joined === "" ? "" : ", ") + valueText(field);
  }
  return joined;
}
