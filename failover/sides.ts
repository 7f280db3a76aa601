/**
 * How many nodes follow a scheduler, and which of two schedulers goes on when they meet: the one with more nodes on its
 * side, so that a node that was cut off alone does not take the array over when it comes back. Pure.
 */
import { HEARTBEAT_LEASED, sideOf } from "../net/heartbeat.ts";
import type { PeerFacts } from "./facts.ts";
import { hasAnswered, latestOf, schedulerAmong } from "./peers.ts";
import { LEASE_NS, MS } from "./timing.ts";

/** A node counts for a side only when it has been there for so long: whom two schedulers both call theirs decides nothing. */
const RISE_NS = 300 * MS;
/** A rival that has not told of its side by then is yielded to. */
const DISPUTE_NS = 40 * MS;

export interface Side {
  /** Nodes that have followed for long enough, this one included; 0: it does not schedule. */
  readonly nodes: number;
  /** Since when there are more. */
  readonly more_ns: number | undefined;
  /** Since when a later scheduler is known; undefined: none is. */
  readonly disputed_ns: number | undefined;
}

export const NO_SIDE: Side = { nodes: 0, more_ns: undefined, disputed_ns: undefined };
/** Of a scheduler that has just begun. */
export const OWN_SIDE: Side = { ...NO_SIDE, nodes: 1 };

/** The side of the scheduler of an epoch, as it is after a look at its peers. */
export function countSide(before: Side, peers: readonly PeerFacts[], epoch: number, now_ns: number): Side {
  let count = 1;
  for (const peer of peers) {
    const { epoch: theirs, answered_ns } = latestOf(peer);
    if (theirs === epoch && now_ns - answered_ns < LEASE_NS) count++;
  }
  if (count <= before.nodes) return { nodes: count, more_ns: undefined, disputed_ns: undefined };
  const more_ns = before.more_ns ?? now_ns;
  if (now_ns - more_ns < RISE_NS) return { nodes: before.nodes, more_ns, disputed_ns: undefined };
  return { nodes: count, more_ns: undefined, disputed_ns: undefined };
}

/** What a scheduler does about a later one: it goes on in an epoch that is later still, asks it first, or yields. */
export type Verdict = "goes-on" | "asks" | "yields";

export function judgeRival(
  { nodes, disputed_ns }: Side,
  peers: readonly PeerFacts[],
  later: number,
  now_ns: number,
): Verdict {
  const rival = schedulerAmong(peers, later);
  // Alone it is no side.
  if (rival === undefined || nodes < 2) return "yields";
  const since_ns = disputed_ns ?? now_ns;
  if (!hasAnswered(rival, since_ns)) return now_ns - since_ns < DISPUTE_NS ? "asks" : "yields";
  const { epoch, flags } = latestOf(rival);
  const isScheduling = epoch === later && (flags & HEARTBEAT_LEASED) !== 0;
  return isScheduling && sideOf(flags) < nodes ? "goes-on" : "yields";
}
