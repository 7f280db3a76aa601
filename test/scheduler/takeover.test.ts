/** From following to scheduling and back, on tables in plain memory. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { epochOf } from "../../conf/epoch.ts";
import { NOBODY } from "../../conf/limits.ts";
import type { TableArea } from "../../scheduler/arrangement.ts";
import {
  acknowledged,
  due,
  positionOf,
  record,
  recordFlags,
  tellMerged,
  welcome,
} from "../../scheduler/feed/feed.ts";
import {
  baseOf,
  createFollow,
  endKeeping,
  flagsOf,
  hello,
  isFollowing,
  take,
  type Follow,
} from "../../scheduler/feed/follow.ts";
import { kernelMoved, nodesTable, type Steering } from "../../scheduler/steering.ts";
import { clear, lastAccess, readWord, swapWord, wordOf } from "../../scheduler/table.ts";
import { giveUp, renewAccesses, takeOver } from "../../scheduler/takeover.ts";

const SIZE = 256;

interface TestNode {
  readonly number: number;
  readonly areas: readonly TableArea[];
  follow: Follow;
}

function nodeOf(number: number): TestNode {
  const memory = new Int32Array((SIZE + 16) * 2);
  const area = (name: string, group: number, base: number, size: number): TableArea => {
    const table = memory.subarray(base * 2, (base + size) * 2);
    clear(table);
    return { name, group, base, size, table };
  };
  const areas = [area("", 0, 0, SIZE), area("dns", 1, SIZE, 16)];
  return { number, areas, follow: createFollow({ number, groups: areas }) };
}

let histories = 0;
function schedule({ number, areas, follow }: TestNode, epoch: number, toldVersion = 0): Steering {
  const history = `${++histories}`.padStart(32, "0");
  const settings = { timeout_units: 9, fill_s: 0 };
  endKeeping(follow);
  return takeOver({ number, epoch, history, areas, follow, toldVersion, seed: 1, settings });
}

/** A node follows all there is to be told; returns how it began. */
function followAll(node: TestNode, steering: Steering): string {
  const kind = follow(node, steering);
  takeIntoUse(node, steering);
  return kind;
}

function follow(node: TestNode, steering: Steering): string {
  const { kind } = welcome(steering.feed, hello(node.follow), 0);
  followOn(node, steering);
  return kind;
}

/** The scheduler knows of its connections. */
function takeIntoUse(node: TestNode, steering: Steering): void {
  for (let telling = 0; telling < 2; telling++) {
    tellMerged(steering.feed, node.number);
    followOn(node, steering);
  }
  assert.ok(isFollowing(node.follow));
}

function followOn(node: TestNode, { feed }: Steering): void {
  for (let message = due(feed, node.number); message !== undefined; message = due(feed, node.number)) {
    if (take(node.follow, message).reply === "acknowledge")
      assert.ok(acknowledged(feed, node.number, node.follow.position.version));
  }
}

const tableOf = ({ areas }: TestNode): number[] =>
  areas.flatMap(({ table, size }) => Array.from({ length: size }, (_, bucket) => readWord(table, bucket)));

/** Three nodes, the first of which schedules, with some words and flags. */
function arrayOf(): { nodes: readonly [TestNode, TestNode, TestNode]; first: Steering } {
  const nodes = [nodeOf(1), nodeOf(2), nodeOf(3)] as const;
  for (const { areas } of nodes.slice(0, 1)) {
    for (let bucket = 0; bucket < SIZE; bucket++) {
      swapWord(
        areas[0]!.table,
        bucket,
        wordOf(NOBODY, NOBODY),
        wordOf(1 + (bucket % 3), 1 + ((bucket + 1) % 3)),
      );
    }
  }
  const first = schedule(nodes[0], epochOf(1, 1));
  recordFlags(
    first.feed,
    "",
    new Map([
      [1, 5],
      [2, 5],
      [3, 4],
    ]),
  );
  record(first.feed, "dns", [{ bucket: 3, word: wordOf(NOBODY, 2) }]);
  for (const node of nodes.slice(1)) assert.equal(followAll(node, first), "full");
  return { nodes, first };
}

test("who followed as far as the next scheduler goes on without a copy, with its flags", () => {
  const { nodes, first } = arrayOf();
  const [, second, third] = nodes;
  const next = schedule(second, epochOf(2, 2));
  assert.deepEqual(next.feed.base, positionOf(first.feed));
  const { version } = next.feed;
  assert.equal(version, first.feed.version + 1, "a mark");
  assert.equal(followAll(third, next), "continue");
  assert.equal(flagsOf(third.follow, "")?.[3], 4);
  recordFlags(
    next.feed,
    "",
    new Map([
      [1, 0],
      [2, 5],
      [3, 4],
    ]),
  );
  assert.equal(next.feed.version, version + 1, "only what is news is told");
  followAll(third, next);
  assert.deepEqual(Array.from(flagsOf(third.follow, "")!.subarray(1, 4)), [0, 5, 4]);
});

test("what the next scheduler's program did by itself is told to all", () => {
  const { nodes, first } = arrayOf();
  const [, second, third] = nodes;
  const { table } = second.areas[0]!;
  swapWord(table, 9, readWord(table, 9), wordOf(2, 2, 1));
  const next = schedule(second, epochOf(2, 2));
  assert.equal(next.feed.version, first.feed.version + 2, "the word, and a mark");
  assert.equal(followAll(third, next), "continue");
  assert.equal(readWord(third.areas[0]!.table, 9), wordOf(2, 2, 1));
  assert.deepEqual(tableOf(third), tableOf(second));
});

test("a node that has less than the next scheduler gets a copy", () => {
  const { nodes, first } = arrayOf();
  const [, second, third] = nodes;
  record(first.feed, "", [{ bucket: 1, word: wordOf(3, 1) }]);
  followAll(second, first);
  assert.equal(followAll(third, schedule(second, epochOf(2, 2))), "full");
  assert.deepEqual(tableOf(third), tableOf(second));
});

test("a scheduler that gives up after all have had all needs no copy of its successor's table", () => {
  const { nodes, first } = arrayOf();
  const [one, second] = nodes;
  one.follow = giveUp(first);
  const next = schedule(second, epochOf(2, 2));
  assert.deepEqual(baseOf(one.follow), next.feed.base);
  const before = tableOf(one);
  assert.equal(followAll(one, next), "continue");
  assert.deepEqual(tableOf(one), before);
  assert.equal(one.follow.keeps, undefined);
});

test("who gives up keeps its table in use until the other side knows of its connections", () => {
  const { nodes, first } = arrayOf();
  const [one, second] = nodes;
  const { table } = one.areas[0]!;
  const before = readWord(table, 7);
  // A proposal that not everybody has, and a bucket that the program has given away unnoticed.
  record(first.feed, "", [{ bucket: 7, word: wordOf(3, 1, 2) }]);
  swapWord(table, 8, readWord(table, 8), wordOf(1, 1, 3));
  one.follow = giveUp(first);
  assert.deepEqual([readWord(table, 7), readWord(table, 8)], [before, wordOf(1, 1, 3)], "it is still in use");
  assert.equal(flagsOf(one.follow, "")?.[2], 5);
  const winner = schedule(second, epochOf(2, 2));
  assert.equal(follow(one, winner), "full");
  assert.deepEqual([readWord(table, 7), readWord(table, 8)], [before, wordOf(1, 1, 3)]);
  takeIntoUse(one, winner);
  assert.deepEqual(tableOf(one), tableOf(second));
});

test("a node that schedules again in a later epoch goes on from its own table", () => {
  const { nodes, first } = arrayOf();
  const [one, second] = nodes;
  one.follow = giveUp(first);
  const again = schedule(one, epochOf(2, 1));
  assert.deepEqual(again.feed.base, positionOf(first.feed));
  assert.equal(followAll(second, again), "continue");
});

test("a process that is started again in its epoch tells of later versions, and its followers accept it", () => {
  const { nodes, first } = arrayOf();
  const [one, second] = nodes;
  const { version } = first.feed;
  one.follow = createFollow({ number: 1, groups: one.areas });
  const again = schedule(one, epochOf(1, 1), version);
  assert.equal(again.feed.base, undefined);
  assert.ok(again.feed.version >= version + 2 ** 20);
  assert.equal(followAll(second, again), "full");
  assert.equal(second.follow.position.epoch, epochOf(1, 1));
});

test("only buckets that somebody owns count as used just now", () => {
  const { areas } = nodeOf(1);
  const { table } = areas[0]!;
  swapWord(table, 4, wordOf(NOBODY, NOBODY), wordOf(2, 3));
  swapWord(areas[1]!.table, 5, wordOf(NOBODY, NOBODY), wordOf(7, NOBODY));
  renewAccesses(areas, 1234);
  assert.deepEqual(
    [3, 4, 5].map((bucket) => lastAccess(table, bucket)),
    [0, 1234, 0],
  );
  assert.equal(lastAccess(areas[1]!.table, 5), 1234);
});

test("events that were under way at the takeover change nothing", () => {
  const { nodes } = arrayOf();
  const [, second] = nodes;
  const { table } = second.areas[0]!;
  swapWord(table, 9, readWord(table, 9), wordOf(2, 2, 1));
  const next = schedule(second, epochOf(2, 2));
  const { version } = next.feed;
  kernelMoved(next, 9);
  assert.equal(next.feed.version, version);
  assert.equal(nodesTable(next).policy.plan.known[9], wordOf(2, 2, 1));
});
