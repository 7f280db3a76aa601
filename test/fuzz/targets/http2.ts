/**
 * HTTP/2: whatever a client sends, nothing throws, the pieces that it comes in make no difference, what is kept is bounded, and
 * what becomes of a header block is a head without a byte that could end one of its lines.
 */
import assert from "node:assert/strict";
import { HPACK_TABLE_BYTES } from "../../../conf/limits.ts";
import { createDecoder, decodeBlock, decoded } from "../../../dlba-server/http2/hpack-decoder.ts";
import { nameOf, valueOf } from "../../../dlba-server/http2/hpack-fields.ts";
import { FLAG, FRAME } from "../../../dlba-server/http2/wire.ts";
import {
  block,
  createHarness,
  frame,
  GET,
  number,
  POST,
  request,
  SETTINGS,
  START,
} from "../../dlba-server/http2/harness.ts";
import { below, oneOf, type Random, type Target } from "../target.ts";

const MOST_LIST = 4096;
const FIELDS: readonly (readonly [string, string])[] = [
  ["x-a", "b"],
  ["content-length", "3"],
  ["transfer-encoding", "chunked"],
  ["connection", "close"],
  ["te", "trailers"],
  ["host", "evil"],
  ["cookie", "DLBA=t1"],
  ["cookie", "a=b"],
  [":path", "/again"],
  [":authority", "other"],
  ["X-Upper", "a"],
  ["x-a", "b\r\nGET /hidden HTTP/1.1"],
  ["x-a\r\nx-b", "c"],
  ["x-a", "b\0c"],
  ["x:a", "b"],
  ["", "b"],
  ["expect", "100-continue"],
];

const text = (bytes: Uint8Array): string => Buffer.from(bytes).latin1Slice();

function makeFrame(random: Random): Buffer {
  const stream = oneOf(random, [0, 1, 1, 3, 5, 2]);
  const fields = Array.from({ length: below(random, 3) }, () => oneOf(random, FIELDS));
  const head = oneOf(random, [GET, POST]);
  const all = below(random, 3) === 0 ? [...fields, ...head] : [...head, ...fields];
  switch (below(random, 9)) {
    case 0:
    case 1:
      return request(stream, all, oneOf(random, [0, FLAG.endStream]));
    case 2: {
      const bytes = block(all, oneOf(random, [0, 64]));
      const at = below(random, bytes.length);
      const rest = frame(FRAME.continuation, FLAG.endHeaders, stream, bytes.subarray(at));
      return Buffer.concat([frame(FRAME.headers, 0, stream, bytes.subarray(0, at)), rest]);
    }
    case 3:
      return frame(
        FRAME.data,
        oneOf(random, [0, FLAG.endStream]),
        stream,
        Buffer.alloc(below(random, 9), 97),
      );
    case 4:
      return frame(FRAME.windowUpdate, 0, stream, number(oneOf(random, [0, 1, 0x7fffffff])));
    case 5:
      return frame(FRAME.rstStream, 0, stream, number(8));
    case 6:
      return frame(FRAME.ping, below(random, 2), 0, Buffer.alloc(8));
    case 7:
      return SETTINGS;
    default:
      return frame(below(random, 12), below(random, 256), stream, Buffer.alloc(below(random, 12)));
  }
}

const make = (random: Random): string =>
  Array.from({ length: 1 + below(random, 4) }, () => text(makeFrame(random))).join("");

function play(bytes: Buffer, size: number): { heard: readonly string[]; told: readonly string[] } {
  const harness = createHarness();
  harness.feed(START);
  harness.feed(bytes, size);
  return { heard: harness.heard, told: harness.told() };
}

function check(input: string): void {
  const bytes = Buffer.from(input, "latin1");
  if (bytes.length === 0) return;
  const whole = play(bytes, bytes.length);
  assert.deepEqual(play(bytes, 1), whole, "byte by byte");
  assert.deepEqual(play(bytes, 7), whole, "in pieces");
  for (const line of whole.heard) {
    const isData = /^\d+ data /.test(line);
    // oxlint-disable-next-line no-control-regex -- they are what must not be there
    if (!isData) assert.doesNotMatch(line, /[\0-\x08\x0a-\x1f\x7f]/, "a head with a control character");
  }
}

export const http2: Target = {
  name: "http2",
  batch: 300,
  seeds: [
    request(1),
    request(1, [...GET, ["x-a", "b\r\nc: d"]]),
    Buffer.concat([request(1, POST, 0), frame(FRAME.data, FLAG.endStream, 1, Buffer.from("abc"))]),
    Buffer.concat([request(1), request(3)]),
    ...FIELDS.map((field) => request(1, [...GET, field])),
  ].map(text),
  words: [
    text(request(1)),
    text(request(3)),
    text(frame(FRAME.data, FLAG.endStream, 1, [97])),
    text(frame(FRAME.rstStream, 0, 1, number(8))),
    text(SETTINGS),
    "\r\n",
    "\0",
    ":path",
    "content-length",
    "transfer-encoding",
  ],
  make,
  check,
};

/** Blocks one after the other, with a length of two bytes before each. */
function* blocksIn(bytes: Buffer): Generator<Buffer> {
  for (let at = 0; at + 2 <= bytes.length;) {
    const length = bytes.readUInt16BE(at) % 1024;
    yield bytes.subarray(at + 2, at + 2 + length);
    at += 2 + length;
  }
}

const framed = (bytes: Uint8Array): string =>
  text(Buffer.from([bytes.length >> 8, bytes.length & 255])) + text(bytes);

export const hpack: Target = {
  name: "hpack",
  batch: 2000,
  seeds: [
    framed(block(GET)),
    framed(block(GET, 64)) + framed(Uint8Array.of(0xbe, 0xbf)),
    framed(Buffer.from("828684418cf1e3c2e5f23a6ba0ab90f4ff", "hex")),
    framed(Buffer.from("3fe11f8286", "hex")),
    framed(Uint8Array.of(0x20)) + framed(block(POST, 64)),
  ],
  words: [
    "\x82",
    "\x86",
    "\xbe",
    "\x20",
    "\x3f\xe1\x1f",
    "\x7f\xff\xff\xff\xff",
    "\x40\x01a\x01b",
    "\0\x01a\x81\xff",
    framed(block(GET, 64)),
  ],
  make: (random) =>
    Array.from({ length: 1 + below(random, 3) }, () =>
      framed(block([...GET, oneOf(random, FIELDS)], oneOf(random, [0, 16, 64]))),
    ).join(""),
  check: (input) => {
    const decoder = createDecoder();
    const again = createDecoder();
    for (const bytes of blocksIn(Buffer.from(input, "latin1"))) {
      if (!decodeBlock(decoder, bytes, 0, bytes.length, MOST_LIST)) return;
      const inTable = decoder.ring.slice(0, decoder.count);
      assert.ok(
        decoder.bytes <= decoder.maxBytes && decoder.maxBytes <= HPACK_TABLE_BYTES,
        "the table's bound",
      );
      assert.ok(inTable.length <= HPACK_TABLE_BYTES / 32);
      const fields = decoded.fields
        .slice(0, decoded.count)
        .map((field) => [nameOf(field), valueOf(field)] as const);
      // Spelled out they are the same fields.
      const spelled = block(fields);
      assert.ok(decodeBlock(again, spelled, 0, spelled.length, MOST_LIST));
      const read = decoded.fields.slice(0, decoded.count).map((field) => [nameOf(field), valueOf(field)]);
      assert.deepEqual(read, fields);
    }
  },
};
