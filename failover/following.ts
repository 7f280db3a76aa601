/** The step of a node that does not schedule: it watches the scheduler, and contends for its place when that is free. */
import { schedulerIn } from "../conf/epoch.ts";
import { newAnnouncing } from "./announcing.ts";
import type { ElectorSettings } from "./facts.ts";
import { schedulerAmong } from "./peers.ts";
import {
  freshFrom_ns,
  hearsNobody,
  objection,
  ownSilence,
  turnOf_ns,
  type Contention,
} from "./succession.ts";
import { MS } from "./timing.ts";
import { claim, startFollowing } from "./transitions.ts";
import { tell, type Turn } from "./turn.ts";
import { look, type Watch } from "./watch.ts";

const REASONS: Readonly<Record<Contention["cause"], string>> = {
  silent: "the scheduler's kernel is silent",
  unleased: "the scheduler does not answer for the VIPs any more",
  vacant: "nobody schedules",
};

interface Vacancy {
  readonly watch: Watch;
  readonly cause: Contention["cause"];
  readonly silent: readonly number[];
}

export function follow(turn: Turn, known: Watch): void {
  const { input, settings, state, actions } = turn;
  if (state.seen > known.epoch) startFollowing(turn, state.seen);
  const watch = state.role.kind === "following" ? state.role.watch : known;
  if (input.page.offered !== 0 && takeOffer(turn)) return;
  const scheduler = schedulerAmong(input.peers, watch.epoch);
  if (scheduler === undefined) return contend(turn, { watch, cause: "vacant", silent: [] });
  const sighting = look(watch, scheduler, input.now_ns, livenessOf(settings));
  const { suspectedSince_ns } = sighting.watch;
  if (suspectedSince_ns === undefined) return goOn(turn, sighting.watch);
  if (watch.suspectedSince_ns === undefined) actions.askNow = true;
  actions.wantsEcho = [scheduler.number];
  const silent = ownSilence(input.peers, scheduler, sighting.silent, suspectedSince_ns);
  if (silent.length > 0) contend(turn, { watch: sighting.watch, cause: "silent", silent });
  else if (sighting.isUnleased) contend(turn, { watch: sighting.watch, cause: "unleased", silent });
  else goOn(turn, sighting.watch);
}

const livenessOf = ({ heartbeat_ms, dead_after_ms }: ElectorSettings) => ({
  heartbeat_ns: heartbeat_ms * MS,
  dead_after_ns: dead_after_ms * MS,
});

/** Nothing is wrong with the scheduler, or not enough. */
function goOn(turn: Turn, watch: Watch): void {
  const { state } = turn;
  if (state.role.kind === "contending") tell(turn, "follows-again", { peer: schedulerIn(watch.epoch) });
  state.objection = "";
  state.role = { kind: "following", watch };
}

/** The scheduler itself has asked this node to take over: it asks again and again, as long as it wants that. */
function takeOffer(turn: Turn): boolean {
  const { input, state, actions, settings } = turn;
  const { epoch, offered } = input.page;
  actions.clearsOffer = true;
  const isCurrent = offered === epoch && epoch === state.seen && schedulerIn(epoch) !== settings.number;
  if (!isCurrent || !state.stands || turn.isLate) return false;
  // Without the table it knows the other one's connections only after a merge, as after a conflict.
  state.handedOver = input.own.table_version > 0 ? epoch : 0;
  claim(turn, "the scheduler has handed over");
  return true;
}

/** This node takes the place when its turn has come, and nothing speaks against it. */
function contend(turn: Turn, vacancy: Vacancy): void {
  const { input, settings, state, actions } = turn;
  const contention = contentionOf(turn, vacancy);
  state.role = { kind: "contending", watch: vacancy.watch, contention };
  if (contention.epoch === 0) actions.wantsEcho = input.peers.map(({ number }) => number);
  const against = objection(settings, input, contention);
  tellObjection(turn, against);
  if (against !== undefined || !state.stands) {
    const held = { ...contention, from_ns: input.now_ns };
    state.role = { kind: "contending", watch: vacancy.watch, contention: held };
    return;
  }
  if (input.now_ns < turnOf_ns(settings, input, contention)) return;
  if (contention.cause === "silent") actions.markDead = schedulerIn(contention.epoch);
  claim(turn, REASONS[contention.cause]);
  // It may be cut off from the others and their clients, and just be so no longer: all are asked before it is announced.
  if (!hearsNobody(input.peers, contention)) return;
  state.announcing = newAnnouncing(input.now_ns, 0);
  actions.announce = false;
}

function contentionOf(turn: Turn, { watch, cause, silent }: Vacancy): Contention {
  const { role } = turn.state;
  const { now_ns } = turn.input;
  const { epoch } = watch;
  const asked_ns = watch.suspectedSince_ns ?? watch.since_ns;
  const echoed_ns = Math.max(asked_ns, freshFrom_ns(turn.state.stall, now_ns));
  const before = role.kind === "contending" ? role.contention : undefined;
  if (before?.cause === cause && before.epoch === epoch) return { ...before, asked_ns, echoed_ns, silent };
  tell(turn, "contends", { peer: schedulerIn(epoch), reason: REASONS[cause] });
  return { epoch, cause, started_ns: now_ns, asked_ns, echoed_ns, from_ns: now_ns, silent };
}

function tellObjection(turn: Turn, against: ReturnType<typeof objection>): void {
  if (against !== undefined && against.reason !== turn.state.objection) tell(turn, "held", against);
  turn.state.objection = against?.reason ?? "";
}
