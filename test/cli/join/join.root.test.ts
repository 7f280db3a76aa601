import assert from "node:assert/strict";
import { type ChildProcess, execFileSync, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdirSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, describe, test } from "node:test";

const DLBA = join(import.meta.dirname, "../../../bin/dlba");
const directory = mkdtempSync(join(tmpdir(), "dlba-join-"));
after(() => rmSync(directory, { recursive: true }));
const etc = join(directory, "etc");
const PORT = "18474";

function say(child: ChildProcess): { out: () => string; ended: Promise<number> } {
  let out = "";
  child.stdout?.on("data", (bytes: Buffer) => (out += bytes.toString()));
  return { out: () => out, ended: once(child, "exit").then(([code]) => Number(code)) };
}

describe("dlba token and dlba join", () => {
  test("a host with disks of its own gets key and configuration, and is told what to do next", async () => {
    mkdirSync(etc);
    const config = join(etc, "dlba.yaml");
    const init = ["--config", config, "--key-file", join(etc, "array.key"), "--vip", "192.0.2.10"];
    const nodes = ["--node", "a=192.0.2.11", "--node", "b=192.0.2.12", "--interface", "eth0"];
    execFileSync(DLBA, ["init", ...init, ...nodes, "--web-server", "192.0.2.21"], { stdio: "ignore" });
    const args = [
      "token",
      "--config",
      config,
      "--address",
      "127.0.0.1",
      "--port",
      PORT,
      "--node",
      "b",
      "--json",
    ];
    const inviting = spawn(DLBA, args, { stdio: ["ignore", "pipe", "inherit"] });
    const { out, ended } = say(inviting);
    const end_ms = performance.now() + 60_000;
    while (!out().includes("\n") && performance.now() < end_ms) await new Promise((r) => setTimeout(r, 20));
    const { token } = JSON.parse(out());
    // The other host: the same programs, and an empty /etc of its own.
    const script = 'mount -t tmpfs none "$1" && "$0" join - && stat -c %a "$1/array.key" && cat "$1"/*';
    const there = execFileSync("unshare", ["--mount", "sh", "-c", script, DLBA, etc], {
      input: `${token}\n`,
    });
    const text = there.toString();
    assert.match(text, /written: .*dlba\.yaml, .*array\.key\nthis host is b of array array\nnext:\n/);
    assert.match(text, /dlba run --config \S+ --node b\n600\n/);
    const files = ["array.key", "dlba.yaml"].map((name) => readFileSync(join(etc, name), "utf8"));
    assert.ok(text.endsWith(files.join("")), "both files are the same there");
    assert.equal(await ended, 0);
    assert.equal(JSON.parse(out().trim().split("\n")[1] ?? "").joined.node, "b");
  });

  test("a token that is withdrawn opens nothing", async () => {
    const args = ["token", "--config", join(etc, "dlba.yaml"), "--address", "127.0.0.1", "--port", PORT];
    const inviting = spawn(DLBA, args, { stdio: ["ignore", "pipe", "ignore"] });
    const { out, ended } = say(inviting);
    const end_ms = performance.now() + 60_000;
    while (!out().includes("\n") && performance.now() < end_ms) await new Promise((r) => setTimeout(r, 20));
    inviting.kill("SIGINT");
    assert.equal(await ended, 3);
    assert.throws(() => execFileSync(DLBA, ["join", out().trim()], { stdio: "pipe" }), /can't be reached/);
  });
});
