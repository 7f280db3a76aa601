/**
 * Starts what runs on a lab's hosts (dlba on nodes, nginx and the application on web servers, the small service of who
 * holds a VIP), and waits for it.
 */
import { existsSync, mkdirSync, readFileSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { DlbaError } from "../conf/errors.ts";
import { tryCommand } from "../net/command.ts";
import { APP_PORT, nginxConf } from "./nginx-conf.ts";
import { processesIn, startDetached } from "./processes.ts";
import type { StandIn } from "./rehearsal/stand-ins.ts";
import type { LabHost, LabState, LabVserver } from "./state.ts";
import { inNamespace } from "./topology.ts";

const ROOT = join(import.meta.dirname, "..");
const READY_WITHIN_MS = 60_000;
const POLL_MS = 50;
const LOG_TAIL_LINES = 15;
/** By these parts of their command lines processes are known. */
const NODE = "cli/main.ts run";
const SERVICE = "lab/direct-host.ts";
const STAND_IN = "lab/rehearsal/stand-in.ts";
const NOTHING = (): string => "";

/** Starts what is not running of a host's programs and waits until they serve. */
export async function startHost(state: LabState, host: LabHost): Promise<void> {
  mkdirSync(host.run_dir, { recursive: true });
  const startedService = startService(host);
  if (host.kind === "node") await startNode(state, host);
  const standIn = state.stand_ins?.find(({ address }) => address === host.addresses[0]);
  if (standIn !== undefined) await startStandIn(state, host, standIn);
  else if (host.ports.length > 0) await startWebServer(state, host);
  await startedService?.();
}

function isRunning(host: LabHost, part: string): boolean {
  return processesIn(host.namespace).some(({ command }) => command.includes(part));
}

/**
 * Starts the host's small service, if it has one that is not running; returns how to wait for it. A node's has to be
 * started before the node is ready, which gets connections from then on, and gets its VIPs meanwhile.
 */
function startService(host: LabHost): (() => Promise<void>) | undefined {
  if (host.services.length === 0 || isRunning(host, SERVICE)) return undefined;
  const services = host.services.map(({ protocol, address, port }) => `${protocol}/${address}/${port}`);
  const argv = [process.execPath, join(ROOT, SERVICE), host.label, ...services];
  return startLogged(host, argv, host.service_log_file, "ready");
}

/** Starts a program; what comes back waits until the log has a mark that it writes when it serves. */
function startLogged(
  host: LabHost,
  argv: readonly string[],
  logFile: string,
  mark: string,
): () => Promise<void> {
  const logStart = existsSync(logFile) ? statSync(logFile).size : 0;
  const started = startDetached(host.namespace, argv, logFile);
  return async () =>
    until(
      `${host.name} to be ready`,
      () => readFileSync(logFile).subarray(logStart).includes(mark),
      () => (started.exitCode === null && started.signalCode === null ? "" : logTail(logFile)),
      () => logTail(logFile),
    );
}

async function startNode(state: LabState, host: LabHost): Promise<void> {
  if (isRunning(host, NODE)) return;
  const options = ["--config", state.config_file, "--node", host.label];
  const places = ["--pin-dir", host.pin_dir ?? "", "--run-dir", host.run_dir];
  const argv = [join(ROOT, "bin/dlba"), "run", ...options, ...places];
  await startLogged(host, argv, host.log_file, '"msg":"ready"')();
}

/** Ends a node's `dlba run` in order (SIGTERM) and waits until it is gone; returns whether it ran. */
export async function stopNode(host: LabHost): Promise<boolean> {
  const supervisor = processesIn(host.namespace).find(({ command }) => command.includes(NODE));
  if (supervisor === undefined) return false;
  process.kill(supervisor.pid, "SIGTERM");
  await until(
    `${host.name} to stop`,
    () => !isRunning(host, NODE),
    NOTHING,
    () => logTail(host.log_file),
  );
  return true;
}

async function startStandIn(state: LabState, host: LabHost, standIn: StandIn): Promise<void> {
  if (isRunning(host, STAND_IN)) return;
  const { certificate = null, key = null } = state.web_certificate ?? {};
  const plan = JSON.stringify({ ...standIn, certificate, key });
  await startLogged(host, [process.execPath, join(ROOT, STAND_IN), plan], host.log_file, "ready")();
}

async function startWebServer(state: LabState, host: LabHost): Promise<void> {
  const confFile = join(host.run_dir, "nginx.conf");
  mkdirSync(join(host.run_dir, "tmp"), { recursive: true });
  writeFileSync(confFile, nginxConf(host, host.run_dir, state.web_root));
  if (!isRunning(host, "nginx: master")) {
    const nginx = ["/usr/sbin/nginx", "-e", join(host.run_dir, "error.log"), "-c", confFile];
    startDetached(host.namespace, nginx, host.log_file);
  }
  if (!isRunning(host, "lab/web-app.ts")) {
    const app = [process.execPath, join(import.meta.dirname, "web-app.ts"), String(APP_PORT)];
    startDetached(host.namespace, app, host.log_file);
  }
  const [address = ""] = host.addresses;
  const at = address.includes(":") ? `[${address}]` : address;
  const url = `http://${at}:${host.ports[0]}/app/headers`;
  await until(
    `${host.name} to serve`,
    async () => (await httpStatus(host, url)) === "200",
    () => "",
    () => logTail(host.log_file),
  );
}

/**
 * Waits until every vserver but udp ones answers the client on each of its VIPs, whatever the answer: in a lab, what
 * serves tcp answers HTTP requests, too.
 */
export async function waitUntilServed(client: LabHost, vservers: readonly LabVserver[]): Promise<void> {
  const urls = vservers
    .filter(({ protocol }) => protocol !== "udp")
    .flatMap(({ protocol, vips, ports, proxied_vips }) =>
      vips.flatMap((vip) => {
        const scheme = protocol === "https" ? "https" : "http";
        const options = proxied_vips.includes(vip) ? ["--haproxy-protocol"] : [];
        return ports.map((port) => ({
          url: `${scheme}://${vip.includes(":") ? `[${vip}]` : vip}:${port}/`,
          options,
        }));
      }),
    );
  for (const { url, options } of urls) {
    await until(
      `${url} to be answered`,
      async () => (await httpStatus(client, url, options)) !== "000",
      NOTHING,
      NOTHING,
    );
  }
}

/** The status code of the answer as text; "000" when there is none. */
async function httpStatus(host: LabHost, url: string, options: readonly string[] = []): Promise<string> {
  const curl = ["curl", ...options, "-sk", "--noproxy", "*", "--globoff", "-m", "2", "-o", "/dev/null"];
  const [program = "", ...args] = inNamespace(host.namespace, [...curl, "-w", "%{http_code}", url]);
  return (await tryCommand(program, args)).stdout;
}

/** Polls until `isDone`; throws DlbaError LAB_FAILED when `hasFailed` tells why not, or it takes too long. */
async function until(
  what: string,
  isDone: () => boolean | Promise<boolean>,
  hasFailed: () => string,
  detail: () => string,
): Promise<void> {
  const deadline_ms = performance.now() + READY_WITHIN_MS;
  while (!(await isDone())) {
    const failure = hasFailed();
    if (failure !== "") throw new DlbaError("LAB_FAILED", `waited in vain for ${what}:\n${failure}`);
    if (performance.now() > deadline_ms) {
      throw new DlbaError(
        "LAB_FAILED",
        `waited ${READY_WITHIN_MS / 1000} s for ${what}\n${detail()}`.trimEnd(),
      );
    }
    await sleep(POLL_MS);
  }
}

function logTail(logFile: string): string {
  const lines = existsSync(logFile) ? readFileSync(logFile, "utf8").trimEnd().split("\n") : [];
  return lines.slice(-LOG_TAIL_LINES).join("\n") || `(nothing in ${logFile})`;
}
