/**
 * A chaos run: `npm run chaos:nodes -- [--rounds 20] [--seed N] [--json]`. An array of four nodes in a lab, under load; in
 * random order a node is added, drained, undrained, killed (cable cut, `kill -9` of all) or returns, each at least as
 * often as there are rounds (a round takes about three quarters of a minute). No connection may
 * fail whose node stayed alive, however long it was idle. Exits 1 when one did, or when the array did not settle
 * after a step; leaves nothing behind. The same seed makes the same steps.
 */
import { setTimeout as sleep } from "node:timers/promises";
import { parseArgs } from "node:util";
import {
  type Death,
  faultOf,
  figuresOf,
  type Flow,
  type GroupFigures,
  monotonicNow_ms,
  outage_ms,
} from "../../lab/flow-report.ts";
import { type FlowsSoFar, type RunningFlows, startFlows } from "../../lab/flow-tools.ts";
import { labCut, labHeal, labKill, labWipeNode } from "../../lab/lab.ts";
import { hostNamed } from "../../lab/planned-host.ts";
import { labDrain, labUndrain } from "../../lab/scheduler.ts";
import type { LabState } from "../../lab/state.ts";
import { labUp } from "../../lab/up.ts";
import { type ChaosReport, runInLab } from "./in-lab.ts";
import { IDLE_NODE, loadPlan, NODES, writeConfig } from "./load.ts";
import { DEEDS, planRounds, type Round } from "./rounds.ts";
import { type CounterWatch, settle, watchCounters } from "./watch.ts";

const SETTLE_MOST_MS = 30_000;
/** How long the load goes on before the first round and after each: idle connections are asked in it. */
const DWELL_MS = 5000;
/** A round that takes longer than this on the average ends the load too early, which shows. */
const ROUND_MOST_S = 120;
const MAX_ROUNDS = 1000;
const MAX_SHOWN_ERRORS = 10;
/** An answer that takes this long is shown: more was lost than what was on its way to a node when that was killed. */
const SLOW_MS = 3000;

interface RoundReport {
  readonly deed: string;
  readonly node: string;
  /** CLOCK_MONOTONIC, as the flows' times. */
  readonly started_ms: number;
  readonly settled_ms: number;
  readonly unsettled: string;
  readonly so_far: FlowsSoFar;
}

interface Chaos {
  readonly state: LabState;
  readonly flows: RunningFlows;
  readonly counters: CounterWatch;
  readonly deaths: Death[];
  readonly killed: Set<string>;
  /** Drained by us, alive or not. */
  readonly draining: Set<string>;
}

const { values } = parseArgs({
  options: {
    rounds: { type: "string", default: "20" },
    seed: { type: "string", default: String(Date.now() % 1_000_000) },
    json: { type: "boolean", default: false },
  },
});

function say(text: string): void {
  if (!values.json) console.log(text);
}

function countOf(name: string, text: string, most: number): number {
  const count = Number(text);
  if (Number.isInteger(count) && count >= 0 && count <= most) return count;
  console.error(`--${name} takes a number from 0 to ${most}`);
  process.exit(2);
}

async function perform(chaos: Chaos, { deed, node }: Round): Promise<void> {
  const { name: lab } = chaos.state;
  switch (deed) {
    case "add":
      // A machine that was killed comes up anew: nothing of what its kernel had is left.
      if (chaos.killed.has(node)) await labWipeNode(lab, node);
      return comeBack(chaos, node);
    case "return":
      return comeBack(chaos, node);
    case "drain":
      chaos.draining.add(node);
      return void (await labDrain(lab, node, false));
    case "undrain":
      chaos.draining.delete(node);
      return void (await labUndrain(lab, node));
    case "kill":
      return kill(chaos, node);
  }
}

async function kill({ state, deaths, killed }: Chaos, node: string): Promise<void> {
  killed.add(node);
  const begun_ms = monotonicNow_ms();
  await labCut(state.name, node);
  const done_ms = monotonicNow_ms();
  await labKill(state.name, node);
  const { addresses } = hostNamed(state.hosts, node);
  deaths.push(...addresses.map((address) => ({ node: address, begun_ms, done_ms })));
}

/** A node that was drained when it was killed is still drained when it comes back, until an operator says otherwise. */
async function comeBack({ state, killed, draining }: Chaos, node: string): Promise<void> {
  await labHeal(state.name, node);
  killed.delete(node);
  if (draining.delete(node)) await labUndrain(state.name, node);
}

async function runRound(chaos: Chaos, round: Round): Promise<RoundReport> {
  const { state, flows, counters } = chaos;
  const started_ms = monotonicNow_ms();
  await perform(chaos, round);
  const { took_ms, unsettled } = await settle(state.name, round.states, SETTLE_MOST_MS);
  await sleep(DWELL_MS);
  await counters.read(runningNodes(round.states));
  return {
    deed: round.deed,
    node: round.node,
    started_ms,
    settled_ms: Math.round(took_ms),
    unsettled,
    so_far: await flows.soFar(),
  };
}

function runningNodes(states: Round["states"]): string[] {
  return [...states].flatMap(([node, state]) => (state === "up" || state === "drained" ? [node] : []));
}

async function runRounds(chaos: Chaos, rounds: readonly Round[]): Promise<RoundReport[]> {
  const reports: RoundReport[] = [];
  for (const [i, round] of rounds.entries()) {
    const report = await runRound(chaos, round);
    reports.push(report);
    sayRound(i, rounds.length, report, round.states);
  }
  return reports;
}

function sayRound(i: number, count: number, report: RoundReport, states: Round["states"]): void {
  const { deed, node, settled_ms, unsettled, so_far } = report;
  const place = `${String(i + 1).padStart(String(count).length)}/${count}`;
  const settled =
    unsettled === "" ? `settled in ${(settled_ms / 1000).toFixed(1)} s` : `NOT SETTLED: ${unsettled}`;
  const load = `${so_far.open} open, ${so_far.answers} answers, ${so_far.errors} ended by errors`;
  const now = [...states].map(([node, state]) => `${node} ${state}`).join(", ");
  say(`${place}  ${deed.padEnd(7)} ${node}  ${settled.padEnd(18)}  ${load}  (${now})`);
}

/** Over all kills: from a kill until the last new connection that it hurt was opened. */
function outages_ms(flows: readonly Flow[], deaths: readonly Death[]): number[] {
  const fresh = flows.filter(({ group }) => group.startsWith("new"));
  return [...new Set(deaths.map(({ begun_ms }) => begun_ms))].map((begun_ms) => {
    const after = fresh.filter(({ opened_ms }) => opened_ms < begun_ms + DWELL_MS);
    return Math.round(outage_ms(after, begun_ms));
  });
}

async function withLab(lab: string, dir: string, seed: number, count: number): Promise<ChaosReport> {
  const rounds = planRounds(seed, count, {
    nodes: NODES.map((number) => `node${number}`),
    idle: [`node${IDLE_NODE}`],
  });
  say(
    `Seed ${seed}, ${count} rounds, ${rounds.length} steps. Bringing up a lab of ${NODES.length} nodes, node${IDLE_NODE} not started …`,
  );
  const { state } = await labUp({ name: lab, configFile: writeConfig(dir), idleNodes: [IDLE_NODE] });
  const flows = startFlows(lab, "client", loadPlan(60 + rounds.length * ROUND_MOST_S));
  const counters = watchCounters(lab);
  const chaos: Chaos = { state, flows, counters, deaths: [], killed: new Set(), draining: new Set() };
  await sleep(DWELL_MS);
  const reports = await runRounds(chaos, rounds);
  return conclude(chaos, seed, reports, await flows.stop());
}

function conclude(
  { state, counters, deaths }: Chaos,
  seed: number,
  rounds: readonly RoundReport[],
  flows: readonly Flow[],
): ChaosReport {
  const figures = figuresOf(flows, deaths);
  const wrong = flows.filter((flow) => faultOf(flow, deaths) === "living");
  const unsettled = rounds.filter((round) => round.unsettled !== "").length;
  const answers = flows.reduce((sum, flow) => sum + flow.answers, 0);
  const outages = outages_ms(flows, deaths);
  const ok = wrong.length === 0 && unsettled === 0 && answers > 0;
  sayFigures(figures, counters);
  if (outages.length > 0) say(`after kills, new connections were hurt for ${outages.join(", ")} ms`);
  for (const flow of wrong.slice(0, MAX_SHOWN_ERRORS)) say(`  ${errorLine(state, flow, rounds)}`);
  for (const line of slowLines(state, flows, rounds)) say(`  ${line}`);
  const counts = DEEDS.map((deed) => `${deed} ${rounds.filter((round) => round.deed === deed).length}`);
  say(`${counts.join(", ")}; ${unsettled} steps did not settle`);
  say(`${ok ? "Good" : "NOT GOOD"}: ${wrong.length} errors on flows whose nodes stayed alive. Seed ${seed}.`);
  const errors = wrong.slice(0, MAX_SHOWN_ERRORS);
  return { ok, seed, rounds, flows: figures, counters: counters.sums(), outages_ms: outages, errors };
}

function sayFigures(figures: Readonly<Record<string, GroupFigures>>, counters: CounterWatch): void {
  say("\nflows: errors by whether their node lived, was killed, or was not known yet when one was killed");
  for (const [name, group] of Object.entries(figures)) {
    const { flows, answers, slowest_ms, errors_living, errors_dead, errors_unknown } = group;
    const errors = `errors ${errors_living} lived, ${errors_dead} killed, ${errors_unknown} unknown`;
    say(`  ${name.padEnd(10)} ${flows} flows, ${answers} answers, slowest ${slowest_ms} ms, ${errors}`);
  }
  say("frames by the nodes' counters");
  for (const [node, counts] of Object.entries(counters.sums())) {
    const list = Object.entries(counts).map(([name, count]) => `${name} ${count}`);
    say(`  ${node}  ${list.join(", ")}`);
  }
}

/** Answers that came late though no error came of it: their packets were lost for a while. */
function slowLines(state: LabState, flows: readonly Flow[], rounds: readonly RoundReport[]): string[] {
  return flows
    .filter(({ error, slowest_ms }) => error === null && slowest_ms >= SLOW_MS)
    .toSorted((a, b) => b.slowest_ms - a.slowest_ms)
    .slice(0, MAX_SHOWN_ERRORS)
    .map((flow) => {
      const came = momentOf(flow.slowest_at_ms, rounds);
      return `${clientOf(state, flow)}, an answer after ${Math.round(flow.slowest_ms)} ms ${came}`;
    });
}

function clientOf(state: LabState, flow: Flow): string {
  const node = state.hosts.find(({ addresses }) => addresses.includes(flow.node))?.name ?? "no node yet";
  return `${flow.group} from port ${flow.client_port} at ${node}`;
}

function errorLine(state: LabState, flow: Flow, rounds: readonly RoundReport[]): string {
  const client = clientOf(state, flow);
  const opened = momentOf(flow.opened_ms, rounds);
  const ended = momentOf(flow.ended_ms, rounds);
  return `${client}, opened ${opened}, ${flow.error} ${ended}, after ${flow.answers} answers`;
}

/** A time as so many seconds after a round began. */
function momentOf(at_ms: number, rounds: readonly RoundReport[]): string {
  const round = rounds.findLastIndex(({ started_ms }) => started_ms <= at_ms);
  if (round < 0) return "before round 1";
  return `in round ${round + 1} (+${((at_ms - rounds[round]!.started_ms) / 1000).toFixed(1)} s)`;
}

const count = countOf("rounds", values.rounds, MAX_ROUNDS);
const seed = countOf("seed", values.seed, 0xffffffff);
await runInLab("chaos", values.json, async (lab, dir) => withLab(lab, dir, seed, count), { seed });
