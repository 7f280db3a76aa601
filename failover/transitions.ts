/** How a node comes into each of its roles. */
import { counterOf, epochOf, schedulerIn } from "../conf/epoch.ts";
import { newAnnouncing } from "./announcing.ts";
import { newHandOver } from "./hand-over.ts";
import { OWN_SIDE } from "./sides.ts";
import { LEASE_NS, MS } from "./timing.ts";
import { tell, type Turn } from "./turn.ts";
import { newWatch } from "./watch.ts";

/** For so long after a claim everybody is asked often, so that all hear of it. */
const BUSY_NS = 1000 * MS;

/** From here on only what is asked for counts. */
export function startLooking(turn: Turn, reason: string): void {
  turn.state.role = { kind: "looking", since_ns: turn.input.now_ns };
  turn.actions.askNow = true;
  tell(turn, "looks", { reason });
}

/** Follows the scheduler of an epoch; where there is none, or it is this node itself, its place is vacant. */
export function startFollowing(turn: Turn, epoch: number): void {
  const { input, settings, state, actions } = turn;
  const slots = input.peers[0]?.rows.length ?? 0;
  const since_ns = state.role.kind === "looking" ? state.role.since_ns : input.now_ns;
  state.role = { kind: "following", watch: newWatch(epoch, slots, since_ns) };
  const number = schedulerIn(epoch);
  // An epoch of this node that it has forgotten must not be the page's: the kernel would schedule in it.
  if (number === undefined || number === settings.number) return;
  const { epoch: from } = input.page;
  if (from < epoch) actions.raise = { from, to: epoch, former: from };
  tell(turn, "follows", { peer: number });
}

/** A new epoch, in which this node schedules. `former` may name another scheduler than that of the epoch before. */
export function claim(turn: Turn, reason: string, former = turn.input.page.epoch): void {
  const { input, settings, state, actions } = turn;
  const counter = Math.max(counterOf(state.seen), settings.floorCounter) + 1;
  const epoch = epochOf(counter, settings.number);
  actions.raise = { from: input.page.epoch, to: epoch, former };
  tell(turn, "claims", { reason });
  beginScheduling(turn, epoch);
}

/** The epoch of before: nobody has begun a later one. */
export function resume(turn: Turn): void {
  tell(turn, "resumes");
  beginScheduling(turn, turn.input.page.epoch);
}

function beginScheduling({ state, actions, input }: Turn, epoch: number): void {
  const { now_ns, own } = input;
  state.role = { kind: "scheduling", epoch };
  state.busyUntil_ns = now_ns + BUSY_NS;
  state.handOver = newHandOver(own.handOverTo);
  state.objection = "";
  state.side = OWN_SIDE;
  state.announcing = newAnnouncing(now_ns, 1);
  actions.until_ns = now_ns + LEASE_NS;
  actions.askNow = true;
  actions.announce = true;
}
