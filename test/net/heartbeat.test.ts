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
});

test("user space and the program mean the same by a heartbeat", () => {
  assert.deepEqual(heartbeat.HEARTBEAT_FIELDS, layout.HEARTBEAT);
  assert.equal(heartbeat.ETHERTYPE_HEARTBEAT, layout.ETHERTYPE_HEARTBEAT);
  assert.equal(heartbeat.HEARTBEAT_VERSION, layout.HEARTBEAT_VERSION);
  assert.equal(heartbeat.HEARTBEAT_ASK, layout.HEARTBEAT_ASK);
  assert.equal(heartbeat.HEARTBEAT_ANSWER, layout.HEARTBEAT_ANSWER);
});

test("an ask frame is laid out as the program reads it", () => {
  const frame = createAskFrame(KEY, OWN, 1);
  frame.ask(PEER, 7, 0x0b0c_0d0e0f10);
  assert.equal(
    Buffer.from(frame.bytes).toString("hex"),
    "020000000007" +
      "020000000001" +
      "88b5" +
      "01010107" +
      "00000000" +
      "0000000000000000" +
      "00000000" +
      "00000000" +
      "100f0e0d0c0b0000" +
      "cb7d1791cc986de3" +
      "000000000000",
  );
});

test("what was asked is read back, whatever it is, and the frame can be used again", () => {
  const frame = createAskFrame(KEY, OWN, 1);
  fc.assert(
    fc.property(asks, ({ asked, sent_ns }) => {
      frame.ask(PEER, asked, sent_ns);
      assert.equal(frame.bytes.length, HEARTBEAT_FRAME_BYTES);
      assert.deepEqual(readHeartbeat(frame.bytes, KEY), {
        kind: "ask",
        asker: 1,
        asked,
        epoch: 0,
        table_version: 0n,
        flags: 0,
        sent_ns: BigInt(sent_ns),
      });
    }),
  );
});

test("a time past 104 days comes through as the double that it was", () => {
  const sent_ns = Number(2n ** 60n + 12_345n);
  const frame = createAskFrame(KEY, OWN, 1);
  frame.ask(PEER, 7, sent_ns);
  assert.equal(Number(readHeartbeat(frame.bytes, KEY)?.sent_ns), sent_ns);
});

test("no frame is believed that was cut or changed, or made with another key", () => {
  const frame = createAskFrame(KEY, OWN, 1);
  frame.ask(PEER, 7, 123_456_789);
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
