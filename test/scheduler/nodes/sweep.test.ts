import assert from "node:assert/strict";
import { test } from "node:test";
import * as fc from "fast-check";
import {
  startSweep,
  sweepAgain,
  sweepAnswered,
  sweepUnanswered,
  type SweepChange,
  type SweepTurn,
} from "../../../scheduler/nodes/sweep.ts";

const settings = { retries: 2, delay_ms: 1000 };
const unanswered: typeof sweepAnswered = (state, settings, now_ms) =>
  sweepUnanswered(state, settings, now_ms, "no answer");

/** Runs a transcript: `+` answered, `-` unanswered, `.` the pause is over. One word per step. */
function transcript(nodes: readonly number[], events: string): string {
  let now_ms = 0;
  let turn = startSweep(nodes, new Set(), settings, now_ms);
  const said = [textOf(turn)];
  for (const event of events) {
    now_ms += 10;
    const next = { "+": sweepAnswered, "-": unanswered, ".": sweepAgain }[event]!;
    turn = next(turn.state, settings, now_ms);
    said.push(textOf(turn));
  }
  return said.join(" ");
}
function textOf({ step, change }: SweepTurn): string {
  const told = change === undefined ? "" : `${change.failed ? "failed" : "back"}:${change.node},`;
  return told + (step.kind === "ask" ? `ask:${step.node}` : "wait");
}

test("nodes are asked one after the other, then the sweep pauses", () => {
  assert.equal(transcript([2, 3, 5], "+++.+"), "ask:2 ask:3 ask:5 wait ask:2 ask:3");
});

test("a node fails after the further tries, is asked once a round from then on, and is back when it answers", () => {
  assert.equal(
    transcript([2, 3], "---+.-+.++"),
    "ask:2 ask:2 ask:2 failed:2,ask:3 wait ask:2 ask:3 wait ask:2 back:2,ask:3 wait",
  );
});

test("an answer to a further try is as good as to the first", () => {
  assert.equal(transcript([2], "--+.--+"), "ask:2 ask:2 ask:2 wait ask:2 ask:2 ask:2 wait");
});

test("a node that had failed before is asked once, and is back when it answers", () => {
  const first = startSweep([4, 5], new Set([4]), settings, 0);
  const second = unanswered(first.state, settings, 1);
  assert.deepEqual(second.step, { kind: "ask", node: 5 });
  assert.equal(second.change, undefined);
  const back = sweepAnswered(first.state, settings, 1);
  assert.deepEqual(back.change, { node: 4, failed: false, reason: "" });
});

test("an array of one node sweeps nobody", () => {
  assert.equal(transcript([], ".."), "wait wait wait");
});

test("the sweep's time and length are those of the last whole round", () => {
  const first = startSweep([1, 2], new Set(), settings, 100);
  assert.equal(first.state.last_sweep_at_ms, null);
  const second = sweepAnswered(first.state, settings, 130);
  assert.equal(second.state.last_sweep_at_ms, null);
  const third = sweepAnswered(second.state, settings, 150);
  assert.equal(third.state.last_sweep_at_ms, 150);
  assert.equal(third.state.last_sweep_took_ms, 50);
});

test("whatever is answered, changes alternate per node and a round asks each node within its tries", () => {
  fc.assert(
    fc.property(fc.array(fc.boolean(), { maxLength: 200 }), (answers) => {
      let turn = startSweep([1, 2, 3], new Set(), settings, 0);
      const changes: SweepChange[] = [];
      const failed = new Set<number>();
      for (const isAnswered of answers) {
        const next = turn.step.kind === "wait" ? sweepAgain : isAnswered ? sweepAnswered : unanswered;
        turn = next(turn.state, settings, 0);
        if (turn.change !== undefined) changes.push(turn.change);
        assert.ok(turn.state.tries <= settings.retries);
      }
      for (const { node, failed: isFailed } of changes) {
        assert.equal(failed.has(node), !isFailed);
        if (isFailed) failed.add(node);
        else failed.delete(node);
      }
      assert.deepEqual(new Set(turn.state.failed), failed);
    }),
  );
});
