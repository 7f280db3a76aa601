/**
 * The demo: a lab of three nodes and three web servers, real traffic, and what it shows, measured. `--json`
 * prints one JSON object instead. Exits 1 when anything was not so, and always takes the lab away.
 */
import { globSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { describeError } from "../conf/errors.ts";
import { parseConfig, readConfigFile } from "../conf/load.ts";
import { command } from "../net/command.ts";
import { type Claim, cookieClaim, keepAliveClaim, killClaim, pathClaim, spreadClaim } from "./claims.ts";
import { downOnInterrupt } from "./interrupt.ts";
import { labDown } from "./lab.ts";
import type { LabState } from "./state.ts";
import { hostNamed } from "./planned-host.ts";
import { labSchedulerSoon } from "./scheduler.ts";
import { labUp } from "./up.ts";

const ROOT = join(import.meta.dirname, "..");
const NODES = 3;
const WEBS = 3;
const isJson = process.argv.includes("--json");

function say(text: string): void {
  if (!isJson) console.log(text);
}

function sayClaim({ claim, holds, shown }: Claim): void {
  say(`\n${holds ? "✓" : "✗ NOT SO:"} ${claim}`);
  for (const line of shown) say(`    ${line}`);
}

interface Report {
  readonly ok: boolean;
  readonly [part: string]: unknown;
}

async function withLab(name: string): Promise<Report> {
  const started_ms = performance.now();
  say(`Bringing up a lab: a client, a switch, ${NODES} nodes, ${WEBS} web servers …`);
  const { state } = await labUp({ name, nodes: NODES, webs: WEBS });
  const up_s = secondsSince(started_ms);
  say(
    `Up in ${up_s} s. The VIPs are ${state.vips.join(" and ")}; the scheduler is ${await labSchedulerSoon(name)}.`,
  );
  const claims: Record<string, Claim> = {};
  for (const [key, measure] of Object.entries(CLAIMS)) {
    const claim = await measure(state);
    claims[key] = claim;
    sayClaim(claim);
  }
  const took_s = secondsSince(started_ms);
  const ok = Object.values(claims).every(({ holds }) => holds);
  say(`\n${ok ? "All of it was so" : "NOT ALL of it was so"}, in ${took_s} s.`);
  return { ok, nodes: NODES, web_servers: WEBS, vips: state.vips, up_s, took_s, claims };
}

const CLAIMS: Readonly<Record<string, (state: LabState) => Promise<Claim>>> = {
  spread: spreadClaim,
  cookie: cookieClaim,
  keep_alive: keepAliveClaim,
  path: pathClaim,
  tables: tablesClaim,
  web_server_killed: killClaim,
};

interface NodesTable {
  readonly nodes: readonly { readonly failed: boolean; readonly ip_groups: number; readonly hits: number }[];
}
interface SummaryTable {
  readonly web_servers: readonly { readonly hits: number }[];
}

/** The scheduler's tables, as an operator sees them; the web servers' hits must be those of the nodes. */
async function tablesClaim(state: LabState): Promise<Claim> {
  const runDir = hostNamed(state.hosts, await labSchedulerSoon(state.name)).run_dir;
  const show = async (...words: string[]): Promise<string> =>
    command(join(ROOT, "bin/dlba"), ["show", ...words, "--run-dir", runDir]);
  const figures = await settledHits(show);
  const { nodes, node_hits, web_hits } = figures;
  const isWhole = nodes.length === NODES && nodes.every((row) => !row.failed && row.ip_groups > 0);
  const text = [];
  for (const table of ["nodes", "buckets", "web", "summary"]) text.push((await show(table)).trimEnd());
  return {
    claim: "The scheduler's tables show all of it: every node alive and with IP groups, every hit counted",
    holds: isWhole && node_hits > 0 && node_hits === web_hits,
    shown: text.join("\n\n").split("\n"),
    figures,
  };
}

/** The tables are from the last sweep: two of them agree once a sweep has passed without requests. */
async function settledHits(show: (...words: string[]) => Promise<string>): Promise<{
  nodes: NodesTable["nodes"];
  web_servers: SummaryTable["web_servers"];
  node_hits: number;
  web_hits: number;
}> {
  for (let tries = 0; ; tries++) {
    const { nodes }: NodesTable = JSON.parse(await show("nodes", "--json"));
    const { web_servers }: SummaryTable = JSON.parse(await show("summary", "--json"));
    const node_hits = nodes.reduce((sum, { hits }) => sum + hits, 0);
    const web_hits = web_servers.reduce((sum, { hits }) => sum + hits, 0);
    if (tries > 8 || node_hits === web_hits) return { nodes, web_servers, node_hits, web_hits };
    await sleep(500);
  }
}

/** What can be done without root: the example configurations are checked. */
function withoutRoot(): Report {
  say("Not root: no network namespaces and no XDP, so no lab, and nothing of the array can be shown.");
  say("Run it as root: sudo npm run demo. What can be done without: checking the example configurations.");
  const examples = globSync("conf/examples/*.yaml", { cwd: ROOT }).map((file) => {
    const parsed = parseConfig(readConfigFile(join(ROOT, file)), file);
    const errors = "errors" in parsed ? parsed.errors.length : 0;
    say(`    ${file}: ${errors === 0 ? "good" : `${errors} errors`}`);
    return { file, errors };
  });
  return { ok: false, reason: "not root", examples };
}

function secondsSince(started_ms: number): number {
  return Math.round((performance.now() - started_ms) / 100) / 10;
}

async function withCleanUp(name: string): Promise<Report> {
  downOnInterrupt(name);
  try {
    return await withLab(name);
  } catch (error) {
    console.error(describeError(error));
    return { ok: false, reason: describeError(error) };
  } finally {
    await labDown(name);
  }
}

const report = process.getuid?.() === 0 ? await withCleanUp(`demo${process.pid}`) : withoutRoot();
if (isJson) console.log(JSON.stringify(report, null, 2));
process.exit(report.ok ? 0 : 1);
