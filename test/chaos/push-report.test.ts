import assert from "node:assert/strict";
import { test } from "node:test";
import { disagreement, endOf, faultsOf, newSight, see, type NodeSeen } from "./push-report.ts";

const record = (number: number, comment = `m${number}`): NodeSeen["current"] => ({
  number,
  hash: String(number).repeat(64),
  previous: "",
  at_ms: 0,
  by: "",
  comment,
});
const node = (name: string, number: number, change: Partial<NodeSeen> = {}): NodeSeen => ({
  kind: "node",
  at_ms: 10,
  node: name,
  current: record(number),
  running: { number, hash: record(number).hash },
  isInDoubt: false,
  problem: "",
  history: [],
  ...change,
});
const marker = (rule: string, cookie = rule) =>
  ({ kind: "marker", at_ms: 1, node: "n", rule, cookie }) as const;

test("what agrees is no fault", () => {
  const sight = newSight();
  for (const seen of [node("a", 1), node("b", 2, { history: [record(1)] }), marker("m0"), marker("m1")])
    see(sight, seen);
  assert.deepEqual(faultsOf(sight, "m0"), []);
});

test("half an answer, two contents of a version, and what was never in force are faults", () => {
  const sight = newSight();
  const running = { number: 3, hash: "f".repeat(64) };
  const seen = [node("a", 1), node("b", 1, { current: record(1, "other") }), node("c", 1, { running })];
  for (const each of [...seen, marker("m1", "m2"), marker("m9")]) see(sight, each);
  const faults = faultsOf(sight, "m0");
  assert.equal(faults.length, 4, faults.join("\n"));
  assert.match(faults[0]!, /version 1 is two: m1, and other on b/);
  assert.match(faults[1]!, /half of version m1, half of m2/);
  assert.match(faults[2]!, /m9 was served, and never in force/);
  assert.match(faults[3]!, /c ran what was never in force/);
});

test("nodes agree when all have been seen since, are on one version, run it, and are not in doubt", () => {
  const rows: [NodeSeen, RegExp][] = [
    [node("b", 1), /^$/],
    [node("b", 2), /versions 1, 2/],
    [node("b", 1, { at_ms: 4 }), /b has not answered/],
    [node("b", 1, { isInDoubt: true }), /b is in doubt/],
    [node("b", 1, { running: { number: 0, hash: "0" }, problem: "no" }), /b runs version 0: no/],
  ];
  for (const [second, reason] of rows) {
    const sight = newSight();
    see(sight, node("a", 1));
    see(sight, second);
    assert.match(disagreement(sight, ["a", "b"], 5), reason);
  }
});

test("a push that was killed or is in doubt has promised nothing", () => {
  assert.equal(endOf(0, ""), "done");
  assert.equal(endOf(1, "dlba: version 7 is in force, but does not run everywhere:"), "done");
  assert.equal(endOf(1, "dlba: node1 is busy with a push by x; nothing was changed"), "not");
  assert.equal(endOf(3, "dlba: it is not known whether version 7 is in force"), "open");
  assert.equal(endOf(null, ""), "open");
});
