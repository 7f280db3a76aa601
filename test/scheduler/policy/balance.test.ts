import assert from "node:assert/strict";
import { test } from "node:test";
import {
  correct,
  figuresOf,
  noBalance,
  type BalancedNode,
  type BalanceMode,
  type BalanceState,
  type NodeFigures,
} from "../../../scheduler/policy/balance.ts";
import { webServer } from "../../status/samples.ts";
import { randomOf } from "./policy-world.ts";

const SWEEP_MS = 1000;
/** Parts of the buckets follow the weights, as they may be moved within a minute. */
const FILL_MS = 60_000;

interface ModelNode {
  readonly number: number;
  readonly weight: number;
  /** Hits that a bucket of this node's makes, relative to the others': its clients are heavier or lighter. */
  readonly heaviness: number;
  /** Hits per second that it could answer. */
  readonly speed: number;
  /** How long a connection lasts. */
  readonly connection_s: number;
}
interface Model {
  readonly nodes: readonly ModelNode[];
  readonly random: () => number;
  readonly rate: number;
  shares: number[];
  figures: {
    hits: number;
    open_connections: number;
    response_time_sum_us: number;
    response_time_count: number;
  }[];
  state: BalanceState;
  weights: ReadonlyMap<number, number>;
  now_ms: number;
}

function createModel(nodes: readonly ModelNode[], seed: number, rate = 2000): Model {
  const total = nodes.reduce((sum, { weight }) => sum + weight, 0);
  return {
    nodes,
    random: randomOf(seed),
    rate,
    shares: nodes.map(({ weight }) => weight / total),
    figures: nodes.map(() => ({
      hits: 0,
      open_connections: 0,
      response_time_sum_us: 0,
      response_time_count: 0,
    })),
    state: noBalance,
    weights: new Map(nodes.map(({ number, weight }) => [number, weight])),
    now_ms: 0,
  };
}

/** Until the next sweep: buckets move towards the weights, nodes work, and are asked. */
function sweep(model: Model, mode: BalanceMode): void {
  const total = [...model.weights.values()].reduce((sum, weight) => sum + weight, 0);
  const heavy = model.nodes.reduce((sum, { heaviness }, i) => sum + heaviness * model.shares[i]!, 0);
  model.nodes.forEach((node, i) => {
    const wanted = model.weights.get(node.number)! / total;
    const most = SWEEP_MS / FILL_MS;
    model.shares[i]! += Math.min(Math.max(wanted - model.shares[i]!, -most), most);
    work(model, i, (model.rate * model.shares[i]! * node.heaviness) / heavy);
  });
  model.now_ms += SWEEP_MS;
  const correction = correct(model.state, balanced(model), mode, model.now_ms);
  [model.state, model.weights] = [correction.state, correction.weights];
}
const balanced = ({ nodes, figures }: Model): BalancedNode[] =>
  nodes.map(({ number, weight }, i) => ({ number, weight, figures: { ...figures[i]! } }));

/** A second of a node's work: hits that scatter, connections that end slowly, times that rise with the load. */
function work({ nodes, figures, random }: Model, i: number, rate: number): void {
  const { speed, connection_s } = nodes[i]!;
  const own = figures[i]!;
  const hits = Math.max(0, Math.round(rate + (random() - 0.5) * 3.4 * Math.sqrt(rate)));
  const load = Math.min(rate / speed, 0.98);
  own.hits += hits;
  own.response_time_count += hits;
  own.response_time_sum_us += ((hits * 1e6) / speed / (1 - load)) * (0.9 + random() * 0.2);
  own.open_connections = Math.round(own.open_connections * (1 - 1 / connection_s) + hits);
}

/** What the balance is after, of each node, averaged over some sweeps; relative to the mean. */
function observe(model: Model, mode: BalanceMode, sweeps: number): number[] {
  const before = model.figures.map((figures) => ({ ...figures }));
  const connections = model.nodes.map(() => 0);
  for (let i = 0; i < sweeps; i++) {
    sweep(model, mode);
    model.figures.forEach(({ open_connections }, node) => (connections[node]! += open_connections));
  }
  const amounts = model.nodes.map(({ weight }, node) => {
    const [now, then] = [model.figures[node]!, before[node]!];
    const time_us = now.response_time_sum_us - then.response_time_sum_us;
    if (mode === "response-time") return time_us / (now.response_time_count - then.response_time_count);
    return (mode === "hits" ? now.hits - then.hits : connections[node]!) / weight;
  });
  const mean = amounts.reduce((sum, amount) => sum + amount, 0) / amounts.length;
  return amounts.map((amount) => amount / mean);
}

const nodesOf = (rows: readonly Partial<ModelNode>[]): ModelNode[] =>
  rows.map((row, i) => ({ number: i * 3, weight: 1, heaviness: 1, speed: 2000, connection_s: 30, ...row }));

const CASES: readonly [BalanceMode, string, ModelNode[]][] = [
  [
    "hits",
    "clients of different heaviness",
    nodesOf([{ heaviness: 0.7 }, { heaviness: 1 }, { heaviness: 1.5 }]),
  ],
  [
    "hits",
    "different weights",
    nodesOf([{ weight: 1, heaviness: 1.4 }, { weight: 2 }, { weight: 5, heaviness: 0.8 }]),
  ],
  [
    "connections",
    "connections of different length",
    nodesOf([{ connection_s: 20 }, { connection_s: 30 }, { connection_s: 45 }]),
  ],
  [
    "connections",
    "long connections",
    nodesOf([{ connection_s: 120, heaviness: 1.6 }, { connection_s: 150 }]),
  ],
  [
    "response-time",
    "nodes of different speed",
    nodesOf([{ speed: 1750 }, { speed: 2000 }, { speed: 2250 }, { speed: 2000 }]),
  ],
];

for (const [mode, text, nodes] of CASES) {
  test(`${mode}: ${text} come within 10 % of each other, and stay there`, () => {
    for (const seed of [1, 2, 3]) {
      const model = createModel(nodes, seed);
      const start = observe(model, mode, 60);
      assert.ok(
        start.some((amount) => Math.abs(amount - 1) > 0.1),
        `nothing to do: ${start.join()}`,
      );
      for (let i = 0; i < 900; i++) sweep(model, mode);
      let turns = 0;
      let before = model.weights;
      const directions = new Map<number, number>();
      for (let i = 0; i < 10; i++) {
        const amounts = observe(model, mode, 60);
        for (const amount of amounts)
          assert.ok(Math.abs(amount - 1) < 0.1, `seed ${seed}: ${amounts.join()}`);
        for (const [number, weight] of model.weights) {
          const change = weight / before.get(number)! - 1;
          assert.ok(
            Math.abs(change) < 0.05,
            `seed ${seed}: the weight of node ${number} swings by ${change}`,
          );
          const direction = Math.sign(Math.abs(change) < 0.01 ? 0 : change);
          if (direction * (directions.get(number) ?? 0) < 0) turns++;
          if (direction !== 0) directions.set(number, direction);
        }
        before = model.weights;
      }
      assert.ok(turns <= nodes.length * 2, `seed ${seed}: ${turns} turns`);
    }
  });
}

const figures = (hits: number, more: Partial<NodeFigures> = {}): NodeFigures => ({
  hits,
  open_connections: 0,
  response_time_sum_us: 0,
  response_time_count: 0,
  ...more,
});
const two = (first: NodeFigures | undefined, second: NodeFigures | undefined): BalancedNode[] => [
  { number: 1, weight: 1, figures: first },
  { number: 2, weight: 2, figures: second },
];
/** Sweeps with so many hits per second on each node; returns the factors. */
function factorsAfter(
  sweeps: number,
  hits: readonly [number, number],
  from: BalanceState = noBalance,
): BalanceState {
  let state = from;
  for (let i = 0; i <= sweeps; i++) {
    const nodes = two(figures(i * hits[0]), figures(i * hits[1]));
    state = correct(state, nodes, "hits", from.at_ms + i * SWEEP_MS).state;
  }
  return state;
}

test("groups: the weights are the configured ones, and what had been corrected is forgotten", () => {
  const state = factorsAfter(100, [900, 1000]);
  assert.ok(state.factors.get(1)! < 0.8);
  const off = correct(state, two(figures(1), figures(1)), "groups", 1e6);
  assert.deepEqual(
    [...off.weights],
    [
      [1, 1],
      [2, 2],
    ],
  );
  assert.equal(off.state.factors.size, 0);
});

test("a level array keeps its weights exactly, whatever chance does within 5 %", () => {
  const state = factorsAfter(100, [1030, 1970]);
  assert.deepEqual(
    [...state.factors],
    [
      [1, 1],
      [2, 1],
    ],
  );
});

test("the correction is slow, and stops at half and double the weight", () => {
  const few = factorsAfter(10, [4000, 100]).factors;
  assert.ok(few.get(1)! > 0.8 && few.get(1)! < 1);
  const many = factorsAfter(2000, [4000, 100]).factors;
  assert.ok(many.get(1)! >= 0.5 && many.get(2)! <= 2);
  assert.ok(many.get(1)! < 0.51);
});

test("only the nodes' relations change: the mean of the factors, by weight, stays about 1", () => {
  for (const hits of [
    [1400, 1000],
    [300, 1000],
  ] as const) {
    const { factors } = factorsAfter(120, hits);
    assert.ok(Math.abs(factors.get(1)! - 1) > 0.1);
    assert.ok(Math.abs((factors.get(1)! + 2 * factors.get(2)!) / 3 - 1) < 0.02);
  }
});

test("a node without figures keeps its factor, and so does one that has begun to count anew for that sweep", () => {
  const state = factorsAfter(50, [1500, 1000]);
  const nodes = (first: NodeFigures | undefined): BalancedNode[] => [
    ...two(first, figures(51_000)),
    { number: 3, weight: 1, figures: undefined },
  ];
  const now_ms = state.at_ms + SWEEP_MS;
  for (const first of [undefined, figures(10)]) {
    const after = correct(state, nodes(first), "hits", now_ms);
    assert.equal(after.state.factors.get(1), state.factors.get(1));
    assert.equal(after.weights.get(3), 1);
  }
  const again = correct(
    correct(state, nodes(figures(10)), "hits", now_ms).state,
    two(figures(3010), figures(52_000)),
    "hits",
    now_ms + SWEEP_MS,
  );
  assert.ok(again.state.factors.get(1)! < state.factors.get(1)!, "and is corrected from then on");
});

test("a few hits are gathered over several sweeps before they count", () => {
  let state = correct(noBalance, two(figures(0), figures(0)), "hits", 0).state;
  for (let i = 1; i <= 4; i++) {
    state = correct(state, two(figures(i * 8), figures(i)), "hits", i * SWEEP_MS).state;
    assert.equal(state.factors.get(1) ?? 1, 1);
  }
  state = correct(state, two(figures(40), figures(5)), "hits", 5 * SWEEP_MS).state;
  assert.ok(state.factors.get(1)! < 1);
});

test("a node's figures are those of its answer to the sweep", () => {
  const row = webServer({ response_time_sum_us: 500, response_time_count: 2 });
  const status = {
    number: 1,
    avg_response_time_us: 250,
    hits: 77,
    open_connections: 5,
    open_by_vserver: {},
    workers: 1,
    workers_accepting: 1,
    web_servers: [row, { ...row, id: "b", response_time_sum_us: 100 }],
  };
  assert.deepEqual(figuresOf(status), {
    hits: 77,
    open_connections: 5,
    response_time_sum_us: 600,
    response_time_count: 4,
  });
});
