import assert from "node:assert/strict";
import { test } from "node:test";
import { planPushRounds, PUSH_FAULTS } from "./push-rounds.ts";

test("a seed makes the same rounds again, another one others, and every kind comes", () => {
  const rounds = planPushRounds(7, 200, 3);
  assert.deepEqual(rounds, planPushRounds(7, 200, 3));
  assert.notDeepEqual(rounds, planPushRounds(8, 200, 3));
  const faults = rounds.flatMap((round) => round.faults);
  assert.deepEqual(new Set(faults.map(({ kind }) => kind)), new Set(PUSH_FAULTS));
  assert.deepEqual(new Set(faults.map(({ node }) => node)), new Set([0, 1, 2]));
  assert.ok(rounds.some(({ faults: { length } }) => length === 0));
  assert.ok(rounds.some(({ hasRival }) => hasRival));
  const deaths = new Set(rounds.map(({ diesAt }) => diesAt));
  assert.deepEqual(deaths, new Set(Array.from({ length: 14 }, (_, i) => i)));
});
