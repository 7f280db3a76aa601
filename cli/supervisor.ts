/**
 * Keeps a node's processes running: starts them, starts those again that end (with growing pauses), and stops
 * all of them in order. A child says "ready" over its IPC channel; it can't outlive its supervisor
 * (net/parent-watch.ts).
 */
import { type ChildProcess, spawn } from "node:child_process";
import type { Logger } from "../status/log.ts";
import { countEnds, restartDelay } from "./backoff.ts";

/** A process to keep running. */
export interface ChildSpec {
  /** Its name in logs, e.g. "dlba-server 0". */
  readonly name: string;
  readonly program: string;
  readonly args: readonly string[];
  /** Variables of its environment beside the supervisor's own. */
  readonly env?: Readonly<Record<string, string>>;
  /** When all are stopped, this one is before the others: it still needs them. */
  readonly stopsFirst?: boolean;
  /** How long it may take to end after SIGTERM before it is killed. */
  readonly stop_grace_ms: number;
}

interface Child {
  readonly spec: ChildSpec;
  process: ChildProcess | undefined;
  timer: NodeJS.Timeout | undefined;
  isReady: boolean;
  started_ms: number;
  /** Ends in a row. */
  ends: number;
}

export interface Supervisor {
  /** Settles when every process has said that it is ready. */
  readonly ready: Promise<void>;
  /** Stops all processes; settles when none is left. */
  readonly stop: () => Promise<void>;
}

interface Supervision {
  readonly log: Logger;
  readonly children: readonly Child[];
  readonly allReady: () => void;
  isStopping: boolean;
}

/** Starts the processes and keeps them running until `stop` is called. */
export function supervise(specs: readonly ChildSpec[], log: Logger): Supervisor {
  const ready = Promise.withResolvers<void>();
  const children = specs.map((spec): Child => ({
    spec,
    process: undefined,
    timer: undefined,
    isReady: false,
    started_ms: 0,
    ends: 0,
  }));
  const all: Supervision = { log, children, allReady: ready.resolve, isStopping: false };
  for (const child of children) start(all, child);
  return { ready: ready.promise, stop: () => stopAll(all) };
}

function start(all: Supervision, child: Child): void {
  const { spec } = child;
  child.timer = undefined;
  child.isReady = false;
  child.started_ms = performance.now();
  const started = spawn(spec.program, spec.args, {
    stdio: ["ignore", "inherit", "inherit", "ipc"],
    env: { ...process.env, ...spec.env },
  });
  child.process = started;
  all.log.info({ child: spec.name, child_pid: started.pid }, "process started");
  started.on("message", (message) => message === "ready" && markReady(all, child));
  started.once("error", (error) => {
    all.log.error({ child: spec.name, error: error.message }, "process could not be started");
    if (started.pid === undefined) ended(all, child, null, null);
  });
  started.once("exit", (code, signal) => ended(all, child, code, signal));
}

function markReady(all: Supervision, child: Child): void {
  child.isReady = true;
  if (all.children.every(({ isReady }) => isReady)) all.allReady();
}

function ended(all: Supervision, child: Child, code: number | null, signal: NodeJS.Signals | null): void {
  const ran_ms = Math.round(performance.now() - child.started_ms);
  const facts = { child: child.spec.name, child_pid: child.process?.pid, code, signal, ran_ms };
  child.process = undefined;
  if (all.isStopping) {
    all.log.info(facts, "process stopped");
    return;
  }
  child.ends = countEnds(child.ends, ran_ms);
  const next_try_ms = restartDelay(child.ends);
  all.log.error({ ...facts, ends: child.ends, next_try_ms }, "process ended, it is started again");
  child.timer = setTimeout(() => start(all, child), next_try_ms);
}

async function stopAll(all: Supervision): Promise<void> {
  all.isStopping = true;
  const [first, others] = [true, false].map((isFirst) =>
    all.children.filter(({ spec }) => (spec.stopsFirst === true) === isFirst),
  );
  for (const children of [first!, others!]) {
    await Promise.all(children.map((child) => stopOne(all.log, child)));
  }
}

async function stopOne(log: Logger, child: Child): Promise<void> {
  clearTimeout(child.timer);
  const running = child.process;
  if (running === undefined) return;
  const { promise: end, resolve } = Promise.withResolvers<void>();
  running.once("exit", () => resolve());
  running.kill("SIGTERM");
  const killer = setTimeout(() => {
    log.warn(
      { child: child.spec.name, child_pid: running.pid },
      "process did not stop in time, it is killed",
    );
    running.kill("SIGKILL");
  }, child.spec.stop_grace_ms);
  await end;
  clearTimeout(killer);
}
