/** Connections that the table does not lead to: they live on, and nothing else moves. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { NOBODY } from "../../../conf/limits.ts";
import { mergeConnection } from "../../../scheduler/policy/merge.ts";
import {
  createPolicy,
  propose,
  setNodes,
  settle,
  type Condition,
  type Policy,
} from "../../../scheduler/policy/policy.ts";
import { nextOf, ownerOf, previousOf, readWord, wordOf } from "../../../scheduler/table.ts";
import { randomOf } from "./policy-world.ts";

const CONDITIONS: readonly (readonly [number, Condition])[] = [
  [1, "up"],
  [2, "up"],
  [3, "leaving"],
  [4, "down"],
];

function policyOf(words: readonly number[], hasSecondChance = true): Policy {
  const table = Int32Array.from(words.flatMap((word) => [word, 0]));
  const policy = createPolicy(table, { hasSecondChance, seed: 1 });
  setNodes(
    policy,
    CONDITIONS.map(([number, condition]) => ({ number, weight: 1, condition })),
  );
  return policy;
}

function merge(word: number, owner: number): { kind: string; word: number } {
  const policy = policyOf([word]);
  const merged = mergeConnection(policy, 0, owner);
  if (merged.kind === "kept") assert.equal(settle(policy, merged.change), undefined);
  return { kind: merged.kind, word: readWord(policy.plan.table, 0) };
}

test("who has connections of a bucket becomes its previous node, and its owner stays", () => {
  assert.deepEqual(merge(wordOf(1, 2), 3), { kind: "kept", word: wordOf(1, 2, 3) });
  assert.deepEqual(merge(wordOf(1, 2), 2), { kind: "kept", word: wordOf(1, 2, 2) });
  assert.deepEqual(merge(wordOf(1, 2, 4), 3), { kind: "kept", word: wordOf(1, 2, 3) }, "a dead previous");
});

test("what nobody owns goes to the node that has connections of it, if that gets buckets", () => {
  const given = merge(wordOf(NOBODY, 1, 3), 2);
  assert.deepEqual(
    given,
    { kind: "kept", word: wordOf(NOBODY, 2, 3) },
    "and who may have had it stays named",
  );
  assert.deepEqual(merge(wordOf(NOBODY, 1), 2), { kind: "kept", word: wordOf(NOBODY, 2, 1) });
  assert.deepEqual(merge(wordOf(NOBODY, 1), 3), { kind: "kept", word: wordOf(NOBODY, 1, 3) });
  assert.deepEqual(merge(wordOf(NOBODY, 1, 2), 3), { kind: "later", word: wordOf(NOBODY, 1, 2) });
});

test("nothing is to be done where the table leads to that node", () => {
  for (const [word, owner] of [
    [wordOf(1, 2), 1],
    [wordOf(1, 2, 3), 3],
    [wordOf(NOBODY, 2), 2],
  ] as const) {
    assert.deepEqual(merge(word, owner), { kind: "none", word });
  }
  assert.equal(mergeConnection(policyOf([wordOf(1, 2)], false), 0, 2).kind, "none", "without second chance");
});

test("what another living node, a dead node or a change under way stands against is for later", () => {
  assert.deepEqual(merge(wordOf(1, 2, 3), 2), { kind: "later", word: wordOf(1, 2, 3) });
  assert.deepEqual(merge(wordOf(1, 2), 4), { kind: "later", word: wordOf(1, 2) });
  assert.deepEqual(merge(wordOf(1, 2), 77), { kind: "later", word: wordOf(1, 2) }, "nobody knows it");
  const policy = policyOf([wordOf(3, 1)]);
  const [change] = propose(policy, 1, { timeout_units: 9, fillBudget: 0, most: 9 });
  assert.ok(change !== undefined && ownerOf(change.word) === 1);
  assert.equal(mergeConnection(policy, 0, 2).kind, "later");
  assert.equal(mergeConnection(policy, 0, 3).kind, "none", "it is to be the previous one already");
});

test("a bucket that nobody owned does not leave the node behind that has connections of it", () => {
  const policy = policyOf(Array.from({ length: 8 }, () => wordOf(NOBODY, NOBODY)));
  const limits = { timeout_units: 1, fillBudget: 100, most: 100 };
  for (const change of propose(policy, 1, limits)) assert.equal(settle(policy, change), undefined);
  for (let bucket = 0; bucket < 8; bucket++) {
    const merged = mergeConnection(policy, bucket, 3);
    assert.ok(merged.kind === "kept");
    settle(policy, merged.change);
  }
  setNodes(policy, [
    { number: 1, weight: 0, condition: "up" },
    { number: 2, weight: 1, condition: "up" },
    { number: 3, weight: 1, condition: "leaving" },
  ]);
  for (const change of propose(policy, 9, limits)) assert.equal(settle(policy, change), undefined);
  for (let bucket = 0; bucket < 8; bucket++) {
    assert.equal(previousOf(readWord(policy.plan.table, bucket)), 3, `bucket ${bucket}`);
  }
});

test("whatever was there on either side, no owner changes, and what is kept is named", () => {
  for (let seed = 1; seed <= 50; seed++) {
    const random = randomOf(seed);
    const pick = (numbers: readonly number[]): number => numbers[Math.floor(random() * numbers.length)]!;
    const words = Array.from({ length: 64 }, () => {
      const owner = pick([1, 2, NOBODY]);
      const others = [1, 2, 3, 4, NOBODY].filter((number) => number !== owner);
      return wordOf(owner, pick([1, 2].filter((number) => number !== owner)), pick(others));
    });
    const policy = policyOf(words);
    for (let bucket = 0; bucket < 64; bucket++) {
      const owner = pick([1, 2, 3, 4, 99]);
      const merged = mergeConnection(policy, bucket, owner);
      if (merged.kind === "kept") settle(policy, merged.change);
      const [before, after] = [words[bucket]!, readWord(policy.plan.table, bucket)];
      assert.equal(ownerOf(after), ownerOf(before));
      if (ownerOf(before) !== NOBODY) assert.equal(nextOf(after), nextOf(before));
      if (merged.kind === "kept") assert.ok([nextOf(after), previousOf(after)].includes(owner));
      else assert.equal(after, before);
    }
  }
});
