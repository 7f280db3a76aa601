/**
 * Which of its two roles this node has: whatever the lease page's epoch says. Pure but for the roles themselves, which
 * are handed in. A change is done when `turn` returns: never are there two roles, and as the page is read anew each
 * time, only the latest epoch counts.
 */
import { schedulerIn } from "../conf/epoch.ts";
import type { Follow } from "./feed/follow.ts";

/** What a role leaves to the next one. */
export interface Left {
  /** The tables, as followed up to now. */
  readonly follow: Follow;
  /** When the threads of all roles before have ended, and their port is free again. */
  readonly ended: Promise<unknown>;
}
interface Stoppable {
  /** From here on it does nothing to the tables. Resolves when its threads have ended, and its port is free. */
  stop(): Promise<unknown>;
  /** Another node schedules, or this one in another epoch: the tables as the next role has to begin with them. */
  giveUp(): Follow;
}
export interface RoleStarts<Role extends Stoppable> {
  /** This node's number. */
  readonly number: number;
  schedule(epoch: number, left: Left): Role;
  /** `scheduler` is the number of the node that schedules; undefined: none does. */
  follow(epoch: number, scheduler: number | undefined, left: Left): Role;
}
export interface Roles<Role extends Stoppable> {
  /** Undefined before the first turn. */
  current(): Role | undefined;
  /** Takes the page's epoch. Returns whether the role has changed. */
  turn(epoch: number): boolean;
  /** Resolves when all roles there were have ended. */
  stop(): Promise<void>;
}

/** Begins without a role, with the tables as they are. */
export function createRoles<Role extends Stoppable>(starts: RoleStarts<Role>, follow: Follow): Roles<Role> {
  let role: Role | undefined;
  let inEpoch: number | undefined;
  let left: Left = { follow, ended: Promise.resolve() };
  const stop = (): Promise<unknown> => Promise.all([left.ended, role?.stop()]);
  return {
    current: () => role,
    turn: (epoch) => {
      if (epoch === inEpoch) return false;
      inEpoch = epoch;
      left = { ended: stop(), follow: role?.giveUp() ?? left.follow };
      const scheduler = schedulerIn(epoch);
      const isSelf = scheduler === starts.number;
      role = isSelf ? starts.schedule(epoch, left) : starts.follow(epoch, scheduler, left);
      return true;
    },
    stop: async () => {
      await stop();
    },
  };
}
