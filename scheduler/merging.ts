/**
 * Has the steering take in the tables of schedulers that lost, a piece with every turn: however many buckets there are,
 * a turn stays short, and no more is under way than the other nodes can follow.
 */
import { FOLLOW_GRACE_MS, STEER_CHANGES, STEER_PROPOSALS } from "../conf/limits.ts";
import { waitingCount } from "./feed/feed.ts";
import type { Change } from "./policy/choice.ts";
import { mergeOwner } from "./policy/merge.ts";
import { nodesTable, tellAll, type Steering } from "./steering.ts";

/**
 * Nodes of the other side may only just be coming back, and a bucket's previous node may be about to tell that it has no
 * connections any more: a bucket waits so long for that.
 */
const WAIT_NS = BigInt(FOLLOW_GRACE_MS) * 1_000_000n;

interface Merge {
  readonly owners: Uint8Array;
  /** Buckets before this one have been looked at; some of them have to be once more. */
  at: number;
  later: number[];
  readonly until_ns: bigint;
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

/** A scheduler that lost has told who owned the array's buckets in its table. */
export function addMerge({ merges }: Merging, owners: Uint8Array, now_ns: bigint): void {
  merges.push({ owners, at: 0, later: [], until_ns: now_ns + WAIT_NS });
}

/** Merges what one turn may. */
export function mergeTurn(merging: Merging, steering: Steering, now_ns: bigint): void {
  const [merge] = merging.merges;
  if (merge === undefined || steering.isFrozen || waitingCount(steering.feed) > STEER_PROPOSALS) return;
  const changes: Change[] = [];
  for (const bucket of takeBuckets(merge)) {
    const merged = mergeOwner(nodesTable(steering).policy, bucket, merge.owners[bucket]!);
    if (merged.kind === "kept") changes.push(merged.change);
    else if (merged.kind === "later" && now_ns < merge.until_ns) merge.later.push(bucket);
    else if (merged.kind === "later") merging.lost++;
  }
  merging.merged += changes.length;
  if (merge.at === merge.owners.length && merge.later.length === 0) merging.merges.shift();
  tellAll(steering, nodesTable(steering), changes);
}

/** The buckets that a turn looks at: first each once, then those that had to wait. */
function takeBuckets(merge: Merge): number[] {
  const { at, owners } = merge;
  if (at === owners.length) return merge.later.splice(0, STEER_CHANGES);
  merge.at = Math.min(at + STEER_CHANGES, owners.length);
  return Array.from({ length: merge.at - at }, (_, i) => at + i);
}
