/**
 * When the VIPs are announced: several times after this node has become the scheduler, and again after others may have
 * learnt another node's address. Pure.
 */
import { ANNOUNCE_AGAIN_AT_MS, ANNOUNCE_AT_MS } from "../conf/limits.ts";
import { HEARTBEAT_LEASED } from "../net/heartbeat.ts";
import type { PeerFacts } from "./facts.ts";
import { hasAnswered, latestOf } from "./peers.ts";
import { MERGE_MOST_NS, MERGE_NS, MS } from "./timing.ts";

/** A foreign claim is answered at most this often: two that both insist must not flood the segment. */
const FOREIGN_NS = 1000 * MS;
/** Two nodes that both schedule for a moment must not, either. */
const MEMBER_NS = 100 * MS;

/** The others have so long to answer before an announcement that they schedule, too. */
const ASKED_NS = MS;

export interface Announcing {
  /** When, counted from the series' beginning. */
  readonly at_ms: readonly number[];
  /** The series counts from here. */
  readonly from_ns: number;
  /** Till then it waits for a merge of tables that is under way. */
  readonly latest_ns: number;
  /** How many of its announcements have been made. */
  readonly made: number;
  /** When the others were asked whether anything speaks against the one that is due; undefined: not yet. */
  readonly asked_ns: number | undefined;
  /** When a foreign claim was answered last. */
  readonly foreign_ns: number;
}

export const newAnnouncing = (now_ns: number): Announcing => ({
  at_ms: ANNOUNCE_AT_MS,
  from_ns: now_ns,
  latest_ns: now_ns,
  made: 0,
  asked_ns: undefined,
  foreign_ns: -Infinity,
});

/** The series begins anew, when the table knows the connections of whoever has scheduled, too. */
export const announceMerged = (before: Announcing, now_ns: number): Announcing => ({
  ...before,
  at_ms: ANNOUNCE_AGAIN_AT_MS,
  from_ns: now_ns + MERGE_NS,
  latest_ns: now_ns + MERGE_MOST_NS,
  made: 0,
  asked_ns: undefined,
});

/** Somebody else claims a VIP: undefined when that was answered just now. */
export function answerForeign(before: Announcing, now_ns: number): Announcing | undefined {
  if (now_ns - before.foreign_ns < FOREIGN_NS) return undefined;
  return { ...newAnnouncing(now_ns), foreign_ns: now_ns };
}

/**
 * Another node claims a VIP: undefined when announcements have just begun, or are about to. It schedules, too, for a moment; heartbeats
 * settle that.
 */
export function answerMember(before: Announcing, now_ns: number): Announcing | undefined {
  return now_ns - before.from_ns < MEMBER_NS ? undefined : announceMerged(before, now_ns);
}

/** What is due. Announcements that were missed while the process was held up are made up for by one. */
export function announceDue(
  before: Announcing,
  now_ns: number,
  isMerging: boolean,
): { readonly announcing: Announcing; readonly isDue: boolean } {
  const waits = isMerging && before.made === 0 && before.from_ns <= now_ns && now_ns < before.latest_ns;
  if (waits) return { announcing: { ...before, from_ns: now_ns }, isDue: false };
  const passed_ns = now_ns - before.from_ns;
  const { at_ms } = before;
  let due = before.made;
  while (due < at_ms.length && at_ms[due]! * MS <= passed_ns) due++;
  if (due === before.made) return { announcing: before, isDue: false };
  return { announcing: { ...before, made: due, asked_ns: undefined }, isDue: true };
}

/**
 * What is due may be announced when the others have just been asked, and none has answered that it schedules: after a network has
 * healed, an announcement must not come to another scheduler's clients before the two schedulers have met.
 */
export function mayAnnounce(
  { asked_ns }: Announcing,
  peers: readonly PeerFacts[],
  now_ns: number,
): "ask" | "wait" | "hold" | "announce" {
  if (asked_ns === undefined) return "ask";
  if (peers.some((peer) => schedulesSince(peer, asked_ns))) return "hold";
  return now_ns - asked_ns < ASKED_NS ? "wait" : "announce";
}

const schedulesSince = (peer: PeerFacts, since_ns: number): boolean =>
  hasAnswered(peer, since_ns) && (latestOf(peer).flags & HEARTBEAT_LEASED) !== 0;
