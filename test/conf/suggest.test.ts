import assert from "node:assert/strict";
import { test } from "node:test";
import * as fc from "fast-check";
import { listOf, suggestion } from "../../conf/suggest.ts";

test("a slip of the finger finds the word that was meant", () => {
  const known = ["weight", "address", "port", "pool", "interface"];
  const rows: [string, string | undefined][] = [
    ["wieght", "weight"],
    ["adress", "address"],
    ["prot", "port"],
    ["poool", "pool"],
    ["Interface", "interface"],
    ["colour", undefined],
    ["x", undefined],
    ["", undefined],
  ];
  for (const [word, meant] of rows) assert.equal(suggestion(word, known), meant, word);
});

test("one edit of a longer word always leads back to it", () => {
  const word = "connections";
  fc.assert(
    fc.property(fc.nat(word.length - 1), fc.string({ maxLength: 1 }), (at, put) => {
      assert.equal(suggestion(word.slice(0, at) + put + word.slice(at + 1), [word]), word);
    }),
  );
});

test("words are listed as a sentence lists them", () => {
  assert.equal(listOf([], "or"), "");
  assert.equal(listOf(["a"], "or"), "a");
  assert.equal(listOf(["a", "b", "c"], "or"), "a, b or c");
});
