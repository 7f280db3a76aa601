import assert from "node:assert/strict";
import { test } from "node:test";
import { lowerSlope, percentile, type Sample } from "./slope.ts";

const saw = (growth: number): Sample[] =>
  Array.from({ length: 600 }, (_, i) => ({ at_s: i, value: 1000 + growth * i + ((i * 37) % 50) * 10 }));

test("what only jumps up and down has no slope, what grows beneath it has its own", () => {
  assert.ok(Math.abs(lowerSlope(saw(0), 60)) < 0.01);
  assert.ok(Math.abs(lowerSlope(saw(3), 60) - 3) < 0.2);
  assert.ok(Math.abs(lowerSlope(saw(-2), 60) + 2) < 0.2);
  assert.equal(lowerSlope([], 60), 0);
});

test("percentiles", () => {
  const values = Array.from({ length: 100 }, (_, i) => 99 - i);
  assert.equal(percentile(values, 0.5), 50);
  assert.equal(percentile(values, 0.99), 99);
  assert.equal(percentile([], 0.99), 0);
});
