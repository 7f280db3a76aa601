/**
 * The scheduler process of a node that does not schedule: its table follows the scheduler's, and it tells which
 * connections it still has of buckets that have moved away.
 */
import type { NodeStateName } from "../conf/messages.ts";
import type { NodeConfig } from "../conf/schema.ts";
import { createFollow, flagsOf, isFollowing, withPrevious, type Follow, type Taken } from "./feed/follow.ts";
import { startFollower } from "./feed/follower.ts";
import { startHeldRounds } from "./held/held-rounds.ts";
import { NODE_DRAINING, NODE_REACHABLE, NODE_UP } from "./layout.ts";
import { writeHost, writeMembers, writeNode, type Machine } from "./machine.ts";
import { previousOf, readWord } from "./table.ts";

/** What the process does, as its reports and its operator see it. */
export interface Following {
  readonly kind: "following";
  readonly follow: Follow;
  /** A MAC address is news. */
  changed(): void;
  stateOf(number: number): { readonly state: NodeStateName; readonly reason: string };
  stop(): void;
}

/** Follows a scheduler until stopped. */
export function startFollowing(machine: Machine, scheduler: NodeConfig): Following {
  const { plane, areas, node, config, arrayKey, log } = machine;
  plane.setScheduling(false);
  const follow = createFollow({ number: node.number, groups: areas });
  const table = areas[0]!.table;
  const apply = (): void => applyFlags(machine, follow, scheduler.number);
  const follower = startFollower({
    address: scheduler.address,
    port: config.scheduler.port,
    arrayKey,
    follow,
    onTaken: (taken) => take(machine, follow, taken, apply),
    log,
  });
  const rounds = startHeldRounds({
    machine,
    isWanted: () => isFollowing(follow) && (withPrevious(follow, "") > 0 || isDraining(follow, node.number)),
    version: () => follow.position.version,
    isPreviousOf: (bucket) => previousOf(readWord(table, bucket)) === node.number,
    onHeld: ({ bits, connections }, version) => {
      if (bits !== undefined) follower.tellHeld("", version, bits, connections);
    },
  });
  apply();
  return {
    kind: "following",
    follow,
    changed: apply,
    stateOf: (number) => toldState(follow, number),
    stop: () => {
      follower.stop();
      rounds.stop();
    },
  };
}

function isDraining(follow: Follow, number: number): boolean {
  return ((flagsOf(follow, "")?.[number] ?? 0) & NODE_DRAINING) !== 0;
}

function take({ plane }: Machine, follow: Follow, taken: Taken, apply: () => void): void {
  if (taken.hasFlags === true || taken.isOpening === true) apply();
  plane.setHasPrevious(withPrevious(follow, "") > 0);
  plane.setTableVersion(follow.position.version);
  plane.setEpoch(follow.seen);
}

/** Writes what the scheduler holds of all nodes and hosts. Before it has told anything, the map stays as it is. */
function applyFlags(machine: Machine, follow: Follow, scheduler: number): void {
  const { plane, members, hosts } = machine;
  writeMembers(machine);
  const schedulerLinks = members.find(({ config }) => config.number === scheduler)?.links ?? [];
  plane.planes.forEach((one, segment) => one.setSchedulerMac(schedulerLinks[segment]?.mac));
  const isTold = follow.seen > 0;
  for (const member of members) {
    const flags = flagsOf(follow, "")?.[member.config.number] ?? 0;
    if (!isTold && !member.isSelf) continue;
    writeNode(machine, member, {
      isUp: member.isSelf || (flags & NODE_UP) !== 0,
      isReachable: member.isSelf || (flags & NODE_REACHABLE) !== 0,
      isDraining: (flags & NODE_DRAINING) !== 0,
    });
  }
  for (const host of isTold ? hosts : []) {
    writeHost(machine, host, ((flagsOf(follow, host.area.name)?.[host.number] ?? 0) & NODE_UP) !== 0);
  }
}

const told = (state: NodeStateName) => ({ state, reason: "" });

/** A node's state as the scheduler tells it by flags; why it is so, the scheduler alone knows. */
function toldState(follow: Follow, number: number): { state: NodeStateName; reason: string } {
  if (!isFollowing(follow))
    return { state: "starting", reason: "this node does not follow the scheduler yet" };
  const flags = flagsOf(follow, "")?.[number] ?? 0;
  if ((flags & NODE_REACHABLE) === 0) return told("down");
  if ((flags & NODE_UP) === 0) return told("failed");
  return told((flags & NODE_DRAINING) === 0 ? "up" : "draining");
}
