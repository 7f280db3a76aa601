/** The elector's state, and what a tick makes of it: one object that the steps write into and nobody else sees. */
import type { ElectorActions, ElectorEvent } from "./actions.ts";
import type { Announcing } from "./announcing.ts";
import type { ElectorInput, ElectorSettings } from "./facts.ts";
import type { HandOver } from "./hand-over.ts";
import { latestEpoch } from "./peers.ts";
import type { Contention } from "./succession.ts";
import type { Side } from "./sides.ts";
import { MS } from "./timing.ts";
import type { Watch } from "./watch.ts";

type Role =
  /** It knows too little to do anything: it asks everybody, once round. */
  | { readonly kind: "looking"; readonly since_ns: number }
  | { readonly kind: "following"; readonly watch: Watch }
  /** Somebody has to take over from the scheduler of the watch's epoch. */
  | { readonly kind: "contending"; readonly watch: Watch; readonly contention: Contention }
  | { readonly kind: "scheduling"; readonly epoch: number };

export interface Elector {
  readonly settings: ElectorSettings;
  readonly role: Role;
  /** Undefined before the first tick. */
  readonly started_ns: number | undefined;
  /** When the latest tick was. */
  readonly ticked_ns: number;
  /** The latest stall of this node's own: what came meanwhile may not have been taken in at its end. */
  readonly stall: { readonly from_ns: number; readonly to_ns: number };
  /** The latest epoch that the page had, or a peer told of. */
  readonly seen: number;
  readonly handOver: HandOver;
  readonly announcing: Announcing;
  /** The epoch whose scheduler has handed over to this node, with its table; 0: none has. */
  readonly handedOver: number;
  /** Until then everybody is asked often: this node has just taken over. */
  readonly busyUntil_ns: number;
  readonly stands: boolean;
  readonly side: Side;
  /** Why it must not claim, as it was told last. */
  readonly objection: string;
  /** When each peer's latest answer was asked for, and its epoch: in the order of the input. */
  readonly answers: readonly number[];
  /** Undefined before the first tick. */
  readonly paces: Paces | undefined;
}
export interface Paces {
  /** Who is asked often even in calm times: the scheduler, or to whom this node hands over. */
  readonly first: number | undefined;
  readonly isUrgent: boolean;
  /** Who is silent, and asked often by a scheduler: it has to know at once who is back, maybe with a scheduler of his own. */
  readonly silent: readonly number[];
  readonly paces_ms: ReadonlyMap<number, number>;
}

type Writable<T> = { -readonly [Key in keyof T]: T[Key] };
export interface Turn {
  readonly settings: ElectorSettings;
  readonly input: ElectorInput;
  readonly state: Writable<Elector>;
  /** This node stood still, or has just begun: what it is asked to do may be called off by now. */
  readonly isLate: boolean;
  readonly actions: Writable<ElectorActions>;
  readonly events: ElectorEvent[];
}

/** Without a turn of its scheduler process for so long, a node does not stand. */
const TURNED_NS = 1000 * MS;
/** Six ticks. */
const LATE_NS = 30 * MS;
const NOBODY: readonly number[] = [];
const NO_PACES: ReadonlyMap<number, number> = new Map();

/** A tick begins: nothing is to be done yet, and the lease is not renewed. */
export function beginTurn(before: Elector, input: ElectorInput): Turn {
  const { settings } = before;
  const events: ElectorEvent[] = [];
  const stands = standsNow(settings, input);
  const isLate = input.now_ns - before.ticked_ns >= LATE_NS;
  const seen = latestEpoch(input.peers, Math.max(before.seen, input.page.epoch));
  const actions: Turn["actions"] = {
    raise: undefined,
    markDead: undefined,
    until_ns: 0,
    stands,
    side: 0,
    clearsOffer: false,
    news: { epoch: 0, isLeased: false },
    offerTo: undefined,
    paces_ms: before.paces?.paces_ms ?? NO_PACES,
    askNow: false,
    announce: false,
    soon: false,
    wantsEcho: NOBODY,
    reserveCounter: undefined,
    canStop: false,
    events,
  };
  const stall = isLate ? { from_ns: before.ticked_ns, to_ns: input.now_ns } : before.stall;
  const state = { ...before, seen, stands, stall, ticked_ns: input.now_ns };
  return { settings, input, state, isLate, actions, events };
}

/** Whether this node could schedule now. */
function standsNow({ nodes, number }: ElectorSettings, { own, now_ns, isStopping }: ElectorInput): boolean {
  const priority = nodes.find((node) => node.number === number)?.priority ?? 0;
  const isSchedulerThere = now_ns - own.schedulerTurned_ns < TURNED_NS;
  return own.hasCarrier && own.hasProgram && isSchedulerThere && priority > 0 && !isStopping;
}

/** Something that people may want to know. */
export function tell(
  { events, actions, input }: Turn,
  kind: ElectorEvent["kind"],
  facts: Omit<ElectorEvent, "kind" | "epoch"> = {},
): void {
  events.push({ kind, epoch: actions.raise?.to ?? input.page.epoch, ...facts });
}
