/**
 * The sweep: the scheduler asks every other node for its status, one after the other, closing each connection
 * after the answer; then it pauses. A node that does not answer after the configured further tries counts as
 * failed; it is asked on, once per round, and is back when it answers. Pure: events in, the next step out.
 */

export interface SweepSettings {
  readonly retries: number;
  readonly delay_ms: number;
}
export interface SweepState {
  readonly nodes: readonly number[];
  readonly failed: ReadonlySet<number>;
  /** Index of the node that is being asked, and how many tries it has had. */
  readonly at: number;
  readonly tries: number;
  readonly started_at_ms: number;
  /** Unix times, ms; null before the first round's end. */
  readonly last_sweep_at_ms: number | null;
  readonly last_sweep_took_ms: number | null;
}
export type SweepStep =
  | { readonly kind: "ask"; readonly node: number }
  | { readonly kind: "wait"; readonly delay_ms: number };
export interface SweepChange {
  readonly node: number;
  readonly failed: boolean;
  /** Why it failed, for people; empty when it is back. */
  readonly reason: string;
}
export interface SweepTurn {
  readonly state: SweepState;
  readonly step: SweepStep;
  /** A node failed, or is back. */
  readonly change?: SweepChange;
}

/** The first step of a scheduler. Nodes count as living until the sweep says otherwise, but for those of `failed`. */
export function startSweep(
  nodes: readonly number[],
  failed: ReadonlySet<number>,
  settings: SweepSettings,
  now_ms: number,
): SweepTurn {
  const state: SweepState = {
    nodes,
    failed,
    at: 0,
    tries: 0,
    started_at_ms: now_ms,
    last_sweep_at_ms: null,
    last_sweep_took_ms: null,
  };
  return stepOf(state, settings, now_ms);
}

/** The pause is over. */
export function sweepAgain(state: SweepState, settings: SweepSettings, now_ms: number): SweepTurn {
  return stepOf({ ...state, at: 0, tries: 0, started_at_ms: now_ms }, settings, now_ms);
}

/** The node that was asked has answered. */
export function sweepAnswered(state: SweepState, settings: SweepSettings, now_ms: number): SweepTurn {
  return judged(state, settings, now_ms, "");
}

/** The node that was asked gave no answer in time, none that could be read, or one that says it serves nobody. */
export function sweepUnanswered(
  state: SweepState,
  settings: SweepSettings,
  now_ms: number,
  reason: string,
): SweepTurn {
  const node = state.nodes[state.at] ?? -1;
  const tries = state.tries + 1;
  // One that has failed already costs the round one try only.
  if (tries <= settings.retries && !state.failed.has(node))
    return stepOf({ ...state, tries }, settings, now_ms);
  return judged(state, settings, now_ms, reason);
}

/** The round goes on; an empty reason stands for a good answer. */
function judged(state: SweepState, settings: SweepSettings, now_ms: number, reason: string): SweepTurn {
  const isFailed = reason !== "";
  const node = state.nodes[state.at] ?? -1;
  const failed = new Set(state.failed);
  if (isFailed) failed.add(node);
  else failed.delete(node);
  const turn = stepOf({ ...state, failed, at: state.at + 1, tries: 0 }, settings, now_ms);
  return state.failed.has(node) === isFailed ? turn : { ...turn, change: { node, failed: isFailed, reason } };
}

function stepOf(state: SweepState, settings: SweepSettings, now_ms: number): SweepTurn {
  const node = state.nodes[state.at];
  if (node !== undefined) return { state, step: { kind: "ask", node } };
  const last_sweep_took_ms = Math.max(0, now_ms - state.started_at_ms);
  return {
    state: { ...state, last_sweep_at_ms: now_ms, last_sweep_took_ms },
    step: { kind: "wait", delay_ms: settings.delay_ms },
  };
}
