/**
 * The receiver of the bucket table: takes the sender's messages and writes them into this node's table, word by
 * word, as the program may read it meanwhile; when a bucket was last accessed is this node's own and stays. It
 * knows which position its table has, never goes back behind it, and notices when something is missing. While a
 * full copy is under way the table is not whole: each word is one that was planned, but not all of one time.
 *
 * Pure: messages in, words and what is to be answered out.
 */
import { DlbaError } from "../../conf/errors.ts";
import { MAX_NODE_NUMBER, NOBODY } from "../../conf/limits.ts";
import {
  isLater,
  layoutConflict,
  type FeedMessage,
  type Hello,
  type Layout,
  type Opening,
  type Position,
} from "./feed-message.ts";
import { previousOf, readWord, sizeOf, WORDS_PER_BUCKET } from "../table.ts";

const FLAG_ROWS = 256;

interface FollowGroup {
  readonly name: string;
  /** The group's own part of the bucket map. */
  readonly table: Int32Array;
  /** By bucket: the words as they were told. This node's program may have given a bucket away by itself since. */
  readonly words: Int32Array;
  /** By node number. */
  readonly flags: Int32Array;
  withPrevious: number;
  /** The table stays as it is, whatever is told. */
  isHeldBack: boolean;
}
/** What is known of the sender since it has opened the connection. */
interface Link {
  readonly epoch: number;
  readonly history: string;
  readonly groups: Layout;
  /** Everything up to here has been taken. */
  version: number;
  /** Where the next part of a full copy has to begin; undefined when none is under way. */
  copy: { group: number; first: number; hasFlags: boolean } | undefined;
  /** Something was missing: all is passed over until a full copy begins. */
  isLost: boolean;
}
export interface Follow {
  readonly number: number;
  readonly groups: ReadonlyMap<string, FollowGroup>;
  /** Where the table stands; while it is not whole, where it stood before. */
  position: Position;
  isWhole: boolean;
  /** Whether the sender has had all groups that are here. */
  hasAll: boolean;
  /**
   * The table in use is not the sender's, but one that was whole before: of the history that is named here. It leads to this
   * side's connections until the sender's table does, too. Undefined when the sender's is in use.
   */
  keeps: string | undefined;
  /** How often the connections here have been told since the copy began. */
  tellings: number;
  /** The highest epoch met: a sender with a lower one is refused. */
  seen: number;
  link: Link | undefined;
}

export interface FollowOptions {
  readonly number: number;
  /** "" is the array's nodes and has to be there. Each table is the group's own part of the bucket map. */
  readonly groups: readonly (Pick<FollowGroup, "name" | "table"> &
    Partial<Pick<FollowGroup, "words" | "flags">>)[];
  /**
   * Where the tables and flags stand, if they are whole: as this node told of them while it was the scheduler. The
   * history is "" when they may differ from what others were told.
   */
  readonly position?: Position;
  /** This node was the scheduler. Another one may have been, at the same time. */
  readonly hasScheduled?: boolean;
}

/** A follower that has met no sender yet. */
export function createFollow({ number, groups, position, hasScheduled }: FollowOptions): Follow {
  const rows = groups.map(({ name, table, flags, ...told }): [string, FollowGroup] => {
    const words = told.words?.slice() ?? wordsOf(table);
    const isHeldBack = hasScheduled === true && name === "";
    const rest = { flags: flags?.slice() ?? new Int32Array(FLAG_ROWS), withPrevious: countPrevious(words) };
    return [name, { name, table, words, isHeldBack, ...rest }];
  });
  return {
    number,
    groups: new Map(rows),
    position: position ?? { epoch: 0, version: 0, history: "" },
    isWhole: position !== undefined,
    hasAll: true,
    keeps: hasScheduled === true ? (position?.history ?? "") : undefined,
    tellings: 0,
    seen: position?.epoch ?? 0,
    link: undefined,
  };
}

const hasPrevious = (word: number): number => Number(previousOf(word) !== NOBODY);

function countPrevious(words: Int32Array): number {
  let count = 0;
  for (let bucket = 0; bucket < words.length; bucket++) count += hasPrevious(words[bucket]!);
  return count;
}

function wordsOf(table: Int32Array): Int32Array {
  const words = new Int32Array(sizeOf(table));
  for (let bucket = 0; bucket < words.length; bucket++) words[bucket] = readWord(table, bucket);
  return words;
}

/** The position that the words and flags have exactly: a feed that begins with them can begin there. */
export function baseOf({ position, isWhole, hasAll }: Follow): Position | undefined {
  return isWhole && hasAll && position.history !== "" ? position : undefined;
}

/** How many buckets of a group have a previous node. */
export function withPrevious({ groups }: Follow, group: string): number {
  return groups.get(group)?.withPrevious ?? 0;
}

/** The flags of a group's nodes, by number. */
export function flagsOf({ groups }: Follow, group: string): Int32Array | undefined {
  return groups.get(group)?.flags;
}

const layoutOf = ({ groups }: Follow): Layout =>
  Array.from(groups.values(), ({ name, table }) => ({ name, size: sizeOf(table) }));

/** The first line of a new connection; what was under way on the one before is forgotten. */
export function hello(follow: Follow): Hello {
  follow.link = undefined;
  const { number, position, isWhole, seen } = follow;
  const { epoch, version, history } = position;
  const groups = layoutOf(follow);
  return { kind: "hello", number, epoch, version, history: isWhole ? history : "", seen, groups };
}

/** The connection has ended. */
export function unlink(follow: Follow): void {
  follow.link = undefined;
}

/** Pools that only one side has: their buckets are not kept in step. */
export function poolsOnOneSide(follow: Follow): string[] {
  const theirs = new Set((follow.link?.groups ?? layoutOf(follow)).map(({ name }) => name));
  const ours = new Set(follow.groups.keys());
  return [...ours.symmetricDifference(theirs)];
}

/** Whether the sender's table is known as it is now: the connection is open, and its copy complete. */
export function knowsTable({ link, isWhole }: Follow): boolean {
  return link !== undefined && isWhole && !link.isLost;
}

/** Whether the table is kept in step now: the sender's is known, and in use. */
export const isFollowing = (follow: Follow): boolean => knowsTable(follow) && follow.keeps === undefined;

/** From here on the table is what has been told. */
function showTold(follow: Follow): void {
  follow.keeps = undefined;
  for (const group of follow.groups.values()) {
    if (!group.isHeldBack) continue;
    group.isHeldBack = false;
    for (let bucket = 0; bucket < group.words.length; bucket++) showWord(group, bucket);
  }
}

/**
 * This node is to schedule, and the table that it kept gives way. Returns whether another one takes its place, which may not
 * know of all connections here.
 */
export function endKeeping(follow: Follow): boolean {
  const { keeps, position, isWhole, groups } = follow;
  if (keeps === undefined) return false;
  if (!isWhole || position.history !== keeps) {
    showTold(follow);
    return true;
  }
  // Nothing has been told since: the program knows best.
  for (const group of groups.values()) group.isHeldBack = false;
  follow.keeps = undefined;
  return false;
}

function showWord({ table, words, isHeldBack }: FollowGroup, bucket: number): void {
  const word = words[bucket]!;
  if (!isHeldBack && readWord(table, bucket) !== word) Atomics.store(table, bucket * WORDS_PER_BUCKET, word);
}

export interface Taken {
  /** What the sender has to hear: which version is here, that this node lives, or that it needs a full copy. */
  readonly reply: "acknowledge" | "tick" | "again" | undefined;
  /** The group that the message was about. */
  readonly group?: string;
  /** Buckets whose word has changed. */
  readonly buckets?: readonly number[];
  /** Whether flags have been told. */
  readonly hasFlags?: boolean;
  /** The table has become whole, or is going on from where it was. */
  readonly isOpening?: boolean;
  /** The sender has to be told of the connections here. */
  readonly tellsConnected?: boolean;
}
const NOTHING: Taken = { reply: undefined };

/**
 * Takes a message. Throws DlbaError, and has changed nothing then: FEED_REFUSED (the sender wants nothing to do
 * with this node), FEED_EPOCH_OLD (a later scheduler has been met), FEED_TABLE_DIFFERS (other sizes),
 * FEED_INVALID (it can't be from a sender of ours). The connection can't go on after that.
 */
export function take(follow: Follow, message: FeedMessage): Taken {
  switch (message.kind) {
    case "full":
      return beginCopy(follow, message);
    case "continue":
      return goOn(follow, message);
    case "part":
      return takePart(follow, message.group, message.first, message.words);
    case "nodes":
      if (message.version === undefined) return takeAllFlags(follow, message.group, message.pairs);
      return takeChanges(follow, { ...message, version: message.version }, setFlags);
    case "delta":
      return takeChanges(follow, message, setWords);
    case "end":
      return endCopy(follow, message.version);
    case "merged":
      return takeMerged(follow);
    case "tick":
      return { reply: knowsTable(follow) ? "acknowledge" : "tick" };
    case "refused":
      throw new DlbaError("FEED_REFUSED", `the scheduler refuses this node: ${message.reason}`);
  }
}

const invalid = (what: string): DlbaError =>
  new DlbaError("FEED_INVALID", `the scheduler's table feed sent ${what}`);

/** Refuses a sender that is behind this node, or whose table has another size. */
function checkSender(follow: Follow, opening: Opening): void {
  const { seen, position, number } = follow;
  if (opening.epoch < seen || isLater(position, opening)) {
    const theirs = `the sender is at epoch ${opening.epoch}, version ${opening.version}`;
    const ours = `this node has met epoch ${seen} and has version ${position.version}`;
    throw new DlbaError("FEED_EPOCH_OLD", `${theirs}; ${ours}`);
  }
  const conflict = layoutConflict(number, layoutOf(follow), opening.groups);
  if (conflict !== undefined) throw new DlbaError("FEED_TABLE_DIFFERS", conflict);
}

function linkOf({ epoch, history, version, groups }: Opening): Link {
  return { epoch, history, version, groups, copy: undefined, isLost: false };
}

function beginCopy(follow: Follow, opening: Opening): Taken {
  checkSender(follow, opening);
  follow.seen = opening.epoch;
  keepTable(follow, opening);
  follow.isWhole = false;
  follow.link = { ...linkOf(opening), copy: { group: 0, first: 0, hasFlags: false } };
  follow.tellings = 1;
  return { reply: "tick", tellsConnected: true };
}

/** Connections that have begun since the first telling are told before the table gives way, and the last ones after that. */
const TELLINGS = 2;

/** Every living node knows of the connections that were told. */
function takeMerged(follow: Follow): Taken {
  if (follow.keeps === undefined) return NOTHING;
  if (!follow.isWhole) throw invalid("word of a merge before the end of the copy");
  if (follow.tellings++ < TELLINGS) return { reply: undefined, tellsConnected: true };
  showTold(follow);
  return { ...OPENED, tellsConnected: true };
}

/**
 * Of a table that is whole, and another scheduler's: connections may be where the sender's does not lead. It leads to all
 * that the table here does if that is one that it has come from.
 */
function keepTable(follow: Follow, { epoch, base }: Opening): void {
  const { isWhole, position } = follow;
  const isOlder = position.history === base?.history && position.version <= base.version;
  if (!isWhole || follow.keeps !== undefined || position.epoch === epoch || isOlder) return;
  follow.keeps = follow.position.history;
  follow.groups.get("")!.isHeldBack = true;
}

function goOn(follow: Follow, opening: Opening): Taken {
  checkSender(follow, opening);
  const { isWhole, position } = follow;
  if (!isWhole || opening.version !== position.version || opening.history === "") {
    throw invalid("changes to a table that is not here");
  }
  follow.seen = opening.epoch;
  follow.link = linkOf(opening);
  // The sender has gone on from this very table: what it knows of is all there is.
  if (follow.keeps === position.history) showTold(follow);
  follow.position = { epoch: opening.epoch, version: opening.version, history: opening.history };
  follow.hasAll = hasAllOf(follow, opening.groups);
  if (follow.keeps === undefined) return OPENED;
  follow.tellings = 1;
  return { ...KEPT, tellsConnected: true };
}

const OPENED: Taken = { reply: "acknowledge", isOpening: true };
/** The sender's table is known, and not in use. */
const KEPT: Taken = { reply: "acknowledge" };

const hasAllOf = ({ groups }: Follow, theirs: Layout): boolean =>
  new Set(groups.keys()).isSubsetOf(new Set(theirs.map(({ name }) => name)));

/** The group whose turn it is in a full copy; undefined for one that this node does not have. */
function copyGroup(
  follow: Follow,
  name: string,
): { copy: NonNullable<Link["copy"]>; size: number; own: FollowGroup | undefined } {
  const copy = follow.link?.copy;
  const group = copy === undefined ? undefined : follow.link?.groups[copy.group];
  if (copy === undefined || group?.name !== name) throw invalid("a part of a copy out of turn");
  return { copy, size: group.size, own: follow.groups.get(name) };
}

function takeAllFlags(follow: Follow, name: string, pairs: Int32Array): Taken {
  if (follow.link?.isLost === true) return NOTHING;
  const { copy, own } = copyGroup(follow, name);
  if (copy.hasFlags) throw invalid("flags out of turn");
  checkRows(pairs, MAX_NODE_NUMBER + 1);
  copy.hasFlags = true;
  own?.flags.fill(0);
  setFlags(own, pairs);
  return { reply: undefined, group: name, hasFlags: true };
}

function takePart(follow: Follow, name: string, first: number, words: Int32Array): Taken {
  if (follow.link?.isLost === true) return NOTHING;
  const { copy, size, own } = copyGroup(follow, name);
  const end = first + words.length;
  if (first !== copy.first || !copy.hasFlags || words.length === 0 || end > size) {
    throw invalid("a part of a copy out of turn");
  }
  const buckets: number[] = [];
  if (own !== undefined) {
    for (let i = 0; i < words.length; i++) writeWord(own, first + i, words[i]!, buckets);
  }
  copy.first = end;
  if (end === size) follow.link!.copy = { group: copy.group + 1, first: 0, hasFlags: false };
  return { reply: undefined, group: name, buckets };
}

function endCopy(follow: Follow, version: number): Taken {
  const { link } = follow;
  if (link?.isLost === true) return NOTHING;
  if (link?.copy?.group !== link?.groups.length || link === undefined || version !== link.version) {
    throw invalid("the end of a copy out of turn");
  }
  link.copy = undefined;
  follow.isWhole = true;
  follow.hasAll = hasAllOf(follow, link.groups);
  follow.position = { epoch: link.epoch, version, history: link.history };
  return follow.keeps === undefined ? OPENED : KEPT;
}

interface Changes {
  readonly kind: "delta" | "nodes";
  readonly version: number;
  readonly group: string;
  readonly pairs: Int32Array;
}

function takeChanges(
  follow: Follow,
  { kind, version, group, pairs }: Changes,
  set: (own: FollowGroup | undefined, pairs: Int32Array) => number[],
): Taken {
  const { link } = follow;
  const size = link?.groups.find(({ name }) => name === group)?.size;
  if (link === undefined || size === undefined) throw invalid("changes to an unknown group");
  if (link.isLost) return NOTHING;
  checkRows(pairs, kind === "delta" ? size : MAX_NODE_NUMBER + 1);
  if (version - pairs.length / 2 !== link.version) {
    link.isLost = true;
    return { reply: "again" };
  }
  const buckets = set(follow.groups.get(group), pairs);
  link.version = version;
  if (link.copy === undefined) follow.position = { ...follow.position, version };
  const reply = knowsTable(follow) ? "acknowledge" : undefined;
  return { reply, group, ...(kind === "delta" ? { buckets } : { hasFlags: true }) };
}

/** Every row is looked at before the first is written. */
function checkRows(pairs: Int32Array, rows: number): void {
  for (let i = 0; i < pairs.length; i += 2) {
    if (!(pairs[i]! >= 0 && pairs[i]! < rows)) throw invalid(`number ${pairs[i]} of ${rows}`);
  }
}

function setWords(own: FollowGroup | undefined, pairs: Int32Array): number[] {
  const buckets: number[] = [];
  if (own === undefined) return buckets;
  for (let i = 0; i < pairs.length; i += 2) {
    writeWord(own, pairs[i]!, pairs[i + 1]!, buckets);
  }
  return buckets;
}

function setFlags(own: FollowGroup | undefined, pairs: Int32Array): number[] {
  if (own !== undefined) for (let i = 0; i < pairs.length; i += 2) own.flags[pairs[i]!] = pairs[i + 1]!;
  return [];
}

/** Writes a bucket's word, never its last access, and adds the bucket to `changed` if it was another one. */
function writeWord(own: FollowGroup, bucket: number, word: number, changed: number[]): void {
  const before = own.words[bucket]!;
  own.words[bucket] = word;
  showWord(own, bucket);
  if (before === word) return;
  own.withPrevious += hasPrevious(word) - hasPrevious(before);
  changed.push(bucket);
}
