/** What happens in a chaos run, step by step: as random as a seed makes it, and always possible. Pure. */
import { randomWords } from "../../conf/random.ts";

/** add: a machine that was never there, or was started anew; return: one whose cable and processes come back. */
export const DEEDS = ["add", "drain", "undrain", "kill", "return"] as const;
export type Deed = (typeof DEEDS)[number];
export type NodeState = "up" | "idle" | "drained" | "killed";

export interface Round {
  readonly deed: Deed;
  readonly node: string;
  /** Every node's state after it. */
  readonly states: ReadonlyMap<string, NodeState>;
}

export interface ChaosNodes {
  /** All of them. */
  readonly nodes: readonly string[];
  readonly idle: readonly string[];
}

/** Nodes that are up are never fewer. */
const LEAST_UP = 2;

const AFTER: Readonly<Record<Deed, NodeState>> = {
  add: "up",
  drain: "drained",
  undrain: "up",
  kill: "killed",
  return: "up",
};

/** The steps of a seed, in random order, until each deed has been done `count` times; some have to be done more often. */
export function planRounds(seed: number, count: number, { nodes, idle }: ChaosNodes): Round[] {
  const random = randomWords(seed);
  const pick = <T>(list: readonly T[]): T => list[random() % list.length]!;
  let states: ReadonlyMap<string, NodeState> = new Map(
    nodes.map((node) => [node, idle.includes(node) ? "idle" : "up"]),
  );
  const done = new Map<Deed, number>(DEEDS.map((deed) => [deed, 0]));
  const rounds: Round[] = [];
  while (DEEDS.some((deed) => done.get(deed)! < count)) {
    const possible = DEEDS.map((deed) => ({ deed, nodes: nodesFor(deed, states) })).filter(
      ({ nodes }) => nodes.length > 0,
    );
    // When none of those that are missing is possible, whatever happens makes one of them so before long.
    const missing = possible.filter(({ deed }) => done.get(deed)! < count);
    const { deed, nodes: candidates } = pick(missing.length > 0 ? missing : possible);
    const node = pick(candidates);
    done.set(deed, done.get(deed)! + 1);
    states = new Map(states).set(node, AFTER[deed]);
    rounds.push({ deed, node, states });
  }
  return rounds;
}

/** The nodes that a deed can be done to. */
function nodesFor(deed: Deed, states: ReadonlyMap<string, NodeState>): string[] {
  const up = [...states.values()].filter((state) => state === "up").length;
  const mayFall = up > LEAST_UP;
  const isFit: Readonly<Record<Deed, (state: NodeState) => boolean>> = {
    add: (state) => state === "idle" || state === "killed",
    drain: (state) => state === "up" && mayFall,
    undrain: (state) => state === "drained",
    kill: (state) => state === "drained" || (state === "up" && mayFall),
    return: (state) => state === "killed",
  };
  return [...states].filter(([, state]) => isFit[deed](state)).map(([node]) => node);
}
