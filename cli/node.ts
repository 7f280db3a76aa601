/** One node of the array on this machine: checked, prepared, supervised; and taken away again. */
import { mkdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { describeError, DlbaError } from "../conf/errors.ts";
import { STOP_GRACE_MS } from "../conf/limits.ts";
import { findNode } from "../conf/node.ts";
import type { Config } from "../conf/schema.ts";
import { vipsOf } from "../conf/vips.ts";
import { effectiveCapabilities, prepareHost, recordedVips, restoreHost } from "../net/host.ts";
import { isRunning, type ProcessIdentity } from "../net/process-identity.ts";
import { checkRuntime } from "../net/runtime.ts";
import { detachDataPlane } from "../scheduler/plane/data-plane.ts";
import { createLogger, type Logger } from "../status/log.ts";
import { publish } from "../status/publish.ts";
import { createDesk, type Desk, recordSupervisor } from "./desk.ts";
import { withFiles } from "./generation.ts";
import { prepareAfter } from "./host-after.ts";
import { DEFAULT_RUN_DIR, DEFAULT_STATE_DIR, supervisorRecord } from "./places.ts";
import type { NodeSide } from "./push/node-side.ts";
import { chosenHere, chosenWithOthers } from "./push/start.ts";
import { openStore } from "./push/store.ts";
import { startNode, succeedNode, type RunningNode } from "./running-node.ts";
import { type ServiceManager, serviceManager } from "./service-notices.ts";
import { hostFacts, startProblems } from "./start-checks.ts";
import { afterHandOver } from "./upgrade/predecessor.ts";
import { type Predecessor, predecessor } from "./upgrade/successor.ts";

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

/** Runs a node until SIGTERM or SIGINT, or until another process leads it. Throws DlbaError when the machine is not fit for it. */
export async function runNode(options: RunOptions): Promise<void> {
  checkRuntime();
  const before = await predecessor();
  const { runDir } = options;
  const stateDir = stateDirOf(options);
  const store = openStore(stateDir);
  const here = chosenHere(store, store.found, options.config);
  const privileges = effectiveCapabilities().size === 0 ? problemsOf(here.config, options) : [];
  if (privileges.length > 0) throw severalProblems(privileges);
  for (const dir of [runDir, stateDir]) mkdirSync(dir, { recursive: true, mode: 0o755 });
  if (before === undefined) claimRunDir(runDir);
  const chosen = await chosenWithOthers(store, here, findNode(here.config, options.node), options.config);
  const { text, config, durable } = chosen;
  const node = findNode(config, options.node);
  const problems = problemsOf(config, options);
  if (problems.length > 0) throw severalProblems(problems);
  const generation = withFiles(chosen.file, text, config);
  const record = hostRecord(runDir);
  const interfaces = [node, ...node.interfaces].map(({ interface: name }) => name);
  const putVips = async (vips: readonly string[]): Promise<void> => prepareHost(interfaces, vips, record);
  // As long as another process leads the node, its VIPs stay.
  const others = before === undefined ? [] : recordedVips(record);
  await putVips([...new Set([...vipsOf(config), ...others])]);
  const log = createLogger({ node: node.name, process: "supervisor" });
  const service = serviceManager(log);
  let desk: Desk | undefined;
  const events = tellEvents(runDir, () => desk?.side(), log);
  const places = { configFile: options.config, node: node.name, pinDir: options.pinDir, runDir, stateDir };
  const running =
    before === undefined
      ? startNode(places, generation, record, log)
      : await succeedNode(places, generation, record, log, before);
  if (others.length > 0) await prepareAfter(async () => putVips(vipsOf(config)), others, log);
  desk = createDesk({ running, places, node, runs: durable, service, log });
  await desk.open();
  void tellReady({ running, service, before, log });
  const end = await Promise.race([desk.handedOver, stopSignal()]);
  if (typeof end !== "string") {
    events.close();
    return afterHandOver(end, running, service.isThere);
  }
  log.info({ signal: end }, "stopping");
  const most_ms = stopTakes_ms(running.generation().config);
  service.stopping(most_ms);
  await desk.close();
  await Promise.all([running.stop(), before?.stop(most_ms)]);
  events.close();
  log.info("stopped; the data plane stays attached (dlba detach removes it)");
}

interface Ready {
  readonly running: RunningNode;
  readonly service: ServiceManager;
  readonly before: Predecessor | undefined;
  readonly log: Logger;
}

async function tellReady({ running, service, before, log }: Ready): Promise<void> {
  await running.ready;
  try {
    await before?.running();
  } catch (error) {
    // It was killed after it had let go of everything: then the node is ours all the same.
    log.warn(
      { reason: describeError(error) },
      "the process that led this node before has not ended in order",
    );
  }
  log.info("ready");
  service.ready(`serves array ${running.generation().config.array.name}`);
}

/** At most: the failover process hands over, then workers drain while the others end. */
const stopTakes_ms = ({ timeouts }: Config): number => 3 * STOP_GRACE_MS + timeouts.drain_ms;

function problemsOf(config: Config, { node: name, pinDir }: RunOptions): DlbaError[] {
  const node = findNode(config, name);
  return startProblems(node, pinDir, hostFacts(config, node, pinDir));
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

/** Two supervisors of one node would fight over its sockets and maps. */
function claimRunDir(runDir: string): void {
  const other = runningSupervisor(runDir);
  if (other !== undefined) {
    const hint = "stop it first, or name another --run-dir and --pin-dir";
    throw new DlbaError("ALREADY_RUNNING", `process ${other.pid} already runs in ${runDir}`, { hint });
  }
  recordSupervisor(runDir);
}

export function runningSupervisor(runDir: string): ProcessIdentity | undefined {
  try {
    const other: ProcessIdentity = JSON.parse(readFileSync(supervisorRecord(runDir), "utf8"));
    return isRunning(other) ? other : undefined;
  } catch {
    return undefined; // None was started here, or it died while it wrote the file.
  }
}

/** What happens to the node's processes and configuration stands among its events, and its version in `show info`. */
function tellEvents(runDir: string, side: () => NodeSide | undefined, log: Logger): { close: () => void } {
  return publish({
    path: join(runDir, "publish.sock"),
    hello: { process: "supervisor", worker: 0, pid: process.pid },
    answer: (topic) => {
      const report = topic === "rows" ? side()?.report() : undefined;
      if (report !== undefined) return report;
      throw new DlbaError("TOPIC_UNKNOWN", `a supervisor has no ${topic}`);
    },
    log,
  });
}

async function stopSignal(): Promise<NodeJS.Signals> {
  return new Promise((resolve) => {
    for (const signal of ["SIGTERM", "SIGINT"] as const) process.on(signal, resolve);
  });
}

/** Removes a stopped node's pinned data plane, and its VIPs from `lo`; says which. */
export async function detachNode({
  pinDir,
  runDir,
}: NodePlaces): Promise<{ pinDir: string; vips: string[] }> {
  const running = runningSupervisor(runDir);
  if (running !== undefined) {
    throw new DlbaError("ALREADY_RUNNING", `process ${running.pid} still runs in ${runDir}`, {
      hint: "stop it first",
    });
  }
  detachDataPlane(pinDir);
  return { pinDir, vips: await restoreHost(hostRecord(runDir)) };
}
