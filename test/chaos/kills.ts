/** Which process is killed next, and which of the clients' errors a killed worker is to blame for. Pure. */
import { randomWords } from "../../conf/random.ts";
import type { Flow } from "../../lab/flow-report.ts";

export const KINDS = ["dlba-server", "scheduler", "failover", "status"] as const;
export type Kind = (typeof KINDS)[number];

export interface Kill {
  readonly node: string;
  readonly kind: Kind;
  /** From the kill before this one. */
  readonly after_ms: number;
}

const LEAST_PAUSE_MS = 300;
const MOST_PAUSE_MS = 3000;

/** The kills of a seed, for ever. */
export function* planKills(seed: number, nodes: readonly string[]): Generator<Kill, never> {
  const random = randomWords(seed);
  const pick = <T>(list: readonly T[]): T => list[random() % list.length]!;
  for (;;) {
    const after_ms = LEAST_PAUSE_MS + (random() % (MOST_PAUSE_MS - LEAST_PAUSE_MS));
    yield { node: pick(nodes), kind: pick(KINDS), after_ms };
  }
}

/** A worker that was killed. Times are CLOCK_MONOTONIC; `addresses` are its node's, as flows name it. */
export interface WorkerDeath {
  readonly addresses: readonly string[];
  readonly begun_ms: number;
  readonly done_ms: number;
}

/** Its connections are reset at once; a busy machine may take this long to tell. */
const TOLD_WITHIN_MS = 2000;

/** Whether a flow's error is that its worker was killed: it comes when that happens, and not at some other time. */
export function isOfKilledWorker(flow: Flow, deaths: readonly WorkerDeath[]): boolean {
  return deaths.some(
    ({ addresses, begun_ms, done_ms }) =>
      flow.opened_ms <= done_ms &&
      flow.ended_ms >= begun_ms &&
      flow.ended_ms <= done_ms + TOLD_WITHIN_MS &&
      (flow.node === "" || addresses.includes(flow.node)),
  );
}

/** The longest time in which no new connection was answered. */
export function longestGap_ms(flows: readonly Flow[]): number {
  const ends = flows
    .filter(({ error, answers }) => error === null && answers > 0)
    .map(({ ended_ms }) => ended_ms)
    .toSorted((a, b) => a - b);
  return ends.reduce((most, end_ms, i) => Math.max(most, end_ms - (ends[i - 1] ?? end_ms)), 0);
}
