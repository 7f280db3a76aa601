/** How a lost table is merged: a piece with every turn, and each bucket when it can be. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { FOLLOW_GRACE_MS, STEER_CHANGES } from "../../conf/limits.ts";
import { acknowledged, createFeed, due, ready, setLiving, welcome } from "../../scheduler/feed/feed.ts";
import { bitmapOf, type Hello } from "../../scheduler/feed/feed-message.ts";
import { addMerge, createMerging, mergeTurn } from "../../scheduler/merging.ts";
import { createPolicy, type Condition } from "../../scheduler/policy/policy.ts";
import {
  createSteering,
  makeMark,
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

const bitsOf = (...buckets: number[]): Uint8Array => bitmapOf(SIZE, buckets);
const ALL = new Uint8Array(SIZE / 8).fill(255);
const at = (now_ns: bigint, behind: readonly number[] = []) => ({ now_ns, behind });

test("a turn looks at no more buckets than it may, and in the end all are merged", () => {
  const steering = steeringOf();
  const merging = createMerging();
  addMerge(merging, steering, { number: 3, bits: ALL, now_ns: 0n });
  const counts: number[] = [];
  while (merging.merges.length > 0) {
    mergeTurn(merging, steering, at(1n));
    settleReady(steering, ready(steering.feed));
    counts.push(withPrevious(steering, 3));
  }
  assert.deepEqual(
    counts,
    [1, 2, 3, 4].map((turn) => turn * STEER_CHANGES),
  );
  assert.equal(merging.merged, SIZE);
});

test("a node that is just coming back is waited for, and one that does not come is not", () => {
  const steering = steeringOf();
  const merging = createMerging();
  for (const condition of ["leaving", "down"] as const) {
    setConditions(steering, "down");
    addMerge(merging, steering, {
      number: 3,
      bits: condition === "down" ? bitsOf(20, 21) : bitsOf(1, 2, 3),
      now_ns: 0n,
    });
    for (let turn = 0; turn < 20; turn++) mergeTurn(merging, steering, at(10n * MS));
    assert.equal(merging.merges.length, 1);
    setConditions(steering, condition);
    mergeTurn(merging, steering, at(BigInt(FOLLOW_GRACE_MS) * MS));
    assert.equal(merging.merges.length, 0);
  }
  assert.equal(merging.merged, 3);
});

test("nothing is merged while another node is about to take over, or too much is under way", () => {
  const steering = steeringOf();
  const merging = createMerging();
  addMerge(merging, steering, { number: 3, bits: ALL, now_ns: 0n });
  steering.isFrozen = true;
  mergeTurn(merging, steering, at(1n));
  assert.equal(merging.merges[0]?.merged, 0);
  steering.isFrozen = false;
  setLiving(steering.feed, new Set([2]));
  for (let turn = 0; turn < 4; turn++) mergeTurn(merging, steering, at(1n));
  assert.equal(merging.merges[0]?.merged, SIZE);
  assert.equal(withPrevious(steering, 3), 0, "node 2 has not acknowledged it");
});

const helloOf = (number: number, version = 0): Hello => {
  const history = version === 0 ? "" : "aa";
  return {
    kind: "hello",
    number,
    epoch: 257,
    version,
    history,
    seen: 257,
    groups: [{ name: "", size: SIZE }],
  };
};

/** Two nodes that have just connected; `told` takes what a node is told, by kind. */
function connected() {
  const steering = steeringOf();
  const merging = createMerging();
  const { feed } = steering;
  const told = (number: number): string[] => {
    const kinds: string[] = [];
    for (let one = due(feed, number); one !== undefined; one = due(feed, number)) kinds.push(one.kind);
    return kinds;
  };
  for (const number of [2, 3]) welcome(feed, helloOf(number, feed.version), 0);
  return { steering, merging, feed, told };
}

test("who has told hears of the end when all living nodes have what came of it", () => {
  const { steering, merging, feed, told } = connected();
  setLiving(feed, new Set([2, 3]));
  addMerge(merging, steering, { number: 3, bits: ALL, now_ns: 0n });
  for (let turn = 0; turn < 6; turn++) assert.deepEqual(mergeTurn(merging, steering, at(1n)), []);
  assert.equal(merging.merges.length, 1);
  assert.ok(!told(3).includes("merged"), "node 2 has not acknowledged it");
  told(2);
  assert.ok(acknowledged(feed, 2, feed.version));
  const ended = mergeTurn(merging, steering, at(1n)).map(({ number, merged }) => [number, merged]);
  assert.deepEqual(ended, [[3, SIZE]], "node 3 waits for this itself");
  assert.deepEqual(told(3), ["merged"], "once");
  assert.deepEqual(told(2), []);
});

test("nodes that come together hear together, but none waits for long for one that does not come", () => {
  const { steering, merging, told } = connected();
  addMerge(merging, steering, { number: 3, bits: bitsOf(5), now_ns: 0n });
  for (let turn = 0; turn < 3; turn++) {
    assert.deepEqual(mergeTurn(merging, steering, at(1n, [2, 3])), [], "node 2 has told nothing yet");
  }
  addMerge(merging, steering, { number: 2, bits: bitsOf(6), now_ns: 0n });
  mergeTurn(merging, steering, at(2n, [2, 3]));
  assert.deepEqual([told(2).at(-1), told(3).at(-1)], ["merged", "merged"]);
  addMerge(merging, steering, { number: 3, bits: bitsOf(5), now_ns: 0n });
  mergeTurn(merging, steering, at(0n, [2, 3]));
  assert.equal(mergeTurn(merging, steering, at(999n * MS, [2, 3])).length, 0);
  assert.equal(mergeTurn(merging, steering, at(1000n * MS, [2, 3])).length, 1);
});

test("what a node tells again takes the place of what it told before", () => {
  const steering = steeringOf();
  const merging = createMerging();
  for (const bits of [ALL, bitsOf(7, 9)]) addMerge(merging, steering, { number: 3, bits, now_ns: 0n });
  while (merging.merges.length > 0) {
    mergeTurn(merging, steering, at(1n));
    settleReady(steering, ready(steering.feed));
  }
  assert.equal(withPrevious(steering, 3), 2);
});

test("where another node has to be named nobody waits for room", () => {
  const { steering, merging } = connected();
  addMerge(merging, steering, { number: 3, bits: bitsOf(5), now_ns: 0n });
  mergeTurn(merging, steering, at(1n));
  settleReady(steering, ready(steering.feed));
  addMerge(merging, steering, { number: 2, bits: bitsOf(5, 6), now_ns: 0n });
  for (let turn = 0; turn < 3; turn++) mergeTurn(merging, steering, at(2n));
  assert.deepEqual([merging.merges.length, merging.merged], [0, 2]);
});

test("a previous node that tells that it has no connections makes room for one that has", () => {
  const { steering, merging } = connected();
  addMerge(merging, steering, { number: 3, bits: bitsOf(5, 6, 7), now_ns: 0n });
  mergeTurn(merging, steering, at(1n));
  settleReady(steering, ready(steering.feed));
  assert.equal(withPrevious(steering, 3), 3);
  // A copy begins after that: what node 3 says from here on is about its connections as they are now.
  makeMark(steering);
  welcome(steering.feed, helloOf(3), 0);
  due(steering.feed, 3);
  addMerge(merging, steering, { number: 3, bits: bitsOf(6), now_ns: 0n });
  settleReady(steering, ready(steering.feed));
  assert.equal(withPrevious(steering, 3), 1);
});
