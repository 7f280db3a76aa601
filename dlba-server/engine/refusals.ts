/**
 * The last requests and responses that were refused, with the byte at which they stopped being good: what `show errors`
 * tells. Bounded, and rare: whoever sends nonsense all the time gets a few of them noted in a second.
 */
import type { Refusal } from "../../conf/messages.ts";
import { INCOMPLETE, scanRequestHead, scanResponseHead } from "../http/head.ts";

/** How many are kept, how much of each, and how many are noted in a second at most. */
const KEPT = 32;
const KEPT_BYTES = 2048;
const PER_SECOND = 20;

export interface Refusals {
  readonly kept: Refusal[];
  /** Since when, and how many have been noted since then. */
  second_ms: number;
  noted: number;
}

/** Nothing has been refused yet. */
export const createRefusals = (): Refusals => ({ kept: [], second_ms: -Infinity, noted: 0 });

/** What was refused: `bytes[start, end)`. `isWhole`: the head could be scanned; what is wrong is in its meaning. */
export interface Refused {
  readonly kind: "request" | "response";
  readonly bytes: Buffer;
  readonly start: number;
  readonly end: number;
  readonly isWhole: boolean;
  readonly maxTarget: number;
}

/** Notes one, unless there were too many just now. */
export function noteRefusal(
  refusals: Refusals,
  { kind, bytes, start, end, isWhole, maxTarget }: Refused,
  facts: Omit<Refusal, "kind" | "bad_at" | "bytes" | "length">,
  now_ms: number,
): void {
  if (now_ms - refusals.second_ms >= 1000) {
    refusals.second_ms = now_ms;
    refusals.noted = 0;
  }
  if (refusals.noted++ >= PER_SECOND) return;
  const verdict = (stop: number): number =>
    kind === "request"
      ? scanRequestHead(bytes, start, stop, maxTarget)
      : scanResponseHead(bytes, start, stop);
  refusals.kept.push({
    ...facts,
    kind,
    bad_at: isWhole ? null : firstBad(verdict, start, end),
    bytes: bytes.subarray(start, Math.min(end, start + KEPT_BYTES)).toString("base64"),
    length: end - start,
  });
  if (refusals.kept.length > KEPT) refusals.kept.shift();
}

/** The byte with which a head stops being one that only has to go on, counted from the start; null if it never does. */
function firstBad(verdict: (stop: number) => number, start: number, end: number): number | null {
  if (verdict(end) === INCOMPLETE) return null;
  let [good, bad] = [start, end];
  while (bad - good > 1) {
    const middle = (good + bad) >> 1;
    if (verdict(middle) === INCOMPLETE) good = middle;
    else bad = middle;
  }
  return bad - 1 - start;
}
