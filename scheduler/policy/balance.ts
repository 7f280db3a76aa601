/**
 * Corrects the nodes' weights by what the sweep tells of them, so that what is levelled is hits, open connections or
 * response times instead of IP groups alone: some clients weigh more than others, and some nodes are slower.
 *
 * A node whose figure is too high for its weight gets a factor that falls, one whose figure is too low one that rises:
 * slowly, as buckets have to move and connections to end before it shows, within bounds, and not at all while all are
 * about level. The factors stay around 1. Pure: figures and time in, factors and weights out.
 */
import type { NodeStatus } from "../../conf/messages.ts";

export type BalanceMode = "groups" | "hits" | "connections" | "response-time";

/** What a sweep tells of a node; all but the open connections count from the node's start. */
export interface NodeFigures {
  readonly hits: number;
  readonly open_connections: number;
  readonly response_time_sum_us: number;
  readonly response_time_count: number;
}
export interface BalancedNode {
  readonly number: number;
  /** As configured. */
  readonly weight: number;
  /** Undefined when the sweep has none. */
  readonly figures: NodeFigures | undefined;
}

/** What is kept from one sweep to the next, by node number. */
export interface BalanceState {
  readonly factors: ReadonlyMap<number, number>;
  readonly figures: ReadonlyMap<number, NodeFigures>;
  readonly at_ms: number;
}
export interface Correction {
  readonly state: BalanceState;
  /** Effective weights, by node number. */
  readonly weights: ReadonlyMap<number, number>;
}

const LEAST_FACTOR = 0.5;
const MOST_FACTOR = 2;
/** Nodes this near to the common figure are left alone. */
const DEAD_BAND = 0.05;
/** A lasting deviation is corrected by its 1/e-th part in this time. */
const TIME_CONSTANT_MS = 120_000;
/** A longer pause between two sweeps counts as this long. */
const LONGEST_STEP_MS = 10_000;
/** With fewer hits, answers or connections per node a figure is mere chance. */
const LEAST_EVENTS = 20;

/** Nothing known yet. */
export const noBalance: BalanceState = { factors: new Map(), figures: new Map(), at_ms: 0 };

/** A node's figures, out of its answer to the sweep. */
export function figuresOf({ hits, open_connections, web_servers }: NodeStatus): NodeFigures {
  const sum = (field: "response_time_sum_us" | "response_time_count"): number =>
    web_servers.reduce((sum, row) => sum + row[field], 0);
  return {
    hits,
    open_connections,
    response_time_sum_us: sum("response_time_sum_us"),
    response_time_count: sum("response_time_count"),
  };
}

/** Takes in a sweep's figures. A node that has none keeps its factor; too few are kept until there are more. */
export function correct(
  state: BalanceState,
  nodes: readonly BalancedNode[],
  mode: BalanceMode,
  now_ms: number,
): Correction {
  if (mode === "groups") return { state: noBalance, weights: weightsOf(nodes, new Map()) };
  const figures = new Map(nodes.flatMap(({ number, figures }) => (figures ? [[number, figures]] : [])));
  const deviations = deviationsOf(state, nodes, mode);
  if (deviations === undefined) {
    const at_ms = state.figures.size === 0 ? now_ms : state.at_ms;
    const kept = new Map(
      [...figures].map(([number, now]) => [number, earlier(state.figures.get(number), now)]),
    );
    return { state: { ...state, figures: kept, at_ms }, weights: weightsOf(nodes, state.factors) };
  }
  const step_ms = Math.min(Math.max(0, now_ms - state.at_ms), LONGEST_STEP_MS);
  const factors = correctFactors(state.factors, nodes, deviations, 1 - Math.exp(-step_ms / TIME_CONSTANT_MS));
  return { state: { factors, figures, at_ms: now_ms }, weights: weightsOf(nodes, factors) };
}

/** What counting goes on from: the figures of before, unless the node has begun anew since. */
function earlier(before: NodeFigures | undefined, now: NodeFigures): NodeFigures {
  return before === undefined || now.hits < before.hits ? now : before;
}

function weightsOf(
  nodes: readonly BalancedNode[],
  factors: ReadonlyMap<number, number>,
): ReadonlyMap<number, number> {
  return new Map(nodes.map(({ number, weight }) => [number, weight * (factors.get(number) ?? 1)]));
}

/** What a node has done since the sweep before, and how many events that figure is made of. */
interface Measure {
  readonly number: number;
  readonly weight: number;
  readonly amount: number;
  readonly events: number;
}

function measureOf(
  state: BalanceState,
  { number, weight, figures }: BalancedNode,
  mode: Exclude<BalanceMode, "groups">,
): Measure[] {
  const before = state.figures.get(number);
  if (figures === undefined || weight === 0) return [];
  const { open_connections: open } = figures;
  if (mode === "connections") return [{ number, weight, amount: open / weight, events: open }];
  if (before === undefined) return [];
  const hits = figures.hits - before.hits;
  // It has been started again: what it counts begins anew.
  if (hits < 0) return [];
  if (mode === "hits") return [{ number, weight, amount: hits / weight, events: hits }];
  const events = figures.response_time_count - before.response_time_count;
  const time_us = figures.response_time_sum_us - before.response_time_sum_us;
  return events > 0 && time_us >= 0 ? [{ number, weight, amount: time_us / events, events }] : [];
}

/** Each node's figure as a multiple of what it would be in a level array; undefined when they are too few. */
function deviationsOf(
  state: BalanceState,
  nodes: readonly BalancedNode[],
  mode: Exclude<BalanceMode, "groups">,
): Map<number, number> | undefined {
  const measures = nodes.flatMap((node) => measureOf(state, node, mode));
  const events = measures.reduce((sum, { events }) => sum + events, 0);
  if (measures.length < 2 || events < LEAST_EVENTS * measures.length) return undefined;
  const total = measures.reduce((sum, { weight }) => sum + weight, 0);
  const common = measures.reduce((sum, { amount, weight }) => sum + (amount * weight) / total, 0);
  if (common === 0) return undefined;
  return new Map(measures.map(({ number, amount }) => [number, amount / common]));
}

const bounded = (value: number): number => Math.min(Math.max(value, LEAST_FACTOR), MOST_FACTOR);

/** One step of the factors; `gain` is how much of a deviation it corrects. */
function correctFactors(
  factors: ReadonlyMap<number, number>,
  nodes: readonly BalancedNode[],
  deviations: ReadonlyMap<number, number>,
  gain: number,
): ReadonlyMap<number, number> {
  const present = nodes.map(({ number }) => [number, factors.get(number) ?? 1] as const);
  const isLevel = [...deviations.values()].every((deviation) => Math.abs(deviation - 1) <= DEAD_BAND);
  if (isLevel) return new Map(present);
  const stepped = new Map(
    present.map(([number, factor]) => [number, stepOf(factor, deviations.get(number), gain)]),
  );
  return normalised(new Map(present), stepped, nodes, deviations, gain);
}

function stepOf(factor: number, deviation: number | undefined, gain: number): number {
  if (deviation === undefined || Math.abs(deviation - 1) <= DEAD_BAND) return factor;
  return factor * bounded(deviation) ** -gain;
}

/**
 * Scales the factors of the nodes that have figures: only their relations count, so their mean is led back to 1, as
 * slowly as all else happens here.
 */
function normalised(
  before: ReadonlyMap<number, number>,
  stepped: ReadonlyMap<number, number>,
  nodes: readonly BalancedNode[],
  deviations: ReadonlyMap<number, number>,
  gain: number,
): ReadonlyMap<number, number> {
  const measured = nodes.filter(({ number }) => deviations.has(number));
  const total = measured.reduce((sum, { weight }) => sum + weight, 0);
  const mean = (factors: ReadonlyMap<number, number>): number =>
    measured.reduce((sum, { number, weight }) => sum + (weight * (factors.get(number) ?? 1)) / total, 0);
  const wanted = mean(before) + (1 - mean(before)) * gain;
  const scale = wanted / mean(stepped);
  return new Map(
    [...stepped].map(([number, factor]) => [
      number,
      deviations.has(number) ? bounded(factor * scale) : factor,
    ]),
  );
}
