/**
 * A scheduler hands over: as an operator wants it, because it stops or is not fit any more, or to a node of higher
 * priority. It asks the other node to take over, and goes on until that has happened. Pure.
 */
import { MS, PEER_HEARTBEAT_NS } from "./timing.ts";
import type { ElectorInput, ElectorSettings } from "./facts.ts";
import { hasTableOf, isCandidate, latestOf } from "./peers.ts";
import { bestCandidate } from "./succession.ts";

/** For so long another node is asked to take over; it has the array's frames some milliseconds after it has heard. */
const OFFER_NS = 1000 * MS;
/** A scheduler that is not fit does not wait so long: without its lease the others elect one themselves. */
const UNFIT_NS = 200 * MS;

export interface Offer {
  readonly to: number;
  readonly since_ns: number;
  readonly cause: "wish" | "unfit" | "preempt";
}
export interface HandOver {
  readonly offer: Offer | undefined;
  /** What an operator wanted last, once it has been done or given up. */
  readonly answeredWish: number | undefined;
  /** Nodes of higher priority that could take over, and since when. */
  readonly fitSince_ns: ReadonlyMap<number, number>;
  /** Since when this scheduler is not fit; undefined: it is. */
  readonly unfitSince_ns: number | undefined;
  /** It stops, and waits for somebody to have the table. */
  readonly isWaiting: boolean;
  /** A scheduler that is not fit has offered in vain. */
  readonly hasGivenUp: boolean;
}

/** When whoever is still there was last heard. */
const AROUND_NS = 4 * PEER_HEARTBEAT_NS;
/** A scheduler that stops waits so long for somebody to have the table. */
const TABLE_NS = 1000 * MS;

const NOBODY_FIT: ReadonlyMap<number, number> = new Map();

/** At the beginning of an epoch. A wish that stood there before is none of this epoch's. */
export const newHandOver = (wish: number | undefined): HandOver => ({
  offer: undefined,
  answeredWish: wish,
  fitSince_ns: NOBODY_FIT,
  unfitSince_ns: undefined,
  isWaiting: false,
  hasGivenUp: false,
});

export interface Fitness {
  /** It stands. */
  readonly isFit: boolean;
  /** It forwards as before, and only nobody plans: a node without the table would be worse. */
  readonly canForward: boolean;
}

/** Whether a node could take over in order: it stands, and follows this scheduler's table. */
function canTake({ peers, now_ns }: ElectorInput, number: number, epoch: number): boolean {
  const peer = peers.find((one) => one.number === number);
  return peer !== undefined && isCandidate(peer, now_ns - AROUND_NS) && hasTableOf(latestOf(peer), epoch);
}

/** One turn of a scheduler in `epoch`. */
export function stepHandOver(
  before: HandOver,
  input: ElectorInput,
  settings: ElectorSettings,
  { epoch, fitness }: { readonly epoch: number; readonly fitness: Fitness },
): HandOver {
  const { own, now_ns } = input;
  const fitSince_ns = settings.preempt ? fitNow(before, input, settings, epoch) : NOBODY_FIT;
  const answeredWish = own.handOverTo === undefined ? undefined : before.answeredWish;
  const next = { ...before, fitSince_ns, answeredWish };
  if (!fitness.isFit) return offerUnfit(next, input, settings, { epoch, canForward: fitness.canForward });
  const offer = next.offer?.cause === "unfit" ? undefined : next.offer;
  const fresh: HandOver = { ...next, offer, unfitSince_ns: undefined, isWaiting: false, hasGivenUp: false };
  if (offer === undefined) return offerWished(fresh, input, settings, epoch);
  const isOpen = now_ns - offer.since_ns < OFFER_NS && canTake(input, offer.to, epoch);
  return isOpen ? fresh : withdraw(fresh, offer, now_ns);
}

function fitNow(
  { fitSince_ns }: HandOver,
  input: ElectorInput,
  { nodes, number }: ElectorSettings,
  epoch: number,
): ReadonlyMap<number, number> {
  const { peers, now_ns } = input;
  const priorityOf = (of: number): number => nodes.find((node) => node.number === of)?.priority ?? 0;
  const fit = peers
    .map((peer) => peer.number)
    .filter((peer) => priorityOf(peer) > priorityOf(number) && canTake(input, peer, epoch));
  return new Map(fit.map((peer) => [peer, fitSince_ns.get(peer) ?? now_ns]));
}

function offerUnfit(
  before: HandOver,
  input: ElectorInput,
  settings: ElectorSettings,
  { epoch, canForward }: { epoch: number; canForward: boolean },
): HandOver {
  const { now_ns, isStopping } = input;
  const since_ns = now_ns - AROUND_NS;
  const unfitSince_ns = before.unfitSince_ns ?? now_ns;
  const isLong = isStopping && now_ns - unfitSince_ns >= TABLE_NS;
  const best = bestCandidate(settings, input, { epoch, since_ns });
  const to = best?.hasTable === true || !canForward || isLong ? best?.number : undefined;
  const next = { ...before, unfitSince_ns, isWaiting: isStopping && best !== undefined && to === undefined };
  // Nobody could do better: this node goes on.
  if (to === undefined) return { ...next, offer: undefined, hasGivenUp: false };
  if (before.offer?.cause !== "unfit") return { ...next, offer: { to, since_ns: now_ns, cause: "unfit" } };
  return { ...next, hasGivenUp: now_ns - before.offer.since_ns >= UNFIT_NS };
}

/** It was not taken. */
function withdraw(before: HandOver, { to, cause }: Offer, now_ns: number): HandOver {
  const answeredWish = cause === "wish" ? to : before.answeredWish;
  const fitSince_ns =
    cause === "preempt" ? new Map([...before.fitSince_ns, [to, now_ns]]) : before.fitSince_ns;
  return { ...before, offer: undefined, answeredWish, fitSince_ns };
}

function offerWished(
  before: HandOver,
  input: ElectorInput,
  { preempt_delay_s }: ElectorSettings,
  epoch: number,
): HandOver {
  const { own, now_ns } = input;
  const wish = own.handOverTo;
  if (wish !== undefined && wish !== before.answeredWish) {
    if (!canTake(input, wish, epoch)) return { ...before, answeredWish: wish };
    return { ...before, offer: { to: wish, since_ns: now_ns, cause: "wish" } };
  }
  const due_ns = now_ns - preempt_delay_s * 1000 * MS;
  const [to] = [...before.fitSince_ns].find(([, since_ns]) => since_ns <= due_ns) ?? [];
  if (to === undefined) return before;
  return { ...before, offer: { to, since_ns: now_ns, cause: "preempt" } };
}
