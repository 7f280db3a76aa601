/** What a chaos run looks at while it goes on: whether the array has settled, and the nodes' counters. */
import { setTimeout as sleep } from "node:timers/promises";
import { labShow } from "../../lab/lab.ts";
import { labSchedulerSoon } from "../../lab/scheduler.ts";
import type { NodeStateName } from "../../conf/messages.ts";
import type { NodeState } from "./rounds.ts";

const POLL_MS = 250;
/** A node that is up has at least this part of an even share once the array has settled. */
const LEAST_SHARE = 0.5;

interface NodeRow {
  readonly name: string;
  readonly state: NodeStateName;
  readonly ip_groups: number;
  /** Those of its IP groups that can't move on, as a third node still has connections of them from before. */
  readonly waiting: number;
}

const FITTING: Readonly<Record<NodeState, readonly NodeStateName[]>> = {
  up: ["up"],
  drained: ["draining", "drained"],
  idle: ["starting", "down", "failed"],
  killed: ["starting", "down", "failed"],
};

/** Why the array has not settled yet; empty when it has: every node in its state, IP groups where they belong. */
export function unsettled(rows: readonly NodeRow[], states: ReadonlyMap<string, NodeState>): string {
  const all = rows.reduce((sum, { ip_groups }) => sum + ip_groups, 0);
  const up = [...states.values()].filter((state) => state === "up").length;
  const least = (LEAST_SHARE * all) / up;
  for (const { name, state, ip_groups, waiting } of rows) {
    const wanted = states.get(name);
    if (wanted === undefined) return `${name} is none of ours`;
    if (!FITTING[wanted].includes(state)) return `${name} is ${state}`;
    // Two nodes that drain at once: what the first still has connections of waits at the second till they have ended.
    const mayHave = wanted === "drained" ? waiting : 0;
    if (wanted !== "up" && ip_groups > mayHave) return `${name} still has ${ip_groups} IP groups`;
    if (wanted === "up" && ip_groups < least) return `${name} has ${ip_groups} of ${all} IP groups`;
  }
  return "";
}

export interface Settling {
  readonly took_ms: number;
  /** Empty when it settled in time. */
  readonly unsettled: string;
}

/** Waits until the scheduler says that all is as it should be, `most_ms` at most. */
export async function settle(
  lab: string,
  states: ReadonlyMap<string, NodeState>,
  most_ms: number,
): Promise<Settling> {
  const started_ms = performance.now();
  for (;;) {
    const reason = unsettled(await rowsNow(lab), states);
    const took_ms = performance.now() - started_ms;
    if (reason === "" || took_ms > most_ms) return { took_ms, unsettled: reason };
    await sleep(POLL_MS);
  }
}

async function rowsNow(lab: string): Promise<NodeRow[]> {
  const scheduler = await labSchedulerSoon(lab);
  const { nodes } = (await labShow(lab, scheduler, "nodes")) as {
    nodes: readonly (Omit<NodeRow, "waiting"> & { readonly number: number })[];
  };
  // Bucket, owner, idle time, next and previous; -1 for nobody.
  const { buckets } = (await labShow(lab, scheduler, "buckets", "all")) as {
    buckets: readonly (readonly [number, number, number | null, number, number])[];
  };
  return nodes.map((node) => {
    const waiting = buckets.filter(
      ([, owner, , , previous]) => owner === node.number && previous >= 0,
    ).length;
    const { name, state, ip_groups } = node;
    return { name, state, ip_groups, waiting };
  });
}

/** Counters of the data plane that tell what happened to flows. */
const COUNTERS = ["second_chance", "from_member", "claimed", "followed", "no_node", "event_lost"] as const;
type Counts = Readonly<Record<string, number>>;

export interface CounterWatch {
  /** Reads the counters of the nodes that run; what a wiped node had counted stays in the sum. */
  readonly read: (running: readonly string[]) => Promise<void>;
  /** By node, then by counter. */
  readonly sums: () => Readonly<Record<string, Counts>>;
}

export function watchCounters(lab: string): CounterWatch {
  const last = new Map<string, Counts>();
  const sums = new Map<string, Record<string, number>>();
  const readOne = async (node: string): Promise<void> => {
    const info = (await labShow(lab, node, "info")) as Record<string, number>;
    const now = Object.fromEntries(COUNTERS.map((name) => [name, info[`Packets_${name}`] ?? 0]));
    const before = last.get(node) ?? {};
    const sum = sums.get(node) ?? {};
    // A counter that fell began anew.
    for (const [name, count] of Object.entries(now)) {
      const old = before[name] ?? 0;
      sum[name] = (sum[name] ?? 0) + (count < old ? count : count - old);
    }
    last.set(node, now);
    sums.set(node, sum);
  };
  return {
    read: async (running) => {
      for (const node of running) await readOne(node);
    },
    sums: () => Object.fromEntries([...sums].toSorted(([a], [b]) => a.localeCompare(b))),
  };
}
