/**
 * Has the steering take in the tables of schedulers that lost, a piece with every turn: however many buckets there are,
 * a turn stays short, and no more is under way than the other nodes can follow.
 */
import { FOLLOW_GRACE_MS, STEER_CHANGES, STEER_PROPOSALS } from "../conf/limits.ts";
import { allHave, tellMerged, waitingCount } from "./feed/feed.ts";
import type { Change } from "./policy/choice.ts";
import { mergeOwner } from "./policy/merge.ts";
import { nodesTable, tellAll, type Steering } from "./steering.ts";

/**
 * Nodes of the other side may only just be coming back, and a bucket's previous node may be about to tell that it has no
 * connections any more: a bucket waits so long for that.
 */
const WAIT_NS = BigInt(FOLLOW_GRACE_MS) * 1_000_000n;

interface Merge {
  /** The node that has told of it. */
  readonly number: number;
  readonly owners: Uint8Array;
  /** Buckets before this one have been looked at; some of them have to be once more. */
  at: number;
  later: number[];
  readonly until_ns: bigint;
  /** The version with all that has come of it; undefined while there is something to look at. */
  doneAt: number | undefined;
}
export interface Merging {
  /** Oldest first. */
  readonly merges: Merge[];
  /** Buckets whose connections of the other side live on, and those for which there is no room. */
  merged: number;
  lost: number;
}

/** Nothing to merge yet. */
export const createMerging = (): Merging => ({ merges: [], merged: 0, lost: 0 });

/** A scheduler that lost has told who owned the array's buckets in its table. What it told before counts no more. */
export function addMerge(
  merging: Merging,
  { number, owners }: Pick<Merge, "number" | "owners">,
  now_ns: bigint,
): void {
  const before = merging.merges.findIndex((merge) => merge.number === number);
  if (before >= 0) merging.merges.splice(before, 1);
  const rest = { at: 0, later: [], until_ns: now_ns + WAIT_NS, doneAt: undefined };
  merging.merges.push({ number, owners, ...rest });
}

/**
 * Merges what one turn may. Who has told hears of the end when all living nodes have what came of it. Returns whether a
 * merge has ended.
 */
export function mergeTurn(merging: Merging, steering: Steering, now_ns: bigint): boolean {
  const [merge] = merging.merges;
  if (merge === undefined || steering.isFrozen) return false;
  if (merge.doneAt === undefined) look(merging, merge, steering, now_ns);
  if (merge.doneAt === undefined || !allHave(steering.feed, merge.doneAt)) return false;
  merging.merges.shift();
  tellMerged(steering.feed, merge.number);
  return true;
}

function look(merging: Merging, merge: Merge, steering: Steering, now_ns: bigint): void {
  if (waitingCount(steering.feed) > STEER_PROPOSALS) return;
  const changes: Change[] = [];
  for (const bucket of takeBuckets(merge)) {
    const merged = mergeOwner(nodesTable(steering).policy, bucket, merge.owners[bucket]!);
    if (merged.kind === "kept") changes.push(merged.change);
    else if (merged.kind === "later" && now_ns < merge.until_ns) merge.later.push(bucket);
    else if (merged.kind === "later") merging.lost++;
  }
  merging.merged += changes.length;
  tellAll(steering, nodesTable(steering), changes);
  const isOver = merge.at === merge.owners.length && merge.later.length === 0;
  if (isOver) merge.doneAt = steering.feed.version;
}

/** The buckets that a turn looks at: first each once, then those that had to wait. */
function takeBuckets(merge: Merge): number[] {
  const { at, owners } = merge;
  if (at === owners.length) return merge.later.splice(0, STEER_CHANGES);
  merge.at = Math.min(at + STEER_CHANGES, owners.length);
  return Array.from({ length: merge.at - at }, (_, i) => at + i);
}
