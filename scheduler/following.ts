/**
 * The scheduler process of a node that does not schedule: its table follows the scheduler's, and it tells which
 * connections it still has of buckets that have moved away.
 */
import { monotonic_ms } from "../conf/clock.ts";
import { DOUBT_MOST_MS, FOLLOW_AFTER_MS } from "../conf/limits.ts";
import type { NodeStateName } from "../conf/messages.ts";
import type { NodeConfig } from "../conf/schema.ts";
import { JUDGE_EVERY_MS } from "../net/heartbeat-watch.ts";
import { flagsOf, isFollowing, withPrevious, type Follow, type Taken } from "./feed/follow.ts";
import { startFollower, type Follower } from "./feed/follower.ts";
import { listConnected, startHeldRounds } from "./held/held-rounds.ts";
import { writeHost, writeMacs, writeMembers, writeNode, type Machine } from "./machine.ts";
import { stateOf, type NodeState } from "./plane/interface-maps.ts";
import type { Left } from "./roles.ts";
import { ownerOf, readWord } from "./table.ts";

/** What the process does, as its reports and its operator see it. */
export interface Following {
  readonly kind: "following";
  /** Undefined while no node schedules, or one that is not configured. */
  readonly scheduler: NodeConfig | undefined;
  readonly follow: Follow;
  /** What heartbeat answers tell of the table: 0 while it is not whole, or not of the present epoch. */
  tableVersion(): number;
  /** A MAC address is news. */
  changed(): void;
  stateOf(number: number): { readonly state: NodeStateName; readonly reason: string };
  stop(): Promise<void>;
  giveUp(): Follow;
}

export interface FollowingOptions {
  readonly epoch: number;
  readonly scheduler: NodeConfig | undefined;
  readonly left: Left;
}

/** Follows a scheduler until stopped; without one, the table stays as it is. */
export function startFollowing(machine: Machine, { epoch, scheduler, left }: FollowingOptions): Following {
  const { follow } = left;
  const apply = (): void => {
    // The failover process may have marked a dead scheduler: what that one told of itself counts no more.
    if (machine.plane.lease.epoch() === epoch) applyFlags(machine, follow);
  };
  const follower = scheduler === undefined ? undefined : followerOf(machine, scheduler, follow, apply);
  const rounds = follower === undefined ? undefined : roundsOf(machine, follow, follower);
  // The program tells of what it does by itself; that is no news to anybody here.
  const doubtEnd_ms = monotonic_ms() + DOUBT_MOST_MS;
  const look = (): void => {
    machine.plane.consumeEvents(() => undefined);
    machine.plane.setInDoubt(!isFollowing(follow) && monotonic_ms() < doubtEnd_ms);
  };
  const drain = setInterval(look, JUDGE_EVERY_MS);
  apply();
  look();
  if (follow.keeps !== undefined) machine.plane.setHasPrevious(true);
  machine.plane.setMerging(false);
  return {
    kind: "following",
    scheduler,
    follow,
    tableVersion: () => {
      const isInUse = follow.isWhole && follow.keeps === undefined;
      return isInUse && follow.position.epoch === epoch ? follow.position.version : 0;
    },
    changed: apply,
    stateOf: (number) => toldState(follow, scheduler, number),
    stop: async () => {
      clearInterval(drain);
      follower?.stop();
      rounds?.stop();
    },
    giveUp: () => follow,
  };
}

function followerOf(machine: Machine, scheduler: NodeConfig, follow: Follow, apply: () => void): Follower {
  const { config, arrayKey, log } = machine;
  return startFollower({
    address: scheduler.address,
    port: config.scheduler.port,
    arrayKey,
    follow,
    after_ms: FOLLOW_AFTER_MS,
    listConnected: () => listConnected(machine),
    onTaken: (taken) => take(machine, follow, taken, apply),
    log,
  });
}

function roundsOf(machine: Machine, follow: Follow, follower: Follower): { stop(): void } {
  const { node, areas } = machine;
  const { table } = areas[0]!;
  return startHeldRounds({
    machine,
    isWanted: () => isFollowing(follow) && isTellingWanted(follow, node.number),
    version: () => follow.position.version,
    isElsewhere: (bucket) => ownerOf(readWord(table, bucket)) !== node.number,
    onHeld: ({ bits, connections }, version) => {
      if (bits !== undefined) follower.tellHeld("", version, bits, connections);
    },
  });
}

/** Whether it matters which connections this node has. */
function isTellingWanted(follow: Follow, number: number): boolean {
  const { isDraining, isScattered } = toldOf(follow, "", number);
  return withPrevious(follow, "") > 0 || isDraining || isScattered === true;
}

/** What the scheduler has told of a node, or of a direct pool's host; all false before it has. */
function toldOf(follow: Follow, group: string, number: number): NodeState {
  return stateOf(flagsOf(follow, group)?.[number] ?? 0);
}

function take({ plane }: Machine, follow: Follow, taken: Taken, apply: () => void): void {
  if (taken.hasFlags === true || taken.isOpening === true) apply();
  // A table that is held back may have others than what has been told.
  plane.setHasPrevious(withPrevious(follow, "") > 0 || follow.keeps !== undefined);
  if (taken.isOpening === true) plane.setHasTable(true);
}

/**
 * Writes what the scheduler holds of all nodes and hosts. Before it has told anything the map stays as it is, but for
 * the MAC addresses: heartbeats go there, and by them this node finds out who schedules. While the table before is still in
 * use the nodes stay as they are, too: it leads to some that this scheduler may have only just heard again. Any of
 * them, and of those that the scheduler hears, may have connections that the table does not lead to.
 */
function applyFlags(machine: Machine, follow: Follow): void {
  const { members, hosts } = machine;
  writeMembers(machine);
  const hasTold = follow.seen > 0;
  const isTold = hasTold && follow.keeps === undefined;
  for (const member of members) {
    const { isUp, isReachable, ...rest } = toldOf(follow, "", member.config.number);
    const { isSelf } = member;
    if (isUp) member.hasBeenUp = true;
    if (isSelf || isTold)
      writeNode(machine, member, { ...rest, isUp: isSelf || isUp, isReachable: isSelf || isReachable });
    else writeMacs(machine, member, { isScattered: true, isReachable });
  }
  for (const host of hasTold ? hosts : []) {
    writeHost(machine, host, toldOf(follow, host.area.name, host.number).isUp);
  }
}

const told = (state: NodeStateName) => ({ state, reason: "" });

/** A node's state as the scheduler tells it by flags; why it is so, the scheduler alone knows. */
function toldState(
  follow: Follow,
  scheduler: NodeConfig | undefined,
  number: number,
): { state: NodeStateName; reason: string } {
  if (scheduler === undefined) return { state: "starting", reason: "no node schedules yet" };
  if (!isFollowing(follow))
    return { state: "starting", reason: "this node does not follow the scheduler yet" };
  const { isUp, isReachable, isDraining } = toldOf(follow, "", number);
  if (!isReachable) return told("down");
  if (!isUp) return told("failed");
  return told(isDraining ? "draining" : "up");
}
