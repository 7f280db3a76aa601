/**
 * A whole array on one machine: hosts in network namespaces on a switch, `dlba run` on every node, nginx as
 * web servers. `dlba lab` is made of these functions and `labUp`; tests and the demo use them too.
 */
import { existsSync, rmSync } from "node:fs";
import { DlbaError } from "../conf/errors.ts";
import { type CommandResult, tryCommand } from "../net/command.ts";
import { startHost } from "./hosts.ts";
import { labPlaces } from "./places.ts";
import { hostNamed } from "./plan.ts";
import { killAll, processesIn, signalAll } from "./processes.ts";
import { type LabStatus, stateOf } from "./state.ts";
import { cutHosts, inNamespace, namespacesOf, removeNamespaces, setCable } from "./topology.ts";

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
  const cut = await cutHosts(places);
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

/** Takes a host's cable out of the switch. */
export async function labCut(name: string, hostName: string): Promise<void> {
  const places = labPlaces(name);
  await setCable(places, hostNamed(stateOf(places).hosts, hostName).name, false);
}

/** Puts a host's cable back and starts again what was killed on it. */
export async function labHeal(name: string, hostName: string): Promise<void> {
  const places = labPlaces(name);
  const state = stateOf(places);
  const host = hostNamed(state.hosts, hostName);
  await setCable(places, host.name, true);
  await startHost(state, host);
}
