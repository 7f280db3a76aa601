import assert from "node:assert/strict";
import { readdirSync, readFileSync, writeFileSync } from "node:fs";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test, type TestContext } from "node:test";
import { hashOf } from "../../../cli/push/desk.ts";
import type { VersionRecord } from "../../../cli/push/messages.ts";
import { openStore } from "../../../cli/push/store.ts";
import { KEPT_VERSIONS } from "../../../conf/limits.ts";

const base64 = (text: string): string => Buffer.from(text).toString("base64");
const version = (number: number): VersionRecord => ({
  number,
  hash: hashOf(base64(`text ${number}`)),
  previous: "",
  at_ms: number,
  by: "me",
  comment: "",
});

function place(t: TestContext): string {
  const dir = mkdtempSync(join(tmpdir(), "dlba-store-"));
  t.after(() => rmSync(dir, { recursive: true }));
  return dir;
}

test("what is saved is there in the next life: what is in force, promised and voted for, texts and history", (t) => {
  const dir = place(t);
  const store = openStore(dir);
  assert.equal(store.found, undefined);
  for (const number of [1, 2]) store.keep(version(number).hash, base64(`text ${number}`));
  const ballot = { round: 3, id: "0123456789abcdef" };
  store.save({ current: version(1), promised: null, accepted: null });
  const durable = { current: version(1), promised: ballot, accepted: { ballot, record: version(2) } };
  store.save(durable);
  store.noteFileHash("x");
  const next = openStore(dir);
  assert.deepEqual(next.found, durable);
  assert.deepEqual(next.history(), [version(1)]);
  assert.equal(next.read(version(2).hash), base64("text 2"));
  assert.equal(next.fileHash(), "x");
});

test("a text whose bytes are not what its name says is none", (t) => {
  const dir = place(t);
  const store = openStore(dir);
  const { hash } = version(1);
  store.keep(hash, base64("text 1"));
  writeFileSync(store.fileOf(hash), "something else");
  assert.equal(store.has(hash), false);
  store.keep(hash, base64("text 1"));
  assert.equal(readFileSync(store.fileOf(hash), "utf8"), "text 1");
});

test("a damaged state is told, and not taken for none", (t) => {
  const dir = place(t);
  openStore(dir).save({ current: version(1), promised: null, accepted: null });
  for (const text of ["", "{}", '{"durable":{},"history":[],"fileHash":""}']) {
    writeFileSync(join(dir, "push/state.json"), text);
    assert.throws(() => openStore(dir), { code: "STORE_DAMAGED" });
  }
});

test("what a killed write has left is in nobody's way, and old versions go", (t) => {
  const dir = place(t);
  const store = openStore(dir);
  store.keep(version(1).hash, base64("text 1"));
  writeFileSync(join(dir, "push/state.json.new"), "half of a st");
  writeFileSync(`${store.fileOf(version(1).hash)}.new`, "tex");
  for (let number = 1; number <= KEPT_VERSIONS + 10; number++) {
    store.keep(version(number).hash, base64(`text ${number}`));
    store.save({ current: version(number), promised: null, accepted: null });
  }
  assert.equal(openStore(dir).history().length, KEPT_VERSIONS);
  const names = readdirSync(join(dir, "push/versions"));
  assert.ok(names.length <= KEPT_VERSIONS + 1, `${names.length} texts are kept`);
  assert.ok(names.every((name) => name.endsWith(".yaml")));
  assert.equal(store.has(version(KEPT_VERSIONS + 10).hash), true);
  assert.equal(store.has(version(11).hash), true);
});

test("a store that can't be written says so and is as it was", (t) => {
  const dir = place(t);
  const store = openStore(dir);
  store.save({ current: version(1), promised: null, accepted: null });
  rmSync(join(dir, "push"), { recursive: true });
  writeFileSync(join(dir, "push"), "in the way");
  assert.throws(() => store.save({ current: version(2), promised: null, accepted: null }), {
    code: "ENOTDIR",
  });
  assert.deepEqual(store.history(), [version(1)]);
});
