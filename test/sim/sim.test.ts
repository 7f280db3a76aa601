/** A batch of simulated arrays, as `npm run sim` runs them by the thousand. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { isScheduling } from "./kernel.ts";
import { mixedPlanOf, planOf, wholeFrom_ms, type Plan } from "./plan.ts";
import { run, soundRules } from "./run.ts";
import { shrink } from "./shrink.ts";
import type { Rules } from "./world.ts";

/** The same ones everywhere, whatever the machine's speed. */
const RUNS = 1000;

test("whatever happens to an array, it stays one, or is one again a second after all is well", () => {
  for (let seed = 1; seed <= RUNS; seed++) {
    const { violation } = run(mixedPlanOf({ seed, steps: 1 + (seed % 8) }));
    assert.equal(violation, undefined, `npm run sim -- --seed ${seed} --steps ${1 + (seed % 8)}`);
  }
});

/** One node of some on a whole network; the scheduler of the first epoch is node 1. */
function planWith(nodes: number, fault: Partial<Plan["faults"][number]>): Plan {
  const plan = planOf({ seed: nodes, steps: 0, nodes });
  const faults = [
    { kind: "crash-machine", at_ms: 900, for_ms: 500, node: 0, other: 1, extent: 1, ...fault },
  ] as const;
  return { ...plan, slots: 1, loss: 0, preempt: false, priorities: plan.priorities.map(() => 100), faults };
}

/** When somebody has claimed, in ms after the fault; nothing before counts. */
function claims(plan: Plan): number[] {
  const { violation, lines } = run(plan, soundRules, true);
  assert.equal(violation, undefined);
  return lines
    .filter((line) => line.includes(" claims "))
    .map((line) => Number.parseFloat(line) - plan.faults[0]!.at_ms)
    .filter((at_ms) => at_ms >= 0 && at_ms < wholeFrom_ms(plan));
}

for (const nodes of [2, 3, 8, 16]) {
  test(`of ${nodes} nodes, one takes over within dead_after_ms and two ticks of a scheduler's death`, () => {
    for (let offset_ms = 0; offset_ms < 10; offset_ms++) {
      const [first = Infinity, ...others] = claims(planWith(nodes, { at_ms: 900 + offset_ms }));
      assert.ok(first <= 50 + 2 * 5.3, `after ${first} ms`);
      assert.deepEqual(others, []);
    }
  });
}

/** A turn of the scheduler process, a tick on either side, and two frames. */
const IN_ORDER_MS = 25;

test("a node takes over in order at once, and a scheduler that stops leaves no gap", () => {
  const [handedOver = Infinity] = claims(planWith(3, { kind: "hand-over", other: 2 }));
  assert.ok(handedOver <= IN_ORDER_MS, `after ${handedOver} ms`);
  const [stopped = Infinity] = claims(planWith(3, { kind: "stop" }));
  assert.ok(stopped <= IN_ORDER_MS, `after ${stopped} ms`);
});

test("a scheduler whose failover process stands still is succeeded when its lease has ended", () => {
  const [first = Infinity] = claims(planWith(3, { kind: "crash-failover", for_ms: 600 }));
  assert.ok(first >= 150 && first <= 240, `after ${first} ms`);
});

test("a failing run is made smaller, and the same seed tells the same story", () => {
  const rules: Rules = { ...soundRules, kernel: { ...soundRules.kernel, isAnswering: isScheduling } };
  const failing = Array.from({ length: 100 }, (_, seed) =>
    planOf({ seed, steps: 6, kinds: ["stall-failover", "stall-user", "delay"] }),
  ).find((plan) => run(plan, rules).violation?.kind === "answers-alone");
  assert.ok(failing !== undefined);
  const small = shrink(failing, "answers-alone", rules);
  assert.ok(small.faults.length < failing.faults.length);
  const { lines } = run(small, rules, true);
  assert.match(lines.at(-1) ?? "", /WRONG \(answers-alone\)/);
  assert.deepEqual(run(small, rules, true).lines, lines);
});
