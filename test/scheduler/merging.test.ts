/** How a lost table is merged: a piece with every turn, and each bucket when it can be. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { FOLLOW_GRACE_MS, NOBODY, STEER_CHANGES } from "../../conf/limits.ts";
import { acknowledged, createFeed, due, ready, setLiving, welcome } from "../../scheduler/feed/feed.ts";
import type { Hello } from "../../scheduler/feed/feed-message.ts";
import { addMerge, createMerging, mergeTurn } from "../../scheduler/merging.ts";
import { createPolicy, type Condition } from "../../scheduler/policy/policy.ts";
import {
  createSteering,
  settleReady,
  steerNodes,
  type Steering,
  type Told,
} from "../../scheduler/steering.ts";
import { previousOf, readWord, wordOf } from "../../scheduler/table.ts";

const MS = 1_000_000n;
const SIZE = 16_384;

function steeringOf(): Steering {
  const table = Int32Array.from({ length: SIZE * 2 }, (_, i) => (i % 2 === 0 ? wordOf(1, 2) : 1));
  const policy = createPolicy(table, { hasSecondChance: true, seed: 1 });
  const groups = [{ name: "", words: policy.plan.words }];
  const feed = createFeed<Told>({ number: 1, epoch: 257, history: "aa", groups });
  const steering = createSteering([{ name: "", base: 0, policy }], feed, { timeout_units: 9, fill_s: 0 });
  setConditions(steering, "up");
  return steering;
}

function setConditions(steering: Steering, third: Condition): void {
  const nodes = [1, 2, 3].map((number) => ({
    number,
    weight: number === 3 ? 0 : 1,
    condition: number === 3 ? third : ("up" as const),
  }));
  steerNodes(steering, "", nodes, []);
}

const withPrevious = ({ tables }: Steering, number: number): number => {
  const { table } = tables[0]!.policy.plan;
  let count = 0;
  for (let bucket = 0; bucket < SIZE; bucket++) {
    if (previousOf(readWord(table, bucket)) === number) count++;
  }
  return count;
};

test("a turn looks at no more buckets than it may, and in the end all are merged", () => {
  const steering = steeringOf();
  const merging = createMerging();
  addMerge(merging, { number: 3, owners: new Uint8Array(SIZE).fill(3) }, 0n);
  const counts: number[] = [];
  while (merging.merges.length > 0) {
    mergeTurn(merging, steering, 1n);
    settleReady(steering, ready(steering.feed));
    counts.push(withPrevious(steering, 3));
  }
  assert.deepEqual(
    counts,
    [1, 2, 3, 4].map((turn) => turn * STEER_CHANGES),
  );
  assert.deepEqual([merging.merged, merging.lost], [SIZE, 0]);
});

test("nodes that are just coming back are waited for, those that don't come are not", () => {
  const steering = steeringOf();
  setConditions(steering, "down");
  const merging = createMerging();
  const owners = new Uint8Array(SIZE).fill(NOBODY);
  owners.fill(3, 0, 10);
  owners.fill(200, 10, 15);
  addMerge(merging, { number: 3, owners }, 0n);
  for (let turn = 0; turn < 20; turn++) mergeTurn(merging, steering, 10n * MS);
  assert.deepEqual([merging.merged, merging.lost, merging.merges.length], [0, 0, 1]);
  setConditions(steering, "leaving");
  mergeTurn(merging, steering, 20n * MS);
  assert.deepEqual([merging.merged, merging.lost, merging.merges.length], [10, 0, 1]);
  mergeTurn(merging, steering, BigInt(FOLLOW_GRACE_MS) * MS);
  assert.deepEqual([merging.merged, merging.lost, merging.merges.length], [10, 5, 0]);
});

test("nothing is merged while another node is about to take over, or too much is under way", () => {
  const steering = steeringOf();
  const merging = createMerging();
  addMerge(merging, { number: 3, owners: new Uint8Array(SIZE).fill(3) }, 0n);
  steering.isFrozen = true;
  mergeTurn(merging, steering, 1n);
  assert.equal(merging.merged, 0);
  steering.isFrozen = false;
  setLiving(steering.feed, new Set([2]));
  for (let turn = 0; turn < 4; turn++) mergeTurn(merging, steering, 1n);
  assert.equal(merging.merged, SIZE);
  assert.equal(withPrevious(steering, 3), 0, "node 2 has not acknowledged it");
});

test("who has told hears of the end when all living nodes have what came of it", () => {
  const steering = steeringOf();
  const merging = createMerging();
  const { feed } = steering;
  const helloOf = (number: number): Hello => ({
    kind: "hello",
    number,
    epoch: 257,
    version: feed.version,
    history: "aa",
    seen: 257,
    groups: [{ name: "", size: SIZE }],
  });
  const kinds = (number: number): string[] => {
    const all: string[] = [];
    for (let told = due(feed, number); told !== undefined; told = due(feed, number)) all.push(told.kind);
    return all;
  };
  for (const number of [2, 3]) welcome(feed, helloOf(number), 0);
  setLiving(feed, new Set([2]));
  addMerge(merging, { number: 3, owners: new Uint8Array(SIZE).fill(3) }, 0n);
  for (let turn = 0; turn < 6; turn++) assert.equal(mergeTurn(merging, steering, 1n), false);
  assert.equal(merging.merges.length, 1);
  assert.ok(!kinds(3).includes("merged"), "node 2 has not acknowledged it");
  kinds(2);
  assert.ok(acknowledged(feed, 2, feed.version));
  assert.equal(mergeTurn(merging, steering, 1n), true);
  assert.deepEqual(kinds(3), ["merged"], "once");
  assert.deepEqual(kinds(2), []);
});

test("what a node tells again takes the place of what it told before", () => {
  const steering = steeringOf();
  const merging = createMerging();
  for (const owner of [2, 3]) addMerge(merging, { number: 3, owners: new Uint8Array(SIZE).fill(owner) }, 0n);
  addMerge(merging, { number: 2, owners: new Uint8Array(SIZE).fill(NOBODY) }, 0n);
  assert.deepEqual(
    merging.merges.map(({ number }) => number),
    [3, 2],
  );
  while (merging.merges.length > 0) {
    mergeTurn(merging, steering, 1n);
    settleReady(steering, ready(steering.feed));
  }
  assert.equal(withPrevious(steering, 3), SIZE);
});
