/**
 * Which node gets a bucket. Nothing here waits for a packet: every bucket has its `next` before the program may
 * need it, and the rule is the same for both uses of it. Among the nodes that may get buckets, the one wins that
 * would have the fewest IP groups per weight if it happened: an unassigned bucket joins its next's groups, and
 * when a node dies, each of its buckets joins that bucket's next. So a dead node's load spreads over all others.
 *
 * Pure: it works on any table in memory. An event costs one pass over the nodes; a change of the nodes one pass
 * over the table that writes only what has to move; an idle bucket moves only when that levels the load.
 */
import { NOBODY } from "../conf/limits.ts";
import { lastAccess, nextOf, ownerOf, readWord, sizeOf, swapWord, wordOf } from "./table.ts";

export interface PolicyNode {
  readonly number: number;
  /** 0 for a node that gets no buckets: not enabled, failed, or of no weight. */
  readonly weight: number;
}

/** The table and how many buckets stand where. Node numbers index directly: 256 rows. */
export interface Policy {
  readonly table: Int32Array;
  nodes: readonly PolicyNode[];
  /** Buckets owned, by node; [NOBODY]: unassigned ones. */
  readonly groups: Int32Array;
  /** Buckets that would go from one node (or NOBODY) to another: [from * 256 + to]. */
  readonly heirs: Int32Array;
  /** Every bucket's word as it was counted: what the program changes meanwhile is never counted twice. */
  readonly counted: Int32Array;
}

const ROWS = 256;

/** Takes stock of a table as it is, and gives every bucket a next. */
export function createPolicy(table: Int32Array, nodes: readonly PolicyNode[]): Policy {
  const policy: Policy = {
    table,
    nodes: [],
    groups: new Int32Array(ROWS),
    heirs: new Int32Array(ROWS * ROWS),
    counted: new Int32Array(sizeOf(table)).fill(wordOf(NOBODY, NOBODY)),
  };
  policy.groups[NOBODY] = sizeOf(table);
  policy.heirs[NOBODY * ROWS + NOBODY] = sizeOf(table);
  nodesChanged(policy, nodes);
  return policy;
}

/** Reads a bucket's word, and counts what has changed in it. */
function look(policy: Policy, bucket: number): number {
  const word = readWord(policy.table, bucket);
  const counted = policy.counted[bucket]!;
  if (word === counted) return word;
  addToCounts(policy, counted, -1);
  addToCounts(policy, word, 1);
  policy.counted[bucket] = word;
  return word;
}

function addToCounts(policy: Policy, word: number, sign: 1 | -1): void {
  const owner = ownerOf(word);
  policy.groups[owner]! += sign;
  policy.heirs[owner * ROWS + nextOf(word)]! += sign;
}

/** IP groups that a node would have once it has inherited from `from`. */
function groupsAfter(policy: Policy, from: number, node: number): number {
  const inherited = from === NOBODY ? 0 : policy.heirs[from * ROWS + node]!;
  return policy.groups[node]! + policy.heirs[NOBODY * ROWS + node]! + inherited;
}

/** The best next for a bucket of `owner`; NOBODY when no other node may get buckets. */
function bestNext(policy: Policy, owner: number): number {
  let best = NOBODY;
  let least = Infinity;
  for (const { number, weight } of policy.nodes) {
    if (weight === 0 || number === owner) continue;
    const load = (groupsAfter(policy, owner, number) + 1) / weight;
    if (load < least) [least, best] = [load, number];
  }
  return best;
}

function weightOf(policy: Policy, node: number): number {
  return policy.nodes.find(({ number }) => number === node)?.weight ?? 0;
}

/** Whether a bucket of `owner` is as well with `current` as with the best other node; then it stays. */
function isLevel(policy: Policy, owner: number, current: number, best: number): boolean {
  const weight = weightOf(policy, current);
  if (weight === 0 || current === owner) return best === NOBODY && current === NOBODY;
  if (best === NOBODY) return true;
  return (
    groupsAfter(policy, owner, current) / weight <=
    (groupsAfter(policy, owner, best) + 1) / weightOf(policy, best)
  );
}

/** Writes a bucket's word unless it has changed meanwhile. */
function write(policy: Policy, bucket: number, seen: number, word: number): boolean {
  if (!swapWord(policy.table, bucket, seen, word)) return false;
  look(policy, bucket);
  return true;
}

/** Gives a bucket a better next when there is one. Returns whether it was changed. */
function levelNext(policy: Policy, bucket: number): boolean {
  const word = look(policy, bucket);
  const owner = ownerOf(word);
  const best = bestNext(policy, owner);
  if (isLevel(policy, owner, nextOf(word), best)) return false;
  return write(policy, bucket, word, wordOf(owner, best));
}

/** One pass over the table; returns how many nexts changed. */
function levelNexts(policy: Policy): number {
  let changed = 0;
  for (let bucket = 0; bucket < sizeOf(policy.table); bucket++) changed += Number(levelNext(policy, bucket));
  return changed;
}

/** The program gave a bucket to another node: counts it, and chooses who is next after that. */
export function bucketMoved(policy: Policy, bucket: number): void {
  look(policy, bucket);
  levelNext(policy, bucket);
}

/** Other nodes, or other weights: levels the nexts. Returns how many changed. */
export function nodesChanged(policy: Policy, nodes: readonly PolicyNode[]): number {
  policy.nodes = nodes;
  for (let bucket = 0; bucket < sizeOf(policy.table); bucket++) look(policy, bucket);
  return levelNexts(policy);
}

/** Hands a failed node's buckets to their nexts, where these may get buckets. Returns how many moved. */
export function handOver(policy: Policy, failed: number): number {
  let moved = 0;
  for (let bucket = 0; bucket < sizeOf(policy.table); bucket++) {
    const word = look(policy, bucket);
    if (ownerOf(word) !== failed || weightOf(policy, nextOf(word)) === 0) continue;
    const heir = nextOf(word);
    if (!write(policy, bucket, word, wordOf(heir, heir))) continue;
    moved++;
    levelNext(policy, bucket);
  }
  return moved;
}

/**
 * Frees buckets that have been idle for `timeout_units`, where another node should have them: owner becomes
 * nobody, next the better node. A bucket that is well where it is stays, so a connection that was merely quiet
 * keeps its node whenever the balance allows. Returns how many were freed.
 */
export function freeIdle(policy: Policy, now_units: number, timeout_units: number): number {
  let freed = 0;
  for (let bucket = 0; bucket < sizeOf(policy.table); bucket++) {
    const word = look(policy, bucket);
    const owner = ownerOf(word);
    if (owner === NOBODY || now_units - lastAccess(policy.table, bucket) < timeout_units) continue;
    const better = bestUnassigned(policy, owner);
    if (better !== NOBODY && write(policy, bucket, word, wordOf(NOBODY, better))) freed++;
  }
  return freed;
}

/** Who should have an idle bucket instead of its owner; NOBODY when that has no more than its share of all buckets. */
function bestUnassigned(policy: Policy, owner: number): number {
  const best = bestNext(policy, NOBODY);
  if (best === owner) return NOBODY;
  const total = policy.nodes.reduce((sum, { weight }) => sum + weight, 0);
  const share = Math.ceil((sizeOf(policy.table) * weightOf(policy, owner)) / Math.max(total, 1));
  return groupsAfter(policy, NOBODY, owner) <= share ? NOBODY : best;
}
