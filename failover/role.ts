/**
 * What the failover process has to do, as a function of what it is and of the time: renew the lease and announce
 * the VIPs while this node is the scheduler, neither while it isn't. Pure: a tick in, actions out.
 */
import { ANNOUNCE_AT_MS, LEASE_MS } from "../conf/limits.ts";

export interface Role {
  readonly isScheduler: boolean;
  /** When this node became the scheduler (CLOCK_MONOTONIC, ms). */
  readonly since_ms: number;
  /** How many of the announcements at ANNOUNCE_AT_MS have been made. */
  readonly announced: number;
}
export interface RoleActions {
  /** Until when the data plane answers for the VIPs (ms); 0: it does not. */
  readonly lease_until_ms: number;
  readonly isAnnouncing: boolean;
}

/** The role at the start, or when it changes. */
export const newRole = (isScheduler: boolean, now_ms: number): Role => ({
  isScheduler,
  since_ms: now_ms,
  announced: 0,
});

/** One turn. Announcements that were missed while the process was held up are made up for by one. */
export function roleTick(role: Role, now_ms: number): { role: Role; actions: RoleActions } {
  if (!role.isScheduler) return { role, actions: { lease_until_ms: 0, isAnnouncing: false } };
  const due = ANNOUNCE_AT_MS.filter((at_ms) => role.since_ms + at_ms <= now_ms).length;
  return {
    role: { ...role, announced: Math.max(due, role.announced) },
    actions: { lease_until_ms: now_ms + LEASE_MS, isAnnouncing: due > role.announced },
  };
}
