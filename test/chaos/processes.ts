/**
 * Processes killed at random: `npm run chaos:processes -- [--minutes 10] [--seed N] [--json]`. An array of three nodes in a lab,
 * under load; workers, scheduler, failover and status processes of any node are killed (`kill -9`), as a seed says, every second or
 * two. The array has to serve throughout, the connections of a killed worker alone may be lost, every process has to be
 * supervised back, and what the nodes hold has to stay level. Exits 1 when it was not so; leaves nothing behind.
 */
import { setTimeout as sleep } from "node:timers/promises";
import { parseArgs } from "node:util";
import { type Flow, monotonicNow_ms } from "../../lab/flow-report.ts";
import { type RunningFlows, startFlows } from "../../lab/flow-tools.ts";
import { labSignalProcess } from "../../lab/lab.ts";
import { hostNamed } from "../../lab/planned-host.ts";
import { processesIn } from "../../lab/processes.ts";
import type { LabState } from "../../lab/state.ts";
import { labUp } from "../../lab/up.ts";
import { allUp } from "./all-up.ts";
import { type ChaosReport, runInLab } from "./in-lab.ts";
import { isOfKilledWorker, type Kind, KINDS, longestGap_ms, planKills, type WorkerDeath } from "./kills.ts";
import { type Levels, levelsOf, risen } from "./levels.ts";
import { takeoverPlan, writeConfig } from "./load.ts";

const NODES = [1, 2, 3] as const;
const NAMES = NODES.map((number) => `node${number}`);
const MAX_MINUTES = 24 * 60;
const MAX_SHOWN_ERRORS = 10;
/** Whatever is killed, new connections are answered again before this. */
const MOST_GAP_MS = 3000;
const ALL_BACK_WITHIN_MS = 60_000;
/** What is held is looked at so often, at least as many times over a run. */
const LOOK_EVERY_MS = 15_000;
const LOOKS = 10;
const SETTLE_MS = 5000;

const { values } = parseArgs({
  options: {
    minutes: { type: "string", default: "10" },
    seed: { type: "string", default: String(Date.now() % 1_000_000) },
    json: { type: "boolean", default: false },
  },
});

function say(text: string): void {
  if (!values.json) console.log(text);
}

function numberOf(name: string, text: string, most: number): number {
  const number = Number(text);
  if (number > 0 && number <= most) return number;
  console.error(`--${name} takes a number up to ${most}`);
  process.exit(2);
}

/** How many of a kind run on a node. */
function running({ hosts }: LabState, node: string, kind: Kind): number {
  const { namespace } = hostNamed(hosts, node);
  return processesIn(namespace).filter(({ command }) => command.includes(`/${kind}/main.ts`)).length;
}

interface Chaos {
  readonly state: LabState;
  readonly kills: Map<string, number>;
  readonly deaths: WorkerDeath[];
  readonly levels: Levels[];
}

/** Kills as the seed says, until the time is over. The last one of its kind in the array is spared. */
async function killAtRandom(chaos: Chaos, seed: number, until_ms: number): Promise<void> {
  const { state, kills, deaths } = chaos;
  for (const { node, kind, after_ms } of planKills(seed, NAMES)) {
    await sleep(after_ms);
    if (monotonicNow_ms() > until_ms) return;
    const others = NAMES.filter((other) => other !== node && running(state, other, kind) > 0);
    if (others.length === 0) continue;
    const begun_ms = monotonicNow_ms();
    if (labSignalProcess(state.name, node, kind, "SIGKILL") === 0) continue; // It is just being started again.
    kills.set(kind, (kills.get(kind) ?? 0) + 1);
    const { addresses } = hostNamed(state.hosts, node);
    if (kind === "dlba-server") deaths.push({ addresses, begun_ms, done_ms: monotonicNow_ms() });
  }
}

async function watchLevels({ state, levels }: Chaos, flows: RunningFlows, until_ms: number): Promise<void> {
  const every_ms = Math.min(LOOK_EVERY_MS, (until_ms - monotonicNow_ms()) / LOOKS);
  while (monotonicNow_ms() < until_ms) {
    await sleep(every_ms);
    levels.push(levelsOf(state));
    const { answers, errors, open } = await flows.soFar();
    const mib = Math.round(levels.at(-1)!.memory_bytes / 2 ** 20);
    say(
      `${open} open, ${answers} answers, ${errors} ended by errors; ${mib} MiB, ${levels.at(-1)!.descriptors} descriptors`,
    );
  }
}

/** Waits until each node has all of its processes, and the scheduler says that all are up; returns what is missing. */
async function allBack(state: LabState): Promise<string> {
  const deadline_ms = monotonicNow_ms() + ALL_BACK_WITHIN_MS;
  for (;;) {
    const missing = NAMES.flatMap((node) =>
      KINDS.flatMap((kind) => (running(state, node, kind) > 0 ? [] : [`${kind} of ${node}`])),
    );
    if (missing.length === 0) return (await allUp(state.name)).wrong;
    if (monotonicNow_ms() > deadline_ms) return `not started again: ${missing.join(", ")}`;
    await sleep(100);
  }
}

async function withLab(lab: string, dir: string, seed: number, minutes: number): Promise<ChaosReport> {
  say(`Seed ${seed}, ${minutes} minutes. Bringing up a lab of ${NODES.length} nodes …`);
  const { state } = await labUp({ name: lab, configFile: writeConfig(dir, NODES) });
  const seconds = minutes * 60;
  const flows = startFlows(lab, "client", takeoverPlan(seconds + 180));
  const chaos: Chaos = { state, kills: new Map(), deaths: [], levels: [] };
  await allUp(lab);
  await sleep(SETTLE_MS);
  const until_ms = monotonicNow_ms() + seconds * 1000;
  await Promise.all([killAtRandom(chaos, seed, until_ms), watchLevels(chaos, flows, until_ms)]);
  const missing = await allBack(state);
  await sleep(SETTLE_MS);
  return conclude(chaos, seed, seconds, missing, await flows.stop());
}

function conclude(
  chaos: Chaos,
  seed: number,
  seconds: number,
  missing: string,
  flows: readonly Flow[],
): ChaosReport {
  const { kills, deaths, levels } = chaos;
  const failed = flows.filter(({ error }) => error !== null);
  const wrong = failed.filter((flow) => !isOfKilledWorker(flow, deaths));
  const answers = flows.reduce((sum, flow) => sum + flow.answers, 0);
  const fresh = flows.filter(({ group }) => group.startsWith("new"));
  const gap_ms = Math.round(longestGap_ms(fresh));
  const slowest_ms = Math.round(flows.reduce((most, flow) => Math.max(most, flow.slowest_ms), 0));
  const rose = risen(levels);
  const killed = Object.fromEntries(KINDS.map((kind) => [kind, kills.get(kind) ?? 0]));
  const isServed = answers > 0 && gap_ms <= MOST_GAP_MS;
  const ok = wrong.length === 0 && missing === "" && rose.length === 0 && isServed;
  say(`\nkilled: ${KINDS.map((kind) => `${kind} ${killed[kind]}`).join(", ")}`);
  say(
    `${flows.length} connections, ${answers} answers; ${failed.length - wrong.length} connections of killed workers lost`,
  );
  say(
    `the longest time without an answer to a new connection: ${gap_ms} ms; the slowest answer: ${slowest_ms} ms`,
  );
  for (const { group, node, error, answers } of wrong.slice(0, MAX_SHOWN_ERRORS))
    say(`  ${group} at ${node || "no node yet"}: ${error} after ${answers} answers`);
  for (const sentence of [missing, ...rose].filter((each) => each !== "")) say(`  ${sentence}`);
  say(`${ok ? "Good" : "NOT GOOD"}: ${wrong.length} errors that no killed worker explains. Seed ${seed}.`);
  return {
    ok,
    seed,
    seconds,
    killed,
    connections: flows.length,
    answers,
    lost_with_workers: failed.length - wrong.length,
    gap_ms,
    slowest_ms,
    missing,
    rose,
    levels: levels.at(-1) ?? null,
    errors: wrong.slice(0, MAX_SHOWN_ERRORS),
  };
}

const minutes = numberOf("minutes", values.minutes, MAX_MINUTES);
const seed = numberOf("seed", values.seed, 0xffffffff);
await runInLab("processes", values.json, async (lab, dir) => withLab(lab, dir, seed, minutes), { seed });
