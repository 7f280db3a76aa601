/** The sender's edge, with followers of ours and with others. */
import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { connect } from "node:tls";
import { arrayKeyOf, deriveKey, keyId } from "../../../conf/keys.ts";
import {
  bitmapOf,
  encodeFollowerMessage,
  hasBit,
  type Position,
} from "../../../scheduler/feed/feed-message.ts";
import {
  createFeed,
  inStep,
  lastHeard,
  positionOf,
  propose,
  record,
  tellMerged,
  versionOf,
} from "../../../scheduler/feed/feed.ts";
import { createFollow, isFollowing, type Follow } from "../../../scheduler/feed/follow.ts";
import { readWord, wordOf } from "../../../scheduler/table.ts";
import {
  ADDRESS,
  arrayKey,
  followAt,
  followOf,
  helloOf,
  live,
  planOf,
  puppetAt,
  serve,
  SIZE,
  until,
  wordsOf,
  type Serving,
} from "./feed-edge.ts";

const change = (bucket: number, word: number) => ({ bucket, word });
function offer({ feed, server }: Serving, word: number, token: string): number {
  const version = propose(feed, "", [change(word % SIZE, word)], token);
  server.changed();
  return version;
}

test("nodes come in step, and a proposal is ready when all living ones have it", async (t) => {
  const serving = await serve(t);
  const { feed, tokens } = serving;
  live(serving, [1, 2]);
  offer(serving, 5, "first");
  const one = followAt(t, serving.server.port, followOf(1));
  await until("node 1 is in step", () => inStep(feed, 1));
  assert.deepEqual(tokens, [], "node 2 is not there");
  const two = followAt(t, serving.server.port, followOf(2));
  await until("the proposal is ready", () => tokens.length === 1);
  const version = offer(serving, 6, "second");
  await until("the other proposal is ready", () => tokens.length === 2);
  assert.deepEqual(tokens, ["first", "second"]);
  assert.equal(versionOf(feed, 1), version);
  for (const { follow } of [one, two]) assert.deepEqual(wordsOf(follow), planOf(feed));
  one.follower.stop();
  await until("its end is noticed", () => !inStep(feed, 1));
  assert.deepEqual(new Set(serving.changes), new Set([1, 2]));
  assert.equal(serving.changes.length, 3);
  offer(serving, 7, "third");
  await sleep(50);
  assert.equal(tokens.length, 2, "node 1 counts as living");
  live(serving, [2]);
  await until("the third one is ready", () => tokens.length === 3);
});

test("a node that connects during a storm of changes ends up with all of them", async (t) => {
  const serving = await serve(t);
  const { feed, server } = serving;
  const followings = [followAt(t, server.port, followOf(1))];
  let serial = 0;
  for (let turn = 0; turn < 400; turn++) {
    record(
      feed,
      "",
      Array.from({ length: 500 }, () => change(++serial % SIZE, serial)),
    );
    server.changed();
    if (turn === 100) followings.push(followAt(t, server.port, followOf(2)));
    await new Promise((resolve) => void setImmediate(resolve));
  }
  for (const { follow } of followings) {
    await until("it has all", () => isFollowing(follow) && follow.position.version === feed.version);
    assert.deepEqual(wordsOf(follow), planOf(feed));
  }
});

test("a node that comes back goes on where it was, also with a server that has come back", async (t) => {
  const first = await serve(t);
  const { feed, server } = first;
  const { follow, lines } = followAt(t, server.port, followOf(1));
  await until("it is in step", () => inStep(feed, 1));
  await server.close();
  record(feed, "", [change(3, 33)]);
  await serve(t, { feed, port: server.port });
  await until("it is in step again", () => inStep(feed, 1) && follow.position.version === 1);
  assert.deepEqual(wordsOf(follow), planOf(feed));
  assert.equal(lines.filter((line) => line.startsWith("follows")).length, 2);
});

test("with the next scheduler a node goes on without a copy, and the former scheduler refuses itself", async (t) => {
  const first = await serve(t);
  record(first.feed, "", [change(3, 33)]);
  const { follow, follower } = followAt(t, first.server.port, followOf(1));
  await until("it is in step", () => inStep(first.feed, 1));
  follower.stop();
  assert.ok(!isFollowing(follow));
  const base = positionOf(first.feed);
  const { words } = first.feed.groups[0]!;
  const feed = createFeed<string>({
    number: 2,
    epoch: 2,
    history: "bb",
    groups: [{ name: "", words }],
    base,
  });
  record(feed, "", [change(4, 44)]);
  const second = await serve(t, { feed });
  let opened = 0;
  const again = followAt(t, second.server.port, follow, { onTaken: () => opened++ });
  await until("it follows the next", () => inStep(feed, 1));
  await until("it has the change", () => versionOf(feed, 1) === 2);
  assert.equal(opened, 2, "two messages: the opening and the change");
  assert.deepEqual(wordsOf(follow), planOf(feed));
  again.follower.stop();
  const back = followAt(t, first.server.port, follow);
  await until("the first one hears of the next", () =>
    first.lines.some((line) => /node 1 has met epoch 2/.test(line)),
  );
  await until("the node says so", () => back.lines.some((line) => /node 1 has met epoch 2/.test(line)));
  assert.ok(follow.isWhole);
});

test("a node without the array key learns nothing, and others are served on", async (t) => {
  const serving = await serve(t);
  const wrong = followAt(t, serving.server.port, followOf(1), { arrayKey: arrayKeyOf(randomBytes(32)) });
  const right = followAt(t, serving.server.port, followOf(2));
  await until("the other one is in step", () => inStep(serving.feed, 2));
  await until("the node says that it can't connect", () => wrong.lines.length > 0);
  assert.match(wrong.lines[0] ?? "", /^the scheduler's table can't be followed/);
  assert.ok(!wrong.follow.isWhole);
  assert.ok(right.follow.isWhole);
});

test("another table size is refused, and both sides log once which sizes they are", async (t) => {
  const serving = await serve(t);
  const { lines, follow } = followAt(t, serving.server.port, followOf(3, 256));
  const text = /node 3's table has 256 buckets, the scheduler's 4096/;
  await until("the node logs it", () => lines.some((line) => text.test(line)));
  await until("the scheduler logs it", () => serving.lines.some((line) => text.test(line)));
  await sleep(300);
  assert.equal(lines.filter((line) => text.test(line)).length, 1);
  assert.equal(serving.lines.filter((line) => text.test(line)).length, 1);
  assert.ok(!follow.isWhole);
});

test("what is wrong with a node is logged again once it had been well", async (t) => {
  const serving = await serve(t);
  const text = /node 3's table has 256 buckets/;
  const times = (): number => serving.lines.filter((line) => text.test(line)).length;
  for (const time of [1, 2]) {
    const { follower } = followAt(t, serving.server.port, followOf(3, 256));
    await until("it is logged", () => times() === time);
    follower.stop();
    const good = followAt(t, serving.server.port, followOf(3));
    await until("it is in step", () => inStep(serving.feed, 3));
    good.follower.stop();
    await until("its end is noticed", () => !inStep(serving.feed, 3));
  }
});

test("two sides that have nothing to say stay together", async (t) => {
  const serving = await serve(t);
  const { lines } = followAt(t, serving.server.port, followOf(1));
  await until("it is in step", () => inStep(serving.feed, 1));
  await sleep(3500);
  assert.ok(inStep(serving.feed, 1));
  assert.deepEqual([lines.length, serving.changes], [1, [1]]);
});

test("a node that is not configured is refused", async (t) => {
  const serving = await serve(t);
  const { lines } = followAt(t, serving.server.port, followOf(9));
  await until("it is told", () =>
    lines.some((line) => /node 9 is not in the scheduler's configuration/.test(line)),
  );
});

test("the newer of two connections of a node counts, and the older one's end does no harm", async (t) => {
  const serving = await serve(t);
  const older = puppetAt(t, serving.server.port);
  older.stream.send(helloOf(1));
  await until("it gets its copy", () => older.lines.some((line) => line.startsWith('{"end"')));
  older.stream.send(encodeFollowerMessage({ kind: "acknowledged", version: 0, isInUse: true }));
  await until("it is in step", () => inStep(serving.feed, 1));
  const newer = puppetAt(t, serving.server.port);
  newer.stream.send(helloOf(1));
  await until("the older one is closed", () => older.end !== undefined);
  await until("the newer one gets its copy", () => newer.lines.some((line) => line.startsWith('{"end"')));
  assert.ok(!inStep(serving.feed, 1));
  newer.stream.send(encodeFollowerMessage({ kind: "acknowledged", version: 0, isInUse: true }));
  await until("the newer one is in step", () => inStep(serving.feed, 1));
  await sleep(50);
  assert.ok(inStep(serving.feed, 1));
  assert.deepEqual([newer.end, serving.changes], [undefined, [1, 1, 1]]);
});

const tick = encodeFollowerMessage({ kind: "tick" });
const bad: Record<string, string[]> = {
  "no JSON": ["GET / HTTP/1.1\r\n\r\n"],
  "an acknowledgement before the hello": [
    encodeFollowerMessage({ kind: "acknowledged", version: 0, isInUse: true }),
  ],
  "two hellos": [helloOf(1), helloOf(1)],
  "a number out of range": [helloOf(1).replace('"number":1', '"number":300')],
  "a version that was not sent": [
    helloOf(1),
    encodeFollowerMessage({ kind: "acknowledged", version: 7, isInUse: true }),
  ],
  "a line that is too long": [helloOf(1), "x".repeat(200_000)],
  "buckets that are not there": [
    helloOf(1),
    encodeFollowerMessage({ kind: "held", version: 0, group: "", connections: 3, bits: bitmapOf(8, []) }),
  ],
  "a group that is not there": [
    helloOf(1),
    encodeFollowerMessage({
      kind: "held",
      version: 0,
      group: "web",
      connections: 3,
      bits: bitmapOf(SIZE, []),
    }),
  ],
  "connections in more buckets than there are": [
    helloOf(1),
    encodeFollowerMessage({ kind: "connected", bits: bitmapOf(SIZE + 8, []) }),
  ],
  "buckets of a version that was not sent": [
    helloOf(1),
    encodeFollowerMessage({ kind: "held", version: 1, group: "", connections: 3, bits: bitmapOf(SIZE, []) }),
  ],
};
for (const [what, texts] of Object.entries(bad)) {
  test(`${what}: that connection is closed, others stay`, async (t) => {
    const serving = await serve(t);
    followAt(t, serving.server.port, followOf(2));
    await until("another node is in step", () => inStep(serving.feed, 2));
    const puppet = puppetAt(t, serving.server.port);
    for (const text of texts) {
      puppet.stream.send(text);
      // The opening has to be out before a version can be acknowledged.
      if (text.startsWith('{"hello"'))
        await until("it is answered", () => puppet.lines.length > 3 || puppet.end !== undefined);
    }
    if (what !== "a version that was not sent") puppet.stream.send(tick);
    await until("it is closed", () => puppet.end !== undefined);
    const complaint = serving.lines.find((line) => line.startsWith("a node can't follow the table")) ?? "";
    assert.match(complaint, /: \S/);
    assert.doesNotMatch(complaint, /it says nothing$/);
    assert.ok(inStep(serving.feed, 2));
    assert.ok(!inStep(serving.feed, 1));
  });
}

test("a connection that says nothing is cut off, before its hello and after", async (t) => {
  const serving = await serve(t);
  const puppets = [puppetAt(t, serving.server.port), puppetAt(t, serving.server.port)];
  puppets[1]?.stream.send(helloOf(1));
  await until("they are closed", () => puppets.every(({ end }) => end !== undefined));
  assert.ok(serving.lines.some((line) => line.endsWith("it says nothing")));
  assert.equal(typeof lastHeard(serving.feed, 1), "number");
});

test("a node that reads nothing is cut off, costs little meanwhile, and gets a full copy later", async (t) => {
  const size = 1_048_576;
  const serving = await serve(t, { size });
  const { feed, server } = serving;
  const psk = deriveKey(arrayKey, "control", 32);
  const stalled = connect({
    host: ADDRESS,
    port: server.port,
    minVersion: "TLSv1.2",
    maxVersion: "TLSv1.2",
    ciphers: "ECDHE-PSK-CHACHA20-POLY1305",
    pskCallback: () => ({ psk, identity: `dlba/${keyId(arrayKey.current)}` }),
    checkServerIdentity: () => undefined,
  });
  let isEnded = false;
  stalled.on("error", () => undefined).on("close", () => (isEnded = true));
  stalled.pause();
  stalled.write(helloOf(1, { groups: [{ name: "", size }] }));
  const before_bytes = process.memoryUsage().rss;
  const end_ms = performance.now() + 30_000;
  const changes = Array.from({ length: 60_000 }, (_, bucket) => change(bucket, bucket));
  // It lives, and hundreds of megabytes would wait for it if they did.
  while (!serving.lines.some((line) => line.endsWith("it reads nothing")) && performance.now() < end_ms) {
    if (!isEnded) stalled.write(tick);
    for (let i = 0; i < 20; i++) {
      record(feed, "", changes);
      server.changed();
      await new Promise((resolve) => void setImmediate(resolve));
    }
    await sleep(50);
  }
  stalled.destroy();
  assert.ok(
    serving.lines.some((line) => line.endsWith("it reads nothing")),
    serving.lines.join("\n"),
  );
  const grown_bytes = process.memoryUsage().rss - before_bytes;
  assert.ok(grown_bytes < 150_000_000, `the process has grown by ${grown_bytes} bytes`);
  const { follow } = followAt(t, server.port, followOf(1, size));
  await until("it is in step", () => inStep(feed, 1));
  assert.equal(follow.position.version, feed.version);
});

test("what a node holds as previous comes with its number", async (t) => {
  const serving = await serve(t);
  const { follower } = followAt(t, serving.server.port, followOf(3));
  const bits = bitmapOf(SIZE, [0, 77, SIZE - 1]);
  assert.ok(!follower.tellHeld("", 0, bits, 3), "not before it follows");
  await until("it is in step", () => inStep(serving.feed, 3));
  assert.ok(follower.tellHeld("", 0, bits, 3));
  await until("it has come", () => serving.held.length === 1);
  const [number, held] = serving.held[0]!;
  assert.deepEqual([number, held.version, held.group], [3, 0, ""]);
  assert.deepEqual(
    [76, 77, SIZE - 1].map((bucket) => hasBit(held.bits, bucket)),
    [false, true, true],
  );
});

/** A follower that was scheduling up to now: each of its buckets has word 2/1. */
function schedulerUpToNow(position: Position): Follow {
  const table = new Int32Array(SIZE * 2).fill(wordOf(2, 1));
  return createFollow({ number: 3, groups: [{ name: "", table }], position, hasScheduled: true });
}
const BEFORE = { epoch: 1, version: 7, history: "ab" };
const listing = (...buckets: number[]) => ({ listConnected: async () => bitmapOf(SIZE, buckets) });

test("a node that gets a copy tells of its connections; its own table is in use until they are known", async (t) => {
  const serving = await serve(t, { epoch: 2 });
  const follow = schedulerUpToNow(BEFORE);
  const { table } = follow.groups.get("")!;
  followAt(t, serving.server.port, follow, listing(5, 9));
  const known = (): void => {
    tellMerged(serving.feed, 3);
    serving.server.changed();
  };
  await until("it has told of them", () => serving.connected.length === 1);
  assert.deepEqual(serving.connected[0], [3, Buffer.from(bitmapOf(SIZE, [5, 9]))]);
  await until("the copy is whole", () => follow.isWhole && follow.position.epoch === 2);
  known();
  await until("it has told again", () => serving.connected.length === 2);
  assert.equal(readWord(table, 5), wordOf(2, 1));
  assert.ok(!isFollowing(follow) && !inStep(serving.feed, 3));
  known();
  await until("it is in step", () => inStep(serving.feed, 3));
  assert.equal(readWord(table, 5), serving.feed.groups[0]!.words[5]);
  await until("it has told the last ones", () => serving.connected.length === 3);
  known();
  await sleep(50);
  assert.equal(serving.connected.length, 3);
});

const cannotList = async (): Promise<Uint8Array> => Promise.reject(new Error("no netlink"));

test("what is not known is told again on the next connection, and no list is as good as none", async (t) => {
  const serving = await serve(t, { epoch: 2 });
  const follow = schedulerUpToNow(BEFORE);
  const { follower } = followAt(t, serving.server.port, follow, listing(5));
  await until("it has told", () => serving.connected.length === 1);
  follower.stop();
  const { lines } = followAt(t, serving.server.port, follow, { listConnected: cannotList });
  await until("it has told again", () => serving.connected.length === 2);
  assert.deepEqual(serving.connected[1], [3, Buffer.from(bitmapOf(SIZE, []))]);
  assert.match(lines.join(), /no netlink/);
});

test("a node without a table takes the copy at once", async (t) => {
  const serving = await serve(t);
  const { follow } = followAt(t, serving.server.port, followOf(3), listing(1));
  await until("it is in step", () => inStep(serving.feed, 3));
  assert.ok(isFollowing(follow));
  await until("and tells of its connections, too", () => serving.connected.length === 1);
});

test("a node that has gone on from the same table has nothing to tell", async (t) => {
  const serving = await serve(t, { epoch: 2, base: BEFORE });
  const follow = schedulerUpToNow(BEFORE);
  followAt(t, serving.server.port, follow, listing(5));
  await until("it is in step", () => inStep(serving.feed, 3));
  assert.equal(follow.keeps, undefined);
  await sleep(50);
  assert.deepEqual(serving.connected, []);
});
