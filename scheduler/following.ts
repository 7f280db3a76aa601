/**
 * The scheduler process of a node that does not schedule: its table follows the scheduler's, and it tells which
 * connections it still has of buckets that have moved away.
 */
import type { NodeStateName } from "../conf/messages.ts";
import type { NodeConfig } from "../conf/schema.ts";
import { createFollow, flagsOf, isFollowing, withPrevious, type Follow, type Taken } from "./feed/follow.ts";
import { startFollower } from "./feed/follower.ts";
import { startHeldRounds } from "./held/held-rounds.ts";
import { writeHost, writeMembers, writeNode, type Machine } from "./machine.ts";
import { stateOf, type NodeState } from "./plane/interface-maps.ts";
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
    isWanted: () =>
      isFollowing(follow) && (withPrevious(follow, "") > 0 || toldOf(follow, "", node.number).isDraining),
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

/** What the scheduler has told of a node, or of a direct pool's host; all false before it has. */
function toldOf(follow: Follow, group: string, number: number): NodeState {
  return stateOf(flagsOf(follow, group)?.[number] ?? 0);
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
    if (!isTold && !member.isSelf) continue;
    const { isUp, isReachable, isDraining } = toldOf(follow, "", member.config.number);
    const { isSelf } = member;
    writeNode(machine, member, { isUp: isSelf || isUp, isReachable: isSelf || isReachable, isDraining });
  }
  for (const host of isTold ? hosts : []) {
    writeHost(machine, host, toldOf(follow, host.area.name, host.number).isUp);
  }
}

const told = (state: NodeStateName) => ({ state, reason: "" });

/** A node's state as the scheduler tells it by flags; why it is so, the scheduler alone knows. */
function toldState(follow: Follow, number: number): { state: NodeStateName; reason: string } {
  if (!isFollowing(follow))
    return { state: "starting", reason: "this node does not follow the scheduler yet" };
  const { isUp, isReachable, isDraining } = toldOf(follow, "", number);
  if (!isReachable) return told("down");
  if (!isUp) return told("failed");
  return told(isDraining ? "draining" : "up");
}
