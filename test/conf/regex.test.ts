import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { groupsOf, linearRegex } from "../../conf/regex.ts";

describe("an expression that can take for ever, or is none, is refused in words", () => {
  const LINEAR = /can't be matched in linear time/;
  const rows: [pattern: string, reason: RegExp][] = [
    ["(a)\\1", LINEAR],
    ["(?<n>a)\\k<n>", LINEAR],
    ["a(?=b)", LINEAR],
    ["a(?!b)", LINEAR],
    ["(?<=a)b", LINEAR],
    ["(?<!a)b", LINEAR],
    ["x[(](?<=a)b", LINEAR],
    ["a{1000}", LINEAR],
    ["(a{10}){10}", LINEAR],
    ["(?i:a)", LINEAR],
    ["(", /Unterminated group/],
    ["[", /Unterminated character class/],
    ["a++", /Nothing to repeat/],
    ["\u00e9", /not ASCII/],
    ["a\nb", /not ASCII/],
    ["a".repeat(257), /more than 256 characters/],
  ];
  for (const [pattern, reason] of rows) {
    test(JSON.stringify(pattern).slice(0, 40), () => {
      const result = linearRegex(pattern);
      assert.ok(typeof result === "string");
      assert.match(result, reason);
    });
  }
});

test("the others match as JavaScript's do, with . for line ends, too", () => {
  const rows: [pattern: string, text: string, groups: (string | undefined)[] | null][] = [
    ["^/user/([0-9]+)(/edit)?$", "/user/42", ["/user/42", "42", undefined]],
    ["[.](png|jpe?g)$", "/a/b.jpeg", [".jpeg", "jpeg"]],
    ["\\bfoo\\b", "a foo b", ["foo"]],
    ["a{2,3}?", "aaaa", ["aa"]],
    ["[?(<=]b", "=b", ["=b"]],
    ["^(a+)+$", "aab", null],
    ["^/admin/.*$", "/admin/a\nb", ["/admin/a\nb"]],
  ];
  for (const [pattern, text, groups] of rows) {
    const regex = linearRegex(pattern);
    assert.ok(regex instanceof RegExp, pattern);
    const found = regex.exec(text);
    assert.deepEqual(found === null ? null : [...found], groups, pattern);
    assert.equal(groupsOf(pattern), [...(new RegExp(pattern, "s").exec(text) ?? [0, 0])].length - 1, pattern);
  }
});

test("what drives others mad is matched to its end", () => {
  // A backtracking matcher would take 2^20000 steps for the first of these.
  for (const pattern of ["^(a+)+$", "^(a|a)*$", "^(a|aa)+$", "(x+x+)+y", "^(.*a){12}$"]) {
    const regex = linearRegex(pattern);
    assert.ok(regex instanceof RegExp);
    assert.equal(regex.test(`${"a".repeat(20_000)}!`), false);
  }
});
