import assert from "node:assert/strict";
import { test } from "node:test";
import * as fc from "fast-check";
import { NOBODY } from "../../../conf/limits.ts";
import {
  bucketsOf,
  createPolicy,
  handOver,
  markNow,
  propose,
  releasePrevious,
  setNodes,
  settle,
  surpluses,
  takeStock,
  withPrevious,
  wordChanged,
  type Change,
  type Limits,
  type Policy,
  type PolicyNode,
} from "../../../scheduler/policy/policy.ts";
import {
  clear,
  nextOf,
  ownerOf,
  previousOf,
  readWord,
  sizeOf,
  swapWord,
  wordOf,
} from "../../../scheduler/table.ts";

const SIZE = 1024;
const NO_LIMITS: Limits = { timeout_units: 100, fillBudget: Infinity, most: Infinity };
const ONLY_IDLE: Limits = { ...NO_LIMITS, fillBudget: 0 };
const up = (number: number, weight = 1): PolicyNode => ({ number, weight, condition: "up" });
const leaving = (number: number): PolicyNode => ({ number, weight: 1, condition: "leaving" });
const down = (number: number): PolicyNode => ({ number, weight: 1, condition: "down" });

interface Setting {
  readonly size?: number;
  readonly seed?: number;
  readonly hasSecondChance?: boolean;
}
/** A policy on an empty table, with the nodes' buckets dealt. */
function policyOf(
  nodes: readonly PolicyNode[],
  { size = SIZE, seed = 7, hasSecondChance = true }: Setting = {},
): Policy {
  const table = new Int32Array(size * 2);
  clear(table);
  const policy = createPolicy(table, { hasSecondChance, seed });
  change(policy, nodes);
  return policy;
}
function settleAll(policy: Policy, changes: readonly Change[]): void {
  for (const change of changes) {
    const instead = settle(policy, change);
    if (instead !== undefined) settleAll(policy, [instead]);
  }
}
/** Proposes and settles until nothing more follows. Returns how many changes that took. */
function run(policy: Policy, limits: Limits = NO_LIMITS, now_units = 1): number {
  let count = 0;
  for (let changes = propose(policy, now_units, limits); changes.length > 0;) {
    settleAll(policy, changes);
    count += changes.length;
    changes = propose(policy, now_units, limits);
    assert.ok(count < 10 * policy.plan.size, "this never ends");
  }
  return count;
}
function change(policy: Policy, nodes: readonly PolicyNode[], limits?: Limits): number {
  setNodes(policy, nodes);
  return run(policy, limits);
}
/** The kernel gives an unassigned bucket to its next; returns what the policy tells then. */
function claim(policy: Policy, bucket: number, now_units = 1): Change | undefined {
  const { table } = policy.plan;
  const word = readWord(table, bucket);
  table[bucket * 2 + 1] = now_units;
  swapWord(table, bucket, word, wordOf(nextOf(word), nextOf(word), previousOf(word)));
  return wordChanged(policy, bucket);
}
function claimAll(policy: Policy, now_units = 1): void {
  for (const bucket of buckets(policy)) settleAll(policy, [claim(policy, bucket, now_units)!]);
}
const buckets = (policy: Policy): number[] => Array.from({ length: policy.plan.size }, (_, i) => i);
const wordsOf = (policy: Policy): number[] =>
  buckets(policy).map((bucket) => readWord(policy.plan.table, bucket));
const partsOf = (word: number): number[] => [ownerOf(word), nextOf(word), previousOf(word)];

function countBy(words: readonly number[], part: (word: number) => number): Map<number, number> {
  const counts = new Map<number, number>();
  for (const word of words) counts.set(part(word), (counts.get(part(word)) ?? 0) + 1);
  return counts;
}
/** Checks that numbers occur in proportion to the weights, up to a deviation in buckets. */
function assertInProportion(
  words: readonly number[],
  part: (word: number) => number,
  nodes: readonly PolicyNode[],
  deviation: number,
): void {
  const counts = countBy(words, part);
  const total = nodes.reduce((sum, { weight }) => sum + weight, 0);
  for (const { number, weight } of nodes) {
    const [count, fair] = [counts.get(number) ?? 0, (words.length * weight) / total];
    assert.ok(Math.abs(count - fair) <= deviation, `node ${number}: ${count} of ${fair}`);
  }
}
const chunks = <T>(list: readonly T[], length: number): T[][] =>
  Array.from({ length: Math.floor(list.length / length) }, (_, i) =>
    list.slice(i * length, (i + 1) * length),
  );

const arrays = fc.uniqueArray(
  fc.record({ number: fc.integer({ min: 0, max: 254 }), weight: fc.integer({ min: 1, max: 8 }) }),
  { selector: ({ number }) => number, minLength: 1, maxLength: 12 },
);

test("unassigned buckets have their nexts in proportion to the weights, in the whole and in every stretch of 64", () => {
  fc.assert(
    fc.property(arrays, fc.integer(), (list, seed) => {
      const nodes = list.map(({ number, weight }) => up(number, weight));
      const words = wordsOf(policyOf(nodes, { seed }));
      assert.ok(words.every((word) => ownerOf(word) === NOBODY && previousOf(word) === NOBODY));
      assertInProportion(words, nextOf, nodes, 1.01);
      for (const chunk of chunks(words, 64)) assertInProportion(chunk, nextOf, nodes, 2);
    }),
    { numRuns: 40 },
  );
});

test("the order of the nodes is the seed's: the same for the same, another for another", () => {
  const nodes = [up(1), up(2), up(3), up(4)];
  const nexts = (seed: number): string => wordsOf(policyOf(nodes, { seed })).map(nextOf).join();
  assert.equal(nexts(5), nexts(5));
  assert.notEqual(nexts(5), nexts(6));
});

test("a claimed bucket gets another next; the others are told both at once", () => {
  const policy = policyOf([up(1), up(2), up(3)]);
  const before = readWord(policy.plan.table, 17);
  const told = claim(policy, 17)!;
  const owner = nextOf(before);
  assert.deepEqual(partsOf(told.seen), [owner, owner, NOBODY]);
  assert.equal(ownerOf(told.word), owner);
  assert.notEqual(nextOf(told.word), owner);
  assert.equal(readWord(policy.plan.table, 17), told.seen, "not before the others have it");
  assert.equal(settle(policy, told), undefined);
  assert.equal(readWord(policy.plan.table, 17), told.word);
  assert.equal(wordChanged(policy, 17), undefined, "nothing new");
});

test("each owner's nexts are the others in proportion, in every stretch of its buckets, whatever the order of claims", () => {
  const nodes = [up(1), up(2, 2), up(3, 3), up(4)];
  const policy = policyOf(nodes, { size: 4096 });
  for (let i = 0; i < 4096; i++) settleAll(policy, [claim(policy, (i * 1237) % 4096)!]);
  for (const { number } of nodes) {
    const own = wordsOf(policy).filter((word) => ownerOf(word) === number);
    const others = nodes.filter((node) => node.number !== number);
    assertInProportion(own, nextOf, others, 1.01);
    for (const chunk of chunks(own, 60)) assertInProportion(chunk, nextOf, others, 3);
  }
  assert.equal(run(policy), 0);
});

test("a dead node's buckets go to their nexts in the kernel's table at once, and level what they level", () => {
  const nodes = [up(1), up(2), up(3, 2), up(4)];
  const policy = policyOf(nodes);
  claimAll(policy);
  const before = wordsOf(policy);
  setNodes(
    policy,
    nodes.map((node) => (node.number === 2 ? down(2) : node)),
  );
  const told = handOver(policy, 2);
  const after = wordsOf(policy);
  after.forEach((word, bucket) => {
    const [owner, next] = partsOf(before[bucket]!);
    if (owner === 2) assert.deepEqual(partsOf(word), [next!, next!, 2]);
    else assert.equal(word, before[bucket]!);
  });
  assert.deepEqual(new Set(told.map(({ bucket }) => ownerOf(before[bucket]!))), new Set([2]));
  assert.equal(told.length, before.filter((word) => ownerOf(word) === 2).length);
  settleAll(policy, told);
  const nexts = before.filter((word) => nextOf(word) === 2).length;
  assert.equal(run(policy), nexts, "others' buckets whose next it was");
  const others = nodes.filter(({ number }) => number !== 2);
  assertInProportion(wordsOf(policy), ownerOf, others, 4);
  assert.ok(wordsOf(policy).every((word) => nextOf(word) !== 2 && nextOf(word) !== ownerOf(word)));
});

test("unassigned buckets of a dead node get another next when the others have heard of it, and not before", () => {
  const policy = policyOf([up(1), up(2), up(3)]);
  setNodes(policy, [up(1), down(2), up(3)]);
  const before = wordsOf(policy);
  assert.deepEqual(handOver(policy, 2), []);
  assert.deepEqual(wordsOf(policy), before);
  run(policy);
  assertInProportion(wordsOf(policy), nextOf, [up(1), up(3)], 2);
  assert.ok(wordsOf(policy).every((word) => previousOf(word) === NOBODY));
});

test("a change towards a node that dies is called off", () => {
  const policy = policyOf([up(1), up(2)]);
  claimAll(policy);
  setNodes(policy, [up(1), up(2), up(3)]);
  const towards = propose(policy, 1, NO_LIMITS);
  assert.ok(towards.some(({ word }) => ownerOf(word) === 3));
  setNodes(policy, [up(1), up(2), down(3)]);
  const told = handOver(policy, 3);
  settleAll(policy, [...towards, ...told]);
  assert.equal(policy.plan.owned[3], 0);
  run(policy);
  assert.equal(bucketsOf(policy, 3), 0);
  assert.ok(wordsOf(policy).every((word) => ownerOf(word) !== 3 && nextOf(word) !== 3));
});

test("a dead node's bucket goes where the kernel would give it, be its next leaving, or its previous node alive", () => {
  const policy = policyOf([up(1), up(2), up(3), up(4)]);
  claimAll(policy);
  change(policy, [up(1), up(2), leaving(3), up(4)]);
  const before = wordsOf(policy);
  setNodes(policy, [up(1), leaving(2), up(3), up(4)]);
  setNodes(policy, [down(1), leaving(2), up(3), up(4)]);
  // Not yet handed over: a bucket of which the program may make {next, next, previous} is not planned otherwise.
  for (const { bucket, word } of propose(policy, 1, ONLY_IDLE)) {
    const [owner, next, previous] = partsOf(before[bucket]!);
    if (owner === 1)
      assert.deepEqual([ownerOf(word), previousOf(word)], [next, previous === NOBODY ? 1 : previous]);
  }
  const other = policyOf([up(1), up(2), up(3), up(4)]);
  claimAll(other);
  setNodes(other, [down(1), leaving(2), up(3), up(4)]);
  handOver(other, 1);
  const from1 = buckets(other).filter((bucket) => previousOf(readWord(other.plan.table, bucket)) === 1);
  assert.equal(from1.length, SIZE / 4);
  assert.ok(from1.some((bucket) => ownerOf(readWord(other.plan.table, bucket)) === 2));
});

test("a leaving node's buckets go to their nexts, with the leaving one as previous", () => {
  const policy = policyOf([up(1), up(2), up(3)]);
  claimAll(policy);
  const before = wordsOf(policy);
  const own = before.filter((word) => ownerOf(word) === 2).length;
  setNodes(policy, [up(1), leaving(2), up(3)]);
  const few = propose(policy, 1, { ...ONLY_IDLE, most: 10 });
  assert.equal(few.length, 10);
  settleAll(policy, few);
  run(policy, ONLY_IDLE);
  wordsOf(policy).forEach((word, bucket) => {
    if (ownerOf(before[bucket]!) !== 2) return;
    assert.deepEqual(partsOf(word), [nextOf(before[bucket]!), 4 - nextOf(before[bucket]!), 2]);
  });
  assert.deepEqual([bucketsOf(policy, 2), withPrevious(policy)], [0, own]);
});

test("a bucket whose previous node still has connections goes back to it or stays, but never to a third", () => {
  const policy = policyOf([up(1), up(2), up(3)]);
  claimAll(policy);
  change(policy, [up(1), leaving(2), up(3)]);
  const moved = buckets(policy).filter((bucket) => previousOf(readWord(policy.plan.table, bucket)) === 2);
  const from1 = moved.filter((bucket) => ownerOf(readWord(policy.plan.table, bucket)) === 1);
  change(policy, [leaving(1), leaving(2), up(3)]);
  for (const bucket of from1)
    assert.deepEqual(partsOf(readWord(policy.plan.table, bucket)), [1, 3, 2], "waits");
  change(policy, [leaving(1), up(2), up(3)]);
  for (const bucket of from1)
    assert.deepEqual(partsOf(readWord(policy.plan.table, bucket)), [2, 3, 1], "back");
  assert.equal(bucketsOf(policy, 1), 0);
});

test("a bucket that waits goes on when its previous node has no connections left", () => {
  const policy = policyOf([up(1), up(2), up(3)]);
  claimAll(policy);
  change(policy, [up(1), leaving(2), up(3)]);
  change(policy, [leaving(1), leaving(2), up(3)]);
  const waiting = bucketsOf(policy, 1);
  assert.ok(waiting > SIZE / 8);
  settleAll(
    policy,
    releasePrevious(policy, 2, (bucket) => bucket % 2 === 0, markNow(policy)),
  );
  run(policy);
  assert.ok(wordsOf(policy).every((word, bucket) => previousOf(word) !== 2 || bucket % 2 === 0));
  assert.ok(wordsOf(policy).every((word, bucket) => ownerOf(word) !== 1 || bucket % 2 === 0));
  settleAll(
    policy,
    releasePrevious(policy, 2, () => false, markNow(policy)),
  );
  run(policy);
  assert.equal(bucketsOf(policy, 1), 0);
});

test("a node that has been down for the time-out keeps no bucket waiting any more", () => {
  const policy = policyOf([up(1), up(2), up(3)]);
  claimAll(policy);
  setNodes(policy, [up(1), down(2), up(3)]);
  settleAll(policy, handOver(policy, 2));
  run(policy, NO_LIMITS, 500);
  const moved = policy.plan.previous[2]!;
  assert.ok(moved > SIZE / 4);
  setNodes(policy, [up(1), up(2), up(3)]);
  run(policy, ONLY_IDLE, 590);
  setNodes(policy, [up(1), down(2), up(3)]);
  settleAll(policy, handOver(policy, 2));
  for (const now_units of [595, 694]) run(policy, ONLY_IDLE, now_units);
  assert.ok(policy.plan.previous[2]! > 0, "it was back meanwhile");
  assert.equal(propose(policy, 695, { ...ONLY_IDLE, most: 7 }).length, 7);
  run(policy, NO_LIMITS, 695);
  assert.equal(policy.plan.previous[2], 7, "but for those that were never settled");
});

test("what a node found out before a bucket left it does not release that bucket", () => {
  const policy = policyOf([up(1), up(2), up(3)]);
  claimAll(policy);
  const early = markNow(policy);
  change(policy, [up(1), leaving(2), up(3)]);
  assert.deepEqual(
    releasePrevious(policy, 2, () => false, early),
    [],
  );
  const released = releasePrevious(policy, 2, () => false, markNow(policy));
  assert.equal(released.length, policy.plan.previous[2]);
  settleAll(policy, released);
  assert.equal(withPrevious(policy), 0);
});

test("a new node gets its share of busy buckets as fast as the budget allows, and of idle ones at once", () => {
  const policy = policyOf([up(1), up(2), up(3)], { size: 4096 });
  claimAll(policy, 50);
  setNodes(policy, [up(1), up(2), up(3), up(4)]);
  const perSecond = 4096 / 60;
  const busy: Limits = { timeout_units: 100, fillBudget: Math.ceil(perSecond), most: 500 };
  for (let second = 1; second <= 16; second++) {
    settleAll(policy, propose(policy, 60, busy));
    const [had, allowed] = [bucketsOf(policy, 4), Math.min(1024, Math.ceil(perSecond) * second)];
    assert.ok(had <= allowed && had >= allowed * 0.9, `${had} of ${allowed} after ${second} s`);
  }
  assert.ok(bucketsOf(policy, 4) > 1024 * 0.9);
  assert.ok(wordsOf(policy).every((word) => ownerOf(word) !== 4 || previousOf(word) !== NOBODY));
  setNodes(policy, [up(1), up(2), up(3), up(4), up(5)]);
  run(policy, { ...ONLY_IDLE, timeout_units: 10 }, 50 + 9);
  assert.equal(bucketsOf(policy, 5), 0, "none is idle yet");
  settleAll(policy, releaseAll(policy));
  run(policy, { ...ONLY_IDLE, timeout_units: 10 }, 50 + 10);
  assert.ok(Math.abs(bucketsOf(policy, 5) - 4096 / 5) <= 1);
  assertInProportion(
    wordsOf(policy),
    ownerOf,
    [1, 2, 3, 4, 5].map((number) => up(number)),
    1,
  );
});
function releaseAll(policy: Policy): Change[] {
  const mark = markNow(policy);
  return [1, 2, 3, 4, 5].flatMap((number) => releasePrevious(policy, number, () => false, mark));
}

test("what can't move now is not searched for again before time has passed, or other nodes are there", () => {
  const policy = policyOf([up(1), up(2)], { size: 4096 });
  claimAll(policy, 50);
  setNodes(policy, [up(1), up(2), up(3)]);
  run(policy, ONLY_IDLE, 60);
  const work = (now_units: number): number => {
    const before = policy.plan.work;
    propose(policy, now_units, ONLY_IDLE);
    return policy.plan.work - before;
  };
  assert.equal(work(60), 0);
  assert.ok(work(61) >= 4096);
  assert.equal(work(61), 0);
  setNodes(policy, [up(1), up(2), up(3), up(4)]);
  assert.ok(work(61) >= 4096);
  settleAll(policy, propose(policy, 61, { ...ONLY_IDLE, fillBudget: 3 }));
  assert.equal(bucketsOf(policy, 3) + bucketsOf(policy, 4), 3, "busy ones can move meanwhile");
});

test("every stretch of the table gives a new node its part, and unassigned buckets go before busy ones", () => {
  const policy = policyOf([up(1), up(2), up(3)], { size: 4096 });
  for (let bucket = 0; bucket < 4096; bucket += 2) settleAll(policy, [claim(policy, bucket)!]);
  change(policy, [up(1), up(2), up(3), up(4)]);
  const held = wordsOf(policy).map((word) =>
    wordOf(ownerOf(word) === NOBODY ? nextOf(word) : ownerOf(word), 0),
  );
  for (const chunk of chunks(held, 256)) assertInProportion(chunk, ownerOf, [up(1), up(2), up(3), up(4)], 2);
  const owned = wordsOf(policy).filter((word) => ownerOf(word) === 4).length;
  assert.ok(owned < 1024 * 0.05, `${owned} busy ones moved`);
});

test("without second chance only idle buckets move to level, and none has a previous node", () => {
  const policy = policyOf([up(1), up(2)], { hasSecondChance: false });
  claimAll(policy, 100);
  assert.equal(change(policy, [up(1), up(2), up(3)]) > 0, true, "nexts");
  assert.equal(bucketsOf(policy, 3), 0);
  for (let bucket = 0; bucket < SIZE / 2; bucket++) policy.plan.table[bucket * 2 + 1] = 150;
  for (let now_units = 200; now_units < 220; now_units++) run(policy, NO_LIMITS, now_units);
  assert.equal(bucketsOf(policy, 3), Math.round(SIZE / 3));
  wordsOf(policy).forEach((word, bucket) => {
    assert.ok(ownerOf(word) !== 3 || bucket >= SIZE / 2, `bucket ${bucket} was busy`);
    assert.equal(previousOf(word), NOBODY);
  });
  // As the program does it when an owner is dead, whatever the table.
  const bucket = wordsOf(policy).findIndex((word) => ownerOf(word) === 1);
  const next = nextOf(readWord(policy.plan.table, bucket));
  setNodes(policy, [down(1), up(2), up(3)]);
  policy.plan.table[bucket * 2] = wordOf(next, next, 1);
  assert.equal(previousOf(wordChanged(policy, bucket)!.word), NOBODY);
  settleAll(policy, handOver(policy, 1));
  assert.ok(wordsOf(policy).every((word) => ownerOf(word) !== 1));
});

test("another next of an unassigned bucket keeps the former one as previous until that has told of no connection", () => {
  const policy = policyOf([up(1), up(2)]);
  const taken = createPolicy(policy.plan.table, { hasSecondChance: true, seed: 7 });
  change(taken, [up(1), up(2), up(3)]);
  const moved = wordsOf(taken).filter((word) => nextOf(word) === 3);
  assert.ok(Math.abs(moved.length - SIZE / 3) <= 1);
  assert.ok(moved.every((word) => [1, 2].includes(previousOf(word))));
  assert.equal(withPrevious(taken), moved.length);
  settleAll(taken, releaseAll(taken));
  assert.equal(withPrevious(taken), 0);
});

test("a bucket that never had an owner has its former next as previous only until it is claimed", () => {
  const policy = policyOf([up(1), up(2)]);
  change(policy, [up(1), up(2), up(3)]);
  const bucket = wordsOf(policy).findIndex((word) => nextOf(word) === 3);
  assert.notEqual(previousOf(readWord(policy.plan.table, bucket)), NOBODY);
  settleAll(policy, [claim(policy, bucket)!]);
  assert.equal(previousOf(readWord(policy.plan.table, bucket)), NOBODY);
});

test("a node without weight gets nothing, is nobody's next, and loses what it has by and by", () => {
  const policy = policyOf([up(1), up(2), up(3)]);
  claimAll(policy);
  setNodes(policy, [up(1), up(2, 0), up(3)]);
  run(policy, ONLY_IDLE);
  assert.ok(bucketsOf(policy, 2) > SIZE / 4, "busy ones stay");
  assert.ok(wordsOf(policy).every((word) => nextOf(word) !== 2));
  run(policy);
  assert.equal(bucketsOf(policy, 2), 0);
});

test("an array of one has no nexts, and they come with the second node", () => {
  const policy = policyOf([up(9)]);
  claimAll(policy);
  assert.ok(wordsOf(policy).every((word) => nextOf(word) === NOBODY));
  change(policy, [up(9), up(3)], ONLY_IDLE);
  assert.ok(wordsOf(policy).every((word) => nextOf(word) === 3));
});

test("with nobody to give them to the buckets stay as they are, and go on with the first node", () => {
  const policy = policyOf([up(1), up(2)]);
  for (let bucket = 0; bucket < SIZE / 2; bucket++) settleAll(policy, [claim(policy, bucket)!]);
  const before = wordsOf(policy);
  assert.equal(change(policy, [leaving(1), leaving(2)]), 0);
  assert.deepEqual(wordsOf(policy), before);
  change(policy, [leaving(1), leaving(2), up(5)]);
  assert.ok(wordsOf(policy).every((word) => (ownerOf(word) === NOBODY ? nextOf(word) : ownerOf(word)) === 5));
});

test("when the kernel has changed a bucket meanwhile its word counts, and the others are told", () => {
  const policy = policyOf([up(1), up(2)]);
  setNodes(policy, [up(1), up(2), up(3)]);
  const changes = propose(policy, 1, NO_LIMITS);
  const overtaken = changes[0]!;
  const owner = nextOf(overtaken.seen);
  swapWord(policy.plan.table, overtaken.bucket, overtaken.seen, wordOf(owner, owner));
  const instead = settle(policy, overtaken)!;
  assert.deepEqual([ownerOf(instead.word), instead.bucket], [owner, overtaken.bucket]);
  assert.equal(settle(policy, overtaken), undefined, "it does nothing any more");
  assert.equal(ownerOf(readWord(policy.plan.table, overtaken.bucket)), owner);
  assert.equal(settle(policy, instead), undefined);
  assert.equal(readWord(policy.plan.table, overtaken.bucket), instead.word);
});

test("a bucket is not proposed again while a change of it is under way", () => {
  const policy = policyOf([up(1), up(2), up(3)]);
  claimAll(policy);
  setNodes(policy, [up(1), leaving(2), up(3)]);
  const first = propose(policy, 1, NO_LIMITS);
  setNodes(policy, [up(1), leaving(2), leaving(3)]);
  const second = propose(policy, 1, NO_LIMITS);
  const bucketsOfFirst = new Set(first.map(({ bucket }) => bucket));
  assert.ok(second.every(({ bucket }) => !bucketsOfFirst.has(bucket)));
  settleAll(policy, [...first, ...second]);
  settleAll(policy, releaseAll(policy));
  run(policy);
  assert.ok(wordsOf(policy).every((word) => ownerOf(word) === 1 && nextOf(word) === NOBODY));
});

test("what was decided because a node was dead is called off when it is back", () => {
  const policy = policyOf([up(1), up(2), up(3)]);
  claimAll(policy);
  change(policy, [leaving(1), up(2), up(3)]);
  const bucket = wordsOf(policy).findIndex((word) => ownerOf(word) === 2 && previousOf(word) === 1);
  change(policy, [leaving(1), up(2), down(3)]);
  setNodes(policy, [leaving(1), down(2), down(3), up(4)]);
  handOver(policy, 2);
  const decided = propose(policy, 1, NO_LIMITS);
  assert.ok(decided.some((change) => change.bucket === bucket && ownerOf(change.word) === 4));
  setNodes(policy, [leaving(1), up(2), up(3), up(4)]);
  settleAll(policy, decided);
  assert.deepEqual(
    [2, 1],
    [ownerOf, previousOf].map((part) => part(readWord(policy.plan.table, bucket))),
  );
});

test("after lost events the whole table is compared, and what was missed is told", () => {
  const policy = policyOf([up(1), up(2), up(3)]);
  for (const bucket of [3, 700]) {
    const next = nextOf(readWord(policy.plan.table, bucket));
    policy.plan.table[bucket * 2] = wordOf(next, next);
  }
  assert.deepEqual(
    takeStock(policy).map(({ bucket }) => bucket),
    [3, 700],
  );
  assert.deepEqual(takeStock(policy), []);
  assert.equal(policy.plan.owned[NOBODY], SIZE - 2);
});

test("a table is taken over as it is: owners stay, and words that can't stay so are put right", () => {
  const table = new Int32Array(SIZE * 2);
  clear(table);
  for (let bucket = 0; bucket < SIZE; bucket++)
    table[bucket * 2] = wordOf(1 + (bucket % 3), 1 + (bucket % 3), 2);
  table[0] = wordOf(200, 201, 202);
  const policy = createPolicy(table, { hasSecondChance: true, seed: 1 });
  change(policy, [up(1), up(2), up(3)], ONLY_IDLE);
  for (let bucket = 1; bucket < SIZE; bucket++) {
    const [owner, next, previous] = partsOf(readWord(table, bucket));
    assert.equal(owner, 1 + (bucket % 3));
    assert.ok(next !== owner && next !== NOBODY);
    assert.equal(previous, owner === 2 ? NOBODY : 2);
  }
  assert.ok([1, 2, 3].includes(ownerOf(readWord(table, 0))));
});

test("a level array rests, also while its weights change a little", () => {
  const policy = policyOf([up(1), up(2), up(3)]);
  claimAll(policy);
  assert.equal(run(policy), 0);
  for (let i = 0; i < 50; i++) {
    assert.equal(change(policy, [up(1, 1 + (i % 5) / 400), up(2), up(3, 1 - (i % 3) / 400)]), 0);
  }
  for (const surplus of surpluses(policy).values()) assert.ok(Math.abs(surplus) < SIZE / 3 / 50);
});

test("a change of weights moves as many buckets as the shares differ by, and no more", () => {
  const policy = policyOf([up(1), up(2)]);
  claimAll(policy);
  const before = wordsOf(policy);
  change(policy, [up(1, 3), up(2)]);
  const moved = wordsOf(policy).filter((word, bucket) => ownerOf(word) !== ownerOf(before[bucket]!)).length;
  assert.equal(moved, SIZE / 4);
  assert.equal(bucketsOf(policy, 1), (SIZE * 3) / 4);
});

test("more nodes than a table had columns for find their place", () => {
  const policy = policyOf([up(1), up(2)]);
  for (let count = 3; count <= 64; count++) {
    change(
      policy,
      Array.from({ length: count }, (_, i) => up(i * 3 + 1)),
    );
  }
  assertInProportion(
    wordsOf(policy),
    nextOf,
    Array.from({ length: 64 }, (_, i) => up(i * 3 + 1)),
    1,
  );
  assert.equal(sizeOf(policy.plan.table), SIZE);
});

test("a node's failure and return touch its buckets and those whose next it is, not the table", () => {
  const nodes = Array.from({ length: 64 }, (_, i) => up(i));
  const policy = policyOf(nodes, { size: 65_536 });
  claimAll(policy);
  const touched = policy.plan.held[9]! + policy.plan.inherits[9]!;
  const work = (action: () => void): number => {
    const before = policy.plan.work;
    action();
    return policy.plan.work - before;
  };
  const death = work(() => {
    setNodes(policy, nodes.with(9, down(9)));
    settleAll(policy, handOver(policy, 9));
    run(policy);
  });
  assert.ok(death < 5 * touched, `${death} for ${touched}`);
  const back = work(() => change(policy, nodes));
  assert.ok(back < 6 * touched, `${back} for ${touched}`);
  assert.equal(bucketsOf(policy, 9), 1024);
  const leave = work(() => change(policy, nodes.with(9, leaving(9))));
  assert.ok(leave < 5 * touched, `${leave} for ${touched}`);
  assert.equal(
    work(() => run(policy)),
    0,
    "a level array needs no look",
  );
  const event = wordsOf(policy).findIndex((word) => ownerOf(word) === 5);
  assert.ok(work(() => wordChanged(policy, event)) <= 2);
});
