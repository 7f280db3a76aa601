import assert from "node:assert/strict";
import { test } from "node:test";
import * as fc from "fast-check";
import { NOBODY } from "../../conf/limits.ts";
import {
  bucketMoved,
  createPolicy,
  freeIdle,
  handOver,
  nodesChanged,
  type Policy,
  type PolicyNode,
} from "../../scheduler/policy.ts";
import { clear, nextOf, ownerOf, readWord, swapWord, wordOf } from "../../scheduler/table.ts";

const SIZE = 512;
const node = (number: number, weight = 1): PolicyNode => ({ number, weight });
function emptyTable(size = SIZE): Int32Array {
  const table = new Int32Array(size * 2);
  clear(table);
  return table;
}
const buckets = (table: Int32Array): number[] => Array.from({ length: table.length / 2 }, (_, i) => i);

/** What the program does on a packet. */
function hit(policy: Policy, bucket: number, dead: ReadonlySet<number> = new Set(), now = 1): void {
  const word = readWord(policy.table, bucket);
  const owner = ownerOf(word);
  policy.table[bucket * 2 + 1] = now;
  if (owner !== NOBODY && !dead.has(owner)) return;
  if (nextOf(word) === NOBODY || dead.has(nextOf(word))) return;
  swapWord(policy.table, bucket, word, wordOf(nextOf(word), nextOf(word)));
  bucketMoved(policy, bucket);
}
function groupsOf(table: Int32Array): Map<number, number> {
  const groups = new Map<number, number>();
  for (const bucket of buckets(table)) {
    const owner = ownerOf(readWord(table, bucket));
    groups.set(owner, (groups.get(owner) ?? 0) + 1);
  }
  return groups;
}

const arrays = fc.uniqueArray(
  fc.record({ number: fc.integer({ min: 0, max: 254 }), weight: fc.integer({ min: 0, max: 8 }) }),
  { selector: ({ number }) => number, minLength: 1, maxLength: 9 },
);

test("every unassigned bucket has a next among the nodes of some weight, in proportion to the weights", () => {
  fc.assert(
    fc.property(arrays, (nodes) => {
      const table = emptyTable();
      createPolicy(table, nodes);
      const total = nodes.reduce((sum, { weight }) => sum + weight, 0);
      for (const { number, weight } of nodes) {
        const share = buckets(table).filter((bucket) => nextOf(readWord(table, bucket)) === number).length;
        const fair = total === 0 ? 0 : (SIZE * weight) / total;
        assert.ok(Math.abs(share - fair) <= nodes.length, `node ${number}: ${share} of ${fair}`);
      }
    }),
  );
});

test("buckets that are claimed in any order end up in proportion, each with a next that is another node", () => {
  fc.assert(
    fc.property(arrays, fc.infiniteStream(fc.integer({ min: 0, max: SIZE - 1 })), (nodes, order) => {
      const policy = createPolicy(emptyTable(), nodes);
      for (const bucket of order.take(SIZE)) hit(policy, bucket);
      for (const bucket of buckets(policy.table)) hit(policy, bucket);
      const eligible = nodes.filter(({ weight }) => weight > 0);
      const total = eligible.reduce((sum, { weight }) => sum + weight, 0);
      for (const { number, weight } of eligible) {
        const owned = groupsOf(policy.table).get(number) ?? 0;
        assert.ok(Math.abs(owned - (SIZE * weight) / total) <= nodes.length);
      }
      for (const bucket of buckets(policy.table)) {
        const word = readWord(policy.table, bucket);
        assert.equal(nextOf(word) === NOBODY, eligible.length < 2);
        if (eligible.length > 0) assert.notEqual(ownerOf(word), nextOf(word));
      }
    }),
    { numRuns: 50 },
  );
});

test("the counts are those of the table, whatever happened", () => {
  const step = fc.oneof(
    fc.record({ kind: fc.constant("hit" as const), bucket: fc.integer({ min: 0, max: 63 }) }),
    fc.record({ kind: fc.constant("nodes" as const), nodes: arrays }),
    fc.record({ kind: fc.constant("fail" as const), index: fc.nat(8) }),
    fc.record({ kind: fc.constant("idle" as const) }),
    fc.record({ kind: fc.constant("unseen" as const), bucket: fc.integer({ min: 0, max: 63 }) }),
  );
  fc.assert(
    fc.property(arrays, fc.array(step, { maxLength: 60 }), (nodes, steps) => {
      const policy = createPolicy(emptyTable(64), nodes);
      for (const action of steps) {
        if (action.kind === "hit") hit(policy, action.bucket);
        else if (action.kind === "nodes") nodesChanged(policy, action.nodes);
        else if (action.kind === "fail") handOver(policy, nodes[action.index]?.number ?? 0);
        else if (action.kind === "idle") freeIdle(policy, 100, 1);
        else {
          // An event that got lost: the owner changed and nobody told.
          const word = readWord(policy.table, action.bucket);
          swapWord(policy.table, action.bucket, word, wordOf(nextOf(word), nextOf(word)));
        }
      }
      nodesChanged(policy, policy.nodes);
      const groups = groupsOf(policy.table);
      for (let number = 0; number < 256; number++) {
        assert.equal(policy.groups[number], groups.get(number) ?? 0, `node ${number}`);
      }
    }),
  );
});

test("a failed node's buckets go to their nexts, evenly over all others", () => {
  const nodes = [node(1), node(2), node(3), node(4)];
  const policy = createPolicy(emptyTable(), nodes);
  for (const bucket of buckets(policy.table)) hit(policy, bucket);
  const heirs = buckets(policy.table).map((bucket) => nextOf(readWord(policy.table, bucket)));
  const before = buckets(policy.table).map((bucket) => ownerOf(readWord(policy.table, bucket)));
  nodesChanged(policy, [node(1), node(2, 0), node(3), node(4)]);
  assert.equal(handOver(policy, 2), SIZE / 4);
  buckets(policy.table).forEach((bucket, i) => {
    const owner = ownerOf(readWord(policy.table, bucket));
    assert.equal(owner, before[i] === 2 ? heirs[i] : before[i]);
  });
  const groups = groupsOf(policy.table);
  for (const number of [1, 3, 4]) assert.ok(Math.abs((groups.get(number) ?? 0) - SIZE / 3) <= 3);
});

test("a new node gets its share of unassigned buckets at once, and of assigned ones only as they idle", () => {
  const policy = createPolicy(emptyTable(), [node(1), node(2)]);
  for (let bucket = 0; bucket < SIZE / 2; bucket++) hit(policy, bucket, new Set(), 100);
  nodesChanged(policy, [node(1), node(2), node(3)]);
  assert.equal(groupsOf(policy.table).get(3), undefined);
  for (let bucket = SIZE / 2; bucket < SIZE; bucket++) hit(policy, bucket, new Set(), 100);
  assert.ok(Math.abs((groupsOf(policy.table).get(3) ?? 0) - SIZE / 3) <= 3);
  const third = createPolicy(policy.table, [node(1), node(2), node(3), node(4)]);
  assert.equal(freeIdle(third, 109, 10), 0, "none is idle for ten units yet");
  const freed = freeIdle(third, 110, 10);
  assert.ok(Math.abs(freed - SIZE / 4) <= 4, `${freed} freed for the new node`);
  for (const bucket of buckets(policy.table)) {
    const word = readWord(policy.table, bucket);
    if (ownerOf(word) === NOBODY) assert.equal(nextOf(word), 4);
  }
});

test("an idle bucket stays where it is when the load is level", () => {
  const policy = createPolicy(emptyTable(), [node(1), node(2), node(3)]);
  for (const bucket of buckets(policy.table)) hit(policy, bucket);
  assert.equal(freeIdle(policy, 1000, 10), 0);
});

test("idle buckets of a node that gets no more buckets leave it", () => {
  const policy = createPolicy(emptyTable(), [node(1), node(2)]);
  for (const bucket of buckets(policy.table)) hit(policy, bucket);
  nodesChanged(policy, [node(1), node(2, 0)]);
  assert.equal(freeIdle(policy, 1000, 10), SIZE / 2);
  for (const bucket of buckets(policy.table)) hit(policy, bucket);
  assert.equal(groupsOf(policy.table).get(1), SIZE);
});

test("with no node left every bucket's next is nobody, and they come back with the first node", () => {
  const policy = createPolicy(emptyTable(), [node(1)]);
  nodesChanged(policy, []);
  assert.ok(buckets(policy.table).every((bucket) => nextOf(readWord(policy.table, bucket)) === NOBODY));
  nodesChanged(policy, [node(9)]);
  assert.ok(buckets(policy.table).every((bucket) => nextOf(readWord(policy.table, bucket)) === 9));
});

test("an event changes one bucket's words only", () => {
  const policy = createPolicy(emptyTable(), [node(1), node(2), node(3)]);
  const before = policy.table.slice();
  hit(policy, 17);
  const changed = buckets(policy.table).filter((bucket) => policy.table[bucket * 2] !== before[bucket * 2]);
  assert.deepEqual(changed, [17]);
});
