import assert from "node:assert/strict";
import { test } from "node:test";
import type { Condition, Limits } from "../../../scheduler/policy/policy.ts";
import {
  askAll,
  checkCounts,
  checkWords,
  connect,
  createWorld,
  finish,
  pick,
  send,
  setNode,
  takeOver,
  tick,
  type World,
} from "./policy-world.ts";

const RUNS = 60;
const TICKS = 300;
const QUIET_TICKS = 150;
/** A second node that dies within this time may take connections with it that the first one's death had moved. */
const BETWEEN_DEATHS = 5;

/** Runs with every seed, and names the one that fails. */
function withSeeds(run: (seed: number) => void): void {
  for (let seed = 1; seed <= RUNS; seed++) {
    try {
      run(seed);
    } catch (cause) {
      const text = cause instanceof Error ? cause.message : String(cause);
      throw new Error(`seed ${seed}: ${text}`, { cause });
    }
  }
}

const numbersOf = (world: World, ...conditions: Condition[]): number[] =>
  [...world.nodes.values()]
    .filter(({ condition }) => conditions.includes(condition))
    .map(({ number }) => number);

const limitsOf = (world: World): Limits => ({
  timeout_units: 40,
  fillBudget: Math.ceil(world.size / 60),
  most: 1 + Math.floor(world.random() * world.size),
});

/** Every eighth bucket is never idle; of the others each is used now and then. */
function traffic(world: World): void {
  for (let i = 0; i < world.size / 16; i++) {
    const bucket = Math.floor(world.random() * world.size);
    connect(world, bucket, bucket % 8 === 0 ? 60 : 1 + Math.floor(world.random() * 20));
  }
  for (const connection of world.connections) if (world.random() < 0.5) send(world, connection);
}

function join(world: World): void {
  if (world.nodes.size < 16)
    setNode(world, world.nodes.size * 3 + 1, "up", 1 + Math.floor(world.random() * 4));
}
function comeBack(world: World): void {
  for (const number of numbersOf(world, "leaving", "down")) {
    if (world.random() < 0.7) setNode(world, number, "up");
  }
}
function leave(world: World, node: number): void {
  if (numbersOf(world, "up").length > 2) setNode(world, node, "leaving");
}
/** Not below one in ten have no weight afterwards. */
function weigh(world: World, node: number): void {
  setNode(world, node, "up", world.random() < 0.1 ? 0 : 0.5 + world.random() * 3);
}
function die(world: World, node: number): void {
  if (!mayDie(world) || node === world.scheduler) return;
  setNode(world, node, "down");
  world.lastDeath = world.now;
}
function replaceScheduler(world: World, node: number): void {
  if (!mayDie(world) || node === world.scheduler) return;
  const isOldDead = world.random() < 0.7;
  takeOver(world, node, isOldDead);
  if (isOldDead) world.lastDeath = world.now;
}
const mayDie = (world: World): boolean =>
  numbersOf(world, "up").length > 2 && world.now - world.lastDeath > BETWEEN_DEATHS;

type Disturbance = (world: World, node: number) => void;

/** Traffic, and now and then one of the disturbances to some node that is up. */
function live(world: World, disturbances: readonly Disturbance[]): void {
  for (let i = 0; i < TICKS; i++) {
    traffic(world);
    const node = pick(world, numbersOf(world, "up"));
    if (world.random() < 0.12 && node !== undefined) pick(world, disturbances)!(world, node);
    tick(world, limitsOf(world));
    if (i % 7 === 0) askAll(world);
    if (i % 50 === 0) checkCounts(world);
  }
}

/** Nothing happens any more but traffic. Returns how many changes were proposed in the last third. */
function calmDown(world: World): number {
  let late = 0;
  for (let i = 0; i < QUIET_TICKS; i++) {
    traffic(world);
    const proposed = tick(world, limitsOf(world));
    if (i > (QUIET_TICKS * 2) / 3) late += proposed;
    if (i % 7 === 0) askAll(world);
  }
  finish(world);
  return late;
}

function checkLevel(world: World, deviation: number): void {
  const up = [...world.nodes.values()].filter(({ condition }) => condition === "up");
  const total = up.reduce((sum, { weight }) => sum + weight, 0);
  if (total === 0) return;
  for (const { number, weight } of up) {
    const [held, fair] = [world.policy.plan.held[number]!, (world.size * weight) / total];
    const text = `node ${number} has ${held} of ${fair}`;
    assert.ok(Math.abs(held - fair) <= Math.max(1, fair * deviation), text);
  }
}

function worldOf(seed: number, hasSecondChance: boolean): World {
  const world = createWorld(256 << (seed % 3), seed, hasSecondChance);
  for (let number = 1; number <= 2 + (seed % 7); number++) setNode(world, number, "up", 1 + (number % 3));
  return world;
}

test("no connection to a living node is lost, whatever happens to the others, and the array levels and rests", () => {
  withSeeds((seed) => {
    const world = worldOf(seed, true);
    live(world, [join, comeBack, leave, weigh, die, replaceScheduler]);
    assert.equal(world.lost, 0, "frames went astray");
    const late = calmDown(world);
    assert.equal(world.lost, 0, "frames went astray");
    assert.equal(late, 0, "changes of a level array");
    checkCounts(world);
    checkWords(world);
    checkLevel(world, 1 / 50);
  });
});

test("without second chance no connection to a host that stays up is lost either: only idle buckets move", () => {
  withSeeds((seed) => {
    const world = worldOf(seed, false);
    live(world, [join, comeBack, weigh, die]);
    assert.equal(world.lost, 0, "frames went astray");
    calmDown(world);
    assert.equal(world.lost, 0, "frames went astray");
    checkCounts(world);
    checkWords(world);
  });
});
