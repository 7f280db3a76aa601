import assert from "node:assert/strict";
import { test } from "node:test";
import { look, startWatch } from "../../cli/certificate-watch.ts";

/** Which looks tell something, one after the other. */
function told(first: string, looks: string): string {
  const watch = startWatch(first);
  return looks
    .split("")
    .map((seen) => (look(watch, seen) ? "!" : "."))
    .join("");
}

test("a change is told once it has settled, and once", () => {
  const rows: [what: string, looks: string, told: string][] = [
    ["nothing changes", "aaaa", "...."],
    ["one change", "abbb", "..!."],
    ["a change between two looks", "bbb", ".!."],
    ["files that change one after the other", "bcdeee", "....!."],
    ["and back", "aba", "..."],
    ["back, after it was told", "bbaaa", ".!.!."],
    ["gone, and there again", "b-bb", "...!"],
  ];
  for (const [what, looks, expected] of rows) assert.equal(told("a", looks), expected, what);
});
