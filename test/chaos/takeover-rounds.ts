/** What happens in a takeover run, round by round: as random as a seed makes it. Pure. */
import { randomWords } from "../../conf/random.ts";

/**
 * kill: cable out, `kill -9` of all. die: `kill -9` of one kind of process. stop: SIGSTOP of all. cut: cable out. blink: a
 * cut so short that nobody may be missed. partition: sides. handover: planned.
 */
export const FAULTS = ["kill", "die", "stop", "cut", "blink", "partition", "handover"] as const;
export type FaultKind = (typeof FAULTS)[number];
const DYING = ["failover", "scheduler"] as const;

/** Which node: the one that schedules when it comes to it, or the n-th of those that don't. */
export type Target = "scheduler" | number;

export interface Fault {
  readonly kind: FaultKind;
  readonly target: Target;
  /** Whose process dies; without meaning for other kinds. */
  readonly process: (typeof DYING)[number];
  /** How long it lasts before it is healed. */
  readonly for_ms: number;
  /** Each node's side and the clients' one, in the order of the nodes, the clients last. */
  readonly sides: readonly number[];
}

/** How often each kind comes: the slow ones less often. */
const WEIGHTS: Readonly<Record<FaultKind, number>> = {
  kill: 2,
  die: 3,
  stop: 3,
  cut: 2,
  blink: 4,
  partition: 4,
  handover: 4,
};
/** Least and longest time until it is healed. */
const LASTS_MS: Readonly<Record<FaultKind, readonly [least: number, most: number]>> = {
  kill: [0, 300],
  die: [0, 0],
  stop: [50, 2000],
  cut: [300, 1500],
  blink: [0, 10],
  partition: [100, 1000],
  handover: [0, 0],
};
/** The scheduler is the target in this part of the rounds. */
const SCHEDULER_SHARE = 0.65;
const MAX_SIDES = 3;

/** The faults of a seed, for so many nodes. */
export function planFaults(seed: number, rounds: number, nodes: number): Fault[] {
  const random = randomWords(seed);
  return Array.from({ length: rounds }, () => planFault(random, nodes));
}

function planFault(random: () => number, nodes: number): Fault {
  const kind = weighted(random);
  const [least, most] = LASTS_MS[kind];
  const isScheduler = random() / 2 ** 32 < SCHEDULER_SHARE;
  const other = random() % Math.max(1, nodes - 1);
  return {
    kind,
    target: isScheduler ? "scheduler" : other,
    process: DYING[random() % DYING.length]!,
    for_ms: least + (random() % (most - least + 1)),
    sides: sidesOf(random, nodes),
  };
}

function weighted(random: () => number): FaultKind {
  const all = FAULTS.flatMap((kind) => Array.from({ length: WEIGHTS[kind] }, () => kind));
  return all[random() % all.length]!;
}

/** At least two sides have nodes, and the clients are on one of those. */
function sidesOf(random: () => number, nodes: number): number[] {
  const count = Math.min(nodes, 2 + (random() % (MAX_SIDES - 1)));
  const sides = Array.from({ length: nodes }, () => random() % count);
  if (new Set(sides).size === 1) sides[random() % nodes] = (sides[0]! + 1) % count;
  return [...sides, sides[random() % nodes]!];
}

/** Every way to part nodes into two or more sides, as a side's number for each node. */
export function partitionsOf(nodes: number): number[][] {
  let ways: number[][] = [[]];
  for (let node = 0; node < nodes; node++) {
    // A node joins a side that is there already, or begins the next one.
    ways = ways.flatMap((way) =>
      Array.from({ length: Math.max(-1, ...way) + 2 }, (_, side) => [...way, side]),
    );
  }
  return ways.filter((way) => new Set(way).size > 1);
}
