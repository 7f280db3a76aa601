/**
 * What the scheduler (the sender) and the nodes that follow its Client IP Hash Table (the followers) tell each
 * other: one JSON object with one key per line. Buckets travel as base64 of little-endian 32-bit words, as the
 * memory of both architectures that we run on holds them. Pure: texts in, messages out, and back. What does not
 * fit is refused whole with a DlbaError FEED_INVALID, before anything is done about it.
 */
import { DlbaError } from "../../conf/errors.ts";
import {
  FEED_REASON_CHARACTERS,
  MAX_DIRECT_POOLS,
  MAX_NODE_NUMBER,
  MAX_TABLE_SIZE,
} from "../../conf/limits.ts";
import { isRecord, parseJson } from "../../conf/record.ts";

/** Raised when the meaning of a message changes: two sides that differ refuse each other. */
const FEED_PROTOCOL = 2;

const MAX_EPOCH = 0xffffffff;

/** A table's groups in order: "" is the array's nodes, the others are direct pools by name. */
export type Layout = readonly { readonly name: string; readonly size: number }[];

/**
 * A state of the table. Epochs count schedulers, versions the changes within one; of two positions that with the
 * higher epoch, then with the higher version, is the later one. A process that is started again goes on in its node's
 * epoch, so `history` names the one that counted: only within one history do equal versions mean equal tables.
 */
export interface Position {
  readonly epoch: number;
  readonly version: number;
  /** "" for a table that is in no history: one that was not copied whole. */
  readonly history: string;
}

/** First line of either answer to a hello: who sends, and where it begins. */
export interface Opening {
  readonly epoch: number;
  readonly version: number;
  readonly history: string;
  /** What the sender's table has come from: the position of another history, with all that led there. */
  readonly base: Pick<Position, "version" | "history"> | undefined;
  readonly groups: Layout;
}

export type FeedMessage =
  /** A full copy begins: parts of all groups in order, then `end`. Changes may come in between. */
  | ({ readonly kind: "full" } & Opening)
  /** The follower's table is already that of `version`; only changes follow. */
  | ({ readonly kind: "continue" } & Opening)
  /** Words of the buckets from `first` on. */
  | {
      readonly kind: "part";
      readonly group: string;
      readonly first: number;
      readonly words: Int32Array;
    }
  | { readonly kind: "end"; readonly version: number }
  /** Changes: pairs of bucket and word. `version` is the one after the last of them. */
  | {
      readonly kind: "delta";
      readonly version: number;
      readonly group: string;
      readonly pairs: Int32Array;
    }
  /** Flags of nodes: pairs of number and flags. Without a version part of a full copy: all that are not 0. */
  | {
      readonly kind: "nodes";
      readonly version: number | undefined;
      readonly group: string;
      readonly pairs: Int32Array;
    }
  /** Every living node knows of the connections that the follower has told of (see `Connected`). */
  | { readonly kind: "merged" }
  /** Keep-alive. */
  | { readonly kind: "tick" }
  /** The last line: the other side can't be served. */
  | { readonly kind: "refused"; readonly reason: string };

export interface Hello extends Position {
  readonly kind: "hello";
  /** The follower's node number. */
  readonly number: number;
  /** The highest epoch that it has met: at least that of its table. */
  readonly seen: number;
  readonly groups: Layout;
}
/** Which buckets the follower, as their previous node, still has connections of; a bit for each bucket. */
export interface Held {
  readonly kind: "held";
  /** The version that it had when it looked. */
  readonly version: number;
  readonly group: string;
  readonly bits: Uint8Array;
  /** Open connections to the VIPs on it, of any bucket. */
  readonly connections: number;
}
/**
 * Which buckets the follower has connections of, a bit for each: it gets a copy, and the sender's table may have been another one
 * than its own up to now.
 */
export interface Connected {
  readonly kind: "connected";
  readonly bits: Uint8Array;
}
export type FollowerMessage =
  | Hello
  | {
      readonly kind: "acknowledged";
      readonly version: number;
      /** False while the follower knows the table, but still goes by the one that it had before. */
      readonly isInUse: boolean;
    }
  | Held
  | Connected
  /** It has missed something, and needs a full copy. */
  | { readonly kind: "again"; readonly reason: string }
  | { readonly kind: "tick" }
  | { readonly kind: "refused"; readonly reason: string };

/** Whether one position is later than another: by epoch, then by version. */
export function isLater(one: Omit<Position, "history">, other: Omit<Position, "history">): boolean {
  return one.epoch > other.epoch || (one.epoch === other.epoch && one.version > other.version);
}

/**
 * Why a follower's table can't be kept in step with the sender's; undefined when it can. A pool that only one of
 * them has is no hindrance: the configuration may just be changing, and its buckets are passed over.
 */
export function layoutConflict(number: number, follower: Layout, sender: Layout): string | undefined {
  for (const { name, size } of sender) {
    const own = follower.find((group) => group.name === name);
    if (own === undefined && name === "") return `node ${number} has no table of the array's nodes`;
    if (own === undefined || own.size === size) continue;
    const [what, key] =
      name === "" ? ["table", "scheduler.table_size"] : [`table of the pool ${name}`, "its table_size"];
    return `node ${number}'s ${what} has ${own.size} buckets, the scheduler's ${size}: ${key} has to be the same on all nodes`;
  }
  return undefined;
}

/** A bitmap with the bits of these buckets set. */
export function bitmapOf(size: number, buckets: Iterable<number>): Uint8Array {
  const bits = new Uint8Array(Math.ceil(size / 8));
  for (const bucket of buckets) bits[bucket >> 3]! |= 1 << (bucket & 7);
  return bits;
}
/** Whether a bucket's bit is set. */
export function hasBit(bits: Uint8Array, bucket: number): boolean {
  return ((bits[bucket >> 3] ?? 0) & (1 << (bucket & 7))) !== 0;
}

type Bodies = Record<string, unknown>;
const layoutOnWire = (groups: Layout): unknown => groups.map(({ name, size }) => [name, size]);
const packed = ({ buffer, byteOffset, byteLength }: Int32Array | Uint8Array): string =>
  Buffer.from(buffer, byteOffset, byteLength).toString("base64");
const lineOf = (kind: string, body: unknown): string => `${JSON.stringify({ [kind]: body })}\n`;
// Control characters would let a reason forge lines of a plain log.
const reasonOf = (reason: string): string =>
  reason.slice(0, FEED_REASON_CHARACTERS).replaceAll(/\p{Cc}/gu, " ");

/** The sender's line for a message, with its line feed. */
export function encodeFeedMessage(message: FeedMessage): string {
  const { kind } = message;
  switch (kind) {
    case "full":
    case "continue": {
      const { epoch, version, history, base, groups } = message;
      const protocol = FEED_PROTOCOL;
      return lineOf(kind, { protocol, epoch, version, history, base, groups: layoutOnWire(groups) });
    }
    case "part":
      return lineOf(kind, { group: message.group, first: message.first, words: packed(message.words) });
    case "end":
      return lineOf(kind, { version: message.version });
    case "delta":
      return lineOf(kind, { version: message.version, group: message.group, words: packed(message.pairs) });
    case "nodes":
      return lineOf(kind, { version: message.version, group: message.group, flags: packed(message.pairs) });
    case "merged":
    case "tick":
      return lineOf(kind, {});
    case "refused":
      return lineOf(kind, { reason: reasonOf(message.reason) });
  }
}

/** A follower's line for a message, with its line feed. */
export function encodeFollowerMessage(message: FollowerMessage): string {
  const { kind } = message;
  switch (kind) {
    case "hello": {
      const { number, epoch, version, history, seen, groups } = message;
      return lineOf(kind, {
        protocol: FEED_PROTOCOL,
        number,
        epoch,
        version,
        history,
        seen,
        groups: layoutOnWire(groups),
      });
    }
    case "acknowledged":
      return lineOf(kind, { version: message.version, in_use: message.isInUse });
    case "held": {
      const { version, group, connections, bits } = message;
      return lineOf(kind, { version, group, connections, bits: packed(bits) });
    }
    case "connected":
      return lineOf(kind, { bits: packed(message.bits) });
    case "tick":
      return lineOf(kind, {});
    case "again":
    case "refused":
      return lineOf(kind, { reason: reasonOf(message.reason) });
  }
}

const invalid = (what: string): DlbaError =>
  new DlbaError("FEED_INVALID", `a message of the table feed has ${what}`);

function numberIn(body: Bodies, key: string, most: number = Number.MAX_SAFE_INTEGER): number {
  const value = body[key];
  if (typeof value !== "number" || !Number.isSafeInteger(value) || value < 0 || value > most) {
    throw invalid(`no number from 0 to ${most} as ${key}`);
  }
  return value;
}

function textIn(body: Bodies, key: string, pattern: RegExp): string {
  const value = body[key];
  if (typeof value !== "string" || !pattern.test(value)) throw invalid(`no fitting text as ${key}`);
  return value;
}
function flagIn(body: Bodies, key: string): boolean {
  const value = body[key];
  if (typeof value !== "boolean") throw invalid(`neither true nor false as ${key}`);
  return value;
}
const groupIn = (body: Bodies): string => textIn(body, "group", /^[A-Za-z0-9-]{0,63}$/);
const historyIn = (body: Bodies): string => textIn(body, "history", /^[0-9a-f]{0,32}$/);
const reasonIn = (body: Bodies): string => textIn(body, "reason", /^[^\p{Cc}]{0,1000}$/u);

/** Bytes out of base64. The decoder passes over what is no base64: then the length tells. */
function bytesIn(body: Bodies, key: string): Uint8Array {
  const text = body[key];
  if (typeof text !== "string") throw invalid(`no base64 as ${key}`);
  const padding = text.endsWith("==") ? 2 : Number(text.endsWith("="));
  const bytes = Buffer.from(text, "base64");
  if (bytes.length !== (text.length / 4) * 3 - padding) throw invalid(`no base64 as ${key}`);
  return bytes;
}

function wordsIn(body: Bodies, key: string, atOnce: 1 | 2): Int32Array {
  const bytes = bytesIn(body, key);
  if (bytes.length % (4 * atOnce) !== 0) throw invalid(`a part of a word as ${key}`);
  const words = new Int32Array(bytes.length / 4);
  new Uint8Array(words.buffer).set(bytes);
  return words;
}

function layoutIn(body: Bodies): Layout {
  const { groups } = body;
  if (!Array.isArray(groups) || groups.length === 0 || groups.length > MAX_DIRECT_POOLS + 1) {
    throw invalid("no list of groups");
  }
  const layout = groups.map((entry: unknown) => {
    if (!Array.isArray(entry)) throw invalid("a group without name and size");
    const [group, size]: unknown[] = entry;
    if (size === 0) throw invalid("an empty group");
    return { name: groupIn({ group }), size: numberIn({ size }, "size", MAX_TABLE_SIZE) };
  });
  if (new Set(layout.map(({ name }) => name)).size !== layout.length) throw invalid("a group twice");
  return layout;
}

const versionIn = (body: Bodies): number => numberIn(body, "version");
/** Before anything else is read: the rest may look different in another protocol. */
function checkProtocol(body: Bodies, who: string): void {
  const protocol = numberIn(body, "protocol");
  if (protocol === FEED_PROTOCOL) return;
  const text = `the ${who} speaks version ${protocol} of the table feed, this node version ${FEED_PROTOCOL}`;
  throw new DlbaError("FEED_REFUSED", `${text}: all nodes need the same release`);
}

function openingIn(body: Bodies): Opening {
  checkProtocol(body, "scheduler");
  return {
    epoch: numberIn(body, "epoch", MAX_EPOCH),
    version: versionIn(body),
    history: historyIn(body),
    base: baseIn(body["base"]),
    groups: layoutIn(body),
  };
}

function baseIn(base: unknown): Opening["base"] {
  if (base === undefined) return undefined;
  if (!isRecord(base)) throw invalid("no position as base");
  return { version: versionIn(base), history: historyIn(base) };
}

/** The only key of a line, and what stands under it. */
function bodyOf(line: string): [string, Bodies] {
  const message = parseJson(line);
  const [[kind, body] = [], ...more] = isRecord(message) ? Object.entries(message) : [];
  if (kind === undefined || !isRecord(body) || more.length > 0) throw invalid("not one key with its values");
  return [kind, body];
}

/** Reads a line of the sender. Throws DlbaError FEED_INVALID, or FEED_REFUSED for another protocol. */
export function decodeFeedMessage(line: string): FeedMessage {
  const [kind, body] = bodyOf(line);
  switch (kind) {
    case "full":
    case "continue":
      return { kind, ...openingIn(body) };
    case "part":
      return { kind, group: groupIn(body), first: numberIn(body, "first"), words: wordsIn(body, "words", 1) };
    case "end":
      return { kind, version: versionIn(body) };
    case "delta":
      return { kind, version: versionIn(body), group: groupIn(body), pairs: wordsIn(body, "words", 2) };
    case "nodes": {
      const version = body["version"] === undefined ? undefined : versionIn(body);
      return { kind, version, group: groupIn(body), pairs: wordsIn(body, "flags", 2) };
    }
    case "merged":
    case "tick":
      return { kind };
    case "refused":
      return { kind, reason: reasonIn(body) };
    default:
      throw invalid("a key that is not known");
  }
}

/** Reads a line of a follower. Throws DlbaError FEED_INVALID, or FEED_REFUSED for another protocol. */
export function decodeFollowerMessage(line: string): FollowerMessage {
  const [kind, body] = bodyOf(line);
  switch (kind) {
    case "hello":
      return helloIn(body);
    case "acknowledged":
      return { kind, version: versionIn(body), isInUse: flagIn(body, "in_use") };
    case "held":
      return {
        kind,
        version: versionIn(body),
        group: groupIn(body),
        bits: bytesIn(body, "bits"),
        connections: numberIn(body, "connections"),
      };
    case "connected":
      return { kind, bits: bytesIn(body, "bits") };
    case "tick":
      return { kind };
    case "again":
    case "refused":
      return { kind, reason: reasonIn(body) };
    default:
      throw invalid("a key that is not known");
  }
}

function helloIn(body: Bodies): Hello {
  checkProtocol(body, "follower");
  return {
    kind: "hello",
    number: numberIn(body, "number", MAX_NODE_NUMBER),
    epoch: numberIn(body, "epoch", MAX_EPOCH),
    version: versionIn(body),
    history: historyIn(body),
    seen: numberIn(body, "seen", MAX_EPOCH),
    groups: layoutIn(body),
  };
}
