import assert from "node:assert/strict";
import { test } from "node:test";
import * as fc from "fast-check";
import {
  FEED_DELTA_CHANGES,
  FEED_LINE_BYTES,
  FEED_PART_BUCKETS,
  FOLLOWER_LINE_BYTES,
  MAX_TABLE_SIZE,
} from "../../../conf/limits.ts";
import {
  bitmapOf,
  decodeFeedMessage,
  decodeFollowerMessage,
  encodeFeedMessage,
  encodeFollowerMessage,
  hasBit,
  isLater,
  layoutConflict,
  type FeedMessage,
  type FollowerMessage,
} from "../../../scheduler/feed/feed-message.ts";

const kind = <const K extends string>(kind: K) => fc.constant(kind);
const version = fc.maxSafeNat();
const epoch = fc.nat(0xffffffff);
const history = fc.stringMatching(/^[0-9a-f]{0,32}$/);
const group = fc.stringMatching(/^[A-Za-z0-9-]{0,63}$/);
const groups = fc.uniqueArray(
  fc.record({ name: group, size: fc.integer({ min: 1, max: MAX_TABLE_SIZE }) }, { noNullPrototype: true }),
  { selector: ({ name }) => name, minLength: 1, maxLength: 65 },
);
const words = fc.array(fc.integer(), { maxLength: 100 }).map((words) => Int32Array.from(words));
const pairs = fc
  .array(fc.tuple(fc.integer(), fc.integer()), { maxLength: 50 })
  .map((pairs) => Int32Array.from(pairs.flat()));
const reason = fc.stringMatching(/^[\w '\u00e9-]{0,80}$/u);
const opening = { epoch, version, history, groups };
const base = fc.option(fc.record({ version, history }, { noNullPrototype: true }), { nil: undefined });

const feedMessage: fc.Arbitrary<FeedMessage> = fc.oneof(
  fc.record({ kind: kind("full"), base, ...opening }),
  fc.record({ kind: kind("continue"), base, ...opening }),
  fc.record({ kind: kind("part"), group, first: version, words }),
  fc.record({ kind: kind("end"), version }),
  fc.record({ kind: kind("delta"), version, group, pairs }),
  fc.record({ kind: kind("nodes"), version: fc.option(version, { nil: undefined }), group, pairs }),
  fc.record({ kind: kind("tick") }),
  fc.record({ kind: kind("merged") }),
  fc.record({ kind: kind("refused"), reason }),
);
const followerMessage: fc.Arbitrary<FollowerMessage> = fc.oneof(
  fc.record({ kind: kind("hello"), number: fc.nat(254), seen: epoch, ...opening }),
  fc.record({ kind: kind("acknowledged"), version, isInUse: fc.boolean() }),
  fc.record({
    kind: kind("held"),
    version,
    group,
    connections: version,
    bits: fc.uint8Array({ maxLength: 100 }),
  }),
  fc.record({ kind: kind("connected"), bits: fc.uint8Array({ maxLength: 100 }) }),
  fc.record({ kind: kind("again"), reason }),
  fc.record({ kind: kind("tick") }),
  fc.record({ kind: kind("refused"), reason }),
);
const withoutFeed = (line: string): string => {
  assert.ok(line.endsWith("\n"));
  assert.ok(!line.slice(0, -1).includes("\n"));
  return line.slice(0, -1);
};
/** Buffers and typed arrays of equal bytes are not deeply equal. */
function plain(message: FeedMessage | FollowerMessage): unknown {
  const hasBits = message.kind === "held" || message.kind === "connected";
  return hasBits ? { ...message, bits: Array.from(message.bits) } : { ...message };
}

test("what is written is read, from both sides", () => {
  fc.assert(
    fc.property(feedMessage, (message) => {
      assert.deepEqual(plain(decodeFeedMessage(withoutFeed(encodeFeedMessage(message)))), plain(message));
    }),
  );
  fc.assert(
    fc.property(followerMessage, (message) => {
      const read = decodeFollowerMessage(withoutFeed(encodeFollowerMessage(message)));
      assert.deepEqual(plain(read), plain(message));
    }),
  );
});

test("words are 32 bits each, little-endian, in base64", () => {
  const pairs = Int32Array.of(1, 0x00ff0201, 65_535, -1);
  const bytes = [1, 0, 0, 0, 1, 2, 255, 0, 255, 255, 0, 0, 255, 255, 255, 255];
  const words = Buffer.from(bytes).toString("base64");
  assert.equal(
    encodeFeedMessage({ kind: "delta", version: 7, group: "dns", pairs }),
    `{"delta":{"version":7,"group":"dns","words":"${words}"}}\n`,
  );
});

test("the largest messages fit into their lines", () => {
  const name = "n".repeat(63);
  const most = Number.MAX_SAFE_INTEGER;
  const all = Array.from({ length: 65 }, (_, i) => ({ name: `${i}`.padStart(63, "p"), size: 1_048_576 }));
  const history = "f".repeat(32);
  const place = { epoch: 0xffffffff, version: most, history, groups: all };
  const fromSender: FeedMessage[] = [
    { kind: "full", base: place, ...place },
    { kind: "part", group: name, first: most, words: new Int32Array(FEED_PART_BUCKETS).fill(-1) },
    { kind: "delta", group: name, version: most, pairs: new Int32Array(FEED_DELTA_CHANGES * 2).fill(-1) },
    { kind: "nodes", group: name, version: most, pairs: new Int32Array(FEED_DELTA_CHANGES * 2).fill(-1) },
    { kind: "refused", reason: "é".repeat(5000) },
  ];
  for (const message of fromSender) {
    assert.ok(Buffer.byteLength(encodeFeedMessage(message)) <= FEED_LINE_BYTES, message.kind);
  }
  const fromFollower: FollowerMessage[] = [
    { kind: "hello", number: 254, seen: 0xffffffff, ...place },
    { kind: "held", version: most, group: name, connections: most, bits: bitmapOf(MAX_TABLE_SIZE, []) },
    { kind: "connected", bits: bitmapOf(MAX_TABLE_SIZE, []) },
  ];
  for (const message of fromFollower) {
    assert.ok(Buffer.byteLength(encodeFollowerMessage(message)) <= FOLLOWER_LINE_BYTES, message.kind);
  }
});

const hello = (body: object) =>
  JSON.stringify({
    hello: {
      protocol: 2,
      number: 1,
      epoch: 0,
      version: 0,
      history: "",
      seen: 0,
      groups: [["", 256]],
      ...body,
    },
  });

test("what can't be a follower's message is refused", () => {
  decodeFollowerMessage(hello({}));
  const wrong = [
    "",
    "x",
    "null",
    "[]",
    "{}",
    '"hello"',
    '{"hello":1}',
    '{"unknown":{}}',
    '{"tick":{},"acknowledged":{"version":1}}',
    '{"constructor":{}}',
    '{"acknowledged":{"version":-1,"in_use":true}}',
    '{"acknowledged":{"version":1.5,"in_use":true}}',
    '{"acknowledged":{"version":"1","in_use":true}}',
    '{"acknowledged":{"version":9007199254740992,"in_use":true}}',
    '{"acknowledged":{"in_use":true}}',
    '{"acknowledged":{"version":1}}',
    '{"acknowledged":{"version":1,"in_use":1}}',
    '{"held":{"version":1,"group":"","connections":0,"bits":"%%%%"}}',
    '{"held":{"version":1,"group":"","connections":0,"bits":"AAA"}}',
    '{"held":{"version":1,"group":"a b","connections":0,"bits":""}}',
    '{"held":{"version":1,"group":7,"connections":0,"bits":""}}',
    `{"again":{"reason":"a\\nb"}}`,
    `{"again":{"reason":"${"x".repeat(1001)}"}}`,
    hello({ number: 255 }),
    hello({ epoch: 2 ** 32 }),
    hello({ history: "xyz" }),
    hello({ history: "0".repeat(33) }),
    hello({ groups: [] }),
    hello({ groups: {} }),
    hello({ groups: ["a"] }),
    hello({
      groups: [
        ["", 256, 1],
        ["", 256],
      ],
    }),
    hello({ groups: [["", 2_097_152]] }),
    hello({ groups: [["", 0]] }),
    hello({ groups: Array.from({ length: 66 }, (_, i) => [`p${i}`, 256]) }),
  ];
  for (const line of wrong) {
    assert.throws(() => decodeFollowerMessage(line), { code: "FEED_INVALID" }, line);
  }
});

test("what can't be a sender's message is refused", () => {
  const wrong = [
    '{"hello":{}}',
    '{"full":{}}',
    '{"full":{"protocol":2,"epoch":1,"version":0,"history":"","groups":[]}}',
    '{"part":{"group":"","first":0,"words":"AAAA"}}',
    '{"part":{"group":"","first":-1,"words":""}}',
    '{"part":{"group":"","first":0,"words":5}}',
    '{"delta":{"version":1,"group":"","words":"AAAAAA=="}}',
    '{"delta":{"group":"","words":""}}',
    '{"nodes":{"version":null,"group":"","flags":""}}',
    '{"end":{}}',
    '{"refused":{}}',
  ];
  for (const line of wrong) assert.throws(() => decodeFeedMessage(line), { code: "FEED_INVALID" }, line);
});

test("whatever comes in, it is read or refused", () => {
  const text = fc.oneof(fc.string(), fc.json(), feedMessage.map(encodeFeedMessage), fc.constant(hello({})));
  fc.assert(
    fc.property(text, fc.nat(60), fc.string({ maxLength: 3 }), (text, at, insert) => {
      const line = text.slice(0, at) + insert + text.slice(at);
      for (const decode of [decodeFeedMessage, decodeFollowerMessage]) {
        try {
          decode(line);
        } catch (error) {
          assert.ok(
            ["FEED_INVALID", "FEED_REFUSED"].includes((error as { code: string }).code),
            String(error),
          );
        }
      }
    }),
    { numRuns: 1000 },
  );
});

test("another version of the protocol is refused in words, whatever else stands in the line", () => {
  assert.throws(() => decodeFollowerMessage('{"hello":{"protocol":3,"who":3}}'), {
    code: "FEED_REFUSED",
    message: /the follower speaks version 3 of the table feed, this node version 2/,
  });
  assert.throws(() => decodeFeedMessage('{"full":{"protocol":0}}'), { code: "FEED_REFUSED" });
});

test("a reason stays on one line", () => {
  const line = encodeFeedMessage({ kind: "refused", reason: "one\ntwo\u0000" });
  assert.deepEqual(decodeFeedMessage(withoutFeed(line)), { kind: "refused", reason: "one two " });
});

const at = (epoch: number, version: number) => ({ epoch, version });

test("a higher epoch is later, then a higher version", () => {
  assert.ok(isLater(at(2, 0), at(1, 9)));
  assert.ok(!isLater(at(1, 9), at(2, 0)));
  assert.ok(isLater(at(1, 2), at(1, 1)));
  assert.ok(!isLater(at(1, 1), at(1, 1)));
});

const nodes = (size: number) => ({ name: "", size });

test("tables of different sizes are named, pools that one side lacks are not", () => {
  assert.equal(
    layoutConflict(3, [nodes(65_536)], [nodes(131_072)]),
    "node 3's table has 65536 buckets, the scheduler's 131072: scheduler.table_size has to be the same on all nodes",
  );
  assert.match(
    layoutConflict(3, [nodes(256), { name: "dns", size: 256 }], [nodes(256), { name: "dns", size: 512 }]) ??
      "",
    /^node 3's table of the pool dns has 256 buckets, the scheduler's 512/,
  );
  assert.match(layoutConflict(3, [{ name: "dns", size: 256 }], [nodes(256)]) ?? "", /no table/);
  assert.equal(
    layoutConflict(3, [nodes(256), { name: "a", size: 1 }], [nodes(256), { name: "b", size: 2 }]),
    undefined,
  );
});

test("a bitmap has the bits of its buckets and no others", () => {
  fc.assert(
    fc.property(fc.uniqueArray(fc.nat(99)), (buckets) => {
      const bits = bitmapOf(100, buckets);
      assert.equal(bits.length, 13);
      for (let bucket = 0; bucket < 120; bucket++)
        assert.equal(hasBit(bits, bucket), buckets.includes(bucket));
    }),
  );
});
