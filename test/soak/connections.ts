/**
 * `npm run soak:connections -- [--minutes 15] [--idle 10000] [--slow 5000] [--json]`.
 *
 * Two workers hold idle TLS connections while wrk loads them: their memory must not grow (the slope of its lowest values, after
 * the first fifth), and no idle connection may be lost. Then slow clients come that never end a request's head: the time that 99 of
 * 100 paced requests take must not double. Exits 1 unless all was well.
 */
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { parseArgs } from "node:util";
import { lowerSlope, percentile, type Sample } from "./slope.ts";
import { startWorkers } from "./workers.ts";

const { values } = parseArgs({
  options: {
    minutes: { type: "string", default: "15" },
    idle: { type: "string", default: "10000" },
    slow: { type: "string", default: "5000" },
    json: { type: "boolean", default: false },
  },
});
const [minutes, idleCount, slowCount] = [values.minutes, values.idle, values.slow].map(Number);
if (!(minutes! > 0) || !(idleCount! > 0) || !(slowCount! > 0)) {
  console.error("--minutes, --idle and --slow take numbers above 0");
  process.exit(2);
}

const WORKERS = 2;
const CLIENTS = 4;
const SAMPLE_EVERY_MS = 1000;
const WARM_UP = 0.2;
const MOST_SLOPE_BYTES_PER_HOUR = 1 << 20;
const PACED_PER_SECOND = 300;
const PACED_SECONDS = 10;
const ROUNDS = 3;
const HERE = import.meta.dirname;
const BENCH = join(HERE, "../bench");

const say = (text: string): void => void (values.json || console.log(text));
const children: ChildProcess[] = [];
const dir = mkdtempSync(join(tmpdir(), "dlba-connections-"));

function run(program: string, args: readonly string[], how: "read" | "talk" = "read"): ChildProcess {
  const child = spawn(program, args, { stdio: [how === "talk" ? "pipe" : "ignore", "pipe", "inherit"] });
  children.push(child);
  return child;
}

async function lineOf(child: ChildProcess): Promise<string> {
  return String(((await once(child.stdout!, "data")) as [Buffer])[0]).trim();
}

async function allOf(child: ChildProcess): Promise<string> {
  let text = "";
  child.stdout!.on("data", (data) => (text += String(data)));
  await once(child, "close");
  return text;
}

async function freePort(): Promise<number> {
  const server = createServer().listen(0, "127.0.0.1");
  await once(server, "listening");
  const address = server.address();
  server.close();
  await once(server, "close");
  return typeof address === "object" && address !== null ? address.port : 0;
}

/** A web server that answers 100 bytes. */
async function startWeb(port: number): Promise<void> {
  const temporary = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"].map(
    (kind) => `${kind}_temp_path ${dir};`,
  );
  const conf = `worker_processes 1; daemon off; pid ${dir}/nginx.pid; error_log ${dir}/error.log;
events { worker_connections 4096; }
http { access_log off; ${temporary.join(" ")} keepalive_requests 100000000;
  server { listen 127.0.0.1:${port}; location / { return 200 "${"x".repeat(100)}"; } } }`;
  writeFileSync(join(dir, "nginx.conf"), conf);
  run("/usr/sbin/nginx", ["-e", join(dir, "error.log"), "-c", join(dir, "nginx.conf")]);
  for (;;) {
    const answer = await fetch(`http://127.0.0.1:${port}/100`).catch(() => undefined);
    if (answer?.ok === true) return;
    await sleep(50);
  }
}

/** Our own children that are workers. */
function workerPids(): number[] {
  return readdirSync("/proc")
    .filter((name) => /^\d+$/.test(name))
    .filter((pid) => {
      try {
        const stat = readFileSync(`/proc/${pid}/stat`, "latin1");
        const parent = Number(stat.slice(stat.lastIndexOf(")") + 2).split(" ")[1]);
        return (
          parent === process.pid &&
          readFileSync(`/proc/${pid}/cmdline`, "latin1").includes("dlba-server/main.ts")
        );
      } catch {
        return false; // It ended meanwhile.
      }
    })
    .map(Number);
}

function memory_bytes(pids: readonly number[]): number {
  return pids.reduce((sum, pid) => {
    const status = readFileSync(`/proc/${pid}/status`, "latin1");
    return sum + Number(/VmRSS:\s+(\d+)/.exec(status)?.[1] ?? 0) * 1024;
  }, 0);
}

interface IdleResult {
  readonly connections: number;
  readonly lost: number;
  readonly requests: string;
  readonly errors: string;
  readonly memory_bytes_per_connection: number;
  readonly slope_bytes_per_hour: number;
  readonly memory_mb: readonly number[];
}

async function idle(httpsPort: number): Promise<IdleResult> {
  const pids = workerPids();
  const bare_bytes = memory_bytes(pids);
  const each = Math.ceil(idleCount! / CLIENTS);
  const clients = Array.from({ length: CLIENTS }, () =>
    run(process.execPath, [join(HERE, "idle-clients.ts"), String(httpsPort), String(each)], "talk"),
  );
  await Promise.all(clients.map(lineOf));
  const filled_bytes = memory_bytes(pids);
  say(`${each * CLIENTS} idle connections; under load for ${minutes} minutes …`);
  const seconds = Math.ceil(minutes! * 60);
  const load = allOf(
    run("wrk", ["-t1", "-c64", `-d${seconds}s`, "--timeout", "10s", `https://127.0.0.1:${httpsPort}/100`]),
  );
  const samples: Sample[] = [];
  for (let at_s = 0; at_s < seconds; at_s += SAMPLE_EVERY_MS / 1000) {
    samples.push({ at_s, value: memory_bytes(pids) });
    await sleep(SAMPLE_EVERY_MS);
  }
  const said = await load;
  const open = await Promise.all(
    clients.map(async (client) => {
      client.stdin!.write("?\n");
      return Number(await lineOf(client));
    }),
  );
  for (const client of clients) client.stdin!.end();
  const late = samples.filter(({ at_s }) => at_s >= seconds * WARM_UP);
  const window_s = Math.max(5, Math.min(60, seconds / 20));
  return {
    connections: each * CLIENTS,
    lost: each * CLIENTS - open.reduce((sum, count) => sum + count, 0),
    requests: /(\d+) requests in/.exec(said)?.[1] ?? "0",
    errors: /Socket errors.*|Non-2xx.*/.exec(said)?.[0] ?? "",
    memory_bytes_per_connection: Math.round((filled_bytes - bare_bytes) / (each * CLIENTS)),
    slope_bytes_per_hour: Math.round(lowerSlope(late, window_s) * 3600),
    memory_mb: [0, 0.25, 0.5, 0.75, 1].map((part) => {
      const sample = late[Math.min(late.length - 1, Math.floor(late.length * part))]!;
      return Math.round(sample.value / 1e5) / 10;
    }),
  };
}

interface SlowResult {
  readonly clients: number;
  readonly p99_us_without: readonly number[];
  readonly p99_us_with: readonly number[];
}

async function paced(httpPort: number, seed: number): Promise<number> {
  const args = ["127.0.0.1", httpPort, 32, PACED_PER_SECOND, PACED_SECONDS, seed].map(String);
  const times = await allOf(run(process.execPath, [join(BENCH, "paced-load.ts"), ...args]));
  return Math.round(percentile(times.trim().split("\n").map(Number), 0.99));
}

async function slow(httpPort: number): Promise<SlowResult> {
  const [without, beside]: [number[], number[]] = [[], []];
  // The first round warms up.
  await paced(httpPort, 1);
  for (let round = 0; round < ROUNDS; round++) {
    without.push(await paced(httpPort, round + 2));
    const clients = run(process.execPath, [
      join(HERE, "slow-clients.ts"),
      String(httpPort),
      String(slowCount),
    ]);
    await lineOf(clients);
    beside.push(await paced(httpPort, round + 2));
    clients.kill("SIGKILL");
    await sleep(1000);
    say(`p99 ${without.at(-1)} us without, ${beside.at(-1)} us beside ${slowCount} slow clients`);
  }
  return { clients: slowCount!, p99_us_without: without, p99_us_with: beside };
}

const median = (values: readonly number[]): number => percentile(values, 0.5);

for (const signal of ["SIGINT", "SIGTERM"] as const) process.on(signal, () => process.exit(1));
process.on("exit", () => {
  for (const child of children) child.kill("SIGKILL");
  rmSync(dir, { recursive: true, force: true });
});
const [httpPort, httpsPort, webPort] = [await freePort(), await freePort(), await freePort()];
await startWeb(webPort);
const workers = await startWorkers({
  httpPort,
  httpsPort,
  serverPorts: [webPort],
  workers: WORKERS,
  timeouts: { keep_alive_ms: 3_600_000 },
});
const idleResult = await idle(httpsPort);
const slowResult = await slow(httpPort);
await workers.stop();
const isSteady = idleResult.slope_bytes_per_hour < MOST_SLOPE_BYTES_PER_HOUR;
const isWhole = idleResult.lost === 0 && idleResult.errors === "" && Number(idleResult.requests) > 0;
const isUnmoved = median(slowResult.p99_us_with) <= 2 * median(slowResult.p99_us_without);
const ok = isSteady && isWhole && isUnmoved;
console.log(
  JSON.stringify({ ok, isSteady, isWhole, isUnmoved, idle: idleResult, slow: slowResult }, undefined, 2),
);
process.exit(ok ? 0 : 1);
