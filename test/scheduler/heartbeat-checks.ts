/** What the program does with heartbeats: those that ask this node, those that answer it, and all that are neither. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { epochOf } from "../../conf/epoch.ts";
import { testRun } from "../../net/libbpf.ts";
import {
  CHANNEL_COUNT,
  CHANNEL_FAILOVER,
  CHANNEL_SCHEDULER,
  HEARTBEAT_ANSWER,
  HEARTBEAT_ASK,
  HEARTBEAT_HEARS,
  HEARTBEAT_LEASED,
  HEARTBEAT_OFFER,
  HEARTBEAT_SCHEDULING,
  HEARTBEAT_STANDS,
  HEARTBEAT as LAYOUT,
} from "../../scheduler/layout.ts";
import * as f from "./frames.ts";
import { sipHash } from "./model-sums.ts";
import { HEARS_NS, OTHER_EPOCH, OWN_EPOCH, setEpochs, type PacketPlane } from "./packet-plane.ts";
import { DROP, PASS, TX } from "./packet-rows.ts";

const PEER = { from: f.macOfNode(3) };
const ETHERNET_BYTES = 14;
const now = (): bigint => process.hrtime.bigint();
const askOf = (change: Partial<f.HeartbeatFields> = {}): f.HeartbeatFields => ({
  kind: HEARTBEAT_ASK,
  asker: 3,
  asked: 1,
  epoch: 7,
  table_version: 70n,
  sent_ns: 123n,
  ...change,
});
const answerOf = (sent_ns: bigint, change: Partial<f.HeartbeatFields> = {}): f.HeartbeatFields => ({
  kind: HEARTBEAT_ANSWER,
  asker: 1,
  asked: 3,
  epoch: 9,
  table_version: 2n ** 40n + 5n,
  flags: HEARTBEAT_SCHEDULING,
  channel: CHANNEL_SCHEDULER,
  sent_ns,
  ...change,
});
/** A question of node 3, as of the scheduler of an epoch. */
const claimOf = (epoch: number, flags = HEARTBEAT_LEASED): f.HeartbeatFields => askOf({ epoch, flags });
const BEFORE = epochOf(4, 5);

/** Runs a frame and says what became of it. */
function run(plane: PacketPlane, frame: Buffer): { verdict: number; out: Buffer; counter: string } {
  const before = plane.counters();
  const { verdict, out } = testRun(plane.programFd, frame);
  const after = plane.counters();
  const counter = Object.keys(after)
    .filter((name) => after[name] !== before[name])
    .join(" ");
  return { verdict, out, counter };
}

function assertRefused(plane: PacketPlane, frame: Buffer, what: string): void {
  const { verdict, counter } = run(plane, frame);
  assert.deepEqual([verdict, counter], [DROP, "heartbeat_refused"], what);
}

/** What the program answers to a question. */
function answerTo(plane: PacketPlane, question: f.HeartbeatFields): { epoch: number; flags: number } {
  const { verdict, out, counter } = run(plane, f.heartbeat(question, PEER));
  assert.deepEqual([verdict, counter], [TX, "heartbeat_answered"]);
  const body = out.subarray(ETHERNET_BYTES);
  return { epoch: body.readUInt32LE(LAYOUT.epoch), flags: body.readUInt32LE(LAYOUT.flags) };
}

/** A stall in what has to be quick would prove nothing. */
function isQuick(act: () => void): boolean {
  const from_ns = now();
  act();
  return now() - from_ns < BigInt(HEARS_NS);
}
const past = async (): Promise<void> => sleep(HEARS_NS / 1e6 + 5);

const known = ({ lease }: PacketPlane): number[] => [lease.epoch(), lease.former(), lease.offered()];

export function heartbeatTests(planeOf: () => PacketPlane): void {
  test("two keys are heard while the array key is being changed, and a question is answered under its own", () => {
    const plane = planeOf();
    const [key, also, other] = [Buffer.from(f.HEARTBEAT_KEY), Buffer.alloc(16, 0x5a), Buffer.alloc(16, 0x77)];
    const isHeard = (under: Buffer<ArrayBuffer>): boolean => {
      const { verdict, out, counter } = run(plane, f.heartbeat(askOf(), PEER, under));
      if (verdict !== TX) assert.deepEqual([verdict, counter], [DROP, "heartbeat_refused"]);
      else {
        const body = out.subarray(ETHERNET_BYTES);
        assert.deepEqual(
          sipHash(under, body.subarray(0, LAYOUT.tag)),
          body.subarray(LAYOUT.tag, LAYOUT.size),
        );
      }
      return verdict === TX;
    };
    const heard = (): boolean[] => [key, also, other].map(isHeard);
    // Each stage on its own, then several missed ones at once.
    const rows: [keys: { key: Buffer; also: Buffer | undefined }, expected: boolean[]][] = [
      [{ key, also: undefined }, [true, false, false]],
      [{ key, also }, [true, true, false]],
      [{ key: also, also: key }, [true, true, false]],
      [{ key: also, also: undefined }, [false, true, false]],
      [{ key: also, also: other }, [false, true, true]],
      [{ key: other, also: undefined }, [false, false, true]],
      [{ key, also }, [true, true, false]],
      [{ key, also: undefined }, [true, false, false]],
    ];
    for (const [keys, expected] of rows) {
      plane.setHeartbeatKeys(keys);
      assert.deepEqual(heard(), expected);
    }
  });

  test("a heartbeat is answered with what this node is, in every role", () => {
    const plane = planeOf();
    plane.setTableVersion(2 ** 33 + 3);
    for (const isScheduling of [true, false]) {
      for (const hasLease of [true, false]) {
        for (const [stands, side] of [
          [true, 254],
          [true, 0],
          [false, 1],
          [false, 0],
        ] as const) {
          plane.setScheduling(isScheduling);
          plane.setLease(hasLease);
          plane.lease.tell({ stands, side });
          const { verdict, out, counter } = run(plane, f.heartbeat(askOf(), PEER));
          const flags =
            (isScheduling ? HEARTBEAT_SCHEDULING | HEARTBEAT_HEARS : 0) |
            (isScheduling && hasLease ? HEARTBEAT_LEASED : 0) |
            (stands ? HEARTBEAT_STANDS : 0) |
            (side * 256);
          const epoch = isScheduling ? OWN_EPOCH : OTHER_EPOCH;
          const told = { kind: HEARTBEAT_ANSWER, epoch, table_version: 2n ** 33n + 3n, flags };
          const expected = f.heartbeat(askOf(told), { to: f.macOfNode(3), from: f.OWN_MAC });
          assert.deepEqual([verdict, counter], [TX, "heartbeat_answered"]);
          assert.equal(out.toString("hex"), expected.toString("hex"));
        }
      }
    }
  });

  test("a later epoch's scheduler is believed at once: this node neither schedules nor answers any more", () => {
    const plane = planeOf();
    const later = epochOf(8, 3);
    plane.setScheduling(true);
    plane.setLease(true);
    const arp = f.eth(f.ARP, f.arp(1, f.CLIENT, f.VIP), { to: f.BROADCAST });
    assert.equal(run(plane, arp).counter, "arp_answered");
    const answer = answerTo(plane, claimOf(later));
    assert.equal(answer.epoch, later);
    assert.equal(answer.flags & (HEARTBEAT_SCHEDULING | HEARTBEAT_LEASED | HEARTBEAT_HEARS), 0);
    assert.deepEqual(known(plane), [later, OWN_EPOCH, 0]);
    assert.equal(run(plane, arp).counter, "not_ip");
    assert.equal(
      answerTo(plane, askOf({ epoch: epochOf(9, 2), asker: 2, flags: HEARTBEAT_LEASED })).epoch,
      epochOf(9, 2),
    );
    assert.deepEqual(known(plane), [epochOf(9, 2), later, 0]);
    const first = epochOf(0xff_ffff, 3);
    setEpochs(plane.lease, 0, 0);
    answerTo(plane, claimOf(first));
    assert.deepEqual(known(plane), [first, 0, 0], "to one that knew none; the highest epoch, too");
  });

  test("before any epoch nobody schedules, node 0 neither", () => {
    const plane = planeOf();
    plane.setLease(true);
    plane.setNumber(0);
    setEpochs(plane.lease, 0, 0);
    assert.deepEqual(answerTo(plane, askOf({ asked: 0 })), { epoch: 0, flags: 0 });
    setEpochs(plane.lease, epochOf(1, 0), 0);
    const flags = HEARTBEAT_SCHEDULING | HEARTBEAT_LEASED | HEARTBEAT_HEARS;
    assert.deepEqual(answerTo(plane, askOf({ asked: 0 })), { epoch: epochOf(1, 0), flags });
    plane.setNumber(1);
  });

  test("nothing else raises the epoch: no other node, no lapsed lease, nothing old or told again", () => {
    const plane = planeOf();
    const epoch = epochOf(8, 3);
    setEpochs(plane.lease, epoch, BEFORE);
    const without: [string, f.HeartbeatFields][] = [
      ["no lease", claimOf(epochOf(9, 3), HEARTBEAT_SCHEDULING | HEARTBEAT_OFFER)],
      ["another node's epoch", claimOf(epochOf(9, 2))],
      ["this node's epoch", claimOf(epochOf(9, 1))],
      ["the present epoch again", claimOf(epoch)],
      ["an older epoch", claimOf(epochOf(7, 3))],
      ["none", claimOf(0)],
      ["none, of node 0", askOf({ asker: 0, epoch: 0, flags: HEARTBEAT_LEASED })],
    ];
    for (const [what, question] of without) {
      assert.equal(answerTo(plane, question).epoch, epoch, what);
      assert.deepEqual(known(plane), [epoch, BEFORE, 0], what);
    }
    assertRefused(plane, f.heartbeat(claimOf(epochOf(9, 3)), PEER, Buffer.alloc(16, 1)), "forged");
    assertRefused(plane, f.heartbeat({ ...claimOf(epochOf(9, 3)), asked: 2 }, PEER), "to another");
    assertRefused(
      plane,
      f.heartbeat(
        { ...claimOf(epochOf(9, 3)), kind: HEARTBEAT_ANSWER, asker: 1, asked: 3, sent_ns: 0n },
        PEER,
      ),
      "an answer",
    );
    assert.deepEqual(known(plane), [epoch, BEFORE, 0]);
  });

  test("an offer counts from the scheduler, in the present epoch", () => {
    const plane = planeOf();
    const [epoch, later] = [epochOf(8, 3), epochOf(9, 3)];
    const offer = HEARTBEAT_OFFER | HEARTBEAT_LEASED;
    setEpochs(plane.lease, epoch, BEFORE);
    for (const [what, question] of [
      ["of an older epoch, maybe told again", claimOf(epochOf(7, 3), offer)],
      ["another node's", askOf({ asker: 2, epoch, flags: offer })],
      ["without the flag", claimOf(epoch)],
      ["in an epoch that is not believed", claimOf(later, HEARTBEAT_OFFER)],
    ] as const) {
      answerTo(plane, question);
      assert.deepEqual(known(plane), [epoch, BEFORE, 0], what);
    }
    const offerAt = (sent_ns: bigint): f.HeartbeatFields => ({ ...claimOf(epoch, HEARTBEAT_OFFER), sent_ns });
    answerTo(plane, offerAt(500n));
    assert.deepEqual(known(plane), [epoch, BEFORE, epoch]);
    answerTo(plane, claimOf(epoch));
    assert.deepEqual(known(plane), [epoch, BEFORE, epoch], "it stays");
    plane.lease.clearOffered();
    for (const sent_ns of [500n, 499n]) {
      answerTo(plane, offerAt(sent_ns));
      assert.deepEqual(known(plane), [epoch, BEFORE, 0], "told again by somebody who listened");
    }
    answerTo(plane, offerAt(501n));
    assert.deepEqual(known(plane), [epoch, BEFORE, epoch], "another one");
    plane.lease.clearOffered();
    answerTo(plane, { ...claimOf(later, offer), sent_ns: 7n });
    assert.deepEqual(known(plane), [later, epoch, later]);
    plane.lease.clearOffered();
  });

  test("whether a node hears the scheduler is its kernel's word: answers to the failover process, of just now", async () => {
    const plane = planeOf();
    setEpochs(plane.lease, epochOf(8, 3), BEFORE);
    const hears = (): boolean => (answerTo(plane, askOf()).flags & HEARTBEAT_HEARS) !== 0;
    const hear = (change: Partial<f.HeartbeatFields>): void => {
      assert.equal(run(plane, f.heartbeat(answerOf(now(), change), PEER)).counter, "heartbeat_heard");
    };
    await past();
    assert.equal(hears(), false, "not yet");
    hear({ channel: CHANNEL_SCHEDULER });
    hear({ channel: CHANNEL_FAILOVER, asked: 2 });
    assert.equal(hears(), false, "the other process, or another node, was answered");
    let heard = false;
    const once = (): void => {
      hear({ channel: CHANNEL_FAILOVER });
      heard = hears();
    };
    while (!isQuick(once));
    assert.equal(heard, true);
    await past();
    assert.equal(hears(), false, "that was some time ago");
    const inNone = (): void => {
      setEpochs(plane.lease, 0, 0);
      hear({ channel: CHANNEL_FAILOVER, asked: 0 });
      heard = hears();
    };
    while (!isQuick(inNone));
    assert.equal(heard, false, "there is no scheduler");
  });

  test("a heartbeat with any bit changed is refused, one cut short, too", () => {
    const plane = planeOf();
    const frame = f.heartbeat(askOf(), PEER);
    for (let bit = 0; bit < LAYOUT.size * 8; bit++) {
      const forged = Buffer.from(frame);
      forged[ETHERNET_BYTES + (bit >> 3)]! ^= 1 << (bit & 7);
      assertRefused(plane, forged, `bit ${bit}`);
    }
    for (let length = ETHERNET_BYTES; length < ETHERNET_BYTES + LAYOUT.size; length++) {
      assertRefused(plane, frame.subarray(0, length), `${length} bytes`);
    }
  });

  test("a heartbeat that is not for this node, or of an unknown kind, is refused", () => {
    const plane = planeOf();
    const wrong: [string, f.HeartbeatFields][] = [
      ["asks another", askOf({ asked: 2 })],
      ["asks itself", askOf({ asker: 1 })],
      ["another version", askOf({ version: 2 })],
      ["no kind", askOf({ kind: 0 })],
      ["another kind", askOf({ kind: 3 })],
      ["answers another", answerOf(now(), { asker: 2 })],
      ["answers itself", answerOf(now(), { asked: 1 })],
      ["asks by an unknown process", askOf({ channel: CHANNEL_COUNT })],
      ["answers an unknown process", answerOf(now(), { channel: CHANNEL_COUNT })],
    ];
    for (const [what, fields] of wrong) assertRefused(plane, f.heartbeat(fields, PEER), what);
    const key = Buffer.alloc(16, 9);
    assertRefused(plane, f.heartbeat(askOf(), PEER, key), "another key");
  });

  test("a heartbeat to another MAC address is passed, and one with a VLAN tag is none", () => {
    const plane = planeOf();
    const flooded = run(plane, f.heartbeat(askOf(), { ...PEER, to: f.macOfNode(2) }));
    assert.deepEqual([flooded.verdict, flooded.counter], [PASS, "other_mac"]);
    const inner = f.heartbeat(askOf(), PEER).subarray(ETHERNET_BYTES);
    const tagged = run(plane, f.eth(f.VLAN, f.vlan(3, f.HEARTBEAT, inner), PEER));
    assert.deepEqual([tagged.verdict, tagged.counter], [PASS, "not_ip"]);
  });

  test("an answer is noted once, with what the peer told", () => {
    const { peers, ...plane } = planeOf();
    const all = { ...plane, peers };
    const asked_ns = now();
    const frame = f.heartbeat(answerOf(asked_ns), PEER);
    const { verdict, counter } = run(all, frame);
    assert.deepEqual([verdict, counter], [DROP, "heartbeat_heard"]);
    assert.equal(peers.answered_ns(3), asked_ns);
    const heard_ns = peers.heard_ns(3);
    assert.ok(heard_ns >= asked_ns && heard_ns <= now());
    assert.deepEqual(
      [peers.epoch(3), peers.table_version(3), peers.flags(3)],
      [9, 2 ** 40 + 5, HEARTBEAT_SCHEDULING],
    );
    assertRefused(all, frame, "replayed");
    assertRefused(all, f.heartbeat(answerOf(asked_ns - 1n, { epoch: 1 }), PEER), "older");
    assertRefused(all, f.heartbeat(answerOf(now() + 10n ** 12n, { epoch: 1 }), PEER), "from the future");
    assert.deepEqual([peers.answered_ns(3), peers.heard_ns(3), peers.epoch(3)], [asked_ns, heard_ns, 9]);
    assert.equal(run(all, f.heartbeat(answerOf(now()), PEER)).counter, "heartbeat_heard");
    assert.equal(peers.answered_ns(2), 0n, "no other peer's row has changed");
    const toFailover = f.heartbeat(answerOf(asked_ns + 1n, { channel: CHANNEL_FAILOVER, asked: 4 }), PEER);
    assert.equal(run(all, toFailover).counter, "heartbeat_heard");
    assert.equal(peers.answered_ns(4), 0n, "nor the other process's rows");
  });
}
