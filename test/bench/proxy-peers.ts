/** The proxies that bench:proxy measures, configured alike: what they listen on, their logs, how they are started. */
import { execFileSync, spawn, type ChildProcess } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, readFileSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { WORKER_NODE_FLAGS } from "../../dlba-server/node-flags.ts";

const ROOT = join(import.meta.dirname, "../..");
export const PROXY_CPU = "0";
export const LOAD_CPU = "1";
export const ADDRESS = "198.18.0.2";
const BACKEND = "198.18.0.3:9000";
/** Of the worker that is measured alone, for the scaling. */
export const ALONE_PORT = 8005;
export const netns = `dlba-bench-${process.pid}`;
export const dir = mkdtempSync(join(tmpdir(), "dlba-bench-"));
export const file = (name: string): string => join(dir, name);

export interface Proxy {
  readonly name: string;
  readonly plainPort: number;
  readonly tlsPort: number;
  readonly start: () => ChildProcess;
  /** The file of its access log, if it writes one. */
  readonly log?: string;
}

/** Runs a program in the benchmark's network namespace, on the processors named. */
export const inside = (program: string, args: readonly string[], cpu: string): ChildProcess =>
  spawn("nsenter", [`--net=/run/netns/${netns}`, "taskset", "-c", cpu, program, ...args], {
    stdio: ["pipe", "pipe", "pipe"],
  });

export async function output(child: ChildProcess): Promise<string> {
  let text = "";
  child.stdout!.on("data", (data) => (text += String(data)));
  child.stderr!.on("data", (data) => (text += String(data)));
  await once(child, "close");
  return text;
}

/** Keys, files to serve, and everybody's configuration. Without `isLogged` nobody logs requests. */
export function writeFiles(isLogged: boolean): void {
  writeFileSync(file("key"), execFileSync("openssl", ["rand", "-base64", "32"]));
  const names = ["-keyout", file("key.pem"), "-out", file("cert.pem"), "-subj", "/CN=bench", "-days", "2"];
  const curve = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"];
  execFileSync("openssl", ["req", "-x509", ...curve, ...names], { stdio: "ignore" });
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
  writeFileSync(file("dlba.yaml"), dlbaConfig(isLogged, 8001));
  writeFileSync(file("alone.yaml"), dlbaConfig(isLogged, ALONE_PORT));
  writeFileSync(file("haproxy.cfg"), haproxyConfig(isLogged));
  writeFileSync(file("nginx.conf"), nginxConfig(isLogged));
  writeFileSync(file("backend.conf"), backendConfig("backend"));
  writeFileSync(file("backend2.conf"), backendConfig("backend2"));
}

const dlbaConfig = (isLogged: boolean, plainPort: number): string => `
array: { name: bench, key_file: ${file("key")} }
nodes: [{ number: 1, name: bench, address: 198.18.0.1, interface: lo }]
${isLogged ? `access_log: { file: ${file("dlba.log")}, format: combined }` : ""}
vservers:
  - { name: plain, vips: [${ADDRESS}], ports: [${plainPort}], protocol: http, pool: app }
  - name: tls
    vips: [${ADDRESS}]
    ports: [${plainPort + 100}]
    protocol: https
    pool: app
    certificates: [{ certificate: ${file("cert.pem")}, key: ${file("key.pem")} }]
pools:
  - { name: app, servers: [{ id: s1, address: 198.18.0.3, port: 9000 }] }
`;

/** HAProxy's way of logging: a datagram per request to a syslog daemon's Unix socket, as Debian sets it up. */
const haproxyLog = (): string => `
  log ${file("log.sock")} local0
  capture request header Referer len 128
  capture request header User-Agent len 128
  log-format "%ci - - [%trl] %{+Q}r %ST %B %{+Q}[capture.req.hdr(0)] %{+Q}[capture.req.hdr(1)]"`;

const haproxyConfig = (isLogged: boolean): string => `
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
  bind ${ADDRESS}:8102 ssl crt ${file("both.pem")} alpn h2,http/1.1
  ${isLogged ? haproxyLog() : ""}
  default_backend b
backend b
  cookie SRV insert
  server s1 ${BACKEND} cookie s1 pool-max-conn 1000 pool-purge-delay 300s
`;

const nginxPaths = (name: string): string =>
  `pid ${file(`${name}.pid`)}; error_log ${file(`${name}.err`)}; daemon off; user root;`;
const nginxTemp = (name: string): string =>
  ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
    .map((k) => `${k}_temp_path ${file(`${name}-${k}`)};`)
    .join(" ");
const nginxLog = (isLogged: boolean): string =>
  isLogged ? `access_log ${file("nginx.log")} combined buffer=64k flush=1s;` : "access_log off;";

const nginxConfig = (
  isLogged: boolean,
): string => `${nginxPaths("nginx")} worker_processes 1; events { worker_connections 16000; multi_accept on; }
http { ${nginxLog(isLogged)} tcp_nodelay on; keepalive_timeout 300; keepalive_requests 100000000; ${nginxTemp("nginx")}
  upstream b { server ${BACKEND}; keepalive 256; keepalive_requests 100000000; }
  server { listen ${ADDRESS}:8003 backlog=8192; listen ${ADDRESS}:8103 ssl http2 backlog=8192;
    ssl_certificate ${file("cert.pem")}; ssl_certificate_key ${file("key.pem")}; ssl_protocols TLSv1.2 TLSv1.3;
    ssl_session_cache shared:SSL:20m; ssl_session_tickets on;
    location / { proxy_pass http://b; proxy_http_version 1.1; proxy_set_header Connection ""; proxy_set_header Host $host;
      proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for; add_header Set-Cookie "SRV=s1; path=/"; proxy_max_temp_file_size 0; } } }
`;

/** The web server behind all proxies, one process. */
const backendConfig = (
  name: string,
): string => `${nginxPaths(name)} worker_processes 1; events { worker_connections 20000; }
http { access_log off; sendfile on; tcp_nodelay on; keepalive_timeout 300; keepalive_requests 100000000; ${nginxTemp(name)}
  open_file_cache max=100 inactive=1000s; open_file_cache_valid 1000s;
  server { listen ${BACKEND} backlog=8192 reuseport; root ${dir}; } }
`;

/** A worker that serves what a configuration file says, on one processor. */
export function startWorker(config: string, worker: number, cpu: string): ChildProcess {
  const where = ["--config", file(config), "--node", "bench", "--pin-dir", dir, "--run-dir", dir];
  const args = [
    ...WORKER_NODE_FLAGS,
    join(ROOT, "dlba-server/main.ts"),
    ...where,
    "--worker",
    String(worker),
  ];
  return inside(process.execPath, args, cpu);
}

const here = (name: string): string => join(import.meta.dirname, name);
const onProxyCpu = (program: string, args: readonly string[]) => () => inside(program, args, PROXY_CPU);
const baselineArguments = [ADDRESS, "8004", "8104", `http://${BACKEND}`, file("cert.pem"), file("key.pem")];
export const PROXIES: readonly Proxy[] = [
  {
    name: "dlba",
    plainPort: 8001,
    tlsPort: 8101,
    start: () => startWorker("dlba.yaml", 0, PROXY_CPU),
    log: file("dlba.log"),
  },
  {
    name: "haproxy",
    plainPort: 8002,
    tlsPort: 8102,
    start: onProxyCpu("haproxy", ["-db", "-f", file("haproxy.cfg")]),
  },
  {
    name: "nginx",
    plainPort: 8003,
    tlsPort: 8103,
    start: onProxyCpu("nginx", ["-c", file("nginx.conf")]),
    log: file("nginx.log"),
  },
  {
    name: "http_proxy",
    plainPort: 8004,
    tlsPort: 8104,
    start: onProxyCpu(process.execPath, [here("http-proxy-baseline.ts"), ...baselineArguments]),
  },
];

/** The web server, and who takes HAProxy's log lines, on the load's processor. */
export function startSurroundings(): ChildProcess[] {
  return [
    inside("nginx", ["-c", file("backend.conf")], LOAD_CPU),
    inside(process.execPath, [here("log-sink.ts"), file("log.sock")], LOAD_CPU),
  ];
}

export const startClient = (name: string, args: readonly string[]): ChildProcess =>
  inside(process.execPath, [here(name), ...args], LOAD_CPU);
