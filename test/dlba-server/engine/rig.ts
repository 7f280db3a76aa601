/** A worker inside the test's own process, on loopback, with web servers that the test writes. */
import { execFileSync } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, readdirSync, rmSync } from "node:fs";
import { createServer as createHttpServer, type RequestListener } from "node:http";
import { connect, createServer, type Server, type Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { arrayKeyOf } from "../../../conf/keys.ts";
import { configSchema } from "../../../conf/schema.ts";
import { createServices, knownIp, type Services } from "../../../dlba-server/vservers.ts";
import {
  closeWorker,
  addListener,
  createWorker,
  drainWorker,
  runWorker,
} from "../../../dlba-server/engine/worker.ts";
import { openRateTable } from "../../../dlba-server/engine/rate-limits.ts";
import { createSpans } from "../../../dlba-server/engine/spans.ts";
import type { Worker } from "../../../dlba-server/engine/runtime.ts";
import { listenTcp } from "../../../net/sockets.ts";
import { createLogger } from "../../../status/log.ts";

export interface Rig {
  readonly worker: Worker;
  readonly services: Services;
  readonly httpPort: number;
  readonly httpsPort: number;
  readonly lanePorts: readonly number[];
  readonly ca: string;
  /** Asks the worker to drain; resolves when no client connection is left. */
  readonly drain: () => Promise<void>;
  readonly stop: () => Promise<void>;
}

/** A port nobody listens on at this moment. */
export const freePort = async (): Promise<number> => (await freePorts(1))[0]!;

/** So many, all different: one that is free again would be found a second time now and then. */
async function freePorts(count: number): Promise<number[]> {
  const servers = Array.from({ length: count }, () => createServer().listen(0, "127.0.0.1"));
  await Promise.all(servers.map(async (server) => once(server, "listening")));
  const ports = servers.map((server) => (server.address() as { port: number }).port);
  for (const server of servers) server.close();
  await Promise.all(servers.map(async (server) => once(server, "close")));
  return ports;
}

export async function webServer(listener: RequestListener): Promise<{ server: Server; port: number }> {
  const server = createHttpServer(listener).listen(0, "127.0.0.1");
  await once(server, "listening");
  return { server, port: (server.address() as { port: number }).port };
}

/** A web server below HTTP: what it says is up to the test. */
export async function rawServer(
  onConnection: (socket: Socket) => void,
): Promise<{ server: Server; port: number }> {
  const server = createServer((socket) => {
    socket.on("error", () => {});
    onConnection(socket);
  }).listen(0, "127.0.0.1");
  await once(server, "listening");
  return { server, port: (server.address() as { port: number }).port };
}

export interface RigOptions {
  readonly serverPorts: readonly number[];
  readonly scheduling?: "cookie" | "url-hash";
  readonly timeouts?: Readonly<Record<string, number>>;
  readonly limits?: Readonly<Record<string, number>>;
  readonly vserver?: Readonly<Record<string, unknown>>;
  readonly pool?: Readonly<Record<string, unknown>>;
  /** Pools beside "app". */
  readonly morePools?: readonly Readonly<Record<string, unknown>>[];
  /** Of each web server, by its place in `serverPorts`. */
  readonly servers?: readonly Readonly<Record<string, unknown>>[];
  readonly accessLog?: { readonly file: string; readonly format: "combined" | "json" };
  /** One trace of so many is kept. */
  readonly tracesOneIn?: number;
  /** Ports of further web servers, each alone in a pool behind a plain vserver of its own. */
  readonly lanes?: readonly number[];
}

/** The array key of a rig. */
export const RIG_KEY = arrayKeyOf(Buffer.alloc(32, 7));

export async function startRig(options: RigOptions): Promise<Rig> {
  const dir = mkdtempSync(join(tmpdir(), "dlba-rig-"));
  const certificate = { certificate: join(dir, "cert.pem"), key: join(dir, "key.pem") };
  const subject = ["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost", "-days", "2"];
  const curve = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"];
  const files = ["-keyout", certificate.key, "-out", certificate.certificate];
  execFileSync("openssl", ["req", "-x509", ...curve, ...subject, ...files], { stdio: "ignore" });
  const lanes = options.lanes ?? [];
  const [httpPort = 0, httpsPort = 0, ...lanePorts] = await freePorts(2 + lanes.length);
  const shared = { vips: ["127.0.0.1"], pool: "app", ...options.vserver };
  const config = configSchema.parse({
    array: { name: "rig", key_file: "unused" },
    nodes: [{ number: 1, name: "rig", address: "127.0.0.1", interface: "lo" }],
    vservers: [
      { name: "plain", ports: [httpPort], protocol: "http", ...shared },
      { name: "tls", ports: [httpsPort], protocol: "https", certificates: [certificate], ...shared },
      ...lanePorts.map((port, i) => ({
        name: `lane${i}`,
        ports: [port],
        protocol: "http",
        ...shared,
        pool: `lane${i}`,
      })),
    ],
    pools: [
      {
        name: "app",
        scheduling: options.scheduling ?? "cookie",
        ...options.pool,
        servers: options.serverPorts.map((port, i) => ({
          id: `web${i + 1}`,
          address: "127.0.0.1",
          port,
          ...options.servers?.[i],
        })),
      },
      ...(options.morePools ?? []),
      ...lanes.map((port, i) => ({ name: `lane${i}`, servers: [{ id: "web", address: "127.0.0.1", port }] })),
    ],
    timeouts: options.timeouts ?? {},
    limits: options.limits ?? {},
    access_log: options.accessLog,
    ...(options.tracesOneIn === undefined
      ? {}
      : { status: { traces: { endpoint: "http://127.0.0.1:4318/v1/traces", one_in: options.tracesOneIn } } }),
  });
  const services = createServices(config, config.nodes[0]!, RIG_KEY);
  const worker = createWorker(
    config,
    services.pools,
    createLogger({ process: "dlba-server" }, "silent"),
    "rig",
  );
  const runtimes = services.vservers.map(({ runtime }) => runtime);
  if (config.status.traces !== undefined) worker.spans = createSpans(config.status.traces.one_in);
  worker.rateTable = openRateTable(runtimes, arrayKeyOf(Buffer.alloc(32, 7)), undefined);
  for (const { config: vserver, runtime } of services.vservers) {
    const port = vserver.ports[0]!;
    addListener(worker, {
      fd: listenTcp(knownIp("127.0.0.1"), port, 100),
      vserver: runtime,
      address: "127.0.0.1",
      port,
    });
  }
  let isStopped = false;
  runWorker(worker, () => isStopped);
  const drain = async (): Promise<void> => {
    drainWorker(worker);
    await until(() => worker.clients.size === 0, "clients are still there");
  };
  const stop = async (): Promise<void> => {
    if (!worker.isDraining) drainWorker(worker);
    isStopped = true;
    await sleep(60);
    await closeWorker(worker);
    rmSync(dir, { recursive: true });
  };
  return { worker, services, httpPort, httpsPort, lanePorts, ca: certificate.certificate, drain, stop };
}

/** Waits for a condition, ten seconds at most. */
export async function until(isTrue: () => boolean, otherwise: string): Promise<void> {
  for (let i = 0; i < 1000; i++) {
    if (isTrue()) return;
    await sleep(10);
  }
  throw new Error(otherwise);
}

/** Sends bytes on a plain connection and returns all that comes until the other side closes. */
export async function exchange(port: number, request: string | Buffer): Promise<string> {
  const socket = connect(port, "127.0.0.1");
  socket.write(request);
  return await readAll(socket);
}

export async function readAll(socket: Socket): Promise<string> {
  let text = "";
  let failure = "";
  socket.on("data", (data) => (text += data.toString("latin1")));
  socket.on("error", (error) => (failure = error.message));
  // `once` would reject at the error, which is part of the answer here.
  await new Promise((resolve) => socket.on("close", resolve));
  return failure === "" ? text : `${text}<${failure}>`;
}

export const openDescriptors = (): number => readdirSync("/proc/self/fd").length;
