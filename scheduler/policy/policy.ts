/**
 * Which node gets a bucket. Nothing here waits for a packet: every bucket has its `next` before the program may need
 * it. A policy works on one table and keeps the plan beside it: every word as it is to be. What it plans is told to
 * all nodes first and is written into the kernel's table when they have it (`settle`); what the kernel does by itself
 * meanwhile is followed (`wordChanged`). Every function that plans returns the changes that are to be told, in this
 * order; what has been planned counts as done for all that is decided later.
 *
 * Pure: it works on any table in memory. The work is in proportion to what changes: only `createPolicy` and
 * `takeStock` go through the whole table.
 */
import { NOBODY } from "../../conf/limits.ts";
import { heirFor, isWrong, place, putRight, type Change, type Choice } from "./choice.ts";
import { levelHeirs, type Inheritance } from "./inheritance.ts";
import {
  createLevelling,
  levelAnew,
  levelHolders,
  surplusOf,
  type Levelling,
  type Limits,
} from "./levelling.ts";
import { createDealer } from "./next-order.ts";
import {
  columnOf,
  createPlan,
  eachHeld,
  eachOfPair,
  eachWithPrevious,
  heirOf,
  holderOf,
  isUnderWay,
  setKnown,
  setPlanned,
} from "./plan.ts";
import { isEligible, standingOf, type Condition, type PolicyNode } from "./standing.ts";
import { lastAccess, nextOf, ownerOf, previousOf, readWord, swapWord, wordOf } from "../table.ts";

export type { Change, Condition, Limits, PolicyNode };

export interface Policy extends Choice {
  readonly seed: number;
  readonly levelling: Levelling;
  readonly inheritance: Inheritance;
  /** Buckets that something may be wrong about, each once, oldest first. */
  readonly agenda: { readonly buckets: Int32Array; readonly isOn: Uint8Array; first: number; length: number };
  /** By bucket: the mark at which its previous node became that in the kernel's table. */
  readonly markedAt: Int32Array;
  mark: number;
  /** By node number: since when a node is down, in units of last access; -1: it is not, or not since the last look. */
  readonly downSince_units: Float64Array;
}

export interface PolicyOptions {
  /** Whether frames of a moved connection are handed on to the bucket's previous node: not to a direct pool's hosts. */
  readonly hasSecondChance: boolean;
  /** 32 bits that the array's nodes share and nobody else knows. */
  readonly seed: number;
}

/** Takes stock of a table as it is (2^n buckets). `setNodes` tells what there is to give them to. */
export function createPolicy(table: Int32Array, { hasSecondChance, seed }: PolicyOptions): Policy {
  const plan = createPlan(table);
  const policy: Policy = {
    plan,
    hasSecondChance,
    seed,
    standing: standingOf(plan, []),
    dealer: undefined,
    levelling: createLevelling(plan, seed),
    inheritance: { stretch: 0 },
    agenda: { buckets: new Int32Array(plan.size), isOn: new Uint8Array(plan.size), first: 0, length: 0 },
    markedAt: new Int32Array(plan.size),
    mark: 0,
    downSince_units: new Float64Array(256).fill(-1),
  };
  for (let bucket = 0; bucket < plan.size; bucket++) {
    const previous = previousOf(plan.words[bucket]!);
    const isOdd = previous === ownerOf(plan.words[bucket]!) || !hasSecondChance;
    if (previous !== NOBODY && isOdd) putOnAgenda(policy, bucket);
  }
  return policy;
}

/** Other conditions or weights: `propose` will bring what follows from them. A node that is left out is down. */
export function setNodes(policy: Policy, nodes: readonly PolicyNode[]): void {
  const { plan } = policy;
  for (const { number } of nodes) columnOf(plan, number);
  policy.standing = standingOf(plan, nodes);
  const { eligible, weights } = policy.standing;
  const shares = eligible.map((number) => ({ number, weight: weights[number]! }));
  policy.dealer = shares.length === 0 ? undefined : createDealer(shares, policy.seed);
  plan.isRowChanged.fill(1);
  levelAnew(policy.levelling);
  if (shares.length > 0) for (const number of plan.numbers) reviewNode(policy, number);
}

/** Puts on the agenda what a node has, or would inherit, without being allowed to. */
function reviewNode(policy: Policy, number: number): void {
  const { plan, standing } = policy;
  const add = (bucket: number): void => {
    if (!isUnderWay(plan, bucket) && isWrong(policy, bucket)) putOnAgenda(policy, bucket);
  };
  if (number !== NOBODY) eachOfPair(plan, number, number, add);
  if (isEligible(standing, number)) return;
  eachHeld(plan, number, add);
  if (plan.inherits[number] === 0) return;
  for (const holder of plan.numbers) {
    const hasOther = number !== NOBODY || standing.eligible.some((other) => other !== holder);
    if (hasOther) eachOfPair(plan, holder, number, add);
  }
}

function putOnAgenda({ agenda, plan }: Policy, bucket: number): void {
  if (agenda.isOn[bucket] === 1) return;
  agenda.isOn[bucket] = 1;
  agenda.buckets[(agenda.first + agenda.length++) & (plan.size - 1)] = bucket;
}

function takeFromAgenda({ agenda, plan }: Policy): number {
  const bucket = agenda.buckets[agenda.first]!;
  agenda.first = (agenda.first + 1) & (plan.size - 1);
  agenda.length--;
  agenda.isOn[bucket] = 0;
  plan.work++;
  return bucket;
}

/**
 * Plans what should be changed now, and returns up to `most` changes: first what is wrong (a leaving node's buckets
 * go, a node that may not get buckets is nobody's next), then what levels. `now_units` as in table.ts.
 */
export function propose(policy: Policy, now_units: number, limits: Limits): Change[] {
  const { agenda, plan, standing } = policy;
  const changes: Change[] = [];
  while (agenda.length > 0 && changes.length < limits.most && standing.eligible.length > 0) {
    const bucket = takeFromAgenda(policy);
    const change = isUnderWay(plan, bucket) ? undefined : putRight(policy, bucket);
    if (change !== undefined) changes.push(change);
  }
  for (const number of plan.numbers) forgetDead(policy, number, now_units, limits, changes);
  levelHolders(policy, policy.levelling, now_units, limits, changes);
  levelHeirs(policy, policy.inheritance, limits.most, changes);
  return changes;
}

/** A node that has been down for the time-out has no connections any more that a bucket would have to wait for. */
function forgetDead(
  policy: Policy,
  number: number,
  now_units: number,
  { timeout_units, most }: Limits,
  changes: Change[],
): void {
  const { plan, standing, downSince_units: downSince } = policy;
  if (number === NOBODY || standing.conditions[number] !== "down") return void (downSince[number] = -1);
  if (downSince[number] === -1) downSince[number] = now_units;
  if (plan.previous[number] === 0 || now_units - downSince[number]! < timeout_units) return;
  eachWithPrevious(plan, number, (bucket) => {
    if (changes.length < most && !isUnderWay(plan, bucket)) changes.push(...withoutPrevious(policy, bucket));
  });
}

function withoutPrevious(policy: Policy, bucket: number): Change[] {
  const { plan } = policy;
  const change = place(policy, bucket, holderOf(plan, bucket), heirOf(plan, bucket), NOBODY);
  return change === undefined ? [] : [change];
}

/**
 * The others have a change: writes it into the kernel's table. When the kernel has changed the word meanwhile, its
 * word counts, and what is to be told instead is returned. Changes are settled in the order in which they were told;
 * one that has been overtaken does nothing.
 */
export function settle(policy: Policy, change: Change): Change | undefined {
  const { plan } = policy;
  const { bucket, seen, word } = change;
  if (plan.words[bucket] !== word || plan.known[bucket] !== seen) return undefined;
  if (isObsolete(policy, change)) return wordChanged(policy, bucket) ?? follow(policy, bucket, seen);
  if (!swapWord(plan.table, bucket, seen, word)) return wordChanged(policy, bucket);
  noteWord(policy, bucket, word);
  review(policy, bucket);
  return undefined;
}

/**
 * Whether a change would lose connections because its reason is gone: an idle bucket has been used since, or the owner
 * that was dead is back and would not be the previous node.
 */
function isObsolete({ plan, standing, hasSecondChance }: Policy, change: Change): boolean {
  const { bucket, seen, word, idleSince_units: idleSince } = change;
  if (idleSince !== undefined) return lastAccess(plan.table, bucket) !== idleSince;
  const owner = ownerOf(seen);
  if (owner === NOBODY || owner === ownerOf(word) || owner === previousOf(word)) return false;
  // Without second chance a leaving host's connections are lost in any case.
  return hasSecondChance ? standing.conditions[owner] !== "down" : standing.conditions[owner] === "up";
}

/** Notes what the kernel's table has now. */
function noteWord(policy: Policy, bucket: number, word: number): void {
  const { plan } = policy;
  if (previousOf(word) !== previousOf(plan.known[bucket]!)) policy.markedAt[bucket] = policy.mark;
  setKnown(plan, bucket, word);
}

function review(policy: Policy, bucket: number): void {
  policy.plan.work++;
  if (!isUnderWay(policy.plan, bucket) && isWrong(policy, bucket)) putOnAgenda(policy, bucket);
}

/**
 * The kernel may have changed a bucket's word: a first packet has claimed it, or its dead owner's next got it. The
 * plan follows, with another next; returns what is to be told, and settled if its word is not the kernel's.
 */
export function wordChanged(policy: Policy, bucket: number): Change | undefined {
  policy.plan.work++;
  const word = readWord(policy.plan.table, bucket);
  return word === policy.plan.known[bucket] ? undefined : follow(policy, bucket, word);
}

/** Plans anew from the kernel's word. */
function follow(policy: Policy, bucket: number, word: number): Change {
  const { plan, hasSecondChance } = policy;
  const isFresh = plan.isFresh[bucket] === 1;
  noteWord(policy, bucket, word);
  const owner = ownerOf(word);
  const holder = owner === NOBODY ? nextOf(word) : owner;
  const heir = heirFor(policy, bucket, holder);
  const isTidy = hasSecondChance && !isFresh && previousOf(word) !== holder;
  const previous = isTidy ? previousOf(word) : NOBODY;
  const planned = owner === NOBODY ? wordOf(NOBODY, holder, previous) : wordOf(owner, heir, previous);
  setPlanned(plan, bucket, planned, heir);
  review(policy, bucket);
  return { bucket, seen: word, word: planned };
}

/** Compares the whole table with what is known of it, after events have been lost. Returns what is to be told. */
export function takeStock(policy: Policy): Change[] {
  const changes: Change[] = [];
  for (let bucket = 0; bucket < policy.plan.size; bucket++) {
    const change = wordChanged(policy, bucket);
    if (change !== undefined) changes.push(change);
  }
  return changes;
}

/**
 * A point in time for `releasePrevious`: what a node finds out after that about the connections it has counts for all
 * buckets that had moved away from it before.
 */
export function markNow(policy: Policy): number {
  return ++policy.mark;
}

/**
 * A node has told for which buckets it still has connections; it began to look after `mark`. Those that it was merely
 * the previous node of, and has none of, have no previous node any more.
 */
export function releasePrevious(
  policy: Policy,
  number: number,
  isHeld: (bucket: number) => boolean,
  mark: number,
): Change[] {
  const { plan, markedAt } = policy;
  const changes: Change[] = [];
  eachWithPrevious(plan, number, (bucket) => {
    if (isUnderWay(plan, bucket) || markedAt[bucket]! >= mark || isHeld(bucket)) return;
    changes.push(...withoutPrevious(policy, bucket));
  });
  return changes;
}

/**
 * A node's kernel is dead (it is down for `setNodes`): its buckets go to their nexts in the kernel's table at once, as
 * the kernel itself would do with the next packet. Returns what is to be told, and settled as always. Another next for
 * its unassigned buckets comes with `propose`, as the others have to know it first.
 */
export function handOver(policy: Policy, number: number): Change[] {
  const changes: Change[] = [];
  eachHeld(policy.plan, number, (bucket) => {
    const change = handOverBucket(policy, bucket, number);
    if (change !== undefined) changes.push(change);
  });
  return changes;
}

function handOverBucket(policy: Policy, bucket: number, number: number): Change | undefined {
  const { plan, standing } = policy;
  const seen = plan.known[bucket]!;
  const next = nextOf(seen);
  if (ownerOf(seen) === number && standing.conditions[next] !== "down") {
    return takeNow(policy, bucket, wordOf(next, next, previousAfterDeath(policy, seen, next)));
  }
  // It was on its way there: that is called off.
  if (isUnderWay(plan, bucket)) return follow(policy, bucket, seen);
  // Nobody living whom the others know of gets it: they have to hear of somebody first, so `propose` plans it.
  return undefined;
}

/** Writes a word into the kernel's table before the others know it. */
function takeNow(policy: Policy, bucket: number, word: number): Change | undefined {
  const { table, known } = policy.plan;
  if (!swapWord(table, bucket, known[bucket]!, word)) return wordChanged(policy, bucket);
  return follow(policy, bucket, word);
}

/** As the program does it. */
function previousAfterDeath({ hasSecondChance }: Policy, word: number, target: number): number {
  const previous = previousOf(word) === NOBODY ? ownerOf(word) : previousOf(word);
  return previous === target || !hasSecondChance ? NOBODY : previous;
}

/** How many buckets a node has: in the kernel's table, or more if more are planned. */
export function bucketsOf({ plan }: Policy, number: number): number {
  return Math.max(plan.owned[number]!, plan.held[number]!);
}

/** How many buckets of the kernel's table have a previous node. */
export function withPrevious({ plan }: Policy): number {
  return plan.size - plan.previous[NOBODY]!;
}

/** How many buckets each node that is up holds more than its fair share, by number. */
export function surpluses(policy: Policy): Map<number, number> {
  return new Map(policy.standing.up.map((number) => [number, surplusOf(policy, number)]));
}
