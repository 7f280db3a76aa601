/**
 * Machines, their clocks and what lies between them. Nothing here decides anything: the processes do, which are the
 * production's, and the kernels, whose rules stand in kernel.ts.
 */
import type { createElector, tick } from "../../failover/elector.ts";
import type { FailoverProcess } from "./failover-process.ts";
import { createKernel, type Kernel, type KernelRules } from "./kernel.ts";
import { chances, type Plan } from "./plan.ts";
import type { SchedulerProcess } from "./scheduler-process.ts";
import { createTimeline, type Timeline } from "./timeline.ts";

export const MS = 1_000_000;

/** What a broken array may have another one of. */
export interface Rules {
  readonly kernel: KernelRules;
  readonly createElector: typeof createElector;
  readonly tick: typeof tick;
}

export interface Machine {
  readonly index: number;
  readonly number: number;
  /** Its clock: that of the world, off by this much, and a little fast or slow. */
  readonly offset_ns: number;
  readonly rate: number;
  /** Counts its starts. */
  life: number;
  isOn: boolean;
  kernel: Kernel;
  /** Faults of each kind may lie over each other: how many there are. */
  readonly noCarrier: Int16Array;
  noProgram: number;
  /** In the world's time: until when nothing is done there. */
  kernelStall_ns: number;
  failoverStall_ns: number;
  senderStall_ns: number;
  schedulerStall_ns: number;
  /** The next tick's deeds come so much later than what they were decided on. */
  midTickStall_ns: number;
  failover: FailoverProcess | undefined;
  /** When the failover process has last decided something. */
  turned_ns: number;
  scheduler: SchedulerProcess | undefined;
  /** On its disk. */
  reservedCounter: number;
  /** When something last was wrong with it. */
  unwellAt_ns: number;
}

export interface Connection {
  readonly bucket: number;
  /** Where its socket is. */
  readonly at: Machine;
  readonly life: number;
  readonly opened_ns: number;
  /** Opened by way of the scheduler, so that the array answers for it. */
  readonly isOrderly: boolean;
}
export interface Client {
  readonly index: number;
  /** The node whose MAC address it has for the VIP. */
  arp: Machine | undefined;
  connections: Connection[];
}

export interface Counts {
  frames: number;
  ticks: number;
  claims: number;
  connections: number;
  broken: number;
}

export interface World {
  readonly plan: Plan;
  readonly timeline: Timeline;
  readonly rules: Rules;
  readonly chance: () => number;
  readonly machines: readonly Machine[];
  readonly clients: Client[];
  /** By slot, sender and receiver: how many faults cut this way. */
  readonly cuts: Int16Array;
  /** By client and machine, both ways. */
  readonly clientCuts: Int16Array;
  loss: number;
  delay_ns: number;
  /** When the network or a machine has last changed. */
  unstableAt_ns: number;
  /** Connections from before this have nobody's word any more: the table was lost. */
  orderlyFrom_ns: number;
  readonly counts: Counts;
  /** A transcript, when somebody wants to read it. */
  readonly lines: string[] | undefined;
}

export const CLIENTS = 3;

export function createWorld(plan: Plan, rules: Rules, hasTranscript: boolean): World {
  const chance = chances(plan.seed ^ 0x51a1);
  const numbers = Array.from({ length: plan.nodes }, (_, index) => index + 1);
  const machines = numbers.map((number, index): Machine => ({
    index,
    number,
    offset_ns: Math.floor((1000 + chance() * 1e6) * MS),
    rate: 1 + (chance() - 0.5) * 4e-4,
    life: 0,
    isOn: false,
    kernel: kernelOf(plan, number),
    noCarrier: new Int16Array(plan.slots),
    noProgram: 0,
    kernelStall_ns: 0,
    failoverStall_ns: 0,
    senderStall_ns: 0,
    schedulerStall_ns: 0,
    midTickStall_ns: 0,
    failover: undefined,
    turned_ns: 0,
    scheduler: undefined,
    reservedCounter: 0,
    unwellAt_ns: 0,
  }));
  return {
    plan,
    timeline: createTimeline(),
    rules,
    chance,
    machines,
    clients: [],
    cuts: new Int16Array(plan.slots * plan.nodes * plan.nodes),
    clientCuts: new Int16Array(CLIENTS * plan.nodes),
    loss: plan.loss,
    delay_ns: 0,
    unstableAt_ns: 0,
    orderlyFrom_ns: 0,
    counts: { frames: 0, ticks: 0, claims: 0, connections: 0, broken: 0 },
    lines: hasTranscript ? [] : undefined,
  };
}

export function kernelOf({ nodes, slots }: Plan, number: number): Kernel {
  const others = Array.from({ length: nodes }, (_, index) => index + 1).filter((other) => other !== number);
  return createKernel(number, others, slots);
}

/** A machine's CLOCK_MONOTONIC, whole ns. */
export const localTime = ({ timeline }: World, { offset_ns, rate }: Machine): number =>
  offset_ns + Math.floor(timeline.now_ns * rate);

export const machineOf = ({ machines }: World, number: number): Machine => machines[number - 1]!;

/** Writes a line into the transcript. */
export function note(world: World, who: Machine | undefined, text: string): void {
  if (world.lines === undefined) return;
  const at = (world.timeline.now_ns / MS).toFixed(2).padStart(9);
  world.lines.push(`${at} ms  ${who === undefined ? "      " : `node ${who.number}`}  ${text}`);
}

export interface Violation {
  readonly kind: string;
  readonly text: string;
}

/** Ends the run: something is wrong that must never be. */
export function fail(world: World, kind: string, text: string): never {
  note(world, undefined, `WRONG (${kind}): ${text}`);
  throw new Error(`${kind}: ${text}`, { cause: { kind, text } satisfies Violation });
}

export const cutIndex = ({ plan }: World, slot: number, from: number, to: number): number =>
  (slot * plan.nodes + from) * plan.nodes + to;

/** Whether frames get from one machine to another, but for loss. */
export function isLinked(world: World, from: Machine, to: Machine, slot: number): boolean {
  return (
    world.cuts[cutIndex(world, slot, from.index, to.index)] === 0 &&
    from.noCarrier[slot] === 0 &&
    to.noCarrier[slot] === 0
  );
}

/** Whether its kernel takes frames now. */
export const isAwake = ({ timeline }: World, { isOn, kernelStall_ns }: Machine): boolean =>
  isOn && kernelStall_ns <= timeline.now_ns;

/** Whether a node's program answers an ARP request for the VIP now. */
export function answersArp(world: World, machine: Machine): boolean {
  if (!isAwake(world, machine) || machine.noProgram > 0) return false;
  return world.rules.kernel.isAnswering(machine.kernel, localTime(world, machine));
}

const DUPLICATED = 0.01;

/** Sends a frame; `deed` is what the receiving kernel does with it. */
export function send(
  world: World,
  { from, to, slot }: { from: Machine; to: Machine; slot: number },
  deed: () => void,
): void {
  if (!from.isOn || !isLinked(world, from, to, slot)) return;
  const copies = world.chance() < DUPLICATED ? 2 : 1;
  for (let i = 0; i < copies; i++) {
    if (world.loss > 0 && world.chance() < world.loss) continue;
    const { life } = to;
    world.timeline.in(delayOf(world), () => arrive(world, to, life, deed));
  }
}

/** Frames overtake each other. */
export const delayOf = ({ chance, delay_ns }: World): number =>
  0.04 * MS + chance() * 0.2 * MS + (delay_ns > 0 ? chance() * delay_ns : 0);

/** A machine that stands still takes what has come when it goes on. */
function arrive(world: World, to: Machine, life: number, deed: () => void): void {
  const { timeline, chance, counts } = world;
  if (!to.isOn || to.life !== life) return;
  if (to.kernelStall_ns > timeline.now_ns) {
    timeline.at(to.kernelStall_ns + chance() * MS, () => arrive(world, to, life, deed));
    return;
  }
  counts.frames++;
  deed();
}

/** Something has changed that others have to find out first. */
export function disturb(world: World, ...machines: readonly Machine[]): void {
  world.unstableAt_ns = world.timeline.now_ns;
  for (const machine of machines) machine.unwellAt_ns = world.timeline.now_ns;
}
