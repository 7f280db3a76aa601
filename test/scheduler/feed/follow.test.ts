import assert from "node:assert/strict";
import { test } from "node:test";
import type { FeedMessage } from "../../../scheduler/feed/feed-message.ts";
import {
  baseOf,
  createFollow,
  endKeeping,
  flagsOf,
  hello,
  isFollowing,
  knowsTable,
  poolsOnOneSide,
  take,
  unlink,
  withPrevious,
  type Follow,
} from "../../../scheduler/feed/follow.ts";
import { lastAccess, readWord, wordOf } from "../../../scheduler/table.ts";

const HISTORY = "c".repeat(32);
const BLANK = 0xffffff;
const layout = [
  { name: "", size: 4 },
  { name: "dns", size: 2 },
];
function followOf(position?: Follow["position"]): Follow {
  // Group "dns" lies behind the array's nodes; row 6 belongs to nobody. Last accesses are 100 and up.
  const memory = Int32Array.from({ length: 14 }, (_, i) => (i % 2 === 0 ? BLANK : 100 + i));
  return createFollow({
    number: 3,
    groups: [
      { name: "", table: memory.subarray(0, 8) },
      { name: "dns", table: memory.subarray(8, 12) },
    ],
    ...(position === undefined ? {} : { position }),
  });
}
const tableOf = (follow: Follow, group = ""): Int32Array => follow.groups.get(group)!.table;
const wordsOf = (follow: Follow, group = ""): number[] => {
  const table = tableOf(follow, group);
  return Array.from({ length: table.length / 2 }, (_, bucket) => readWord(table, bucket));
};
const opening = { epoch: 5, version: 10, history: HISTORY, base: undefined, groups: layout };
const full = { kind: "full", ...opening } as const;
const nodes = (group: string, pairs: number[] = [], version?: number): FeedMessage => ({
  kind: "nodes",
  version,
  group,
  pairs: Int32Array.from(pairs),
});
const part = (group: string, first: number, words: number[]): FeedMessage => ({
  kind: "part",
  group,
  first,
  words: Int32Array.from(words),
});
const delta = (version: number, group: string, pairs: number[]): FeedMessage => ({
  kind: "delta",
  version,
  group,
  pairs: Int32Array.from(pairs),
});
const end = (version: number): FeedMessage => ({ kind: "end", version });
const copy = [
  full,
  nodes("", [1, 4]),
  part("", 0, [1, 2]),
  part("", 2, [3, 4]),
  nodes("dns"),
  part("dns", 0, [5, 6]),
];
const takeAll = (follow: Follow, messages: readonly FeedMessage[]) =>
  messages.map((message) => take(follow, message).reply);
const whole = (): Follow => {
  const follow = followOf();
  takeAll(follow, [...copy, end(10)]);
  return follow;
};
const refuses = (follow: Follow, message: FeedMessage, code = "FEED_INVALID"): void => {
  const before = JSON.stringify([wordsOf(follow), wordsOf(follow, "dns"), follow]);
  assert.throws(() => take(follow, message), { code });
  assert.equal(
    JSON.stringify([wordsOf(follow), wordsOf(follow, "dns"), follow]),
    before,
    "nothing has changed",
  );
};

test("a full copy is acknowledged at its end, and not before is the table whole", () => {
  const follow = followOf();
  const replies: unknown[] = [];
  for (const message of copy) {
    replies.push(take(follow, message).reply);
    assert.ok(!follow.isWhole);
    assert.ok(!isFollowing(follow));
  }
  assert.deepEqual(replies, ["tick", undefined, undefined, undefined, undefined, undefined]);
  assert.deepEqual(take(follow, end(10)), { reply: "acknowledge", isOpening: true });
  assert.ok(follow.isWhole);
  assert.ok(isFollowing(follow));
  assert.deepEqual(follow.position, { epoch: 5, version: 10, history: HISTORY });
  assert.deepEqual(
    [wordsOf(follow), wordsOf(follow, "dns")],
    [
      [1, 2, 3, 4],
      [5, 6],
    ],
  );
  assert.equal(flagsOf(follow, "")?.[1], 4);
});

test("a hello says what is here, and names no history as long as the table is not whole", () => {
  const follow = followOf();
  const first = { kind: "hello", number: 3, epoch: 0, version: 0, history: "", seen: 0, groups: layout };
  assert.deepEqual(hello(follow), first);
  takeAll(follow, copy);
  assert.deepEqual(hello(follow), { ...first, seen: 5 });
  takeAll(follow, [...copy, end(10)]);
  assert.deepEqual(hello(follow), { ...first, epoch: 5, version: 10, history: HISTORY, seen: 5 });
});

test("last accesses stay as they are, also of buckets that are new", () => {
  const follow = whole();
  take(follow, delta(11, "", [2, 9]));
  for (let bucket = 0; bucket < 4; bucket++) {
    assert.equal(lastAccess(tableOf(follow), bucket), 101 + bucket * 2);
  }
  assert.equal(readWord(tableOf(follow), 2), 9);
});

test("changes are acknowledged, and say which buckets are others now", () => {
  const follow = whole();
  assert.deepEqual(take(follow, delta(13, "", [1, 7, 2, 3, 1, 8])), {
    reply: "acknowledge",
    group: "",
    buckets: [1, 1],
  });
  assert.deepEqual(take(follow, nodes("", [1, 0, 254, 6], 15)), {
    reply: "acknowledge",
    group: "",
    hasFlags: true,
  });
  assert.equal(flagsOf(follow, "")?.[1], 0);
  assert.equal(flagsOf(follow, "")?.[254], 6);
  assert.equal(follow.position.version, 15);
});

test("changes in the middle of a copy count, but are not acknowledged before its end", () => {
  const follow = followOf();
  takeAll(follow, copy.slice(0, 3));
  assert.equal(take(follow, delta(11, "", [0, 77])).reply, undefined);
  assert.equal(take(follow, nodes("", [2, 2], 12)).reply, undefined);
  takeAll(follow, copy.slice(3));
  refuses(follow, end(10));
  assert.deepEqual(follow.position, { epoch: 0, version: 0, history: "" });
  take(follow, end(12));
  assert.deepEqual(wordsOf(follow), [77, 2, 3, 4]);
  assert.equal(follow.position.version, 12);
});

test("a copy that breaks off leaves the table not whole until another is complete", () => {
  const follow = whole();
  takeAll(follow, [delta(11, "", [0, 9]), { ...opening, kind: "full", epoch: 6, version: 0 }, nodes("")]);
  unlink(follow);
  assert.ok(!follow.isWhole);
  assert.ok(!isFollowing(follow));
  assert.deepEqual(follow.position, { epoch: 5, version: 11, history: HISTORY });
  assert.equal(hello(follow).history, "");
  assert.equal(hello(follow).seen, 6);
  refuses(follow, { ...opening, kind: "full", version: 12 }, "FEED_EPOCH_OLD");
  takeAll(follow, copy.with(0, { ...opening, kind: "full", epoch: 6, version: 3 }));
  assert.ok(!follow.isWhole);
  take(follow, end(3));
  assert.ok(follow.isWhole);
  assert.deepEqual(follow.position, { epoch: 6, version: 3, history: HISTORY });
});

test("a gap is noticed, nothing is taken after it, and a full copy heals it", () => {
  const follow = whole();
  assert.deepEqual(take(follow, delta(12, "", [0, 9])), { reply: "again" });
  assert.ok(!isFollowing(follow));
  assert.ok(follow.isWhole, "it is still that of its version");
  assert.deepEqual(takeAll(follow, [delta(11, "", [0, 9]), nodes("", []), part("", 0, [1]), end(10)]), [
    undefined,
    undefined,
    undefined,
    undefined,
  ]);
  assert.deepEqual(wordsOf(follow), [1, 2, 3, 4]);
  assert.equal(take(follow, { kind: "tick" }).reply, "tick");
  takeAll(follow, [...copy, end(10)]);
  assert.ok(isFollowing(follow));
});

test("changes that were there already are a gap, too", () => {
  const follow = whole();
  take(follow, delta(11, "", [0, 9]));
  assert.equal(take(follow, delta(11, "", [0, 9])).reply, "again");
});

test("flags that a full copy does not name are 0", () => {
  const follow = whole();
  assert.equal(flagsOf(follow, "")?.[1], 4);
  takeAll(follow, [...copy.with(1, nodes("", [2, 8])), end(10)]);
  assert.deepEqual(flagsOf(follow, "")?.slice(0, 4), Int32Array.of(0, 0, 8, 0));
});

test("a tick is answered with the version, or with a tick while there is none to tell", () => {
  const follow = followOf();
  assert.equal(take(follow, { kind: "tick" }).reply, "tick");
  takeAll(follow, copy);
  assert.equal(take(follow, { kind: "tick" }).reply, "tick");
  take(follow, end(10));
  assert.equal(take(follow, { kind: "tick" }).reply, "acknowledge");
});

test("a sender of an epoch before one that was met is refused", () => {
  const follow = whole();
  refuses(follow, { ...opening, kind: "full", epoch: 4, version: 99 }, "FEED_EPOCH_OLD");
  refuses(follow, { ...opening, kind: "continue", epoch: 4 }, "FEED_EPOCH_OLD");
  refuses(follow, { ...opening, kind: "full", version: 9 }, "FEED_EPOCH_OLD");
  const former = followOf({ epoch: 7, version: 0, history: "" });
  refuses(former, { ...opening, kind: "full" }, "FEED_EPOCH_OLD");
});

test("a sender goes on where the table stands, and nowhere else", () => {
  const follow = whole();
  const later = { ...opening, kind: "continue", epoch: 6, history: "d".repeat(32) } as const;
  refuses(follow, { ...later, version: 11 });
  refuses(follow, { ...later, history: "" });
  assert.deepEqual(take(follow, later), { reply: "acknowledge", isOpening: true });
  assert.deepEqual(follow.position, { epoch: 6, version: 10, history: "d".repeat(32) });
  assert.equal(take(follow, delta(11, "", [0, 9])).reply, "acknowledge");
  refuses(followOf(), { ...opening, kind: "continue", version: 0 });
});

test("a table of another size is refused", () => {
  const groups = [{ name: "", size: 8 }];
  refuses(followOf(), { ...opening, kind: "full", groups }, "FEED_TABLE_DIFFERS");
  refuses(whole(), { ...opening, kind: "continue", groups }, "FEED_TABLE_DIFFERS");
});

test("pools that only one side has are passed over, and named", () => {
  const follow = followOf();
  const groups = [
    { name: "", size: 4 },
    { name: "web", size: 1 },
  ];
  takeAll(follow, [{ ...opening, kind: "full", groups }, nodes(""), part("", 0, [1, 2, 3, 4])]);
  takeAll(follow, [
    nodes("web", [1, 1]),
    part("web", 0, [9]),
    end(10),
    delta(11, "web", [0, 3]),
    nodes("web", [1, 2], 12),
  ]);
  assert.equal(follow.position.version, 12);
  assert.ok(isFollowing(follow));
  assert.deepEqual(poolsOnOneSide(follow), ["dns", "web"]);
  assert.deepEqual(wordsOf(follow, "dns"), [BLANK, BLANK]);
  assert.deepEqual(poolsOnOneSide(whole()), []);
});

test("messages out of turn, of unknown groups or out of range are refused, and change nothing", () => {
  for (const message of [part("", 0, [1]), nodes(""), end(0), delta(1, "", [0, 1]), nodes("", [1, 1], 1)]) {
    refuses(followOf(), message);
  }
  const begun = followOf();
  take(begun, full);
  for (const message of [part("", 0, [1]), nodes("dns"), end(10), nodes("", [255, 1]), nodes("", [-1, 1])]) {
    refuses(begun, message);
  }
  take(begun, nodes(""));
  for (const message of [nodes(""), part("", 1, [1]), part("", 0, []), part("", 0, [1, 2, 3, 4, 5])]) {
    refuses(begun, message);
  }
  take(begun, part("", 0, [1]));
  for (const message of [nodes(""), part("", 0, [1]), part("dns", 0, [1]), end(10)]) refuses(begun, message);
  const follow = whole();
  for (const pairs of [
    [4, 1],
    [-1, 1],
    [0, 1, 4, 1],
  ])
    refuses(follow, delta(10 + pairs.length / 2, "", pairs));
  refuses(follow, delta(11, "dns", [2, 1]));
  refuses(follow, delta(11, "web", [0, 1]));
  refuses(follow, nodes("", [255, 1], 11));
  refuses(follow, nodes("web", [1, 1], 11));
  refuses(follow, end(10));
  refuses(follow, part("", 0, [1]));
});

test("a refusal is passed on", () => {
  assert.throws(() => take(whole(), { kind: "refused", reason: "no" }), {
    code: "FEED_REFUSED",
    message: "the scheduler refuses this node: no",
  });
});

test("buckets with a previous node are counted by group, from the table as it was found on", () => {
  const table = Int32Array.of(wordOf(1, 2, 3), 0, wordOf(1, 2), 0);
  const follow = createFollow({ number: 1, groups: [{ name: "", table }] });
  assert.equal(withPrevious(follow, ""), 1);
  take(follow, { ...opening, kind: "full", groups: [{ name: "", size: 2 }] });
  takeAll(follow, [nodes(""), part("", 0, [wordOf(1, 2, 4), wordOf(1, 2, 0)]), end(10)]);
  assert.equal(withPrevious(follow, ""), 2);
  take(follow, delta(11, "", [0, wordOf(1, 2)]));
  assert.equal(withPrevious(follow, ""), 1);
  assert.equal(withPrevious(follow, "dns"), 0);
});

test("what an earlier life has left is whole, and in no history", () => {
  const follow = followOf({ epoch: 4, version: 2, history: "" });
  assert.ok(follow.isWhole);
  assert.ok(!isFollowing(follow));
  const { epoch, version, history, seen } = hello(follow);
  assert.deepEqual({ epoch, version, history, seen }, { epoch: 4, version: 2, history: "", seen: 4 });
});

test("the words that were told are kept beside those of the program, which are put right when told again", () => {
  const follow = whole();
  const { table, words } = follow.groups.get("")!;
  table[0] = 99;
  assert.deepEqual(Array.from(words), [1, 2, 3, 4]);
  take(follow, delta(11, "", [0, 1]));
  assert.deepEqual(wordsOf(follow), [1, 2, 3, 4]);
});

test("a feed may begin where the table stands only if it is whole, has all groups and a history", () => {
  const follow = whole();
  assert.deepEqual(baseOf(follow), { epoch: 5, version: 10, history: HISTORY });
  take(follow, delta(11, "", [0, 7]));
  assert.equal(baseOf(follow)?.version, 11);
  take(follow, { ...full, version: 12 });
  assert.equal(baseOf(follow), undefined, "a copy is under way");
  const groups = [{ name: "", size: 4 }];
  takeAll(follow, [{ ...full, version: 12, groups }, nodes(""), part("", 0, [1, 2, 3, 4]), end(12)]);
  assert.equal(baseOf(follow), undefined, "a pool was not told");
  assert.equal(baseOf(followOf({ epoch: 4, version: 2, history: "" })), undefined);
  assert.equal(baseOf(followOf()), undefined);
});

/** A node that was the scheduler up to now, as far as position 4/10: node 1 owns its buckets, but for one. */
function formerScheduler(): Follow {
  const table = Int32Array.from({ length: 8 }, (_, i) => (i % 2 === 0 ? wordOf(1, 2) : 100 + i));
  table[6] = BLANK;
  const position = { epoch: 4, version: 10, history: "a" };
  const words = Int32Array.from([wordOf(1, 2), wordOf(1, 2), wordOf(1, 3), BLANK]);
  const groups = [
    { name: "", table, words },
    { name: "dns", table: new Int32Array(4) },
  ];
  return createFollow({ number: 3, groups, position, hasScheduled: true });
}
const given = [wordOf(1, 2), wordOf(1, 2), wordOf(1, 2), BLANK];
const copied = [wordOf(5, 6), wordOf(5, 6), wordOf(5, 6), wordOf(5, 6)];
const copyOfOther = [full, nodes(""), part("", 0, copied), nodes("dns"), part("dns", 0, [7, 8]), end(10)];

test("a table that another scheduler's takes the place of stays in use until that one knows of the connections", () => {
  const follower = followOf({ epoch: 4, version: 10, history: "a" });
  tableOf(follower).set([wordOf(1, 2), 0, wordOf(1, 2), 0, wordOf(1, 2), 0, BLANK, 0]);
  for (const follow of [formerScheduler(), follower]) {
    assert.equal(take(follow, full).tellsConnected, true);
    const last = copyOfOther.slice(1).map((message) => take(follow, message));
    assert.deepEqual(last.at(-1), { reply: "acknowledge" });
    assert.deepEqual(take(follow, delta(11, "", [0, wordOf(6, 5)])).reply, "acknowledge");
    assert.ok(knowsTable(follow));
    assert.deepEqual([wordsOf(follow), isFollowing(follow)], [given, false]);
    assert.deepEqual(wordsOf(follow, "dns"), [7, 8], "pools have no connections here");
    const again = take(follow, { kind: "merged" });
    assert.deepEqual(again, { reply: undefined, tellsConnected: true }, "some have begun meanwhile");
    assert.deepEqual(wordsOf(follow), given);
    const opened = { reply: "acknowledge", isOpening: true, tellsConnected: true };
    assert.deepEqual(take(follow, { kind: "merged" }), opened);
    assert.deepEqual(wordsOf(follow), [wordOf(6, 5), ...copied.slice(1)]);
    assert.ok(isFollowing(follow));
    assert.deepEqual(take(follow, { kind: "merged" }), { reply: undefined });
  }
});

test("a table that the sender's has come from gives way at once, though something is missing here", () => {
  const base = { version: 10, history: "a" };
  const places = { same: 10, behind: 9, ahead: 11 };
  for (const [place, version] of Object.entries(places)) {
    const follow = followOf({ epoch: 4, version, history: "a" });
    take(follow, { ...full, base });
    assert.equal(follow.keeps, place === "ahead" ? "a" : undefined, place);
  }
  const other = followOf({ epoch: 4, version: 9, history: "b" });
  take(other, { ...full, base });
  assert.equal(other.keeps, "b");
});

test("a copy by the same scheduler, or for a node without a table, is in use at once", () => {
  const same = followOf({ epoch: 5, version: 2, history: "a" });
  for (const follow of [same, followOf()]) {
    assert.equal(take(follow, full).tellsConnected, true);
    take(follow, nodes(""));
    take(follow, part("", 0, copied));
    assert.deepEqual(wordsOf(follow), copied);
  }
});

test("on another connection it begins anew", () => {
  const follow = formerScheduler();
  for (const message of copyOfOther) take(follow, message);
  take(follow, { kind: "merged" });
  hello(follow);
  const again = take(follow, { ...opening, kind: "continue" });
  assert.deepEqual(again, { reply: "acknowledge", tellsConnected: true });
  assert.ok(!isFollowing(follow), "a sender that has gone on from the other one's table has to know, too");
  take(follow, { kind: "merged" });
  assert.deepEqual(wordsOf(follow), given);
});

test("a sender that has gone on from the very table knows all: what was told is in use", () => {
  const follow = formerScheduler();
  const { reply, tellsConnected } = take(follow, { ...opening, kind: "continue" });
  assert.deepEqual([reply, tellsConnected, follow.keeps], ["acknowledge", undefined, undefined]);
  assert.deepEqual(wordsOf(follow), [wordOf(1, 2), wordOf(1, 2), wordOf(1, 3), BLANK]);
});

test("a sender that speaks of a merge before its table is here is refused", () => {
  const follow = formerScheduler();
  take(follow, full);
  assert.throws(() => take(follow, { kind: "merged" }), { code: "FEED_INVALID" });
});

test("who schedules again before it was told anything goes on by its table; else by what it was told", () => {
  const again = formerScheduler();
  assert.equal(endKeeping(again), false);
  assert.deepEqual([wordsOf(again), again.keeps], [given, undefined]);
  const later = formerScheduler();
  for (const message of copyOfOther) take(later, message);
  assert.equal(endKeeping(later), true, "and its connections have to be found");
  assert.deepEqual([wordsOf(later), later.keeps], [copied, undefined]);
  const half = formerScheduler();
  for (const message of [full, nodes(""), part("", 0, copied.slice(0, 2))]) take(half, message);
  assert.equal(endKeeping(half), true);
  assert.deepEqual(wordsOf(half), [...copied.slice(0, 2), wordOf(1, 3), BLANK]);
});
