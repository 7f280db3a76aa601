/** When a process that ended is started again: after a short pause the first time, then after doubling ones. */
import { RESTART_BACKOFF_MAX_MS, RESTART_BACKOFF_MIN_MS, RESTART_STABLE_MS } from "../conf/limits.ts";

/** Ends in a row, this one included: a process that ran for a stable time starts counting anew. */
export function countEnds(endsBefore: number, ran_ms: number): number {
  return ran_ms >= RESTART_STABLE_MS ? 1 : endsBefore + 1;
}

/** The pause before the next start, in milliseconds, after so many ends in a row (1 or more). */
export function restartDelay(ends: number): number {
  // 2 ** 1023 is the largest power that is a number; the cap is reached long before.
  const doubled_ms = RESTART_BACKOFF_MIN_MS * 2 ** Math.min(ends - 1, 1000);
  return Math.min(doubled_ms, RESTART_BACKOFF_MAX_MS);
}
