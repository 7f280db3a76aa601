import assert from "node:assert/strict";
import { describe, it } from "node:test";
import * as fc from "fast-check";
import { hashBytes } from "../../dlba-server/hash.ts";

/** Published test vectors of MurmurHash3_x86_32: bytes in hexadecimal, seed, hash. */
const vectors: [string, number, number][] = [
  ["", 0, 0],
  ["", 1, 0x514e28b7],
  ["", 0xffffffff, 0x81f16f39],
  ["ffffffff", 0, 0x76293b50],
  ["21436587", 0, 0xf55b516b],
  ["21436587", 0x5082edee, 0x2362f9de],
  ["214365", 0, 0x7e4a8634],
  ["2143", 0, 0xa0f7b07a],
  ["21", 0, 0x72661cf4],
  ["00000000", 0, 0x2362f9de],
  ["000000", 0, 0x85f0b427],
  ["0000", 0, 0x30f4c306],
  ["00", 0, 0x514e28b7],
];
const texts: [string, number, number][] = [
  ["aaaa", 0x9747b28c, 0x5a97808a],
  ["aaa", 0x9747b28c, 0x283e0130],
  ["aa", 0x9747b28c, 0x5d211726],
  ["a", 0x9747b28c, 0x7fa09ea6],
  ["abcd", 0x9747b28c, 0xf0478627],
  ["Hello, world!", 0x9747b28c, 0x24884cba],
  ["The quick brown fox jumps over the lazy dog", 0x9747b28c, 0x2fa826cd],
];

describe("the hash of a URL", () => {
  for (const [hex, seed, hash] of vectors) {
    it(`of ${hex === "" ? "nothing" : hex} with seed ${seed}`, () => {
      const bytes = Buffer.from(hex, "hex");
      assert.equal(hashBytes(bytes, 0, bytes.length, seed), hash);
    });
  }
  for (const [text, seed, hash] of texts) {
    it(`of "${text}"`, () => {
      assert.equal(hashBytes(Buffer.from(text), 0, text.length, seed), hash);
    });
  }

  it("is of the bytes between start and end, wherever they lie", () => {
    fc.assert(
      fc.property(fc.uint8Array(), fc.uint8Array(), fc.uint8Array(), (before, bytes, after) => {
        const all = Buffer.concat([before, bytes, after]);
        const hash = hashBytes(all, before.length, before.length + bytes.length);
        assert.equal(hash, hashBytes(bytes, 0, bytes.length));
        assert.ok(Number.isInteger(hash) && hash >= 0 && hash <= 0xffffffff);
      }),
    );
  });

  it("spreads URLs that differ by a digit evenly", () => {
    const counts = Array.from({ length: 16 }, () => 0);
    for (let page = 0; page < 16_000; page++) {
      const url = Buffer.from(`/page?id=${page}`);
      counts[hashBytes(url, 0, url.length) >>> 28]!++;
    }
    for (const count of counts) assert.ok(count > 850 && count < 1150, `${count} of 16000 in one of 16`);
  });
});
