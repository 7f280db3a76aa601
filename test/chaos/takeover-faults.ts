/** Does to an array what a round of a takeover run says, heals it, and looks at who schedules meanwhile and after. */
import { setTimeout as sleep } from "node:timers/promises";
import { describeError } from "../../conf/errors.ts";
import type { Cables } from "../../lab/cables.ts";
import { labHealPartition, labPartition } from "../../lab/cuts.ts";
import { type Death, monotonicNow_ms } from "../../lab/flow-report.ts";
import { labHeal, labKill, labSignal, labSignalProcess } from "../../lab/lab.ts";
import { hostNamed } from "../../lab/planned-host.ts";
import { labHandover } from "../../lab/scheduler.ts";
import type { LabState } from "../../lab/state.ts";
import { agreement, type LeasePages } from "./leases.ts";
import type { Fault } from "./takeover-rounds.ts";

/** Somebody else schedules so soon after the scheduler is gone, on a machine that is busy with other things, too. */
const TAKEN_OVER_WITHIN_MS = 2000;
/** A node that nobody could reach for less than this is not missed by anybody. */
const UNNOTICED_MS = 45;
const HANDOVER_TRIES = 3;

export interface ChaosArray {
  readonly state: LabState;
  readonly nodes: readonly string[];
  readonly clients: readonly string[];
  readonly pages: LeasePages;
  readonly cables: Cables;
  /** Nodes that clients could not reach, and when. */
  readonly deaths: Death[];
}

export interface Inflicted {
  /** The node that it was done to; "" when it was to several. */
  readonly victim: string;
  /** How long it took until another node scheduled, where one had to. */
  readonly takenOver_ms?: number;
  /** What was wrong before it was healed; empty when nothing was. */
  readonly wrong: string;
  readonly note?: string;
  /** What was asked for did not come about, which by itself is no fault. */
  readonly isMissed?: boolean;
}

/** Carries out a fault, from beginning to healing. `scheduler` is the node that schedules before it. */
export async function inflict(array: ChaosArray, fault: Fault, scheduler: string): Promise<Inflicted> {
  const others = array.nodes.filter((node) => node !== scheduler);
  const victim = fault.target === "scheduler" ? scheduler : others[fault.target % others.length]!;
  switch (fault.kind) {
    case "kill":
      return kill(array, fault, victim, scheduler);
    case "die":
      labSignalProcess(array.state.name, victim, fault.process, "SIGKILL");
      return { victim, wrong: "", note: fault.process };
    case "stop":
      return stop(array, fault, victim);
    case "cut":
      return cut(array, fault, victim, scheduler);
    case "blink":
      return blink(array, fault, victim);
    case "partition":
      return partition(array, fault);
    case "handover":
      return handOver(array, fault.target === "scheduler" ? undefined : victim, scheduler);
  }
}

/** Clients could not reach a node meanwhile. */
export function died({ state, deaths }: ChaosArray, node: string, begun_ms: number, done_ms: number): void {
  const { addresses } = hostNamed(state.hosts, node);
  deaths.push(...addresses.map((address) => ({ node: address, begun_ms, done_ms })));
}

/** Waits until another node schedules, if it was the scheduler that has been gone since a moment. */
async function takenOver(
  array: ChaosArray,
  gone: string,
  scheduler: string,
  since_ms: number,
): Promise<Inflicted> {
  if (gone !== scheduler) return { victim: gone, wrong: "" };
  const left = array.nodes.filter((node) => node !== gone);
  const { wrong } = await agreement(array.pages, left, TAKEN_OVER_WITHIN_MS);
  return { victim: gone, takenOver_ms: monotonicNow_ms() - since_ms, wrong };
}

async function kill(array: ChaosArray, fault: Fault, victim: string, scheduler: string): Promise<Inflicted> {
  const { name } = array.state;
  const { begun_ms, done_ms } = await array.cables.pull(victim);
  died(array, victim, begun_ms, done_ms);
  const killed = labKill(name, victim);
  const result = await takenOver(array, victim, scheduler, begun_ms);
  await killed;
  await sleep(fault.for_ms);
  await array.cables.putBack(victim);
  await labHeal(name, victim);
  return result;
}

async function stop({ state }: ChaosArray, { for_ms }: Fault, victim: string): Promise<Inflicted> {
  labSignal(state.name, victim, "SIGSTOP");
  await sleep(for_ms);
  labSignal(state.name, victim, "SIGCONT");
  return { victim, wrong: "", note: `${for_ms} ms` };
}

async function cut(array: ChaosArray, fault: Fault, victim: string, scheduler: string): Promise<Inflicted> {
  const { begun_ms } = await array.cables.pull(victim);
  const result = await takenOver(array, victim, scheduler, begun_ms);
  await sleep(fault.for_ms);
  await array.cables.putBack(victim);
  died(array, victim, begun_ms, monotonicNow_ms());
  return result;
}

async function blink(array: ChaosArray, { for_ms }: Fault, victim: string): Promise<Inflicted> {
  const { nodes, clients, state } = array;
  const rest = [...nodes.filter((node) => node !== victim), ...clients];
  const begun_ms = monotonicNow_ms();
  await labPartition(state.name, [[victim], rest]);
  await sleep(for_ms);
  await labHealPartition(state.name);
  const done_ms = monotonicNow_ms();
  // Making and undoing the cut takes its time, too.
  if (done_ms - begun_ms > UNNOTICED_MS) died(array, victim, begun_ms, done_ms);
  return { victim, wrong: "", note: `${Math.round(done_ms - begun_ms)} ms` };
}

/** Every side gets a scheduler of its own, and the clients' nodes serve on. */
async function partition(array: ChaosArray, { sides, for_ms }: Fault): Promise<Inflicted> {
  const { nodes, clients, state, pages } = array;
  const clientSide = sides[nodes.length];
  const groups = [...new Set(sides)].map((side) => {
    const own = nodes.filter((_, i) => sides[i] === side);
    return { nodes: own, hosts: side === clientSide ? [...own, ...clients] : own };
  });
  const begun_ms = monotonicNow_ms();
  await labPartition(
    state.name,
    groups.map(({ hosts }) => hosts),
  );
  const agreed = await Promise.all(
    groups.map(async (group) => agreement(pages, group.nodes, TAKEN_OVER_WITHIN_MS)),
  );
  await sleep(for_ms);
  await labHealPartition(state.name);
  const unreached = nodes.filter((_, i) => sides[i] !== clientSide);
  for (const node of unreached) died(array, node, begun_ms, monotonicNow_ms());
  const wrong = agreed.flatMap((each) => (each.wrong === "" ? [] : [each.wrong])).join("; ");
  const note = groups.map(({ hosts }) => hosts.join("+")).join(" | ");
  return { victim: "", takenOver_ms: Math.max(...agreed.map(({ took_ms }) => took_ms)), wrong, note };
}

/**
 * Planned: it may be refused while the other node is not in step, but not again and again; and where the machine stands still
 * just then, another node may take over.
 */
async function handOver(array: ChaosArray, to: string | undefined, scheduler: string): Promise<Inflicted> {
  const started_ms = monotonicNow_ms();
  let refusal = "";
  let refusals = 0;
  do {
    refusal = await handOverOnce(array, to);
    if (refusal !== "") refusals++;
  } while (refusal !== "" && refusals < HANDOVER_TRIES);
  const note = refusals === 0 ? "" : `refused ${refusals} times`;
  const victim = to ?? "";
  if (refusal !== "") return { victim, wrong: "", note: `${note}: ${refusal}`, isMissed: true };
  const isFit = (now: string): boolean => (to === undefined ? now !== scheduler : now === to);
  const { wrong } = await agreement(array.pages, array.nodes, TAKEN_OVER_WITHIN_MS, isFit);
  if (wrong !== "") return { victim, wrong: "", note: `without effect: ${wrong}`, isMissed: true };
  return { victim, takenOver_ms: monotonicNow_ms() - started_ms, wrong, note };
}

/** Why it was refused; empty when it was not. */
async function handOverOnce({ state }: ChaosArray, to: string | undefined): Promise<string> {
  try {
    await labHandover(state.name, to);
    return "";
  } catch (error) {
    return describeError(error);
  }
}
