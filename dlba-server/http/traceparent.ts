/**
 * W3C Trace Context (level 1, 3.2): names the trace that a request belongs to. One that is valid goes on untouched; in the place of one
 * that isn't a new one is made, as nothing can be said of its trace. Works on the head that was scanned last.
 */
import { FIELD } from "./fields.ts";
import { head, idOf, joinedValue } from "./head.ts";

/** A version, which is not ff; two ids, which are not zero; flags; and in later versions what they add. */
const VALID = /^(?!ff)[0-9a-f]{2}-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}(-.*)?$/;

/** The only traceparent of the request, if it is valid; else "". */
export function validTraceparent(): string {
  let count = 0;
  for (let field = 0; field < head.fields; field++) if (idOf(field) === FIELD.traceparent) count++;
  if (count !== 1) return "";
  const value = joinedValue(FIELD.traceparent);
  const isValid = VALID.test(value) && (value.length === 55 || !value.startsWith("00"));
  return isValid && value.length <= 256 ? value : "";
}

/**
 * A new one, of 24 random bytes in hexadecimal digits. It is marked as sampled: whoever follows decides by that whether to record, and
 * what nobody has marked nobody records.
 */
export function newTraceparent(random: string): string {
  return `00-${random.slice(0, 32)}-${random.slice(32)}-01`;
}
