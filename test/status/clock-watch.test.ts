import assert from "node:assert/strict";
import { test } from "node:test";
import { clockWatch } from "../../status/clock-watch.ts";

test("a clock that is set is told once, by how much; one that is slewed, and a stall, are not", () => {
  const jumped = clockWatch();
  const seen = [
    [1_000_000, 0],
    [1_001_000, 1000],
    // Slewed by half a second.
    [1_002_500, 2000],
    // A stall: time passes on both.
    [1_062_500, 62_000],
    // An hour ahead, then an hour back.
    [4_663_500, 63_000],
    [4_664_500, 64_000],
    [1_065_500, 65_000],
  ].map(([wall_ms = 0, monotonic_ms = 0]) => jumped(wall_ms, monotonic_ms));
  assert.deepEqual(seen, [0, 0, 0, 0, 3600, 0, -3600]);
});
