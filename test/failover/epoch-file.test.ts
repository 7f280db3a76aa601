import assert from "node:assert/strict";
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test, type TestContext } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { openEpochFile } from "../../failover/epoch-file.ts";
import { createLogger } from "../../status/log.ts";

const log = createLogger({ process: "failover" }, "silent");

function directory(t: TestContext): string {
  const dir = mkdtempSync(join(tmpdir(), "dlba-epoch-"));
  t.after(() => rmSync(dir, { recursive: true }));
  return dir;
}

async function until(isSo: () => boolean): Promise<void> {
  for (let i = 0; i < 1000 && !isSo(); i++) await sleep(5);
  assert.ok(isSo());
}

test("what was reserved is the floor of the next life, and nothing else is left in the directory", async (t) => {
  const dir = directory(t);
  const file = openEpochFile(dir, log);
  assert.equal(file.floor, 0);
  for (const counter of [17, 5, 33]) file.reserve(counter);
  await until(() => file.reserved === 33);
  assert.equal(openEpochFile(dir, log).floor, 33);
  assert.deepEqual(readdirSync(dir), ["epoch.json"]);
});

test("a reservation never goes back", async (t) => {
  const dir = directory(t);
  writeFileSync(join(dir, "epoch.json"), '{"counter":40}\n');
  const file = openEpochFile(dir, log);
  file.reserve(20);
  await sleep(20);
  assert.deepEqual([file.floor, file.reserved], [40, 40]);
  assert.equal(readFileSync(join(dir, "epoch.json"), "utf8"), '{"counter":40}\n');
});

test("a file that makes no sense counts as none", (t) => {
  const dir = directory(t);
  for (const text of ["", "{", "[]", '{"counter":"9"}', '{"counter":-1}', '{"counter":1.5}']) {
    writeFileSync(join(dir, "epoch.json"), text);
    assert.equal(openEpochFile(dir, log).floor, 0, text);
  }
});

test("a disk that takes nothing is tried again with the next reservation", async (t) => {
  const dir = directory(t);
  // A directory in the way of the new file: as a full disk, it fails each try.
  mkdirSync(join(dir, "epoch.json.new"));
  const file = openEpochFile(dir, log);
  file.reserve(16);
  await sleep(50);
  assert.equal(file.reserved, 0);
  rmSync(join(dir, "epoch.json.new"), { recursive: true });
  file.reserve(17);
  await until(() => file.reserved === 17);
});
