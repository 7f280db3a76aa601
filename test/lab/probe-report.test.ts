import assert from "node:assert/strict";
import { test } from "node:test";
import { outageAfter_ms, type Probe } from "../../lab/probe-report.ts";

const good = (started_ms: number, ended_ms: number): Probe => ({
  started_ms,
  ended_ms,
  node: "198.18.1.1",
  error: null,
});
const bad = (started_ms: number, ended_ms: number): Probe => ({
  started_ms,
  ended_ms,
  node: "",
  error: "no answer in time",
});
const CUT = { begun_ms: 100, done_ms: 103 };

test("an outage lasts from the cut's begin to the first answer of a probe that was begun after the cut", () => {
  const probes = [good(96, 99), bad(104, 354), good(160, 190), good(164, 171)];
  assert.equal(outageAfter_ms(probes, CUT), 71);
});

test("what got through while the cut was being made ends no outage", () => {
  assert.equal(outageAfter_ms([good(99, 101), good(102, 104)], CUT), undefined);
  assert.equal(outageAfter_ms([good(102, 104), good(150, 153)], CUT), 53);
});
