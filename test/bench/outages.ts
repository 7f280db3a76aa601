/**
 * What bench:failover does to each array that it compares: the same load, the same probe, the same death. A node dies by
 * its cable being pulled and `kill -9` of all that runs on it.
 */
import { setTimeout as sleep } from "node:timers/promises";
import { type Cables, holdCables } from "../../lab/cables.ts";
import { type Death, faultOf, type Flow, type FlowPlan, monotonicNow_ms } from "../../lab/flow-report.ts";
import { type RunningFlows, startFlows } from "../../lab/flow-tools.ts";
import { labKill } from "../../lab/lab.ts";
import { hostNamed } from "../../lab/planned-host.ts";
import { type RunningProbes, startProbes } from "../../lab/probe-tools.ts";
import type { LabState } from "../../lab/state.ts";

const PROBE_EVERY_MS = 4;
const PROBE_WITHIN_MS = 250;
const HELD = 36;
/** A held connection whose node died is noticed and replaced after this, so runs are not closer than that. */
const ANSWER_WITHIN_MS = 2500;
const PAUSE_MS = [ANSWER_WITHIN_MS + 500, ANSWER_WITHIN_MS + 1500] as const;
const SERVED_WITHIN_MS = 30_000;
/** The load ends by itself after this, whoever has forgotten it. */
const MOST_S = 3600;

/** One array under load, and what can be done to it. */
export interface Bench {
  readonly state: LabState;
  readonly probes: RunningProbes;
  readonly flows: RunningFlows;
  readonly cables: Cables;
  readonly deaths: Death[];
  readonly outages_ms: number[];
}

/** Puts the load on what serves the lab's first VIP. */
export function startBench(state: LabState): Bench {
  const at = { host: state.vips[0] ?? "", port: 80, path: "/id" };
  const plan: FlowPlan = {
    groups: [{ kind: "held", name: "held", connections: HELD, pause_ms: [5, 50], ...at }],
    answer_within_ms: ANSWER_WITHIN_MS,
    most_s: MOST_S,
  };
  return {
    state,
    probes: startProbes(state.name, "client", {
      ...at,
      every_ms: PROBE_EVERY_MS,
      answer_within_ms: PROBE_WITHIN_MS,
    }),
    flows: startFlows(state.name, "client", plan),
    cables: holdCables(state.name),
    deaths: [],
    outages_ms: [],
  };
}

/** A run: the node that gets the clients' frames dies at a random moment, and somebody else serves. */
export async function dieOnce(bench: Bench, victim: string): Promise<void> {
  const { state, probes, cables, deaths, outages_ms } = bench;
  const [least, most] = PAUSE_MS;
  await sleep(least + Math.random() * (most - least));
  probes.forget();
  const cut = await cables.pull(victim);
  const [outage_ms] = await Promise.all([
    probes.outageAfter_ms(cut, SERVED_WITHIN_MS),
    labKill(state.name, victim),
  ]);
  const { addresses } = hostNamed(state.hosts, victim);
  deaths.push(...addresses.map((node) => ({ node, begun_ms: cut.begun_ms, done_ms: cut.done_ms })));
  if (outage_ms === undefined)
    throw new Error(`${victim} died, and nobody served within ${SERVED_WITHIN_MS} ms`);
  outages_ms.push(outage_ms);
}

/** Waits until every probe of a second was answered. */
export async function served({ probes }: Bench): Promise<void> {
  const deadline_ms = monotonicNow_ms() + SERVED_WITHIN_MS;
  for (;;) {
    const from_ms = monotonicNow_ms();
    probes.forget();
    await sleep(1000 + PROBE_WITHIN_MS);
    const begun = probes.ended().filter(({ started_ms }) => started_ms >= from_ms);
    if (begun.length > 0 && begun.every(({ error }) => error === null)) return;
    if (from_ms > deadline_ms) throw new Error("some probes fail though nothing is broken");
  }
}

export interface BenchResult {
  readonly runs: number;
  readonly p50_ms: number;
  readonly p90_ms: number;
  readonly p99_ms: number;
  readonly max_ms: number;
  readonly outages_ms: readonly number[];
  /** Held connections that failed though their node had lived all their life; those of nodes that died. */
  readonly errors_living: number;
  readonly errors_dead: number;
  readonly answers: number;
}

/** Ends the load and says what it was like. */
export async function endBench(bench: Bench): Promise<BenchResult> {
  const flows = await bench.flows.stop();
  await bench.probes.stop();
  await bench.cables.close();
  const { outages_ms, deaths } = bench;
  const count = (fault: string): number => countFaults(flows, deaths, fault);
  return {
    runs: outages_ms.length,
    p50_ms: percentile(outages_ms, 0.5),
    p90_ms: percentile(outages_ms, 0.9),
    p99_ms: percentile(outages_ms, 0.99),
    max_ms: percentile(outages_ms, 1),
    outages_ms: outages_ms.map((ms) => Math.round(ms * 10) / 10),
    errors_living: count("living"),
    errors_dead: count("dead") + count("unknown"),
    answers: flows.reduce((sum, { answers }) => sum + answers, 0),
  };
}

function countFaults(flows: readonly Flow[], deaths: readonly Death[], fault: string): number {
  return flows.filter((flow) => faultOf(flow, deaths) === fault).length;
}

/** The least sample that this part of all does not exceed. */
function percentile(samples: readonly number[], part: number): number {
  const sorted = samples.toSorted((a, b) => a - b);
  return sorted[Math.max(0, Math.ceil(part * sorted.length) - 1)] ?? Number.NaN;
}
