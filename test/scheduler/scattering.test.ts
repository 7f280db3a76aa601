/** Which nodes are searched for connections that the table does not lead to. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { SCATTERED_LEAST_MS, STEER_CHANGES } from "../../conf/limits.ts";
import { createFeed, ready } from "../../scheduler/feed/feed.ts";
import { bitmapOf } from "../../scheduler/feed/feed-message.ts";
import { createPolicy } from "../../scheduler/policy/policy.ts";
import { createScattering, scatterAll, takeElsewhere } from "../../scheduler/scattering.ts";
import {
  createSteering,
  makeMark,
  release,
  settleReady,
  steerNodes,
  type Steering,
  type Told,
} from "../../scheduler/steering.ts";
import { ownerOf, previousOf, readWord, wordOf } from "../../scheduler/table.ts";

const SIZE = 16_384;
const LEAST_NS = BigInt(SCATTERED_LEAST_MS) * 1_000_000n;

/** All buckets are node 1's; those of `taken` were node 2's before. */
function steeringOf(taken: readonly number[] = []): Steering {
  const before = new Set(taken);
  const table = Int32Array.from({ length: SIZE * 2 }, (_, i) =>
    i % 2 === 0 ? wordOf(1, 2, before.has(i / 2) ? 2 : undefined) : 1,
  );
  const policy = createPolicy(table, { hasSecondChance: true, seed: 1 });
  const groups = [{ name: "", words: policy.plan.words }];
  const feed = createFeed<Told>({ number: 1, epoch: 257, history: "aa", groups });
  const steering = createSteering([{ name: "", base: 0, policy }], feed, { timeout_units: 9, fill_s: 0 });
  const nodes = [1, 2, 3].map((number) => ({ number, weight: 1, condition: "up" as const }));
  steerNodes(steering, "", nodes, []);
  makeMark(steering);
  return steering;
}

const bitsOf = (...buckets: number[]): Uint8Array => bitmapOf(SIZE, buckets);
const settle = (steering: Steering): void => settleReady(steering, ready(steering.feed));
const previous = (steering: Steering, bucket: number): number =>
  previousOf(readWord(steering.tables[0]!.policy.plan.table, bucket));

test("a node that has told of no connections is scattered no longer, but not soon after a conflict", () => {
  const steering = steeringOf();
  const scattering = createScattering([1, 2, 3], 5n);
  const tell = (now_ns: bigint): boolean =>
    takeElsewhere(scattering, steering, { number: 3, bits: bitsOf(), now_ns });
  assert.equal(tell(4n + LEAST_NS), false);
  assert.deepEqual([...scattering.numbers], [1, 2, 3]);
  assert.equal(tell(5n + LEAST_NS), true);
  assert.deepEqual([...scattering.numbers], [1, 2]);
  assert.equal(tell(6n + LEAST_NS), false, "that is no news");
  scatterAll(scattering, [1, 2, 3], 7n + LEAST_NS);
  assert.equal(tell(8n + LEAST_NS), false);
  assert.deepEqual(scattering.numbers, new Set([1, 2, 3]));
});

test("a node with connections of others' buckets becomes their previous node, where there is room", () => {
  const steering = steeringOf([7]);
  const scattering = createScattering([], 0n);
  const tell = (): boolean =>
    takeElsewhere(scattering, steering, { number: 3, bits: bitsOf(6, 7, 8), now_ns: LEAST_NS });
  assert.equal(tell(), true, "node 2 may have connections of bucket 7");
  settle(steering);
  assert.deepEqual([3, 2, 3], [previous(steering, 6), previous(steering, 7), previous(steering, 8)]);
  assert.deepEqual([...scattering.numbers], [3]);
  assert.equal(scattering.crowded.get(3), 1);
  release(steering, 2, steering.feed.version, () => false);
  settle(steering);
  assert.equal(tell(), true, "it has none any more");
  settle(steering);
  assert.equal(previous(steering, 7), 3);
  assert.equal(scattering.crowded.get(3), 0);
  assert.deepEqual([...scattering.numbers], []);
  assert.equal(ownerOf(readWord(steering.tables[0]!.policy.plan.table, 7)), 1, "whoever owns it keeps it");
});

test("what is told at once is bounded, and what a hand-over freezes waits", () => {
  const steering = steeringOf();
  const scattering = createScattering([], 0n);
  const all = new Uint8Array(SIZE / 8).fill(255);
  const tell = (): boolean => takeElsewhere(scattering, steering, { number: 3, bits: all, now_ns: LEAST_NS });
  const named = (): number =>
    Array.from({ length: SIZE }, (_, bucket) => previous(steering, bucket)).filter((number) => number === 3)
      .length;
  steering.isFrozen = true;
  assert.equal(tell(), true);
  settle(steering);
  assert.equal(named(), 0);
  steering.isFrozen = false;
  for (let turn = 1; turn * STEER_CHANGES <= SIZE; turn++) {
    assert.equal(scattering.numbers.has(3), true);
    tell();
    settle(steering);
    assert.equal(named(), turn * STEER_CHANGES);
  }
  assert.equal(scattering.numbers.has(3), false);
});
