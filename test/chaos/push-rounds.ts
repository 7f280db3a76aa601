/** What happens while versions are pushed, round by round: as random as a seed makes it. Pure. */
import { randomWords } from "../../conf/random.ts";

/**
 * pusher: the pushing command is killed. machine: a node's cable is out and all of it killed. supervisor: `kill -9` of `dlba run`
 * alone. process: `kill -9` of status, scheduler or failover. worker: of the workers. stop: SIGSTOP of the supervisor. cable: out
 * for a while. mute: nobody reaches a node's push port, nor it theirs. apart: the pushing command alone does not.
 */
export const PUSH_FAULTS = [
  "pusher",
  "machine",
  "supervisor",
  "process",
  "worker",
  "stop",
  "cable",
  "mute",
  "apart",
] as const;
export type PushFaultKind = (typeof PUSH_FAULTS)[number];
const DYING = ["status", "scheduler", "failover"] as const;

export interface PushFault {
  readonly kind: PushFaultKind;
  /** Which node, counted from 0. */
  readonly node: number;
  readonly process: (typeof DYING)[number];
  /** When, from the start of the push. */
  readonly at_ms: number;
  /** How long it lasts. */
  readonly for_ms: number;
}

export interface PushRound {
  readonly faults: readonly PushFault[];
  /** The pushing command dies at this question of its own, counted from 1; 0: it does not. */
  readonly diesAt: number;
  /** Another one pushes at the same time. */
  readonly hasRival: boolean;
}

/** How often each kind comes: the slow ones less often. */
const WEIGHTS: Readonly<Record<PushFaultKind, number>> = {
  pusher: 5,
  machine: 1,
  supervisor: 2,
  process: 3,
  worker: 2,
  stop: 3,
  cable: 2,
  mute: 5,
  apart: 3,
};
/** The nodes vote soon after the command has started; half of the faults come then, the others at any time of a push. */
const VOTE_MS = [350, 1100] as const;
const WITHIN_MS = 3000;
const LASTS_MS = [200, 4000] as const;
const RIVAL_SHARE = 0.15;
const DYING_SHARE = 0.25;
/** Questions: for the text, then of each node to prepare, stage, accept and commit. Half of the deaths come with the last two. */
const VOTE_FROM = 2;
const QUESTIONS = 4;

/** The rounds of a seed: every sixth one on the average without a fault, the others with one or two. */
export function planPushRounds(seed: number, rounds: number, nodes: number): PushRound[] {
  const random = randomWords(seed);
  const below = (most: number): number => random() % most;
  const kinds = PUSH_FAULTS.flatMap((kind) => Array.from({ length: WEIGHTS[kind] }, () => kind));
  const fault = (): PushFault => ({
    kind: kinds[below(kinds.length)]!,
    node: below(nodes),
    process: DYING[below(DYING.length)]!,
    at_ms: below(2) === 0 ? VOTE_MS[0] + below(VOTE_MS[1] - VOTE_MS[0]) : below(WITHIN_MS),
    for_ms: LASTS_MS[0] + below(LASTS_MS[1] - LASTS_MS[0]),
  });
  const diesAt = (): number => {
    const voted = below(2) * VOTE_FROM * nodes;
    return 1 + voted + below(1 + QUESTIONS * nodes - voted);
  };
  return Array.from({ length: rounds }, () => ({
    faults: Array.from({ length: [0, 1, 1, 1, 2, 2][below(6)]! }, fault),
    diesAt: random() / 2 ** 32 < DYING_SHARE ? diesAt() : 0,
    hasRival: random() / 2 ** 32 < RIVAL_SHARE,
  }));
}
