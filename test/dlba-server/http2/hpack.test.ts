/** HPACK against the examples of RFC 7541 (appendix C), and the two sides against each other. */
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import * as fc from "fast-check";
import { HPACK_TABLE_BYTES } from "../../../conf/limits.ts";
import {
  createDecoder,
  decodeBlock,
  decoded,
  type HpackDecoder,
} from "../../../dlba-server/http2/hpack-decoder.ts";
import {
  beginBlock,
  boundEncoder,
  createEncoder,
  encodeField,
  encodeStatus,
} from "../../../dlba-server/http2/hpack-encoder.ts";
import { nameOf, valueOf } from "../../../dlba-server/http2/hpack-fields.ts";
import { block } from "./harness.ts";

const bytesOf = (hex: string): Buffer => Buffer.from(hex.replaceAll(" ", ""), "hex");

function decode(decoder: HpackDecoder, bytes: Buffer): string[] | "broken" {
  if (!decodeBlock(decoder, bytes, 0, bytes.length, 1_000_000)) return "broken";
  return decoded.fields.slice(0, decoded.count).map((field) => `${nameOf(field)}: ${valueOf(field)}`);
}

const FIRST = [":method: GET", ":scheme: http", ":path: /", ":authority: www.example.com"];
const THIRD = [":method: GET", ":scheme: https", ":path: /index.html", ":authority: www.example.com"];
const REQUESTS = [FIRST, [...FIRST, "cache-control: no-cache"], [...THIRD, "custom-key: custom-value"]];
const DATE = "date: Mon, 21 Oct 2013 20:13:21 GMT";
const LOCATION = "location: https://www.example.com";
const COOKIE = "set-cookie: foo=ASDJKHQKBZXOQWEOPIUAXQWEOIU; max-age=3600; version=1";
const RESPONSES = [
  [":status: 302", "cache-control: private", DATE, LOCATION],
  [":status: 307", "cache-control: private", DATE, LOCATION],
  [
    ":status: 200",
    "cache-control: private",
    DATE.replace("21 GMT", "22 GMT"),
    LOCATION,
    "content-encoding: gzip",
    COOKIE,
  ],
];

interface Example {
  readonly name: string;
  readonly tableBytes: number;
  readonly blocks: readonly (readonly [hex: string, tableBytesAfter: number])[];
  readonly expected: readonly (readonly string[])[];
}
const EXAMPLES: readonly Example[] = [
  {
    name: "C.3: requests without Huffman codes",
    tableBytes: 4096,
    blocks: [
      ["8286 8441 0f77 7777 2e65 7861 6d70 6c65 2e63 6f6d", 57],
      ["8286 84be 5808 6e6f 2d63 6163 6865", 110],
      ["8287 85bf 400a 6375 7374 6f6d 2d6b 6579 0c63 7573 746f 6d2d 7661 6c75 65", 164],
    ],
    expected: REQUESTS,
  },
  {
    name: "C.4: requests with Huffman codes",
    tableBytes: 4096,
    blocks: [
      ["8286 8441 8cf1 e3c2 e5f2 3a6b a0ab 90f4 ff", 57],
      ["8286 84be 5886 a8eb 1064 9cbf", 110],
      ["8287 85bf 4088 25a8 49e9 5ba9 7d7f 8925 a849 e95b b8e8 b4bf", 164],
    ],
    expected: REQUESTS,
  },
  {
    name: "C.5: responses without Huffman codes, with eviction",
    tableBytes: 256,
    blocks: [
      [
        "4803 3330 3258 0770 7269 7661 7465 611d 4d6f 6e2c 2032 3120 4f63 7420 3230 3133 2032 303a 3133 3a32 3120" +
          "474d 546e 1768 7474 7073 3a2f 2f77 7777 2e65 7861 6d70 6c65 2e63 6f6d",
        222,
      ],
      ["4803 3330 37c1 c0bf", 222],
      [
        "88c1 611d 4d6f 6e2c 2032 3120 4f63 7420 3230 3133 2032 303a 3133 3a32 3220 474d 54c0 5a04 677a 6970 7738" +
          "666f 6f3d 4153 444a 4b48 514b 425a 584f 5157 454f 5049 5541 5851 5745 4f49 553b 206d 6178 2d61 6765 3d33" +
          "3630 303b 2076 6572 7369 6f6e 3d31",
        215,
      ],
    ],
    expected: RESPONSES,
  },
  {
    name: "C.6: responses with Huffman codes, with eviction",
    tableBytes: 256,
    blocks: [
      [
        "4882 6402 5885 aec3 771a 4b61 96d0 7abe 9410 54d4 44a8 2005 9504 0b81 66e0 82a6 2d1b ff6e 919d 29ad 1718" +
          "63c7 8f0b 97c8 e9ae 82ae 43d3",
        222,
      ],
      ["4883 640e ffc1 c0bf", 222],
      [
        "88c1 6196 d07a be94 1054 d444 a820 0595 040b 8166 e084 a62d 1bff c05a 839b d9ab 77ad 94e7 821d d7f2 e6c7" +
          "b335 dfdf cd5b 3960 d5af 2708 7f36 72c1 ab27 0fb5 291f 9587 3160 65c0 03ed 4ee5 b106 3d50 07",
        215,
      ],
    ],
    expected: RESPONSES,
  },
];

describe("the examples of RFC 7541", () => {
  for (const { name, tableBytes, blocks, expected } of EXAMPLES) {
    test(name, () => {
      const decoder = createDecoder();
      decoder.maxBytes = tableBytes;
      blocks.forEach(([hex, after], index) => {
        assert.deepEqual(decode(decoder, bytesOf(hex)), expected[index]);
        assert.equal(decoder.bytes, after);
      });
    });
  }
});

describe("broken blocks", () => {
  const rows: readonly (readonly [string, string])[] = [
    ["index 0", "80"],
    ["an index beyond both tables", "be"],
    ["a name's index beyond both tables", "7f 10 01 61"],
    ["an integer without an end", "ff ff ff ff ff ff ff ff 01"],
    ["an integer that is cut off", "ff"],
    ["a name that is cut off", "40 05 61 62"],
    ["a value that is cut off", "40 01 61 05 62"],
    ["a literal without a value", "40 01 61"],
    ["a table larger than was allowed", "3f e2 1f"],
    ["a change of the table's size behind a field", "82 20"],
    ["a Huffman code with the end-of-string mark", "00 01 61 84 ff ff ff ff"],
    ["a Huffman code padded with zeros", "00 01 61 81 18"],
    ["a Huffman code padded with a whole byte", "00 01 61 82 1f ff"],
  ];
  for (const [name, hex] of rows) {
    test(name, () => assert.equal(decode(createDecoder(), bytesOf(hex)), "broken"));
  }
});

describe("the table", () => {
  test("a field larger than the table empties it", () => {
    const decoder = createDecoder();
    decode(decoder, block([["a", "b"]], 64));
    assert.equal(decoder.count, 1);
    assert.deepEqual(decode(decoder, block([["c", "x".repeat(5000)]], 64)), [`c: ${"x".repeat(5000)}`]);
    assert.equal(decoder.count, 0);
    assert.equal(decoder.bytes, 0);
  });
  test("a smaller bound evicts, and counts until it is raised", () => {
    const decoder = createDecoder();
    decode(
      decoder,
      block(
        [
          ["a", "b"],
          ["c", "d"],
        ],
        64,
      ),
    );
    decode(decoder, bytesOf("3f 03"));
    assert.deepEqual([decoder.count, decoder.bytes], [1, 34]);
    assert.deepEqual(decode(decoder, bytesOf("be")), ["c: d"]);
  });
  test("fields beyond the list's bound are counted and not kept", () => {
    const decoder = createDecoder();
    const bytes = block(Array.from({ length: 100 }, (_, index) => [`n${index}`, "v"] as const));
    assert.ok(decodeBlock(decoder, bytes, 0, bytes.length, 350));
    assert.equal(decoded.count, 10);
    assert.equal(decoded.listBytes, 10 * 35 + 90 * 36);
  });
});

const name = fc.stringMatching(/^[a-zA-Z0-9-]{1,20}$/);
const value = fc.stringMatching(/^([!-~]([ -~\u0080-\u00ff]{0,60}[!-~])?)?$/);

describe("what is encoded", () => {
  test("is decoded again, through any sequence of heads and table bounds", () => {
    const fields = fc.array(fc.tuple(name, value, fc.boolean()), { maxLength: 12 });
    // Few different fields: so that they come again, and the table matters.
    const few = fc.constantFrom(
      ["Content-Type", "text/html", false],
      ["Server", "s".repeat(900), false],
      ["Date", "now", false],
    );
    const head = fc.record({
      status: fc.integer({ min: 100, max: 599 }),
      fields: fc.oneof(fields, fc.array(few as fc.Arbitrary<[string, string, boolean]>, { maxLength: 6 })),
      bounds: fc.array(fc.integer({ min: 0, max: 10_000 }), { maxLength: 2 }),
    });
    fc.assert(
      fc.property(fc.array(head, { maxLength: 20 }), (heads) => {
        const encoder = createEncoder();
        const decoder = createDecoder();
        const out = Buffer.alloc(65_536);
        for (const { status, fields: list, bounds } of heads) {
          for (const bound of bounds) boundEncoder(encoder, bound);
          let at = beginBlock(encoder, out, 0);
          at = encodeStatus(out, at, status);
          for (const [fieldName, fieldValue, isOurs] of list) {
            const line = Buffer.from(fieldName + fieldValue, "latin1");
            const { length } = fieldName;
            at = encodeField(encoder, out, at, line, 0, length, length, line.length, isOurs);
          }
          const told = [`:status: ${status}`, ...list.map(([n, v]) => `${n.toLowerCase()}: ${v}`)];
          assert.deepEqual(decode(decoder, Buffer.from(out.subarray(0, at))), told);
          assert.ok(encoder.bytes <= encoder.maxBytes && encoder.maxBytes <= HPACK_TABLE_BYTES);
          assert.equal(encoder.bytes, decoder.bytes);
        }
      }),
    );
  });
  test("a field takes one byte from the third time on, an application's cookie never", () => {
    const encoder = createEncoder();
    const out = Buffer.alloc(1000);
    const sizes = (text: string, length: number, isOurs: boolean): number[] =>
      [1, 2, 3].map(() =>
        encodeField(encoder, out, 0, Buffer.from(text), 0, length, length, text.length, isOurs),
      );
    assert.equal(sizes("serverweb", 6, false)[2], 1);
    assert.equal(sizes("set-cookieours=1", 10, true)[2], 1);
    assert.deepEqual(sizes("set-cookietheirs=1", 10, false), [11, 11, 11]);
  });
});

test("no bytes whatever make the decoder read on for ever, or fail otherwise than by saying so", () => {
  fc.assert(
    fc.property(fc.array(fc.uint8Array({ maxLength: 300 }), { maxLength: 5 }), (blocks) => {
      const decoder = createDecoder();
      for (const bytes of blocks) {
        const isGood = decode(decoder, Buffer.from(bytes)) !== "broken";
        assert.ok(decoder.bytes <= HPACK_TABLE_BYTES);
        if (!isGood) return;
      }
    }),
  );
});
