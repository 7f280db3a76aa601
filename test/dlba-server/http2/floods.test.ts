/** Clients that make work for nothing: each kind of flood ends the connection, and what work brings is not mistaken for one. */
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import * as limits from "../../../conf/limits.ts";
import { dropStreams } from "../../../dlba-server/http2/connection.ts";
import { endStream, sendData, sendReset } from "../../../dlba-server/http2/output.ts";
import { FLAG, FRAME } from "../../../dlba-server/http2/wire.ts";
import {
  block,
  createHarness,
  frame,
  GET,
  type Harness,
  number,
  POST,
  request,
  SETTINGS,
  START,
} from "./harness.ts";

const CALM = "failed enhanceYourCalm";
const isEnded = (harness: Harness): boolean => harness.heard.includes(CALM);
const open = (stream: number): Buffer => request(stream, POST, 0);

/** Feeds `piece(n)` until the connection is ended; returns how many times. */
function flood(harness: Harness, piece: (index: number) => Buffer): number {
  harness.feed(START);
  for (let index = 0; index < 100_000; index++) {
    if (isEnded(harness)) return index;
    harness.feed(piece(index));
    harness.frames();
  }
  return Infinity;
}

const FRAMES: readonly (readonly [name: string, piece: (index: number) => Buffer, most: number])[] = [
  ["pings", () => frame(FRAME.ping, 0, 0, Buffer.alloc(8)), limits.HTTP2_IDLE_FRAMES],
  ["settings", () => SETTINGS, limits.HTTP2_IDLE_FRAMES],
  ["window updates", () => frame(FRAME.windowUpdate, 0, 0, number(1)), limits.HTTP2_IDLE_FRAMES],
  ["priorities", () => frame(FRAME.priority, 0, 1, Buffer.from([0, 0, 0, 3, 1])), limits.HTTP2_IDLE_FRAMES],
  ["frames of no known type", () => frame(77, 0, 0), limits.HTTP2_IDLE_FRAMES],
  ["empty data", (index) => (index === 0 ? open(1) : frame(FRAME.data, 0, 1)), limits.HTTP2_IDLE_FRAMES],
  [
    "padding without data",
    (index) => (index === 0 ? open(1) : frame(FRAME.data, FLAG.padded, 1, [3, 0, 0, 0])),
    limits.HTTP2_IDLE_FRAMES,
  ],
  [
    "requests that are reset at once (CVE-2023-44487)",
    (index) => Buffer.concat([request(2 * index + 1), frame(FRAME.rstStream, 0, 2 * index + 1, number(8))]),
    limits.HTTP2_RESETS,
  ],
  [
    "requests that make us reset them (CVE-2025-8671), by a window's growth by nothing",
    (index) => Buffer.concat([open(2 * index + 1), frame(FRAME.windowUpdate, 0, 2 * index + 1, number(0))]),
    limits.HTTP2_RESETS,
  ],
  [
    "the like, by a second head",
    (index) => Buffer.concat([open(2 * index + 1), request(2 * index + 1, [["x", "y"]], 0)]),
    limits.HTTP2_RESETS,
  ],
  [
    "the like, by data after the end",
    (index) => Buffer.concat([request(2 * index + 1), frame(FRAME.data, 0, 2 * index + 1, [1])]),
    limits.HTTP2_RESETS,
  ],
  [
    "the like, by streams beyond the number that was allowed",
    (index) => open(2 * index + 1),
    limits.HTTP2_RESETS + 100,
  ],
];

describe("floods end the connection", () => {
  for (const [name, piece, most] of FRAMES) {
    test(name, () => {
      const count = flood(createHarness(), piece);
      assert.ok(count > 0.9 * most && count <= most + 2, `${count} of ${most}`);
    });
  }
  test("a head in too many pieces", () => {
    const harness = createHarness();
    harness.feed(Buffer.concat([START, frame(FRAME.headers, 1, 1, block(GET))]));
    for (let i = 0; i <= limits.HTTP2_CONTINUATIONS; i++) harness.feed(frame(FRAME.continuation, 0, 1));
    assert.ok(isEnded(harness));
  });
  test("a head that is too large, before it is decoded", () => {
    const harness = createHarness();
    const piece = Buffer.alloc(16_384);
    harness.feed(Buffer.concat([START, frame(FRAME.headers, 1, 1, piece)]));
    for (let i = 0; i < 4; i++) harness.feed(frame(FRAME.continuation, 0, 1, piece));
    assert.ok(isEnded(harness));
  });
  test("a small block that stands for much is refused, and costs no more than its bound", () => {
    const harness = createHarness();
    const bomb = Buffer.concat([
      block(GET),
      block([["x", "v".repeat(4000)]], 64),
      Buffer.alloc(12_000, 0xbe),
    ]);
    harness.feed(Buffer.concat([START, frame(FRAME.headers, FLAG.endHeaders | FLAG.endStream, 1, bomb)]));
    assert.deepEqual(harness.heard, ["1 refused 431 end"]);
  });
});

test("a flood that ends in a window for what waits ends no stream once more", () => {
  const harness = createHarness();
  harness.feed(Buffer.concat([START, request(1)]));
  // More than the connection's window.
  const piece = Buffer.alloc(70_000);
  harness.feed(frame(FRAME.windowUpdate, 0, 1, number(100_000)));
  sendData(harness.c, harness.stream(1), piece, 0, piece.length);
  endStream(harness.c, harness.stream(1), "");
  assert.equal(harness.c.waiting.length, 1);
  harness.c.idleFrames = 0;
  harness.feed(frame(FRAME.windowUpdate, 0, 0, number(100_000)));
  assert.equal(harness.heard.at(-1), CALM);
  dropStreams(harness.c);
  assert.deepEqual([harness.c.streams.size, harness.c.waiting.length], [0, 0]);
});

describe("no flood", () => {
  test("credits come back with time", () => {
    const harness = createHarness();
    harness.feed(START);
    for (let second = 0; second < 100; second++) {
      harness.advance(1000);
      for (let i = 0; i < limits.HTTP2_IDLE_FRAMES_PER_SECOND; i++)
        harness.feed(frame(FRAME.ping, 0, 0, Buffer.alloc(8)));
      for (let i = 0; i < limits.HTTP2_RESETS_PER_SECOND; i++) {
        const id = 2 * (second * limits.HTTP2_RESETS_PER_SECOND + i) + 1;
        harness.feed(Buffer.concat([request(id), frame(FRAME.rstStream, 0, id, number(8))]));
      }
      harness.frames();
    }
    assert.ok(!isEnded(harness));
  });
  test("a long download's window updates", () => {
    const harness = createHarness();
    harness.feed(Buffer.concat([START, request(1)]));
    const piece = Buffer.alloc(16_384);
    for (let i = 0; i < 5000; i++) {
      sendData(harness.c, harness.stream(1), piece, 0, piece.length);
      harness.feed(frame(FRAME.windowUpdate, 0, 0, number(16_384)));
      harness.feed(frame(FRAME.windowUpdate, 0, 1, number(16_384)));
      harness.frames();
    }
    assert.ok(!isEnded(harness));
  });
  test("what was on its way when a stream had been reset is passed over", () => {
    const harness = createHarness({ takesData: false });
    harness.feed(Buffer.concat([START, open(1), frame(FRAME.windowUpdate, 0, 1, number(0))]));
    harness.feed(frame(FRAME.data, 0, 1, Buffer.alloc(1000)));
    harness.feed(request(1, [["x-trailer", "1"]]));
    harness.feed(frame(FRAME.windowUpdate, 0, 1, number(5)));
    harness.feed(request(3));
    assert.deepEqual(harness.told(), ["1 reset protocolError"]);
    assert.equal(harness.heard.at(-1), "3 GET / HTTP/1.1|host: a.example|| end");
    sendReset(harness.c, 3, 0);
  });
});
