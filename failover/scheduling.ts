/** The step of a node that schedules: it renews its lease as long as nothing speaks against it. */
import { schedulerIn } from "../conf/epoch.ts";
import { announceMerged, answerForeign, answerMember, stepAnnouncing } from "./announcing.ts";
import { stepHandOver, type Fitness, type HandOver } from "./hand-over.ts";
import { countSide, judgeRival } from "./sides.ts";
import { LEASE_NS } from "./timing.ts";
import { claim, startFollowing, startLooking } from "./transitions.ts";
import { tell, type Turn } from "./turn.ts";

export function schedule(turn: Turn, epoch: number): void {
  const { state, input } = turn;
  const { page, now_ns } = input;
  if (page.epoch !== epoch || state.seen > epoch) return heedLater(turn, epoch);
  if (now_ns >= page.until_ns) return startLooking(turn, "it stood still for longer than its lease");
  const before = state.handOver;
  state.handOver = stepHandOver(before, input, turn.settings, { epoch, fitness: fitnessOf(turn) });
  tellOffers(turn, before);
  if (state.handOver.hasGivenUp) {
    tell(turn, "gives-up", { reason: "it is not fit to schedule, and others are" });
    return startLooking(turn, "it has given up its lease");
  }
  state.side = countSide(state.side, input.peers, epoch, now_ns);
  turn.actions.until_ns = now_ns + LEASE_NS;
  turn.actions.offerTo = state.handOver.offer?.to;
  announceWhatIsDue(turn);
}

/**
 * There is a later epoch. It wins, unless its scheduler has fewer nodes on its side: then this one goes on, with its table as it
 * is, in an epoch that is later still. Whoever stood still, or has asked for it, or can't schedule, yields.
 */
function heedLater(turn: Turn, epoch: number): void {
  const { state, input, actions } = turn;
  const { page, peers, now_ns } = input;
  const hasOffered = state.handOver.offer?.to === schedulerIn(state.seen);
  const { disputed_ns } = state.side;
  // Since the program has gone over to the other one the lease is not renewed: then the dispute's time counts.
  const isByLease = disputed_ns === undefined || page.epoch === epoch;
  const hasStoodStill = isByLease ? now_ns >= page.until_ns : now_ns - disputed_ns >= LEASE_NS;
  if (hasOffered || !state.stands || hasStoodStill) return stepDown(turn, epoch);
  const verdict = judgeRival(state.side, peers, state.seen, now_ns);
  if (verdict === "yields") return stepDown(turn, epoch);
  if (verdict === "goes-on") return goOn(turn);
  state.side = { ...state.side, disputed_ns: state.side.disputed_ns ?? now_ns };
  actions.until_ns = page.epoch === epoch ? page.until_ns : 0;
  actions.askNow = true;
}

function goOn(turn: Turn): void {
  const { state, actions, input } = turn;
  const { side } = state;
  // Its clients' frames come from there for a while.
  const reason = `the scheduler that it has met has fewer nodes on its side than ${side.nodes}`;
  claim(turn, reason, state.seen);
  state.side = { ...side, disputed_ns: undefined };
  state.announcing = announceMerged(state.announcing, input.now_ns, schedulerIn(state.seen)!);
  actions.announce = false;
}

/** There is a later epoch, or this one was never written to the page or is not there any more. */
function stepDown(turn: Turn, epoch: number): void {
  const { seen } = turn.state;
  if (schedulerIn(seen) !== turn.settings.number) {
    tell(turn, "yields", { peer: schedulerIn(seen) });
    return startFollowing(turn, seen);
  }
  if (turn.input.page.epoch !== epoch) return startLooking(turn, "its data plane was made anew");
  if (!turn.state.stands)
    return startLooking(turn, "an epoch of its own is still known, and it is not fit to claim another one");
  // Nobody schedules in that one, but all others wait for this node to do so.
  claim(turn, "an epoch of its own that it had forgotten is still known");
}

const fitnessOf = ({ state, input: { own } }: Turn): Fitness => ({
  isFit: state.stands,
  canForward: own.hasCarrier && own.hasProgram,
});

function tellOffers(turn: Turn, { offer: before, answeredWish }: HandOver): void {
  const { offer, answeredWish: answered } = turn.state.handOver;
  if (offer !== undefined && offer !== before) {
    turn.actions.askNow = true;
    tell(turn, "offers", { peer: offer.to, reason: offer.cause });
  } else if (offer === undefined && before !== undefined) {
    tell(turn, "offer-ended", { peer: before.to, reason: "it was not taken" });
  } else if (offer === undefined && answered !== undefined && answered !== answeredWish) {
    tell(turn, "offer-ended", { peer: answered, reason: "that node would not take over" });
  }
}

/** Others that claim the VIPs, and the series that is under way. */
function announceWhatIsDue(turn: Turn): void {
  const { state, actions, input } = turn;
  for (const one of input.vipClaims) {
    const answer =
      one.kind === "foreign"
        ? answerForeign(state.announcing, input.now_ns)
        : answerMember(state.announcing, input.now_ns, one.number);
    if (answer === undefined) continue;
    state.announcing = answer;
    if (one.kind === "foreign") tell(turn, "foreign-claim", { mac: one.mac });
    else tell(turn, "announces-again", { peer: one.number, reason: "it has announced the VIPs, too" });
  }
  const { announcing, does } = stepAnnouncing(state.announcing, input);
  state.announcing = announcing;
  actions.announce = does === "announce";
  actions.askNow ||= does === "ask";
  actions.soon = does === "ask" || does === "wait";
}
