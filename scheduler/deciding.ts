/**
 * What the node that schedules decides: it judges all others by what is known of them, and has the tables steered
 * accordingly. Facts and times come in, and what follows goes out by `Effects`: no clock, no sockets, no threads, so a
 * simulator can use it as the process does.
 */
import type { Config } from "../conf/schema.ts";
import type { LivenessChange } from "../net/heartbeat-watch.ts";
import type { Logger } from "../status/log.ts";
import { inStep, recordFlags, setLiving, versionOf } from "./feed/feed.ts";
import { hasBit, type Held } from "./feed/feed-message.ts";
import { NODE_UP } from "./layout.ts";
import type { DirectHost } from "./machine.ts";
import { addMerge, createMerging, mergeTurn, type Merged, type Merging } from "./merging.ts";
import { judgeMember, livingNumbers, noteStep, type Judgement, type Member } from "./nodes/members.ts";
import type { SweepChange } from "./nodes/sweep.ts";
import { flagsOf, type NodeState } from "./plane/interface-maps.ts";
import { noBalance, type BalanceState } from "./policy/balance.ts";
import { bucketsOf, type PolicyNode } from "./policy/policy.ts";
import { createScattering, scatterAll, takeElsewhere, type Scattering } from "./scattering.ts";
import { nodesTable, release, steerNodes, turn, type Steering } from "./steering.ts";

/** What a scheduling node does beside what it tells by its feed. */
export interface Effects {
  /** The program is to know of a node's state. */
  writeNode(member: Member, state: Omit<NodeState, "isSelf">): void;
  writeHost(host: DirectHost, isUp: boolean): void;
  /** Whether some bucket has a previous node. */
  setHasPrevious(hasPrevious: boolean): void;
  /** Whether nodes' connections are being taken in that the table does not lead to yet. */
  setMerging(isMerging: boolean): void;
  /** The feed has something new, or others are living. */
  feedChanged(): void;
  /** Some node may serve by now: the sweep is to ask soon. */
  hurrySweep(): void;
  /** Other MAC addresses may be wanted now. */
  wantMacs(): void;
  readonly log: Pick<Logger, "info" | "warn">;
}
export interface DecidingOptions {
  readonly settings: Pick<Config["scheduler"], "bucket_timeout_s" | "balance">;
  readonly members: readonly Member[];
  readonly hosts: readonly DirectHost[];
  readonly steering: Steering;
  /** Events that the program had counted as lost before. */
  readonly eventsLost: number;
  readonly effects: Effects;
  readonly now_ns: bigint;
}
export interface Deciding extends Omit<DecidingOptions, "eventsLost" | "now_ns"> {
  readonly judgements: Map<number, Judgement>;
  readonly merging: Merging;
  readonly scattering: Scattering;
  /** Since when a node has failed, by number. */
  readonly failedSince_ns: Map<number, bigint>;
  /** The version from which on a leaving node has nothing any more, by number. */
  readonly emptySince: Map<number, number>;
  balance: BalanceState;
  /** Effective weights, by number. */
  weights: ReadonlyMap<number, number>;
  sweptAt_ms: number | null;
  eventsLost: number;
}

const UNKNOWN: Judgement = {
  condition: "down",
  isUp: false,
  isReachable: false,
  state: "starting",
  reason: "",
};

/** Begins to decide; `judge` and `judgeHosts` bring the first verdicts. */
export function createDeciding({ now_ns, ...options }: DecidingOptions): Deciding {
  return {
    ...options,
    judgements: new Map(),
    merging: createMerging(),
    // Connections may have begun of which the scheduler before could not tell any more.
    scattering: createScattering(numbersOf(options), now_ns),
    failedSince_ns: new Map(),
    emptySince: new Map(),
    balance: noBalance,
    weights: new Map(options.members.map(({ config }) => [config.number, config.weight])),
    sweptAt_ms: null,
  };
}

const msOf = (now_ns: bigint): number => Number(now_ns / 1_000_000n);

/** The judgement on a node; nothing known of one that there is not. */
export const judgementOn = ({ judgements }: Deciding, number: number): Judgement =>
  judgements.get(number) ?? UNKNOWN;

const numbersOf = ({ members }: Pick<Deciding, "members">): number[] =>
  members.map(({ config }) => config.number);

function memberOf({ members }: Deciding, number: number): Member | undefined {
  return members.find(({ config }) => config.number === number);
}

/** Judges all nodes, and carries out what follows for those about which the judgement is another one. */
export function judge(deciding: Deciding, now_ns: bigint): void {
  const { steering, judgements, effects } = deciding;
  const { policy } = nodesTable(steering);
  let hasChanged = false;
  const dead: number[] = [];
  for (const member of deciding.members) {
    const { number } = member.config;
    const former = judgements.get(number);
    if (former !== undefined)
      noteStep(member, former, versionOf(steering.feed, number), steering.feed.version);
    const judgement = judgeMember(member, bucketsOf(policy, number), msOf(now_ns));
    judgements.set(number, judgement);
    noteFailure(deciding, number, judgement, now_ns);
    if (former !== undefined && isSame(former, judgement)) continue;
    hasChanged = true;
    if (judgement.condition === "up") member.hasBeenUp = true;
    if (judgement.condition === "down" && former?.condition !== "down") dead.push(number);
    if (judgement.condition === "down") deciding.scattering.crowded.delete(number);
    effects.writeNode(member, stateFor(deciding, member));
    tell(deciding, member, former, judgement);
  }
  if (!hasChanged) return;
  tellFlags(deciding);
  steerNodes(steering, "", policyNodes(deciding), dead);
  effects.wantMacs();
  takeTurn(deciding, now_ns);
}

function noteFailure(
  { failedSince_ns }: Deciding,
  number: number,
  { state }: Judgement,
  now_ns: bigint,
): void {
  if (state !== "failed") failedSince_ns.delete(number);
  else if (!failedSince_ns.has(number)) failedSince_ns.set(number, now_ns);
}

const isSame = (a: Judgement, b: Judgement): boolean =>
  a.condition === b.condition && a.state === b.state && a.isUp === b.isUp && a.isReachable === b.isReachable;

/** The feed's part of the judgements: whose acknowledgement counts, and what the others hold of each node. */
function tellFlags(deciding: Deciding): void {
  const { members, steering } = deciding;
  const judged = members.map(({ config }) => judgementOn(deciding, config.number));
  setLiving(steering.feed, livingNumbers(members, judged));
  const flags = members.map((member): [number, number] => [
    member.config.number,
    flagsOf({ ...stateFor(deciding, member), isSelf: false }),
  ]);
  recordFlags(steering.feed, "", new Map(flags));
}

function stateFor(deciding: Deciding, { config, isDraining, isSelf }: Member): NodeState {
  const { isUp, isReachable } = judgementOn(deciding, config.number);
  const isScattered = deciding.scattering.numbers.has(config.number);
  return { isUp, isReachable, isDraining, isSelf, isScattered };
}

/** The nodes as the policy has to see them. */
export function policyNodes(deciding: Deciding): PolicyNode[] {
  return deciding.members.map(({ config: { number } }) => ({
    number,
    weight: deciding.weights.get(number) ?? 0,
    condition: judgementOn(deciding, number).condition,
  }));
}

function tell(
  { effects }: Deciding,
  member: Member,
  former: Judgement | undefined,
  { state, reason }: Judgement,
): void {
  if (former?.state === state) return;
  const isBad = state === "down" || state === "failed";
  effects.log[isBad ? "warn" : "info"](
    { peer: member.config.name, state, reason },
    isBad ? "a node is routed round" : "a node's state has changed",
  );
}

/** MAC addresses have changed: all that the program knows of the nodes is written anew. */
export function writeNodes(deciding: Deciding): void {
  for (const member of deciding.members) deciding.effects.writeNode(member, stateFor(deciding, member));
}

/** A direct pool's host is up when it can be reached and its check is good. */
export const isHostUp = ({ macs, isGood }: DirectHost): boolean =>
  isGood === true && macs.some((mac) => mac !== undefined);

/** Judges the hosts of direct pools. */
export function judgeHosts(deciding: Deciding, now_ns: bigint): void {
  const { steering, effects } = deciding;
  for (const { name } of steering.tables.filter(({ name }) => name !== "")) {
    const hosts = deciding.hosts.filter(({ area }) => area.name === name);
    const up = new Set(hosts.filter(isHostUp));
    for (const host of hosts) effects.writeHost(host, up.has(host));
    const flags = hosts.map((host): [number, number] => [host.number, up.has(host) ? NODE_UP : 0]);
    recordFlags(steering.feed, name, new Map(flags));
    const nodes = hosts.map((host): PolicyNode => {
      return { number: host.number, weight: host.weight, condition: up.has(host) ? "up" : "down" };
    });
    const dead = nodes.filter(({ condition }) => condition === "down").map(({ number }) => number);
    steerNodes(steering, name, nodes, dead);
  }
  takeTurn(deciding, now_ns);
}

/** Plans and settles what is due. To be called every few milliseconds. */
export function takeTurn(deciding: Deciding, now_ns: bigint): void {
  const { steering, merging, effects } = deciding;
  const before = steering.feed.version;
  const merged = mergeTurn(merging, steering, { now_ns, behind: behindOf(deciding) });
  steering.isMerging = merging.merges.length > 0;
  if (merged.length > 0) effects.setMerging(steering.isMerging);
  for (const one of merged) tellOfMerge(deciding, one);
  if (turn(steering, now_ns) || steering.feed.version !== before || merged.length > 0) effects.feedChanged();
}

function tellOfMerge(deciding: Deciding, { number, merged }: Merged): void {
  if (merged === 0) return;
  const peer = memberOf(deciding, number)?.config.name;
  deciding.effects.log.info(
    { peer, merged },
    "buckets have got a previous node, which has connections of them",
  );
}

/** Nodes that may be about to tell of their connections. */
function behindOf(deciding: Deciding): number[] {
  if (deciding.merging.merges.length === 0) return [];
  return deciding.members
    .filter(
      ({ config, isSelf, isInStep }) =>
        !isSelf && !isInStep && judgementOn(deciding, config.number).isReachable,
    )
    .map(({ config }) => config.number);
}

/** A node's kernel has fallen silent on a segment, or is back. `judge` has to follow. */
export function takeLiveness(deciding: Deciding, { slot, peer, phase }: LivenessChange): void {
  const member = memberOf(deciding, peer);
  const link = member?.links[slot];
  if (member === undefined || link === undefined) return;
  link.isReachable = phase === "reachable";
  if (link.isReachable && member.isServing !== true) deciding.effects.hurrySweep();
}

/** A node has the table now, or does not follow it any more. */
export function takeStep(deciding: Deciding, number: number, now_ns: bigint): void {
  const member = memberOf(deciding, number);
  if (member === undefined) return;
  member.isInStep = inStep(deciding.steering.feed, number);
  member.outOfStep_since_ms = msOf(now_ns);
  if (member.isInStep && member.isServing !== true) deciding.effects.hurrySweep();
  judge(deciding, now_ns);
}

/** The sweep says that a node has failed, or is back. */
export function takeSweep(deciding: Deciding, { node, failed, reason }: SweepChange, now_ns: bigint): void {
  const member = memberOf(deciding, node);
  if (member === undefined) return;
  member.isServing = !failed;
  member.complaint = reason;
  member.complaint_since_ms = msOf(now_ns);
  judge(deciding, now_ns);
}

/** Which connections a node has, as it told. */
export function takeHeld(
  deciding: Deciding,
  number: number,
  { version, bits, connections }: Pick<Held, "version" | "bits" | "connections">,
  now_ns: bigint,
): void {
  const member = memberOf(deciding, number);
  if (member === undefined) return;
  const since = deciding.emptySince.get(number);
  member.connectionsLeft = since === undefined || version >= since ? connections : Math.max(1, connections);
  release(deciding.steering, number, version, (bucket) => hasBit(bits, bucket));
  const before = crowdedOn(deciding, member);
  if (takeElsewhere(deciding.scattering, deciding.steering, { number, bits, now_ns })) {
    deciding.effects.writeNode(member, stateFor(deciding, member));
    tellFlags(deciding);
  }
  tellOfCrowding(deciding, member, before);
  judge(deciding, now_ns);
  deciding.effects.feedChanged();
}

const crowdedOn = ({ scattering }: Deciding, { config }: Member): number =>
  scattering.crowded.get(config.number) ?? 0;

function tellOfCrowding(deciding: Deciding, member: Member, before: number): void {
  const buckets = crowdedOn(deciding, member);
  if (buckets > 0 === before > 0) return;
  const text =
    buckets > 0
      ? "a node has connections of buckets that have no room to name it: they are searched for"
      : "the bucket table leads to all connections of a node again";
  deciding.effects.log.info({ peer: member.config.name, buckets }, text);
}

/** A node tells which buckets it has connections of: the table may not lead there yet. */
export function takeConnected(deciding: Deciding, number: number, bits: Uint8Array, now_ns: bigint): void {
  addMerge(deciding.merging, deciding.steering, { number, bits, now_ns });
  scatterAll(deciding.scattering, numbersOf(deciding), now_ns);
  writeNodes(deciding);
  tellFlags(deciding);
  deciding.effects.setMerging(true);
  takeTurn(deciding, now_ns);
}

/** An operator drains a node, or has it take traffic again. */
export function setDraining(deciding: Deciding, member: Member, isDraining: boolean, now_ns: bigint): void {
  const { effects } = deciding;
  member.isDraining = isDraining;
  member.connectionsLeft = undefined;
  deciding.emptySince.delete(member.config.number);
  effects.log.info(
    { peer: member.config.name, isDraining },
    isDraining ? "an operator drains a node" : "an operator has a node take traffic again",
  );
  judge(deciding, now_ns);
  // The judgement may be the same, as of a node that is disabled: what an operator wants is kept all the same.
  effects.writeNode(member, stateFor(deciding, member));
  tellFlags(deciding);
  takeTurn(deciding, now_ns);
}
