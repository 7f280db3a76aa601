/**
 * Who schedules, as a function of what this node knows: a tick every FAILOVER_TICK_MS with facts in, and what is to be
 * done out. Pure: no clock, no sockets, no page. What the edge has to do with the actions stands in actions.ts; how a
 * node is elected, in README.md.
 */
import { counterOf, schedulerIn } from "../conf/epoch.ts";
import { PEER_HEARTBEAT_MS } from "../conf/limits.ts";
import type { ElectorActions } from "./actions.ts";
import { announceMerged, newAnnouncing } from "./announcing.ts";
import type { ElectorInput, ElectorSettings } from "./facts.ts";
import { follow } from "./following.ts";
import { newHandOver } from "./hand-over.ts";
import { lookRound } from "./looking.ts";
import { latestOf } from "./peers.ts";
import { schedule } from "./scheduling.ts";
import { NO_SIDE } from "./sides.ts";
import { MS } from "./timing.ts";
import { startLooking } from "./transitions.ts";
import { beginTurn, tell, type Elector, type Paces, type Turn } from "./turn.ts";

export type { ElectorActions, ElectorEvent } from "./actions.ts";
export type { ElectorInput, ElectorSettings, PeerFacts, PeerRow, VipClaim } from "./facts.ts";
export type { Elector } from "./turn.ts";

/** A peer that has answered nothing for so long was away: its segment may have learnt another node's address. */
const AWAY_NS = 250 * MS;
/** Counters that are reserved on disk ahead of their use, and when the next ones are. */
const RESERVED = 16;
const RESERVED_LEFT = 8;

/** Knows nothing yet: it looks round first. */
export function createElector(settings: ElectorSettings): Elector {
  return {
    settings,
    role: { kind: "looking", since_ns: 0 },
    started_ns: undefined,
    ticked_ns: -Infinity,
    stall: { from_ns: -Infinity, to_ns: -Infinity },
    seen: 0,
    handOver: newHandOver(undefined),
    announcing: newAnnouncing(0, 0),
    handedOver: 0,
    busyUntil_ns: 0,
    stands: false,
    side: NO_SIDE,
    objection: "",
    answers: [],
    paces: undefined,
  };
}

/** One turn. */
export function tick(
  elector: Elector,
  input: ElectorInput,
): { readonly state: Elector; readonly actions: ElectorActions } {
  const turn = beginTurn(elector, input);
  const { state, actions } = turn;
  if (elector.started_ns === undefined) {
    state.started_ns = input.now_ns;
    startLooking(turn, "it has just started");
  }
  // What it has not heard up to now, it could not hear.
  if (elector.role.kind === "contending" && !elector.stands && state.stands)
    startLooking(turn, "it would take over again");
  // Who is back may have another scheduler's clients beside it: they must not be told before that is settled.
  noteReturns(turn);
  takeSteps(turn);
  tellStanding(turn, elector);
  setPaces(turn);
  const { role, handOver } = state;
  actions.news = { epoch: actions.raise?.to ?? input.page.epoch, isLeased: actions.until_ns > 0 };
  if (role.kind !== "scheduling") state.side = NO_SIDE;
  actions.side = state.side.nodes;
  actions.reserveCounter = counterToReserve(turn);
  const isHandingOver = handOver.offer !== undefined || handOver.isWaiting;
  actions.canStop = input.isStopping && (role.kind !== "scheduling" || !isHandingOver);
  return { state, actions };
}

/** Each step may find that another role has to go on at once. */
function takeSteps(turn: Turn): void {
  const { state } = turn;
  if (state.role.kind === "scheduling") schedule(turn, state.role.epoch);
  if (state.role.kind === "looking") lookRound(turn, state.role.since_ns);
  if (state.role.kind === "following" || state.role.kind === "contending") follow(turn, state.role.watch);
}

/**
 * A scheduler announces again when a peer is back: who was cut off from here may have heard of another one. The node whose
 * place it took is back with its first answer in this epoch, however short that took; unless it has handed over: then its
 * table is this one's, its clients are to hear of it at once, and the series that has begun goes on.
 */
function noteReturns(turn: Turn): void {
  const { state, input } = turn;
  const { answers: before, role } = state;
  const answers: number[] = [];
  let back: number | undefined;
  for (const peer of input.peers) {
    // Who answers on one segment has not gone.
    const { answered_ns, epoch } = latestOf(peer);
    const formerly_ns = before[answers.length] ?? answered_ns;
    const former = before[answers.length + 1] ?? epoch;
    const hasYielded = former !== epoch && schedulerIn(former) === peer.number && former !== state.handedOver;
    if (answered_ns - formerly_ns > AWAY_NS || hasYielded) back = peer.number;
    answers.push(answered_ns, epoch);
  }
  state.answers = answers;
  if (back === undefined || role.kind !== "scheduling") return;
  state.announcing = announceMerged(state.announcing, input.now_ns, back);
  tell(turn, "announces-again", { peer: back, reason: "that node is back" });
}

function tellStanding(turn: Turn, { stands, started_ns }: Elector): void {
  const { state, input } = turn;
  if (state.stands === stands && started_ns !== undefined) return;
  tell(turn, state.stands ? "stands" : "stands-not", state.stands ? {} : { reason: whyNot(input) });
}

function whyNot({ own, isStopping }: ElectorInput): string {
  if (isStopping) return "it is stopping";
  if (!own.hasCarrier) return "an interface is down";
  if (!own.hasProgram) return "an interface is without the program";
  return "its scheduler process does not turn, or its priority is 0";
}

function setPaces({ state, actions, settings, input }: Turn): void {
  const { role, handOver, paces, busyUntil_ns } = state;
  const isSuspicious = role.kind === "following" && role.watch.suspectedSince_ns !== undefined;
  const isCalm = role.kind === "scheduling" || role.kind === "following";
  const isUrgent = isSuspicious || !isCalm || input.now_ns < busyUntil_ns;
  const first = role.kind === "following" ? schedulerIn(role.watch.epoch) : handOver.offer?.to;
  const silent = role.kind === "scheduling" ? silentPeers(input) : NOBODY;
  const isSame = paces?.first === first && paces?.isUrgent === isUrgent && isSameList(paces.silent, silent);
  const chosen = paces !== undefined && isSame ? paces : pacesFor(settings, { first, isUrgent, silent });
  state.paces = chosen;
  actions.paces_ms = chosen.paces_ms;
}

const NOBODY: readonly number[] = [];
const isSameList = (one: readonly number[], other: readonly number[]): boolean =>
  one.length === other.length && one.every((number, i) => number === other[i]);

function silentPeers({ peers, now_ns }: ElectorInput): readonly number[] {
  const silent = peers.filter((peer) => now_ns - latestOf(peer).answered_ns > AWAY_NS);
  return silent.length === 0 ? NOBODY : silent.map(({ number }) => number);
}

function pacesFor(
  { nodes, number: self, heartbeat_ms }: ElectorSettings,
  { first, isUrgent, silent }: Omit<Paces, "paces_ms">,
): Paces {
  const calm_ms = Math.max(PEER_HEARTBEAT_MS, heartbeat_ms);
  const isOften = (number: number): boolean => isUrgent || number === first || silent.includes(number);
  const others = nodes.filter(({ number }) => number !== self);
  const paces_ms = new Map(others.map(({ number }) => [number, isOften(number) ? heartbeat_ms : calm_ms]));
  return { first, isUrgent, silent, paces_ms };
}

function counterToReserve({ state, settings, input }: Turn): number | undefined {
  const used = Math.max(counterOf(state.seen), settings.floorCounter);
  return used + RESERVED_LEFT > input.reservedCounter ? used + RESERVED : undefined;
}
