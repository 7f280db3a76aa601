/**
 * Has the steering take in which connections nodes have that followed another table up to now, a piece with every turn:
 * however many they are, a turn stays short, and no more is under way than the other nodes can follow.
 */
import { FOLLOW_GRACE_MS, STEER_CHANGES, STEER_PROPOSALS } from "../conf/limits.ts";
import { allHave, openedWith, tellMerged, waitingCount } from "./feed/feed.ts";
import { hasBit } from "./feed/feed-message.ts";
import type { Change } from "./policy/choice.ts";
import { mergeConnection } from "./policy/merge.ts";
import { nodesTable, release, tellAll, type Steering } from "./steering.ts";

const MS = 1_000_000n;
/** Nodes of the other side may only just be coming back: a bucket waits so long for that. */
const WAIT_NS = BigInt(FOLLOW_GRACE_MS) * MS;
/** A node whose connections are known waits so long for those of others that were with it on the other side. */
const OTHERS_NS = 1000n * MS;

interface Merge {
  /** The node that has these connections. */
  readonly number: number;
  /** Still to be looked at. */
  buckets: number[];
  /** Those that have to be looked at once more. */
  later: number[];
  readonly from_ns: bigint;
  /** How many buckets' connections the table leads to now. */
  merged: number;
  /** The version with all that has come of it, and since when; undefined while there is something to look at. */
  done: { readonly version: number; readonly at_ns: bigint } | undefined;
}
export interface Merging {
  /** One for each node at most, oldest first. */
  merges: Merge[];
  /** Of all there have been. */
  merged: number;
}
/** What came of what a node has told. */
export type Merged = Pick<Merge, "number" | "merged">;
export interface MergeInput {
  readonly now_ns: bigint;
  /** Nodes that can be reached and do not follow the table yet. */
  readonly behind: readonly number[];
}

/** Nothing to merge yet. */
export const createMerging = (): Merging => ({ merges: [], merged: 0 });

/** A node has told which buckets it has connections of. What it told before counts no more. */
export function addMerge(
  merging: Merging,
  steering: Steering,
  { number, bits, now_ns }: { readonly number: number; readonly bits: Uint8Array; readonly now_ns: bigint },
): void {
  // Where it is the previous node in vain there is room for another one that has told, or will.
  release(steering, number, openedWith(steering.feed, number), (bucket) => hasBit(bits, bucket));
  const all = Array.from({ length: bits.length * 8 }, (_, bucket) => bucket);
  const merge: Merge = {
    number,
    buckets: all.filter((bucket) => hasBit(bits, bucket)),
    later: [],
    from_ns: now_ns,
    merged: 0,
    done: undefined,
  };
  merging.merges = [...merging.merges.filter((one) => one.number !== number), merge];
}

/**
 * Merges what one turn may. A node hears of the end when all living nodes know of its connections, and those of others that
 * are still behind are known, too. Returns those that have.
 */
export function mergeTurn(merging: Merging, steering: Steering, input: MergeInput): Merged[] {
  if (merging.merges.length === 0 || steering.isFrozen) return [];
  let budget = STEER_CHANGES;
  for (const merge of merging.merges) {
    if (merge.done === undefined) budget -= look(merge, steering, { now_ns: input.now_ns, budget });
  }
  const over = merging.merges.filter((merge) => isOver(merging, merge, steering, input));
  merging.merges = merging.merges.filter((merge) => !over.includes(merge));
  return over.map((merge) => end(merging, steering, merge));
}

function end(merging: Merging, { feed }: Steering, { number, merged }: Merge): Merged {
  tellMerged(feed, number);
  merging.merged += merged;
  return { number, merged };
}

/** Looks at no more buckets than there is budget for; returns how many that were. */
function look(
  merge: Merge,
  steering: Steering,
  { now_ns, budget }: { readonly now_ns: bigint; readonly budget: number },
): number {
  if (waitingCount(steering.feed) > STEER_PROPOSALS) return 0;
  if (merge.buckets.length === 0) [merge.buckets, merge.later] = [merge.later, []];
  const changes: Change[] = [];
  const buckets = merge.buckets.splice(0, budget);
  for (const bucket of buckets) {
    const merged = mergeConnection(nodesTable(steering).policy, bucket, merge.number);
    if (merged.kind === "kept") changes.push(merged.change);
    // Where another node has to be named these connections are searched for.
    const waits = merged.kind === "later" && merged.inPlaceOf === undefined;
    if (waits && now_ns - merge.from_ns < WAIT_NS) merge.later.push(bucket);
  }
  merge.merged += changes.length;
  tellAll(steering, nodesTable(steering), changes);
  if (merge.buckets.length + merge.later.length === 0)
    merge.done = { version: steering.feed.version, at_ns: now_ns };
  return buckets.length;
}

/** Who waits for this himself has not got the table yet. */
function isOver({ merges }: Merging, { done }: Merge, { feed }: Steering, input: MergeInput): boolean {
  const waiting = new Set(merges.map(({ number }) => number));
  if (done === undefined || !allHave(feed, done.version, waiting)) return false;
  const isComplete =
    input.behind.every((number) => waiting.has(number)) && merges.every((one) => one.done !== undefined);
  return isComplete || input.now_ns - done.at_ns >= OTHERS_NS;
}
