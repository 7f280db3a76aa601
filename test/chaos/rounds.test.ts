import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { type ChaosNodes, DEEDS, type NodeState, planRounds } from "./rounds.ts";

const NODES: ChaosNodes = {
  nodes: ["node1", "node2", "node3", "node4"],
  idle: ["node4"],
};
const BEFORE: Readonly<Record<string, readonly NodeState[]>> = {
  add: ["idle", "killed"],
  drain: ["up"],
  undrain: ["drained"],
  kill: ["up", "drained"],
  return: ["killed"],
};

test("each round does what can be done, and leaves two nodes up", () => {
  fc.assert(
    fc.property(fc.integer(), fc.integer({ min: 1, max: 30 }), (seed, count) => {
      const rounds = planRounds(seed, count, NODES);
      let states = new Map<string, NodeState>(
        NODES.nodes.map((node) => [node, node === "node4" ? "idle" : "up"]),
      );
      for (const { deed, node, states: after } of rounds) {
        assert.ok(BEFORE[deed]?.includes(states.get(node)!), `${deed} ${node} (${states.get(node)})`);
        assert.ok([...after.values()].filter((state) => state === "up").length >= 2);
        states = new Map(after);
      }
    }),
  );
});

test("every deed is done as often as was asked for, and there is an end to it, whatever the seed", () => {
  fc.assert(
    fc.property(fc.integer(), fc.nat({ max: 30 }), (seed, count) => {
      const rounds = planRounds(seed, count, NODES);
      for (const deed of DEEDS) {
        const times = rounds.filter((round) => round.deed === deed).length;
        assert.ok(times >= count, `${deed}: ${times} times`);
      }
      assert.ok(rounds.length <= count * 20 + 20, `${rounds.length} steps`);
    }),
  );
});

test("a seed makes the same rounds again, another one others", () => {
  assert.deepEqual(planRounds(7, 20, NODES), planRounds(7, 20, NODES));
  assert.notDeepEqual(planRounds(7, 20, NODES), planRounds(8, 20, NODES));
});
