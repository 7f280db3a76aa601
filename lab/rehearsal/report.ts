/** What clients would have noticed in a rehearsal: figures of each target, and of each thing that was done. Pure. */
import type { Target } from "./targets.ts";

/** What the clients (traffic.ts) are asked to do. */
export interface TrafficPlan {
  readonly targets: readonly Target[];
  /** From one new connection to the next one, and between two requests of a kept one. */
  readonly every_ms: number;
  /** A request without an answer by then has failed. */
  readonly answer_within_ms: number;
}

/** A request that is over. Times are CLOCK_MONOTONIC in milliseconds. */
export interface Asked {
  /** Index of its target. */
  readonly target: number;
  readonly is_kept: boolean;
  readonly started_ms: number;
  readonly ended_ms: number;
  /** 0 without an answer, and for tcp and udp. */
  readonly status: number;
  /** Null when there was an answer. */
  readonly error: string | null;
  /** Who answered, by its own word; "" when it says nothing. */
  readonly by: string;
}

/** A part of the rehearsal: calm, or something that was done to the array, until it was whole again. */
export interface Phase {
  readonly what: string;
  readonly is_fault: boolean;
  readonly begun_ms: number;
  readonly ended_ms: number;
}

export interface PhaseFigures {
  readonly what: string;
  readonly is_fault: boolean;
  readonly seconds: number;
  readonly requests: number;
  readonly failures: number;
  /** Those on connections that were kept from before. */
  readonly failures_on_kept: number;
  /** The longest time that new connections to one target were without a good answer, beyond the pace of asking. */
  readonly longest_gap_ms: number;
  /** Whose that gap was: the vserver. */
  readonly gap_of: string | null;
  readonly slowest_ms: number;
  /** By what failed, the most frequent first. */
  readonly kinds: Readonly<Record<string, number>>;
}

export interface TargetFigures {
  readonly vserver: string;
  readonly what: string;
  readonly at: string;
  readonly pool: string | null;
  readonly expected: number;
  readonly requests: number;
  readonly failures: number;
  /** Answers of rate and connection limits (429): counted apart, as they are what was asked for. */
  readonly limited: number;
  readonly slowest_ms: number;
  /** Requests by who answered. */
  readonly by: Readonly<Record<string, number>>;
}

const TOO_MANY = 429;

/** Why a request was no success; null when it was one. */
export function failureOf(asked: Asked, { status }: Target): string | null {
  if (asked.error !== null) return asked.error;
  if (status === 0 || asked.status === status || asked.status === TOO_MANY) return null;
  return `status ${asked.status} for ${status}`;
}

/**
 * The phase that a request counts for: the one that it ended in. But one that failed may have waited for long for what a fault
 * took from it: it counts for the first fault that it has seen.
 */
export function phaseOf(asked: Asked, hasFailed: boolean, phases: readonly Phase[]): Phase | undefined {
  const { started_ms, ended_ms } = asked;
  const seen = phases.find(
    (phase) => phase.is_fault && started_ms < phase.ended_ms && ended_ms >= phase.begun_ms,
  );
  if (hasFailed && seen !== undefined) return seen;
  return phases.find((phase) => ended_ms >= phase.begun_ms && ended_ms < phase.ended_ms);
}

/** What was asked in each phase. */
export function byPhase(
  targets: readonly Target[],
  asked: readonly Asked[],
  phases: readonly Phase[],
): Map<Phase | undefined, Asked[]> {
  return Map.groupBy(asked, (each) => phaseOf(each, failureOf(each, targets[each.target]!) !== null, phases));
}

/** Figures of each target, of what was asked while nothing was done. */
export function targetFigures(targets: readonly Target[], inCalm: readonly Asked[]): TargetFigures[] {
  const byTarget = Map.groupBy(inCalm, ({ target }) => target);
  return targets.map((target, i) => {
    const own = byTarget.get(i) ?? [];
    const good = own.filter((each) => failureOf(each, target) === null);
    const at = target.address.includes(":") ? `[${target.address}]` : target.address;
    return {
      vserver: target.vserver,
      what: target.what,
      at: `${at}:${target.port}`,
      pool: target.pool,
      expected: target.status,
      requests: own.length,
      failures: own.length - good.length,
      limited: target.status === TOO_MANY ? 0 : own.filter(({ status }) => status === TOO_MANY).length,
      slowest_ms: slowestOf(good),
      by: counts(good.map(({ by }) => by).filter((by) => by !== "")),
    };
  });
}

/** Figures of one phase, of what was asked in it. */
export function phaseFigures(
  targets: readonly Target[],
  own: readonly Asked[],
  phase: Phase,
  every_ms: number,
): PhaseFigures {
  const failures = own.flatMap((each) => {
    const kind = failureOf(each, targets[each.target]!);
    return kind === null ? [] : [{ kind, each }];
  });
  const failed = new Set(failures.map(({ each }) => each));
  const good = own.filter((each) => !failed.has(each));
  const gap = longestGap(targets, good, phase, every_ms);
  return {
    what: phase.what,
    is_fault: phase.is_fault,
    seconds: Math.round((phase.ended_ms - phase.begun_ms) / 100) / 10,
    requests: own.length,
    failures: failures.length,
    failures_on_kept: failures.filter(({ each }) => each.is_kept).length,
    longest_gap_ms: gap.gap_ms,
    gap_of: gap.of,
    slowest_ms: slowestOf(good),
    kinds: counts(failures.map(({ kind }) => kind)),
  };
}

function slowestOf(asked: readonly Asked[]): number {
  return Math.round(
    asked.reduce((most, { started_ms, ended_ms }) => Math.max(most, ended_ms - started_ms), 0),
  );
}

/** From one good answer on a new connection to the next; the phase's begin and end count as answers. */
function longestGap(
  targets: readonly Target[],
  good: readonly Asked[],
  { begun_ms, ended_ms }: Phase,
  every_ms: number,
): { gap_ms: number; of: string | null } {
  const byTarget = Map.groupBy(
    good.filter(({ is_kept }) => !is_kept),
    ({ target }) => target,
  );
  let longest: { gap_ms: number; of: string | null } = { gap_ms: 0, of: null };
  targets.forEach(({ vserver }, i) => {
    const ends = (byTarget.get(i) ?? []).map((asked) => asked.ended_ms).toSorted((a, b) => a - b);
    let last_ms = begun_ms;
    for (const end_ms of [...ends, ended_ms]) {
      const gap_ms = Math.round(end_ms - last_ms - every_ms);
      if (gap_ms > longest.gap_ms) longest = { gap_ms, of: vserver };
      last_ms = end_ms;
    }
  });
  return longest;
}

/** How often each occurs, the most frequent first. */
function counts(words: readonly string[]): Record<string, number> {
  const groups = [...Map.groupBy(words, (word) => word)].map(([word, all]) => [word, all.length] as const);
  return Object.fromEntries(groups.toSorted(([, a], [, b]) => b - a));
}

/** What is not as it should be, in sentences: failures while nothing was done, and who did not come back. */
export function problemsOf(targets: readonly TargetFigures[], phases: readonly PhaseFigures[]): string[] {
  const silent = targets.flatMap(({ vserver, what, at, requests, failures, expected }) => {
    const place = `vserver ${vserver}, ${what} at ${at}`;
    if (requests === 0) return [`${place}: nobody asked`];
    if (failures === requests)
      return [`${place}: never answered${expected === 0 ? "" : ` with ${expected}`}`];
    return [];
  });
  const calm = phases
    .filter(({ is_fault, failures }) => !is_fault && failures > 0)
    .map(({ what, failures, requests, kinds }) => {
      const list = Object.entries(kinds).map(([kind, count]) => `${kind}: ${count}`);
      return `${what}: ${failures} of ${requests} requests failed though nothing was done (${list.join(", ")})`;
    });
  return [...silent, ...calm];
}
