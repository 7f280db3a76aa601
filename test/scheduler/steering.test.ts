/**
 * The steering of a scheduler with the nodes that follow it, on a kernel and a network made of nothing: whatever comes
 * when, each living node is prepared for what the scheduler's kernel may do next.
 */
import assert from "node:assert/strict";
import { test } from "node:test";
import { NOBODY } from "../../conf/limits.ts";
import {
  acknowledged,
  createFeed,
  due,
  ready,
  setLiving,
  welcome,
  type Feed,
} from "../../scheduler/feed/feed.ts";
import { createFollow, hello, take, type Follow } from "../../scheduler/feed/follow.ts";
import { bucketsOf, createPolicy, type Condition } from "../../scheduler/policy/policy.ts";
import {
  bucketsWithPrevious,
  createSteering,
  eventsLost,
  kernelMoved,
  makeMark,
  nodesTable,
  release,
  settleReady,
  steerNodes,
  turn,
  type Steering,
  type Told,
} from "../../scheduler/steering.ts";
import { clear, nextOf, ownerOf, previousOf, readWord, swapWord, wordOf } from "../../scheduler/table.ts";
import { randomFrom, type Random } from "./model-frames.ts";

const SIZE = 256;
const NUMBERS = [1, 2, 3, 4];
const SECOND_NS = 1_000_000_000n;

interface World {
  readonly random: Random;
  readonly table: Int32Array;
  readonly steering: Steering;
  readonly follows: Map<number, Follow>;
  readonly connected: Set<number>;
  readonly conditions: Map<number, Condition>;
  now_ns: bigint;
}

function newFeed(words: Int32Array, epoch: number): Feed<Told> {
  return createFeed<Told>({
    number: 1,
    epoch,
    history: `${epoch}`.padStart(32, "0"),
    groups: [{ name: "", words }],
  });
}

function worldOf(seed: number, fill_s = 1): World {
  const table = new Int32Array(SIZE * 2);
  clear(table);
  const policy = createPolicy(table, { hasSecondChance: true, seed });
  const tables = [{ name: "", base: 0, policy }];
  const settings = { timeout_units: 1_000_000, fill_s };
  const steering = createSteering(tables, newFeed(policy.plan.words, 1), settings);
  const world: World = {
    random: randomFrom(seed),
    table,
    steering,
    follows: new Map(NUMBERS.slice(1).map((number) => [number, followOf(number)])),
    connected: new Set(),
    conditions: new Map(NUMBERS.map((number) => [number, "up"])),
    now_ns: SECOND_NS,
  };
  for (const number of world.follows.keys()) connect(world, number);
  setConditions(world, []);
  return world;
}

function followOf(number: number): Follow {
  const table = new Int32Array(SIZE * 2);
  clear(table);
  return createFollow({ number, groups: [{ name: "", table }] });
}

function connect(world: World, number: number): void {
  const follow = world.follows.get(number)!;
  const { kind } = welcome(world.steering.feed, hello(follow), 0);
  assert.ok(kind === "full" || kind === "continue", kind);
  world.connected.add(number);
}

/** Conditions as they are now; living are those that are up or leaving. */
function setConditions(world: World, dead: readonly number[]): void {
  const living = NUMBERS.filter((number) => world.conditions.get(number) !== "down");
  setLiving(world.steering.feed, new Set(living));
  const nodes = NUMBERS.map((number) => ({ number, weight: 1, condition: world.conditions.get(number)! }));
  steerNodes(world.steering, "", nodes, dead);
}

/** A message on its way to a follower, and its acknowledgement, if there is one. */
function deliver(world: World, number: number): boolean {
  const { feed } = world.steering;
  const message = world.connected.has(number) ? due(feed, number) : undefined;
  if (message === undefined) return false;
  const follow = world.follows.get(number)!;
  const { reply } = take(follow, message);
  if (reply === "acknowledge") assert.ok(acknowledged(feed, number, follow.position.version));
  return true;
}

function settleAll(world: World): void {
  for (let i = 0; i < 100; i++) {
    world.now_ns += SECOND_NS / 100n;
    turn(world.steering, world.now_ns);
    for (const number of world.follows.keys()) while (deliver(world, number));
    settleReady(world.steering, ready(world.steering.feed));
  }
}

const isUp = (world: World, number: number): boolean =>
  number !== NOBODY && world.conditions.get(number) !== "down";

/** A packet: what the program does with its bucket. Returns who got it. */
function packet(world: World, bucket: number): number {
  const word = readWord(world.table, bucket);
  if (isUp(world, ownerOf(word))) return ownerOf(word);
  const next = nextOf(word);
  if (!isUp(world, next)) return NOBODY;
  const former = previousOf(word) === NOBODY ? ownerOf(word) : previousOf(word);
  swapWord(world.table, bucket, word, wordOf(next, next, former === next ? NOBODY : former));
  if (world.random(4) > 0) kernelMoved(world.steering, bucket);
  else eventsLost(world.steering);
  return next;
}

/** Whether a node's own table would bring a packet to `target`: as owner, as next, or by second chance. */
function leadsTo(follow: Follow, bucket: number, target: number): boolean {
  const word = readWord(follow.groups.get("")!.table, bucket);
  return [ownerOf(word), nextOf(word), previousOf(word)].includes(target);
}

/** Every living node in step is prepared for what the scheduler's kernel does with the next packet of any bucket. */
function checkPrepared(world: World, seed: number): void {
  for (const [number, follow] of world.follows) {
    if (!follow.isWhole || world.conditions.get(number) === "down") continue;
    for (let bucket = 0; bucket < SIZE; bucket++) {
      const word = readWord(world.table, bucket);
      const taker = isUp(world, ownerOf(word)) ? ownerOf(word) : nextOf(word);
      if (!isUp(world, taker)) continue;
      assert.ok(leadsTo(follow, bucket, taker), `seed ${seed}: node ${number}, bucket ${bucket} to ${taker}`);
    }
  }
}

test("a next is used only when every living node has it, in whatever order things happen", () => {
  for (let seed = 1; seed <= 60; seed++) {
    const world = worldOf(seed);
    for (let step = 0; step < 400; step++) {
      const what = world.random(10);
      if (what < 5) deliver(world, 2 + world.random(3));
      else if (what < 7) packet(world, world.random(SIZE));
      else if (what === 7) settleReady(world.steering, ready(world.steering.feed));
      else {
        // The network is slow, but not so slow that what is urgent goes on without it (see below).
        const isLate = world.steering.urgent.some(({ at_ns }) => world.now_ns - at_ns > SECOND_NS / 20n);
        for (const number of isLate ? world.follows.keys() : []) while (deliver(world, number));
        world.now_ns += SECOND_NS / 50n;
        turn(world.steering, world.now_ns);
      }
      if (step % 97 === 96) changeCondition(world);
      checkPrepared(world, seed);
    }
    for (const number of world.follows.keys()) world.conditions.set(number, "up");
    setConditions(world, []);
    settleAll(world);
    checkEqual(world, seed);
  }
});

test("buckets that nobody living would get wait a tenth of a second for a node that does not acknowledge", () => {
  const world = worldOf(5);
  settleAll(world);
  world.connected.delete(3);
  world.conditions.set(2, "down");
  setConditions(world, [2]);
  const lost = (): number =>
    Array.from({ length: SIZE }, (_, bucket) => nextOf(readWord(world.table, bucket))).filter(
      (next) => next === 2,
    ).length;
  const before = lost();
  assert.ok(before >= SIZE / 4 - 1);
  const went_ns: bigint[] = [];
  const start_ns = world.now_ns;
  for (let i = 0; i < 20; i++) {
    world.now_ns += SECOND_NS / 100n;
    turn(world.steering, world.now_ns);
    if (lost() === 0) went_ns.push(world.now_ns - start_ns);
    else assert.equal(lost(), before);
  }
  assert.equal(went_ns[0], (SECOND_NS * 11n) / 100n, "from the turn after the one that planned them");
});

/** A node that is not the scheduler drains, dies or is back. */
function changeCondition(world: World): void {
  const number = 2 + world.random(3);
  const condition = (["up", "leaving", "down"] as const)[world.random(3)]!;
  // Who comes back is up when it has been told what it has missed.
  if (condition !== "down" && world.conditions.get(number) === "down") while (deliver(world, number));
  const isDead = condition === "down" && world.conditions.get(number) !== "down";
  world.conditions.set(number, condition);
  setConditions(world, isDead ? [number] : []);
}

function checkEqual({ table, follows }: World, seed: number): void {
  for (const [number, follow] of follows) {
    const theirs = follow.groups.get("")!.table;
    for (let bucket = 0; bucket < SIZE; bucket++) {
      assert.equal(
        readWord(theirs, bucket),
        readWord(table, bucket),
        `seed ${seed}: node ${number}, bucket ${bucket}`,
      );
    }
  }
}

test("while a living node is away, nothing moves; without it in the living set, all goes on", () => {
  const world = worldOf(7);
  settleAll(world);
  for (let bucket = 0; bucket < SIZE; bucket++) packet(world, bucket);
  settleAll(world);
  world.connected.delete(3);
  world.conditions.set(2, "leaving");
  setConditions(world, []);
  settleAll(world);
  const { policy } = nodesTable(world.steering);
  assert.ok(policy.plan.owned[2]! > 50, "node 3 has not heard of it");
  world.conditions.set(3, "down");
  setConditions(world, []);
  settleAll(world);
  assert.equal(policy.plan.owned[2], 0);
});

test("a previous node is forgotten when it told, after the move, that it has no connection of the bucket", () => {
  const world = worldOf(9);
  settleAll(world);
  for (let bucket = 0; bucket < SIZE; bucket++) packet(world, bucket);
  settleAll(world);
  world.conditions.set(2, "leaving");
  setConditions(world, []);
  const early = makeMark(world.steering);
  settleAll(world);
  const moved = bucketsWithPrevious(world.steering);
  assert.ok(moved >= SIZE / 4);
  release(world.steering, 2, early, () => false);
  settleAll(world);
  assert.equal(bucketsWithPrevious(world.steering), moved, "what it told was older than the moves");
  const late = makeMark(world.steering);
  const held = new Set<number>();
  for (let bucket = 0; bucket < SIZE; bucket++) {
    if (previousOf(readWord(world.table, bucket)) === 2 && held.size < 5) held.add(bucket);
  }
  release(world.steering, 2, late - 1, (bucket) => held.has(bucket));
  settleAll(world);
  assert.equal(bucketsWithPrevious(world.steering), moved, "its table was of a version before the mark");
  release(world.steering, 2, late, (bucket) => held.has(bucket));
  settleAll(world);
  assert.equal(bucketsWithPrevious(world.steering), held.size);
  assert.equal(bucketsOf(nodesTable(world.steering).policy, 2), 0);
});

test("busy buckets fill a new node evenly over the time that is set for it", () => {
  const world = worldOf(11, 10);
  world.conditions.set(4, "down");
  setConditions(world, []);
  settleAll(world);
  for (let bucket = 0; bucket < SIZE; bucket++) packet(world, bucket);
  settleAll(world);
  world.conditions.set(4, "up");
  setConditions(world, []);
  const owned = (): number => nodesTable(world.steering).policy.plan.owned[4]!;
  settleAll(world);
  const first = owned();
  assert.ok(first > 10 && first < 50, `${first} buckets after one of ten seconds`);
  for (let second = 0; second < 4; second++) settleAll(world);
  assert.ok(Math.abs(owned() - SIZE / 4) <= (SIZE / 4) * 0.1, `${owned()} of ${SIZE / 4}`);
});
