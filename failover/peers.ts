/** What the peers' kernels have told: read off their rows on the peers page, of all segments together. */
import { HEARTBEAT_HEARS, HEARTBEAT_LEASED, HEARTBEAT_STANDS } from "../net/heartbeat.ts";
import { schedulerIn } from "../conf/epoch.ts";
import type { PeerFacts, PeerRow } from "./facts.ts";

/** How long an answer may take, at most; see net/liveness.ts. */
const ANSWER_NS = 20_000_000;
/** So many questions without an answer: whoever does not answer these is not there. */
const UNANSWERED = 3;

/** Its latest answer, on whatever segment it came. */
export function latestOf({ rows }: PeerFacts): PeerRow {
  let latest = rows[0]!;
  for (const row of rows) if (row.answered_ns > latest.answered_ns) latest = row;
  return latest;
}

/** Whether it has answered a question that was asked at a time or later. */
export const hasAnswered = (peer: PeerFacts, since_ns: number): boolean =>
  peer.rows.some(({ answered_ns }) => answered_ns >= since_ns);

/** Whether it would take over, by its latest answer. */
export const isCandidate = (peer: PeerFacts, since_ns: number): boolean =>
  hasAnswered(peer, since_ns) && (latestOf(peer).flags & HEARTBEAT_STANDS) !== 0;

/** Whether an answer says that its sender schedules in an epoch, and answers for the VIPs. */
export const isLeasedIn = ({ epoch, flags, answered_ns }: PeerRow, of: number): boolean =>
  answered_ns > 0 && epoch === of && (flags & HEARTBEAT_LEASED) !== 0;

/** Whether an answer says that its sender has the table of an epoch. */
export const hasTableOf = ({ epoch, table_version }: PeerRow, of: number): boolean =>
  epoch === of && table_version > 0;

/** Whether an answer says that its sender's kernel hears the scheduler of an epoch. */
export const hearsSchedulerOf = ({ epoch, flags }: PeerRow, of: number): boolean =>
  epoch === of && (flags & HEARTBEAT_HEARS) !== 0;

/** The latest epoch that any of them has told of, or `least` if that is later. */
export function latestEpoch(peers: readonly PeerFacts[], least: number): number {
  let latest = least;
  for (const { rows } of peers) for (const { epoch } of rows) if (epoch > latest) latest = epoch;
  return latest;
}

/** The peer that schedules in an epoch; undefined for none, for this node, and for one that is not configured. */
export function schedulerAmong(peers: readonly PeerFacts[], epoch: number): PeerFacts | undefined {
  const number = schedulerIn(epoch);
  return number === undefined ? undefined : peers.find((peer) => peer.number === number);
}

/** How many questions since a time have had `within_ns` to be answered, and were not. */
export function unanswered({ sent, answered_ns }: PeerRow, since_ns: number, overdueAt_ns: number): number {
  let count = 0;
  for (let i = sent.count - 1; i >= 0; i--) {
    if (sent.sent_ns[i]! <= answered_ns || sent.sent_ns[i]! < since_ns) break;
    if (sent.handed_ns[i]! <= overdueAt_ns) count++;
  }
  return count;
}

/** Whether a peer has answered nothing since a time, though it was asked often enough wherever it can be asked. */
export function isAbsent(peer: PeerFacts, since_ns: number, now_ns: number): boolean {
  return peer.rows.every(
    (row) => !row.knowsMac || unanswered(row, since_ns, now_ns - ANSWER_NS) >= UNANSWERED,
  );
}

/** Whether it can be asked on some segment. */
export const isAskable = ({ rows }: PeerFacts): boolean => rows.some(({ knowsMac }) => knowsMac);
