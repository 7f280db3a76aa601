import assert from "node:assert/strict";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import * as fc from "fast-check";
import { DlbaError } from "../../conf/errors.ts";
import { MAX_CONFIG_BYTES, MAX_CONFIG_ERRORS } from "../../conf/limits.ts";
import { loadConfig, parseConfig } from "../../conf/load.ts";

const GOOD = readFileSync(new URL("good.yaml", import.meta.url), "utf8");
const directory = mkdtempSync(join(tmpdir(), "dlba-conf-"));
after(() => rmSync(directory, { recursive: true }));

function file(name: string, content: string | Uint8Array): string {
  const path = join(directory, name);
  writeFileSync(path, content);
  return path;
}

function errorsOf(text: string): readonly string[] {
  const parsed = parseConfig(text, "a.yaml");
  return "errors" in parsed ? parsed.errors.map(({ message }) => message) : [];
}

const failsWith = (code: string) => (error: unknown) => error instanceof DlbaError && error.code === code;

test("a good file becomes a configuration with its defaults", () => {
  const config = loadConfig(file("good.yaml", GOOD));
  assert.equal(config.nodes[0]?.weight, 2);
  assert.equal(config.nodes[0]?.enabled, true);
  assert.equal(config.pools[0]?.servers[0]?.port, 80);
  assert.equal(config.scheduler.table_size, 65_536);
  assert.equal(config.timeouts.drain_ms, 10_000);
});

test("a bad file throws all of its errors as one CONFIG_INVALID", () => {
  const path = file("bad.yaml", GOOD.replace("weight: 2", "wieght: 2").replace("[80]", "[0]"));
  assert.throws(
    () => loadConfig(path),
    (error) =>
      failsWith("CONFIG_INVALID")(error) &&
      error instanceof Error &&
      error.message.split("\n").every((line) => line.startsWith(`${path}:`)) &&
      error.message.split("\n").length === 2,
  );
});

test("what can't be read is CONFIG_UNREADABLE", () => {
  assert.throws(() => loadConfig(join(directory, "none.yaml")), failsWith("CONFIG_UNREADABLE"));
  assert.throws(() => loadConfig(directory), failsWith("CONFIG_UNREADABLE"));
  assert.throws(
    () => loadConfig(file("latin1.yaml", Buffer.from("name: caf\xe9", "latin1"))),
    failsWith("CONFIG_UNREADABLE"),
  );
  const large = file("large.yaml", `#${" ".repeat(MAX_CONFIG_BYTES)}`);
  assert.throws(() => loadConfig(large), failsWith("CONFIG_UNREADABLE"));
  assert.throws(() => loadConfig("/dev/zero"), failsWith("CONFIG_UNREADABLE"));
});

test("anchors and aliases work", () => {
  const text = GOOD.replace("vips: [10.0.0.100]", "vips: &vips [10.0.0.100]").replace(
    "pools:",
    "  - {name: mail, vips: *vips, ports: [25], protocol: tcp}\npools:",
  );
  const parsed = parseConfig(text, "a.yaml");
  assert.ok("config" in parsed);
  assert.deepEqual(parsed.config.vservers[1]?.vips, ["10.0.0.100"]);
});

test("nested aliases that would grow without bound are refused, and soon", () => {
  const levels = Array.from({ length: 30 }, (_, i) => {
    const below = i === 0 ? "lol" : `*a${i - 1}`;
    return `a${i}: &a${i} [${Array.from({ length: 10 }, () => below).join(", ")}]`;
  });
  const started_ms = Date.now();
  assert.deepEqual(errorsOf(levels.join("\n")), ["aliases make this file larger than 1000000 values"]);
  assert.ok(Date.now() - started_ms < 5000);
});

test("values nested very deeply are refused, and do not overflow the stack", () => {
  for (const text of ["[".repeat(200_000), "- ".repeat(200_000), `${"{a: ".repeat(50_000)}1`]) {
    const parsed = parseConfig(text, "a.yaml");
    assert.ok("errors" in parsed && parsed.errors.length > 0);
  }
});

test("a file of nothing but errors is told up to a bound, and soon", () => {
  const keys = Array.from({ length: 30_000 }, (_, i) => `key${i}: 1`).join("\n");
  const items = `nodes: [${"1,".repeat(60_000)}]`;
  for (const text of [keys, items, "a: 1\n".repeat(30_000)]) {
    const started_ms = Date.now();
    const parsed = parseConfig(text, "a.yaml");
    assert.ok("errors" in parsed);
    assert.ok(parsed.errors.length > 0 && parsed.errors.length <= MAX_CONFIG_ERRORS);
    assert.ok(Date.now() - started_ms < 20_000);
  }
});

test("whatever is done to a good file, the outcome is a configuration or errors with positions in it", () => {
  const piece = fc.oneof(
    fc.string({ unit: "binary", maxLength: 12 }),
    fc.constantFrom(
      "&a ",
      "*a",
      "- ",
      ": ",
      "\n",
      "\t",
      "{",
      "[",
      "]",
      "!",
      "null",
      "~",
      "<<: ",
      "%",
      "---\n",
    ),
    fc.constantFrom("nodes:", "__proto__: ", "constructor: ", "1e999", "0x", ".nan", "'", '"', "|\n", "? "),
  );
  const edit = fc.record({ at: fc.nat(GOOD.length), cut: fc.nat(30), put: piece });
  fc.assert(
    fc.property(fc.array(edit, { minLength: 1, maxLength: 6 }), (edits) => {
      let text = GOOD;
      for (const { at, cut, put } of edits) text = text.slice(0, at) + put + text.slice(at + cut);
      const parsed = parseConfig(text, "a.yaml");
      if ("config" in parsed) return;
      const lines = text.split("\n");
      assert.ok(parsed.errors.length > 0);
      for (const { line, column, message, hint } of parsed.errors) {
        assert.ok(line >= 1 && line <= lines.length, `line ${line}`);
        assert.ok(column >= 1 && column <= lines[line - 1]!.length + 1, `column ${column}`);
        assert.ok(message !== "" && hint !== "");
      }
    }),
    { numRuns: 1500 },
  );
});

test("any value in the place of any other is a configuration or errors", () => {
  const parsed = parseConfig(GOOD, "a.yaml");
  assert.ok("config" in parsed);
  const { config } = parsed;
  const keys = fc.constantFrom<keyof typeof config>(
    "array",
    "nodes",
    "vservers",
    "pools",
    "scheduler",
    "status",
  );
  fc.assert(
    fc.property(keys, fc.jsonValue(), (key, value) => {
      const text = JSON.stringify({ ...config, [key]: value });
      const result = parseConfig(text, "a.yaml");
      if ("errors" in result) assert.ok(result.errors.length > 0);
    }),
    { numRuns: 500 },
  );
});
