/**
 * What a run is made of: an array, and what is done to it when. All of it comes from a seed, and a plan with fewer faults
 * is a plan, too.
 */
import { randomWords } from "../../conf/random.ts";

export const FAULT_KINDS = [
  "crash-machine",
  "crash-failover",
  "crash-scheduler",
  "stall-failover",
  "stall-scheduler",
  "stall-user",
  "stall-machine",
  "stall-receiving",
  "cut",
  "one-way",
  "isolate",
  "partition",
  "loss",
  "delay",
  "no-carrier",
  "no-program",
  "hand-over",
  "stop",
  "foreign-claim",
] as const;
export type FaultKind = (typeof FAULT_KINDS)[number];

export interface Fault {
  readonly kind: FaultKind;
  readonly at_ms: number;
  readonly for_ms: number;
  /** Indices of nodes; some kinds need two. */
  readonly node: number;
  readonly other: number;
  /** Bits by node index (partition), a slot, or a chance in percent: as the kind needs it. */
  readonly extent: number;
}
export interface Plan {
  readonly seed: number;
  readonly nodes: number;
  readonly slots: number;
  /** Chance of a frame to be lost at any time. */
  readonly loss: number;
  readonly priorities: readonly number[];
  readonly preempt: boolean;
  readonly faults: readonly Fault[];
  /** Nothing of it may bring a takeover about. */
  readonly isCalm: boolean;
}

/** When the array has found its first scheduler. */
export const FIRST_FAULT_MS = 650;
const FAULT_EVERY_MS = 220;

/** Numbers from 0 up to 1. */
export function chances(seed: number): () => number {
  const words = randomWords(seed);
  return () => words() / 2 ** 32;
}

export interface PlanOptions {
  readonly seed: number;
  readonly steps: number;
  readonly nodes?: number | undefined;
  readonly kinds?: readonly FaultKind[];
}

/** The plan of a seed. */
export function planOf({ seed, steps, nodes: wanted, kinds = FAULT_KINDS }: PlanOptions): Plan {
  const chance = chances(seed);
  const below = (bound: number): number => Math.floor(chance() * bound);
  const nodes = wanted ?? [2, 2, 3, 3, 3, 4, 4, 5][below(8)]!;
  const slots = chance() < 0.2 ? 2 : 1;
  const loss = chance() < 0.5 ? 0 : chance() * 0.03;
  const priorities = Array.from({ length: nodes }, () => (chance() < 0.8 ? 100 : 50 + below(100)));
  const isNear = chance() < 0.5;
  let at_ms = FIRST_FAULT_MS;
  const faults = Array.from({ length: steps }, (): Fault => {
    at_ms += Math.floor(chance() * FAULT_EVERY_MS * (isNear ? 0.5 : 2));
    const kind = kinds[below(kinds.length)]!;
    return {
      kind,
      at_ms,
      for_ms: durationOf(kind, chance),
      node: below(nodes),
      other: below(nodes),
      extent: below(1 << nodes),
    };
  });
  return { seed, nodes, slots, loss, priorities, preempt: chance() < 0.15, faults, isCalm: false };
}

/** Mostly about as long as what the protocol waits for, where mistakes lie. */
function durationOf(kind: FaultKind, chance: () => number): number {
  const is = (...kinds: FaultKind[]): boolean => kinds.includes(kind);
  if (is("crash-machine", "stop")) return 100 + Math.floor(chance() * 700);
  if (is("crash-failover", "crash-scheduler")) return 20 + Math.floor(chance() * 400);
  const length = chance();
  if (length < 0.3) return 5 + Math.floor(chance() * 60);
  if (length < 0.8) return 40 + Math.floor(chance() * 250);
  return 200 + Math.floor(chance() * 700);
}

const CALM_KINDS = [
  "stall-failover",
  "stall-scheduler",
  "stall-user",
  "stall-machine",
  "stall-receiving",
] as const;
const CALM_STALL_MS = 80;
const CALM_LOSS = 0.025;

/**
 * Nothing worse than what must not bring a takeover about: one in twenty heartbeats or answers lost, stalls up to 80 ms (of
 * the scheduler's kernel: less, see faults.ts).
 */
export function calmPlanOf(options: PlanOptions): Plan {
  const plan = planOf({ ...options, kinds: CALM_KINDS });
  const chance = chances(options.seed ^ 0x5eed);
  const faults = plan.faults.map((fault): Fault => {
    return { ...fault, for_ms: 1 + Math.floor(chance() * CALM_STALL_MS) };
  });
  return { ...plan, faults, loss: chance() * CALM_LOSS, preempt: false, isCalm: true };
}

const GENTLE_KINDS = [
  "crash-machine",
  "crash-failover",
  "crash-scheduler",
  "stall-failover",
  "stall-scheduler",
  "stall-user",
  "hand-over",
  "stop",
] as const;

/** Longer than nodes are scattered, and than announcements go on. */
const PAUSE_MS = 16_000;
/** So many runs are one with a pause: it takes five times as long as another one. */
const PAUSE_IN = 33;

/** The second half of the faults comes when all consequences of the first are over. */
function withPause(plan: Plan): Plan {
  const first = plan.faults.length >> 1;
  const faults = plan.faults.map((fault, i) =>
    i < first ? fault : { ...fault, at_ms: fault.at_ms + PAUSE_MS },
  );
  return { ...plan, faults };
}

/**
 * One in four is calm, one in four has a whole network, where no connection of a living node may break. Some have a long
 * pause in between.
 */
export function mixedPlanOf(options: PlanOptions): Plan {
  const kind = options.seed % 4;
  if (kind === 0) return calmPlanOf(options);
  const plan = kind === 1 ? { ...planOf({ ...options, kinds: GENTLE_KINDS }), loss: 0 } : planOf(options);
  return options.seed % PAUSE_IN === 0 ? withPause(plan) : plan;
}

/** When the last fault is over. */
export const wholeFrom_ms = ({ faults }: Plan): number =>
  Math.max(FIRST_FAULT_MS, ...faults.map(({ at_ms, for_ms }) => at_ms + for_ms));
