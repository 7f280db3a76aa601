/** The page on moving from HAProxy: its commands are run as they stand there. */
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { cpSync, mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";

const ROOT = join(import.meta.dirname, "../../..");
const PAGE = readFileSync(join(ROOT, "docs/moving-from-keepalived-haproxy.md"), "utf8");
const directory = mkdtempSync(join(tmpdir(), "dlba-moving-"));
after(() => rmSync(directory, { recursive: true }));

const commands = [...PAGE.matchAll(/^ {4}(bin\/dlba .*)$/gm)].map(([, command = ""]) => command);

test("the commands of the page that need no root work, in their order", () => {
  mkdirSync(join(directory, "docs"));
  cpSync(join(ROOT, "docs/moving"), join(directory, "docs/moving"), { recursive: true });
  symlinkSync(join(ROOT, "bin"), join(directory, "bin"));
  assert.deepEqual(
    commands.map((command) => command.split(" ")[1]),
    ["import", "check", "rehearse"],
  );
  for (const command of commands.filter((command) => !command.includes("rehearse"))) {
    const { status, stderr } = spawnSync("sh", ["-c", command], { cwd: directory, encoding: "utf8" });
    assert.equal(status, 0, `${command}: ${stderr}`);
  }
});
