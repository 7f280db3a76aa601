/**
 * Who is to succeed a scheduler, and what speaks against claiming now: a peer that still hears it, an ICMP echo, or that
 * this node hears nobody at all. Pure.
 */
import { schedulerIn } from "../conf/epoch.ts";
import { LOOK_NS, MS, PLACE_NS } from "./timing.ts";
import type { ElectorInput, ElectorSettings, PeerFacts } from "./facts.ts";
import { hasAnswered, hasTableOf, hearsSchedulerOf, isCandidate, latestOf } from "./peers.ts";

/** What a peer told counts for so long, or for four heartbeats if that is longer. */
const RECENT_NS = 40 * MS;
const ECHO_RECENT_NS = RECENT_NS * 2;
/** An echo answer holds a claim so long. Where heartbeats are answered by others, they are the better witness. */
const ECHO_HOLD_NS = 1000 * MS;
/** Whoever hears nobody all at once may have lost its own port for a moment: it waits so much longer. */
const CUT_OFF_NS = 200 * MS;
/** How long a node without the table waits for others that have it: to claim, or to be fed by the scheduler. */
const PATIENCE_NS = 200 * MS;
const UNLEASED_PATIENCE_NS = 1000 * MS;

export interface Contention {
  readonly epoch: number;
  /** silent: the scheduler's kernel. unleased: it answers, but not for the VIPs. vacant: nobody schedules in the epoch. */
  readonly cause: "silent" | "unleased" | "vacant";
  /** Since when it is one. */
  readonly started_ns: number;
  /** What was asked for before this is of no account. */
  readonly asked_ns: number;
  /** The same for ICMP echoes, which are to be recent, too. */
  readonly echoed_ns: number;
  /** From here on candidates wait for their turn. */
  readonly from_ns: number;
  /** Slots whose silence counts. */
  readonly silent: readonly number[];
}

/** How long a peer's word holds. */
export const recent_ns = ({ heartbeat_ms }: ElectorSettings): number =>
  Math.max(RECENT_NS, 4 * heartbeat_ms * MS);

/**
 * The slots where a scheduler's silence is its own. Where this node hears nobody else either, though elsewhere it does,
 * the fault is rather its own; and of two that only hear each other on one of their segments, neither can tell.
 */
export function ownSilence(
  peers: readonly PeerFacts[],
  scheduler: PeerFacts,
  silent: readonly number[],
  since_ns: number,
): readonly number[] {
  if (silent.length === 0) return silent;
  const isHeardAt = (slot: number): boolean =>
    peers.some((peer) => peer !== scheduler && (peer.rows[slot]?.answered_ns ?? 0) >= since_ns);
  const heard = silent.filter(isHeardAt);
  if (heard.length > 0) return heard;
  const isAll = silent.length === scheduler.rows.length;
  const isAlone = scheduler.rows.every((_, slot) => !isHeardAt(slot));
  return isAll && isAlone ? silent : [];
}

/** How many candidates come before this node. The scheduler that is to be succeeded is none. */
function placeOf(
  settings: ElectorSettings,
  { peers, page, own, now_ns }: ElectorInput,
  { epoch, asked_ns }: Pick<Contention, "epoch" | "asked_ns">,
): number {
  const since_ns = Math.max(asked_ns, now_ns - recent_ns(settings) * 2);
  const self = rankOf(settings, settings.number, page.epoch === epoch ? own.table_version : 0);
  let place = 0;
  for (const peer of peers) {
    if (peer.number === schedulerIn(epoch) || !isCandidate(peer, since_ns)) continue;
    if (isBefore(rankOfPeer(settings, peer, epoch), self)) place++;
  }
  return place;
}

interface Rank {
  readonly table_version: number;
  readonly priority: number;
  readonly index: number;
}

function rankOf({ nodes }: ElectorSettings, number: number, table_version: number): Rank {
  const index = nodes.findIndex((node) => node.number === number);
  return { table_version, priority: nodes[index]?.priority ?? 0, index };
}

/** A version says something within its epoch only. */
function rankOfPeer(settings: ElectorSettings, peer: PeerFacts, epoch: number): Rank {
  const latest = latestOf(peer);
  return rankOf(settings, peer.number, latest.epoch === epoch ? latest.table_version : 0);
}

function isBefore(one: Rank, other: Rank): boolean {
  if (one.table_version !== other.table_version) return one.table_version > other.table_version;
  if (one.priority !== other.priority) return one.priority > other.priority;
  return one.index < other.index;
}

/** Of the peers that stand, who would be the best to take over from this node, which schedules in an epoch. */
export function bestCandidate(
  settings: ElectorSettings,
  { peers }: ElectorInput,
  { epoch, since_ns }: { epoch: number; since_ns: number },
): { readonly number: number; readonly hasTable: boolean } | undefined {
  let best: { number: number; rank: Rank } | undefined;
  for (const peer of peers) {
    if (!isCandidate(peer, since_ns)) continue;
    const rank = rankOfPeer(settings, peer, epoch);
    if (best === undefined || isBefore(rank, best.rank)) best = { number: peer.number, rank };
  }
  return best && { number: best.number, hasTable: best.rank.table_version > 0 };
}

/** Whether this node would come first if all that are configured could schedule. */
export function isFirstOfAll(settings: ElectorSettings): boolean {
  const self = rankOf(settings, settings.number, 0);
  return settings.nodes.every(
    ({ number }) => number === settings.number || isBefore(self, rankOf(settings, number, 0)),
  );
}

/** Why this node must not claim yet, whatever its place; undefined: nothing speaks against it. */
export function objection(
  settings: ElectorSettings,
  input: ElectorInput,
  contention: Contention,
): { readonly reason: string; readonly peer?: number } | undefined {
  if (contention.cause === "unleased") return undefined;
  if (contention.cause === "vacant") return echoAtFirst(settings, input, contention);
  return opposed(settings, input, contention) ?? echo(input, contention) ?? cutOff(input, contention);
}

/** A second opinion: on every slot where the scheduler is silent here, somebody hears it. */
function opposed(
  settings: ElectorSettings,
  { peers, now_ns }: ElectorInput,
  { epoch, asked_ns, silent }: Contention,
): ReturnType<typeof objection> {
  const since_ns = Math.max(asked_ns, now_ns - recent_ns(settings));
  let witness: number | undefined;
  for (const slot of silent) {
    const peer = peers.find(({ number, rows }) => {
      const row = rows[slot];
      return (
        number !== schedulerIn(epoch) &&
        row !== undefined &&
        row.answered_ns >= since_ns &&
        hearsSchedulerOf(row, epoch)
      );
    });
    if (peer === undefined) return undefined;
    witness = peer.number;
  }
  return witness === undefined ? undefined : { reason: "another node hears the scheduler", peer: witness };
}

const hasHeardAny = (peers: readonly PeerFacts[]): boolean =>
  peers.some(({ rows }) => rows.some(({ answered_ns }) => answered_ns > 0));

/** From when on echoes are recent. This node's own stall does not make them old: it has to take in first what has come meanwhile. */
export const freshFrom_ns = (stall: { from_ns: number; to_ns: number }, now_ns: number): number =>
  (now_ns - stall.to_ns < ECHO_RECENT_NS ? stall.from_ns : now_ns) - ECHO_RECENT_NS;

const isEchoing = ({ echoes }: ElectorInput, number: number, { echoed_ns }: Contention): boolean =>
  (echoes.get(number) ?? -1) >= echoed_ns;

function echo(input: ElectorInput, contention: Contention): ReturnType<typeof objection> {
  const number = schedulerIn(contention.epoch);
  const scheduler = input.peers.find((peer) => peer.number === number);
  if (number === undefined) return undefined;
  const isPartial = contention.silent.length < (scheduler?.rows.length ?? 0);
  if (isPartial || !isEchoing(input, number, contention)) return undefined;
  if (!hasHeardAny(input.peers)) {
    return { reason: "no heartbeat was ever answered, and the scheduler answers pings", peer: number };
  }
  if (input.now_ns - contention.started_ns >= ECHO_HOLD_NS) return undefined;
  return { reason: "the scheduler answers pings", peer: number };
}

/** Nobody has ever scheduled, nor answered a heartbeat: where they are filtered, all would claim. */
function echoAtFirst(
  settings: ElectorSettings,
  input: ElectorInput,
  contention: Contention,
): ReturnType<typeof objection> {
  if (contention.epoch !== 0 || hasHeardAny(input.peers)) return undefined;
  const self = rankOf(settings, settings.number, 0);
  const isYoung = input.now_ns - contention.started_ns < ECHO_HOLD_NS;
  const other = input.peers.find(
    ({ number }) =>
      isEchoing(input, number, contention) && (isYoung || isBefore(rankOf(settings, number, 0), self)),
  );
  return other && { reason: "another node answers pings, but no heartbeats", peer: other.number };
}

/** All fell silent at once: the scheduler, and others that had just been heard. */
function cutOff({ peers, now_ns }: ElectorInput, contention: Contention): ReturnType<typeof objection> {
  const { epoch, asked_ns, started_ns } = contention;
  if (now_ns - started_ns >= CUT_OFF_NS || !hearsNobody(peers, contention)) return undefined;
  const wasHeard = othersThan(epoch, peers).some((peer) => hasAnswered(peer, asked_ns - LOOK_NS));
  return wasHeard ? { reason: "this node hears nobody any more" } : undefined;
}

const othersThan = (epoch: number, peers: readonly PeerFacts[]): readonly PeerFacts[] =>
  peers.filter(({ number }) => number !== schedulerIn(epoch));

/** Whether there are others than the scheduler, and none of them answers since it is in question. */
export function hearsNobody(
  peers: readonly PeerFacts[],
  { cause, epoch, asked_ns }: Pick<Contention, "cause" | "epoch" | "asked_ns">,
): boolean {
  const others = othersThan(epoch, peers);
  return cause === "silent" && others.length > 0 && !others.some((peer) => hasAnswered(peer, asked_ns));
}

/** When this node's turn comes. */
export function turnOf_ns(settings: ElectorSettings, input: ElectorInput, contention: Contention): number {
  const place = placeOf(settings, input, contention);
  return contention.from_ns + place * PLACE_NS + tablePatience_ns(settings, input, contention);
}

/**
 * Without the table no connection would find its node. So a node that has none yet leaves the others more time; and as
 * long as the scheduler's kernel forwards by its own, nothing is urgent.
 */
function tablePatience_ns(
  settings: ElectorSettings,
  { peers, page, own, now_ns }: ElectorInput,
  { epoch, cause, asked_ns }: Contention,
): number {
  if (epoch === 0 || (page.epoch === epoch && own.table_version > 0)) return 0;
  const withTable = peers.filter((peer) => hasTableOf(latestOf(peer), epoch));
  const isScheduler = ({ number }: PeerFacts): boolean => number === schedulerIn(epoch);
  if (cause === "unleased" && withTable.some(isScheduler)) return UNLEASED_PATIENCE_NS;
  const since_ns = Math.max(asked_ns, now_ns - recent_ns(settings) * 2);
  const isOther = withTable.some((peer) => !isScheduler(peer) && isCandidate(peer, since_ns));
  return isOther ? PATIENCE_NS : 0;
}
