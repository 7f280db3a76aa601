/** Bad configurations: each mistake is refused at its place, and says what would be right. */
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, test } from "node:test";
import type { ConfigError } from "../../conf/config-error.ts";
import { MAX_CONFIG_BYTES, MAX_CONFIG_ERRORS, MAX_CONFIG_VALUES } from "../../conf/limits.ts";
import { parseConfig } from "../../conf/load.ts";
import { MUTATIONS } from "./bad-configurations.ts";

const EXAMPLES = join(import.meta.dirname, "../../conf/examples");
const example = (name: string): string => readFileSync(join(EXAMPLES, `${name}.yaml`), "utf8");

function errorsOf(text: string): readonly ConfigError[] {
  const parsed = parseConfig(text, "dlba.yaml");
  return "errors" in parsed ? parsed.errors : [];
}

/** How far from the change an error may be told: at the entry that it is in. */
const NEAR_LINES = 30;

const lineOf = (text: string, offset: number): number => text.slice(0, offset).split("\n").length;

test("there are a hundred of them and more, all different", () => {
  assert.ok(MUTATIONS.length >= 100, String(MUTATIONS.length));
  assert.equal(
    new Set(MUTATIONS.map(({ file, from, to }) => [file, from, to].join("\0"))).size,
    MUTATIONS.length,
  );
  for (const name of ["minimal", "full", "direct", "caches"]) assert.deepEqual(errorsOf(example(name)), []);
});

describe("a mistake in an example is told at its place, with what would be right", () => {
  for (const { name, file, from, to, at, says } of MUTATIONS) {
    test(name, () => {
      const text = example(file);
      const changed = text.indexOf(from);
      assert.notEqual(changed, -1, `${file}.yaml has ${from}`);
      const mutated = text.replace(from, () => to);
      const errors = errorsOf(mutated);
      const told = errors.find(({ message, hint }) => `${message}; ${hint}`.startsWith(says));
      assert.ok(told !== undefined, JSON.stringify(errors, undefined, 1));
      const line = mutated.split("\n")[told.line - 1] ?? "";
      assert.equal(line.slice(told.column - 1, told.column - 1 + at.length), at);
      assert.ok(Math.abs(told.line - lineOf(text, changed)) <= NEAR_LINES, `told in line ${told.line}`);
      assert.ok(errors.every(({ message, hint }) => message !== "" && hint !== ""));
    });
  }
});

describe("input that is huge is refused, in a moment", () => {
  const minimal = example("minimal");
  const rows: [name: string, text: string, says: RegExp][] = [
    ["a file of 5 MB", minimal + "#".repeat(MAX_CONFIG_BYTES), /larger than 4194304 bytes/],
    ["lists within lists", minimal.replace("[80]", "[".repeat(100_000)), /nested too deeply/],
    [
      "aliases of aliases",
      `a: &a [1,1,1,1,1,1,1,1,1,1]\n${Array.from({ length: 20 }, (_, i) => {
        const last = String.fromCharCode(97 + i);
        const own = String.fromCharCode(98 + i);
        return `${own}: &${own} [*${last},*${last},*${last},*${last},*${last},*${last},*${last},*${last}]\n`;
      }).join("")}`,
      new RegExp(`larger than ${MAX_CONFIG_VALUES} values`),
    ],
    [
      "100,000 ports",
      minimal.replace("[80]", `[${"80,".repeat(100_000)}80]`),
      /is a list of 100001; expected a list of 1 to 64/,
    ],
    [
      "a key of nine hundred letters",
      minimal.replace("pool: shop", `${"k".repeat(900)}: shop`),
      /unknown key 'k{80}…'/,
    ],
    [
      "a name of a million letters",
      minimal.replace("name: shop-http", `name: ${"n".repeat(1_000_000)}`),
      /is "n{79}…; expected a name/,
    ],
    [
      "100,000 vservers without anything",
      `${minimal}\n${"x: 1\n".replace("x", "y")}`.replace("pools:", `${"  - {}\n".repeat(100_000)}pools:`),
      /is a list of 100001; expected a list of 1 to 1024/,
    ],
  ];
  for (const [name, text, says] of rows) {
    test(name, () => {
      const errors = errorsOf(text);
      assert.ok(errors.length > 0 && errors.length <= MAX_CONFIG_ERRORS, String(errors.length));
      assert.match(errors.map(({ message, hint }) => `${message}; ${hint}`).join("\n"), says);
      assert.ok(errors.every(({ message, hint }) => message.length + hint.length < 2000));
    });
  }
});
