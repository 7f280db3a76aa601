/**
 * When the VIPs are announced: several times after this node has become the scheduler, and again after others may have
 * learnt another node's address. Pure.
 */
import { ANNOUNCE_AT_MS } from "../conf/limits.ts";
import { MERGE_NS, MS } from "./timing.ts";

/** A foreign claim is answered at most this often: two that both insist must not flood the segment. */
const FOREIGN_NS = 1000 * MS;
/** Two nodes that both schedule for a moment must not, either. */
const MEMBER_NS = 100 * MS;

export interface Announcing {
  /** The series counts from here. */
  readonly from_ns: number;
  /** How many of its announcements have been made. */
  readonly made: number;
  /** When a foreign claim was answered last. */
  readonly foreign_ns: number;
}

export const newAnnouncing = (now_ns: number): Announcing => ({
  from_ns: now_ns,
  made: 0,
  foreign_ns: -Infinity,
});

/** The series begins anew. */
export const announceAgain = (before: Announcing, now_ns: number): Announcing => ({
  ...before,
  from_ns: now_ns,
  made: 0,
});

/** Somebody else claims a VIP: undefined when that was answered just now. */
export function answerForeign(before: Announcing, now_ns: number): Announcing | undefined {
  if (now_ns - before.foreign_ns < FOREIGN_NS) return undefined;
  return { from_ns: now_ns, made: 0, foreign_ns: now_ns };
}

/**
 * Another node claims a VIP: undefined when announcements have just begun, or are about to. It schedules, too, for a moment; heartbeats
 * settle that.
 */
export function answerMember(before: Announcing, now_ns: number): Announcing | undefined {
  return now_ns - before.from_ns < MEMBER_NS ? undefined : announceAgain(before, now_ns + MERGE_NS);
}

/** What is due. Announcements that were missed while the process was held up are made up for by one. */
export function announceDue(
  before: Announcing,
  now_ns: number,
): { readonly announcing: Announcing; readonly isDue: boolean } {
  const passed_ns = now_ns - before.from_ns;
  let due = before.made;
  while (due < ANNOUNCE_AT_MS.length && ANNOUNCE_AT_MS[due]! * MS <= passed_ns) due++;
  if (due === before.made) return { announcing: before, isDue: false };
  return { announcing: { ...before, made: due }, isDue: true };
}
