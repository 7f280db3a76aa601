/** The step of a node that looks round: at its start, or after it stood still or gave up its lease. */
import { schedulerIn } from "../conf/epoch.ts";
import type { PeerFacts } from "./facts.ts";
import { hasAnswered, isAbsent, isAskable, schedulerAmong } from "./peers.ts";
import { isFirstOfAll } from "./succession.ts";
import { LOOK_AT_MOST_NS, LOOK_NS } from "./timing.ts";
import { resume, startFollowing } from "./transitions.ts";
import type { Turn } from "./turn.ts";

export function lookRound(turn: Turn, since_ns: number): void {
  const { input, settings, state } = turn;
  const { seen } = state;
  turn.actions.clearsOffer = input.page.offered !== 0;
  // A look takes a tick at least, even where nobody can be asked.
  if (since_ns === input.now_ns && input.peers.length > 0) return;
  const scheduler = schedulerAmong(input.peers, seen);
  if (scheduler !== undefined && hasAnswered(scheduler, since_ns)) return startFollowing(turn, seen);
  // A node that does not stand can do nothing; once it does, only what it finds out from then on counts.
  if (!state.stands && scheduler === undefined) {
    state.role = { kind: "looking", since_ns: input.now_ns };
    return;
  }
  // Where heartbeats are filtered, pings tell whether others are there.
  if (seen === 0) turn.actions.wantsEcho = input.peers.map(({ number }) => number);
  if (!isRoundOver(turn, since_ns)) return;
  if (input.page.epoch === seen && schedulerIn(seen) === settings.number) return resume(turn);
  startFollowing(turn, seen);
}

function isRoundOver({ input, settings, state }: Turn, since_ns: number): boolean {
  const { peers, now_ns } = input;
  const looked_ns = now_ns - since_ns;
  // At the array's first start others may be about to come, who would have gone before.
  if (state.seen === 0 && !isFirstOfAll(settings) && looked_ns < LOOK_NS) return false;
  // MAC addresses are found out in the first moments.
  const isOld = now_ns - (state.started_ns ?? now_ns) >= LOOK_NS;
  // Who has not been asked yet, as this process has only just begun to, is not dead for that.
  const isKnown = (peer: PeerFacts): boolean =>
    hasAnswered(peer, since_ns) || (isAskable(peer) ? isAbsent(peer, since_ns, now_ns) : isOld);
  return looked_ns >= LOOK_AT_MOST_NS || peers.every(isKnown);
}
