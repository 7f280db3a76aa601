import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { countEnds, restartDelay } from "../../cli/backoff.ts";
import { RESTART_BACKOFF_MAX_MS, RESTART_BACKOFF_MIN_MS, RESTART_STABLE_MS } from "../../conf/limits.ts";

test("the pause doubles from the shortest to the longest and stays there", () => {
  const delays = Array.from({ length: 9 }, (_, i) => restartDelay(i + 1));
  assert.deepEqual(delays, [100, 200, 400, 800, 1600, 3200, 6400, 10_000, 10_000]);
});

test("however often a process ends, the pause is within its bounds", () => {
  fc.assert(
    fc.property(fc.integer({ min: 1, max: Number.MAX_SAFE_INTEGER }), (ends) => {
      const delay_ms = restartDelay(ends);
      assert.ok(delay_ms >= RESTART_BACKOFF_MIN_MS && delay_ms <= RESTART_BACKOFF_MAX_MS);
    }),
  );
});

test("a process that ran for a stable time starts counting anew", () => {
  assert.equal(countEnds(7, RESTART_STABLE_MS), 1);
  assert.equal(countEnds(7, RESTART_STABLE_MS - 1), 8);
});
