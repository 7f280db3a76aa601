/**
 * npm run bench:proxy: one dlba-server worker on one core against HAProxy, nginx and http-proxy, in the same
 * run and interleaved round by round, because the machine's speed drifts. What counts is requests per second
 * of the proxy's own CPU time; web server and load generator sit on the other core.
 *
 *   -- --json    one JSON object        -- --check   exit 1 naming each figure below its bar
 *   -- --rounds N (default 9)           -- --seconds S per measurement (default 1)
 *   -- --cases A,B only these           (memory per idle TLS connection is always measured)
 */
import { spawn, execFileSync, type ChildProcess } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { parseArgs } from "node:util";
import { WORKER_NODE_FLAGS } from "../../dlba-server/node-flags.ts";
import { conclude, summarise, type Summary } from "./figures.ts";

const { values } = parseArgs({
  options: {
    json: { type: "boolean" },
    check: { type: "boolean" },
    rounds: { type: "string", default: "9" },
    seconds: { type: "string", default: "1" },
    cases: { type: "string", default: "" },
  },
});

const ROOT = join(import.meta.dirname, "../..");
const PROXY_CPU = "0";
const LOAD_CPU = "1";
const CONNECTIONS = 64;
const IDLE_TLS_CONNECTIONS = 2000;
const BACKEND = "198.18.0.3:9000";
const ADDRESS = "198.18.0.2";
const netns = `dlba-bench-${process.pid}`;
const dir = mkdtempSync(join(tmpdir(), "dlba-bench-"));
const file = (name: string): string => join(dir, name);

interface Proxy {
  readonly name: string;
  readonly plainPort: number;
  readonly tlsPort: number;
  readonly start: () => ChildProcess;
}
interface Case {
  readonly name: string;
  /** Units of work done in the given time against a proxy. */
  readonly load: (proxy: Proxy, seconds: number) => Promise<number>;
  readonly proxies: readonly string[];
}

const inside = (program: string, args: readonly string[], cpu: string): ChildProcess =>
  spawn("nsenter", [`--net=/run/netns/${netns}`, "taskset", "-c", cpu, program, ...args], {
    stdio: ["ignore", "pipe", "pipe"],
  });

async function output(child: ChildProcess): Promise<string> {
  let text = "";
  child.stdout!.on("data", (data) => (text += String(data)));
  child.stderr!.on("data", (data) => (text += String(data)));
  await once(child, "close");
  return text;
}

function writeFiles(): void {
  writeFileSync(file("key"), execFileSync("openssl", ["rand", "-base64", "32"]));
  const certificate = [
    "-keyout",
    file("key.pem"),
    "-out",
    file("cert.pem"),
    "-subj",
    "/CN=bench",
    "-days",
    "2",
  ];
  const curve = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"];
  execFileSync("openssl", ["req", "-x509", ...curve, ...certificate], { stdio: "ignore" });
  writeFileSync(
    file("both.pem"),
    readFileSync(file("cert.pem"), "utf8") + readFileSync(file("key.pem"), "utf8"),
  );
  for (const [name, size] of [
    ["100", 100],
    ["10k", 10_240],
    ["1m", 1_048_576],
  ] as const) {
    writeFileSync(file(name), Buffer.alloc(size, "x"));
  }
  writeFileSync(file("dlba.yaml"), dlbaConfig());
  writeFileSync(file("haproxy.cfg"), haproxyConfig());
  writeFileSync(file("nginx.conf"), nginxConfig());
  writeFileSync(file("backend.conf"), backendConfig());
}

const dlbaConfig = (): string => `
array: { name: bench, key_file: ${file("key")} }
nodes: [{ number: 1, name: bench, address: 198.18.0.1, interface: lo }]
vservers:
  - { name: plain, vips: [${ADDRESS}], ports: [8001], protocol: http, pool: app }
  - name: tls
    vips: [${ADDRESS}]
    ports: [8101]
    protocol: https
    pool: app
    certificates: [{ certificate: ${file("cert.pem")}, key: ${file("key.pem")} }]
pools:
  - { name: app, servers: [{ id: s1, address: 198.18.0.3, port: 9000 }] }
`;

const haproxyConfig = (): string => `
global
  nbthread 1
  maxconn 9000
  tune.ssl.cachesize 20000
  ssl-default-bind-options ssl-min-ver TLSv1.2
defaults
  mode http
  timeout client 300s
  timeout server 300s
  timeout connect 5s
  timeout http-keep-alive 300s
  option http-keep-alive
  http-reuse always
  option forwardfor
frontend f
  bind ${ADDRESS}:8002
  bind ${ADDRESS}:8102 ssl crt ${file("both.pem")} alpn http/1.1
  default_backend b
backend b
  cookie SRV insert
  server s1 ${BACKEND} cookie s1 pool-max-conn 1000 pool-purge-delay 300s
`;

const nginxPaths = (name: string): string =>
  `pid ${file(`${name}.pid`)}; error_log ${file(`${name}.err`)}; daemon off; user root; worker_processes 1;`;
const nginxTemp = (name: string): string =>
  ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
    .map((k) => `${k}_temp_path ${file(`${name}-${k}`)};`)
    .join(" ");

const nginxConfig =
  (): string => `${nginxPaths("nginx")} events { worker_connections 16000; multi_accept on; }
http { access_log off; tcp_nodelay on; keepalive_timeout 300; keepalive_requests 100000000; ${nginxTemp("nginx")}
  upstream b { server ${BACKEND}; keepalive 256; keepalive_requests 100000000; }
  server { listen ${ADDRESS}:8003 backlog=8192; listen ${ADDRESS}:8103 ssl backlog=8192;
    ssl_certificate ${file("cert.pem")}; ssl_certificate_key ${file("key.pem")}; ssl_protocols TLSv1.2 TLSv1.3;
    ssl_session_cache shared:SSL:20m; ssl_session_tickets on;
    location / { proxy_pass http://b; proxy_http_version 1.1; proxy_set_header Connection ""; proxy_set_header Host $host;
      proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for; add_header Set-Cookie "SRV=s1; path=/"; proxy_max_temp_file_size 0; } } }
`;

const backendConfig = (): string => `${nginxPaths("backend")} events { worker_connections 20000; }
http { access_log off; sendfile on; tcp_nodelay on; keepalive_timeout 300; keepalive_requests 100000000; ${nginxTemp("backend")}
  open_file_cache max=100 inactive=1000s; open_file_cache_valid 1000s;
  server { listen ${BACKEND} backlog=8192; root ${dir}; } }
`;

const baselineArguments = [ADDRESS, "8004", "8104", `http://${BACKEND}`, file("cert.pem"), file("key.pem")];
const dlbaArguments = ["--config", file("dlba.yaml"), "--node", "bench", "--pin-dir", dir, "--run-dir", dir];
const onProxyCpu = (program: string, args: readonly string[]) => () => inside(program, args, PROXY_CPU);
const PROXIES: readonly Proxy[] = [
  {
    name: "dlba",
    plainPort: 8001,
    tlsPort: 8101,
    start: onProxyCpu(process.execPath, [
      ...WORKER_NODE_FLAGS,
      join(ROOT, "dlba-server/main.ts"),
      ...dlbaArguments,
    ]),
  },
  {
    name: "haproxy",
    plainPort: 8002,
    tlsPort: 8102,
    start: onProxyCpu("haproxy", ["-db", "-f", file("haproxy.cfg")]),
  },
  { name: "nginx", plainPort: 8003, tlsPort: 8103, start: onProxyCpu("nginx", ["-c", file("nginx.conf")]) },
  {
    name: "http_proxy",
    plainPort: 8004,
    tlsPort: 8104,
    start: onProxyCpu(process.execPath, [
      join(import.meta.dirname, "http-proxy-baseline.ts"),
      ...baselineArguments,
    ]),
  },
];

const everyone = PROXIES.map(({ name }) => name);
const withoutBaseline = everyone.filter((name) => name !== "http_proxy");
const wrkLoad =
  (scheme: "http" | "https", path: string) =>
  async (proxy: Proxy, seconds: number): Promise<number> => {
    const port = scheme === "http" ? proxy.plainPort : proxy.tlsPort;
    const args = [
      "-t1",
      "--timeout",
      "30",
      `-c${CONNECTIONS}`,
      `-d${seconds}`,
      `${scheme}://${ADDRESS}:${port}/${path}`,
    ];
    const text = await output(inside("wrk", args, LOAD_CPU));
    const isClean = !/Non-2xx|Socket errors/.test(text);
    const count = Number(/(\d+) requests in/.exec(text)?.[1] ?? 0);
    if (!isClean || count === 0) throw new Error(`${proxy.name} failed requests of wrk:\n${text}`);
    return count;
  };
const handshakes =
  (kind: "-new" | "-reuse") =>
  async (proxy: Proxy, seconds: number): Promise<number> => {
    const where = ["-connect", `${ADDRESS}:${proxy.tlsPort}`, "-www", "/100"];
    const time = ["-time", String(Math.ceil(seconds)), "-tls1_3"];
    const text = await output(inside("openssl", ["s_time", ...where, ...time, kind], LOAD_CPU));
    const count = Number(/(\d+) connections in \d+ real/.exec(text)?.[1] ?? 0);
    if (count === 0) throw new Error(`${proxy.name} made no handshake:\n${text.slice(-500)}`);
    return count;
  };
const ALL_CASES: readonly Case[] = [
  { name: "plain_100b", load: wrkLoad("http", "100"), proxies: everyone },
  { name: "plain_10kb", load: wrkLoad("http", "10k"), proxies: everyone },
  { name: "plain_1mb", load: wrkLoad("http", "1m"), proxies: everyone },
  { name: "tls_100b", load: wrkLoad("https", "100"), proxies: everyone },
  { name: "full_handshakes", load: handshakes("-new"), proxies: withoutBaseline },
  { name: "resumed_handshakes", load: handshakes("-reuse"), proxies: withoutBaseline },
];

const CASES = ALL_CASES.filter(({ name }) => values.cases === "" || values.cases.split(",").includes(name));

/** CPU time of a process and its children in seconds, all threads, from the scheduler's own nanoseconds. */
function cpuSeconds(pid: number): number {
  let total_ns = 0;
  for (const thread of readdirSync(`/proc/${pid}/task`)) {
    total_ns += Number(readFileSync(`/proc/${pid}/task/${thread}/schedstat`, "utf8").split(" ")[0]);
  }
  return total_ns / 1e9 + childPids(pid).reduce((sum, child) => sum + cpuSeconds(child), 0);
}

const childPids = (pid: number): number[] =>
  readFileSync(`/proc/${pid}/task/${pid}/children`, "utf8").trim().split(" ").filter(Boolean).map(Number);

function residentBytes(pid: number): number {
  const kilobytes = Number(/VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${pid}/status`, "utf8"))?.[1] ?? 0);
  return kilobytes * 1024 + childPids(pid).reduce((sum, child) => sum + residentBytes(child), 0);
}

async function waitUntilServing(proxy: Proxy): Promise<void> {
  for (let i = 0; i < 100; i++) {
    const url = `http://${ADDRESS}:${proxy.plainPort}/100`;
    const text = await output(inside("curl", ["-s", "-o", "/dev/null", "-w", "%{http_code}", url], LOAD_CPU));
    if (text === "200") return;
    await sleep(100);
  }
  throw new Error(`${proxy.name} does not serve`);
}

type Samples = Record<string, Record<string, number[]>>;

/** Short measurements in turn, each round beginning with another proxy, so that none always follows the same. */
async function measure(
  running: ReadonlyMap<string, ChildProcess>,
  rounds: number,
  seconds: number,
): Promise<Samples> {
  const samples: Samples = {};
  for (let round = -1; round < rounds; round++) {
    for (const test of CASES) {
      const entrants = PROXIES.filter(({ name }) => test.proxies.includes(name));
      const first = (round + 1) % entrants.length;
      for (const proxy of [...entrants.slice(first), ...entrants.slice(0, first)]) {
        const pid = running.get(proxy.name)!.pid!;
        const before = cpuSeconds(pid);
        const done = await test.load(proxy, seconds);
        const perCpuSecond = done / (cpuSeconds(pid) - before);
        // The round before the first warms up: caches, compiled code, connections.
        if (round >= 0) ((samples[test.name] ??= {})[proxy.name] ??= []).push(perCpuSecond);
      }
    }
    console.error(round < 0 ? "warmed up" : `round ${round + 1} of ${rounds} done`);
  }
  return samples;
}

/** Resident memory per idle TLS connection, from a fresh start to many connections that have made one request. */
async function idleMemory(proxy: Proxy, pid: number): Promise<number> {
  const before = residentBytes(pid);
  const client = inside(
    process.execPath,
    [
      join(import.meta.dirname, "idle-tls-client.ts"),
      ADDRESS,
      String(proxy.tlsPort),
      String(IDLE_TLS_CONNECTIONS),
    ],
    LOAD_CPU,
  );
  await once(client.stdout!, "data");
  await sleep(500);
  const perConnection = (residentBytes(pid) - before) / IDLE_TLS_CONNECTIONS;
  client.kill();
  await once(client, "close");
  return Math.round(perConnection);
}

interface Result {
  readonly requests_per_cpu_second: Record<string, Record<string, Summary>>;
  readonly resident_bytes_per_idle_tls_connection: Record<string, number>;
  readonly figures: Record<string, number>;
}

/** Ratios are taken round by round, so that what slows a round down slows both sides. */
function ratios(samples: Samples, to: string): Record<string, number> {
  return Object.fromEntries(
    Object.entries(samples)
      .filter(([, byProxy]) => byProxy[to] !== undefined)
      .map(([name, byProxy]) => {
        const perRound = byProxy["dlba"]!.map((value, round) => value / byProxy[to]![round]!);
        return [`proxy.${name}_to_${to}`, summarise(perRound).median];
      }),
  );
}

function table(result: Result): string {
  const rows = Object.entries(result.requests_per_cpu_second).map(([test, byProxy]) => {
    const cells = everyone.map((name) => {
      const summary = byProxy[name];
      if (summary === undefined) return "-".padStart(26);
      const spread = `${Math.round(summary.least)}..${Math.round(summary.most)}`;
      return `${Math.round(summary.median)} (${spread})`.padStart(26);
    });
    const ratio = result.figures[`proxy.${test}_to_haproxy`]!.toFixed(2);
    return `${test.padEnd(20)}${cells.join("")}${ratio.padStart(10)}`;
  });
  const head = `${"per CPU second".padEnd(20)}${everyone.map((name) => name.padStart(26)).join("")}${"/haproxy".padStart(10)}`;
  const memory = everyone.map((name) =>
    String(result.resident_bytes_per_idle_tls_connection[name]).padStart(26),
  );
  return [head, ...rows, `${"B per idle TLS conn.".padEnd(20)}${memory.join("")}`].join("\n");
}

async function run(rounds: number, seconds: number): Promise<Result> {
  const started: ChildProcess[] = [];
  const running = new Map<string, ChildProcess>();
  try {
    started.push(inside("nginx", ["-c", file("backend.conf")], LOAD_CPU));
    const memory: Record<string, number> = {};
    for (const proxy of PROXIES) {
      const child = proxy.start();
      child.stderr!.resume();
      started.push(child);
      running.set(proxy.name, child);
      await waitUntilServing(proxy);
      memory[proxy.name] = await idleMemory(proxy, child.pid!);
    }
    const samples = await measure(running, rounds, seconds);
    const summaries = Object.entries(samples).map(([name, byProxy]) => [
      name,
      Object.fromEntries(Object.entries(byProxy).map(([proxy, values]) => [proxy, summarise(values)])),
    ]);
    return {
      requests_per_cpu_second: Object.fromEntries(summaries),
      resident_bytes_per_idle_tls_connection: memory,
      figures: {
        ...ratios(samples, "haproxy"),
        ...ratios(samples, "http_proxy"),
        ...ratios(samples, "nginx"),
      },
    };
  } finally {
    for (const child of started) {
      const closed = once(child, "exit");
      if (child.kill("SIGTERM")) await closed;
    }
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
writeFiles();
prepareHost();
try {
  const result = await run(Number(values.rounds), Number(values.seconds));
  process.exitCode = conclude("proxy", result, () => table(result));
} finally {
  cleanUp();
}
