/**
 * When the VIPs are announced: several times after this node has become the scheduler, and again after others may have
 * learnt another node's address. Pure.
 */
import { ANNOUNCE_AGAIN_AT_MS, ANNOUNCE_AT_MS } from "../conf/limits.ts";
import { HEARTBEAT_LEASED } from "../net/heartbeat.ts";
import type { ElectorInput, PeerFacts } from "./facts.ts";
import { hasAnswered, latestOf } from "./peers.ts";
import { MERGE_MOST_NS, MERGE_NS, MS, PEER_HEARTBEAT_NS } from "./timing.ts";

/** A foreign claim is answered at most this often: two that both insist must not flood the segment. */
const FOREIGN_NS = 1000 * MS;
/** Two nodes that both schedule for a moment must not, either. */
const MEMBER_NS = 100 * MS;

/** The others have so long to answer before an announcement that they schedule, too. */
const ASKED_NS = MS;
/** While somebody is silent they are asked again and again for so long: on a busy machine answers take their time. */
const ASKED_SILENT_NS = 5 * MS;
/**
 * While somebody is silent the network may be cut in two, and mostly not for long: once its own clients know, a scheduler
 * announces nothing for so long, lest that come to the other side's clients in the instant of healing.
 */
const QUIET_NS = 3000 * MS;
/** By then a scheduler's own clients have had its first announcements. */
const FIRST_NS = 150 * MS;
/** Two questions that were not answered in calm times. */
const SILENT_NS = 2 * PEER_HEARTBEAT_NS;

export interface Announcing {
  /** When, counted from the series' beginning. */
  readonly at_ms: readonly number[];
  /** The series counts from here. */
  readonly from_ns: number;
  /** Till then it waits for a merge of tables that is under way. */
  readonly latest_ns: number;
  /** Whose clients it waits for, as that node sends their frames on meanwhile: when it falls silent nothing is waited for. */
  readonly after: number | undefined;
  /** How many of its announcements have been made. */
  readonly made: number;
  /** When the others were asked whether anything speaks against the one that is due; undefined: not yet. */
  readonly asked_ns: number | undefined;
  /** When a foreign claim was answered last. */
  readonly foreign_ns: number;
}

/** The whole series; `made`: how many of it have been announced already. */
export const newAnnouncing = (now_ns: number, made: number): Announcing => ({
  at_ms: ANNOUNCE_AT_MS,
  from_ns: now_ns,
  latest_ns: now_ns,
  after: undefined,
  made,
  asked_ns: undefined,
  foreign_ns: -Infinity,
});

/**
 * The series begins anew, when the table knows the connections of a node that has scheduled, too. One that still waits for that
 * has been put off once: nodes that come back again and again don't put it off for ever.
 */
export function announceMerged(before: Announcing, now_ns: number, after: number): Announcing {
  const isWaiting = before.after !== undefined && before.made === 0;
  const latest_ns = isWaiting ? before.latest_ns : now_ns + MERGE_MOST_NS;
  return {
    ...before,
    at_ms: ANNOUNCE_AGAIN_AT_MS,
    from_ns: Math.max(now_ns, Math.min(now_ns + MERGE_NS, latest_ns)),
    latest_ns,
    after,
    made: 0,
    asked_ns: undefined,
  };
}

/** Somebody else claims a VIP: undefined when that was answered just now. */
export function answerForeign(before: Announcing, now_ns: number): Announcing | undefined {
  if (now_ns - before.foreign_ns < FOREIGN_NS) return undefined;
  return { ...newAnnouncing(now_ns, 0), foreign_ns: now_ns };
}

/**
 * Another node claims a VIP: undefined when announcements have just begun, or are about to. It schedules, too, for a moment; heartbeats
 * settle that.
 */
export function answerMember(before: Announcing, now_ns: number, number: number): Announcing | undefined {
  return now_ns - before.from_ns < MEMBER_NS ? undefined : announceMerged(before, now_ns, number);
}

/** What a tick does about announcements. */
export interface AnnounceStep {
  readonly announcing: Announcing;
  readonly does: "nothing" | "ask" | "wait" | "announce";
}

/**
 * What is due is announced when the others have just been asked, and none has answered that it schedules: after a network has
 * healed, an announcement must not come to another scheduler's clients before the two schedulers have met. Those that
 * were missed while the process was held up are made up for by one.
 */
export function stepAnnouncing(
  series: Announcing,
  { now_ns, peers, own }: Pick<ElectorInput, "now_ns" | "peers" | "own">,
): AnnounceStep {
  if (series.made === series.at_ms.length) return { announcing: series, does: "nothing" };
  const silent = peers.filter((peer) => now_ns - latestOf(peer).answered_ns > SILENT_NS);
  const before = isForsaken(series, peers, silent)
    ? { ...series, from_ns: Math.min(now_ns, series.from_ns), latest_ns: now_ns, after: undefined }
    : series;
  const { at_ms, from_ns, latest_ns, made } = before;
  const passed_ns = now_ns - from_ns;
  const waits = own.isMerging && made === 0 && passed_ns >= 0 && now_ns < latest_ns;
  if (waits) return { announcing: { ...before, from_ns: now_ns, asked_ns: undefined }, does: "nothing" };
  const isQuiet = silent.length > 0 && passed_ns >= FIRST_NS && passed_ns < QUIET_NS;
  let due = made;
  while (due < at_ms.length && at_ms[due]! * MS <= passed_ns) due++;
  if (isQuiet || due === made) return { announcing: { ...series, asked_ns: undefined }, does: "nothing" };
  const does = stepAsking(series.asked_ns, peers, silent.length > 0 ? ASKED_SILENT_NS : ASKED_NS, now_ns);
  if (does === "announce")
    return { announcing: { ...before, made: due, asked_ns: undefined }, does: "announce" };
  // While it asks, nothing is settled: who was silent may answer.
  const asked_ns = does === "nothing" ? undefined : (series.asked_ns ?? now_ns);
  return { announcing: { ...series, asked_ns }, does };
}

/**
 * Whether the node whose clients are waited for has fallen silent. Where all have, among several, this node itself is rather cut
 * off: its table calls them dead, and no client of theirs must hear of it before it hears them again.
 */
const isForsaken = (
  { after }: Announcing,
  peers: readonly PeerFacts[],
  silent: readonly PeerFacts[],
): boolean =>
  silent.some(({ number }) => number === after) && (silent.length < peers.length || peers.length === 1);

/** They are asked before an announcement, for so long, and none may answer that it schedules. */
function stepAsking(
  asked_ns: number | undefined,
  peers: readonly PeerFacts[],
  for_ns: number,
  now_ns: number,
): AnnounceStep["does"] {
  if (asked_ns === undefined) return "ask";
  if (peers.some((peer) => schedulesSince(peer, asked_ns))) return "nothing";
  if (now_ns - asked_ns >= for_ns) return "announce";
  return for_ns > ASKED_NS ? "ask" : "wait";
}

const schedulesSince = (peer: PeerFacts, since_ns: number): boolean =>
  hasAnswered(peer, since_ns) && (latestOf(peer).flags & HEARTBEAT_LEASED) !== 0;
