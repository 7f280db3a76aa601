import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import {
  chmodSync,
  chownSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, describe, test } from "node:test";
import { readArrayKey } from "../../../conf/keys.ts";
import { createFile, replaceFile } from "../../../cli/whole-files.ts";

const ROOT = join(import.meta.dirname, "../../..");
const directory = mkdtempSync(join(tmpdir(), "dlba-init-"));
after(() => rmSync(directory, { recursive: true }));
const newDirectory = (): string => mkdtempSync(join(directory, "of-"));

function dlba(...args: string[]): Promise<{ code: number | null; stdout: string; stderr: string }> {
  return new Promise((resolve) => {
    const child = execFile(join(ROOT, "bin/dlba"), args, { timeout: 60_000 }, (_error, stdout, stderr) =>
      resolve({ code: child.exitCode, stdout, stderr }),
    );
  });
}

function init(at: string, ...more: string[]) {
  const files = ["--config", join(at, "etc/dlba.yaml"), "--key-file", join(at, "etc/array.key")];
  const array = ["--vip", "192.0.2.10", "--web-server", "192.0.2.21:8080", "--interface", "eth0"];
  return dlba("init", ...files, ...array, "--node", "a=192.0.2.11", "--node", "b=192.0.2.12", ...more);
}

describe("dlba init", () => {
  test("writes a configuration that check finds good, and a key for its owner alone", async () => {
    const at = newDirectory();
    const { code, stdout, stderr } = await init(at);
    assert.equal(code, 0, stderr);
    assert.match(stdout, /array array has 2 nodes, 1 vserver on 1 VIP and 1 pool with 1 web server/);
    assert.match(stdout, /next:\n {2}dlba doctor --config/);
    assert.equal((await dlba("check", join(at, "etc/dlba.yaml"))).code, 0);
    const key = join(at, "etc/array.key");
    assert.equal(statSync(key).mode & 0o7777, 0o600);
    readArrayKey(key);
    assert.ok(!stdout.includes(readFileSync(key, "utf8").trim()), "the key is not shown");
    assert.deepEqual(readdirSync(join(at, "etc")).toSorted(), ["array.key", "dlba.yaml"]);
  });

  test("overwrites nothing: a configuration stops it, a key is kept", async () => {
    const at = newDirectory();
    await init(at);
    const key = readFileSync(join(at, "etc/array.key"), "utf8");
    const again = await init(at);
    assert.deepEqual([again.code, again.stdout], [3, ""]);
    assert.match(again.stderr, /dlba\.yaml is there already, and is left as it is \(change it by hand/);
    // As after a death between the two files.
    rmSync(join(at, "etc/dlba.yaml"));
    const { stdout } = await init(at, "--json");
    assert.equal(JSON.parse(stdout).is_new_key, false);
    assert.equal(readFileSync(join(at, "etc/array.key"), "utf8"), key);
  });

  test("a key file that holds none stops it before anything is written", async () => {
    const at = newDirectory();
    mkdirSync(join(at, "etc"));
    writeFileSync(join(at, "etc/array.key"), "secret\n");
    const { code, stderr } = await init(at);
    assert.equal(code, 3);
    assert.match(stderr, /is not 32 bytes in base64/);
    assert.ok(!existsSync(join(at, "etc/dlba.yaml")));
  });

  test("what was forgotten is wrong usage; what can't be a configuration is told by its place", async () => {
    const at = newDirectory();
    const none = await dlba("init", "--config", join(at, "a.yaml"), "--key-file", join(at, "key"));
    assert.equal(none.code, 2);
    assert.match(none.stderr, /^dlba: .*--vip ADDRESS is missing.*\n?dlba: --web-server/ms);
    const twice = await init(at, "--node", "a=192.0.2.13");
    assert.equal(twice.code, 2);
    assert.match(twice.stderr, /makes no configuration:\n.*dlba\.yaml:\d+:\d+: .*node name/);
    assert.deepEqual(readdirSync(at), []);
  });
});

describe("whole files", () => {
  test("what a killed process was writing is removed, what a living one writes is not", () => {
    const at = newDirectory();
    writeFileSync(join(at, ".key.new-4194304"), "half");
    writeFileSync(join(at, `.key.new-${process.ppid}`), "of another one");
    createFile(join(at, "key"), "whole", 0o600);
    assert.deepEqual(readdirSync(at).toSorted(), [`.key.new-${process.ppid}`, "key"]);
  });

  test("are made once and replaced at will, also behind a link", () => {
    const at = newDirectory();
    const file = join(at, "key");
    createFile(file, "one", 0o600);
    assert.throws(() => createFile(file, "two", 0o600), { code: "FILE_EXISTS" });
    assert.equal(readFileSync(file, "utf8"), "one");
    chmodSync(file, 0o640);
    symlinkSync(file, join(at, "link"));
    replaceFile(join(at, "link"), "two", 0o600);
    assert.equal(readFileSync(file, "utf8"), "two");
    assert.equal(statSync(file).mode & 0o7777, 0o640, "what is there keeps its mode");
    assert.deepEqual(readdirSync(at), ["key", "link"]);
    replaceFile(join(at, "new"), "three", 0o600);
    assert.equal(statSync(join(at, "new")).mode & 0o7777, 0o600);
  });

  test("belong to who owns their directory", () => {
    const at = newDirectory();
    const isRoot = process.geteuid?.() === 0;
    if (isRoot) chownSync(at, 65_534, 65_533);
    createFile(join(at, "key"), "x", 0o600);
    const [own, file] = [statSync(at), statSync(join(at, "key"))];
    assert.deepEqual([file.uid, file.gid], [own.uid, own.gid]);
    assert.equal(own.uid === 65_534, isRoot);
  });
});
