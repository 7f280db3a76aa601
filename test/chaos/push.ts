/**
 * A push run: `npm run chaos:push -- [--rounds 200] [--seed N] [--nodes 3] [--json]`. An array in a lab under load; round after
 * round a version is pushed, sometimes two at the same time, while processes and links die (push-rounds.ts). After each round
 * all nodes must be on one version and run it; that of a push that said so, and none of one that said that nothing was changed. An observer
 * polls all nodes and the vserver that changes: nothing half applied may ever be seen. No request on a vserver that does not change may
 * fail whose node clients could reach. Exits 1 with what was wrong, and leaves nothing behind. The same seed makes the same faults.
 */
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { setTimeout as sleep } from "node:timers/promises";
import { parseArgs } from "node:util";
import { peersOf } from "../../cli/push/control.ts";
import { loadConfig } from "../../conf/load.ts";
import { holdCables } from "../../lab/cables.ts";
import { faultOf, figuresOf, type Flow, type FlowPlan, monotonicNow_ms } from "../../lab/flow-report.ts";
import { startFlows } from "../../lab/flow-tools.ts";
import { labArgv } from "../../lab/lab.ts";
import { labUp } from "../../lab/up.ts";
import { allUp } from "./all-up.ts";
import { type ChaosReport, runInLab } from "./in-lab.ts";
import { befall, type PushArray } from "./push-faults.ts";
import {
  disagreement,
  type ObserverPlan,
  endOf,
  faultsOf,
  newSight,
  type PushEnd,
  see,
  type Seen,
  type Sight,
} from "./push-report.ts";
import { planPushRounds, type PushRound } from "./push-rounds.ts";

const ROOT = join(import.meta.dirname, "../..");
const VIP = "198.18.0.100";
const VIP6 = "fd00:198:18::100";
const CHANGING_PORT = 81;
const AGREE_WITHIN_MS = 60_000;
/** A push that takes longer is killed, and that is wrong. */
const PUSH_MOST_MS = 120_000;
const ROUND_MOST_S = 60;
const POLL_MS = 100;
const MAX_SHOWN = 10;
const FIRST = "start";
const DYING = join(import.meta.dirname, "push-dying.ts");

const { values } = parseArgs({
  options: {
    rounds: { type: "string", default: "200" },
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

/** A vserver that stays as it is, and one into whose answers two parts of the configuration write its marker. JSON is YAML. */
function configText(keyFile: string, nodes: number, marker: string): string {
  const servers = ["web1", "web2"].map((id, i) => ({ id, address: `198.18.2.${i + 1}` }));
  const vips = [VIP, VIP6];
  const response_headers = { set: [{ name: "X-Marker", value: marker }] };
  return JSON.stringify(
    {
      array: { name: "push", key_file: keyFile },
      nodes: Array.from({ length: nodes }, (_, i) => ({
        number: i + 1,
        name: `node${i + 1}`,
        address: `198.18.1.${i + 1}`,
        interface: "eth0",
      })),
      vservers: [
        { name: "steady", vips, ports: [80], protocol: "http", pool: "steady" },
        {
          name: "changing",
          vips,
          ports: [CHANGING_PORT],
          protocol: "http",
          pool: "changing",
          rules: [{ response_headers }],
        },
      ],
      pools: [
        { name: "steady", servers },
        { name: "changing", cookie: marker, servers },
      ],
      scheduler: { xdp: "generic", table_size: 4096 },
      limits: { workers: 1 },
    },
    undefined,
    1,
  );
}

function loadPlan(most_s: number): FlowPlan {
  const groups = [VIP, VIP6].flatMap((host): FlowPlan["groups"][number][] => {
    const family = host.includes(":") ? "IPv6" : "IPv4";
    const at = { host, port: 80, path: "/id" };
    return [
      { kind: "held", name: `kept ${family}`, connections: 25, pause_ms: [50, 500], ...at },
      { kind: "fresh", name: `new ${family}`, per_second: 20, ...at },
    ];
  });
  return { groups, answer_within_ms: 10_000, most_s };
}

interface Observer {
  readonly sight: Sight;
  readonly stop: () => Promise<void>;
}

function startObserver(lab: string, plan: ObserverPlan): Observer {
  const program = join(import.meta.dirname, "push-observer.ts");
  const [command = "", ...args] = labArgv(lab, "client", [process.execPath, program, JSON.stringify(plan)]);
  const child = spawn(command, args, { stdio: ["pipe", "pipe", "inherit"] });
  const closed = once(child, "close");
  const sight = newSight();
  createInterface({ input: child.stdout }).on("line", (line) => {
    const seen: Seen = JSON.parse(line);
    see(sight, seen);
  });
  return {
    sight,
    stop: async () => {
      if (child.exitCode !== null) sight.wrong.push(`the observer ended with code ${child.exitCode}`);
      child.stdin.end();
      await closed;
    },
  };
}

interface Push {
  readonly child: ChildProcess;
  readonly end: Promise<{
    readonly marker: string;
    readonly end: PushEnd;
    readonly said: string;
    readonly took_ms: number;
  }>;
}

interface Run {
  readonly array: PushArray;
  readonly sight: Sight;
  readonly dir: string;
  readonly keyFile: string;
}

function startPush({ array, dir, keyFile }: Run, marker: string, diesAt: number): Push {
  const file = join(dir, `${marker}.yaml`);
  writeFileSync(file, configText(keyFile, array.nodes.length, marker));
  const push = [
    join(ROOT, "bin/dlba"),
    "push",
    file,
    "--config",
    array.state.config_file,
    "-m",
    marker,
    "--json",
  ];
  const dying = [process.execPath, DYING, file, array.state.config_file, marker, String(diesAt)];
  const [program = "", ...args] = labArgv(array.state.name, "client", diesAt === 0 ? push : dying);
  const started_ms = monotonicNow_ms();
  const child = spawn(program, args, { stdio: ["ignore", "ignore", "pipe"] });
  let stderr = "";
  child.stderr.on("data", (data) => (stderr += String(data)));
  const timer = setTimeout(() => child.kill("SIGKILL"), PUSH_MOST_MS);
  const end = once(child, "close").then(() => {
    clearTimeout(timer);
    return {
      marker,
      end: endOf(child.exitCode, stderr),
      said: stderr.trim(),
      took_ms: monotonicNow_ms() - started_ms,
    };
  });
  return { child, end };
}

interface RoundReport {
  readonly ends: readonly PushEnd[];
  readonly push_ms: number;
  readonly agreed_ms: number;
  readonly version: number;
  readonly wrong: readonly string[];
  readonly said: readonly string[];
}

async function runRound(run: Run, round: PushRound, i: number): Promise<RoundReport> {
  const { array, sight } = run;
  const markers = round.hasRival ? [`m${i}a`, `m${i}b`] : [`m${i}a`];
  // Of two the first one may die.
  const pushes = markers.map((marker, nth) => startPush(run, marker, nth === 0 ? round.diesAt : 0));
  const killPushers = (): void => {
    for (const { child } of pushes) child.kill("SIGKILL");
  };
  const faults = round.faults.map(async (fault) => befall(array, fault, killPushers));
  const ended = await Promise.all(pushes.map(async ({ end }) => end));
  await Promise.all(faults);
  const mended_ms = monotonicNow_ms();
  const reason = await agreed(sight, array.nodes, mended_ms);
  const agreed_ms = monotonicNow_ms() - mended_ms;
  const inForce = new Set([...sight.versions.values()].map(({ comment }) => comment));
  const broken = ended.flatMap(({ marker, end, said, took_ms }) => [
    ...(end === "done" && !inForce.has(marker) ? [`${marker} was told to be in force, and is not`] : []),
    ...(end === "not" && inForce.has(marker) ? [`${marker} is in force, and its push said: ${said}`] : []),
    ...(took_ms >= PUSH_MOST_MS ? [`the push of ${marker} did not end`] : []),
  ]);
  return {
    ends: ended.map(({ end }) => end),
    push_ms: Math.max(...ended.map(({ took_ms }) => took_ms)),
    agreed_ms,
    version: Math.max(...sight.versions.keys()),
    wrong: [...(reason === "" ? [] : [`no agreement: ${reason}`]), ...broken],
    said: ended.map(({ said }) => said.split("\n")[0] ?? ""),
  };
}

/** Waits until all nodes are on one version; why not, when they don't come to it. */
async function agreed(sight: Sight, nodes: readonly string[], since_ms: number): Promise<string> {
  for (;;) {
    const reason = disagreement(sight, nodes, since_ms);
    if (reason === "" || monotonicNow_ms() - since_ms > AGREE_WITHIN_MS) return reason;
    await sleep(POLL_MS);
  }
}

/** Ends early when something was wrong: what comes after would tell of that only. */
async function runRounds(run: Run, rounds: readonly PushRound[]): Promise<RoundReport[]> {
  const reports: RoundReport[] = [];
  for (const [i, round] of rounds.entries()) {
    const report = await runRound(run, round, i + 1);
    reports.push(report);
    sayRound(run, round, report, `${String(i + 1).padStart(String(rounds.length).length)}/${rounds.length}`);
    if (report.wrong.length > 0 || run.sight.wrong.length > 0) break;
    // The array is whole before the next round: a node that is just coming back is no fault of that.
    const { wrong } = await allUp(run.array.state.name);
    if (wrong !== "") say(`  ${wrong}`);
  }
  return reports;
}

function sayRound({ array, sight }: Run, round: PushRound, report: RoundReport, place: string): void {
  const { ends, push_ms, agreed_ms, version, wrong, said } = report;
  const faults = round.faults.map(({ kind, node, process, at_ms }) => {
    const whose = kind === "pusher" ? "" : ` ${array.nodes[node]}`;
    return `${kind}${kind === "process" ? ` ${process}` : ""}${whose} at ${at_ms} ms`;
  });
  if (round.diesAt > 0) faults.unshift(`pusher at its question ${round.diesAt}`);
  const times = `push ${(push_ms / 1000).toFixed(1)} s, agreed ${(agreed_ms / 1000).toFixed(1)} s later`;
  say(
    `${place}  ${ends.join("+").padEnd(9)} version ${version}  ${times}  ${faults.join(", ") || "nothing befalls it"}`,
  );
  for (const line of said) if (line !== "") say(`  ${line.slice(0, 160)}`);
  for (const line of [...wrong, ...sight.wrong]) say(`  WRONG: ${line}`);
}

async function withLab(lab: string, dir: string): Promise<ChaosReport> {
  const [rounds, seed, count] = [
    countOf("rounds", 1, 10_000),
    countOf("seed", 0, 0xffffffff),
    countOf("nodes", 2, 8),
  ];
  say(`Seed ${seed}, ${rounds} rounds, ${count} nodes. Bringing up the lab …`);
  const configFile = join(dir, "push.yaml");
  writeFileSync(configFile, configText(join(dir, "made-by-the-lab.key"), count, FIRST));
  const { state } = await labUp({ name: lab, configFile });
  const config = loadConfig(state.config_file);
  const peers = peersOf(config);
  const array: PushArray = {
    state,
    nodes: peers.map(({ name }) => name),
    cables: holdCables(lab),
    deaths: [],
    port: config.push.port,
  };
  const { wrong } = await allUp(lab);
  if (wrong !== "") throw new Error(wrong);
  const observed = startObserver(lab, {
    keyFile: config.array.key_file,
    peers,
    host: VIP,
    port: CHANGING_PORT,
  });
  const flows = startFlows(lab, "client", loadPlan(60 + rounds * ROUND_MOST_S));
  await sleep(1000);
  const run: Run = { array, sight: observed.sight, dir, keyFile: config.array.key_file };
  const reports = await runRounds(run, planPushRounds(seed, rounds, count));
  await sleep(1000);
  const ended = await flows.stop();
  await observed.stop();
  return conclude(run, reports, ended, { seed, rounds });
}

function conclude(
  { array, sight }: Run,
  reports: readonly RoundReport[],
  flows: readonly Flow[],
  asked: { readonly seed: number; readonly rounds: number },
): ChaosReport {
  const lost = flows.filter((flow) => faultOf(flow, array.deaths) === "living");
  const answers = flows.reduce((sum, flow) => sum + flow.answers, 0);
  const count = (end: PushEnd): number =>
    reports.flatMap(({ ends }) => ends).filter((each) => each === end).length;
  const wrong = [
    ...reports.flatMap((report, i) => report.wrong.map((text) => `round ${i + 1}: ${text}`)),
    ...faultsOf(sight, FIRST),
    ...lost
      .slice(0, MAX_SHOWN)
      .map((flow) => `${flow.group} at ${flow.node || "no node yet"}: ${flow.error}`),
    ...(answers === 0 || sight.answers === 0 || sight.looks === 0 ? ["nothing was seen"] : []),
    ...(count("done") === 0 ? ["no push was carried out"] : []),
  ];
  const figures = {
    pushes: { done: count("done"), refused: count("not"), killed_or_in_doubt: count("open") },
    versions: Math.max(0, ...sight.versions.keys()),
    looks: sight.looks,
    marker_answers: sight.answers,
    markers: sight.markers.size,
    ...medianAndMost(
      "push",
      reports.map(({ push_ms }) => push_ms),
    ),
    ...medianAndMost(
      "agreed",
      reports.map(({ agreed_ms }) => agreed_ms),
    ),
    flows: figuresOf(flows, array.deaths),
  };
  const ok = wrong.length === 0 && reports.length === asked.rounds;
  say(`\n${JSON.stringify(figures, undefined, 1)}`);
  for (const line of wrong) say(`  ${line}`);
  const said = `${reports.length} rounds, ${lost.length} failed requests whose nodes were there of ${answers}`;
  say(`${ok ? "Good" : "NOT GOOD"}: ${said}. Seed ${asked.seed}.`);
  return { ok, ...asked, done: reports.length, errors: lost.length, ...figures, wrong };
}

function medianAndMost(name: string, list: readonly number[]): Record<string, number> {
  const sorted = list.toSorted((a, b) => a - b);
  return {
    [`${name}_median_ms`]: Math.round(sorted[sorted.length >> 1] ?? 0),
    [`${name}_most_ms`]: Math.round(sorted.at(-1) ?? 0),
  };
}

await runInLab("push", values.json, withLab, { seed: Number(values.seed) });
