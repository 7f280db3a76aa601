/**
 * A takeover run: `npm run chaos:takeover -- [--rounds 1000] [--seed N] [--nodes 3] [--json]`. An array in a lab under load;
 * round after round something befalls the scheduler or another node: everything killed, one process killed, all processes
 * stopped for a while, cable out, cut off for a blink, parted into sides, asked to hand over. After each healing
 * exactly one node must schedule, and all must agree on that. No connection may fail whose node clients could reach all
 * the while, and memory, descriptors and BPF objects have to stay level. Exits 1 with what was wrong, and leaves
 * nothing behind. The same seed makes the same faults.
 */
import { setTimeout as sleep } from "node:timers/promises";
import { parseArgs } from "node:util";
import { holdCables } from "../../lab/cables.ts";
import { faultOf, figuresOf, type Flow, monotonicNow_ms } from "../../lab/flow-report.ts";
import { startFlows } from "../../lab/flow-tools.ts";
import type { LabState } from "../../lab/state.ts";
import { labUp } from "../../lab/up.ts";
import { type ChaosReport, electionLines, runInLab } from "./in-lab.ts";
import { allUp } from "./all-up.ts";
import { agreement, openLeasePages, stableAgreement } from "./leases.ts";
import { type Levels, levelsOf, risen } from "./levels.ts";
import { takeoverPlan, writeConfig } from "./load.ts";
import { type ChaosArray, died, inflict, type Inflicted } from "./takeover-faults.ts";
import { type Fault, FAULTS, planFaults } from "./takeover-rounds.ts";

/** After healing, one node schedules so soon. A pulled cable is noticed to be back only after up to a second. */
const AGREE_WITHIN_MS = 5000;
/** And stays it: a lease that nobody renews any more lasts for 150 ms. */
const STABLE = { within_ms: AGREE_WITHIN_MS, stable_ms: 250 };
const LEVELS_EVERY = 50;
const ROUND_MOST_S = 40;
const MAX_SHOWN_ERRORS = 10;
/** What was told so soon after an error may have led to it. */
const AFTER_MS = 200;
const MISSED_SHARE = 0.1;

interface RoundReport extends Inflicted {
  readonly kind: Fault["kind"];
  readonly started_ms: number;
  /** From healing to the last moment of disagreement. */
  readonly agreed_ms: number;
  readonly allUp_ms: number;
}

const { values } = parseArgs({
  options: {
    rounds: { type: "string", default: "1000" },
    seed: { type: "string", default: String(Date.now() % 1_000_000) },
    nodes: { type: "string", default: "3" },
    json: { type: "boolean", default: false },
  },
});

function say(text: string): void {
  if (!values.json) console.log(text);
}

function countOf(name: "rounds" | "seed" | "nodes", least: number, most: number): number {
  const count = Number(values[name]);
  if (Number.isInteger(count) && count >= least && count <= most) return count;
  console.error(`--${name} takes a number from ${least} to ${most}`);
  process.exit(2);
}

async function runRound(array: ChaosArray, fault: Fault): Promise<RoundReport> {
  const started_ms = monotonicNow_ms();
  const before = await agreement(array.pages, array.nodes, AGREE_WITHIN_MS);
  const inflicted = await inflict(array, fault, before.scheduler);
  const { took_ms: agreed_ms, wrong } = await stableAgreement(array.pages, array.nodes, STABLE);
  const up = await allUp(array.state.name);
  // Its kernel is back before its processes are: what came in between found nobody there.
  if (fault.kind === "kill") died(array, inflicted.victim, started_ms, monotonicNow_ms());
  const all = [before.wrong, inflicted.wrong, wrong, up.wrong].filter((text) => text !== "");
  return {
    ...inflicted,
    kind: fault.kind,
    started_ms,
    agreed_ms,
    allUp_ms: up.allUp_ms,
    wrong: all.join("; "),
  };
}

interface Run {
  readonly reports: readonly RoundReport[];
  readonly levels: readonly Levels[];
}

/** Ends early when something was wrong: what comes after would tell of that only. */
async function runRounds(array: ChaosArray, faults: readonly Fault[]): Promise<Run> {
  const reports: RoundReport[] = [];
  const levels: Levels[] = [];
  for (const [i, fault] of faults.entries()) {
    const report = await runRound(array, fault);
    reports.push(report);
    sayRound(i, faults.length, report);
    if (i % LEVELS_EVERY === 0) levels.push(levelsOf(array.state));
    if (i % LEVELS_EVERY === 0) say(`  levels: ${JSON.stringify(levels.at(-1))}`);
    if (report.wrong !== "") break;
  }
  return { reports, levels };
}

function sayRound(i: number, count: number, report: RoundReport): void {
  const { kind, victim, note = "", takenOver_ms, agreed_ms, allUp_ms, wrong, started_ms } = report;
  const place = `${String(i + 1).padStart(String(count).length)}/${count}`;
  const took = takenOver_ms === undefined ? "" : `taken over in ${Math.round(takenOver_ms)} ms, `;
  const healed = `healed: agreed in ${Math.round(agreed_ms)} ms, all up in ${Math.round(allUp_ms)} ms`;
  const all_s = ((monotonicNow_ms() - started_ms) / 1000).toFixed(1);
  say(`${place}  ${kind.padEnd(9)} ${victim} ${note}  ${took}${healed} (${all_s} s)`);
  if (wrong !== "") say(`  WRONG: ${wrong}`);
}

async function withLab(lab: string, dir: string): Promise<ChaosReport> {
  const [rounds, seed, count] = [
    countOf("rounds", 1, 100_000),
    countOf("seed", 0, 0xffffffff),
    countOf("nodes", 2, 8),
  ];
  const numbers = Array.from({ length: count }, (_, i) => i + 1);
  say(`Seed ${seed}, ${rounds} rounds, ${count} nodes. Bringing up the lab …`);
  const { state } = await labUp({ name: lab, configFile: writeConfig(dir, numbers) });
  const flows = startFlows(lab, "client", takeoverPlan(60 + rounds * ROUND_MOST_S));
  const array: ChaosArray = {
    state,
    nodes: numbers.map((number) => `node${number}`),
    clients: ["client"],
    pages: openLeasePages(state),
    cables: holdCables(lab),
    deaths: [],
  };
  const { wrong } = await allUp(lab);
  if (wrong !== "") throw new Error(wrong);
  await sleep(2000);
  const run = await runRounds(array, planFaults(seed, rounds, count));
  return conclude(array, run, await flows.stop(), seed);
}

function conclude(array: ChaosArray, run: Run, flows: readonly Flow[], seed: number): ChaosReport {
  const { reports, levels } = run;
  const lost = flows.filter((flow) => faultOf(flow, array.deaths) === "living");
  const answers = flows.reduce((sum, flow) => sum + flow.answers, 0);
  const wrong = [
    ...reports.flatMap((report, i) => (report.wrong === "" ? [] : [`round ${i + 1}: ${report.wrong}`])),
    ...lost.slice(0, MAX_SHOWN_ERRORS).map((flow) => lostLine(array.state, flow, reports)),
    ...risen(levels),
    ...missed(reports),
    ...(answers === 0 ? ["no request was answered"] : []),
  ];
  const figures = figuresOf(flows, array.deaths);
  const kinds = kindFigures(reports);
  say(`\nflows: ${JSON.stringify(figures, undefined, 1)}`);
  for (const [kind, figure] of Object.entries(kinds)) say(`${kind.padEnd(9)} ${JSON.stringify(figure)}`);
  say(`levels: ${JSON.stringify(levels.at(1) ?? levels[0])} → ${JSON.stringify(levels.at(-1))}`);
  for (const line of wrong) say(`  ${line}`);
  const [first] = lost.toSorted((a, b) => a.ended_ms - b.ended_ms);
  if (first !== undefined) {
    say("  before the first of them:");
    for (const line of electionLines(array.state.name, first.ended_ms + AFTER_MS)) say(`  ${line}`);
  }
  const ok = wrong.length === 0;
  const said = `${lost.length} errors on connections whose nodes were there, ${reports.length} rounds`;
  say(`${ok ? "Good" : "NOT GOOD"}: ${said}. Seed ${seed}.`);
  return { ok, seed, rounds: reports.length, flows: figures, kinds, levels, errors: lost.length, wrong };
}

/** A hand-over may fail now and then, but not as a rule. */
function missed(reports: readonly RoundReport[]): string[] {
  const handovers = reports.filter(({ kind }) => kind === "handover");
  const count = handovers.filter(({ isMissed }) => isMissed === true).length;
  return count <= handovers.length * MISSED_SHARE
    ? []
    : [`${count} of ${handovers.length} hand-overs failed`];
}

/** Median and longest times of each kind of fault. */
function kindFigures(reports: readonly RoundReport[]): Record<string, Record<string, number>> {
  const figures: Record<string, Record<string, number>> = {};
  for (const kind of FAULTS) {
    const all = reports.filter((report) => report.kind === kind);
    if (all.length === 0) continue;
    const taken = all.flatMap(({ takenOver_ms }) => takenOver_ms ?? []);
    figures[kind] = {
      rounds: all.length,
      ...medianAndMost("taken_over", taken),
      ...medianAndMost(
        "agreed",
        all.map(({ agreed_ms }) => agreed_ms),
      ),
      ...medianAndMost(
        "all_up",
        all.map(({ allUp_ms }) => allUp_ms),
      ),
    };
  }
  return figures;
}

function medianAndMost(name: string, list: readonly number[]): Record<string, number> {
  if (list.length === 0) return {};
  const sorted = list.toSorted((a, b) => a - b);
  const [median, most] = [sorted[sorted.length >> 1]!, sorted.at(-1)!];
  return { [`${name}_median_ms`]: Math.round(median), [`${name}_most_ms`]: Math.round(most) };
}

function lostLine(state: LabState, flow: Flow, reports: readonly RoundReport[]): string {
  const node = state.hosts.find(({ addresses }) => addresses.includes(flow.node))?.name ?? "no node yet";
  const round = reports.findLastIndex(({ started_ms }) => started_ms <= flow.ended_ms);
  const since = round < 0 ? "" : ` (+${((flow.ended_ms - reports[round]!.started_ms) / 1000).toFixed(2)} s)`;
  const at = `${flow.group} from port ${flow.client_port} at ${node}`;
  return `round ${round + 1}${since}: ${at}: ${flow.error} after ${flow.answers} answers`;
}

await runInLab("takeover", values.json, withLab, { seed: Number(values.seed) });
