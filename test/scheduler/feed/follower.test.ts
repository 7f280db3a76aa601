/** The receiver's edge, with senders that a test plays by hand. */
import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { createServer } from "node:net";
import { once } from "node:events";
import { join } from "node:path";
import { test, type TestContext } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { controlStreamServer, type ControlStream } from "../../../net/control-tls.ts";
import { encodeFeedMessage, type FeedMessage } from "../../../scheduler/feed/feed-message.ts";
import { inStep } from "../../../scheduler/feed/feed.ts";
import { isFollowing } from "../../../scheduler/feed/follow.ts";
import { ADDRESS, arrayKey, followAt, followOf, serve, SIZE, until, wordsOf } from "./feed-edge.ts";

interface Play {
  readonly port: number;
  readonly streams: ControlStream[];
  /** When each connection was made. */
  readonly at_ms: number[];
  readonly lines: string[];
}
/** A sender that says `messages` to whoever connects. */
async function play(t: TestContext, messages: readonly (FeedMessage | string)[]): Promise<Play> {
  const streams: ControlStream[] = [];
  const at_ms: number[] = [];
  const lines: string[] = [];
  const server = await controlStreamServer({
    address: ADDRESS,
    port: 0,
    arrayKey,
    line_bytes: 1_000_000,
    connections: 10,
    onStream: (stream) => {
      streams.push(stream);
      at_ms.push(performance.now());
      stream.send(messages.map(textOf).join(""));
      return { onLine: (line) => void lines.push(line), onClose: () => undefined };
    },
  });
  t.after(() => server.close());
  return { port: server.port, streams, at_ms, lines };
}
const textOf = (message: FeedMessage | string): string =>
  typeof message === "string" ? message : encodeFeedMessage(message);

const opening = { epoch: 5, version: 3, history: "ab", base: undefined, groups: [{ name: "", size: SIZE }] };
const full: FeedMessage = { kind: "full", ...opening };
const flags: FeedMessage = { kind: "nodes", version: undefined, group: "", pairs: new Int32Array(0) };
const words = new Int32Array(SIZE / 2).fill(7);
const half: FeedMessage = { kind: "part", group: "", first: 0, words };
const otherHalf: FeedMessage = { kind: "part", group: "", first: SIZE / 2, words };
const end: FeedMessage = { kind: "end", version: 3 };
const copy = [full, flags, half, otherHalf, end];
const delta = (version: number, word: number): FeedMessage => ({
  kind: "delta",
  version,
  group: "",
  pairs: Int32Array.of(1, word),
});
const acknowledged = (version: number): string => `{"acknowledged":{"version":${version},"in_use":true}}`;

test("it says who it is, takes the table, and acknowledges", async (t) => {
  const { port, lines } = await play(t, copy);
  const { follow } = followAt(t, port, followOf(2));
  await until("it acknowledges", () => lines.includes(acknowledged(3)));
  assert.match(lines[0] ?? "", /^\{"hello":\{"protocol":2,"number":2,"epoch":0,/);
  assert.ok(isFollowing(follow));
  assert.equal(wordsOf(follow)[SIZE - 1], 7);
});

test("what comes together is acknowledged together", async (t) => {
  const many = Array.from({ length: 200 }, (_, i) => delta(4 + i, i));
  const { port, lines } = await play(t, [...copy, ...many]);
  const { follow } = followAt(t, port, followOf(1));
  await until("all is acknowledged", () => lines.includes(acknowledged(203)));
  assert.ok(lines.length < 100, `${lines.length} lines`);
  assert.equal(follow.position.version, 203);
});

test("what a change means is settled before it is acknowledged", async (t) => {
  const { port, lines } = await play(t, [...copy, delta(4, 9)]);
  const seen: number[] = [];
  const follow = followOf(1);
  followAt(t, port, follow, {
    onTaken: ({ buckets }) => {
      assert.ok(!lines.includes(acknowledged(4)));
      if (buckets?.length === 1) seen.push(...buckets);
    },
  });
  await until("it is acknowledged", () => lines.includes(acknowledged(4)));
  assert.deepEqual(seen, [1]);
});

test("a gap makes it ask for a full copy", async (t) => {
  const { port, lines, streams } = await play(t, [...copy, delta(9, 1)]);
  const { follow } = followAt(t, port, followOf(1));
  await until("it asks", () => lines.some((line) => line.startsWith('{"again"')));
  assert.ok(!isFollowing(follow));
  streams[0]?.send(copy.map(textOf).join(""));
  await until("it follows", () => isFollowing(follow));
});

test("a connection that breaks off in the middle of a copy leaves it not whole, until it gets another", async (t) => {
  const broken = await play(t, [full, flags, half]);
  const { follow, follower } = followAt(t, broken.port, followOf(1));
  await until("half of it is there", () => wordsOf(follow)[0] === 7);
  assert.ok(!follower.tellHeld("", 0, new Uint8Array(SIZE / 8), 0), "it has no table to speak of");
  broken.streams[0]?.destroy();
  await until("it comes again", () => broken.streams.length > 1);
  assert.ok(!follow.isWhole);
  follower.stop();
  const good = await play(t, copy);
  followAt(t, good.port, follow);
  await until("it is whole", () => follow.isWhole);
});

test("a sender of an older epoch is refused and told so, and tried again with growing pauses", async (t) => {
  const follow = followOf(1);
  const newer = await play(t, copy);
  const first = followAt(t, newer.port, follow);
  await until("it follows", () => isFollowing(follow));
  first.follower.stop();
  const older = await play(t, [{ ...full, epoch: 4 }, flags, { ...half, words: new Int32Array(SIZE / 2) }]);
  const { lines } = followAt(t, older.port, follow);
  await until("it has tried five times", () => older.streams.length >= 5);
  assert.match(
    older.lines.find((line) => line.startsWith('{"refused"')) ?? "",
    /sender is at epoch 4, version 3/,
  );
  assert.equal(lines.length, 1, "logged once");
  const pauses = older.at_ms.slice(1).map((at, i) => at - older.at_ms[i]!);
  assert.ok(pauses[3]! >= 150, `pauses of ${pauses.join(", ")} ms`);
  assert.equal(wordsOf(follow)[0], 7);
  assert.ok(follow.isWhole);
});

const bad: Record<string, (FeedMessage | string)[]> = {
  "no JSON": ["SSH-2.0-OpenSSH\r\n"],
  "a change before the opening": [delta(1, 1)],
  "a group that was not told": [
    ...copy,
    { kind: "delta", version: 4, group: "web", pairs: Int32Array.of(1, 1) },
  ],
  "a bucket out of range": [...copy, { kind: "delta", version: 4, group: "", pairs: Int32Array.of(SIZE, 1) }],
  "a line that is too long": ["x".repeat(70_000)],
  "another table size": [{ ...full, groups: [{ name: "", size: 256 }] }],
  "a refusal": [{ kind: "refused", reason: "go away" }],
};
for (const [what, messages] of Object.entries(bad)) {
  test(`${what}: it leaves, says why, and tries again`, async (t) => {
    const { port, streams } = await play(t, messages);
    const { lines } = followAt(t, port, followOf(1));
    await until("it comes again", () => streams.length > 1);
    const times = (): number =>
      lines.filter((line) => line.startsWith("the scheduler's table can't be followed")).length;
    assert.ok(times() >= 1, lines.join("\n"));
    // Once it has been followed meanwhile, that is news again.
    if (messages.includes(end)) await until("it says so again", () => times() >= 2);
  });
}

test("after a connection that has lasted the next pause is a short one again", async (t) => {
  const { port, streams, at_ms } = await play(t, copy);
  const { follow } = followAt(t, port, followOf(1));
  for (let i = 0; i < 6; i++) {
    await until("it follows", () => streams.length === i + 1 && isFollowing(follow));
    streams[i]?.destroy();
  }
  let shortest_ms = Infinity;
  // A machine may be busy once, but the longest pause is always one of half a second.
  for (let i = 6; i < 12 && shortest_ms > 400; i++) {
    await until("it follows", () => streams.length === i + 1 && isFollowing(follow));
    await sleep(600);
    const ended_ms = performance.now();
    streams[i]?.destroy();
    await until("it comes again", () => streams.length > i + 1);
    shortest_ms = Math.min(shortest_ms, at_ms[i + 1]! - ended_ms);
  }
  assert.ok(shortest_ms <= 400, `${shortest_ms} ms`);
});

test("a sender that falls silent is left, and tried again", async (t) => {
  const { port, streams } = await play(t, copy);
  const { lines } = followAt(t, port, followOf(1));
  await until("it comes again", () => streams.length > 1);
  assert.ok(lines.some((line) => line.endsWith("the scheduler says nothing")));
});

test("a sender that ticks is followed on, and hears that the node lives", async (t) => {
  const { port, streams, lines } = await play(t, copy);
  followAt(t, port, followOf(1));
  for (let i = 0; i < 14; i++) {
    await sleep(250);
    streams[0]?.send(encodeFeedMessage({ kind: "tick" }));
  }
  assert.equal(streams.length, 1);
  assert.ok(lines.filter((line) => line === acknowledged(3)).length > 10);
});

test("a scheduler that comes up later is found soon", async (t) => {
  const probe = createServer().listen(0, ADDRESS);
  await once(probe, "listening");
  const { port } = probe.address() as { port: number };
  probe.close();
  await once(probe, "close");
  const { lines } = followAt(t, port, followOf(1));
  await until("it can't connect", () => lines.length > 0);
  await sleep(200);
  const { feed } = await serve(t, { port });
  await until("it follows", () => inStep(feed, 1));
});

test("following keeps no process from ending, connected or not", async (t) => {
  // A scheduler that ticks: the connection lasts.
  const { server } = await serve(t);
  const root = join(import.meta.dirname, "../../..");
  const program = (port: number, isWhole: boolean): string => `
    import { arrayKeyOf } from ${JSON.stringify(join(root, "conf/keys.ts"))};
    import { createFollow } from ${JSON.stringify(join(root, "scheduler/feed/follow.ts"))};
    import { startFollower } from ${JSON.stringify(join(root, "scheduler/feed/follower.ts"))};
    import { createLogger } from ${JSON.stringify(join(root, "status/log.ts"))};
    const table = new Int32Array(${SIZE * 2});
    const follow = createFollow({ number: 1, groups: [{ name: "", table }] });
    const arrayKey = arrayKeyOf(Buffer.alloc(32, 9));
    const log = createLogger({}, "silent");
    startFollower({ address: "${ADDRESS}", port: ${port}, arrayKey, follow, log });
    const wait = setInterval(() => {
      if (follow.isWhole !== ${isWhole}) return;
      clearInterval(wait);
      console.log("the last line");
    }, 20);
  `;
  for (const [to, isWhole] of [
    [server.port, true],
    [1, false],
  ] as const) {
    const child = execFile(process.execPath, ["--input-type=module", "-e", program(to, isWhole)], {
      timeout: 20_000,
    });
    let said = "";
    child.stdout?.on("data", (text: string) => (said += text));
    const [code]: unknown[] = await once(child, "exit");
    assert.equal(said, "the last line\n");
    assert.equal(code, 0);
  }
});
