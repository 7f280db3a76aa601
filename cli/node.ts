/** One node of the array on this machine: checked, prepared, supervised; and taken away again. */
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { availableParallelism } from "node:os";
import { join } from "node:path";
import { DlbaError } from "../conf/errors.ts";
import { STOP_GRACE_MS } from "../conf/limits.ts";
import { loadConfig } from "../conf/load.ts";
import { findNode } from "../conf/node.ts";
import type { Config } from "../conf/schema.ts";
import { vipsOf } from "../conf/vips.ts";
import { prepareHost, restoreHost } from "../net/host.ts";
import { isRunning, processIdentity, type ProcessIdentity } from "../net/process-identity.ts";
import { WORKER_NODE_FLAGS } from "../dlba-server/node-flags.ts";
import { checkRuntime } from "../net/runtime.ts";
import { detachDataPlane } from "../scheduler/plane/data-plane.ts";
import { createLogger } from "../status/log.ts";
import { DEFAULT_RUN_DIR, DEFAULT_STATE_DIR } from "./places.ts";
import { hostFacts, startProblems } from "./start-checks.ts";
import { type ChildSpec, supervise } from "./supervisor.ts";

const ROOT = join(import.meta.dirname, "..");

export interface NodePlaces {
  readonly pinDir: string;
  readonly runDir: string;
}
export interface RunOptions extends NodePlaces {
  /** Directory on a disk; the run directory when it is not given and that is not the default one. */
  readonly stateDir?: string;
  readonly config: string;
  readonly node: string;
}

/** Runs a node until SIGTERM or SIGINT. Throws DlbaError when the machine is not fit for it. */
export async function runNode(options: RunOptions): Promise<void> {
  checkRuntime();
  const config = loadConfig(options.config);
  const node = findNode(config, options.node);
  const problems = startProblems(node, options.pinDir, hostFacts(config, node, options.pinDir));
  if (problems.length > 0) throw severalProblems(problems);
  const stateDir = stateDirOf(options);
  for (const dir of [options.runDir, stateDir]) mkdirSync(dir, { recursive: true, mode: 0o755 });
  claimRunDir(options.runDir);
  const interfaces = [node, ...node.interfaces].map(({ interface: name }) => name);
  await prepareHost(interfaces, vipsOf(config), hostRecord(options.runDir));
  const log = createLogger({ node: node.name, process: "supervisor" });
  const supervisor = supervise(childSpecs(config, { ...options, stateDir, node: node.name }), log);
  void supervisor.ready.then(() => log.info("ready"));
  log.info({ signal: await stopSignal() }, "stopping");
  await supervisor.stop();
  log.info("stopped; the data plane stays attached (dlba detach removes it)");
}

/** One error that tells all of them, one a line. */
function severalProblems(problems: readonly DlbaError[]): DlbaError {
  const lines = problems.map(({ message, hint }) => (hint === undefined ? message : `${message} (${hint})`));
  return new DlbaError("NOT_FIT_TO_RUN", lines.join("\n"));
}

/** Several nodes on one machine, as in a lab, each have a run directory of their own. */
function stateDirOf({ stateDir, runDir }: RunOptions): string {
  return stateDir ?? (runDir === DEFAULT_RUN_DIR ? DEFAULT_STATE_DIR : runDir);
}

const hostRecord = (runDir: string): string => join(runDir, "host.json");
const supervisorRecord = (runDir: string): string => join(runDir, "supervisor.json");

/** Two supervisors of one node would fight over its sockets and maps. */
function claimRunDir(runDir: string): void {
  const other = runningSupervisor(runDir);
  if (other !== undefined) {
    const hint = "stop it first, or name another --run-dir and --pin-dir";
    throw new DlbaError("ALREADY_RUNNING", `process ${other.pid} already runs in ${runDir}`, { hint });
  }
  writeFileSync(supervisorRecord(runDir), `${JSON.stringify(processIdentity(process.pid))}\n`);
}

function runningSupervisor(runDir: string): ProcessIdentity | undefined {
  try {
    const other: ProcessIdentity = JSON.parse(readFileSync(supervisorRecord(runDir), "utf8"));
    return isRunning(other) ? other : undefined;
  } catch {
    return undefined; // None was started here, or it died while it wrote the file.
  }
}

/** The processes of a node: status first, so that the others find its socket. */
function childSpecs(config: Config, options: Required<RunOptions>): ChildSpec[] {
  const workers = config.limits.workers === 0 ? availableParallelism() : config.limits.workers;
  const drain_ms = config.timeouts.drain_ms;
  return [
    childSpec("status", options),
    childSpec("scheduler", options),
    childSpec("failover", options),
    ...Array.from({ length: workers }, (_, worker) => childSpec("dlba-server", options, worker, drain_ms)),
  ];
}

function childSpec(folder: string, options: Required<RunOptions>, worker?: number, drain_ms = 0): ChildSpec {
  const { config, node, pinDir, runDir, stateDir } = options;
  const flags = folder === "dlba-server" ? WORKER_NODE_FLAGS : [];
  const args = [...flags, join(ROOT, folder, "main.ts"), "--config", config, "--node", node];
  args.push("--pin-dir", pinDir, "--run-dir", runDir, "--state-dir", stateDir);
  if (worker !== undefined) args.push("--worker", String(worker));
  return {
    name: worker === undefined ? folder : `${folder} ${worker}`,
    program: process.execPath,
    args,
    // Halves the time that a process takes to start again.
    env: { NODE_COMPILE_CACHE: join(runDir, "compile-cache") },
    // It hands the scheduler's work over to another node, while this one's scheduler process can still help.
    stopsFirst: folder === "failover",
    stop_grace_ms: STOP_GRACE_MS + drain_ms,
  };
}

async function stopSignal(): Promise<NodeJS.Signals> {
  return new Promise((resolve) => {
    for (const signal of ["SIGTERM", "SIGINT"] as const) process.on(signal, resolve);
  });
}

/** Removes a stopped node's pinned data plane, and its VIPs from `lo`. */
export async function detachNode({ pinDir, runDir }: NodePlaces): Promise<void> {
  const running = runningSupervisor(runDir);
  if (running !== undefined) {
    throw new DlbaError("ALREADY_RUNNING", `process ${running.pid} still runs in ${runDir}`, {
      hint: "stop it first",
    });
  }
  detachDataPlane(pinDir);
  const vips = await restoreHost(hostRecord(runDir));
  console.log(`data plane removed from ${pinDir}; VIPs removed from lo: ${vips.join(", ") || "none"}`);
}
