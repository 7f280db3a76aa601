/**
 * Has the steering take in which connections nodes have that followed another table up to now, a piece with every turn:
 * however many they are, a turn stays short, and no more is under way than the other nodes can follow.
 */
import { FOLLOW_GRACE_MS, HELD_ROUND_MS, STEER_CHANGES, STEER_PROPOSALS } from "../conf/limits.ts";
import { allHave, openedWith, tellMerged, waitingCount } from "./feed/feed.ts";
import { hasBit } from "./feed/feed-message.ts";
import type { Change } from "./policy/choice.ts";
import { mergeConnection } from "./policy/merge.ts";
import { nodesTable, release, tellAll, type Steering } from "./steering.ts";

const MS = 1_000_000n;
/** Nodes of the other side may only just be coming back: a bucket waits so long for that. */
const WAIT_NS = BigInt(FOLLOW_GRACE_MS) * MS;
/** A bucket's previous node may be about to tell that it has no connections any more: it does so once in a round. */
const ROOM_NS = BigInt(HELD_ROUND_MS) * MS;
/** A node whose connections are known waits so long for those of others that were with it on the other side. */
const OTHERS_NS = 1000n * MS;
/** What a node has told counts for so long. What it tells in this time again is of the same conflict. */
const TOLD_NS = 5000n * MS;

interface Merge {
  /** The node that has these connections. */
  readonly number: number;
  /** Still to be looked at. */
  buckets: number[];
  /** Those that have to be looked at once more. */
  later: number[];
  readonly from_ns: bigint;
  /** How many buckets' connections the table leads to now, and those for which there was no room. */
  merged: number;
  readonly crowded: Set<number>;
  /** The version with all that has come of it, and since when; undefined while there is something to look at. */
  done: { readonly version: number; readonly at_ns: bigint } | undefined;
}
export interface Merging {
  /** One for each node at most, oldest first. */
  merges: Merge[];
  /** What nodes have told last of all their connections, by number. */
  readonly told: Map<number, Told>;
  /** What they have told last of connections of buckets whose previous nodes they are, by number. */
  readonly held: Map<number, Pick<Told, "bits" | "at_ns">>;
  /** Of all there have been. */
  merged: number;
  crowded: number;
}
interface Told {
  readonly bits: Uint8Array;
  readonly at_ns: bigint;
  /** Buckets for which there was no room when it told before, in this conflict. */
  crowded: ReadonlySet<number>;
}
/** What came of what a node has told; of those for which there was no room when it told before, nothing again. */
export interface Merged extends Pick<Merge, "number" | "merged"> {
  readonly crowded: number;
}
export interface MergeInput {
  readonly now_ns: bigint;
  /** Nodes that can be reached and do not follow the table yet. */
  readonly behind: readonly number[];
}

/** Nothing to merge yet. */
export const createMerging = (): Merging => ({
  merges: [],
  told: new Map(),
  held: new Map(),
  merged: 0,
  crowded: 0,
});

/** A node has told which buckets it has connections of. What it told before counts no more. */
export function addMerge(
  merging: Merging,
  steering: Steering,
  { number, bits, now_ns }: { readonly number: number; readonly bits: Uint8Array; readonly now_ns: bigint },
): void {
  // Where it is the previous node in vain there is room for another one that has told, or will.
  release(steering, number, openedWith(steering.feed, number), (bucket) => hasBit(bits, bucket));
  const before = merging.told.get(number);
  merging.told.set(number, { bits, at_ns: now_ns, crowded: isFresh(before, now_ns) ? before.crowded : new Set() });
  const all = Array.from({ length: bits.length * 8 }, (_, bucket) => bucket);
  const merge: Merge = {
    number,
    buckets: all.filter((bucket) => hasBit(bits, bucket)),
    later: [],
    from_ns: now_ns,
    merged: 0,
    crowded: new Set(),
    done: undefined,
  };
  merging.merges = [...merging.merges.filter((one) => one.number !== number), merge];
}

/** A node has told of its connections of buckets whose previous node it is. */
export function noteHeld({ held }: Merging, number: number, bits: Uint8Array, at_ns: bigint): void {
  held.set(number, { bits, at_ns });
}

function isFresh<T extends { readonly at_ns: bigint }>(told: T | undefined, now_ns: bigint): told is T {
  return told !== undefined && now_ns - told.at_ns < TOLD_NS;
}

/**
 * Merges what one turn may. A node hears of the end when all living nodes know of its connections, and those of others that
 * are still behind are known, too. Returns those that have.
 */
export function mergeTurn(merging: Merging, steering: Steering, input: MergeInput): Merged[] {
  if (merging.merges.length === 0 || steering.isFrozen) return [];
  let budget = STEER_CHANGES;
  for (const merge of merging.merges) {
    if (merge.done === undefined) budget -= look(merging, merge, steering, { now_ns: input.now_ns, budget });
  }
  const over = merging.merges.filter((merge) => isOver(merging, merge, steering, input));
  merging.merges = merging.merges.filter((merge) => !over.includes(merge));
  return over.map((merge) => end(merging, steering, merge));
}

function end(merging: Merging, steering: Steering, merge: Merge): Merged {
  const { number, merged } = merge;
  const told = merging.told.get(number)!;
  const crowded = merge.crowded.difference(told.crowded).size;
  told.crowded = merge.crowded.union(told.crowded);
  tellMerged(steering.feed, number);
  merging.merged += merged;
  merging.crowded += crowded;
  return { number, merged, crowded };
}

/** Looks at no more buckets than there is budget for; returns how many that were. */
function look(
  merging: Merging,
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
    if (merged.kind !== "later") continue;
    if (mayWait(merging, merge, bucket, { inPlaceOf: merged.inPlaceOf, now_ns })) merge.later.push(bucket);
    else merge.crowded.add(bucket);
  }
  merge.merged += changes.length;
  tellAll(steering, nodesTable(steering), changes);
  if (merge.buckets.length + merge.later.length === 0)
    merge.done = { version: steering.feed.version, at_ns: now_ns };
  return buckets.length;
}

/** Whether a bucket may wait on for something to change. Who has just told of connections, too, won't make room. */
function mayWait(
  { told, held }: Merging,
  { number, from_ns }: Merge,
  bucket: number,
  { inPlaceOf, now_ns }: { readonly inPlaceOf: number | undefined; readonly now_ns: bigint },
): boolean {
  if (inPlaceOf === undefined) return now_ns - from_ns < WAIT_NS;
  if (told.get(number)!.crowded.has(bucket)) return false;
  const isTaken = [told.get(inPlaceOf), held.get(inPlaceOf)].some(
    (other) => isFresh(other, now_ns) && hasBit(other.bits, bucket),
  );
  return !isTaken && now_ns - from_ns < ROOM_NS;
}

/** Who waits for this himself has not got the table yet. */
function isOver({ merges }: Merging, { done }: Merge, { feed }: Steering, input: MergeInput): boolean {
  const waiting = new Set(merges.map(({ number }) => number));
  if (done === undefined || !allHave(feed, done.version, waiting)) return false;
  const isComplete =
    input.behind.every((number) => waiting.has(number)) && merges.every((one) => one.done !== undefined);
  return isComplete || input.now_ns - done.at_ns >= OTHERS_NS;
}
