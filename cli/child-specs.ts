/** How the processes of a node are started. */
import { join } from "node:path";
import { STOP_GRACE_MS } from "../conf/limits.ts";
import type { Config } from "../conf/schema.ts";
import { OTHER_LISTEN_FD } from "../conf/process-options.ts";
import { workersOf } from "../conf/workers.ts";
import { WORKER_NODE_FLAGS } from "../dlba-server/node-flags.ts";
import { socketsOf, type Listening } from "./listening.ts";
import { type ChildSpec, FIRST_INHERITED } from "./supervisor.ts";

const ROOT = join(import.meta.dirname, "..");
export const WORKER = "dlba-server";
export const workerName = (worker: number): string => `${WORKER} ${worker}`;

export interface NodeOptions {
  readonly configFile: string;
  readonly node: string;
  readonly pinDir: string;
  readonly runDir: string;
  readonly stateDir: string;
}

/** What processes are started with. */
export interface Given {
  readonly options: NodeOptions;
  readonly snapshotFd: number;
  readonly listening: Listening;
  readonly config: Config;
}

/** The processes of a node: status first, so that the others find its socket. */
export function childSpecs(given: Given): ChildSpec[] {
  return [
    ...["status", "scheduler", "failover"].map((folder) => daemonSpec(given, folder)),
    ...workerSpecs(given),
  ];
}

export function workerSpecs(given: Given): ChildSpec[] {
  const { config, listening, snapshotFd } = given;
  const workers = workersOf(config);
  return Array.from({ length: workers }, (_, worker) => {
    // Each has the sockets of the one before it, too, and takes what waits in them while that one does not run.
    const other = (worker + workers - 1) % workers;
    const others = workers === 1 ? [] : socketsOf(listening, config, other);
    const own = socketsOf(listening, config, worker);
    const firstFd = FIRST_INHERITED + 1;
    const spec = childSpec(given, WORKER, WORKER_NODE_FLAGS, [
      "--worker",
      String(worker),
      "--listen-fd",
      String(firstFd),
    ]);
    const covers = {
      env: { ...spec.env, [OTHER_LISTEN_FD]: String(firstFd + own.length) },
      coveredBy: workerName((worker + 1) % workers),
    };
    return {
      ...spec,
      ...(workers === 1 ? {} : covers),
      name: workerName(worker),
      inherited: [snapshotFd, ...own, ...others],
      stop_grace_ms: STOP_GRACE_MS + config.timeouts.drain_ms,
    };
  });
}

function daemonSpec(given: Given, folder: string): ChildSpec {
  // The failover process hands the scheduler's work over to another node, while this one's scheduler process can still help.
  return { ...childSpec(given, folder, [], []), stopsFirst: folder === "failover" };
}

function childSpec(
  { options, snapshotFd }: Given,
  folder: string,
  flags: readonly string[],
  more: readonly string[],
): ChildSpec {
  const { configFile, node, pinDir, runDir, stateDir } = options;
  const places = ["--pin-dir", pinDir, "--run-dir", runDir, "--state-dir", stateDir];
  const given = ["--config", configFile, "--node", node, "--snapshot-fd", String(FIRST_INHERITED)];
  return {
    name: folder,
    program: process.execPath,
    args: [...flags, join(ROOT, folder, "main.ts"), ...given, ...places, ...more],
    // Halves the time that a process takes to start again.
    env: { NODE_COMPILE_CACHE: join(runDir, "compile-cache") },
    inherited: [snapshotFd],
    stop_grace_ms: STOP_GRACE_MS,
  };
}
