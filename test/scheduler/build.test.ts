import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { homedir, tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { compileBpf, LAYOUT_FILE, layoutOf, OBJECT_FILE, SOURCE_FILE } from "../../scheduler/bpf/build.ts";
import * as limits from "../../conf/limits.ts";
import { layoutSource } from "../../scheduler/bpf/layout-source.ts";
import * as layout from "../../scheduler/layout.ts";

/** The compiler that the committed object was made with; another one makes other instructions. */
const CLANG = "14";
const ADVICE = "run: npm run build:bpf";

const clangMajor = (): string | undefined =>
  /clang version (\d+)/.exec(execFileSync("clang", ["--version"], { encoding: "utf8" }))?.[1];

test("the committed object is what its source compiles to", (t) => {
  const folder = mkdtempSync(join(tmpdir(), "dlba-build-"));
  t.after(() => rmSync(folder, { recursive: true }));
  const object = join(folder, "again.o");
  compileBpf(SOURCE_FILE, object);
  if (clangMajor() === CLANG) assert.ok(readFileSync(object).equals(readFileSync(OBJECT_FILE)), ADVICE);
  // Whatever the compiler: both sides of the maps agree.
  assert.equal(layoutOf(object), layoutOf(OBJECT_FILE), ADVICE);
});

test("layout.ts is what the object's type information says", () => {
  assert.equal(layoutOf(OBJECT_FILE), readFileSync(LAYOUT_FILE, "utf8"), ADVICE);
});

test("the object carries no path of the machine that made it", () => {
  const text = readFileSync(OBJECT_FILE, "latin1");
  for (const path of [import.meta.dirname, homedir(), tmpdir(), "/usr/include"]) {
    assert.ok(!text.includes(path), path);
  }
});

test("a structure that the object lacks is an error, not an empty layout", () => {
  assert.throws(() => layoutSource('{"types":[]}'), /no STRUCT bucket/);
});

test("the configuration's bounds are the program's", () => {
  assert.equal(layout.NODE_NOBODY, limits.NOBODY);
  assert.equal(layout.DIRECT_BUCKETS, limits.DIRECT_BUCKETS);
  assert.equal(layout.GROUP_COUNT, limits.MAX_DIRECT_POOLS + 1);
  assert.ok(layout.TRAFFIC_SLOTS >= limits.MAX_NODES);
  assert.ok(layout.TRAFFIC_SLOTS >= limits.MAX_DIRECT_HOSTS);
});
