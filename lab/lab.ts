/**
 * A whole array on one machine: hosts in network namespaces on a switch, `dlba run` on every node, nginx as
 * web servers. `dlba lab` is made of these functions and `labUp`; tests and the demo use them too.
 */
import { existsSync, rmSync } from "node:fs";
import { join } from "node:path";
import { DlbaError } from "../conf/errors.ts";
import { ask } from "../cli/show.ts";
import { command, type CommandResult, tryCommand } from "../net/command.ts";
import { startHost, stopNode } from "./hosts.ts";
import { labPlaces } from "./places.ts";
import { hostNamed } from "./planned-host.ts";
import { killAll, processesIn, signalAll } from "./processes.ts";
import { type LabHost, type LabState, type LabStatus, stateOf } from "./state.ts";
import { cutHosts, inNamespace, namespacesOf, removeNamespaces, setCable } from "./topology.ts";

const DLBA = join(import.meta.dirname, "../bin/dlba");

/** Throws DlbaError NOT_ROOT. */
export function requireRoot(): void {
  if (process.getuid?.() === 0) return;
  throw new DlbaError("NOT_ROOT", "a lab needs root, for network namespaces and XDP", {
    hint: "run it with sudo",
  });
}

/** Takes a lab away, whatever is left of it. Returns whether there was anything. */
export async function labDown(name: string): Promise<boolean> {
  requireRoot();
  const places = labPlaces(name);
  const namespaces = namespacesOf(places.namespacePrefix);
  const wasThere = namespaces.length > 0 || existsSync(places.dir) || existsSync(places.pinDir);
  for (const namespace of namespaces) await killAll(namespace);
  rmSync(places.pinDir, { recursive: true, force: true });
  await removeNamespaces(places.namespacePrefix);
  rmSync(places.dir, { recursive: true, force: true });
  return wasThere;
}

/** The lab as it is now. Throws DlbaError LAB_NOT_UP. */
export async function labStatus(name: string): Promise<LabStatus> {
  const places = labPlaces(name);
  const state = stateOf(places);
  const cut = await cutHosts(places, state.segments);
  const hosts = state.hosts.map((host) => ({
    ...host,
    processes: processesIn(host.namespace),
    is_cut: cut.has(host.name),
  }));
  return { ...state, hosts };
}

/** The command line that runs a program on a host of the lab. */
export function labArgv(name: string, hostName: string, argv: readonly string[]): string[] {
  return inNamespace(hostNamed(stateOf(labPlaces(name)).hosts, hostName).namespace, argv);
}

/** Runs a program on a host to its end and collects its output, whatever its exit code. */
export async function labExec(
  name: string,
  hostName: string,
  argv: readonly string[],
  input = "",
): Promise<CommandResult> {
  const [program = "", ...args] = labArgv(name, hostName, argv);
  return tryCommand(program, args, input);
}

/** `kill -9` for everything that runs on a host; returns how many processes there were. */
export async function labKill(name: string, hostName: string): Promise<number> {
  return killAll(hostNamed(stateOf(labPlaces(name)).hosts, hostName).namespace);
}

/** Stops (SIGSTOP) or continues (SIGCONT) everything that runs on a host; returns how many processes. */
export function labSignal(name: string, hostName: string, signal: "SIGSTOP" | "SIGCONT"): number {
  return signalAll(hostNamed(stateOf(labPlaces(name)).hosts, hostName).namespace, signal);
}

/** The processes of a node that can be told apart. A node may have several dlba-servers. */
export type NodeProcess = "failover" | "scheduler" | "dlba-server" | "status";

/** Sends a signal to one kind of process of a node; returns how many of them there were. */
export function labSignalProcess(
  name: string,
  hostName: string,
  kind: NodeProcess,
  signal: NodeJS.Signals,
): number {
  const { namespace } = nodeNamed(name, hostName).host;
  return signalAll(namespace, signal, ({ command }) => command.includes(`/${kind}/main.ts`));
}

/** Takes a host's cables out of their switches. */
export async function labCut(name: string, hostName: string): Promise<void> {
  const places = labPlaces(name);
  await setCable(places, hostNamed(stateOf(places).hosts, hostName), false);
}

/** Puts a host's cables back and starts again what was killed on it. */
export async function labHeal(name: string, hostName: string): Promise<void> {
  const places = labPlaces(name);
  const state = stateOf(places);
  const host = hostNamed(state.hosts, hostName);
  await setCable(places, host, true);
  await startHost(state, host);
}

interface NodeOfLab {
  readonly state: LabState;
  readonly host: LabHost;
}

/** A node of a lab that is up, with the lab. Throws DlbaError UNKNOWN_HOST, or NOT_A_NODE for a host of another kind. */
export function nodeNamed(name: string, hostName: string): NodeOfLab {
  const state = stateOf(labPlaces(name));
  const host = hostNamed(state.hosts, hostName);
  if (host.kind === "node") return { state, host };
  throw new DlbaError("NOT_A_NODE", `${host.name} is no node of the array`);
}

/** Starts a node that was left idle or was stopped, and waits until it is ready. */
export async function labStartNode(name: string, hostName: string): Promise<void> {
  const { state, host } = nodeNamed(name, hostName);
  await startHost(state, host);
}

/** Ends a node's `dlba run` in order, and waits until it is gone; its data plane stays. Returns whether it ran. */
export async function labStopNode(name: string, hostName: string): Promise<boolean> {
  return stopNode(nodeNamed(name, hostName).host);
}

/** Takes away what a stopped or killed node left in its kernel, as a restart of the machine would. */
export async function labWipeNode(name: string, hostName: string): Promise<void> {
  const { run_dir, pin_dir } = nodeNamed(name, hostName).host;
  const detach = [DLBA, "detach", "--pin-dir", pin_dir ?? "", "--run-dir", run_dir];
  const [program = "", ...args] = labArgv(name, hostName, detach);
  await command(program, args);
}

/** A table that a node's status process shows, as `dlba show … --json` prints it. */
export async function labShow(name: string, hostName: string, ...words: string[]): Promise<unknown> {
  const { run_dir } = nodeNamed(name, hostName).host;
  const pieces: string[] = [];
  await ask(join(run_dir, "monitor.sock"), ["show", ...words, "json"].join(" "), (text) => pieces.push(text));
  const table: unknown = JSON.parse(pieces.join(""));
  return table;
}
