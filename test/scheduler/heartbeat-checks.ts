/** What the program does with heartbeats: those that ask this node, those that answer it, and all that are neither. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { testRun } from "../../net/libbpf.ts";
import {
  HEARTBEAT_ANSWER,
  HEARTBEAT_ASK,
  HEARTBEAT_LEASED,
  HEARTBEAT_SCHEDULING,
  HEARTBEAT as LAYOUT,
} from "../../scheduler/layout.ts";
import * as f from "./frames.ts";
import type { PacketPlane } from "./packet-plane.ts";
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
  sent_ns,
  ...change,
});

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

export function heartbeatTests(planeOf: () => PacketPlane): void {
  test("a heartbeat is answered with what this node is, in every role", () => {
    const plane = planeOf();
    plane.setEpoch(12);
    plane.setTableVersion(2 ** 33 + 3);
    for (const isScheduling of [true, false]) {
      for (const hasLease of [true, false]) {
        plane.setScheduling(isScheduling);
        plane.setLease(hasLease);
        const { verdict, out, counter } = run(plane, f.heartbeat(askOf(), PEER));
        const flags = (isScheduling ? HEARTBEAT_SCHEDULING : 0) | (hasLease ? HEARTBEAT_LEASED : 0);
        const told = { kind: HEARTBEAT_ANSWER, epoch: 12, table_version: 2n ** 33n + 3n, flags };
        const expected = f.heartbeat(askOf(told), { to: f.macOfNode(3), from: f.OWN_MAC });
        assert.deepEqual([verdict, counter], [TX, "heartbeat_answered"]);
        assert.equal(out.toString("hex"), expected.toString("hex"));
      }
    }
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
  });
}
