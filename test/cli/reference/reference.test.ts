import assert from "node:assert/strict";
import { execFileSync, spawnSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { EXIT, EXIT_MEANINGS } from "../../../cli/exit-codes.ts";
import { createProgram } from "../../../cli/program.ts";
import { commandTree, usageOf, type CommandRecord } from "../../../cli/reference/command-tree.ts";
import { completionScript } from "../../../cli/reference/completion.ts";
import { manPage } from "../../../cli/reference/man-page.ts";
import { TOPICS } from "../../../conf/topics.ts";

const ROOT = join(import.meta.dirname, "../../..");
const tree = commandTree(createProgram());
const directory = mkdtempSync(join(tmpdir(), "dlba-completion-"));
after(() => rmSync(directory, { recursive: true }));

/** What bash would offer behind these words; the last one is being written. */
function offered(...words: string[]): string[] {
  const script = join(directory, "dlba.bash");
  writeFileSync(script, completionScript(tree, "bash"));
  const line = words.map((word) => `'${word}'`).join(" ");
  const program = `source ${script}; COMP_WORDS=(dlba ${line}); COMP_CWORD=${words.length}; _dlba; printf '%s\\n' "\${COMPREPLY[@]}"`;
  const said = execFileSync("bash", ["--norc", "-c", program], { encoding: "utf8", cwd: directory });
  return said.split("\n").filter((word) => word !== "");
}

test("bash completes commands, tables, options and files", () => {
  writeFileSync(join(directory, "array.yaml"), "");
  assert.deepEqual(offered("sh"), ["show"]);
  assert.deepEqual(offered("d"), ["doctor", "detach", "diff", "drain"]);
  assert.deepEqual(offered("show", "s"), ["summary", "stat", "servers", "sess"]);
  assert.deepEqual(offered("show", "--c"), ["--csv"]);
  assert.deepEqual(offered("show", "nodes", "--j"), ["--json"]);
  assert.deepEqual(offered("lab", "do"), ["down"]);
  assert.deepEqual(offered("lab", "status", "--j"), ["--json"]);
  assert.deepEqual(offered("run", "--config", "arr"), ["array.yaml"]);
  assert.deepEqual(offered("check", "arr"), ["array.yaml"]);
  assert.deepEqual(offered("drain", "--timeout", ""), []);
  assert.deepEqual(offered("nonsense", "x"), []);
  assert.deepEqual(offered("completion", ""), ["bash", "zsh", "fish", "--help"]);
});

test("zsh runs the same script, and fish has a line for each command and option", () => {
  const zsh = completionScript(tree, "zsh");
  assert.ok(zsh.startsWith("#compdef dlba\n") && zsh.endsWith(completionScript(tree, "bash")));
  const fish = completionScript(tree, "fish");
  for (const { name, options } of tree.commands) {
    assert.match(fish, new RegExp(`-n '__fish_use_subcommand' -a ${name} -d '`));
    const own = fish.split("\n").filter((line) => line.includes(`__fish_seen_subcommand_from ${name}'`));
    for (const { long } of options)
      assert.ok(
        own.some((line) => line.includes(` -l ${long!.slice(2)} `)),
        `${name} ${long}`,
      );
  }
  // A quote that is left open would take the rest of the file with it.
  for (const line of fish.trimEnd().split("\n")) {
    const bare = line.replaceAll(/\\[\\']/g, "");
    assert.equal((bare.match(/'/g)?.length ?? 0) % 2, 0, line);
  }
});

function all(command: CommandRecord): CommandRecord[] {
  return [command, ...command.commands.flatMap(all)];
}

test("every command and option is described", () => {
  for (const { name, description, options } of all(tree)) {
    assert.ok(description.length > 0, name);
    for (const option of options) assert.ok(option.description.length > 0, `${name} ${option.flags}`);
  }
});

test("the man page has all of them, and is sound roff", () => {
  const page = manPage(tree, "1.2.3");
  const plain = page.replaceAll("\\-", "-").replaceAll("\\(dq", '"');
  for (const command of tree.commands.filter(({ commands }) => commands.length === 0)) {
    assert.ok(plain.includes(`.SS "dlba ${usageOf(command)}"`), command.name);
    for (const { flags } of command.options) assert.ok(plain.includes(`.B ${flags}`), flags);
  }
  assert.ok(plain.includes('.SS "dlba lab up [options]"'));
  for (const topic of TOPICS) assert.ok(plain.includes(topic));
  for (const line of page.split("\n")) assert.match(line, /^(?:\.(?:TH|SH|SS|TP|B|I) ?.*|[^.'].*|)$/, line);
  const checked = spawnSync("groff", ["-man", "-ww", "-z"], { input: page, encoding: "utf8" });
  // Where there is no groff, the forms above have to do.
  if (checked.error === undefined) assert.deepEqual([checked.status, checked.stderr], [0, ""]);
});

test("exit codes mean the same in the program, the help and the documents", () => {
  const document = readFileSync(join(ROOT, "docs/operating.md"), "utf8");
  assert.deepEqual(Object.keys(EXIT_MEANINGS), Object.values(EXIT).map(String));
  for (const [code, meaning] of Object.entries(EXIT_MEANINGS)) {
    assert.ok(
      document.includes(`| ${code} | ${meaning} |`),
      `docs/operating.md tells of ${code}: ${meaning}`,
    );
  }
  let help = "";
  createProgram()
    .configureOutput({ writeOut: (text) => (help += text) })
    .outputHelp();
  assert.match(help, /Exit codes: 0 good; 1 errors found/);
});
