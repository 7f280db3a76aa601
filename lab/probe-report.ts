/** What the probe program (probes.ts) is asked to do and what it tells, and how long an outage was by that. Pure. */

export interface ProbePlan {
  /** The address and port that is asked; each probe is one new connection with one request. */
  readonly host: string;
  readonly port: number;
  readonly path: string;
  readonly every_ms: number;
  /** A probe that takes longer has failed. */
  readonly answer_within_ms: number;
}

/** One new connection with one request. Times are CLOCK_MONOTONIC in milliseconds. */
export interface Probe {
  readonly started_ms: number;
  readonly ended_ms: number;
  /** Who answered (as in the flows: the node's address); "" when nobody did. */
  readonly node: string;
  /** Null when it was answered with status 200. */
  readonly error: string | null;
}

/** When the path was cut: it was open until `begun_ms` at least, and shut from `done_ms` on. */
export interface Cut {
  readonly begun_ms: number;
  readonly done_ms: number;
}

/**
 * How long nobody was served after a cut: from its begin until the first answer to a probe that was begun when the cut was
 * complete. Both ends are taken so that the figure is rather too long than too short: a probe begun during the cut might
 * still have got through, and the time that the cut itself took counts. Undefined while there is no such answer.
 */
export function outageAfter_ms(probes: readonly Probe[], { begun_ms, done_ms }: Cut): number | undefined {
  const answered = probes.filter(({ started_ms, error }) => started_ms >= done_ms && error === null);
  if (answered.length === 0) return undefined;
  return Math.min(...answered.map(({ ended_ms }) => ended_ms)) - begun_ms;
}
