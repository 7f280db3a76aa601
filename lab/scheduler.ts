/** Which node of a lab schedules now, and what an operator asks of it. */
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { DlbaError } from "../conf/errors.ts";
import { isRecord } from "../conf/record.ts";
import { command } from "../net/command.ts";
import { labShow, nodeNamed } from "./lab.ts";
import { labPlaces } from "./places.ts";
import { hostNamed } from "./planned-host.ts";
import { processesIn } from "./processes.ts";
import { type LabHost, stateOf } from "./state.ts";

const DLBA = join(import.meta.dirname, "../bin/dlba");
const STATUS = "/status/main.ts";
/** How long an operator's command waits for a node to schedule: a takeover takes less, but to ask takes a busy machine some seconds. */
const SCHEDULER_WITHIN_MS = 20_000;
const POLL_MS = 20;

/** What a node's `show info` says of its part in the failover. */
interface FailoverFacts {
  readonly name: string;
  readonly isScheduling: boolean;
  /** How many schedulers there had been, as it knows. */
  readonly epochCounter: number;
}

/**
 * The node that says of itself that it schedules, with a lease that lasts; of several the one of the latest epoch.
 * Undefined while none does. Nodes whose processes don't run, or are stopped, are not asked.
 */
export async function labScheduler(name: string): Promise<string | undefined> {
  const nodes = stateOf(labPlaces(name)).hosts.filter(({ kind }) => kind === "node");
  const facts = await Promise.all(nodes.filter(canAnswer).map(async (host) => failoverFacts(name, host)));
  const scheduling = facts.filter((each) => each?.isScheduling === true);
  return scheduling.toSorted((a, b) => b!.epochCounter - a!.epochCounter)[0]?.name;
}

/** The same, but waits for it. Throws DlbaError NO_SCHEDULER when none schedules for some seconds. */
export async function labSchedulerSoon(name: string): Promise<string> {
  const deadline_ms = performance.now() + SCHEDULER_WITHIN_MS;
  for (;;) {
    const scheduler = await labScheduler(name);
    if (scheduler !== undefined) return scheduler;
    if (performance.now() > deadline_ms) {
      throw new DlbaError("NO_SCHEDULER", `no node of the lab "${name}" schedules`);
    }
    await sleep(POLL_MS);
  }
}

function canAnswer({ namespace }: LabHost): boolean {
  return processesIn(namespace).some(({ command, is_stopped }) => command.includes(STATUS) && !is_stopped);
}

async function failoverFacts(name: string, host: LabHost): Promise<FailoverFacts | undefined> {
  try {
    const info = await labShow(name, host.name, "info");
    if (!isRecord(info)) return undefined;
    return {
      name: host.name,
      isScheduling: info["Failover_leased"] === "yes",
      epochCounter: Number.parseInt(String(info["Failover_epoch"]), 10) || 0,
    };
  } catch {
    return undefined; // It ended meanwhile, or is only just starting.
  }
}

/** Drains a node, as an operator would at the scheduler; with `wait` until nothing is left on it. Returns what dlba said. */
export async function labDrain(name: string, hostName: string, wait: boolean): Promise<string> {
  return atScheduler(name, ["drain", nodeNamed(name, hostName).host.label, ...(wait ? ["--wait"] : [])]);
}

/** Lets a drained node have traffic again. Returns what dlba said. */
export async function labUndrain(name: string, hostName: string): Promise<string> {
  return atScheduler(name, ["undrain", nodeNamed(name, hostName).host.label]);
}

/** Has another node become the scheduler in order: this one, or the best. Returns what dlba said. */
export async function labHandover(name: string, hostName?: string): Promise<string> {
  const to = hostName === undefined ? [] : [nodeNamed(name, hostName).host.label];
  return atScheduler(name, ["handover", ...to]);
}

async function atScheduler(name: string, words: readonly string[]): Promise<string> {
  const scheduler = await labSchedulerSoon(name);
  const { run_dir } = hostNamed(stateOf(labPlaces(name)).hosts, scheduler);
  return command(DLBA, [...words, "--run-dir", run_dir]);
}
