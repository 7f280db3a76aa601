/**
 * An array as far as a policy sees it: the scheduler's kernel, which claims and follows by itself; the other nodes,
 * which have every change before it is settled; connections, each of which lives on the node that got its first
 * packet; nodes that join, leave, die and come back; schedulers that die. One tick is one unit of last access.
 */
import assert from "node:assert/strict";
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
  takeStock,
  wordChanged,
  type Change,
  type Condition,
  type Limits,
  type Policy,
} from "../../../scheduler/policy/policy.ts";
import { clear, nextOf, ownerOf, previousOf, readWord, swapWord, wordOf } from "../../../scheduler/table.ts";

interface WorldNode {
  readonly number: number;
  weight: number;
  condition: Condition;
}
interface Connection {
  readonly bucket: number;
  readonly node: number;
  until: number;
}
export interface World {
  readonly size: number;
  readonly hasSecondChance: boolean;
  readonly seed: number;
  readonly random: () => number;
  table: Int32Array;
  /** The words that the other nodes have. */
  copy: Int32Array;
  policy: Policy;
  readonly nodes: Map<number, WorldNode>;
  scheduler: number;
  /** Told and not yet acknowledged, in order; the others have the first `arrived` of them. */
  told: Change[];
  arrived: number;
  /** What nodes have found out about their connections, on its way to the scheduler. */
  reports: {
    readonly number: number;
    readonly held: ReadonlySet<number>;
    readonly mark: number;
    readonly at: number;
  }[];
  /** Buckets whose event waits in the ring. */
  events: number[];
  connections: Connection[];
  now: number;
  lastDeath: number;
  /** Frames for connections to living nodes that went astray. */
  lost: number;
}

/** Numbers from 0 up to 1 (xorshift). */
export function randomOf(seed: number): () => number {
  let state = (seed * 0x9e3779b9) | 1;
  return () => {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    return (state >>> 0) / 2 ** 32;
  };
}

export function createWorld(size: number, seed: number, hasSecondChance = true): World {
  const table = new Int32Array(size * 2);
  clear(table);
  return {
    size,
    hasSecondChance,
    seed,
    random: randomOf(seed + 1),
    table,
    copy: new Int32Array(size).fill(wordOf(NOBODY, NOBODY)),
    policy: createPolicy(table, { hasSecondChance, seed }),
    nodes: new Map(),
    scheduler: NOBODY,
    told: [],
    arrived: 0,
    reports: [],
    events: [],
    connections: [],
    now: 1,
    lastDeath: 0,
    lost: 0,
  };
}

export const pick = <T>(world: World, list: readonly T[]): T | undefined =>
  list[Math.floor(world.random() * list.length)];

function tell(world: World, changes: readonly Change[]): void {
  world.told.push(...changes);
}

/** Whether the program sends a node frames of its buckets. */
function isUp(world: World, number: number): boolean {
  const condition = world.nodes.get(number)?.condition ?? "down";
  return condition === "up" || (condition === "leaving" && bucketsOf(world.policy, number) > 0);
}

/** What the program does with a frame of this bucket: the node that gets it, NOBODY when it is dropped. */
export function route(world: World, bucket: number): number {
  const word = readWord(world.table, bucket);
  const [owner, next] = [ownerOf(word), nextOf(word)];
  if (isUp(world, owner) || isUp(world, next)) world.table[bucket * 2 + 1] = world.now;
  if (isUp(world, owner)) return owner;
  if (!isUp(world, next)) return NOBODY;
  const former = previousOf(word) === NOBODY ? owner : previousOf(word);
  swapWord(world.table, bucket, word, wordOf(next, next, former === next ? NOBODY : former));
  world.events.push(bucket);
  return next;
}

/** Where a frame goes for which this node has no socket: to the previous node, else to whom the bucket belongs. */
function handedOnTo(world: World, bucket: number, node: number): number {
  const word = node === world.scheduler ? readWord(world.table, bucket) : world.copy[bucket]!;
  const isLiving = (number: number): boolean => (world.nodes.get(number)?.condition ?? "down") !== "down";
  const others = [previousOf(word), ownerOf(word), nextOf(word)];
  return others.find((number) => number !== node && isLiving(number)) ?? NOBODY;
}

/** A connection's frame. A lost one counts and ends the connection. */
export function send(world: World, connection: Connection): void {
  const node = route(world, connection.bucket);
  if (node === connection.node) return;
  if (world.hasSecondChance && handedOnTo(world, connection.bucket, node) === connection.node) return;
  world.lost++;
  connection.until = 0;
}

/** A new connection; none when its frame is dropped. */
export function connect(world: World, bucket: number, ticks: number): void {
  const node = route(world, bucket);
  if (node !== NOBODY) world.connections.push({ bucket, node, until: world.now + ticks });
}

/** Tells the policy how the nodes are. A dead one's buckets are handed over. */
export function setNode(world: World, number: number, condition: Condition, weight?: number): void {
  const node = world.nodes.get(number) ?? { number, weight: 1, condition };
  node.condition = condition;
  if (weight !== undefined) node.weight = weight;
  world.nodes.set(number, node);
  if (world.scheduler === NOBODY) world.scheduler = number;
  setNodes(world.policy, [...world.nodes.values()]);
  if (condition !== "down") return;
  // Frames may come before user space has noticed.
  for (let i = 0; i < 3; i++) route(world, Math.floor(world.random() * world.size));
  world.connections = world.connections.filter(({ node }) => node !== number);
  tell(world, handOver(world.policy, number));
}

/** The kernel's own changes reach the policy, one way or the other. */
function takeEvents(world: World): void {
  const areLost = world.random() < 0.05;
  if (areLost) tell(world, takeStock(world.policy));
  for (const bucket of areLost ? [] : world.events) {
    const change = wordChanged(world.policy, bucket);
    if (change !== undefined) tell(world, [change]);
  }
  world.events = [];
}

/** The others get some of what was told. */
function deliver(world: World, count: number): void {
  for (const { bucket, word } of world.told.slice(world.arrived, world.arrived + count))
    world.copy[bucket] = word;
  world.arrived = Math.min(world.arrived + count, world.told.length);
}

/** Some of what the others have is settled. */
function acknowledge(world: World, count: number): void {
  const settled = Math.min(count, world.arrived);
  for (const change of world.told.splice(0, settled)) {
    const instead = settle(world.policy, change);
    if (instead !== undefined) tell(world, [instead]);
  }
  world.arrived -= settled;
}

/** Every node looks for which buckets it has connections, and will tell. A dead one is taken to have none. */
export function askAll(world: World): void {
  const mark = markNow(world.policy);
  for (const number of world.nodes.keys()) {
    const own = world.connections.filter(({ node }) => node === number);
    const held = new Set(own.map(({ bucket }) => bucket));
    world.reports.push({ number, held, mark, at: world.now + Math.floor(world.random() * 4) });
  }
}

function takeReports(world: World): void {
  for (const { number, held, mark } of world.reports.filter(({ at }) => at <= world.now)) {
    tell(
      world,
      releasePrevious(world.policy, number, (bucket) => held.has(bucket), mark),
    );
  }
  world.reports = world.reports.filter(({ at }) => at > world.now);
}

/** One unit of time without traffic. Returns how many changes were proposed. */
export function tick(world: World, limits: Limits): number {
  world.now++;
  takeEvents(world);
  acknowledge(world, world.random() < 0.3 ? Math.floor(world.random() * world.told.length) : Infinity);
  deliver(world, world.random() < 0.3 ? Math.floor(world.random() * world.told.length) : Infinity);
  takeReports(world);
  const changes = propose(world.policy, world.now, limits);
  tell(world, changes);
  world.connections = world.connections.filter(({ until }) => until > world.now);
  return changes.length;
}

/** Nothing is under way any more. */
export function finish(world: World): void {
  takeEvents(world);
  while (world.told.length > 0) {
    deliver(world, Infinity);
    acknowledge(world, Infinity);
  }
}

/** Another node becomes the scheduler, with what it had been told: perhaps some of what was on its way, too. */
export function takeOver(world: World, by: number, isOldDead: boolean): void {
  deliver(world, Math.floor(world.random() * (world.told.length + 1)));
  world.table = new Int32Array(world.size * 2);
  world.copy.forEach((word, bucket) => {
    world.table[bucket * 2] = word;
    world.table[bucket * 2 + 1] = world.now;
  });
  const old = world.scheduler;
  world.scheduler = by;
  [world.told, world.arrived, world.events, world.reports] = [[], 0, [], []];
  world.policy = createPolicy(world.table, { hasSecondChance: world.hasSecondChance, seed: world.seed });
  setNodes(world.policy, [...world.nodes.values()]);
  if (isOldDead) setNode(world, old, "down");
}

const zeros = (): Int32Array => new Int32Array(256);

/** Every count of the policy, against a count of the whole table. */
export function checkCounts({ policy, table, size }: World): void {
  const { plan } = policy;
  const [owned, previous, held, inherits] = [zeros(), zeros(), zeros(), zeros()];
  const pairs = new Map<string, number>();
  for (let bucket = 0; bucket < size; bucket++) {
    const [word, known] = [plan.words[bucket]!, plan.known[bucket]!];
    const holder = ownerOf(word) === NOBODY ? nextOf(word) : ownerOf(word);
    const heir = plan.heirs[bucket]!;
    if (ownerOf(word) !== NOBODY) assert.equal(heir, nextOf(word), `heir of bucket ${bucket}`);
    assert.equal(known, readWord(table, bucket), `word of bucket ${bucket}`);
    owned[ownerOf(known)]!++;
    previous[previousOf(known)]!++;
    held[holder]!++;
    inherits[heir]!++;
    const pair = `${plan.columns[holder]!},${plan.columns[heir]!}`;
    pairs.set(pair, (pairs.get(pair) ?? 0) + 1);
  }
  assert.deepEqual([plan.owned, plan.previous], [owned, previous]);
  assert.deepEqual([plan.held, plan.inherits], [held, inherits]);
  plan.byHeir.counts.forEach((count, cell) => {
    const width = plan.byHeir.columns;
    assert.equal(count, pairs.get(`${Math.floor(cell / width)},${cell % width}`) ?? 0, `pair ${cell}`);
  });
}

/** Who may not get buckets has none, is nobody's next, and nobody is next to himself. Nothing may be under way. */
export function checkWords({ policy, nodes, table, size }: World): void {
  const isEligible = (number: number): boolean => {
    const node = nodes.get(number);
    return node?.condition === "up" && node.weight > 0;
  };
  const eligible = [...nodes.keys()].filter(isEligible);
  if (eligible.length === 0) return;
  for (let bucket = 0; bucket < size; bucket++) {
    const word = readWord(table, bucket);
    const [owner, next, previous] = [ownerOf(word), nextOf(word), previousOf(word)];
    const text = `bucket ${bucket}: ${owner} ${next} ${previous}`;
    const isAlone = eligible.length === 1 && eligible[0] === owner;
    assert.ok(isAlone ? next === NOBODY : isEligible(next), `${text}: next`);
    assert.notEqual(next, owner, text);
    assert.ok(previous === NOBODY || previous !== owner, `${text}: previous`);
    const isWaiting = previous !== NOBODY && nodes.get(previous)?.condition === "leaving";
    const mayOwn = owner === NOBODY || nodes.get(owner)?.condition === "up";
    assert.ok(mayOwn || isWaiting, `${text}: owner`);
    if (!policy.hasSecondChance) assert.equal(previous, NOBODY, text);
  }
}
