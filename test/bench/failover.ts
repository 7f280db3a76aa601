/**
 * npm run bench:failover: how long nobody is served after the death of the node that gets the clients' frames; DLBA with
 * three nodes, and keepalived with two, at its defaults and at the shortest interval that it takes. A lab has the same
 * network for each; the client has 36 busy connections and makes a new one every 4 ms. The time is from the
 * beginning of the cut until the first answer to a new connection that was begun after the cut (see
 * outageAfter_ms): the client's neighbour cache, detection, election, announcement, connection and answer are all in it.
 *
 *   -- --json    one JSON object        -- --check   exit 1 naming each figure below its bar
 *   -- --runs N (default 50)            -- --no-keepalived
 */
import { setTimeout as sleep } from "node:timers/promises";
import { parseArgs } from "node:util";
import { downOnInterrupt } from "../../lab/interrupt.ts";
import { labDown, labHeal, labShow } from "../../lab/lab.ts";
import { labSchedulerSoon } from "../../lab/scheduler.ts";
import { labUp } from "../../lab/up.ts";
import { missedBars, readBars } from "./figures.ts";
import { keepalivedMaster, startKeepalived } from "./keepalived.ts";
import { type Bench, type BenchResult, dieOnce, endBench, served, startBench } from "./outages.ts";

const { values } = parseArgs({
  options: {
    json: { type: "boolean", default: false },
    check: { type: "boolean", default: false },
    runs: { type: "string", default: "50" },
    keepalived: { type: "boolean", default: true },
  },
  allowNegative: true,
});

const REJOINED_WITHIN_MS = 60_000;
/** keepalived's interval in seconds, and how many runs: the slow one takes four seconds for each. */
const KEEPALIVED = [
  { name: "keepalived_default", advert_s: 1, runs: 5 },
  { name: "keepalived_fastest", advert_s: 0.01, runs: 20 },
] as const;

const say = (text: string): void => console.error(text);

/** The node dies that schedules; it comes back, and all are up before the next one dies. */
async function benchDlba(lab: string, runs: number): Promise<BenchResult> {
  const { state } = await labUp({ name: lab, nodes: 3, webs: 3 });
  const bench = startBench(state);
  for (let i = 0; i < runs; i++) {
    await allUp(lab);
    await served(bench);
    const victim = await labSchedulerSoon(lab);
    await dieOnce(bench, victim);
    sayRun("dlba", bench, victim);
    await bench.cables.putBack(victim);
    await labHeal(lab, victim);
  }
  await allUp(lab);
  return endBench(bench);
}

async function allUp(lab: string): Promise<void> {
  const deadline_ms = performance.now() + REJOINED_WITHIN_MS;
  for (;;) {
    const table = await labShow(lab, await labSchedulerSoon(lab), "nodes").catch(() => ({ nodes: [] }));
    const { nodes } = table as { nodes: readonly { readonly name: string; readonly state: string }[] };
    if (nodes.length > 0 && nodes.every(({ state }) => state === "up")) return;
    if (performance.now() > deadline_ms) throw new Error(`not all are up: ${JSON.stringify(nodes)}`);
    await sleep(100);
  }
}

async function benchKeepalived(lab: string, advert_s: number, runs: number): Promise<BenchResult> {
  const { state } = await labUp({ name: lab, nodes: 2, webs: 3, idleNodes: [1, 2] });
  for (const name of ["node1", "node2"]) await startKeepalived(state, name, advert_s);
  await keepalivedMaster(state);
  const bench = startBench(state);
  for (let i = 0; i < runs; i++) {
    const victim = await keepalivedMaster(state);
    await served(bench);
    await dieOnce(bench, victim);
    sayRun(`keepalived, advert_int ${advert_s}`, bench, victim);
    await startKeepalived(state, victim, advert_s);
    await bench.cables.putBack(victim);
  }
  return endBench(bench);
}

function sayRun(name: string, { outages_ms }: Bench, victim: string): void {
  say(`${name}: run ${outages_ms.length}, ${victim} died: ${outages_ms.at(-1)!.toFixed(1)} ms`);
}

type Results = Readonly<Record<string, BenchResult>>;

async function inLab(work: (lab: string) => Promise<BenchResult>): Promise<BenchResult> {
  const lab = `failover${process.pid}`;
  const keep = downOnInterrupt(lab);
  try {
    return await work(lab);
  } finally {
    await labDown(lab);
    keep();
  }
}

async function measure(runs: number): Promise<Results> {
  const results: Record<string, BenchResult> = {};
  if (values.keepalived) {
    for (const { name, advert_s, runs: most } of KEEPALIVED) {
      results[name] = await inLab(async (lab) => benchKeepalived(lab, advert_s, Math.min(most, runs)));
    }
  }
  if (runs > 0) results["dlba"] = await inLab(async (lab) => benchDlba(lab, runs));
  return results;
}

function figuresOf(results: Results): Record<string, number> {
  const { dlba, keepalived_fastest: keepalived } = results;
  if (dlba === undefined) return {};
  return {
    "failover.p50_ms": dlba.p50_ms,
    "failover.p99_ms": dlba.p99_ms,
    "failover.errors_living": dlba.errors_living,
    ...(keepalived === undefined ? {} : { "failover.p50_to_keepalived": dlba.p50_ms / keepalived.p50_ms }),
  };
}

const row = (cells: readonly string[]): string => cells.map((cell) => cell.padStart(15)).join("");

function table(results: Results): string {
  const columns = ["runs", "p50_ms", "p90_ms", "p99_ms", "max_ms", "errors_living", "errors_dead"] as const;
  const lines = Object.entries(results).map(
    ([name, result]) =>
      name.padEnd(20) + row(columns.map((column) => String(Math.round(result[column] * 10) / 10))),
  );
  return ["".padEnd(20) + row(columns), ...lines].join("\n");
}

/** Without keepalived there is nothing to compare with. */
function barsNow(): ReturnType<typeof readBars> {
  const bars = Object.entries(readBars("failover"));
  return Object.fromEntries(bars.filter(([name]) => values.keepalived || !name.includes("keepalived")));
}

async function main(): Promise<number> {
  if (process.getuid?.() !== 0) {
    say("bench:failover: not run: it needs root for a lab");
    return 1;
  }
  const results = await measure(Number(values.runs));
  const figures = figuresOf(results);
  const missed = missedBars(figures, barsNow());
  console.log(values.json ? JSON.stringify({ results, figures, missed }, undefined, 2) : table(results));
  if (!values.check) return 0;
  for (const line of missed) say(`below the bar: ${line}`);
  if (missed.length === 0) say("all bars are met");
  return missed.length === 0 ? 0 : 1;
}

process.exit(await main());
