/**
 * A whole array around the pure cores of the bucket table's feed: nodes that follow, senders that come and go, and
 * between them byte streams that arrive piece by piece or break off. Checks after every step what must always hold.
 */
import assert from "node:assert/strict";
import { DlbaError } from "../../../conf/errors.ts";
import { FEED_LINE_BYTES, FOLLOWER_LINE_BYTES, MAX_NODE_NUMBER, NOBODY } from "../../../conf/limits.ts";
import { lineReader, type LineReader } from "../../../net/lines.ts";
import {
  decodeFeedMessage,
  decodeFollowerMessage,
  encodeFeedMessage,
  encodeFollowerMessage,
  type FollowerMessage,
} from "../../../scheduler/feed/feed-message.ts";
import {
  acknowledged,
  createFeed,
  due,
  gone,
  heard,
  inStep,
  positionOf,
  propose,
  ready,
  record,
  recordFlags,
  sendAgain,
  setLiving,
  waitingCount,
  welcome,
  type Change,
  type Feed,
} from "../../../scheduler/feed/feed.ts";
import {
  createFollow,
  flagsOf,
  hello,
  isFollowing,
  take,
  unlink,
  withPrevious,
  type Follow,
  type Taken,
} from "../../../scheduler/feed/follow.ts";
import { previousOf, readWord, sizeOf } from "../../../scheduler/table.ts";

export const GROUPS = [
  { name: "", size: 13, base: 0 },
  { name: "dns", size: 8, base: 16 },
] as const;
const BOUNDS = { log_changes: 8, part_buckets: 3, delta_changes: 4 };

interface Sender {
  readonly feed: Feed<number>;
  /** What the table is at each version: words of all groups, then flags. */
  readonly snapshots: Map<number, string>;
  readonly proposed: { readonly token: number; readonly version: number }[];
  taken: number;
}
interface Link {
  readonly sender: Sender;
  toFollower: Buffer;
  toSender: Buffer;
  readonly followerReads: LineReader;
  readonly senderReads: LineReader;
}
interface Node {
  readonly number: number;
  readonly memory: Int32Array;
  follow: Follow;
  link: Link | undefined;
  /** The highest version had of each history. */
  readonly had: Map<string, number>;
  /** Which history wrote a bucket last, by group and bucket. */
  readonly writers: Map<string, string>;
}
export interface World {
  readonly nodes: Map<number, Node>;
  /** The last one is the scheduler, the others don't know yet that they aren't. */
  readonly senders: Sender[];
  serial: number;
}

/** Each word is written once in a world, so that it tells when. */
const wordFor = (world: World, previous: number): number => (previous << 16) | ++world.serial;
const serialOf = (word: number): number => word & 0xffff;

const partOf = (memory: Int32Array, group: (typeof GROUPS)[number]): Int32Array =>
  memory.subarray(group.base * 2, (group.base + group.size) * 2);
const groupsIn = (memory: Int32Array) =>
  GROUPS.map((group) => ({ name: group.name, table: partOf(memory, group) }));

export function createWorld(numbers: readonly number[]): World {
  const world: World = { nodes: new Map(), senders: [], serial: 0 };
  for (const number of numbers) {
    // Last accesses that are told apart by node and bucket.
    const memory = Int32Array.from({ length: 48 }, (_, i) =>
      i % 2 === 0 ? NOBODY << 16 : number * 1000 + i,
    );
    const follow = createFollow({ number, groups: groupsIn(memory) });
    world.nodes.set(number, { number, memory, follow, link: undefined, had: new Map(), writers: new Map() });
  }
  becomeScheduler(world, numbers[0]!);
  return world;
}

export const scheduler = (world: World): Sender => world.senders.at(-1)!;
const nodeOf = (world: World, number: number): Node => world.nodes.get(number)!;

const wordsOf = (table: Int32Array): Int32Array =>
  Int32Array.from({ length: sizeOf(table) }, (_, bucket) => readWord(table, bucket));
const textOf = (rows: readonly Int32Array[]): string => rows.map((row) => row.join()).join(";");
const planOf = ({ groups }: Feed<number>): string =>
  textOf([...groups.map(({ words }) => words), ...groups.map(({ flags }) => flags)]);
const tableOf = ({ groups }: Follow): string =>
  textOf([
    ...Array.from(groups.values(), ({ table }) => wordsOf(table)),
    ...Array.from(groups.values(), ({ flags }) => flags),
  ]);

/** A node schedules from now on, with the table that it has; the one before is not told. */
export function becomeScheduler(world: World, number: number): void {
  const node = nodeOf(world, number);
  cut(world, number);
  const epoch = Math.max(0, ...world.senders.map(({ feed }) => feed.epoch)) + 1;
  const feed = createFeed<number>({
    number,
    epoch,
    history: epoch.toString(16).padStart(32, "0"),
    groups: GROUPS.map((group) => ({
      name: group.name,
      words: wordsOf(partOf(node.memory, group)),
      flags: flagsOf(node.follow, group.name)!,
    })),
    ...(node.follow.isWhole ? { base: node.follow.position } : {}),
    bounds: BOUNDS,
  });
  world.senders.push({
    feed,
    snapshots: new Map([[feed.version, planOf(feed)]]),
    proposed: [],
    taken: 0,
  });
}

/** A node's scheduler process starts anew: its table and its version stay, what they belong to is forgotten. */
export function restart(world: World, number: number): void {
  const node = nodeOf(world, number);
  cut(world, number);
  const { isWhole, position } = node.follow;
  node.follow = createFollow({
    number,
    groups: groupsIn(node.memory),
    ...(isWhole ? { position: { ...position, history: "" } } : {}),
  });
}

/** Changes by some sender: 0 is the scheduler, 1 the one before it. */
export function change(
  world: World,
  age: number,
  group: string,
  rows: readonly (readonly [bucket: number, previous: number])[],
  isProposal: boolean,
): void {
  const sender = world.senders.at(-1 - age) ?? scheduler(world);
  const { feed, snapshots, proposed } = sender;
  const { size } = GROUPS.find(({ name }) => name === group)!;
  const changes = rows.map(([bucket, previous]): Change => ({
    bucket: bucket % size,
    word: wordFor(world, previous),
  }));
  const before = feed.groups.find(({ name }) => name === group)!.words.slice();
  const first = feed.version;
  const token = world.serial;
  const version = isProposal ? propose(feed, group, changes, token) : record(feed, group, changes);
  if (isProposal) proposed.push({ token, version });
  assert.equal(version, first + changes.length);
  snapshotEach(feed, snapshots, group, before, changes);
}

/** The table after each single change of a batch. */
function snapshotEach(
  feed: Feed<number>,
  snapshots: Map<number, string>,
  group: string,
  before: Int32Array,
  changes: readonly Change[],
): void {
  const flags = feed.groups.map(({ flags }) => flags);
  changes.forEach(({ bucket, word }, i) => {
    before[bucket] = word;
    const words = feed.groups.map((one) => (one.name === group ? before : one.words));
    snapshots.set(feed.version - changes.length + i + 1, textOf([...words, ...flags]));
  });
}

export function changeFlags(world: World, group: string, number: number, flags: number): void {
  const { feed, snapshots } = scheduler(world);
  const version = recordFlags(feed, group, new Map([[number % (MAX_NODE_NUMBER + 1), flags]]));
  snapshots.set(version, planOf(feed));
}

/** A node connects to a sender; the sender need not have noticed that its older connection is gone. */
export function connect(world: World, number: number, age: number): void {
  const node = nodeOf(world, number);
  const sender = world.senders.at(-1 - age) ?? scheduler(world);
  unlink(node.follow);
  node.link = undefined;
  const answer = welcome(sender.feed, decodedHello(node.follow), 0);
  if (sender.feed.number === number) return assert.equal(answer.kind, "refused");
  if (answer.kind === "ahead") return assert.ok(sender !== scheduler(world), answer.reason);
  assert.ok(answer.kind === "full" || answer.kind === "continue");
  const link: Link = {
    sender,
    toFollower: Buffer.alloc(0),
    toSender: Buffer.alloc(0),
    followerReads: lineReader(FEED_LINE_BYTES, (line) => followerHears(world, node, link, line), assert.fail),
    senderReads: lineReader(FOLLOWER_LINE_BYTES, (line) => senderHears(link, number, line), assert.fail),
  };
  node.link = link;
}

function decodedHello(follow: Follow) {
  const message = decodeFollowerMessage(encodeFollowerMessage(hello(follow)).trimEnd());
  assert.ok(message.kind === "hello");
  return message;
}

/** A connection ends, and both sides notice; what was under way is lost. */
export function cut(world: World, number: number): void {
  const node = nodeOf(world, number);
  if (node.link !== undefined) gone(node.link.sender.feed, number);
  node.link = undefined;
  unlink(node.follow);
}

/** The sender sends up to `messages`. Returns how many there were. */
export function send(world: World, number: number, messages: number): number {
  const { link } = nodeOf(world, number);
  for (let count = 0; count < messages; count++) {
    const message = link === undefined ? undefined : due(link.sender.feed, number);
    if (link === undefined || message === undefined) return count;
    link.toFollower = Buffer.concat([link.toFollower, Buffer.from(encodeFeedMessage(message))]);
  }
  return messages;
}

/** Bytes arrive at the follower, and at the sender. */
export function deliver(world: World, number: number, bytes: number): void {
  const { link } = nodeOf(world, number);
  if (link === undefined) return;
  const piece = link.toFollower.subarray(0, bytes);
  link.toFollower = link.toFollower.subarray(bytes);
  link.followerReads.push(piece);
}
export function answer(world: World, number: number, bytes: number): void {
  const { link } = nodeOf(world, number);
  if (link === undefined) return;
  const piece = link.toSender.subarray(0, bytes);
  link.toSender = link.toSender.subarray(bytes);
  link.senderReads.push(piece);
}

function followerHears(world: World, node: Node, link: Link, line: string): void {
  if (node.link !== link) return;
  const before = GROUPS.map((group) => wordsOf(partOf(node.memory, group)));
  try {
    const taken = take(node.follow, decodeFeedMessage(line));
    checkNoWordGoesBack(node, link, before, taken);
    checkFollower(world, node);
    if (taken.reply !== undefined) followerSays(link, replyOf(node.follow, taken.reply));
  } catch (error) {
    // Only a sender that has been overtaken may be refused.
    if (!(error instanceof DlbaError)) throw error;
    assert.equal(error.code, "FEED_EPOCH_OLD");
    assert.notEqual(link.sender, scheduler(world));
    cut(world, node.number);
  }
}

function replyOf(follow: Follow, reply: NonNullable<Taken["reply"]>): FollowerMessage {
  const { version } = follow.position;
  if (reply === "acknowledge") return { kind: "acknowledged", version, isInUse: isFollowing(follow) };
  return reply === "again" ? { kind: "again", reason: "a gap" } : { kind: "tick" };
}
function followerSays(link: Link, message: FollowerMessage): void {
  link.toSender = Buffer.concat([link.toSender, Buffer.from(encodeFollowerMessage(message))]);
}

function senderHears({ sender }: Link, number: number, line: string): void {
  const message = decodeFollowerMessage(line);
  heard(sender.feed, number, 0);
  if (message.kind === "acknowledged")
    assert.ok(acknowledged(sender.feed, number, message.version, message.isInUse));
  if (message.kind === "again") sendAgain(sender.feed, number);
}

/** Of two words that one sender has written to a bucket, the later one stays. */
function checkNoWordGoesBack(node: Node, link: Link, before: Int32Array[], { group, buckets }: Taken): void {
  const index = GROUPS.findIndex(({ name }) => name === group);
  for (const bucket of buckets ?? []) {
    const now = readWord(node.follow.groups.get(group!)!.table, bucket);
    const key = `${group}/${bucket}`;
    const { history } = link.sender.feed;
    if (node.writers.get(key) === history) assert.ok(serialOf(now) > serialOf(before[index]![bucket]!));
    node.writers.set(key, history);
  }
}

/** A whole table is exactly what the sender planned at its version; and its counts are right. */
function checkFollower(world: World, node: Node): void {
  const { follow, had, memory } = node;
  const { history, version } = follow.position;
  const sender = world.senders.find(({ feed }) => feed.history === history);
  if (follow.isWhole && sender !== undefined) {
    assert.equal(tableOf(follow), sender.snapshots.get(version), `version ${version} of ${history}`);
    assert.ok(version >= (had.get(history) ?? 0), "a version never goes back");
    had.set(history, version);
  }
  for (const group of GROUPS) {
    const words = wordsOf(partOf(memory, group));
    const count = words.filter((word) => previousOf(word) !== NOBODY).length;
    assert.equal(withPrevious(follow, group.name), count);
  }
}

export function live(world: World, numbers: readonly number[]): void {
  setLiving(scheduler(world).feed, new Set(numbers));
}

/** Takes what is ready from every sender: each proposal once, in order, and none that a living node has not had. */
export function takeReady(world: World): void {
  for (const sender of world.senders) {
    const { feed, proposed } = sender;
    for (const token of ready(feed)) {
      const proposal = proposed[sender.taken++];
      assert.equal(token, proposal?.token);
      for (const number of feed.living) {
        const had = nodeOf(world, number).had.get(feed.history) ?? -1;
        assert.ok(had >= proposal!.version, `node ${number} lacks version ${proposal!.version}`);
      }
    }
    assert.equal(waitingCount(feed), proposed.length - sender.taken);
  }
}

/** Everything is connected and delivered: all nodes have the scheduler's table, and nothing waits. */
export function settle(world: World): void {
  const sender = scheduler(world);
  const others = [...world.nodes.keys()].filter((number) => number !== sender.feed.number);
  live(world, [...world.nodes.keys()]);
  for (const number of others) {
    if (nodeOf(world, number).link?.sender !== sender) connect(world, number, 0);
    while (send(world, number, 10) > 0) deliver(world, number, Infinity);
    deliver(world, number, Infinity);
    answer(world, number, Infinity);
    while (send(world, number, 10) > 0) deliver(world, number, Infinity);
    answer(world, number, Infinity);
  }
  takeReady(world);
  assert.equal(waitingCount(sender.feed), 0);
  for (const number of others) checkSettled(nodeOf(world, number), sender);
}

function checkSettled({ number, follow, memory }: Node, { feed }: Sender): void {
  assert.ok(isFollowing(follow));
  assert.ok(inStep(feed, number));
  assert.deepEqual(follow.position, positionOf(feed));
  assert.equal(tableOf(follow), planOf(feed));
  const accesses = memory.filter((_, i) => i % 2 === 1);
  assert.deepEqual(
    accesses,
    Int32Array.from({ length: 24 }, (_, i) => number * 1000 + i * 2 + 1),
    "last accesses stay",
  );
}
