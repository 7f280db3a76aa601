/**
 * What only shows over time: how fast counters grow, and since when a web server is up or down. The counters come whenever
 * somebody asks for rows (on a running array that is the sweep, once a second), so nothing is asked for this alone. Pure:
 * bounded by what the last look had.
 */

export interface Rate {
  readonly per_second: number;
  /** The highest since this process began. */
  readonly most_per_second: number;
}

export interface StateHistory {
  readonly isUp: boolean;
  /** How long it has been so, how often it went down, and for how long it was down in all. */
  readonly since_s: number;
  readonly downs: number;
  readonly down_s: number;
}

export interface Observed {
  readonly rateOf: (key: string) => Rate;
  /** Undefined for what is not known yet. */
  readonly stateOf: (key: string, now_ms: number) => StateHistory | undefined;
}

export interface Observer extends Observed {
  /** Counters and states by name, as they are now. */
  readonly note: (look: Look) => void;
}

export interface Look {
  readonly now_ms: number;
  readonly counters: ReadonlyMap<string, number>;
  readonly isUp: ReadonlyMap<string, boolean>;
}

interface State {
  readonly isUp: boolean;
  readonly since_ms: number;
  readonly downs: number;
  /** Of the times that are over. */
  readonly down_ms: number;
}

/** Looks that are closer than this are one: a rate over a few milliseconds says nothing. */
const LEAST_MS = 1000;
const NO_RATE: Rate = { per_second: 0, most_per_second: 0 };

/** An observer that has seen nothing yet. */
export function observer(): Observer {
  let last: Look | undefined;
  let rates = new Map<string, Rate>();
  let states = new Map<string, State>();
  return {
    note: (look) => {
      states = new Map(
        [...look.isUp].map(([key, isUp]) => [key, nextState(states.get(key), isUp, look.now_ms)]),
      );
      if (last !== undefined && look.now_ms - last.now_ms < LEAST_MS) return;
      if (last !== undefined) rates = ratesBetween(last, look, rates);
      last = look;
    },
    rateOf: (key) => rates.get(key) ?? NO_RATE,
    stateOf: (key, now_ms) => {
      const state = states.get(key);
      if (state === undefined) return undefined;
      const since_ms = Math.max(0, now_ms - state.since_ms);
      const down_ms = state.down_ms + (state.isUp ? 0 : since_ms);
      return {
        isUp: state.isUp,
        since_s: Math.floor(since_ms / 1000),
        downs: state.downs,
        down_s: Math.floor(down_ms / 1000),
      };
    },
  };
}

function ratesBetween(last: Look, look: Look, before: ReadonlyMap<string, Rate>): Map<string, Rate> {
  const elapsed_s = (look.now_ms - last.now_ms) / 1000;
  return new Map(
    [...look.counters].map(([key, count]): [string, Rate] => {
      // A counter that fell was started anew.
      const per_second = Math.max(0, Math.round((count - (last.counters.get(key) ?? 0)) / elapsed_s));
      const most_per_second = Math.max(per_second, before.get(key)?.most_per_second ?? 0);
      return [key, { per_second, most_per_second }];
    }),
  );
}

function nextState(state: State | undefined, isUp: boolean, now_ms: number): State {
  if (state === undefined) return { isUp, since_ms: now_ms, downs: isUp ? 0 : 1, down_ms: 0 };
  if (state.isUp === isUp) return state;
  if (!isUp) return { ...state, isUp, since_ms: now_ms, downs: state.downs + 1 };
  return { ...state, isUp, since_ms: now_ms, down_ms: state.down_ms + (now_ms - state.since_ms) };
}
