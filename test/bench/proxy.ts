/**
 * npm run bench:proxy: one dlba-server worker on one core against HAProxy, nginx and http-proxy, in the same
 * run and interleaved round by round, because the machine's speed drifts. What counts is requests per second
 * of the proxy's own CPU time; web server and load generator sit on the other core. All but http-proxy log requests.
 *
 *   -- --json    one JSON object        -- --check   exit 1 naming each figure below its bar
 *   -- --rounds N (default 9)           -- --seconds S per measurement (default 1)
 *   -- --only A,B these measurements: a load (plain_100b …), or latency, scaling, memory
 *   -- --peers A,B these besides ours   -- --unlogged nobody logs requests
 */
import { execFileSync, type ChildProcess } from "node:child_process";
import { once } from "node:events";
import { rmSync, truncateSync } from "node:fs";
import { setTimeout as sleep } from "node:timers/promises";
import { parseArgs } from "node:util";
import { conclude, summarise, type Summary } from "./figures.ts";
import { cpuSeconds, residentBytes } from "./process-figures.ts";
import { CASES, responseTimes_us } from "./proxy-loads.ts";
import {
  ADDRESS,
  dir,
  inside,
  LOAD_CPU,
  netns,
  output,
  PROXIES,
  type Proxy,
  startClient,
  startSurroundings,
  writeFiles,
} from "./proxy-peers.ts";
import { scaling } from "./proxy-scaling.ts";

const { values } = parseArgs({
  options: {
    json: { type: "boolean" },
    check: { type: "boolean" },
    unlogged: { type: "boolean", default: false },
    rounds: { type: "string", default: "9" },
    seconds: { type: "string", default: "1" },
    only: { type: "string", default: "" },
    peers: { type: "string", default: "haproxy,nginx,http_proxy" },
  },
});

const OURS = "dlba";
const FIRST_TLS_CONNECTIONS = 300;
const IDLE_TLS_CONNECTIONS = 2000;
/** Who could take part in a comparison at a rate that HAProxy reaches half of. */
const PACED = [OURS, "haproxy", "nginx"];
const peers = PROXIES.filter(({ name }) => name === OURS || values.peers.split(",").includes(name));
const isWanted = (name: string): boolean => values.only === "" || values.only.split(",").includes(name);
const loads = CASES.filter(({ name }) => isWanted(name));

async function waitUntilServing(proxy: Proxy): Promise<void> {
  for (let i = 0; i < 100; i++) {
    const url = `http://${ADDRESS}:${proxy.plainPort}/100`;
    const text = await output(inside("curl", ["-s", "-o", "/dev/null", "-w", "%{http_code}", url], LOAD_CPU));
    if (text === "200") return;
    await sleep(100);
  }
  throw new Error(`${proxy.name} does not serve`);
}

/** Measured values by what was measured and by proxy, one for each round. */
type Samples = Record<string, Record<string, number[]>>;
type Running = ReadonlyMap<string, ChildProcess>;

const note = (samples: Samples, what: string, proxy: string, value: number): void =>
  void ((samples[what] ??= {})[proxy] ??= []).push(value);

/** Everyone in turn, each round beginning with another one, so that none always follows the same. */
function inTurn(names: readonly string[], round: number): Proxy[] {
  const entrants = peers.filter(({ name }) => names.includes(name));
  const first = (round + 1) % entrants.length;
  return [...entrants.slice(first), ...entrants.slice(0, first)];
}

/** Log files are wanted for what writing them costs only. */
function emptyLog({ log }: Proxy): void {
  try {
    if (log !== undefined) truncateSync(log);
  } catch {
    // Nothing has been logged yet.
  }
}

async function measureLoads(running: Running, rounds: number, seconds: number): Promise<Samples> {
  const samples: Samples = {};
  // The round before the first warms up: caches, compiled code, connections.
  for (let round = -1; round < rounds; round++) {
    for (const { name, load, without } of loads) {
      const entrants = PROXIES.map((proxy) => proxy.name).filter((proxy) => !without.includes(proxy));
      for (const proxy of inTurn(entrants, round)) {
        const pid = running.get(proxy.name)!.pid!;
        const before = cpuSeconds(pid);
        const done = await load(proxy, seconds);
        if (round >= 0) note(samples, name, proxy.name, done / (cpuSeconds(pid) - before));
        emptyLog(proxy);
      }
    }
    if (loads.length > 0) console.error(round < 0 ? "warmed up" : `round ${round + 1} of ${rounds} done`);
  }
  return samples;
}

const percentile = (sorted: readonly number[], share: number): number =>
  sorted[Math.ceil(sorted.length * share) - 1]!;

/** Percentiles of the response time when everyone gets half of the requests per second that HAProxy can do at most. */
async function measureLatency(rounds: number, seconds: number): Promise<Samples> {
  const samples: Samples = {};
  const haproxy = peers.find(({ name }) => name === "haproxy");
  const full = CASES.find(({ name }) => name === "plain_100b");
  if (haproxy === undefined || full === undefined) return samples;
  const perSecond = (await full.load(haproxy, 2)) / 2 / 2;
  console.error(`response times at ${Math.round(perSecond)} requests a second`);
  for (let round = -1; round < rounds; round++) {
    for (const proxy of inTurn(PACED, round)) {
      const sorted = (await responseTimes_us(proxy, perSecond, seconds * 2, round + 2)).sort((a, b) => a - b);
      emptyLog(proxy);
      if (round < 0) continue;
      note(samples, "p50_us", proxy.name, percentile(sorted, 0.5));
      note(samples, "p99_us", proxy.name, percentile(sorted, 0.99));
    }
  }
  return samples;
}

/**
 * Resident memory per idle TLS connection that has made one request: what 2,000 more of them add to some hundred, after a
 * second of other load, so that what a process needs once is not counted as theirs.
 */
async function idleMemory(proxy: Proxy, pid: number): Promise<number> {
  await CASES[0]!.load(proxy, 1);
  const counts = [FIRST_TLS_CONNECTIONS, IDLE_TLS_CONNECTIONS].map(String);
  const client = startClient("idle-tls-client.ts", [ADDRESS, String(proxy.tlsPort), ...counts]);
  await once(client.stdout!, "data");
  await sleep(500);
  const before = residentBytes(pid);
  client.stdin!.write("go on\n");
  await once(client.stdout!, "data");
  await sleep(500);
  const perConnection = (residentBytes(pid) - before) / IDLE_TLS_CONNECTIONS;
  client.kill();
  await once(client, "close");
  return Math.round(perConnection);
}

interface Result {
  readonly requests_per_cpu_second: Record<string, Record<string, Summary>>;
  readonly response_time: Record<string, Record<string, Summary>>;
  readonly resident_bytes_per_idle_tls_connection: Record<string, number>;
  readonly two_workers_to_one: Summary | undefined;
  readonly figures: Record<string, number>;
}

/** Ratios are taken round by round, so that what slows a round down slows both sides. */
function ratios(samples: Samples, to: string): Record<string, number> {
  return Object.fromEntries(
    Object.entries(samples)
      .filter(([, byProxy]) => byProxy[to] !== undefined)
      .map(([name, byProxy]) => {
        const perRound = byProxy[OURS]!.map((value, round) => value / byProxy[to]![round]!);
        return [`proxy.${name}_to_${to}`, summarise(perRound).median];
      }),
  );
}

const summaries = (samples: Samples): Record<string, Record<string, Summary>> =>
  Object.fromEntries(
    Object.entries(samples).map(([name, byProxy]) => [
      name,
      Object.fromEntries(Object.entries(byProxy).map(([proxy, each]) => [proxy, summarise(each)])),
    ]),
  );

const columns = peers.map(({ name }) => name);
const row = (title: string, cells: readonly string[], ratio: number | undefined): string =>
  title.padEnd(22) + cells.map((cell) => cell.padStart(24)).join("") + (ratio?.toFixed(2) ?? "").padStart(10);

function rows(byName: Result["requests_per_cpu_second"], figures: Result["figures"]): string[] {
  return Object.entries(byName).map(([test, byProxy]) => {
    const cells = columns.map((name) => {
      const summary = byProxy[name];
      if (summary === undefined) return "-";
      return `${Math.round(summary.median)} (${Math.round(summary.least)}..${Math.round(summary.most)})`;
    });
    return row(test, cells, figures[`proxy.${test}_to_haproxy`]);
  });
}

function table(result: Result): string {
  const { figures, two_workers_to_one: scaled } = result;
  const memory = result.resident_bytes_per_idle_tls_connection;
  const lines = [
    `${row("per CPU second", columns, undefined)}${"/haproxy".padStart(8)}`,
    ...rows(result.requests_per_cpu_second, figures),
    ...rows(result.response_time, figures),
  ];
  if (Object.keys(memory).length > 0) {
    lines.push(
      row(
        "B per idle TLS conn.",
        columns.map((name) => String(memory[name] ?? "-")),
        undefined,
      ),
    );
  }
  if (scaled !== undefined) {
    const [median, least, most] = [scaled.median, scaled.least, scaled.most].map((value) => value.toFixed(2));
    lines.push(`two workers do ${median} times what one does (${least}..${most})`);
  }
  return lines.join("\n");
}

async function stop(children: Iterable<ChildProcess>): Promise<void> {
  for (const child of children) {
    const closed = once(child, "exit");
    if (child.kill("SIGTERM")) await closed;
  }
}

async function run(rounds: number, seconds: number): Promise<Result> {
  const surroundings = startSurroundings();
  const running = new Map<string, ChildProcess>();
  const memory: Record<string, number> = {};
  try {
    await once(surroundings.at(-1)!.stdout!, "data");
    for (const proxy of peers) {
      const child = proxy.start();
      child.stdout!.resume();
      child.stderr!.resume();
      running.set(proxy.name, child);
      await waitUntilServing(proxy);
      if (isWanted("memory")) memory[proxy.name] = await idleMemory(proxy, child.pid!);
    }
    const samples = await measureLoads(running, rounds, seconds);
    const times = isWanted("latency") ? await measureLatency(rounds, seconds) : {};
    await stop(running.values());
    running.clear();
    const scaled = isWanted("scaling") ? summarise(await scaling(rounds, seconds)) : undefined;
    return {
      requests_per_cpu_second: summaries(samples),
      response_time: summaries(times),
      resident_bytes_per_idle_tls_connection: memory,
      two_workers_to_one: scaled,
      figures: {
        ...ratios(samples, "haproxy"),
        ...ratios(samples, "http_proxy"),
        ...ratios(samples, "nginx"),
        ...ratios(times, "haproxy"),
        ...(memory[OURS] === undefined ? {} : { "proxy.idle_tls_connection_bytes": memory[OURS] }),
        ...(scaled === undefined ? {} : { "proxy.two_workers_to_one": scaled.median }),
      },
    };
  } finally {
    await stop(running.values());
    await stop(surroundings);
  }
}

const ip = (...args: string[]): void => void execFileSync("ip", args, { stdio: "inherit" });

function prepareHost(): void {
  ip("netns", "add", netns);
  ip("-n", netns, "link", "set", "lo", "up");
  for (const address of ["198.18.0.1", ADDRESS, "198.18.0.3"])
    ip("-n", netns, "addr", "add", `${address}/32`, "dev", "lo");
}

function cleanUp(): void {
  execFileSync("ip", ["netns", "del", netns]);
  rmSync(dir, { recursive: true });
}

if (process.getuid?.() !== 0) {
  console.error("bench:proxy: not run: it needs root for a network namespace of its own");
  process.exit(1);
}
writeFiles(!values.unlogged);
prepareHost();
try {
  const result = await run(Number(values.rounds), Number(values.seconds));
  process.exitCode = conclude("proxy", result, () => table(result));
} finally {
  cleanUp();
}
