/**
 * Carries the policies' plans out: what a policy wants goes to all living nodes by the feed first, and into the
 * kernel's table when they have it. One table is that of the array's nodes, each direct pool has a further one.
 * Nothing here waits or knows of sockets: the caller has it take a turn every few milliseconds.
 */
import { STEER_CHANGES, STEER_MARKS, STEER_PROPOSALS } from "../conf/limits.ts";
import { propose as tell, ready, record, waitingCount, type Feed } from "./feed/feed.ts";
import {
  handOver,
  markNow,
  propose,
  releasePrevious,
  setNodes,
  settle,
  takeStock,
  withPrevious,
  wordChanged,
  type Change,
  type Policy,
  type PolicyNode,
} from "./policy/policy.ts";
import { nextOf, ownerOf } from "./table.ts";

/**
 * A bucket that nobody living would get the next packet of doesn't wait longer than this for a node that does not
 * acknowledge: new connections are dropped meanwhile.
 */
const URGENT_NS = 100_000_000n;

/** No bucket has been idle for so long. */
const NEVER_UNITS = 2 ** 31;

export interface SteeredTable {
  /** "" for the array's nodes, else the direct pool's name. */
  readonly name: string;
  /** First bucket in the bucket map. */
  readonly base: number;
  readonly policy: Policy;
  /** Busy buckets that may move by now. */
  fill: number;
  /** Numbers that the program sends nothing to. */
  down: ReadonlySet<number>;
}
export interface Told {
  readonly table: SteeredTable;
  readonly changes: readonly Change[];
}
interface Mark {
  readonly mark: number;
  /** Who has this version of the table looked after the mark was made. */
  readonly version: number;
}
export interface Steering {
  readonly tables: readonly SteeredTable[];
  readonly feed: Feed<Told>;
  readonly timeout_units: number;
  /** Time in which busy buckets fill a new node; 0: they don't move. */
  readonly fill_s: number;
  turnedAt_ns: bigint | undefined;
  marks: Mark[];
  /** Nothing new is planned: somebody else is about to take over. */
  isFrozen: boolean;
  /** Connections are being taken in that need the buckets' previous nodes: only what has to move does. */
  isMerging: boolean;
  /** Told changes of buckets that nobody living would get, oldest first. */
  urgent: { readonly told: Told; readonly at_ns: bigint }[];
}

/** Begins to steer tables whose policies have taken stock. */
export function createSteering(
  tables: readonly Omit<SteeredTable, "fill" | "down">[],
  feed: Feed<Told>,
  settings: Pick<Steering, "timeout_units" | "fill_s">,
): Steering {
  const steered = tables.map((table) => ({ ...table, fill: 0, down: new Set<number>() }));
  return {
    tables: steered,
    feed,
    ...settings,
    turnedAt_ns: undefined,
    marks: [],
    isFrozen: false,
    isMerging: false,
    urgent: [],
  };
}

function tableNamed({ tables }: Steering, name: string): SteeredTable {
  const table = tables.find((table) => table.name === name);
  if (table === undefined) throw new RangeError(`there is no table ${name}`);
  return table;
}

/** What a policy has decided goes to the nodes. What the kernel has already needs nobody's leave. */
export function tellAll({ feed }: Steering, table: SteeredTable, changes: readonly Change[]): void {
  if (changes.length === 0) return;
  const isDone = changes.every(({ seen, word }) => seen === word);
  if (isDone) record(feed, table.name, changes);
  else tell(feed, table.name, changes, { table, changes });
}

/** The program has given a bucket away by itself (numbered as in the bucket map). */
export function kernelMoved(steering: Steering, bucket: number): void {
  const table = steering.tables.find(
    ({ base, policy }) => bucket >= base && bucket < base + policy.plan.size,
  );
  if (table === undefined) return;
  const change = wordChanged(table.policy, bucket - table.base);
  if (change !== undefined) tellAll(steering, table, [change]);
}

/** Events were lost: all is looked through. */
export function eventsLost(steering: Steering): void {
  for (const table of steering.tables) tellAll(steering, table, takeStock(table.policy));
}

/** Other conditions or weights; `dead` are nodes whose kernel has just fallen silent. */
export function steerNodes(
  steering: Steering,
  name: string,
  nodes: readonly PolicyNode[],
  dead: readonly number[],
): void {
  const table = tableNamed(steering, name);
  const up = nodes.filter(({ condition }) => condition !== "down").map(({ number }) => number);
  table.down = new Set(Array.from({ length: 256 }, (_, number) => number)).difference(new Set(up));
  setNodes(table.policy, nodes);
  for (const number of dead) tellAll(steering, table, handOver(table.policy, number));
}

/** Plans what is due, and settles what all living nodes have. Returns whether the feed has news. */
export function turn(steering: Steering, now_ns: bigint): boolean {
  const before = steering.feed.version;
  const passed_s = Number(now_ns - (steering.turnedAt_ns ?? now_ns)) / 1e9;
  steering.turnedAt_ns = now_ns;
  for (const table of steering.tables) plan(steering, table, now_ns, passed_s);
  settleReady(steering, ready(steering.feed));
  const isOver = ({ at_ns }: Steering["urgent"][number]): boolean => now_ns - at_ns >= URGENT_NS;
  const over = steering.urgent.filter(isOver);
  steering.urgent = steering.urgent.slice(over.length);
  settleReady(
    steering,
    over.map(({ told }) => told),
  );
  return steering.feed.version !== before;
}

function plan(steering: Steering, table: SteeredTable, now_ns: bigint, passed_s: number): void {
  if (steering.isFrozen || waitingCount(steering.feed) > STEER_PROPOSALS) return;
  const { fill_s, isMerging } = steering;
  const timeout_units = isMerging ? NEVER_UNITS : steering.timeout_units;
  const perSecond = fill_s === 0 || isMerging ? 0 : table.policy.plan.size / fill_s;
  // What was not used is not saved up: moves come evenly.
  table.fill = Math.min(table.fill + perSecond * passed_s, Math.max(isMerging ? 0 : 1, perSecond / 10));
  const fillBudget = Math.floor(table.fill);
  const limits = { timeout_units, fillBudget, most: STEER_CHANGES };
  const changes = propose(table.policy, Number(now_ns >> 30n), limits);
  const moves = changes.filter(({ seen, word }) => ownerOf(seen) !== ownerOf(word)).length;
  table.fill -= Math.min(moves, fillBudget);
  tellAll(steering, table, changes);
  const isUrgent = ({ seen }: Change): boolean =>
    table.down.has(ownerOf(seen)) && table.down.has(nextOf(seen));
  const urgent = changes.filter(isUrgent);
  if (urgent.length > 0) steering.urgent.push({ told: { table, changes: urgent }, at_ns: now_ns });
}

/** These are with all living nodes: they take effect. */
export function settleReady(steering: Steering, told: readonly Told[]): void {
  for (const { table, changes } of told) {
    const others = changes.flatMap((change) => settle(table.policy, change) ?? []);
    tellAll(steering, table, others);
  }
}

/** The table of the array's nodes. */
export const nodesTable = (steering: Steering): SteeredTable => tableNamed(steering, "");

/** Buckets that have a previous node. */
export const bucketsWithPrevious = (steering: Steering): number => withPrevious(nodesTable(steering).policy);

/**
 * Makes a point in time for `release`: nodes that have the version that is returned look at their connections after it.
 */
export function makeMark(steering: Steering): number {
  const { policy } = nodesTable(steering);
  const mark = markNow(policy);
  // A version of its own: a node that had the one before may have looked before this.
  const version = record(steering.feed, "", [{ bucket: 0, word: policy.plan.words[0]! }]);
  steering.marks = [...steering.marks, { mark, version }].slice(-STEER_MARKS);
  return version;
}

/** A node, at a version of the table, has told which buckets it still has connections of, as their previous node. */
export function release(
  steering: Steering,
  number: number,
  version: number,
  isHeld: (bucket: number) => boolean,
): void {
  const latest = steering.marks.findLast((mark) => mark.version <= version);
  if (latest === undefined) return;
  const table = nodesTable(steering);
  tellAll(steering, table, releasePrevious(table.policy, number, isHeld, latest.mark));
}
