/** Does to an array under a push what a round says, and mends it. */
import { setTimeout as sleep } from "node:timers/promises";
import type { Cables } from "../../lab/cables.ts";
import { type Death, monotonicNow_ms } from "../../lab/flow-report.ts";
import { labExec, labHeal, labKill, labSignalProcess } from "../../lab/lab.ts";
import { hostNamed } from "../../lab/planned-host.ts";
import { signalAll } from "../../lab/processes.ts";
import type { LabState } from "../../lab/state.ts";
import type { PushFault } from "./push-rounds.ts";

export interface PushArray {
  readonly state: LabState;
  readonly nodes: readonly string[];
  readonly cables: Cables;
  /** Nodes that clients could not count on, and when. */
  readonly deaths: Death[];
  readonly port: number;
}

/** A worker's end, and that of what was under way on it, is seen within this time. */
const WORKER_GONE_MS = 2000;
const TABLE = "inet dlba_mute";

/** Clients could not reach a node meanwhile. */
export function gone({ state, deaths }: PushArray, node: string, begun_ms: number, done_ms: number): void {
  const { addresses } = hostNamed(state.hosts, node);
  deaths.push(...addresses.map((address) => ({ node: address, begun_ms, done_ms })));
}

/** Carries out a fault, from its moment to its mending. `killPushers` ends the commands that push. */
export async function befall(array: PushArray, fault: PushFault, killPushers: () => void): Promise<void> {
  const { name } = array.state;
  const node = array.nodes[fault.node]!;
  await sleep(fault.at_ms);
  switch (fault.kind) {
    case "pusher":
      return killPushers();
    case "machine":
      return machine(array, node, fault.for_ms);
    case "supervisor":
      return supervisor(array, node, fault.for_ms);
    case "process":
      return void labSignalProcess(name, node, fault.process, "SIGKILL");
    case "worker":
      labSignalProcess(name, node, "dlba-server", "SIGKILL");
      return gone(array, node, monotonicNow_ms() - 100, monotonicNow_ms() + WORKER_GONE_MS);
    case "stop":
      signalSupervisor(array, node, "SIGSTOP");
      await sleep(fault.for_ms);
      return signalSupervisor(array, node, "SIGCONT");
    case "cable":
      return cable(array, node, fault.for_ms);
    case "mute":
      return mute(array, node, fault.for_ms, "");
    case "apart":
      return mute(array, node, fault.for_ms, clientOf(array));
  }
}

function signalSupervisor({ state }: PushArray, node: string, signal: NodeJS.Signals): void {
  const { namespace } = hostNamed(state.hosts, node);
  signalAll(namespace, signal, ({ command }) => command.includes("cli/main.ts run"));
}

async function machine(array: PushArray, node: string, for_ms: number): Promise<void> {
  const { begun_ms } = await array.cables.pull(node);
  gone(array, node, begun_ms, Infinity);
  await labKill(array.state.name, node);
  await sleep(for_ms);
  await array.cables.putBack(node);
  await labHeal(array.state.name, node);
  back(array, node);
}

/** Its processes end with it; its kernel lives, so it is found out a little later. */
async function supervisor(array: PushArray, node: string, for_ms: number): Promise<void> {
  gone(array, node, monotonicNow_ms(), Infinity);
  signalSupervisor(array, node, "SIGKILL");
  await sleep(for_ms);
  await labHeal(array.state.name, node);
  back(array, node);
}

async function cable(array: PushArray, node: string, for_ms: number): Promise<void> {
  const { begun_ms } = await array.cables.pull(node);
  gone(array, node, begun_ms, Infinity);
  await sleep(for_ms);
  await array.cables.putBack(node);
  back(array, node);
}

/** From now on it counts again; a cable is noticed to be in only after up to a second. */
function back({ state, deaths }: PushArray, node: string): void {
  const { addresses } = hostNamed(state.hosts, node);
  const now_ms = monotonicNow_ms();
  for (const [i, death] of deaths.entries()) {
    if (death.done_ms === Infinity && addresses.includes(death.node))
      deaths[i] = { ...death, done_ms: now_ms + WORKER_GONE_MS };
  }
}

const clientOf = ({ state }: PushArray): string =>
  hostNamed(state.hosts, "client").addresses.find((address) => !address.includes(":"))!;

/** Packets from and to push ports are dropped, as behind a broken link: those of one host, or ("") of all. */
async function mute({ state, port }: PushArray, node: string, for_ms: number, other: string): Promise<void> {
  const [from, to] = ["saddr", "daddr"].map((end) => (other === "" ? "" : `ip ${end} ${other} `));
  const rule = (way: string, end: string, match: string): string =>
    `chain ${way} { type filter hook ${way} priority 0; ${match}${end} != lo tcp dport ${port} drop; ${match}${end} != lo tcp sport ${port} drop; };`;
  const rules = `table ${TABLE} { ${rule("input", "iifname", from!)} ${rule("output", "oifname", to!)} }`;
  await labExec(state.name, node, ["nft", rules]);
  await sleep(for_ms);
  await labExec(state.name, node, ["nft", `delete table ${TABLE}`]);
}
