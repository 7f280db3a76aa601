import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { FAULTS, partitionsOf, planFaults } from "./takeover-rounds.ts";

test("a seed makes the same faults again, another one others, and every kind comes", () => {
  assert.deepEqual(planFaults(7, 200, 3), planFaults(7, 200, 3));
  assert.notDeepEqual(planFaults(7, 200, 3), planFaults(8, 200, 3));
  assert.deepEqual(new Set(planFaults(7, 200, 3).map(({ kind }) => kind)), new Set(FAULTS));
});

test("a partition has two sides with nodes at least, and the clients are with some node", () => {
  fc.assert(
    fc.property(fc.nat(), fc.integer({ min: 2, max: 6 }), (seed, nodes) => {
      for (const { sides, target } of planFaults(seed, 20, nodes)) {
        assert.equal(sides.length, nodes + 1);
        const ofNodes = sides.slice(0, nodes);
        assert.ok(new Set(ofNodes).size >= 2);
        assert.ok(ofNodes.includes(sides[nodes]!));
        assert.ok(target === "scheduler" || (target >= 0 && target < nodes - 1));
      }
    }),
  );
});

test("every way to part nodes is there once", () => {
  // The Bell numbers, less the one way that parts nothing.
  assert.deepEqual(
    [2, 3, 4, 5].map((nodes) => partitionsOf(nodes).length),
    [1, 4, 14, 51],
  );
  assert.deepEqual(partitionsOf(3), [
    [0, 0, 1],
    [0, 1, 0],
    [0, 1, 1],
    [0, 1, 2],
  ]);
});
