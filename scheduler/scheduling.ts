/**
 * The scheduler process of the node that schedules: the edge of what deciding.ts decides. It takes the tables over at
 * once; what needs threads, sockets and time (heartbeats, the sweep, the port of the table feed) comes after that.
 */
import { randomBytes } from "node:crypto";
import { monotonic_ms } from "../conf/clock.ts";
import { describeError, DlbaError } from "../conf/errors.ts";
import { deriveKey } from "../conf/keys.ts";
import type { NodeStatus } from "../conf/messages.ts";
import type { HeartbeatCounts } from "../net/heartbeat-memory.ts";
import { heartbeatKeys } from "../net/heartbeat.ts";
import type { HeartbeatSender } from "../net/heartbeat-sender.ts";
import { JUDGE_EVERY_MS, type Watch } from "../net/heartbeat-watch.ts";
import { CALM_EVERY_MS, calmTurn } from "./calm-turn.ts";
import {
  createDeciding,
  judge,
  judgeHosts,
  judgementOn,
  setDraining,
  takeLiveness,
  takeConnected,
  takeTurn,
  writeNodes,
  type Deciding,
} from "./deciding.ts";
import { startDirectChecks } from "./direct/direct-checks.ts";
import { versionOf, waitingCount } from "./feed/feed.ts";
import { endKeeping, type Follow } from "./feed/follow.ts";
import { beginHandOver, stepHandOver, type HandOver } from "./handing-over.ts";
import { listConnected } from "./held/held-rounds.ts";
import { forgetJudgements, writeHost, writeMembers, writeNode, type Machine } from "./machine.ts";
import type { Judgement, Member } from "./nodes/members.ts";
import type { Sweeper } from "./nodes/sweeper.ts";
import { bucketsOf } from "./policy/policy.ts";
import type { Left } from "./roles.ts";
import { serveFeed, startRounds, startSweep, startWatch, type FeedServing } from "./scheduling-edge.ts";
import { bucketsWithPrevious, kernelMoved, nodesTable, type Steering } from "./steering.ts";
import { giveUp, renewAccesses, takeOver } from "./takeover.ts";
import { unitsOf, unitsOfSeconds } from "./table.ts";

export interface Scheduling {
  readonly kind: "scheduling";
  readonly steering: Steering;
  readonly deciding: Deciding;
  /** Undefined before its first turn. */
  sweep(): SweepFacts | undefined;
  heartbeats(): HeartbeatCounts;
  tableVersion(): number;
  stateOf(number: number): Judgement & { readonly buckets: number };
  /** A MAC address is news. */
  changed(): void;
  setDraining(member: Member, isDraining: boolean): void;
  /** The array key is another one now. */
  keyChanged(): void;
  /**
   * Has another node take over. Resolves when this one does not schedule any more; rejects with DlbaError
   * HANDOVER_REFUSED or HANDOVER_TIMEOUT, and all is as before.
   */
  handOver(target: number): Promise<void>;
  stop(): Promise<void>;
  giveUp(): Follow;
}
export interface SweepFacts {
  readonly last_sweep_at_ms: number | null;
  readonly last_sweep_took_ms: number | null;
  readonly answers: ReadonlyMap<number, NodeStatus>;
}

export interface SchedulingOptions {
  readonly epoch: number;
  readonly left: Left;
  /** Called when other MAC addresses are to be asked for. */
  readonly wantMacs: () => void;
}

/** What a hand-over that is under way ends. */
interface Promised {
  readonly handOver: HandOver;
  readonly resolve: () => void;
  readonly reject: (error: DlbaError) => void;
}
/** What is started when the tables have been taken over. */
interface Edge {
  readonly heartbeats: HeartbeatSender;
  readonly watch: Watch;
  readonly sweeper: Sweeper;
  readonly stop: () => void;
}
interface Running {
  readonly machine: Machine;
  readonly epoch: number;
  readonly deciding: Deciding;
  isStopped: boolean;
  edge: Edge | undefined;
  serving: FeedServing | undefined;
  promised: Promised | undefined;
}

const now = (): bigint => process.hrtime.bigint();
const NO_HEARTBEATS: HeartbeatCounts = { sent: 0, failed: 0 };

/** Schedules until stopped. The tables are taken over, and packets go by them, when this returns. */
export function startScheduling(machine: Machine, options: SchedulingOptions): Scheduling {
  const running = begin(machine, options);
  running.serving = serveFeed({
    machine,
    deciding: running.deciding,
    isFree: options.left.ended,
    isOver: () => isOver(running),
  });
  const { deciding } = running;
  const { steering } = deciding;
  const starting = setImmediate(() => (running.edge = startEdge(running)));
  return {
    kind: "scheduling",
    steering,
    deciding,
    sweep: () => running.edge?.sweeper,
    heartbeats: () => running.edge?.heartbeats.counts() ?? NO_HEARTBEATS,
    tableVersion: () => steering.feed.version,
    stateOf: (number) => ({
      ...judgementOn(deciding, number),
      buckets: bucketsOf(nodesTable(steering).policy, number),
    }),
    changed: () => {
      writeMembers(machine);
      writeNodes(deciding);
      judge(deciding, now());
      judgeHosts(deciding, now());
    },
    setDraining: (member, isDraining) => setDraining(deciding, member, isDraining, now()),
    keyChanged: () => {
      running.edge?.heartbeats.setKey(heartbeatKeys(machine.arrayKey).key);
      running.serving?.dropForgotten();
    },
    handOver: (target) => handOver(running, target),
    stop: async () => {
      running.isStopped = true;
      clearImmediate(starting);
      endHandOver(running)?.resolve();
      running.edge?.stop();
      await Promise.all([running.edge?.heartbeats.close(), running.serving?.close()]);
    },
    giveUp: () => giveUp(steering),
  };
}

/** Takes the tables over, and writes what follows at once: nodes that are dead get no frames from here on. */
function begin(machine: Machine, { epoch, left, wantMacs }: SchedulingOptions): Running {
  const { areas, arrayKey, config, members, hosts, node, plane, log } = machine;
  const { bucket_timeout_s, fill_s } = config.scheduler;
  const now_ns = now();
  forgetJudgements(machine, monotonic_ms());
  const isOther = endKeeping(left.follow);
  renewAccesses(areas, unitsOf(now_ns));
  const steering = takeOver({
    number: node.number,
    epoch,
    history: randomBytes(16).toString("hex"),
    areas,
    follow: left.follow,
    toldVersion: plane.facts().tableVersion,
    seed: deriveKey(arrayKey, "hash-seed", 4, "order").readUInt32LE(),
    settings: { timeout_units: unitsOfSeconds(bucket_timeout_s), fill_s },
  });
  const deciding = createDeciding({
    settings: config.scheduler,
    members,
    hosts,
    steering,
    eventsLost: plane.counters()["event_lost"] ?? 0,
    now_ns,
    effects: {
      writeNode: (member, state) => writeNode(machine, member, state),
      writeHost: (host, isUp) => writeHost(machine, host, isUp),
      setHasPrevious: (hasPrevious) => plane.setHasPrevious(hasPrevious),
      setMerging: (isMerging) => plane.setMerging(isMerging),
      feedChanged: () => running.serving?.changed(),
      hurrySweep: () => running.edge?.sweeper.hurry(),
      wantMacs,
      log,
    },
  });
  const running: Running = {
    machine,
    epoch,
    deciding,
    isStopped: false,
    edge: undefined,
    serving: undefined,
    promised: undefined,
  };
  writeMembers(machine);
  judge(deciding, now_ns);
  judgeHosts(deciding, now_ns);
  plane.setHasPrevious(bucketsWithPrevious(steering) > 0);
  plane.setTableVersion(steering.feed.version);
  plane.setHasTable(true);
  plane.setInDoubt(false);
  if (isOther) void mergeOwn(running);
  return running;
}

/** The table that was kept up to now led to connections here, which the one that took its place may not. */
async function mergeOwn(running: Running): Promise<void> {
  const { machine, deciding } = running;
  try {
    const bits = await listConnected(machine);
    if (!isOver(running)) takeConnected(deciding, machine.node.number, bits, now());
  } catch (error) {
    machine.log.warn({ reason: describeError(error) }, "this node's connections could not be listed");
  }
}

function startEdge(running: Running): Edge {
  const { machine, deciding } = running;
  const { heartbeats, watch } = startWatch(machine);
  const sweeper = startSweep(machine, deciding);
  const checks = startDirectChecks(machine, () => judgeHosts(deciding, now()));
  const rounds = startRounds(machine, deciding);
  const timers = [
    setInterval(() => quickTurn(running), JUDGE_EVERY_MS),
    setInterval(() => {
      if (isOver(running)) return;
      const eventsLost = machine.plane.counters()["event_lost"] ?? 0;
      calmTurn(deciding, { now_ns: now(), eventsLost, sweep: sweeper });
    }, CALM_EVERY_MS),
  ];
  return {
    heartbeats,
    watch,
    sweeper,
    stop: () => {
      for (const timer of timers) clearInterval(timer);
      sweeper.stop();
      checks.stop();
      rounds.stop();
    },
  };
}

/** Whether another role is due: nothing that was planned in this one may reach the program any more. */
const isOver = ({ machine, epoch, isStopped }: Running): boolean =>
  isStopped || machine.plane.lease.epoch() !== epoch;

/** Every few milliseconds: who has fallen silent, what the program has done, what is planned. */
function quickTurn(running: Running): void {
  const { machine, deciding, epoch, edge } = running;
  const { plane } = machine;
  const now_ns = now();
  if (isOver(running)) return;
  edge?.heartbeats.setNews({ epoch, isLeased: plane.lease.until_ns() > now_ns });
  for (const change of edge?.watch.look() ?? []) takeLiveness(deciding, change);
  handOverTurn(running, now_ns);
  judge(deciding, now_ns);
  plane.consumeEvents(({ bucket }) => kernelMoved(deciding.steering, bucket));
  takeTurn(deciding, now_ns);
}

async function handOver(running: Running, target: number): Promise<void> {
  const { deciding } = running;
  if (running.isStopped) return;
  if (running.promised !== undefined)
    throw new DlbaError("HANDOVER_REFUSED", "a hand-over is under way already");
  const { promise, resolve, reject } = Promise.withResolvers<void>();
  running.promised = { handOver: beginHandOver(target, now()), resolve, reject };
  deciding.steering.isFrozen = true;
  deciding.effects.log.info({ peer: nameOf(running, target) }, "another node is to take over");
  await promise;
}

function handOverTurn(running: Running, now_ns: bigint): void {
  const { promised, deciding, machine } = running;
  if (promised === undefined) return;
  const { feed } = deciding.steering;
  const { target, offered_ns } = promised.handOver;
  const step = stepHandOver(promised.handOver, {
    now_ns,
    version: feed.version,
    targetVersion: versionOf(feed, target),
    waiting: waitingCount(feed),
  });
  if (step === "offer") machine.plane.setHandOverTo(target);
  if (step !== "give up") return;
  const what = offered_ns === undefined ? "has not got the whole bucket table" : "has not taken over";
  const text = `${nameOf(running, target)} ${what} in time; this node goes on`;
  machine.log.warn({ reason: text }, "a hand-over has failed");
  endHandOver(running)?.reject(new DlbaError("HANDOVER_TIMEOUT", text));
}

/** All goes on as before; the caller tells whoever waits how it went. */
function endHandOver(running: Running): Promised | undefined {
  const { promised, deciding, machine } = running;
  if (promised === undefined) return undefined;
  running.promised = undefined;
  deciding.steering.isFrozen = false;
  machine.plane.setHandOverTo(undefined);
  return promised;
}

const nameOf = ({ machine }: Running, number: number): string =>
  machine.members.find(({ config }) => config.number === number)?.config.name ?? String(number);
