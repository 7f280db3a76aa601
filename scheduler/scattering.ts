/**
 * Which nodes may have connections that the bucket table does not lead to. Frames without a connection where the table leads are
 * searched for on these nodes. After a takeover or a conflict that is every node, until it has told otherwise. Pure.
 */
import { SCATTERED_LEAST_MS, STEER_CHANGES, STEER_PROPOSALS } from "../conf/limits.ts";
import { waitingCount } from "./feed/feed.ts";
import { hasBit } from "./feed/feed-message.ts";
import type { Change } from "./policy/choice.ts";
import { mergeConnection } from "./policy/merge.ts";
import { nodesTable, tellAll, type Steering } from "./steering.ts";

export interface Scattering {
  /** Node numbers. */
  readonly numbers: Set<number>;
  /** By number: the buckets that a node has connections of, as it told last, and that can't name it. */
  readonly crowded: Map<number, number>;
  /** The latest takeover or conflict. */
  since_ns: bigint;
  /** For so long hosts with an old ARP entry may still be opening connections by another table. */
  readonly least_ns: bigint;
}

/** Nothing is known of these nodes' connections yet. */
export function createScattering(
  numbers: Iterable<number>,
  since_ns: bigint,
  least_ms: number = SCATTERED_LEAST_MS,
): Scattering {
  return { numbers: new Set(numbers), crowded: new Map(), since_ns, least_ns: BigInt(least_ms) * 1_000_000n };
}

/** There is a conflict: nothing is known of these nodes' connections any more. */
export function scatterAll(scattering: Scattering, numbers: Iterable<number>, now_ns: bigint): void {
  for (const number of numbers) scattering.numbers.add(number);
  scattering.since_ns = now_ns;
}

/**
 * A node has told for which buckets of other nodes it has connections. As far as there is room it becomes their previous
 * node; for others it is scattered. Returns whether that is news.
 */
export function takeElsewhere(
  { numbers, crowded, since_ns, least_ns }: Scattering,
  steering: Steering,
  { number, bits, now_ns }: { readonly number: number; readonly bits: Uint8Array; readonly now_ns: bigint },
): boolean {
  const wasScattered = numbers.has(number);
  const unnamed = nameConnections(steering, number, bits);
  crowded.set(number, unnamed);
  if (unnamed > 0) numbers.add(number);
  else if (now_ns - since_ns >= least_ns) numbers.delete(number);
  return numbers.has(number) !== wasScattered;
}

/** Returns to how many of these buckets' connections the table does not lead now. */
function nameConnections(steering: Steering, number: number, bits: Uint8Array): number {
  const table = nodesTable(steering);
  const changes: Change[] = [];
  let unnamed = 0;
  const isBusy = steering.isFrozen || waitingCount(steering.feed) > STEER_PROPOSALS;
  for (const bucket of bucketsIn(bits)) {
    const isTooMuch = isBusy || changes.length === STEER_CHANGES;
    const merged = isTooMuch ? undefined : mergeConnection(table.policy, bucket, number);
    if (merged?.kind === "kept") changes.push(merged.change);
    else if (merged?.kind !== "none") unnamed++;
  }
  tellAll(steering, table, changes);
  return unnamed;
}

function* bucketsIn(bits: Uint8Array): Generator<number> {
  for (let byte = 0; byte < bits.length; byte++) {
    if (bits[byte] === 0) continue;
    for (let bucket = byte * 8; bucket < byte * 8 + 8; bucket++) if (hasBit(bits, bucket)) yield bucket;
  }
}
