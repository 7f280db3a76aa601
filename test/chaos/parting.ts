/**
 * Parts an array's segment into sides, each with clients of its own, and heals it: each side has to serve its clients
 * meanwhile; once healed, one node schedules, and soon all clients know which one.
 */
import { setTimeout as sleep } from "node:timers/promises";
import { labHealPartition, labPartition } from "../../lab/cuts.ts";
import { monotonicNow_ms } from "../../lab/flow-report.ts";
import { labExec } from "../../lab/lab.ts";
import { hostNamed } from "../../lab/planned-host.ts";
import type { Probe, ProbePlan } from "../../lab/probe-report.ts";
import { type RunningProbes, startProbes } from "../../lab/probe-tools.ts";
import type { LabState } from "../../lab/state.ts";
import { agreement, answering, disagreement, type LeasePages, stableAgreement } from "./leases.ts";

/**
 * A takeover takes some 60 ms on a machine that has nothing else to do; a node that hears nobody waits 200 ms longer. How long
 * it took is reported; these bounds are for a machine that stands still in between.
 */
const TAKEN_OVER_WITHIN_MS = 10_000;
/** Below the second after which TCP sends a SYN again: a probe that lost one has failed. */
const PROBE_WITHIN_MS = 900;
const SERVED_WITHIN_MS = 30_000;
const STRETCH_MS = 1000;
/** Nothing may change about the scheduler for so long. */
const WATCHED_MS = 2000;
/** A machine may stand still for longer than a lease lasts: then nobody answers, until that node has looked round. */
const MOST_SILENT = 0.2;
const KNOWN_WITHIN_MS = 30_000;
const STABLE = { within_ms: 10_000, stable_ms: 250 };

export interface PartedArray {
  readonly state: LabState;
  readonly pages: LeasePages;
  readonly nodes: readonly string[];
  /** One for each side at least. */
  readonly clients: readonly string[];
  /** The i-th client asks the i-th of them, and so on round. */
  readonly vips: readonly string[];
}
export interface PartingReport {
  /** Each side's scheduler, and how long after the cut it was the only one there. */
  readonly parted: readonly { readonly scheduler: string; readonly took_ms: number }[];
  /** The scheduler after healing, and from when on it was the only one. */
  readonly healed: { readonly scheduler: string; readonly took_ms: number };
  /** When each client had its MAC address, after healing. */
  readonly known_ms: readonly number[];
}

/** Parts an array (a side's number for each node), and heals it. Throws with what was wrong. */
export async function partAndHeal(array: PartedArray, sides: readonly number[]): Promise<PartingReport> {
  const { state, nodes, clients } = array;
  const groups = sidesNamed(nodes, sides);
  const probes = groups.map((_, i) => startProbes(state.name, clients[i]!, probePlan(vipOf(array, i))));
  try {
    await sleep(STRETCH_MS / 2);
    const parted = await part(array, groups);
    await served(array, probes, groups);
    const healed = await heal(array);
    const known_ms = await known(array, probes, healed);
    await served(
      array,
      probes,
      groups.map(() => nodes),
    );
    return { parted, healed, known_ms };
  } finally {
    await labHealPartition(state.name);
    await Promise.all(probes.map(async (each) => each.stop()));
  }
}

/** The nodes of each side. */
export function sidesNamed(nodes: readonly string[], sides: readonly number[]): string[][] {
  const count = Math.max(...sides) + 1;
  return Array.from({ length: count }, (_, side) => nodes.filter((_, i) => sides[i] === side));
}

const vipOf = ({ vips }: PartedArray, i: number): string => vips[i % vips.length]!;

const probePlan = (host: string): ProbePlan => ({
  host,
  port: 80,
  path: "/id",
  every_ms: 20,
  answer_within_ms: PROBE_WITHIN_MS,
});

async function part(
  { state, pages, clients }: PartedArray,
  groups: readonly (readonly string[])[],
): Promise<PartingReport["parted"]> {
  await labPartition(
    state.name,
    groups.map((nodes, i) => [...nodes, clients[i]!]),
  );
  const agreed = await Promise.all(
    groups.map(async (nodes) => agreement(pages, nodes, TAKEN_OVER_WITHIN_MS)),
  );
  const wrong = agreed.flatMap((each) => (each.wrong === "" ? [] : [each.wrong]));
  if (wrong.length > 0) throw new Error(`parted: ${wrong.join("; ")}`);
  return agreed;
}

/**
 * Waits until all probes of a stretch of time were answered, each client's by the nodes that it sees: buckets of nodes
 * that can't be reached move first.
 */
async function served(
  { state }: PartedArray,
  probes: readonly RunningProbes[],
  groups: readonly (readonly string[])[],
): Promise<void> {
  const deadline_ms = monotonicNow_ms() + SERVED_WITHIN_MS;
  for (;;) {
    const from_ms = monotonicNow_ms();
    await sleep(STRETCH_MS);
    const wrong = probes.flatMap((each, i) => misserved(state, each.ended(), from_ms, groups[i]!));
    if (wrong.length === 0) return;
    if (monotonicNow_ms() > deadline_ms) throw new Error(`not served: ${JSON.stringify(wrong)}`);
  }
}

/** What did not go as it should since a moment: probes that failed, or were answered by a node that is out of sight. */
function misserved(
  { hosts }: LabState,
  probes: readonly Probe[],
  from_ms: number,
  nodes: readonly string[],
): unknown[] {
  const ended = probes.filter(({ ended_ms }) => ended_ms >= from_ms);
  const addresses = new Set(nodes.flatMap((node) => hostNamed(hosts, node).addresses));
  const wrong = ended.filter(({ error, node }) => error !== null || !addresses.has(node));
  return ended.length < 5 ? [`${ended.length} probes`, ...wrong] : wrong;
}

interface Healed {
  readonly scheduler: string;
  readonly epoch: number;
  readonly took_ms: number;
  readonly at_ms: number;
}

async function heal({ state, pages, nodes }: PartedArray): Promise<Healed> {
  // Of the time that it takes, some is the healing's own.
  const [found] = await Promise.all([stableAgreement(pages, nodes, STABLE), labHealPartition(state.name)]);
  if (found.wrong !== "") throw new Error(`healed: ${found.wrong}`);
  return { ...found, at_ms: monotonicNow_ms() };
}

/**
 * The scheduler announces itself when its table knows the other one's connections: then whoever had that one in its
 * neighbour cache sends to it, and nobody else answers all the while.
 */
async function known(
  array: PartedArray,
  probes: readonly RunningProbes[],
  { scheduler, epoch, at_ms }: Healed,
): Promise<number[]> {
  const { state, pages, nodes, clients } = array;
  let looks = 0;
  let silent = 0;
  while (monotonicNow_ms() < at_ms + WATCHED_MS) {
    const facts = pages.read(nodes);
    const names = answering(facts, monotonicNow_ms());
    if (names.some((node) => node !== scheduler) || facts.some((of) => of.epoch !== epoch))
      throw new Error(`healed, and then: ${disagreement(facts, monotonicNow_ms()) || "another epoch"}`);
    looks++;
    if (names.length === 0) silent++;
    await sleep(1);
  }
  if (silent > looks * MOST_SILENT)
    throw new Error(`healed, and then: nobody schedules in ${silent} of ${looks} looks`);
  const { mac } = hostNamed(state.hosts, scheduler);
  const times: number[] = [];
  for (const i of probes.keys()) {
    while ((await neighbourOf(state.name, clients[i]!, vipOf(array, i))) !== mac) {
      if (monotonicNow_ms() > at_ms + KNOWN_WITHIN_MS)
        throw new Error(`${clients[i]} does not know ${scheduler}`);
      await sleep(50);
    }
    times.push(monotonicNow_ms() - at_ms);
  }
  return times;
}

/** Where a client's neighbour cache has a VIP. */
async function neighbourOf(lab: string, client: string, vip: string): Promise<string> {
  const { stdout } = await labExec(lab, client, ["ip", "neigh", "show", "to", vip]);
  return / lladdr (\S+)/.exec(stdout)?.[1] ?? "";
}
