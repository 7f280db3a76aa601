/**
 * The side of a node that is to be led by another process, mostly of another version: it starts that one with its own listening
 * sockets, retires its workers when the other one's accept, and lets go of the rest. Until the very end it can go on itself.
 */
import { type ChildProcess, spawn } from "node:child_process";
import { join } from "node:path";
import { describeError, DlbaError } from "../../conf/errors.ts";
import { UPGRADE_STEP_MS } from "../../conf/limits.ts";
import type { Logger } from "../../status/log.ts";
import type { NodeOptions } from "../child-specs.ts";
import type { ServiceManager } from "../service-notices.ts";
import { FIRST_INHERITED } from "../supervisor.ts";
import { exchange, type Exchange } from "./exchange.ts";
import {
  type FromPredecessor,
  type FromSuccessor,
  offerOf,
  readFromSuccessor,
  SUCCEEDS,
} from "./messages.ts";

/** Where the program is; after an upgrade another version's. */
const DLBA = join(import.meta.dirname, "../../bin/dlba");

/** What of a running node has to be handed on. */
export interface NodeInHands {
  readonly listening: ReadonlyMap<string, readonly number[]>;
  /** Workers end what they have. The sockets of these places, of so many workers, are their successors', too. */
  readonly retireWorkers: (places: ReadonlySet<string>, workers: number) => void;
  /** The processes beside the workers end, in order. */
  readonly endDaemons: () => Promise<void>;
  /** Whatever has ended of the node's processes is started again. */
  readonly resume: () => void;
}

export interface HandOver {
  readonly node: NodeInHands;
  readonly options: NodeOptions;
  readonly service: ServiceManager;
  /** Lets go of what only one process can have, such as the supervisor's socket; and takes it back. */
  readonly release: () => Promise<void>;
  readonly regain: () => Promise<void>;
  readonly log: Logger;
}

/** The process that leads the node now. */
export interface Successor {
  readonly process: ChildProcess;
  readonly version: string;
  /** It ends the node, and with it what still drains here. */
  readonly asksToStop: Promise<void>;
}

/** Rejects with DlbaError UPGRADE_FAILED; then everything is as it was. */
export async function handOverNode(handOver: HandOver): Promise<Successor> {
  const { node, options, service, release, regain, log } = handOver;
  // First of all, as the successor reads what the node's side of pushes writes.
  await release();
  const started = startSuccessor(node, options, service);
  const { process: successor, stopped: asksToStop } = started;
  log.info({ child_pid: successor.pid }, "another process is to lead this node");
  try {
    const version = await letTakeOver(started, node);
    service.leader(successor.pid!);
    say(successor, { kind: "led" });
    log.info({ child_pid: successor.pid, version }, "another process leads this node now");
    return { process: successor, version, asksToStop };
  } catch (error) {
    await killed(successor);
    node.resume();
    await regain();
    log.error(
      { reason: describeError(error) },
      "this node goes on as it was: no other process could lead it",
    );
    throw error;
  }
}

/** Resolves with the version that runs. */
async function letTakeOver({ process: successor, talk }: Started, node: NodeInHands): Promise<string> {
  const { places, workers } = await talk.next("prepared", UPGRADE_STEP_MS);
  say(successor, { kind: "take-over" });
  await talk.next("serving", UPGRADE_STEP_MS);
  node.retireWorkers(new Set(places), workers);
  await node.endDaemons();
  say(successor, { kind: "yours" });
  return (await talk.next("running", UPGRADE_STEP_MS)).version;
}

interface Started {
  readonly process: ChildProcess;
  readonly talk: Exchange<FromSuccessor>;
  readonly stopped: Promise<void>;
}

function startSuccessor(node: NodeInHands, options: NodeOptions, service: ServiceManager): Started {
  const { configFile, node: name, pinDir, runDir, stateDir } = options;
  const places = ["--pin-dir", pinDir, "--run-dir", runDir, "--state-dir", stateDir];
  const sockets = [...node.listening.values()].flat();
  const successor = spawn(DLBA, ["run", "--config", configFile, "--node", name, ...places], {
    stdio: ["ignore", "inherit", "inherit", "ipc", ...sockets],
    env: { ...process.env, ...service.environment, [SUCCEEDS]: "1" },
  });
  const talk = exchange<FromSuccessor>("the process that was to lead this node");
  const stop = Promise.withResolvers<void>();
  successor.on("message", (message) => {
    const read = readFromSuccessor(message);
    if (read === undefined) talk.fail("speaks another language: stop this node and start it again");
    else if (read.kind === "stop") stop.resolve();
    else talk.hear(read);
  });
  successor.once("error", (error) => talk.fail(`can't be started: ${describeError(error)}`));
  successor.once("exit", (code, signal) =>
    talk.fail(`has ended (${signal ?? `code ${code}`}); the log says why`),
  );
  say(successor, offerOf(node.listening, FIRST_INHERITED));
  return { process: successor, talk, stopped: stop.promise };
}

/** One that ends just now doesn't hear it; its end is seen. */
function say(successor: ChildProcess, message: FromPredecessor): void {
  if (successor.connected) successor.send(message, () => undefined);
}

async function killed(successor: ChildProcess): Promise<void> {
  if (successor.pid === undefined || successor.exitCode !== null || successor.signalCode !== null) return;
  const end = new Promise((resolve) => successor.once("exit", resolve));
  successor.kill("SIGKILL");
  await end;
}

/** What is left to do: what this node's workers had ends, and who knows this process alone has to be stood for. */
export async function afterHandOver(
  { process: successor, asksToStop }: Successor,
  rest: { readonly leave: () => Promise<void>; readonly stop: () => Promise<void> },
  isManaged: boolean,
): Promise<void> {
  const end = exitOf(successor);
  const signals = ["SIGTERM", "SIGINT", "SIGHUP"] as const;
  for (const signal of signals) {
    process.removeAllListeners(signal);
    process.on(signal, () => void successor.kill(signal));
  }
  if (isManaged) {
    // The manager watches the successor by itself, so nothing keeps this process but what its workers still have.
    successor.unref();
    successor.channel?.unref();
  }
  const asked = await Promise.race([rest.leave(), asksToStop.then(() => "stop"), end.then(() => "end")]);
  if (asked !== undefined) await rest.stop();
  // So the successor knows that nothing is left here: it waits for that when it stops.
  if (successor.connected) successor.disconnect();
  if (isManaged && asked !== "end") return;
  // In a container, or by hand: as long as the node lives, so does the process that somebody waits for.
  if ((await end) !== 0) throw new DlbaError("NODE_ENDED", "the process that led this node has failed");
}

/** Resolves with its exit code, -1 after a signal. */
async function exitOf(child: ChildProcess): Promise<number> {
  if (child.exitCode !== null || child.signalCode !== null) return child.exitCode ?? -1;
  return new Promise((resolve) => child.once("exit", (code) => resolve(code ?? -1)));
}
