/**
 * What this process knows of the array's nodes, and what follows from it: a node takes packets when its MAC address
 * is known and the sweep does not count it as failed; it gets new buckets when it is enabled and has a weight,
 * besides. The own node is always up: its packets only go up the own stack.
 */
import { formatMac, parseIp, parseMac } from "../conf/address.ts";
import { NOBODY } from "../conf/limits.ts";
import type { NodeConfig } from "../conf/schema.ts";
import type { DataPlaneMaps } from "./data-plane.ts";
import type { PolicyNode } from "./policy.ts";

export interface Member {
  readonly config: NodeConfig;
  readonly isSelf: boolean;
  mac: Uint8Array | undefined;
  isFailed: boolean;
}

/**
 * The members at the start. What a running data plane knows already is kept, so that a restart of this process
 * moves no flow.
 */
export function createMembers(
  nodes: readonly NodeConfig[],
  self: NodeConfig,
  ownMac: Uint8Array,
  maps: DataPlaneMaps,
): Member[] {
  return nodes.map((config) => {
    const isSelf = config.number === self.number;
    if (isSelf) return { config, isSelf, mac: ownMac, isFailed: false };
    const known = maps.readNode(config.number);
    const wasSet = known.mac.some((byte) => byte !== 0);
    const configured = config.mac === undefined ? undefined : parseMac(config.mac);
    const mac = configured ?? (wasSet ? known.mac : undefined);
    return { config, isSelf, mac, isFailed: wasSet && !known.isUp };
  });
}

export const isUp = (member: Member): boolean =>
  member.isSelf || (member.mac !== undefined && !member.isFailed);

/** The nodes as the policy sees them. */
export function policyNodes(members: readonly Member[]): PolicyNode[] {
  return members.map((member) => ({
    number: member.config.number,
    weight: member.config.enabled && isUp(member) ? member.config.weight : 0,
  }));
}

/** Tells the program of all members; nodes that are no longer configured take no more packets. */
export function writeMembers(maps: DataPlaneMaps, members: readonly Member[]): void {
  const macs = members.flatMap(({ mac }) => (mac === undefined ? [] : [mac]));
  maps.setMembers(macs);
  const left = new Set(Array.from({ length: NOBODY }, (_, number) => number));
  for (const member of members) {
    left.delete(member.config.number);
    if (member.mac === undefined) continue;
    maps.setNode(member.config.number, member.mac, { isUp: isUp(member), isSelf: member.isSelf });
  }
  for (const number of left) {
    const { mac, isUp } = maps.readNode(number);
    if (isUp) maps.setNode(number, mac, { isUp: false, isSelf: false });
  }
}

/** Addresses whose MAC is to be asked for: not configured, and unknown or of a node that may have been replaced. */
export function wantedAddresses(members: readonly Member[]): string[] {
  return members
    .filter(({ config, isSelf, mac, isFailed }) => {
      return !isSelf && config.mac === undefined && (mac === undefined || isFailed);
    })
    .map(({ config }) => config.address);
}

/** Takes in a neighbour's answer; returns the member when its MAC address is news. */
export function learnMac(members: readonly Member[], address: string, mac: Uint8Array): Member | undefined {
  const member = members.find(({ config }) => parseIp(config.address)?.text === address);
  if (member === undefined || member.isSelf || member.config.mac !== undefined) return undefined;
  if (member.mac !== undefined && formatMac(member.mac) === formatMac(mac)) return undefined;
  member.mac = mac;
  return member;
}
