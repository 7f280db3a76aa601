/** A round of heartbeats, and what of it can be read back. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { DlbaError } from "../../conf/errors.ts";
import { SysError } from "../../net/ffi.ts";
import { createAsker, linkOf, type Asker, type HeartbeatLink } from "../../net/heartbeat-asker.ts";
import { HEARTBEAT_LEASED, HEARTBEAT_OFFER } from "../../net/heartbeat.ts";
import { heartbeatMemory, newSentTimes, SENT_KEPT } from "../../net/heartbeat-memory.ts";
import type { HeartbeatNews } from "../../net/heartbeat-orders.ts";
import { readHeartbeat, type Heartbeat } from "./read-heartbeat.ts";

const KEY = Buffer.alloc(16, 9);
const PEERS = [2, 7];
const ALL = [0, 1];
const ENOBUFS = 105;
const ENXIO = 6;
const macOf = (slot: number, peer: number): Uint8Array => Uint8Array.of(2, 0, 0, 0, slot, peer);

/** An asker of node 1 on two interfaces that say what happens to them. */
function stage() {
  const memory = heartbeatMemory(2 * PEERS.length);
  const state = {
    now_ns: 1e9,
    isReady: true,
    opened: 0,
    closed: 0,
    failure: undefined as Error | undefined,
    unknown: new Set<number>(),
    news: { epoch: 0, isLeased: false, offer: undefined } as HeartbeatNews,
    frames: [] as { slot: number; to: Uint8Array; heartbeat: Heartbeat | undefined }[],
  };
  const openLink = (slot: number): HeartbeatLink => {
    if (!state.isReady) throw new DlbaError("NO_DATA_PLANE", "not yet");
    state.opened++;
    return {
      mac: macOf(slot, 1),
      macOf: (peer) => (state.unknown.has(peer) ? undefined : macOf(slot, peer)),
      send: (frame) => {
        state.now_ns += 1000;
        if (state.failure !== undefined) throw state.failure;
        state.frames.push({ slot, to: frame.slice(0, 6), heartbeat: readHeartbeat(frame, KEY) });
      },
      close: () => void state.closed++,
    };
  };
  const asker: Asker = createAsker({
    key: KEY,
    number: 1,
    channel: 1,
    slots: 2,
    peers: PEERS,
    memory,
    news: () => state.news,
    openLink,
    now_ns: () => state.now_ns,
  });
  const sentTo = (slot: number, peerIndex: number): [number, number][] => {
    const times = newSentTimes();
    memory.read(linkOf(PEERS.length, slot, peerIndex), times);
    return Array.from({ length: times.count }, (_, i) => [times.sent_ns[i]!, times.handed_ns[i]!]);
  };
  return { memory, state, asker, sentTo };
}

test("each peer is asked on each interface, and the times are those of its frame", () => {
  const { memory, state, asker, sentTo } = stage();
  asker.ask(ALL);
  assert.deepEqual(
    state.frames.map(({ slot, to, heartbeat }) => [slot, [...to], heartbeat?.asked, heartbeat?.asker]),
    [
      [0, [2, 0, 0, 0, 0, 2], 2, 1],
      [0, [2, 0, 0, 0, 0, 7], 7, 1],
      [1, [2, 0, 0, 0, 1, 2], 2, 1],
      [1, [2, 0, 0, 0, 1, 7], 7, 1],
    ],
  );
  const { sent_ns, epoch, table_version, flags, channel } = state.frames[3]!.heartbeat!;
  assert.deepEqual([epoch, table_version, flags, channel], [0, 0n, 0, 1]);
  assert.deepEqual(sentTo(1, 1), [[Number(sent_ns), Number(sent_ns) + 1000]]);
  assert.deepEqual(memory.counts(), { sent: 4, failed: 0 });
});

test("only who is due is asked", () => {
  const { state, asker } = stage();
  asker.ask([1]);
  assert.deepEqual(
    state.frames.map(({ slot, heartbeat }) => [slot, heartbeat?.asked]),
    [
      [0, 7],
      [1, 7],
    ],
  );
  asker.ask([]);
  assert.equal(state.frames.length, 2);
});

test("questions tell the news of the moment; an offer goes to one node alone", () => {
  const { state, asker } = stage();
  const told = (): unknown[] =>
    state.frames
      .splice(0)
      .filter(({ slot }) => slot === 1)
      .map(({ heartbeat }) => [heartbeat?.asked, heartbeat?.epoch, heartbeat?.flags]);
  state.news = { epoch: 0xffff_ff01, isLeased: true, offer: undefined };
  asker.ask(ALL);
  assert.deepEqual(told(), [
    [2, 0xffff_ff01, HEARTBEAT_LEASED],
    [7, 0xffff_ff01, HEARTBEAT_LEASED],
  ]);
  state.news = { epoch: 258, isLeased: true, offer: 7 };
  asker.ask(ALL);
  assert.deepEqual(told(), [
    [2, 258, HEARTBEAT_LEASED],
    [7, 258, HEARTBEAT_LEASED | HEARTBEAT_OFFER],
  ]);
  state.news = { epoch: 259, isLeased: false, offer: undefined };
  asker.ask(ALL);
  assert.deepEqual(told(), [
    [2, 259, 0],
    [7, 259, 0],
  ]);
});

test("a peer whose MAC address is not known is not asked until it is", () => {
  const { state, asker, sentTo } = stage();
  state.unknown.add(7);
  asker.ask(ALL);
  assert.deepEqual([sentTo(0, 0).length, sentTo(0, 1).length], [1, 0]);
  state.unknown.clear();
  asker.ask(ALL);
  assert.deepEqual([sentTo(0, 0).length, sentTo(0, 1).length], [2, 1]);
});

test("a heartbeat that the kernel did not take is counted, and does not count as sent", () => {
  const { memory, state, asker, sentTo } = stage();
  state.failure = new SysError("send", ENOBUFS);
  asker.ask(ALL);
  assert.deepEqual([memory.counts(), sentTo(0, 0)], [{ sent: 0, failed: 4 }, []]);
  state.failure = undefined;
  asker.ask(ALL);
  assert.deepEqual([memory.counts(), state.opened, state.closed], [{ sent: 4, failed: 4 }, 2, 0]);
});

test("what isn't there yet, or has gone, is opened again after a while", () => {
  const { memory, state, asker } = stage();
  state.isReady = false;
  asker.ask(ALL);
  state.isReady = true;
  asker.ask(ALL);
  assert.deepEqual([state.opened, memory.counts().failed], [0, 0]);
  state.now_ns += 200_000_000;
  asker.ask(ALL);
  assert.deepEqual([state.opened, memory.counts().sent], [2, 4]);

  state.failure = new SysError("send", ENXIO);
  asker.ask(ALL);
  state.failure = undefined;
  asker.ask(ALL);
  assert.deepEqual([state.closed, state.opened, memory.counts().failed], [2, 2, 2]);
  state.now_ns += 200_000_000;
  asker.ask(ALL);
  assert.deepEqual([state.opened, memory.counts().sent], [4, 8]);
  asker.close();
  assert.equal(state.closed, 4);
});

test("a defect ends the thread", () => {
  const { state, asker } = stage();
  state.failure = new TypeError("a defect");
  assert.throws(() => asker.ask(ALL), TypeError);
});

test("the last heartbeats can be read back, oldest first, from the other side's view of the memory", () => {
  const own = heartbeatMemory(3);
  const other = heartbeatMemory(3, own.shared);
  const times = newSentTimes();
  for (let round = 1; round <= 100; round++) {
    own.note(1, round * 10, round * 10 + 1);
    other.read(1, times);
    const first = Math.max(1, round - SENT_KEPT + 1);
    const expected = Array.from({ length: round - first + 1 }, (_, i) => (first + i) * 10);
    assert.deepEqual([...times.sent_ns.subarray(0, times.count)], expected);
    assert.equal(times.handed_ns[times.count - 1], round * 10 + 1);
  }
  other.read(0, times);
  assert.equal(times.count, 0);
});
