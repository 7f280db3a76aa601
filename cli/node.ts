/** One node of the array on this machine: checked, prepared, supervised; and taken away again. */
import { mkdirSync, readFileSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { DlbaError } from "../conf/errors.ts";
import { certificateFiles } from "../conf/given-files.ts";
import { CERTIFICATE_LOOK_MS, STOP_GRACE_MS } from "../conf/limits.ts";
import { findNode } from "../conf/node.ts";
import type { Config } from "../conf/schema.ts";
import { vipsOf } from "../conf/vips.ts";
import { adminServer } from "../net/admin-socket.ts";
import { effectiveCapabilities, prepareHost, restoreHost } from "../net/host.ts";
import { isRunning, processIdentity, type ProcessIdentity } from "../net/process-identity.ts";
import { checkRuntime } from "../net/runtime.ts";
import { detachDataPlane } from "../scheduler/plane/data-plane.ts";
import { createLogger, type Logger } from "../status/log.ts";
import { publish } from "../status/publish.ts";
import { look, startWatch } from "./certificate-watch.ts";
import { withFiles } from "./generation.ts";
import { DEFAULT_RUN_DIR, DEFAULT_STATE_DIR, supervisorSocket } from "./places.ts";
import { answerKey } from "./key/desk.ts";
import { peersOf } from "./push/control.ts";
import { fileReload, tellFile } from "./push/file.ts";
import { startNodeSide, type NodeSide } from "./push/node-side.ts";
import { chosenHere, chosenWithOthers } from "./push/start.ts";
import { openStore } from "./push/store.ts";
import { answerReload } from "./reload-answer.ts";
import { startNode, type RunningNode } from "./running-node.ts";
import { type ServiceManager, serviceManager } from "./service-notices.ts";
import { hostFacts, startProblems } from "./start-checks.ts";

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
  const { runDir } = options;
  const stateDir = stateDirOf(options);
  const store = openStore(stateDir);
  const here = chosenHere(store, store.found, options.config);
  const privileges = effectiveCapabilities().size === 0 ? problemsOf(here.config, options) : [];
  if (privileges.length > 0) throw severalProblems(privileges);
  for (const dir of [runDir, stateDir]) mkdirSync(dir, { recursive: true, mode: 0o755 });
  claimRunDir(runDir);
  const chosen = await chosenWithOthers(store, here, findNode(here.config, options.node), options.config);
  const { text, config, durable } = chosen;
  const node = findNode(config, options.node);
  const problems = problemsOf(config, options);
  if (problems.length > 0) throw severalProblems(problems);
  const generation = withFiles(chosen.file, text, config);
  const interfaces = [node, ...node.interfaces].map(({ interface: name }) => name);
  await prepareHost(interfaces, vipsOf(config), hostRecord(runDir));
  const log = createLogger({ node: node.name, process: "supervisor" });
  const service = serviceManager(log);
  let side: NodeSide | undefined;
  const events = tellEvents(runDir, () => side, log);
  const places = { configFile: options.config, node: node.name, pinDir: options.pinDir, runDir, stateDir };
  const running = startNode(places, generation, hostRecord(runDir), log);
  side = startNodeSide({
    node,
    configFile: options.config,
    pinDir: options.pinDir,
    runDir,
    store,
    durable,
    running,
    log,
  });
  tellFile(store, side.current(), options.config, log);
  const reload = fileReload({ running, side, store, configFile: options.config });
  void tellReady(running, service, log);
  const admin = await adminServer({
    path: supervisorSocket(runDir),
    handle: async (line) => obey({ running, side, reload, log }, line),
  });
  const watching = watchCertificates(running, log);
  process.on("SIGHUP", () => void answerReload(reload, "SIGHUP", log));
  log.info({ signal: await stopSignal() }, "stopping");
  service.stopping(stopTakes_ms(running.generation().config));
  clearInterval(watching);
  await admin.close();
  await side.close();
  await running.stop();
  events.close();
  log.info("stopped; the data plane stays attached (dlba detach removes it)");
}

async function tellReady(running: RunningNode, service: ServiceManager, log: Logger): Promise<void> {
  await running.ready;
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

interface Obeying {
  readonly running: RunningNode;
  readonly side: NodeSide;
  readonly reload: () => Promise<string[]>;
  readonly log: Logger;
}

/** What an operator says to a supervisor, and other nodes of the array key. */
async function obey({ running, side, reload, log }: Obeying, line: string): Promise<string> {
  if (line === "array") {
    const { config } = running.generation();
    return JSON.stringify({ key_file: config.array.key_file, peers: peersOf(config) });
  }
  if (line.startsWith("key ")) {
    const answer = await answerKey(line, running, log);
    side.keyChanged();
    return JSON.stringify(answer);
  }
  if (line === "reload") return JSON.stringify(await answerReload(reload, "command", log));
  throw new DlbaError("UNKNOWN_COMMAND", "a supervisor knows 'reload', 'array' and 'key …' alone");
}

/** Certificates that change are taken by themselves; the configuration is not looked at. */
function watchCertificates(running: RunningNode, log: Logger): NodeJS.Timeout {
  const looks = (): string => certificateFiles(running.generation().config).map(lookOf).join("\n");
  let watched = certificateFiles(running.generation().config).join();
  let watch = startWatch(looks());
  return setInterval(() => {
    const names = certificateFiles(running.generation().config).join();
    if (names !== watched) watch = startWatch(looks());
    watched = names;
    if (look(watch, looks())) void answerReload(running.reloadFiles, "changed certificate files", log);
  }, CERTIFICATE_LOOK_MS);
}

/** What tells one state of a file from another. */
function lookOf(path: string): string {
  const found = statSync(path, { throwIfNoEntry: false });
  return found === undefined ? "none" : `${found.ino} ${found.size} ${found.mtimeMs} ${found.ctimeMs}`;
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
