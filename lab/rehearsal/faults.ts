/** What a rehearsal does to an array: who is killed, in which order, and how each is brought back. */
import type { Config } from "../../conf/schema.ts";
import { labCut, labHeal, labKill, labSignalProcess } from "../lab.ts";
import { canonicalIp } from "../planned-host.ts";
import { labSchedulerSoon } from "../scheduler.ts";
import type { LabHost, LabState } from "../state.ts";

export interface Fault {
  /** For people; known when it happens, as the scheduler may change. */
  readonly what: string;
  readonly act: () => Promise<void>;
  readonly undo: () => Promise<void>;
}

export interface FaultPlan {
  readonly faults: readonly (() => Promise<Fault>)[];
  /** What there is nothing to do to, in sentences. */
  readonly left_out: readonly string[];
}

/** Web servers of so many pools are killed, one after the other. */
const MOST_POOLS = 4;

/** A worker, web servers, a host of a direct pool, a node, and the scheduler: as far as there are any. */
export function planFaults(state: LabState, config: Config): FaultPlan {
  const nodes = state.hosts.filter(({ kind }) => kind === "node");
  const left_out: string[] = [];
  const faults = [async () => workerKilled(state, nodes)];
  for (const { pool, host } of victims(state, config, left_out)) {
    faults.push(async () => hostKilled(state, host, `web server ${host.label} of pool ${pool} killed`));
  }
  if (nodes.length > 1) {
    faults.push(
      async () => nodeKilled(state, nodes, false),
      async () => nodeKilled(state, nodes, true),
    );
  } else left_out.push("a node's death: there is only one, and the array ends with it");
  return { faults, left_out };
}

/** Of each pool a web server or host that others can stand in for. */
function victims(state: LabState, config: Config, left_out: string[]): { pool: string; host: LabHost }[] {
  const found = config.pools.flatMap(({ name, servers }) => {
    const machines = [...new Set(servers.map(({ address }) => canonicalIp(address)))];
    const [address] = machines;
    const host = state.hosts.find(({ kind, addresses }) => kind !== "node" && addresses[0] === address);
    if (machines.length > 1 && host !== undefined) return [{ pool: name, host }];
    if (machines.length === 1)
      left_out.push(`the death of pool ${name}'s only machine: its vservers would answer nothing but 503`);
    return [];
  });
  if (found.length > MOST_POOLS) left_out.push(`web servers of ${found.length - MOST_POOLS} further pools`);
  return found.slice(0, MOST_POOLS);
}

async function workerKilled({ name }: LabState, nodes: readonly LabHost[]): Promise<Fault> {
  const scheduler = await labSchedulerSoon(name);
  const node = nodes.find((node) => node.name !== scheduler) ?? nodes[0]!;
  return {
    what: `worker of ${node.label} killed`,
    act: async () => void labSignalProcess(name, node.name, "dlba-server", "SIGKILL"),
    undo: async () => {}, // Its supervisor does.
  };
}

async function hostKilled({ name }: LabState, host: LabHost, what: string): Promise<Fault> {
  return {
    what,
    act: async () => void (await labKill(name, host.name)),
    undo: async () => labHeal(name, host.name),
  };
}

async function nodeKilled(
  { name }: LabState,
  nodes: readonly LabHost[],
  isScheduler: boolean,
): Promise<Fault> {
  const scheduler = await labSchedulerSoon(name);
  const node = nodes.find((node) => (node.name === scheduler) === isScheduler)!;
  return {
    what: `${isScheduler ? "the scheduler" : "node"} ${node.label} cut off and killed`,
    act: async () => {
      await labCut(name, node.name);
      await labKill(name, node.name);
    },
    undo: async () => labHeal(name, node.name),
  };
}
