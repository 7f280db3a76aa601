/**
 * The watch over the scheduler of an epoch: is its kernel silent, and where; does it still answer for the VIPs. Pure:
 * the rows of a peer in, verdicts out.
 */
import { LOOK_NS, MS } from "./timing.ts";
import { judge, newLiveness, type Liveness, type LivenessSettings } from "../net/liveness.ts";
import type { PeerFacts, PeerRow } from "./facts.ts";
import { isLeasedIn, latestOf, unanswered } from "./peers.ts";

/** An answer that is not here by then is late; two of them are a reason to ask everybody. */
const LATE_NS = 5 * MS;
const LATE = 2;
/**
 * A scheduler that answers without a lease for so long has lost it for good. One that only stood still for a moment
 * has looked round and gone on by then.
 */
const UNLEASED_NS = 60 * MS;

/** All times in ns. */
export interface Watch {
  readonly epoch: number;
  readonly since_ns: number;
  /** By slot. */
  readonly links: readonly Liveness[];
  /** Since when something seems to be wrong with it; undefined while nothing is. */
  readonly suspectedSince_ns: number | undefined;
  /** When the first of its latest answers was asked for that told of no lease. */
  readonly unleasedSince_ns: number | undefined;
}
export interface Sighting {
  readonly watch: Watch;
  /** Slots where its kernel is silent. */
  readonly silent: readonly number[];
  readonly isUnleased: boolean;
}

/** Nothing is known yet of the scheduler of this epoch. */
export const newWatch = (epoch: number, slots: number, now_ns: number): Watch => ({
  epoch,
  since_ns: now_ns,
  links: Array.from({ length: slots }, () => newLiveness()),
  suspectedSince_ns: undefined,
  unleasedSince_ns: undefined,
});

/** Looks at the scheduler once. To be called at every tick. */
export function look(before: Watch, peer: PeerFacts, now_ns: number, settings: LivenessSettings): Sighting {
  const links: Liveness[] = [];
  const silent: number[] = [];
  let isSuspicious = false;
  for (const [slot, row] of peer.rows.entries()) {
    const { state, isSilent } = judge(before.links[slot] ?? newLiveness(), { now_ns, ...row }, settings);
    links.push(state);
    if (isSilent || isUnknown(row, before, now_ns)) silent.push(slot);
    if (isSilent || unanswered(row, 0, now_ns - LATE_NS) >= LATE) isSuspicious = true;
  }
  const unleasedSince_ns = unleasedSince(before, latestOf(peer));
  if (silent.length > 0 || unleasedSince_ns !== undefined) isSuspicious = true;
  const suspectedSince_ns = isSuspicious ? (before.suspectedSince_ns ?? now_ns) : undefined;
  const isUnleased =
    unleasedSince_ns !== undefined && latestOf(peer).answered_ns - unleasedSince_ns >= UNLEASED_NS;
  return { watch: { ...before, links, suspectedSince_ns, unleasedSince_ns }, silent, isUnleased };
}

/** Whom nobody knows how to ask is not there. */
const isUnknown = ({ knowsMac }: PeerRow, { since_ns }: Watch, now_ns: number): boolean =>
  !knowsMac && now_ns - since_ns >= LOOK_NS;

/** Only questions count, not the time that has passed: while nobody asked, nobody can know. */
function unleasedSince(before: Watch, latest: PeerRow): number | undefined {
  if (isLeasedIn(latest, before.epoch)) return undefined;
  if (latest.answered_ns < before.since_ns) return before.unleasedSince_ns;
  return before.unleasedSince_ns ?? latest.answered_ns;
}
