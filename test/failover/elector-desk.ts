/** A node's elector with everything it could be told, for tests: a heartbeat every tick or so, and answers as a test wants. */
import { epochOf } from "../../conf/epoch.ts";
import {
  createElector,
  tick,
  type Elector,
  type ElectorActions,
  type ElectorInput,
  type ElectorSettings,
  type PeerRow,
} from "../../failover/elector.ts";
import { newSentTimes, SENT_KEPT } from "../../net/heartbeat-memory.ts";
import {
  HEARTBEAT_HEARS,
  HEARTBEAT_LEASED,
  HEARTBEAT_SCHEDULING,
  HEARTBEAT_STANDS,
} from "../../net/heartbeat.ts";

export const MS = 1_000_000;
const TICK_NS = 5 * MS;

type Writable<T> = { -readonly [Key in keyof T]: T[Key] };
type OwnFacts = Writable<ElectorInput["own"]>;
type PageFacts = Writable<ElectorInput["page"]>;
export interface Peer {
  readonly number: number;
  readonly rows: Writable<PeerRow>[];
  /** By slot: whether its kernel answers there. */
  readonly isHeard: boolean[];
  /** What its answers say. */
  epoch: number;
  flags: number;
  table_version: number;
}
export interface Desk {
  state: Elector;
  readonly input: Writable<Omit<ElectorInput, "own" | "page">> & {
    readonly own: OwnFacts;
    readonly page: PageFacts;
  };
  readonly peers: Peer[];
  /** Of the latest tick. */
  actions: ElectorActions;
  /** Of all ticks. */
  readonly kinds: string[];
}

export const LEASED = HEARTBEAT_SCHEDULING | HEARTBEAT_LEASED | HEARTBEAT_HEARS;
export const STANDS = HEARTBEAT_STANDS;
export const HEARS = HEARTBEAT_HEARS;

export interface DeskOptions extends Partial<ElectorSettings> {
  readonly others?: readonly number[];
  readonly slots?: number;
}

/** Node 1 of an array of `others`, before its first tick. */
export function deskOf({ others = [2, 3], slots = 1, ...settings }: DeskOptions = {}): Desk {
  const number = settings.number ?? 1;
  const nodes = [number, ...others].toSorted((a, b) => a - b).map((of) => ({ number: of, priority: 100 }));
  const peers = others.map((of): Peer => {
    return {
      number: of,
      rows: Array.from({ length: slots }, newRow),
      isHeard: Array.from({ length: slots }, () => true),
      epoch: 0,
      flags: STANDS,
      table_version: 0,
    };
  });
  const state = createElector({
    number,
    nodes,
    heartbeat_ms: 10,
    dead_after_ms: 50,
    preempt: false,
    preempt_delay_s: 60,
    floorCounter: 0,
    ...settings,
  });
  const input: Desk["input"] = {
    now_ns: 1_000_000 * MS,
    page: { until_ns: 0, epoch: 0, offered: 0 },
    peers,
    own: {
      table_version: 0,
      hasCarrier: true,
      hasProgram: true,
      schedulerTurned_ns: 1_000_000 * MS,
      handOverTo: undefined,
      isMerging: false,
    },
    echoes: new Map(),
    vipClaims: [],
    reservedCounter: 1000,
    isStopping: false,
  };
  const desk: Desk = { state, input, peers, actions: NO_ACTIONS, kinds: [] };
  return desk;
}

const NO_ACTIONS: ElectorActions = {
  raise: undefined,
  markDead: undefined,
  until_ns: 0,
  stands: false,
  side: 0,
  clearsOffer: false,
  news: { epoch: 0, isLeased: false },
  offerTo: undefined,
  paces_ms: new Map(),
  askNow: false,
  announce: false,
  soon: false,
  wantsEcho: [],
  reserveCounter: undefined,
  canStop: false,
  events: [],
};

const newRow = (): Writable<PeerRow> => ({
  sent: newSentTimes(),
  knowsMac: true,
  answered_ns: 0,
  epoch: 0,
  flags: 0,
  table_version: 0,
});

export const peerOf = ({ peers }: Desk, number: number): Peer =>
  peers.find((peer) => peer.number === number)!;

/** A node's words from now on; by default it stands. */
export function says(desk: Desk, number: number, words: Partial<Peer>): void {
  Object.assign(peerOf(desk, number), words);
}

/** From here on a node's kernel is dead. */
export function dies(desk: Desk, number: number): void {
  peerOf(desk, number).isHeard.fill(false);
}

/** A tick, after each peer whose turn it is has been asked half a tick ago and has answered if it is heard. What is wanted is carried out. */
export function turn(desk: Desk, after_ns = TICK_NS): ElectorActions {
  const { input } = desk;
  input.now_ns += after_ns;
  input.own.schedulerTurned_ns += after_ns;
  askAll(desk, input.now_ns - TICK_NS / 2);
  const { state, actions } = tick(desk.state, input);
  desk.state = state;
  desk.actions = actions;
  desk.kinds.push(...actions.events.map(({ kind }) => kind));
  const { page } = input;
  if (actions.raise !== undefined) page.epoch = actions.raise.to;
  page.until_ns = actions.until_ns;
  if (actions.clearsOffer) page.offered = 0;
  input.vipClaims = [];
  return actions;
}

function askAll({ peers, actions: { askNow } }: Desk, at_ns: number): void {
  for (const { rows, isHeard, epoch, flags, table_version } of peers) {
    for (const [slot, row] of rows.entries()) {
      const last_ns = row.sent.sent_ns[row.sent.count - 1] ?? 0;
      if (!row.knowsMac || (!askNow && at_ns - last_ns < 10 * MS - 1)) continue;
      if (row.sent.count === SENT_KEPT) {
        row.sent.sent_ns.copyWithin(0, 1);
        row.sent.handed_ns.copyWithin(0, 1);
        row.sent.count--;
      }
      row.sent.sent_ns[row.sent.count] = at_ns;
      row.sent.handed_ns[row.sent.count++] = at_ns;
      if (isHeard[slot] === true) Object.assign(row, { answered_ns: at_ns, epoch, flags, table_version });
    }
  }
}

/** Ticks for some time, or until something is so. Returns how long that took, in ms. */
export function turns(
  desk: Desk,
  for_ms: number,
  until: (actions: ElectorActions) => boolean = () => false,
): number {
  for (let passed_ms = 5; passed_ms <= for_ms; passed_ms += 5) if (until(turn(desk))) return passed_ms;
  return Infinity;
}

export const EPOCH = epochOf(7, 2);

/** Node 1 follows node 2, with node 3 beside it; all have the table. */
export function followingDesk(options: DeskOptions = {}): Desk {
  const desk = deskOf(options);
  desk.input.page.epoch = EPOCH;
  desk.input.own.table_version = 500;
  for (const { number } of desk.peers) says(desk, number, { epoch: EPOCH, table_version: 500 });
  for (const { number } of desk.peers) if (number !== 2) says(desk, number, { flags: STANDS | HEARS });
  says(desk, 2, { flags: LEASED | STANDS });
  turns(desk, 200);
  return desk;
}

/** Node 1 schedules, and the others follow it. */
export function schedulingDesk(options: DeskOptions = {}): Desk {
  const desk = deskOf(options);
  turns(desk, 1500);
  desk.input.own.table_version = 500;
  const { epoch } = desk.input.page;
  for (const { number } of desk.peers)
    says(desk, number, { epoch, flags: STANDS | HEARS, table_version: 500 });
  turns(desk, 1500);
  return desk;
}

export const isClaim = ({ events }: ElectorActions): boolean => events.some(({ kind }) => kind === "claims");
