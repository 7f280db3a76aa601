/**
 * A node that runs: its processes, the sockets that its workers listen on, and the configuration that all of them have. A
 * reload prepares everything that can fail before it changes anything: it reads and checks, makes sockets, and has a successor
 * of each worker ready; only then one after the other takes over.
 */
import { describeError, DlbaError } from "../conf/errors.ts";
import { KEY_TAKE_MS } from "../conf/limits.ts";
import { listenersOf } from "../conf/listeners.ts";
import { findNode } from "../conf/node.ts";
import type { Config } from "../conf/schema.ts";
import { vipsOf } from "../conf/vips.ts";
import { close } from "../net/sockets.ts";
import { prepareHost } from "../net/host.ts";
import type { Logger } from "../status/log.ts";
import { workersOf } from "../conf/workers.ts";
import { childSpecs, type Given, type NodeOptions, WORKER, workerName, workerSpecs } from "./child-specs.ts";
import { sameAtStart, withFiles, writeSnapshot, type Generation } from "./generation.ts";
import { prepareAfter } from "./host-after.ts";
import { closeListening, endedPlaces, openListening, placeKey, type Listening } from "./listening.ts";
import { concernsScheduler, restartNeeds } from "./restart-needs.ts";
import { supervise, type Successor, type Supervisor } from "./supervisor.ts";
import type { NodeInHands } from "./upgrade/predecessor.ts";
import type { Predecessor } from "./upgrade/successor.ts";

export interface RunningNode {
  readonly ready: Promise<void>;
  /** Takes another configuration, or the same with other files. Resolves with what was done, in sentences; rejects with why nothing was. */
  readonly take: (read: () => Generation) => Promise<string[]>;
  /** Why a configuration could not be taken, as far as that shows without trying. Throws SysError when ports are not free. */
  readonly needs: (after: Generation) => string[];
  /** The same configuration, with what its files hold now. */
  readonly reloadFiles: () => Promise<string[]>;
  /**
   * `change` is given the path of the array key's file and what all processes have of it, writes down what comes instead, and
   * returns that. Then all processes get it; nothing ends. Rejects with what `change` throws.
   */
  readonly takeKey: (change: (path: string, before: string) => string) => Promise<TakenKey>;
  readonly generation: () => Generation;
  /** Has another process lead the node, as `act` does it; no reload comes between. */
  readonly handOver: <T>(act: (node: NodeInHands) => Promise<T>) => Promise<T>;
  /** After that: settles when what its workers had has ended. */
  readonly leave: () => Promise<void>;
  readonly stop: () => Promise<void>;
}

export interface TakenKey {
  readonly text: string;
  /** Processes that have not taken it in time. */
  readonly lagging: readonly string[];
}

interface State {
  readonly options: NodeOptions;
  readonly log: Logger;
  readonly hostRecord: string;
  supervisor: Supervisor;
  generation: Generation;
  /** What the workers that run have read when they started: certificates that they have taken since are not in it. */
  started: Generation;
  snapshotFd: number;
  listening: Listening;
  /** Reloads come one after the other. */
  last: Promise<unknown>;
}

/** Starts the processes of a node. Throws SysError when a port can't be listened on. */
export function startNode(
  options: NodeOptions,
  generation: Generation,
  hostRecord: string,
  log: Logger,
): RunningNode {
  const state = newState({ options, generation, hostRecord, log }, new Map());
  state.supervisor = supervise(childSpecs(givenOf(state)), log);
  return runningNode(state, state.supervisor.ready);
}

/**
 * Starts them in another process' place: workers first, on that one's sockets; the others when it has let go of the rest. Rejects with
 * SysError, or DlbaError SUCCESSOR_FAILED or UPGRADE_FAILED: then this process is not to go on.
 */
export async function succeedNode(
  options: NodeOptions,
  generation: Generation,
  hostRecord: string,
  log: Logger,
  predecessor: Predecessor,
): Promise<RunningNode> {
  const state = newState({ options, generation, hostRecord, log }, predecessor.listening);
  const { supervisor, listening } = state;
  const given = givenOf(state);
  const workers: Successor[] = [];
  try {
    for (const spec of workerSpecs(given)) workers.push(await supervisor.prepare(spec));
    await predecessor.prepared([...listening.keys()], workers.length);
    for (const worker of workers) worker.takeOver([], 0);
    closeListening(predecessor.listening, listening);
    await predecessor.serving();
  } catch (error) {
    for (const worker of workers) worker.discard();
    await supervisor.stop();
    throw error;
  }
  const others = childSpecs(given).filter(({ name }) => !name.startsWith(WORKER));
  return runningNode(state, Promise.all(others.map(supervisor.add)));
}

type Parts = Pick<State, "options" | "generation" | "hostRecord" | "log">;

/** Its sockets, those of before among them, and no process yet. */
function newState(parts: Parts, before: Listening): State {
  const { config } = parts.generation;
  const listening = openListening(config, workersOf(config), before);
  const snapshotFd = writeSnapshot(parts.generation);
  const supervisor = supervise([], parts.log);
  const started = parts.generation;
  return { ...parts, started, supervisor, snapshotFd, listening, last: Promise.resolve() };
}

const givenOf = ({ options, snapshotFd, listening, generation: { config } }: State): Given => ({
  options,
  snapshotFd,
  listening,
  config,
});

function runningNode(state: State, ready: Promise<unknown>): RunningNode {
  const { log, generation } = state;
  const { config } = generation;
  tellWarnings(state, generation);
  log.info({ vservers: config.vservers.length, workers: workersOf(config) }, "starting");
  return {
    ready: ready.then(() => undefined),
    take: async (read) => inTurn(state, () => take(state, read)),
    needs: (after) => {
      const workers = Math.min(workersOf(after.config), workersOf(state.generation.config));
      closeListening(openListening(after.config, workers, state.listening), state.listening);
      return needsOf(state.generation, after);
    },
    reloadFiles: async () => inTurn(state, () => reloadFiles(state)),
    takeKey: async (change) => inTurn(state, () => takeKey(state, change)),
    generation: () => state.generation,
    handOver: async (act) => inTurn(state, async () => act(inHands(state))),
    leave: async () => {
      closeListening(state.listening, new Map());
      await state.supervisor.retiredEnded();
    },
    stop: async () => {
      // What still waits in the queues is the workers' to take; nobody is to join it.
      closeListening(state.listening, new Map());
      state.listening = new Map();
      await state.supervisor.stop();
    },
  };
}

/** What another process that is to lead this node gets of it, and what becomes of the rest. */
function inHands(state: State): NodeInHands {
  const { supervisor } = state;
  const { config } = state.generation;
  const places = listenersOf(config);
  return {
    listening: state.listening,
    retireWorkers: (kept, workers) => {
      const all = places.map((_, place) => place);
      const ended = all.filter((place) => !kept.has(placeKey(places[place]!)));
      for (let worker = 0; worker < workersOf(config); worker++) {
        supervisor.retire(workerName(worker), worker < workers ? ended : all, config.timeouts.retire_ms);
      }
    },
    endDaemons: async () => {
      // As when a node stops: the failover process hands the scheduler's work over while the scheduler process is there.
      await supervisor.end(["failover"]);
      await supervisor.end(["scheduler", "status"]);
    },
    resume: () => {
      for (const spec of childSpecs(givenOf(state))) void supervisor.add(spec);
    },
  };
}

async function inTurn<T>(state: State, act: () => Promise<T>): Promise<T> {
  const done = state.last.then(act);
  state.last = done.catch(() => undefined);
  return done;
}

function needsOf(before: Generation, after: Generation): string[] {
  const needs = restartNeeds(before.config, after.config);
  const isSameKey = before.files[before.config.array.key_file] === after.files[after.config.array.key_file];
  return isSameKey ? needs : [...needs, "the array key"];
}

async function take(state: State, read: () => Generation): Promise<string[]> {
  const { generation: before } = state;
  const after = read();
  const needs = needsOf(before, after);
  if (needs.length > 0) {
    const hint = "stop 'dlba run' and start it again, one node after the other";
    throw new DlbaError("RESTART_NEEDED", `a running node can't change ${needs.join(", ")}`, { hint });
  }
  if (JSON.stringify(before.config) === JSON.stringify(after.config) && sameAtStart(state.started, after)) {
    return takeFiles(state, after);
  }
  return replaceAll(state, after);
}

async function reloadFiles(state: State): Promise<string[]> {
  const { generation } = state;
  const after = withFiles(generation.file, generation.text, generation.config);
  if (after.warnings.length > 0) throw new DlbaError("CERTIFICATE_DATES", after.warnings.join("\n"));
  // Other files than certificates are the business of a reload by command.
  return takeFiles(state, { ...after, files: { ...generation.files, ...onlyCertificates(after) } });
}

function onlyCertificates({ config, files }: Generation): Record<string, string> {
  const pairs = config.vservers.flatMap(({ certificates }) => certificates);
  const paths = pairs.flatMap(({ certificate, key }) => [certificate, key]);
  return Object.fromEntries(paths.map((path) => [path, files[path]!]));
}

/** The workers that there are take new certificates; nothing ends. */
function takeFiles(state: State, after: Generation): string[] {
  const { generation: before, supervisor, log } = state;
  const changed = Object.keys(after.files).filter((path) => after.files[path] !== before.files[path]);
  tellWarnings(state, after);
  if (changed.length === 0) {
    state.generation = after;
    return ["nothing has changed", ...after.warnings];
  }
  adopt(state, after, state.listening, writeSnapshot(after));
  supervisor.tell(WORKER, { kind: "files", files: onlyCertificates(after) });
  log.info({ files: changed }, "certificates are taken");
  return [`new certificates are in use: ${changed.join(", ")}`, ...after.warnings];
}

async function takeKey(state: State, change: (path: string, before: string) => string): Promise<TakenKey> {
  const { generation, supervisor } = state;
  const path = generation.config.array.key_file;
  const before = Buffer.from(generation.files[path] ?? "", "base64").toString("latin1");
  const text = change(path, before);
  if (text !== before) {
    const content = Buffer.from(text, "latin1").toString("base64");
    const after = { ...generation, files: { ...generation.files, [path]: content } };
    adopt(state, after, state.listening, writeSnapshot(after));
  }
  return { text, lagging: await supervisor.tellKey(text, KEY_TAKE_MS) };
}

/** All that can fail, then all that can't. */
async function replaceAll(state: State, after: Generation): Promise<string[]> {
  const { options, generation: before, supervisor, log, hostRecord, listening: open } = state;
  const [old, config] = [before.config, after.config];
  const node = findNode(config, options.node);
  const interfaces = [node, ...node.interfaces].map(({ interface: name }) => name);
  const workers = workersOf(config);
  // A vserver that is gone, and one that has less workers, keep their sockets until those that listen have a successor.
  const listening = openListening(config, workers, open);
  let snapshotFd = -1;
  const successors: Successor[] = [];
  try {
    snapshotFd = writeSnapshot(after);
    await prepareHost(interfaces, [...new Set([...vipsOf(old), ...vipsOf(config)])], hostRecord);
    for (const spec of workerSpecs({ options, snapshotFd, listening, config })) {
      successors.push(await supervisor.prepare(spec));
    }
  } catch (error) {
    for (const successor of successors) successor.discard();
    closeListening(listening, open);
    if (snapshotFd >= 0) close(snapshotFd);
    await prepareHost(interfaces, vipsOf(old), hostRecord).catch((problem: unknown) =>
      log.error({ reason: describeError(problem) }, "VIPs on lo could not be put back"),
    );
    throw error;
  }
  const retire_ms = config.timeouts.retire_ms;
  adopt(state, after, listening, snapshotFd);
  state.started = after;
  const ended = endedPlaces(old, config);
  for (const successor of successors) successor.takeOver(ended, retire_ms);
  const all = listenersOf(old).map((_, place) => place);
  for (let worker = workers; worker < workersOf(old); worker++) {
    supervisor.retire(workerName(worker), all, retire_ms);
  }
  closeListening(open, listening);
  tellDaemons(state, old);
  const vips = vipsOf(config);
  const former = vipsOf(old).filter((vip) => !vips.includes(vip));
  const complaints = await prepareAfter(async () => prepareHost(interfaces, vips, hostRecord), former, log);
  tellWarnings(state, after);
  log.info({ workers, vservers: config.vservers.length }, "reloaded");
  return [...summary(old, config, workers), ...complaints, ...after.warnings];
}

/** From now on this is what processes are started with. */
function adopt(state: State, after: Generation, listening: Listening, snapshotFd: number): void {
  close(state.snapshotFd);
  state.snapshotFd = snapshotFd;
  state.generation = after;
  state.listening = listening;
  const { options, supervisor } = state;
  for (const spec of childSpecs({ options, snapshotFd, listening, config: after.config })) {
    supervisor.respecify(spec);
  }
}

/** Status and failover processes take what concerns them; a scheduler process is started again, which packets don't notice. */
function tellDaemons({ supervisor, generation: { config } }: State, before: Config): void {
  supervisor.tell("status", { kind: "configure", config });
  supervisor.tell("failover", { kind: "configure", config });
  if (concernsScheduler(before, config)) supervisor.restart("scheduler");
}

function tellWarnings({ log }: State, { warnings }: Generation): void {
  for (const reason of warnings) log.warn({ reason }, "a certificate is out of date");
}

function summary(before: Config, after: Config, workers: number): string[] {
  const [old, now] = [new Set(namesOf(before)), new Set(namesOf(after))];
  const parts = [
    `reloaded: ${workers} ${workers === 1 ? "worker has" : "workers have"} a successor`,
    ...namesOf(after).flatMap((name) => (old.has(name) ? [] : [`vserver ${name} is new`])),
    ...namesOf(before).flatMap((name) => (now.has(name) ? [] : [`vserver ${name} is gone`])),
  ];
  if (concernsScheduler(before, after)) parts.push("the scheduler process is started again");
  return parts;
}

const namesOf = ({ vservers }: Config): string[] => vservers.map(({ name }) => name);
