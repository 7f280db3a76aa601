import assert from "node:assert/strict";
import { test } from "node:test";
import { epochOf } from "../../conf/epoch.ts";
import { answering, disagreement, type LeaseFacts } from "./leases.ts";

const NOW_MS = 1000;
const facts = (number: number, epoch: number, left_ms = 0): LeaseFacts => ({
  node: `node${number}`,
  epoch,
  until_ms: NOW_MS + left_ms,
});

test("nodes agree when all know one epoch and its scheduler has a lease", () => {
  const epoch = epochOf(7, 2);
  assert.equal(disagreement([facts(1, epoch), facts(2, epoch, 100), facts(3, epoch, 90)], NOW_MS), "");
});

test("a lease of a node that does not schedule is none", () => {
  const epoch = epochOf(7, 2);
  assert.deepEqual(answering([facts(1, epoch, 100), facts(2, epoch, 100)], NOW_MS), ["node2"]);
});

test("it is told when a lease is over, when epochs differ, and who schedules beside another", () => {
  const [first, second] = [epochOf(7, 2), epochOf(8, 3)];
  assert.match(disagreement([facts(1, first), facts(2, first, 0)], NOW_MS), /^nobody schedules/);
  assert.match(disagreement([facts(2, first, 100), facts(3, second, 100)], NOW_MS), /^several epochs/);
  assert.deepEqual(answering([facts(2, first, 100), facts(3, second, 100)], NOW_MS), ["node2", "node3"]);
});
