import assert from "node:assert/strict";
import { test } from "node:test";
import type { FeedMessage, Hello } from "../../../scheduler/feed/feed-message.ts";
import {
  acknowledged,
  createFeed,
  due,
  gone,
  heard,
  inStep,
  lastHeard,
  positionOf,
  propose,
  ready,
  record,
  recordFlags,
  sendAgain,
  setLiving,
  versionOf,
  waitingCount,
  welcome,
  type Feed,
  type FeedOptions,
} from "../../../scheduler/feed/feed.ts";

const HISTORY = "a".repeat(32);
const feedOf = (options: Partial<FeedOptions> = {}): Feed<string> =>
  createFeed({
    number: 0,
    epoch: 3,
    history: HISTORY,
    groups: [
      { name: "", words: new Int32Array(8).fill(0xffffff) },
      { name: "dns", words: new Int32Array(4).fill(0xffffff) },
    ],
    bounds: { log_changes: 8, part_buckets: 8, delta_changes: 4 },
    ...options,
  });
const helloOf = (number: number, body: Partial<Hello> = {}): Hello => ({
  kind: "hello",
  number,
  epoch: 0,
  version: 0,
  history: "",
  seen: 0,
  groups: [
    { name: "", size: 8 },
    { name: "dns", size: 4 },
  ],
  ...body,
});
function allDue(feed: Feed<string>, number: number): FeedMessage[] {
  const messages: FeedMessage[] = [];
  for (let message = due(feed, number); message !== undefined; message = due(feed, number)) {
    messages.push(message);
    assert.ok(messages.length < 100, "it comes to an end");
  }
  return messages;
}
/** Words of messages, for short. */
const told = (messages: readonly FeedMessage[]): string =>
  messages
    .map((message) => {
      const { kind } = message;
      if (kind === "part") return `${message.group}[${message.first}]=${message.words.join()}`;
      if (kind === "delta") return `${message.version}:${message.group}=${message.pairs.join()}`;
      if (kind === "nodes")
        return `${message.version ?? "all"}:${message.group} flags ${message.pairs.join()}`;
      if (kind === "end" || kind === "full" || kind === "continue") return `${kind} ${message.version}`;
      return kind;
    })
    .join(" | ");
/** A follower that has had its copy and said so. */
function follow(feed: Feed<string>, number: number): void {
  assert.equal(welcome(feed, helloOf(number), 0).kind, "full");
  allDue(feed, number);
  assert.ok(acknowledged(feed, number, feed.version));
  assert.ok(inStep(feed, number));
}
const change = (bucket: number, word: number) => ({ bucket, word });

test("a new follower gets a full copy of every group with the nodes' flags, and is in step when it has said so", () => {
  const feed = feedOf();
  record(feed, "dns", [change(1, 5)]);
  recordFlags(feed, "", new Map([[2, 9]]));
  assert.deepEqual(welcome(feed, helloOf(4), 0), { kind: "full" });
  const blank = feed.groups[0]?.words.join();
  assert.equal(
    told(allDue(feed, 4)),
    `full 2 | all: flags 2,9 | [0]=${blank} | all:dns flags  | dns[0]=16777215,5,16777215,16777215 | end 2`,
  );
  assert.ok(!inStep(feed, 4));
  assert.equal(versionOf(feed, 4), null);
  assert.ok(acknowledged(feed, 4, 2));
  assert.ok(inStep(feed, 4));
  assert.equal(versionOf(feed, 4), 2);
  gone(feed, 4);
  assert.ok(!inStep(feed, 4));
});

test("changes go out together, by group and in order, and not twice", () => {
  const feed = feedOf();
  follow(feed, 1);
  record(feed, "", [change(1, 11), change(2, 12)]);
  record(feed, "", [change(3, 13)]);
  record(feed, "dns", [change(0, 14)]);
  recordFlags(feed, "", new Map([[1, 1]]));
  record(feed, "", [change(1, 15)]);
  assert.equal(told(allDue(feed, 1)), "3:=1,11,2,12,3,13 | 4:dns=0,14 | 5: flags 1,1 | 6:=1,15");
  assert.equal(due(feed, 1), undefined);
});

test("flags that are as they were are not told", () => {
  const feed = feedOf();
  assert.equal(
    recordFlags(
      feed,
      "",
      new Map([
        [1, 1],
        [254, 2],
      ]),
    ),
    2,
  );
  assert.equal(
    recordFlags(
      feed,
      "",
      new Map([
        [1, 1],
        [254, 3],
      ]),
    ),
    3,
  );
});

test("a line has no more changes than its bound", () => {
  const feed = feedOf();
  follow(feed, 1);
  record(
    feed,
    "",
    [0, 1, 2, 3, 4, 5].map((bucket) => change(bucket, bucket)),
  );
  assert.equal(told(allDue(feed, 1)), "4:=0,0,1,1,2,2,3,3 | 6:=4,4,5,5");
});

test("a proposal is ready when every living node has acknowledged it, each once and in order", () => {
  const feed = feedOf();
  for (const number of [1, 2]) follow(feed, number);
  setLiving(feed, new Set([1, 2]));
  const first = propose(feed, "", [change(1, 1), change(2, 2)], "first");
  const second = propose(feed, "dns", [change(1, 1)], "second");
  assert.deepEqual(ready(feed), []);
  for (const number of [1, 2]) allDue(feed, number);
  acknowledged(feed, 1, second);
  assert.deepEqual(ready(feed), []);
  acknowledged(feed, 2, first);
  assert.deepEqual(ready(feed), ["first"]);
  assert.deepEqual(ready(feed), []);
  assert.equal(waitingCount(feed), 1);
  acknowledged(feed, 2, second);
  assert.deepEqual(ready(feed), ["second"]);
  assert.equal(waitingCount(feed), 0);
});

test("without living nodes everything is ready at once, and nodes that don't live hold nothing up", () => {
  const feed = feedOf();
  propose(feed, "", [change(1, 1)], "alone");
  assert.deepEqual(ready(feed), ["alone"]);
  follow(feed, 1);
  welcome(feed, helloOf(2), 0);
  setLiving(feed, new Set([0, 1]));
  const version = propose(feed, "", [change(1, 2)], "two");
  allDue(feed, 1);
  acknowledged(feed, 1, version);
  assert.deepEqual(ready(feed), ["two"], "neither node 2 nor the sender itself counts");
});

test("a living node that is away, or in the middle of its copy, holds proposals up until it is given up", () => {
  const feed = feedOf();
  setLiving(feed, new Set([1]));
  propose(feed, "", [change(1, 1)], "token");
  assert.deepEqual(ready(feed), []);
  welcome(feed, helloOf(1), 0);
  while (due(feed, 1)?.kind !== "part");
  acknowledged(feed, 1, feed.version);
  assert.deepEqual(ready(feed), [], "what it says in the middle of a copy is about the table before");
  gone(feed, 1);
  assert.deepEqual(ready(feed), []);
  setLiving(feed, new Set());
  assert.deepEqual(ready(feed), ["token"]);
});

test("a node that knows the table but goes by another is not in step, and holds nothing up", () => {
  const feed = feedOf();
  setLiving(feed, new Set([1]));
  welcome(feed, helloOf(1), 0);
  const version = propose(feed, "", [change(1, 1)], "token");
  allDue(feed, 1);
  assert.ok(acknowledged(feed, 1, version, false));
  assert.deepEqual([inStep(feed, 1), versionOf(feed, 1)], [false, null]);
  assert.deepEqual(ready(feed), ["token"]);
  assert.ok(acknowledged(feed, 1, version));
  assert.deepEqual([inStep(feed, 1), versionOf(feed, 1)], [true, version]);
});

test("a proposal of nothing is a barrier: it comes after all that went before", () => {
  const feed = feedOf();
  follow(feed, 1);
  setLiving(feed, new Set([1]));
  record(feed, "", [change(1, 1)]);
  propose(feed, "", [], "barrier");
  assert.deepEqual(ready(feed), []);
  allDue(feed, 1);
  acknowledged(feed, 1, 1);
  assert.deepEqual(ready(feed), ["barrier"]);
});

test("many proposals wait and come out in order", () => {
  const feed = feedOf();
  follow(feed, 1);
  setLiving(feed, new Set([1]));
  const tokens: string[] = [];
  const proposed = Array.from({ length: 1000 }, (_, i) => `${i}`);
  for (const token of proposed) {
    const version = propose(feed, "", [change(0, 1)], token);
    allDue(feed, 1);
    if (version % 7 !== 0) continue;
    acknowledged(feed, 1, version - 3);
    tokens.push(...ready(feed));
  }
  acknowledged(feed, 1, feed.version);
  assert.deepEqual([...tokens, ...ready(feed)], proposed);
});

test("a follower that was away for a moment gets what it missed, one that was away for long a full copy", () => {
  const feed = feedOf();
  follow(feed, 1);
  gone(feed, 1);
  record(
    feed,
    "",
    [1, 2, 3, 4, 5, 6, 7, 0].map((bucket) => change(bucket, 1)),
  );
  const back = helloOf(1, { epoch: 3, version: 0, history: HISTORY, seen: 3 });
  assert.equal(welcome(feed, back, 0).kind, "continue");
  assert.match(told(allDue(feed, 1)), /^continue 0 \| 4:=\S+ \| 8:=\S+$/);
  assert.ok(!inStep(feed, 1));
  acknowledged(feed, 1, 8);
  assert.ok(inStep(feed, 1));
  record(feed, "", [change(1, 2)]);
  assert.equal(welcome(feed, back, 0).kind, "full", "eight changes are kept, nine it would need");
});

test("a follower without room for so long that the log goes past it gets a full copy, and holds proposals up", () => {
  const feed = feedOf();
  follow(feed, 1);
  setLiving(feed, new Set([1]));
  for (let i = 0; i < 9; i++) propose(feed, "", [change(1, i)], `${i}`);
  assert.equal(due(feed, 1)?.kind, "full");
  assert.ok(!inStep(feed, 1));
  acknowledged(feed, 1, 5);
  assert.deepEqual(ready(feed), []);
  const rest = allDue(feed, 1);
  assert.equal(rest.at(-1)?.kind, "end");
  acknowledged(feed, 1, 5);
  assert.ok(!inStep(feed, 1), "that was said before the copy");
  acknowledged(feed, 1, feed.version);
  assert.equal(ready(feed).length, 9);
});

test("a log that goes past a follower in the middle of its copy begins the copy anew", () => {
  const feed = feedOf();
  welcome(feed, helloOf(1), 0);
  assert.equal(due(feed, 1)?.kind, "full");
  assert.equal(due(feed, 1)?.kind, "nodes");
  for (let i = 0; i < 9; i++) record(feed, "", [change(1, i)]);
  assert.match(told(allDue(feed, 1)), /^full 9 \| all: flags .*end 9$/);
});

test("changes during a copy come before the parts that are read after them", () => {
  const feed = feedOf({ bounds: { log_changes: 8, part_buckets: 4, delta_changes: 4 } });
  welcome(feed, helloOf(1), 0);
  const messages: FeedMessage[] = [];
  for (let message = due(feed, 1); message !== undefined; message = due(feed, 1)) {
    messages.push(message);
    if (message.kind === "part" && message.group === "")
      record(feed, "", [change(1, message.first), change(6, 6)]);
  }
  const blank = 0xffffff;
  assert.equal(
    told(messages),
    `full 0 | all: flags  | [0]=${[blank, blank, blank, blank].join()} | 2:=1,0,6,6 | ` +
      `[4]=${[blank, blank, 6, blank].join()} | 4:=1,4,6,6 | all:dns flags  | ` +
      `dns[0]=${[blank, blank, blank, blank].join()} | end 4`,
  );
});

test("a follower that asks again gets a full copy", () => {
  const feed = feedOf();
  follow(feed, 1);
  sendAgain(feed, 1);
  assert.ok(!inStep(feed, 1));
  assert.match(told(allDue(feed, 1)), /^full 0 .*end 0$/);
});

test("a version that was never sent can't be acknowledged", () => {
  const feed = feedOf();
  follow(feed, 1);
  record(feed, "", [change(1, 1)]);
  assert.ok(!acknowledged(feed, 1, 1));
  assert.equal(versionOf(feed, 1), 0);
  allDue(feed, 1);
  assert.ok(acknowledged(feed, 1, 1));
  assert.ok(acknowledged(feed, 1, 0), "an older one that comes late does no harm");
  assert.equal(versionOf(feed, 1), 1);
});

test("a follower that has met a later scheduler, or has more, is told nothing", () => {
  const feed = feedOf();
  record(feed, "", [change(1, 1)]);
  assert.equal(welcome(feed, helloOf(1, { seen: 4 }), 0).kind, "ahead");
  assert.equal(welcome(feed, helloOf(1, { seen: 3, epoch: 3, version: 2 }), 0).kind, "ahead");
  const answer = welcome(feed, helloOf(1, { seen: 4, epoch: 3, version: 1 }), 0);
  assert.deepEqual(answer, {
    kind: "ahead",
    reason: "node 1 has met epoch 4 and has version 1, this scheduler is at epoch 3, version 1",
  });
  assert.equal(due(feed, 1), undefined);
  assert.equal(welcome(feed, helloOf(1, { seen: 3, epoch: 3, version: 1 }), 0).kind, "full");
});

test("equal versions of another history are another table", () => {
  const feed = feedOf();
  record(feed, "", [change(1, 1)]);
  const other = { epoch: 3, version: 1, seen: 3 };
  assert.equal(welcome(feed, helloOf(1, { ...other, history: "b".repeat(32) }), 0).kind, "full");
  assert.equal(welcome(feed, helloOf(1, { ...other, history: HISTORY }), 0).kind, "continue");
});

test("who stands where the new scheduler stood goes on with changes, under the new epoch", () => {
  const base = { epoch: 2, version: 70, history: "b".repeat(32) };
  const feed = feedOf({ base });
  assert.deepEqual(positionOf(feed), { epoch: 3, version: 70, history: HISTORY });
  record(feed, "", [change(1, 1)]);
  assert.equal(welcome(feed, helloOf(1, { ...base, seen: 2 }), 0).kind, "continue");
  assert.equal(told(allDue(feed, 1)), "continue 70 | 71:=1,1");
  assert.equal(welcome(feed, helloOf(2, { ...base, version: 69, seen: 2 }), 0).kind, "full");
  assert.equal(welcome(feed, helloOf(2, { ...base, version: 71, seen: 2 }), 0).kind, "full");
  assert.equal(welcome(feed, helloOf(2, { ...base, epoch: 1, seen: 2 }), 0).kind, "full");
  assert.equal(welcome(feed, helloOf(2, { ...base, history: "", seen: 2 }), 0).kind, "full");
});

test("once the log is past where it began, a new scheduler has no more for who stood there", () => {
  const base = { epoch: 2, version: 70, history: "b".repeat(32) };
  const feed = feedOf({ base });
  for (let i = 0; i < 9; i++) record(feed, "", [change(1, i)]);
  assert.equal(welcome(feed, helloOf(1, { ...base, seen: 2 }), 0).kind, "full");
});

test("a table in no history is nobody's base", () => {
  const base = { epoch: 2, version: 70, history: "" };
  assert.equal(welcome(feedOf({ base }), helloOf(1, { ...base, seen: 2 }), 0).kind, "full");
});

test("another table size is refused, and so is the scheduler's own number", () => {
  const feed = feedOf();
  const answer = welcome(feed, helloOf(1, { groups: [{ name: "", size: 16 }] }), 0);
  assert.equal(answer.kind, "refused");
  assert.equal(welcome(feed, helloOf(0), 0).kind, "refused");
  assert.equal(due(feed, 0), undefined);
});

test("a newer connection of a node takes the older one's place", () => {
  const feed = feedOf();
  follow(feed, 1);
  welcome(feed, helloOf(1), 5);
  assert.ok(!inStep(feed, 1));
  assert.equal(due(feed, 1)?.kind, "full");
});

test("what is written to the words given, or taken, later is not the feed's", () => {
  const words = new Int32Array(8);
  const flags = new Int32Array(256);
  const feed = feedOf({ groups: [{ name: "", words, flags }] });
  words[0] = 1;
  flags[0] = 1;
  assert.deepEqual([feed.groups[0]?.words[0], feed.groups[0]?.flags[0]], [0, 0]);
});

test("a bucket, number or group that does not exist is a mistake of the caller", () => {
  const feed = feedOf();
  assert.throws(() => record(feed, "", [change(8, 1)]), RangeError);
  assert.throws(() => record(feed, "", [change(-1, 1)]), RangeError);
  assert.throws(() => record(feed, "web", []), RangeError);
  assert.throws(() => recordFlags(feed, "", new Map([[256, 1]])), RangeError);
});

test("it is known when a node was last heard", () => {
  const feed = feedOf();
  assert.equal(lastHeard(feed, 1), null);
  heard(feed, 1, 3);
  assert.equal(lastHeard(feed, 1), null);
  welcome(feed, helloOf(1), 5);
  assert.equal(lastHeard(feed, 1), 5);
  heard(feed, 1, 9);
  gone(feed, 1);
  assert.equal(lastHeard(feed, 1), 9);
});
