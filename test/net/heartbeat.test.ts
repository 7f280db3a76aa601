import assert from "node:assert/strict";
import { test } from "node:test";
import * as fc from "fast-check";
import { parseMac } from "../../conf/address.ts";
import * as heartbeat from "../../net/heartbeat.ts";
import { createAskFrame, HEARTBEAT_FRAME_BYTES } from "../../net/heartbeat.ts";
import * as layout from "../../scheduler/layout.ts";
import { readHeartbeat } from "./read-heartbeat.ts";

const KEY = Uint8Array.from({ length: 16 }, (_, i) => i);
const OWN = parseMac("02:00:00:00:00:01")!;
const PEER = parseMac("02:00:00:00:00:07")!;

const asks = fc.record({
  asked: fc.nat({ max: 254 }),
  sent_ns: fc.maxSafeNat(),
  epoch: fc.nat({ max: 0xffff_ffff }),
  flags: fc.nat({ max: 31 }),
});

test("user space and the program mean the same by a heartbeat", () => {
  assert.deepEqual(heartbeat.HEARTBEAT_FIELDS, layout.HEARTBEAT);
  assert.equal(heartbeat.ETHERTYPE_HEARTBEAT, layout.ETHERTYPE_HEARTBEAT);
  assert.equal(heartbeat.HEARTBEAT_VERSION, layout.HEARTBEAT_VERSION);
  assert.equal(heartbeat.HEARTBEAT_ASK, layout.HEARTBEAT_ASK);
  assert.equal(heartbeat.HEARTBEAT_ANSWER, layout.HEARTBEAT_ANSWER);
  assert.equal(heartbeat.HEARTBEAT_SCHEDULING, layout.HEARTBEAT_SCHEDULING);
  assert.equal(heartbeat.HEARTBEAT_LEASED, layout.HEARTBEAT_LEASED);
  assert.equal(heartbeat.HEARTBEAT_HEARS, layout.HEARTBEAT_HEARS);
  assert.equal(heartbeat.HEARTBEAT_STANDS, layout.HEARTBEAT_STANDS);
  assert.equal(heartbeat.HEARTBEAT_OFFER, layout.HEARTBEAT_OFFER);
});

test("an ask frame is laid out as the program reads it", () => {
  const frame = createAskFrame(KEY, OWN, 1, 1);
  frame.ask(PEER, 7, 0x0b0c_0d0e0f10, 0x0102_0304, 18);
  assert.equal(
    Buffer.from(frame.bytes).toString("hex"),
    "020000000007" +
      "020000000001" +
      "88b5" +
      "01010107" +
      "04030201" +
      "0000000000000000" +
      "12000000" +
      "01000000" +
      "100f0e0d0c0b0000" +
      "0c48a911cf859ac7" +
      "000000000000",
  );
});

test("what was asked is read back, whatever it is, and the frame can be used again", () => {
  const frame = createAskFrame(KEY, OWN, 1, 1);
  fc.assert(
    fc.property(asks, ({ asked, sent_ns, epoch, flags }) => {
      frame.ask(PEER, asked, sent_ns, epoch, flags);
      assert.equal(frame.bytes.length, HEARTBEAT_FRAME_BYTES);
      assert.deepEqual(readHeartbeat(frame.bytes, KEY), {
        kind: "ask",
        asker: 1,
        asked,
        epoch,
        table_version: 0n,
        flags,
        channel: 1,
        sent_ns: BigInt(sent_ns),
      });
    }),
  );
});

test("a time past 104 days comes through as the double that it was", () => {
  const sent_ns = Number(2n ** 60n + 12_345n);
  const frame = createAskFrame(KEY, OWN, 1, 1);
  frame.ask(PEER, 7, sent_ns, 0, 0);
  assert.equal(Number(readHeartbeat(frame.bytes, KEY)?.sent_ns), sent_ns);
});

test("no frame is believed that was cut or changed, or made with another key", () => {
  const frame = createAskFrame(KEY, OWN, 1, 1);
  frame.ask(PEER, 7, 123_456_789, 258, 2);
  for (let length = 0; length < 54; length++) {
    assert.equal(readHeartbeat(frame.bytes.subarray(0, length), KEY), undefined);
  }
  for (let at = 12; at < 54; at++) {
    const changed = Buffer.from(frame.bytes);
    changed[at]! ^= 0x40;
    assert.equal(readHeartbeat(changed, KEY), undefined, `byte ${at}`);
  }
  assert.equal(readHeartbeat(frame.bytes, KEY.toReversed()), undefined);
  assert.notEqual(readHeartbeat(Buffer.from(frame.bytes), KEY), undefined);
});
