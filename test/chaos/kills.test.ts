import assert from "node:assert/strict";
import { test } from "node:test";
import type { Flow } from "../../lab/flow-report.ts";
import { isOfKilledWorker, KINDS, type Kill, longestGap_ms, planKills } from "./kills.ts";

const NODES = ["node1", "node2", "node3"];

function kills(seed: number, count: number): Kill[] {
  const plan = planKills(seed, NODES);
  return Array.from({ length: count }, () => plan.next().value);
}

test("a seed always kills the same, and in time everything", () => {
  assert.deepEqual(kills(7, 200), kills(7, 200));
  assert.notDeepEqual(kills(7, 200), kills(8, 200));
  const seen = new Set(kills(7, 500).map(({ node, kind }) => `${node} ${kind}`));
  assert.equal(seen.size, NODES.length * KINDS.length);
  assert.ok(kills(7, 500).every(({ after_ms }) => after_ms >= 300 && after_ms < 3000));
});

const flow = (more: Partial<Flow>): Flow => ({
  group: "new",
  node: "a",
  client_port: 1,
  opened_ms: 0,
  ended_ms: 0,
  answers: 1,
  slowest_ms: 0,
  slowest_at_ms: 0,
  error: null,
  ...more,
});

test("only errors of the killed worker's node, when it was killed, are its", () => {
  const deaths = [{ addresses: ["a", "b"], begun_ms: 1000, done_ms: 1010 }];
  const of = (more: Partial<Flow>): boolean =>
    isOfKilledWorker(flow({ error: "ECONNRESET", ...more }), deaths);
  assert.ok(of({ opened_ms: 0, ended_ms: 1005 }));
  assert.ok(of({ opened_ms: 1008, ended_ms: 1500, node: "" }));
  assert.ok(!of({ opened_ms: 0, ended_ms: 999 }));
  assert.ok(!of({ opened_ms: 0, ended_ms: 4000 }));
  assert.ok(!of({ opened_ms: 1011, ended_ms: 1020 }));
  assert.ok(!of({ opened_ms: 0, ended_ms: 1005, node: "c" }));
});

test("the longest gap is between two good answers", () => {
  const flows = [10, 400, 30, 900].map((ended_ms) => flow({ ended_ms }));
  assert.equal(
    longestGap_ms([...flows, flow({ ended_ms: 600, error: "closed" }), flow({ ended_ms: 650, answers: 0 })]),
    500,
  );
  assert.equal(longestGap_ms([]), 0);
});
