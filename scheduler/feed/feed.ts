/**
 * The sender of the bucket table: what each of the nodes that follow it still has to be told, and what all of
 * them have. The feed keeps its own copy of all words as they are planned, and the latest changes in a ring; the
 * version counts changes. A follower that is within the ring's reach gets what has changed; any other gets a full
 * copy, part by part, with the changes of the meantime in between: a part is read only when the follower has been
 * sent every change before it, so no bucket ever goes back, and no copy has to be kept for a slow follower.
 *
 * Pure: no clock, no sockets. Memory is bounded whatever a follower does; only what waits for acknowledgements
 * grows with what its caller proposes (`waitingCount`).
 */
import { FEED_DELTA_CHANGES, FEED_LOG_CHANGES, FEED_PART_BUCKETS } from "../../conf/limits.ts";
import {
  isLater,
  layoutConflict,
  type FeedMessage,
  type Hello,
  type Layout,
  type Position,
} from "./feed-message.ts";

const FLAG_ROWS = 256;
const BOUNDS = {
  log_changes: FEED_LOG_CHANGES,
  part_buckets: FEED_PART_BUCKETS,
  delta_changes: FEED_DELTA_CHANGES,
};

interface FeedGroup {
  readonly name: string;
  /** One word for each bucket, as planned. */
  readonly words: Int32Array;
  /** By node number. */
  readonly flags: Int32Array;
}
/** The latest changes, by version modulo the size. */
interface Log {
  readonly size: number;
  /** Index of the group, doubled; plus 1 when it is flags that changed. */
  readonly channel: Uint8Array;
  /** Bucket, or node number. */
  readonly row: Int32Array;
  readonly word: Int32Array;
}
interface FeedFollower {
  isConnected: boolean;
  /** The version that it has for certain; -1 as long as that is not known. */
  acknowledged: number;
  /** Whether it goes by that version, too. */
  isInUse: boolean;
  heard_ms: number;
  /** How its connection has to be opened; undefined when that has been sent. */
  opening: "full" | "continue" | undefined;
  /** The version that its connection was opened with. */
  opened: number;
  /** All changes up to here have been sent. */
  sent: number;
  /** What comes next of a full copy: a group's flags (row -1), then its buckets from `row` on. */
  copy: { group: number; row: number } | undefined;
  /** The version at the end of its full copy: an older acknowledgement does not count. */
  wholeFrom: number;
  /** It has to hear that its connections are known. */
  isMerged: boolean;
}
export interface Feed<Token> {
  /** Number of the node that sends. */
  readonly number: number;
  readonly epoch: number;
  readonly history: string;
  readonly base: Position | undefined;
  /** The version that it began with. */
  readonly first: number;
  version: number;
  readonly groups: readonly FeedGroup[];
  readonly log: Log;
  readonly bounds: typeof BOUNDS;
  readonly followers: Map<number, FeedFollower>;
  living: ReadonlySet<number>;
  /** Proposals that some living node may lack, oldest first, from `waitingAt` on. */
  waiting: { readonly version: number; readonly token: Token }[];
  waitingAt: number;
}

export interface FeedOptions {
  /** Number of the node that sends. */
  readonly number: number;
  /** Higher than that of any other node's feed before. */
  readonly epoch: number;
  /** A name that no other feed ever has: 16 random bytes in hexadecimal digits. */
  readonly history: string;
  /**
   * The table's words and the nodes' flags (by number; none: all 0), which the feed copies. "" is the array's
   * nodes and has to be there, the others are direct pools.
   */
  readonly groups: readonly (Pick<FeedGroup, "name" | "words"> & { readonly flags?: Int32Array })[];
  /**
   * The position that these words and flags have exactly, when they were followed from an earlier sender: followers
   * that stand there, too, need no copy. What has changed since then has to be recorded afterwards.
   */
  readonly base?: Position | undefined;
  /** Without a base: the version to begin with, later than any that was told of in this epoch. */
  readonly version?: number;
  /** For tests. */
  readonly bounds?: Partial<typeof BOUNDS>;
}

/** A feed without followers, none of which has to acknowledge anything (see `setLiving`). */
export function createFeed<Token>(options: FeedOptions): Feed<Token> {
  const { number, epoch, history, base } = options;
  const bounds = { ...BOUNDS, ...options.bounds };
  const first = base?.version ?? options.version ?? 0;
  return {
    number,
    epoch,
    history,
    base,
    first,
    version: first,
    groups: options.groups.map(({ name, words, flags }) => ({
      name,
      words: words.slice(),
      flags: flags?.slice() ?? new Int32Array(FLAG_ROWS),
    })),
    bounds,
    log: emptyLog(bounds.log_changes),
    followers: new Map(),
    living: new Set(),
    waiting: [],
    waitingAt: 0,
  };
}

const emptyLog = (size: number): Log => ({
  size,
  channel: new Uint8Array(size),
  row: new Int32Array(size),
  word: new Int32Array(size),
});

/** Where the feed's own table stands. */
export function positionOf({ epoch, version, history }: Feed<unknown>): Position {
  return { epoch, version, history };
}

export interface Change {
  readonly bucket: number;
  readonly word: number;
}

/** Tells all followers that words have changed, and waits for nobody. Returns the version after it. */
export function record(feed: Feed<unknown>, group: string, changes: readonly Change[]): number {
  const index = indexOf(feed, group);
  const { words } = feed.groups[index]!;
  for (const { bucket, word } of changes) append(feed, index * 2, words, bucket, word);
  return feed.version;
}

/**
 * Tells all followers what words shall be; `ready` names the token once every living node has all of them.
 * No changes at all make a barrier: the token comes when all have what went before. Returns the version after it.
 */
export function propose<Token>(
  feed: Feed<Token>,
  group: string,
  changes: readonly Change[],
  token: Token,
): number {
  const version = record(feed, group, changes);
  feed.waiting.push({ version, token });
  return version;
}

/** Tells all followers the flags of nodes (or of a pool's hosts), where they are others than before. */
export function recordFlags(feed: Feed<unknown>, group: string, flags: ReadonlyMap<number, number>): number {
  const index = indexOf(feed, group);
  const rows = feed.groups[index]!.flags;
  for (const [number, value] of flags) {
    if (rows[number] !== value) append(feed, index * 2 + 1, rows, number, value);
  }
  return feed.version;
}

function indexOf(feed: Feed<unknown>, group: string): number {
  const index = feed.groups.findIndex(({ name }) => name === group);
  if (index < 0) throw new RangeError(`the feed has no group ${group}`);
  return index;
}

function append(feed: Feed<unknown>, channel: number, rows: Int32Array, row: number, word: number): void {
  if (!(row >= 0 && row < rows.length)) throw new RangeError(`${row} is not in the feed's table`);
  const { log } = feed;
  const at = feed.version & (log.size - 1);
  rows[row] = word;
  log.channel[at] = channel;
  log.row[at] = row;
  log.word[at] = word;
  feed.version++;
}

/**
 * The nodes whose acknowledgement counts. One that is not connected, or is just getting its copy, holds every
 * proposal up: how long is for the caller to decide. The sender itself never counts.
 */
export function setLiving(feed: Feed<unknown>, numbers: ReadonlySet<number>): void {
  feed.living = new Set([...numbers].filter((number) => number !== feed.number));
}

export type Welcome =
  | { readonly kind: "full" | "continue" }
  /** The follower has met a later scheduler: this one is a thing of the past. */
  | { readonly kind: "ahead"; readonly reason: string }
  | { readonly kind: "refused"; readonly reason: string };

/** A follower has connected; a connection of the same number that was there before does not count any more. */
export function welcome(feed: Feed<unknown>, hello: Hello, now_ms: number): Welcome {
  const { number } = hello;
  if (number === feed.number) return { kind: "refused", reason: `node ${number} is the scheduler itself` };
  const conflict = layoutConflict(number, hello.groups, layoutOf(feed));
  if (conflict !== undefined) return { kind: "refused", reason: conflict };
  if (hello.seen > feed.epoch || isLater(hello, feed))
    return { kind: "ahead", reason: aheadText(feed, hello) };
  const kind = isWithinReach(feed, hello) ? "continue" : "full";
  feed.followers.set(number, {
    isConnected: true,
    acknowledged: -1,
    isInUse: false,
    heard_ms: now_ms,
    opening: kind,
    opened: hello.version,
    sent: hello.version,
    copy: undefined,
    wholeFrom: Infinity,
    isMerged: false,
  });
  return { kind };
}

function aheadText(feed: Feed<unknown>, { number, seen, version }: Hello): string {
  const theirs = `node ${number} has met epoch ${seen} and has version ${version}`;
  return `${theirs}, this scheduler is at epoch ${feed.epoch}, version ${feed.version}`;
}

/** Whether a follower's table is one that ours has been, and all changes since are known. */
function isWithinReach(feed: Feed<unknown>, { epoch, version, history }: Hello): boolean {
  if (version < oldest(feed)) return false;
  if (history === feed.history) return epoch === feed.epoch;
  const { base } = feed;
  return history !== "" && base?.history === history && base.epoch === epoch && base.version === version;
}

/** The oldest version whose successors are all in the log. */
const oldest = ({ first, version, log }: Feed<unknown>): number => Math.max(first, version - log.size);

function layoutOf(feed: Feed<unknown>): Layout {
  return feed.groups.map(({ name, words }) => ({ name, size: words.length }));
}

/** A follower is heard, whatever it says. */
export function heard(feed: Feed<unknown>, number: number, now_ms: number): void {
  const follower = feed.followers.get(number);
  if (follower !== undefined) follower.heard_ms = now_ms;
}

/**
 * A follower has the table of a version, and goes by it unless it says otherwise. False when that can't be: it has not been
 * sent so much. What it says in the middle of a full copy is about its table before, and does not count.
 */
export function acknowledged(feed: Feed<unknown>, number: number, version: number, isInUse = true): boolean {
  const follower = feed.followers.get(number);
  if (follower === undefined || version < follower.wholeFrom) return true;
  if (version > follower.sent) return false;
  follower.isInUse = isInUse;
  follower.acknowledged = Math.max(follower.acknowledged, version);
  return true;
}

/** A follower asks for a full copy. */
export function sendAgain(feed: Feed<unknown>, number: number): void {
  const follower = feed.followers.get(number);
  if (follower !== undefined) beginCopy(follower);
}

function beginCopy(follower: FeedFollower): void {
  follower.opening = "full";
  follower.acknowledged = -1;
  follower.wholeFrom = Infinity;
  follower.copy = undefined;
}

/** A follower's connection has ended. */
export function gone(feed: Feed<unknown>, number: number): void {
  const follower = feed.followers.get(number);
  if (follower !== undefined) follower.isConnected = false;
}

/**
 * The next message for a follower; undefined when it has been sent everything. Each is bounded (a line of
 * FEED_LINE_BYTES), so a caller asks again as long as there is room on the connection. One for which there was no room
 * for so long that the log has gone past it gets a full copy.
 */
export function due(feed: Feed<unknown>, number: number): FeedMessage | undefined {
  const follower = feed.followers.get(number);
  if (follower === undefined || !follower.isConnected) return undefined;
  if (follower.sent < oldest(feed)) beginCopy(follower);
  if (follower.opening !== undefined) return open(feed, follower, follower.opening);
  if (follower.sent < feed.version) return nextChanges(feed, follower);
  if (follower.copy !== undefined) return nextOfCopy(feed, follower, follower.copy);
  if (!follower.isMerged) return undefined;
  follower.isMerged = false;
  return { kind: "merged" };
}

function open(feed: Feed<unknown>, follower: FeedFollower, kind: "full" | "continue"): FeedMessage {
  follower.opening = undefined;
  if (kind === "full") {
    follower.sent = feed.version;
    follower.copy = { group: 0, row: -1 };
  } else follower.wholeFrom = follower.sent;
  follower.opened = follower.sent;
  const { epoch, history, base } = feed;
  const from = base && { version: base.version, history: base.history };
  return { kind, epoch, history, base: from, version: follower.sent, groups: layoutOf(feed) };
}

/** Changes from where the follower is, as far as they are of one group and fit into one line. */
function nextChanges(feed: Feed<unknown>, follower: FeedFollower): FeedMessage {
  const { log } = feed;
  const mask = log.size - 1;
  const channel = log.channel[follower.sent & mask]!;
  const most = Math.min(feed.version - follower.sent, feed.bounds.delta_changes);
  let count = 1;
  while (count < most && log.channel[(follower.sent + count) & mask] === channel) count++;
  const pairs = new Int32Array(count * 2);
  for (let i = 0; i < count; i++) {
    const at = (follower.sent + i) & mask;
    pairs[i * 2] = log.row[at]!;
    pairs[i * 2 + 1] = log.word[at]!;
  }
  follower.sent += count;
  const kind = channel % 2 === 0 ? "delta" : "nodes";
  return { kind, version: follower.sent, group: feed.groups[channel >> 1]!.name, pairs };
}

function nextOfCopy(
  feed: Feed<unknown>,
  follower: FeedFollower,
  copy: { group: number; row: number },
): FeedMessage {
  const group = feed.groups[copy.group];
  if (group === undefined) {
    follower.copy = undefined;
    follower.wholeFrom = follower.sent;
    return { kind: "end", version: follower.sent };
  }
  const { name, words, flags } = group;
  if (copy.row < 0) {
    copy.row = 0;
    return { kind: "nodes", version: undefined, group: name, pairs: pairsOf(flags) };
  }
  const first = copy.row;
  const part = words.slice(first, first + feed.bounds.part_buckets);
  copy.row += part.length;
  if (copy.row === words.length) follower.copy = { group: copy.group + 1, row: -1 };
  return { kind: "part", group: name, first, words: part };
}

/** Number and flags of all that have any. */
function pairsOf(flags: Int32Array): Int32Array {
  const pairs: number[] = [];
  flags.forEach((value, number) => {
    if (value !== 0) pairs.push(number, value);
  });
  return Int32Array.from(pairs);
}

/** Whether a node is connected, has had a full copy (or needed none), has acknowledged it, and goes by it. */
export function inStep(feed: Feed<unknown>, number: number): boolean {
  return has(feed, number) >= 0 && feed.followers.get(number)!.isInUse;
}

/** The version that a follower in step has acknowledged; null for any other. */
export function versionOf(feed: Feed<unknown>, number: number): number | null {
  return inStep(feed, number) ? has(feed, number) : null;
}

/** The version that a connected follower knows, whether or not it goes by it; -1 for none. */
function has({ followers }: Feed<unknown>, number: number): number {
  const follower = followers.get(number);
  return follower?.isConnected === true ? follower.acknowledged : -1;
}

/** The version that a node's connection, or its latest full copy, was opened with: what it has said since is later. */
export function openedWith(feed: Feed<unknown>, number: number): number {
  return feed.followers.get(number)?.opened ?? -1;
}

/** When a node was last heard, in the time of whoever called `welcome` and `heard`; null for never. */
export function lastHeard(feed: Feed<unknown>, number: number): number | null {
  return feed.followers.get(number)?.heard_ms ?? null;
}

/** All living nodes know of a follower's connections: it hears so once it has been sent what came of that. */
export function tellMerged(feed: Feed<unknown>, number: number): void {
  const follower = feed.followers.get(number);
  if (follower !== undefined) follower.isMerged = true;
}

/** Whether every living node but some has the table of a version. */
export const allHave = (feed: Feed<unknown>, version: number, but: ReadonlySet<number>): boolean =>
  everywhere(feed, feed.living.difference(but)) >= version;

/** The version that all of these know; -1 when one of them knows none. */
function everywhere(feed: Feed<unknown>, numbers: ReadonlySet<number> = feed.living): number {
  let least = feed.version;
  for (const number of numbers) least = Math.min(least, has(feed, number));
  return least;
}

/** Tokens of the proposals that every living node has by now: each once, in the order of the proposals. */
export function ready<Token>(feed: Feed<Token>): Token[] {
  const { waiting } = feed;
  const version = waiting.length === 0 ? -1 : everywhere(feed);
  const tokens: Token[] = [];
  while (feed.waitingAt < waiting.length && waiting[feed.waitingAt]!.version <= version) {
    tokens.push(waiting[feed.waitingAt++]!.token);
  }
  // Cutting the front off at each step would cost a pass over all that wait.
  if (feed.waitingAt * 2 >= waiting.length) {
    feed.waiting = waiting.slice(feed.waitingAt);
    feed.waitingAt = 0;
  }
  return tokens;
}

/** How many proposals wait. */
export function waitingCount(feed: Feed<unknown>): number {
  return feed.waiting.length - feed.waitingAt;
}
