/**
 * The scheduler process of the node that schedules: it watches and sweeps the other nodes, judges them, and steers the
 * tables. What it decides is in members.ts, policy.ts and steering.ts; here it is put together and given the time.
 */
import { randomBytes } from "node:crypto";
import { monotonic_ms } from "../conf/clock.ts";
import { deriveKey } from "../conf/keys.ts";
import { HEARTBEAT_KEY_BYTES } from "../net/heartbeat.ts";
import { startHeartbeats } from "../net/heartbeat-sender.ts";
import { correct, figuresOf, noBalance, type BalanceState } from "./policy/balance.ts";
import { startDirectChecks } from "./direct/direct-checks.ts";
import { createFeed, inStep, recordFlags, setLiving, versionOf, type Feed } from "./feed/feed.ts";
import { hasBit, type Held } from "./feed/feed-message.ts";
import { startFeedServer, type FeedServer } from "./feed/feed-server.ts";
import { holdFragments } from "./held/fragment-destinations.ts";
import { createWatch, JUDGE_EVERY_MS, type LivenessChange, type Watch } from "./nodes/heartbeats.ts";
import type { HeldFragments } from "./held/held-fragments.ts";
import { startHeldRounds } from "./held/held-rounds.ts";
import { NODE_UP } from "./layout.ts";
import { writeHost, writeMembers, writeNode, type Machine } from "./machine.ts";
import { judgeMember, livingNumbers, noteStep, type Judgement, type Member } from "./nodes/members.ts";
import { bucketsOf, createPolicy, type PolicyNode } from "./policy/policy.ts";
import {
  bucketsWithPrevious,
  createSteering,
  eventsLost,
  kernelMoved,
  makeMark,
  nodesTable,
  release,
  replaceFeed,
  settleReady,
  steerNodes,
  turn,
  type Steering,
  type Told,
} from "./steering.ts";
import { flagsOf, type NodeState } from "./plane/interface-maps.ts";
import { startSweeper, type Sweeper } from "./nodes/sweeper.ts";
import { previousOf, readWord, unitsOfSeconds } from "./table.ts";

const CALM_EVERY_MS = 1000;
const UNKNOWN: Judgement = {
  condition: "down",
  isUp: false,
  isReachable: false,
  state: "starting",
  reason: "",
};

export interface Scheduling {
  readonly kind: "scheduling";
  readonly steering: Steering;
  readonly sweeper: Sweeper;
  readonly fragments: HeldFragments;
  stateOf(number: number): Judgement & { readonly buckets: number };
  /** A MAC address is news. */
  changed(): void;
  setDraining(member: Member, isDraining: boolean): void;
  stop(): Promise<void>;
}

interface Running {
  readonly machine: Machine;
  readonly steering: Steering;
  readonly judgements: Map<number, Judgement>;
  /** The version from which on a leaving node has nothing any more, by number. */
  readonly emptySince: Map<number, number>;
  readonly wantMacs: () => void;
  watch: Watch | undefined;
  sweeper: Sweeper | undefined;
  server: FeedServer | undefined;
  balance: BalanceState;
  weights: ReadonlyMap<number, number>;
  sweptAt_ms: number | null;
  lostEvents: number;
  isStopped: boolean;
}

/** Schedules until stopped. `wantMacs` is called when other MAC addresses are to be asked for. */
export async function startScheduling(machine: Machine, wantMacs: () => void): Promise<Scheduling> {
  const { plane, config, node, options, arrayKey, segments, members } = machine;
  const running = begin(machine, wantMacs);
  judge(running);
  plane.setScheduling(true);
  const peers = members.filter(({ isSelf }) => !isSelf).map(({ config }) => config.number);
  const heartbeats = startHeartbeats({
    pinDir: options.pinDir,
    key: deriveKey(arrayKey, "heartbeat", HEARTBEAT_KEY_BYTES),
    number: node.number,
    interfaces: segments.map((segment) => segment.interface),
    peers,
    heartbeat_ms: config.scheduler.heartbeat_ms,
  });
  const { heartbeat_ms, dead_after_ms } = config.scheduler;
  running.watch = createWatch({
    peers,
    pages: plane.planes.map((one) => one.peers),
    sender: heartbeats,
    heartbeat_ms,
    dead_after_ms,
    phaseAtFirst: (slot, peer) => {
      const link = members.find((member) => member.config.number === peer)?.links[slot];
      return link?.isReachable === true ? "reachable" : "unknown";
    },
  });
  running.server = await serve(running);
  const sweeper = (running.sweeper = sweep(running));
  const fragments = holdFragments(machine);
  const checks = startDirectChecks(machine, () => judgeHosts(running));
  const rounds = startHeldRounds({
    machine,
    isWanted: () => bucketsWithPrevious(running.steering) > 0 || members.some(({ isDraining }) => isDraining),
    version: () => running.steering.feed.version,
    isPreviousOf: (bucket) =>
      previousOf(readWord(nodesTable(running.steering).policy.plan.table, bucket)) === node.number,
    onHeld: ({ bits, connections }, version) => {
      if (bits !== undefined) takeHeld(running, node.number, { version, bits, connections });
    },
  });
  const timers = [
    setInterval(() => quickTurn(running, fragments), JUDGE_EVERY_MS),
    setInterval(() => calmTurn(running), CALM_EVERY_MS),
  ];
  return {
    kind: "scheduling",
    steering: running.steering,
    sweeper,
    fragments,
    stateOf: (number) => ({
      ...(running.judgements.get(number) ?? UNKNOWN),
      buckets: bucketsOf(nodesTable(running.steering).policy, number),
    }),
    changed: () => {
      writeAll(running);
      judge(running);
      judgeHosts(running);
    },
    setDraining: (member, isDraining) => setDraining(running, member, isDraining),
    stop: async () => {
      running.isStopped = true;
      for (const timer of timers) clearInterval(timer);
      sweeper.stop();
      checks.stop();
      rounds.stop();
      fragments.close();
      await Promise.all([running.server?.close(), heartbeats.close()]);
    },
  };
}

/** MAC addresses have changed: all that the program knows of the nodes is written anew. */
function writeAll(running: Running): void {
  const { machine } = running;
  writeMembers(machine);
  for (const member of machine.members) writeNode(machine, member, stateFor(running, member));
}

function begin(machine: Machine, wantMacs: () => void): Running {
  const { areas, arrayKey, config, members, plane } = machine;
  const seed = deriveKey(arrayKey, "hash-seed", 4, "order").readUInt32LE();
  const tables = areas.map(({ name, base, table }) => ({
    name,
    base,
    policy: createPolicy(table, { hasSecondChance: name === "", seed }),
  }));
  const { bucket_timeout_s, fill_s } = config.scheduler;
  const feed = newFeed(machine, tables, machine.former.epoch + 1);
  const settings = { timeout_units: unitsOfSeconds(bucket_timeout_s), fill_s };
  return {
    machine,
    steering: createSteering(tables, feed, settings),
    judgements: new Map(),
    emptySince: new Map(),
    wantMacs,
    watch: undefined,
    sweeper: undefined,
    server: undefined,
    balance: noBalance,
    weights: new Map(members.map(({ config }) => [config.number, config.weight])),
    sweptAt_ms: null,
    lostEvents: plane.counters()["event_lost"] ?? 0,
    isStopped: false,
  };
}

function newFeed(
  { node, plane }: Machine,
  tables: readonly Pick<Steering["tables"][number], "name" | "policy">[],
  epoch: number,
): Feed<Told> {
  plane.setEpoch(epoch);
  return createFeed<Told>({
    number: node.number,
    epoch,
    history: randomBytes(16).toString("hex"),
    groups: tables.map(({ name, policy }) => ({ name, words: policy.plan.words })),
  });
}

async function serve(running: Running): Promise<FeedServer> {
  const { config, node, arrayKey, log } = running.machine;
  return startFeedServer<Told>({
    address: node.address,
    port: config.scheduler.port,
    arrayKey,
    nodeNumbers: new Set(config.nodes.map(({ number }) => number)),
    feed: running.steering.feed,
    onReady: (tokens) => {
      settleReady(running.steering, tokens);
      running.server?.changed();
    },
    onChange: (number) => stepChanged(running, number),
    onHeld: (number, held) => takeHeld(running, number, held),
    onAhead: ({ seen }) => void raiseEpoch(running, seen),
    log,
  });
}

/** A node has met a later scheduler than this one: what is told from now on is of a later epoch still. */
async function raiseEpoch(running: Running, seen: number): Promise<void> {
  const { steering, machine, server } = running;
  if (running.isStopped || server === undefined || seen < steering.feed.epoch) return;
  running.server = undefined;
  machine.log.warn(
    { seen, epoch: seen + 1 },
    "a node has met a later epoch, this scheduler goes on with a higher one",
  );
  replaceFeed(steering, newFeed(machine, steering.tables, seen + 1));
  tellFlags(running);
  await server.close();
  if (running.isStopped) return;
  running.server = await serve(running);
  judgeHosts(running);
}

function memberOf({ machine }: Running, number: number): Member | undefined {
  return machine.members.find(({ config }) => config.number === number);
}

/** A node has the table now, or does not follow it any more. */
function stepChanged(running: Running, number: number): void {
  const member = memberOf(running, number);
  if (member === undefined) return;
  member.isInStep = inStep(running.steering.feed, number);
  member.outOfStep_since_ms = monotonic_ms();
  if (member.isInStep && member.isServing !== true) running.sweeper?.hurry();
  judge(running);
}

function sweep(running: Running): Sweeper {
  const { config, members, arrayKey, log } = running.machine;
  const isProxy = config.vservers.some(({ protocol }) => protocol === "http" || protocol === "https");
  const unknown = members.filter(({ isSelf, isServing }) => !isSelf && isServing !== true);
  return startSweeper({
    nodes: config.nodes,
    failed: new Set(unknown.map(({ config }) => config.number)),
    port: config.status.port,
    retries: config.scheduler.sweep_retries,
    delay_ms: config.scheduler.sweep_delay_ms,
    timeout_ms: config.scheduler.sweep_timeout_ms,
    arrayKey,
    complaintOf: ({ workers_accepting }) =>
      isProxy && workers_accepting === 0 ? "no dlba-server worker accepts connections" : "",
    log,
    onChange: ({ node, failed, reason }) => {
      const member = memberOf(running, node);
      if (member === undefined) return;
      member.isServing = !failed;
      member.complaint = reason;
      member.complaint_since_ms = monotonic_ms();
      judge(running);
    },
  });
}

/** Which connections a node has, as it told. */
function takeHeld(
  running: Running,
  number: number,
  { version, bits, connections }: Pick<Held, "version" | "bits" | "connections">,
): void {
  const member = memberOf(running, number);
  if (member === undefined) return;
  const since = running.emptySince.get(number);
  member.connectionsLeft = since === undefined || version >= since ? connections : Math.max(1, connections);
  release(running.steering, number, version, (bucket) => hasBit(bits, bucket));
  judge(running);
  running.server?.changed();
}

function setDraining(running: Running, member: Member, isDraining: boolean): void {
  member.isDraining = isDraining;
  member.connectionsLeft = undefined;
  running.emptySince.delete(member.config.number);
  running.machine.log.info(
    { peer: member.config.name, isDraining },
    isDraining ? "an operator drains a node" : "an operator has a node take traffic again",
  );
  judge(running);
  // The judgement may be the same, as of a node that is disabled: what an operator wants is kept all the same.
  writeNode(running.machine, member, stateFor(running, member));
  tellFlags(running);
  takeTurn(running);
}

/** Judges all nodes, and carries out what follows for those about which the judgement is another one. */
function judge(running: Running): void {
  const { machine, steering, judgements } = running;
  const { members } = machine;
  const now_ms = monotonic_ms();
  const { policy } = nodesTable(steering);
  const changed: Member[] = [];
  const dead: number[] = [];
  for (const member of members) {
    const { number } = member.config;
    const former = judgements.get(number);
    if (former !== undefined)
      noteStep(member, former, versionOf(steering.feed, number), steering.feed.version);
    const judgement = judgeMember(member, bucketsOf(policy, number), now_ms);
    judgements.set(number, judgement);
    if (former !== undefined && isSame(former, judgement)) continue;
    changed.push(member);
    if (judgement.condition === "up") member.hasBeenUp = true;
    if (judgement.condition === "down" && former?.condition !== "down") dead.push(number);
    writeNode(machine, member, stateFor(running, member));
    tell(running, member, former, judgement);
  }
  if (changed.length === 0) return;
  tellFlags(running);
  steerNodes(steering, "", policyNodes(running), dead);
  running.wantMacs();
  takeTurn(running);
}

/** The feed's part of the judgements: whose acknowledgement counts, and what the others hold of each node. */
function tellFlags(running: Running): void {
  const { machine, steering, judgements } = running;
  const { members } = machine;
  const judged = members.map(({ config }) => judgements.get(config.number) ?? UNKNOWN);
  setLiving(steering.feed, livingNumbers(members, judged));
  const flags = members.map((member): [number, number] => [
    member.config.number,
    flagsOf({ ...stateFor(running, member), isSelf: false }),
  ]);
  recordFlags(steering.feed, "", new Map(flags));
}

const isSame = (a: Judgement, b: Judgement): boolean =>
  a.condition === b.condition && a.state === b.state && a.isUp === b.isUp && a.isReachable === b.isReachable;

function stateFor({ judgements }: Running, { config, isDraining, isSelf }: Member): NodeState {
  const { isUp, isReachable } = judgements.get(config.number) ?? UNKNOWN;
  return { isUp, isReachable, isDraining, isSelf };
}

function policyNodes({ machine, judgements, weights }: Running) {
  return machine.members.map(({ config: { number } }) => ({
    number,
    weight: weights.get(number) ?? 0,
    condition: (judgements.get(number) ?? UNKNOWN).condition,
  }));
}

function tell(
  { machine }: Running,
  member: Member,
  former: Judgement | undefined,
  judgement: Judgement,
): void {
  if (former?.state === judgement.state) return;
  const facts = { peer: member.config.name, state: judgement.state, reason: judgement.reason };
  const isBad = judgement.state === "down" || judgement.state === "failed";
  machine.log[isBad ? "warn" : "info"](
    facts,
    isBad ? "a node is routed round" : "a node's state has changed",
  );
}

/** The hosts of direct pools: up when they can be reached and their check is good. */
function judgeHosts(running: Running): void {
  const { machine, steering } = running;
  for (const { name } of machine.areas.filter(({ name }) => name !== "")) {
    const hosts = machine.hosts.filter(({ area }) => area.name === name);
    const up = new Set(hosts.filter(isHostUp));
    for (const host of hosts) writeHost(machine, host, up.has(host));
    const flags = hosts.map((host): [number, number] => [host.number, up.has(host) ? NODE_UP : 0]);
    recordFlags(steering.feed, name, new Map(flags));
    const nodes = hosts.map((host): PolicyNode => {
      return { number: host.number, weight: host.weight, condition: up.has(host) ? "up" : "down" };
    });
    const dead = nodes.filter(({ condition }) => condition === "down").map(({ number }) => number);
    steerNodes(steering, name, nodes, dead);
  }
  takeTurn(running);
}

export const isHostUp = ({ macs, isGood }: Machine["hosts"][number]): boolean =>
  isGood === true && macs.some((mac) => mac !== undefined);

function takeTurn(running: Running): void {
  if (turn(running.steering, process.hrtime.bigint())) running.server?.changed();
}

/** Every few milliseconds: who has fallen silent, what the program has done, what is planned. */
function quickTurn(running: Running, fragments: HeldFragments): void {
  const { machine, steering, watch } = running;
  for (const change of watch?.look() ?? []) takeLiveness(running, change);
  if (watch !== undefined) judge(running);
  machine.plane.consumeEvents(({ bucket }) => kernelMoved(steering, bucket));
  machine.plane.consumeHeld((fragment) => fragments.take(fragment));
  takeTurn(running);
  machine.plane.setTableVersion(steering.feed.version);
}

function takeLiveness(running: Running, { slot, peer, phase }: LivenessChange): void {
  const member = memberOf(running, peer);
  const link = member?.links[slot];
  if (member === undefined || link === undefined) return;
  link.isReachable = phase === "reachable";
  if (link.isReachable && member.isServing !== true) running.sweeper?.hurry();
}

/** Every second: what can wait. */
function calmTurn(running: Running): void {
  const { machine, steering, sweeper } = running;
  const { plane, members, config } = machine;
  const lost = plane.counters()["event_lost"] ?? 0;
  if (lost !== running.lostEvents) eventsLost(steering);
  running.lostEvents = lost;
  const withPrevious = bucketsWithPrevious(steering);
  plane.setHasPrevious(withPrevious > 0);
  noteEmpty(running);
  forgetSilent(running);
  if (withPrevious > 0 || members.some(({ isDraining }) => isDraining)) makeMark(steering);
  if (
    sweeper !== undefined &&
    sweeper.last_sweep_at_ms !== running.sweptAt_ms &&
    config.scheduler.balance !== "groups"
  )
    balance(running, sweeper);
  running.server?.changed();
}

/**
 * Buckets wait for their previous node to tell that it has no connections of them. One that has failed may never tell:
 * after the time that makes a bucket idle it is not waited for any more.
 */
function forgetSilent({ machine, steering, judgements }: Running): void {
  const timeout_ms = machine.config.scheduler.bucket_timeout_s * 1000;
  for (const { config, complaint_since_ms, isInStep } of machine.members) {
    const isFailed = judgements.get(config.number)?.state === "failed";
    const isAwaited = nodesTable(steering).policy.plan.previous[config.number]! > 0;
    if (!isFailed || !isAwaited || isInStep || monotonic_ms() - complaint_since_ms < timeout_ms) continue;
    release(steering, config.number, makeMark(steering), () => false);
  }
}

/** A draining node's connections count from the version on at which all know that it has no buckets. */
function noteEmpty({ machine, steering, emptySince }: Running): void {
  const { policy } = nodesTable(steering);
  for (const { config, isDraining } of machine.members) {
    const isEmpty = isDraining && bucketsOf(policy, config.number) === 0;
    if (!isEmpty) emptySince.delete(config.number);
    else if (!emptySince.has(config.number)) emptySince.set(config.number, makeMark(steering));
  }
}

function balance(running: Running, { answers, last_sweep_at_ms }: Sweeper): void {
  const { machine, steering } = running;
  running.sweptAt_ms = last_sweep_at_ms;
  const nodes = machine.members.map(({ config: { number, weight } }) => {
    // Who gets no traffic tells nothing of how much it could bear.
    const isUp = running.judgements.get(number)?.state === "up";
    const status = isUp ? answers.get(number) : undefined;
    return { number, weight, figures: status === undefined ? undefined : figuresOf(status) };
  });
  const { state, weights } = correct(
    running.balance,
    nodes,
    machine.config.scheduler.balance,
    monotonic_ms(),
  );
  running.balance = state;
  const isOther = [...weights].some(
    ([number, weight]) => Math.abs(weight / (running.weights.get(number) ?? 1) - 1) > 0.005,
  );
  if (!isOther) return;
  running.weights = weights;
  steerNodes(steering, "", policyNodes(running), []);
}
