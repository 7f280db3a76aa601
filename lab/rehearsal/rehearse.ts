/** A rehearsal: an operator's own configuration in a lab, with stand-ins for what is not here, under traffic, and under faults. */
import { setTimeout as sleep } from "node:timers/promises";
import { DlbaError } from "../../conf/errors.ts";
import { MAX_REHEARSED_MACHINES, MAX_REHEARSED_NODES } from "../../conf/limits.ts";
import { loadConfig } from "../../conf/load.ts";
import { isRecord } from "../../conf/record.ts";
import type { Config } from "../../conf/schema.ts";
import { monotonicNow_ms } from "../flow-report.ts";
import { labDown, labShow, requireRoot } from "../lab.ts";
import { canonicalIp, hostNamed } from "../planned-host.ts";
import { labSchedulerSoon } from "../scheduler.ts";
import type { LabState } from "../state.ts";
import { labUp } from "../up.ts";
import { planFaults, type Fault } from "./faults.ts";
import {
  byPhase,
  type Phase,
  phaseFigures,
  type PhaseFigures,
  problemsOf,
  type TargetFigures,
  targetFigures,
  type TrafficPlan,
} from "./report.ts";
import { planTargets } from "./targets.ts";
import { type RunningTraffic, startTraffic } from "./traffic-tools.ts";

export interface RehearsalOptions {
  readonly file: string;
  readonly hasFaults: boolean;
  /** How long the array is looked at in each state. */
  readonly phase_s: number;
  /** The lab's name. */
  readonly name: string;
  /** Hears how far it is. */
  readonly say: (text: string) => void;
}

export interface Rehearsal {
  readonly file: string;
  readonly array: string;
  /** Whether every vserver answered as it has to, without a failure that nobody caused, and again after each fault. */
  readonly ok: boolean;
  readonly problems: readonly string[];
  /** What is not as in production. */
  readonly changes: readonly string[];
  readonly not_tried: readonly string[];
  readonly targets: readonly TargetFigures[];
  readonly phases: readonly PhaseFigures[];
  readonly took_s: number;
}

/** From one request of a target to the next, whatever there is to ask; more targets are asked less often. */
const EVERY_MS = 100;
const MOST_PER_SECOND = 200;
const ANSWER_WITHIN_MS = 5000;
const WHOLE_WITHIN_MS = 60_000;
const POLL_MS = 200;
/** After a fault was undone: what it has cut off shows. */
const SETTLE_MS = 1000;

/**
 * Rehearses a configuration, and takes the lab away again. Throws DlbaError: NOT_ROOT, CONFIG_INVALID, CONFIG_UNREADABLE,
 * LAB_IMPOSSIBLE (it is too large), LAB_FAILED.
 */
export async function rehearse(options: RehearsalOptions): Promise<Rehearsal> {
  requireRoot();
  const started_ms = performance.now();
  checkSize(loadConfig(options.file));
  options.say(`bringing up ${options.file} in a lab …`);
  try {
    const { state } = await labUp({ name: options.name, configFile: options.file, hasStandIns: true });
    const rehearsal = await inLab(options, state, loadConfig(state.config_file));
    return { ...rehearsal, took_s: Math.round((performance.now() - started_ms) / 100) / 10 };
  } finally {
    await labDown(options.name);
  }
}

function checkSize({ nodes, pools }: Config): void {
  const machines = new Set(
    pools.flatMap(({ servers }) => servers.map(({ address }) => canonicalIp(address))),
  );
  if (nodes.length <= MAX_REHEARSED_NODES && machines.size <= MAX_REHEARSED_MACHINES) return;
  const what = `${nodes.length} nodes and ${machines.size} web servers are too many for one machine`;
  throw new DlbaError("LAB_IMPOSSIBLE", what, {
    hint: `a rehearsal takes ${MAX_REHEARSED_NODES} nodes and ${MAX_REHEARSED_MACHINES} web servers: leave some out of a copy`,
  });
}

async function inLab(
  { file, hasFaults, phase_s, say }: RehearsalOptions,
  state: LabState,
  config: Config,
): Promise<Omit<Rehearsal, "took_s">> {
  for (const change of state.changes) say(`note: ${change}`);
  const { targets, not_tried } = planTargets(config, hostNamed(state.hosts, "client").addresses);
  const plan: TrafficPlan = {
    targets,
    every_ms: Math.max(EVERY_MS, Math.ceil((targets.length * 2000) / MOST_PER_SECOND)),
    answer_within_ms: ANSWER_WITHIN_MS,
  };
  const missing = await untilWhole(state);
  const traffic = startTraffic(state.name, plan);
  const phases: Phase[] = [];
  const left_out: string[] = [];
  const failed: string[] = missing === "" ? [] : [missing];
  try {
    // The first connections are made, and TLS and code are warm.
    await sleep(SETTLE_MS);
    say(`${targets.length} requests over and over; calm for ${phase_s} s`);
    phases.push(await calm("calm", phase_s));
    if (hasFaults) {
      const { faults, left_out: left } = planFaults(state, config);
      left_out.push(...left.map((what) => `${what} (not done)`));
      for (const next of faults) {
        const { phase, wrong } = await during(await next(), phase_s, state, say);
        phases.push(phase);
        if (wrong !== "") failed.push(`${phase.what}: ${wrong}`);
      }
      phases.push(await calm("calm again", phase_s));
    }
  } finally {
    await traffic.stop();
  }
  return conclude(file, config, state, plan, phases, traffic, {
    not_tried: [...not_tried, ...left_out],
    failed,
  });
}

async function calm(what: string, phase_s: number): Promise<Phase> {
  const begun_ms = monotonicNow_ms();
  await sleep(phase_s * 1000);
  return { what, is_fault: false, begun_ms, ended_ms: monotonicNow_ms() };
}

/** From the fault until the array is whole again, and what that has cut off has shown. */
async function during(
  { what, act, undo }: Fault,
  phase_s: number,
  state: LabState,
  say: (text: string) => void,
): Promise<{ phase: Phase; wrong: string }> {
  say(what);
  const begun_ms = monotonicNow_ms();
  await act();
  await sleep(phase_s * 1000);
  await undo();
  const wrong = await untilWhole(state);
  await sleep(SETTLE_MS);
  return { phase: { what, is_fault: true, begun_ms, ended_ms: monotonicNow_ms() }, wrong };
}

/** Waits until the scheduler says that all nodes are up, or disabled; returns what is missing after a minute. */
async function untilWhole({ name }: LabState): Promise<string> {
  const deadline_ms = performance.now() + WHOLE_WITHIN_MS;
  for (;;) {
    const missing = await nodesMissing(name);
    if (missing.length === 0) return "";
    if (performance.now() > deadline_ms)
      return `not up after ${WHOLE_WITHIN_MS / 1000} s: ${missing.join(", ")}`;
    await sleep(POLL_MS);
  }
}

const NO_TABLE = "the scheduler's table";
const WHOLE_STATES: ReadonlySet<string> = new Set(["up", "disabled"]);

async function nodesMissing(lab: string): Promise<string[]> {
  try {
    const table: unknown = await labShow(lab, await labSchedulerSoon(lab), "nodes");
    if (!isRecord(table) || !Array.isArray(table["nodes"])) return [NO_TABLE];
    const rows = table["nodes"].filter(isRecord);
    return rows.flatMap(({ name, state }) => (WHOLE_STATES.has(String(state)) ? [] : [String(name)]));
  } catch {
    return [NO_TABLE]; // It is just being succeeded, or starts anew.
  }
}

function conclude(
  file: string,
  config: Config,
  { changes }: LabState,
  { targets, every_ms }: TrafficPlan,
  phases: readonly Phase[],
  { asked }: RunningTraffic,
  { not_tried, failed }: { readonly not_tried: readonly string[]; readonly failed: readonly string[] },
): Omit<Rehearsal, "took_s"> {
  const inPhases = byPhase(targets, asked, phases);
  const inCalm = phases.flatMap((phase) => (phase.is_fault ? [] : (inPhases.get(phase) ?? [])));
  const figures = targetFigures(targets, inCalm);
  const ofPhases = phases.map((phase) => phaseFigures(targets, inPhases.get(phase) ?? [], phase, every_ms));
  const problems = [...failed, ...problemsOf(figures, ofPhases)];
  return {
    file,
    array: config.array.name,
    ok: problems.length === 0,
    problems,
    changes,
    not_tried,
    targets: figures,
    phases: ofPhases,
  };
}
