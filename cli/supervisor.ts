/**
 * Keeps a node's processes running: starts them, starts those again that end (with growing pauses), has them succeeded by others,
 * and stops all of them in order. A child says "ready" over its IPC channel, and is told to serve then; it can't outlive its
 * supervisor (net/parent-watch.ts).
 */
import { type ChildProcess, spawn } from "node:child_process";
import { DlbaError } from "../conf/errors.ts";
import { MAX_RETIRING, STOP_GRACE_MS, SUCCESSOR_READY_MS, SUCCESSOR_TRIES } from "../conf/limits.ts";
import { isRecord } from "../conf/record.ts";
import type { Order } from "../net/parent-watch.ts";
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
  /** Descriptors that it inherits, as its own from FIRST_INHERITED on. */
  readonly inherited?: readonly number[];
  /** The name of the process that is told to do its work while it does not run. */
  readonly coveredBy?: string;
  /** When all are stopped, this one is before the others: it still needs them. */
  readonly stopsFirst?: boolean;
  /** How long it may take to end after SIGTERM before it is killed. */
  readonly stop_grace_ms: number;
}
/** Behind standard input, output, error and the IPC channel. */
export const FIRST_INHERITED = 4;

interface Child {
  spec: ChildSpec;
  /** What its process was started with. */
  startedWith: ChildSpec;
  process: ChildProcess | undefined;
  timer: NodeJS.Timeout | undefined;
  isReady: boolean;
  started_ms: number;
  /** Ends in a row. */
  ends: number;
  /** It has a successor, and is not started again. */
  isRetired: boolean;
  /** It was ready once. */
  readonly wasReady: PromiseWithResolvers<void>;
}

/** A process that is ready to take over from the one of its name. */
export interface Successor {
  /** It serves from now on; the one before it retires, and is killed after `retire_ms`. Its `ended` are as in `Order`. */
  readonly takeOver: (ended: readonly number[], retire_ms: number) => void;
  /** It is not needed after all. */
  readonly discard: () => void;
}

export interface Supervisor {
  /** Settles when every process has said that it is ready. */
  readonly ready: Promise<void>;
  /** Starts a successor and settles when it is ready. Rejects with DlbaError SUCCESSOR_FAILED; then none is left. */
  readonly prepare: (spec: ChildSpec) => Promise<Successor>;
  /** Adds a process unless there is one of its name; settles when it is ready. Or stops one for good in the way `takeOver` does. */
  readonly add: (spec: ChildSpec) => Promise<void>;
  readonly retire: (name: string, ended: readonly number[], retire_ms: number) => void;
  /** From now on the process of this name is started like that; the one that runs goes on. */
  readonly respecify: (spec: ChildSpec) => void;
  /** Stops the process of a name and starts it again. */
  readonly restart: (name: string) => void;
  /** Tells all processes whose names begin so something; those that are just not running don't hear it. */
  readonly tell: (prefix: string, order: Order) => void;
  /**
   * Tells all processes what the array key's file holds, and resolves with the names of those that have not taken it in this
   * time, or are just being started: they will have it by themselves.
   */
  readonly tellKey: (text: string, timeout_ms: number) => Promise<string[]>;
  /** Stops the processes of these names for good, all at once; settles when they have ended. */
  readonly end: (names: readonly string[]) => Promise<void>;
  /** Settles when all that were retired have ended, be it now. */
  readonly retiredEnded: () => Promise<void>;
  /** Stops all processes; settles when none is left. */
  readonly stop: () => Promise<void>;
}

interface Supervision {
  readonly log: Logger;
  readonly children: Map<string, Child>;
  /** Those that have been succeeded and have not ended yet, the oldest first. */
  readonly retired: Set<Child>;
  readonly allReady: () => void;
  /** Wait for the end of all that are retired. */
  readonly waiting: (() => void)[];
  isStopping: boolean;
}

/** Starts the processes and keeps them running until `stop` is called. */
export function supervise(specs: readonly ChildSpec[], log: Logger): Supervisor {
  const ready = Promise.withResolvers<void>();
  const children = new Map(specs.map((spec) => [spec.name, newChild(spec)]));
  const all: Supervision = {
    log,
    children,
    retired: new Set(),
    allReady: ready.resolve,
    waiting: [],
    isStopping: false,
  };
  for (const child of children.values()) start(all, child);
  return {
    ready: ready.promise,
    prepare: async (spec) => prepare(all, spec),
    add: async (spec) => {
      const child = children.get(spec.name) ?? newChild(spec);
      if (!children.has(spec.name)) {
        children.set(spec.name, child);
        start(all, child);
      }
      return child.wasReady.promise;
    },
    retire: (name, ended, retire_ms) => {
      const child = children.get(name);
      children.delete(name);
      if (child !== undefined) retire(all, child, ended, retire_ms);
    },
    respecify: (spec) => {
      const child = children.get(spec.name);
      if (child !== undefined) child.spec = spec;
    },
    restart: (name) => void restart(all, name),
    tell: (prefix, order) => {
      for (const { spec, process, isReady } of children.values()) {
        if (isReady && spec.name.startsWith(prefix)) say(process, order);
      }
    },
    tellKey: async (text, timeout_ms) => tellKey(all, text, timeout_ms),
    end: async (names) => {
      const ending = names.flatMap((name) => children.get(name) ?? []);
      for (const child of ending) {
        child.isRetired = true;
        children.delete(child.spec.name);
      }
      await Promise.all(ending.map((child) => stopOne(log, child)));
    },
    retiredEnded: async () => {
      if (all.retired.size > 0) await new Promise<void>((resolve) => all.waiting.push(resolve));
    },
    stop: async () => stopAll(all),
  };
}

const newChild = (spec: ChildSpec): Child => ({
  spec,
  startedWith: spec,
  process: undefined,
  timer: undefined,
  isReady: false,
  started_ms: 0,
  ends: 0,
  isRetired: false,
  wasReady: Promise.withResolvers(),
});

/** A process that ends just now doesn't hear it; its end is seen. */
function say(process: ChildProcess | undefined, order: Order): void {
  if (process?.connected === true) process.send(order, () => undefined);
}

let keyOrders = 0;

async function tellKey({ children }: Supervision, text: string, timeout_ms: number): Promise<string[]> {
  const number = ++keyOrders;
  const lagging = [...children.values()].map(async ({ spec, process, isReady }) => {
    const isTold = isReady && process !== undefined;
    const hasTaken = isTold && (await takes(process, { kind: "key", text, number }, timeout_ms));
    return hasTaken ? [] : [spec.name];
  });
  return (await Promise.all(lagging)).flat();
}

/** Whether a process says in time that it has carried out an order. */
async function takes(
  process: ChildProcess,
  order: Extract<Order, { kind: "key" }>,
  timeout_ms: number,
): Promise<boolean> {
  const { promise, resolve } = Promise.withResolvers<boolean>();
  const hear = (message: unknown): void => {
    if (isRecord(message) && message["taken"] === order.number) resolve(true);
  };
  const ended = (): void => resolve(false);
  const timer = setTimeout(() => resolve(false), timeout_ms);
  process.on("message", hear).once("exit", ended);
  say(process, order);
  const isTaken = await promise;
  clearTimeout(timer);
  process.off("message", hear).off("exit", ended);
  return isTaken;
}

function spawnChild(all: Supervision, { name, program, args, env, inherited = [] }: ChildSpec): ChildProcess {
  const started = spawn(program, args, {
    stdio: ["ignore", "inherit", "inherit", "ipc", ...inherited],
    env: { ...process.env, ...env },
  });
  all.log.info({ child: name, child_pid: started.pid }, "process started");
  return started;
}

function start(all: Supervision, child: Child): void {
  const { spec } = child;
  child.startedWith = spec;
  child.timer = undefined;
  child.isReady = false;
  child.started_ms = performance.now();
  const started = spawnChild(all, spec);
  child.process = started;
  started.on("message", (message) => message === "ready" && markReady(all, child));
  started.once("error", (error) => {
    all.log.error({ child: spec.name, error: error.message }, "process could not be started");
    if (started.pid === undefined) ended(all, child, null, null);
  });
  started.once("exit", (code, signal) => ended(all, child, code, signal));
}

function markReady(all: Supervision, child: Child): void {
  if (child.startedWith !== child.spec) {
    // It was on its way while something changed, and has not heard of it.
    child.process?.kill("SIGKILL");
    return;
  }
  child.isReady = true;
  child.wasReady.resolve();
  say(child.process, { kind: "serve" });
  tellCovers(all, child);
  if ([...all.children.values()].every(({ isReady }) => isReady)) all.allReady();
}

/** Who stands in for a process hears whether it runs; and so does that process, of those that it stands in for. */
function tellCovers(all: Supervision, child: Child): void {
  const { name, coveredBy } = child.spec;
  for (const one of all.children.values()) {
    if (one.spec.coveredBy === name) say(child.process, { kind: "cover", isOn: !one.isReady });
    if (one.spec.name === coveredBy && one.isReady) say(one.process, { kind: "cover", isOn: !child.isReady });
  }
}

function ended(all: Supervision, child: Child, code: number | null, signal: NodeJS.Signals | null): void {
  const ran_ms = Math.round(performance.now() - child.started_ms);
  const facts = { child: child.spec.name, child_pid: child.process?.pid, code, signal, ran_ms };
  child.process = undefined;
  child.isReady = false;
  if (all.isStopping || child.isRetired) {
    clearTimeout(child.timer);
    all.retired.delete(child);
    if (all.retired.size === 0) for (const settle of all.waiting.splice(0)) settle();
    all.log.info(facts, "process stopped");
    return;
  }
  child.ends = countEnds(child.ends, ran_ms);
  const next_try_ms = restartDelay(child.ends);
  all.log.error({ ...facts, ends: child.ends, next_try_ms }, "process ended, it is started again");
  tellCovers(all, child);
  child.timer = setTimeout(() => start(all, child), next_try_ms);
}

/** One that dies before it is ready is started again, up to a number of tries. */
async function prepare(all: Supervision, spec: ChildSpec): Promise<Successor> {
  for (let tries = 1; ; tries++) {
    const child = newChild(spec);
    child.started_ms = performance.now();
    const process = spawnChild(all, spec);
    child.process = process;
    const failure = await untilReady(process);
    if (failure === "" && !all.isStopping) return successorOf(all, child);
    process.kill("SIGKILL");
    all.log.error(
      { child: spec.name, child_pid: process.pid, reason: failure, tries },
      "successor did not start",
    );
    if (tries < SUCCESSOR_TRIES && !all.isStopping) continue;
    throw new DlbaError("SUCCESSOR_FAILED", `the new ${spec.name} does not start: ${failure}`, {
      hint: "the log of the node says why; nothing was changed",
    });
  }
}

/** Resolves with "" when the process has said that it is ready, else with what happened. */
async function untilReady(process: ChildProcess): Promise<string> {
  const { promise, resolve } = Promise.withResolvers<string>();
  const timer = setTimeout(() => resolve(`not ready within ${SUCCESSOR_READY_MS} ms`), SUCCESSOR_READY_MS);
  process.on("message", (message) => message === "ready" && resolve(""));
  process.once("error", (error) => resolve(error.message));
  process.once("exit", (code, signal) => resolve(`ended with ${signal ?? `code ${code}`}`));
  const failure = await promise;
  clearTimeout(timer);
  return failure;
}

function successorOf(all: Supervision, child: Child): Successor {
  const process = child.process!;
  let hasEnded = false;
  process.once("exit", (code, signal) => {
    hasEnded = true;
    // One that was discarded is nobody's business.
    if (child.isRetired || all.children.get(child.spec.name) === child) ended(all, child, code, signal);
  });
  return {
    takeOver: (places, retire_ms) => {
      const before = all.children.get(child.spec.name);
      all.children.set(child.spec.name, child);
      // It may have died since it was ready: the supervisor's business from now on.
      if (hasEnded || process.exitCode !== null) start(all, child);
      else markReady(all, child);
      if (before !== undefined) retire(all, before, places, retire_ms);
    },
    discard: () => process.kill("SIGKILL"),
  };
}

/** It ends what it has and is not started again; after `retire_ms` it is stopped. */
function retire(all: Supervision, child: Child, places: readonly number[], retire_ms: number): void {
  clearTimeout(child.timer);
  child.isRetired = true;
  if (child.process === undefined) return;
  all.retired.add(child);
  say(child.process, { kind: "retire", ended: places, retire_ms });
  child.timer = setTimeout(() => void stopOne(all.log, child), retire_ms + STOP_GRACE_MS);
  boundRetired(all, child.spec.name);
}

/** Whoever reloads again and again must not fill the machine with processes that have one connection left. */
function boundRetired(all: Supervision, name: string): void {
  const alike = [...all.retired].filter(({ spec }) => spec.name === name);
  const oldest = alike.length > MAX_RETIRING ? alike[0] : undefined;
  if (oldest === undefined) return;
  all.retired.delete(oldest);
  all.log.warn({ child: name, child_pid: oldest.process?.pid }, "too many reloads in a row: it ends early");
  void stopOne(all.log, oldest);
}

async function restart(all: Supervision, name: string): Promise<void> {
  const before = all.children.get(name);
  if (before === undefined) return;
  const child = newChild(before.spec);
  before.isRetired = true;
  all.retired.add(before);
  all.children.set(name, child);
  await stopOne(all.log, before);
  all.retired.delete(before);
  if (!all.isStopping && all.children.get(name) === child) start(all, child);
}

async function stopAll(all: Supervision): Promise<void> {
  all.isStopping = true;
  const children = [...all.children.values(), ...all.retired];
  const [first, others] = [true, false].map((isFirst) =>
    children.filter(({ spec }) => (spec.stopsFirst === true) === isFirst),
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
