import assert from "node:assert/strict";
import { test } from "node:test";
import * as fc from "fast-check";
import { lineReader } from "../../net/lines.ts";

function read(pieces: readonly Buffer[], max_bytes: number): { lines: string[]; isTooLong: boolean } {
  const lines: string[] = [];
  let isTooLong = false;
  const reader = lineReader(
    max_bytes,
    (line) => lines.push(line),
    () => {
      assert.ok(!isTooLong, "told once");
      isTooLong = true;
    },
  );
  for (const piece of pieces) reader.push(piece);
  return { lines, isTooLong };
}

test("lines come out the same however the bytes are cut", () => {
  fc.assert(
    fc.property(
      fc.string({ unit: fc.constantFrom("a", "é", "\n", "\r\n") }),
      fc.array(fc.nat(40)),
      (text, cuts) => {
        const bytes = Buffer.from(text);
        const edges = [
          0,
          ...cuts.map((cut) => Math.min(cut, bytes.length)).toSorted((a, b) => a - b),
          bytes.length,
        ];
        const pieces = edges.slice(1).map((end, i) => bytes.subarray(edges[i], end));
        assert.deepEqual(read(pieces, 1000).lines, text.split(/\r?\n/).slice(0, -1));
      },
    ),
  );
});

test("a line of the largest length is read, a longer one ends the reading", () => {
  assert.deepEqual(read([Buffer.from("abcd\n")], 4), { lines: ["abcd"], isTooLong: false });
  assert.deepEqual(read([Buffer.from("ab\nabc"), Buffer.from("de\nf\n"), Buffer.from("g\n")], 4), {
    lines: ["ab"],
    isTooLong: true,
  });
});
