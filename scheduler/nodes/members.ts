/**
 * What this process knows of the array's nodes, and what follows from it. Pure but for the writer at the end.
 *
 * The scheduler judges: a node takes frames when its MAC addresses are known, its kernel answers heartbeats on every
 * segment, its processes answer the sweep and it follows the bucket table. The other nodes are told.
 */
import { formatMac, parseIp, parseMac } from "../../conf/address.ts";
import { FOLLOW_GRACE_MS, FAILED_KEEPS_UP_MS, NOBODY } from "../../conf/limits.ts";
import type { NodeStateName } from "../../conf/messages.ts";
import type { NodeConfig } from "../../conf/schema.ts";
import type { Condition } from "../policy/policy.ts";

/** One segment's side of a node. */
export interface MemberLink {
  readonly address: string;
  readonly isMacConfigured: boolean;
  mac: Uint8Array | undefined;
  /** Whether its kernel answers heartbeats there. */
  isReachable: boolean;
}
export interface Member {
  readonly config: NodeConfig;
  readonly isSelf: boolean;
  /** By segment, in the configuration's order. */
  readonly links: readonly MemberLink[];
  /** Whether its processes answer the sweep and serve; undefined before it is known. */
  isServing: boolean | undefined;
  /** Why it doesn't serve, for people. */
  complaint: string;
  /** Since when it doesn't (CLOCK_MONOTONIC, ms). */
  complaint_since_ms: number;
  isDraining: boolean;
  /**
   * Changes of the table have not waited for it: it must have what there was when it came back before it is up. The
   * version, once that is known.
   */
  isBehind: boolean;
  catchUp_version: number | undefined;
  /** Whether it follows the bucket table, and since when it doesn't. */
  isInStep: boolean;
  outOfStep_since_ms: number;
  /** Once it has been up, silence means that it is down, not that it is starting. */
  hasBeenUp: boolean;
  /** Open connections to the VIPs that it told of, when it was last asked; undefined: not known. */
  connectionsLeft: number | undefined;
}

/** What the data plane knows of a node: from a process before this one, or from the scheduler that was followed. */
export interface FormerNode {
  readonly macs: readonly (Uint8Array | undefined)[];
  readonly isUp: boolean;
  readonly isReachable: boolean;
  readonly isDraining: boolean;
}

/**
 * A member at the start, or when this node begins to schedule. What the data plane knows is kept, so that no flow moves
 * because another process, or the process of another node, judges from now on.
 */
export function createMember(
  config: NodeConfig,
  own: { readonly number: number; readonly macs: readonly Uint8Array[] },
  former: FormerNode | undefined,
  now_ms: number,
): Member {
  const isSelf = config.number === own.number;
  const segments = [{ address: config.address, mac: config.mac }, ...config.interfaces];
  const links = segments.map(({ address, mac }, i): MemberLink => {
    const configured = mac === undefined ? undefined : parseMac(mac);
    const known = isSelf ? own.macs[i] : (configured ?? former?.macs[i]);
    const isReachable = isSelf || (former?.isReachable ?? false);
    return { address, isMacConfigured: isSelf || configured !== undefined, mac: known, isReachable };
  });
  return {
    config,
    isSelf,
    links,
    // This node serves until its own sweep says otherwise: somebody has to.
    isServing: isSelf || former?.isUp === true ? true : undefined,
    complaint: "",
    // Whoever has not been up is not kept up.
    complaint_since_ms: -Infinity,
    isDraining: former?.isDraining ?? false,
    isBehind: !isSelf && former?.isUp !== true,
    catchUp_version: undefined,
    isInStep: isSelf,
    outOfStep_since_ms: now_ms,
    hasBeenUp: former?.isUp ?? isSelf,
    connectionsLeft: undefined,
  };
}

/** Nothing counts any more but what the data plane knows of a node: this one begins to schedule. */
export function beginAnew(member: Member, former: FormerNode | undefined, now_ms: number): void {
  const { config, isSelf, links } = member;
  const own = { number: isSelf ? config.number : NOBODY, macs: [] };
  const { links: anew, ...rest } = createMember(config, own, former, now_ms);
  anew.forEach(({ isReachable }, i) => (links[i]!.isReachable = isReachable));
  Object.assign(member, rest, { hasBeenUp: member.hasBeenUp || rest.hasBeenUp });
}

/** What the scheduler holds of a node. */
export interface Judgement {
  readonly condition: Condition;
  /** Whether the program sends it frames of its buckets. */
  readonly isUp: boolean;
  readonly isReachable: boolean;
  readonly state: NodeStateName;
  /** For people; empty when there is nothing to tell. */
  readonly reason: string;
}

/** Judges a node. `buckets` is how many it has or is planned to have. */
export function judgeMember(member: Member, buckets: number, now_ms: number): Judgement {
  const silence = silenceOf(member);
  if (silence !== "") {
    const state = member.hasBeenUp ? "down" : "starting";
    return { condition: "down", isUp: false, isReachable: false, state, reason: silence };
  }
  const failure = failureOf(member, now_ms);
  if (failure !== "") {
    // Its buckets move while it still gets their frames: its kernel lives, and so may its connections.
    const isUp = member.isSelf || (buckets > 0 && now_ms - member.complaint_since_ms < FAILED_KEEPS_UP_MS);
    const state = member.hasBeenUp ? "failed" : "starting";
    return { condition: "leaving", isUp, isReachable: true, state, reason: failure };
  }
  if (member.isDraining || !member.config.enabled) {
    const { state, reason } = leavingState(member, buckets);
    return { condition: "leaving", isUp: true, isReachable: true, state, reason };
  }
  return { condition: "up", isUp: true, isReachable: true, state: "up", reason: "" };
}

function silenceOf({ isSelf, links }: Member): string {
  if (isSelf) return "";
  const unknown = links.find(({ mac }) => mac === undefined);
  if (unknown !== undefined) return `the MAC address of ${unknown.address} is not known`;
  const silent = links.find(({ isReachable }) => !isReachable);
  return silent === undefined ? "" : `its kernel at ${silent.address} is silent`;
}

function failureOf(member: Member, now_ms: number): string {
  if (member.isServing === undefined) return "it has not answered the sweep yet";
  if (!member.isServing) return member.complaint;
  if (member.isSelf) return "";
  if (member.isBehind) return "it does not have the bucket table yet";
  if (member.isInStep) return "";
  const away_ms = now_ms - member.outOfStep_since_ms;
  return away_ms < FOLLOW_GRACE_MS ? "" : "it does not follow the bucket table";
}

function leavingState(
  { isDraining, connectionsLeft }: Member,
  buckets: number,
): { state: NodeStateName; reason: string } {
  const left = connectionsLeft === undefined ? "connections not counted yet" : plural(connectionsLeft);
  const isEmpty = buckets === 0 && connectionsLeft === 0;
  if (!isDraining) return { state: "disabled", reason: isEmpty ? "" : `${buckets} buckets and ${left} left` };
  if (isEmpty) return { state: "drained", reason: "" };
  return { state: "draining", reason: `${buckets} buckets and ${left} left` };
}

const plural = (count: number): string => `${count} ${count === 1 ? "connection" : "connections"}`;

const LIVING: ReadonlySet<NodeStateName> = new Set(["up", "draining", "drained", "disabled"]);

/**
 * Notes whether changes of the table wait for a node, and whether one that they have not waited for has caught up:
 * `has_version` is what it has acknowledged, null while it does not follow; the table is at `version`.
 */
export function noteStep(
  member: Member,
  { state }: Pick<Judgement, "state">,
  has_version: number | null,
  version: number,
): void {
  if (member.isSelf) return;
  if (!member.isBehind) {
    member.isBehind = !LIVING.has(state);
    member.catchUp_version = undefined;
    return;
  }
  // What it has to have is known when it can be reached again: from then on it only has to be told.
  if (state === "down" || has_version === null) member.catchUp_version = undefined;
  else if (member.catchUp_version === undefined) member.catchUp_version = version;
  else if (has_version >= member.catchUp_version) member.isBehind = false;
}

/** The nodes whose acknowledgement a change of the bucket table waits for. */
export function livingNumbers(members: readonly Member[], judgements: readonly Judgement[]): Set<number> {
  return new Set(
    members.flatMap(({ config, isSelf }, i) => {
      const state = judgements[i]?.state;
      return state !== undefined && LIVING.has(state) && !isSelf ? [config.number] : [];
    }),
  );
}

/** Addresses on a segment whose MAC is to be asked for: unknown, or of a node that may have been replaced. */
export function wantedAddresses(members: readonly Member[], segment: number): string[] {
  return members
    .flatMap(({ links }) => links[segment] ?? [])
    .filter(
      ({ isMacConfigured, mac, isReachable }) => !isMacConfigured && (mac === undefined || !isReachable),
    )
    .map(({ address }) => address);
}

/** Takes in a neighbour's answer; returns the member when its MAC address is news. */
export function learnMac(
  members: readonly Member[],
  segment: number,
  address: string,
  mac: Uint8Array,
): Member | undefined {
  const member = members.find(({ links }) => parseIp(links[segment]?.address ?? "")?.text === address);
  const link = member?.links[segment];
  if (link === undefined || link.isMacConfigured) return undefined;
  if (link.mac !== undefined && formatMac(link.mac) === formatMac(mac)) return undefined;
  link.mac = mac;
  return member;
}
