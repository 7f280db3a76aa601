/**
 * No false alarm: `npm run soak:failover -- [--minutes 10] [--json]`. An array in a lab, with both of the machine's
 * resources that failover needs taken from it: wrk loads the VIPs and stress-ng all cores, and the failover process of each
 * node is stopped for 80 ms again and again. Nobody is dead, so nobody may take over: the epoch has to stay. Exits 1 when
 * it didn't; leaves nothing behind.
 */
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { availableParallelism } from "node:os";
import { setTimeout as sleep } from "node:timers/promises";
import { parseArgs } from "node:util";
import { epochText } from "../../conf/epoch.ts";
import { parseWrk } from "../../lab/client-tools.ts";
import { monotonicNow_ms } from "../../lab/flow-report.ts";
import { labArgv, labSignalProcess } from "../../lab/lab.ts";
import type { LabState } from "../../lab/state.ts";
import { labUp } from "../../lab/up.ts";
import { runBeforeOthers } from "../../net/realtime.ts";
import { type ChaosReport, electionLines, runInLab } from "./in-lab.ts";
import { agreement, answering, type LeaseFacts, type LeasePages, openLeasePages } from "./leases.ts";

const STOPPED_MS = 80;
/** From the end of one stop to the next one's begin; each node comes in its turn. */
const PAUSE_MS = 220;
const LOOK_EVERY_MS = 20;
const NODES = ["node1", "node2", "node3"] as const;
const MAX_SHOWN = 20;
const MAX_MINUTES = 24 * 60;

const { values } = parseArgs({
  options: {
    minutes: { type: "string", default: "10" },
    json: { type: "boolean", default: false },
  },
});

function say(text: string): void {
  if (!values.json) console.log(text);
}

function minutes(): number {
  const minutes = Number(values.minutes);
  if (minutes > 0 && minutes <= MAX_MINUTES) return minutes;
  console.error(`--minutes takes a number up to ${MAX_MINUTES}`);
  process.exit(2);
}

/** What was seen of the epochs, beginning with one on which all agree. */
interface Watch {
  readonly epoch: number;
  /** Later epochs, in the order in which they were first seen. */
  readonly changes: { readonly at_ms: number; readonly node: string; readonly epoch: number }[];
  looks: number;
  /** Looks at which nobody's lease lasted: a stall of the scheduler's failover process that was too long. */
  unanswered: number;
}

function look(watch: Watch, facts: readonly LeaseFacts[], started_ms: number): void {
  watch.looks++;
  if (answering(facts, monotonicNow_ms()).length === 0) watch.unanswered++;
  const known = new Set([watch.epoch, ...watch.changes.map(({ epoch }) => epoch)]);
  for (const { node, epoch } of facts) {
    if (known.has(epoch)) continue;
    known.add(epoch);
    watch.changes.push({ at_ms: Math.round(monotonicNow_ms() - started_ms), node, epoch });
    say(`after ${watch.changes.at(-1)!.at_ms} ms ${node} has epoch ${epochText(epoch)}`);
  }
}

interface Stops {
  count: number;
  /** Who is stopped for longer than a lease may well be succeeded: then the run says nothing. */
  longest_ms: number;
}

/** Before all others, lest a busy machine make the stops longer. */
async function stopInTurn(lab: string, until_ms: number): Promise<Stops> {
  runBeforeOthers();
  const stops: Stops = { count: 0, longest_ms: 0 };
  while (monotonicNow_ms() < until_ms) {
    const node = NODES[stops.count % NODES.length]!;
    const stopped_ms = monotonicNow_ms();
    labSignalProcess(lab, node, "failover", "SIGSTOP");
    await sleep(STOPPED_MS);
    labSignalProcess(lab, node, "failover", "SIGCONT");
    stops.longest_ms = Math.max(stops.longest_ms, Math.round(monotonicNow_ms() - stopped_ms));
    stops.count++;
    await sleep(PAUSE_MS);
  }
  return stops;
}

async function watchUntil(watch: Watch, pages: LeasePages, until_ms: number): Promise<void> {
  const started_ms = monotonicNow_ms();
  while (monotonicNow_ms() < until_ms) {
    look(watch, pages.read(NODES), started_ms);
    await sleep(LOOK_EVERY_MS);
  }
}

/** wrk from the client, and stress-ng on all cores. Both end by themselves, too. */
function startStress({ name, vips }: LabState, seconds: number): ChildProcess[] {
  const wrk = ["wrk", "-t1", "-c64", `-d${seconds}s`, "--timeout", "10s", `http://${vips[0]}/10k`];
  const [nsenter = "", ...inClient] = labArgv(name, "client", wrk);
  const cores = String(availableParallelism());
  return [
    spawn(nsenter, inClient, { stdio: ["ignore", "pipe", "inherit"] }),
    spawn("stress-ng", ["--quiet", "--cpu", cores, "--timeout", `${seconds}s`], { stdio: "inherit" }),
  ];
}

async function withLab(lab: string): Promise<ChaosReport> {
  const seconds = Math.ceil(minutes() * 60);
  const { state } = await labUp({ name: lab, nodes: NODES.length, webs: 2 });
  const pages = openLeasePages(state);
  await sleep(3000);
  const { scheduler, epoch, wrong } = await agreement(pages, NODES, 5000);
  if (wrong !== "") throw new Error(wrong);
  say(`${scheduler} schedules, epoch ${epochText(epoch)}. Under stress for ${seconds} s …`);
  const stress = startStress(state, seconds);
  const [wrk] = stress;
  let wrkSaid = "";
  wrk!.stdout!.on("data", (data) => (wrkSaid += String(data)));
  process.on("exit", () => stress.forEach((child) => child.kill()));
  const ended = Promise.all(stress.map(async (child) => once(child, "close")));
  const watch: Watch = { epoch, changes: [], looks: 0, unanswered: 0 };
  const until_ms = monotonicNow_ms() + seconds * 1000;
  const [stops] = await Promise.all([stopInTurn(lab, until_ms), watchUntil(watch, pages, until_ms), ended]);
  pages.close();
  const { requests } = parseWrk(wrkSaid);
  if (watch.changes.length > 0) for (const line of electionLines(lab)) say(line);
  return conclude(watch, stops, requests, seconds);
}

function conclude(watch: Watch, stops: Stops, requests: number, seconds: number): ChaosReport {
  const { changes, looks, unanswered } = watch;
  const { count, longest_ms } = stops;
  const ok = changes.length === 0 && requests > 0 && count > 0;
  say(`${count} stops of ${STOPPED_MS} ms (the longest: ${longest_ms}), ${requests} requests`);
  say(`${looks} looks, nobody answered at ${unanswered}`);
  say(`${ok ? "Good" : "NOT GOOD"}: ${changes.length} false takeovers in ${seconds} s.`);
  return { ok, seconds, stops, requests, looks, unanswered, takeovers: changes.slice(0, MAX_SHOWN) };
}

await runInLab("quiet", values.json, withLab);
