/** Who schedules, as the nodes' kernels have it: read from their lease pages, so a node needn't be asked, and can't lie. */
import { setTimeout as sleep } from "node:timers/promises";
import { epochText, schedulerIn } from "../../conf/epoch.ts";
import { monotonicNow_ms } from "../../lab/flow-report.ts";
import type { LabState } from "../../lab/state.ts";
import { type Lease, openLease } from "../../net/lease.ts";

/** What a node's lease page says. */
export interface LeaseFacts {
  /** `node<number>`, as the lab calls it. */
  readonly node: string;
  readonly epoch: number;
  /** CLOCK_MONOTONIC; till then it answers for the VIPs, if it schedules. */
  readonly until_ms: number;
}

export interface LeasePages {
  /** Of these nodes, now. */
  read(nodes: readonly string[]): LeaseFacts[];
  close(): void;
}

/** Maps the lease pages of all nodes of a lab that have one. They stay right until a node is wiped. */
export function openLeasePages(state: LabState): LeasePages {
  const pages = new Map<string, Lease>();
  for (const { kind, name, pin_dir } of state.hosts) {
    if (kind === "node" && pin_dir !== null) pages.set(name, openLease(pin_dir));
  }
  return {
    read: (nodes) => nodes.map((node) => factsOf(node, pages.get(node))),
    close: () => {
      for (const page of pages.values()) page.close();
    },
  };
}

function factsOf(node: string, page: Lease | undefined): LeaseFacts {
  if (page === undefined) throw new Error(`${node} has no lease page`);
  return { node, epoch: page.epoch(), until_ms: Number(page.until_ns()) / 1e6 };
}

/** The nodes that answer for the VIPs: each schedules in the latest epoch that it knows, with a lease that lasts. */
export function answering(facts: readonly LeaseFacts[], now_ms: number): string[] {
  return facts
    .filter(({ node, epoch, until_ms }) => `node${schedulerIn(epoch)}` === node && until_ms > now_ms)
    .map(({ node }) => node);
}

/** What is wrong among nodes that see each other; empty when exactly one schedules and all agree which one that is. */
export function disagreement(facts: readonly LeaseFacts[], now_ms: number): string {
  const epochs = new Set(facts.map(({ epoch }) => epoch));
  const told = facts.map(({ node, epoch }) => `${node}: ${epochText(epoch)}`).join("; ");
  if (epochs.size > 1) return `several epochs (${told})`;
  const schedulers = answering(facts, now_ms);
  if (schedulers.length === 1) return "";
  return schedulers.length === 0
    ? `nobody schedules (${told})`
    : `${schedulers.join(" and ")} schedule (${told})`;
}

export interface Agreement {
  /** The one that schedules; "" when they did not agree in time. */
  readonly scheduler: string;
  readonly epoch: number;
  readonly took_ms: number;
  /** Empty when they agree. */
  readonly wrong: string;
}

const POLL_MS = 1;

/** Waits until nodes agree on one scheduler among them. `isFit` may ask for more, such as another one than before. */
export async function agreement(
  pages: LeasePages,
  nodes: readonly string[],
  within_ms: number,
  isFit: (scheduler: string) => boolean = () => true,
): Promise<Agreement> {
  const started_ms = monotonicNow_ms();
  for (;;) {
    const now_ms = monotonicNow_ms();
    const facts = pages.read(nodes);
    const [scheduler = ""] = answering(facts, now_ms);
    const disagreed = disagreement(facts, now_ms);
    const wrong = disagreed === "" && !isFit(scheduler) ? `${scheduler} still schedules` : disagreed;
    const took_ms = now_ms - started_ms;
    if (wrong === "") return { scheduler, epoch: facts[0]?.epoch ?? 0, took_ms, wrong };
    if (took_ms > within_ms) return { scheduler: "", epoch: 0, took_ms, wrong };
    await sleep(POLL_MS);
  }
}

/**
 * Waits until nodes agree and go on agreeing on the same scheduler for `stable_ms`. `took_ms` is when that began: two
 * schedulers that meet may agree on one of them for an instant, and on the other one from then on.
 */
export async function stableAgreement(
  pages: LeasePages,
  nodes: readonly string[],
  { within_ms, stable_ms }: { readonly within_ms: number; readonly stable_ms: number },
): Promise<Agreement> {
  const started_ms = monotonicNow_ms();
  for (;;) {
    const left_ms = within_ms - (monotonicNow_ms() - started_ms);
    const found = await agreement(pages, nodes, left_ms);
    const took_ms = monotonicNow_ms() - started_ms;
    if (found.wrong !== "" || (await lasts(pages, nodes, found.epoch, stable_ms)))
      return { ...found, took_ms };
  }
}

async function lasts(
  pages: LeasePages,
  nodes: readonly string[],
  epoch: number,
  for_ms: number,
): Promise<boolean> {
  const until_ms = monotonicNow_ms() + for_ms;
  while (monotonicNow_ms() < until_ms) {
    const facts = pages.read(nodes);
    if (facts[0]?.epoch !== epoch || disagreement(facts, monotonicNow_ms()) !== "") return false;
    await sleep(POLL_MS);
  }
  return true;
}
