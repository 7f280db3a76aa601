import assert from "node:assert/strict";
import { execFile, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, describe, test, type TestContext } from "node:test";
import { monitor } from "../../status/monitor.ts";
import { DlbaError } from "../../conf/errors.ts";
import { quiet } from "../status/samples.ts";

const ROOT = join(import.meta.dirname, "../..");
const GOOD = readFileSync(join(ROOT, "test/conf/good.yaml"), "utf8");
const directory = mkdtempSync(join(tmpdir(), "dlba-cli-"));
after(() => rmSync(directory, { recursive: true }));

interface Outcome {
  readonly code: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

function dlba(...args: string[]): Promise<Outcome> {
  return new Promise((resolve) => {
    const options = { cwd: directory, maxBuffer: 1 << 28, timeout: 60_000 };
    const child = execFile(join(ROOT, "bin/dlba"), args, options, (_error, stdout, stderr) =>
      resolve({ code: child.exitCode, stdout, stderr }),
    );
  });
}

function write(name: string, text: string): void {
  writeFileSync(join(directory, name), text);
}

describe("dlba push and what goes with it", () => {
  const unreached = ["--key", "push.key", "--node", "127.0.0.1:1"];
  const rows: [what: string, args: string[], code: number, stderr: RegExp][] = [
    [
      "a file with errors, before any node is asked",
      ["push", "bad-push.yaml"],
      1,
      /^dlba: bad-push\.yaml:9:5: unknown key 'wieght'/,
    ],
    ["no window", ["push", "good.yaml", "--watch", "0s"], 2, /expected a time such as 30s/],
    ["a node without a key", ["history", "--node", "127.0.0.1"], 2, /--node needs --key, too/],
    [
      "a node that is no address",
      ["history", "--key", "push.key", "--node", "a.example"],
      2,
      /expected an IP address/,
    ],
    ["nobody there", ["history", ...unreached], 3, /^dlba: no node answers: 127\.0\.0\.1:1 \(.*ECONNREFUSED/],
    ["no node on this machine", ["export", "--run-dir", "nowhere"], 3, /no node runs here/],
    ["no number", ["revert", "last"], 2, /expected the number of a version/],
  ];
  for (const [what, args, code, stderr] of rows) {
    test(`says what is wrong: ${what}`, async () => {
      write("good.yaml", GOOD);
      write("bad-push.yaml", GOOD.replace("weight: 2", "wieght: 2"));
      write("push.key", Buffer.alloc(32, 5).toString("base64"));
      const said = await dlba(...args);
      assert.match(said.stderr, stderr);
      assert.equal(said.code, code);
    });
  }
});

describe("dlba check", () => {
  test("says in one line what a good file holds", async () => {
    write("good.yaml", GOOD);
    assert.deepEqual(await dlba("check", "good.yaml"), {
      code: 0,
      stdout:
        "good.yaml: no errors; array shop has 1 node, 1 vserver on 1 VIP and 1 pool with 1 web server\n",
      stderr: "",
    });
  });

  test("prints every error of a bad one, and exits 1", async () => {
    write("bad.yaml", GOOD.replace("weight: 2", "wieght: 2").replace("[80]", "[http]"));
    assert.deepEqual(await dlba("check", "bad.yaml"), {
      code: 1,
      stdout: "",
      stderr: [
        "bad.yaml:9:5: unknown key 'wieght'; did you mean 'weight'?",
        'bad.yaml:14:13: vservers[0].ports[0] is "http"; expected a whole number from 1 to 65535',
        "",
      ].join("\n"),
    });
  });

  test("both as JSON", async () => {
    write("good.yaml", GOOD);
    const good = await dlba("check", "good.yaml", "--json");
    assert.deepEqual([good.code, JSON.parse(good.stdout).errors], [0, []]);
    write("bad.yaml", GOOD.replace("weight: 2", "wieght: 2"));
    const bad = await dlba("check", "bad.yaml", "--json");
    assert.deepEqual([bad.code, bad.stderr], [1, ""]);
    const [error, ...more] = JSON.parse(bad.stdout).errors;
    assert.deepEqual([error.line, error.column, error.hint, more], [9, 5, "did you mean 'weight'?", []]);
  });

  test("a file that can't be read is 3, a wrong command line 2", async () => {
    const { code, stderr } = await dlba("check", "none.yaml");
    assert.equal(code, 3);
    assert.match(stderr, /^dlba: the configuration none\.yaml can't be read: ENOENT/);
    assert.equal((await dlba("check")).code, 2);
    assert.equal((await dlba("chek", "good.yaml")).code, 2);
  });
});

/** A monitoring socket in a run directory of its own, which answers with the command, or as it is told. */
async function runDir(t: TestContext, answer?: () => Promise<Iterable<string>>): Promise<string> {
  const path = mkdtempSync(join(directory, "run-"));
  const server = await monitor({
    path: join(path, "monitor.sock"),
    answer: answer ?? (async (command) => [`${command}\n`]),
    idle_ms: 20_000,
    answer_ms: 20_000,
    log: quiet,
  });
  t.after(() => server.close());
  return path;
}

describe("dlba show", () => {
  test("asks for the table in the format, and prints the answer alone", async (t) => {
    const directory = await runDir(t);
    const rows: [args: string[], asked: string][] = [
      [["nodes"], "show nodes text\n"],
      [["web", "--json"], "show web json\n"],
      [["summary", "--csv"], "show summary csv\n"],
      [["buckets", "0-99"], "show buckets 0-99 text\n"],
      [["buckets", "all", "--json"], "show buckets all json\n"],
      [["vservers"], "show vservers text\n"],
      [["vservers", "--stats"], "show vservers stats text\n"],
      [["vservers", "--rate", "--csv"], "show vservers rate csv\n"],
    ];
    for (const [args, stdout] of rows) {
      const outcome = await dlba("show", ...args, "--run-dir", directory);
      assert.deepEqual(outcome, { code: 0, stdout, stderr: "" });
    }
  });

  test("prints a large answer whole", async (t) => {
    const lines = Array.from({ length: 200 }, (_, i) => `${String(i).repeat(10_000)}\n`);
    const directory = await runDir(t, async () => lines);
    const { stdout } = await dlba("show", "buckets", "all", "--run-dir", directory);
    assert.ok(stdout === lines.join(""));
  });

  test("a node's refusal goes to standard error, with code 3", async (t) => {
    const directory = await runDir(t, async () => {
      throw new DlbaError("NOT_SCHEDULER", "node 1 is not the scheduler; ask node 2");
    });
    assert.deepEqual(await dlba("show", "summary", "--run-dir", directory), {
      code: 3,
      stdout: "",
      stderr: "dlba: node 1 is not the scheduler; ask node 2\n",
    });
  });

  test("where nothing runs it says so", async () => {
    const { code, stderr } = await dlba("show", "info", "--run-dir", join(directory, "nowhere"));
    assert.equal(code, 3);
    assert.match(stderr, /^dlba: no node runs here: nothing listens on .*nowhere\/monitor\.sock \(start one/);
  });

  test("an answer that is cut off is an error", async (t) => {
    const path = mkdtempSync(join(directory, "run-"));
    const server = createServer((socket) => void socket.resume().end("DLBA Server Status Table\nlast sw"));
    await new Promise<void>((resolve) => server.listen(join(path, "monitor.sock"), resolve));
    t.after(() => server.close());
    const { code, stderr } = await dlba("show", "nodes", "--run-dir", path);
    assert.equal(code, 3);
    assert.match(stderr, /ended before its answer did/);
  });

  test("unknown tables, formats and rows are wrong usage", async () => {
    assert.equal((await dlba("show", "node")).code, 2);
    assert.equal((await dlba("show", "nodes", "--json", "--csv")).code, 2);
    assert.equal((await dlba("show", "buckets", "1;2")).code, 2);
    assert.equal((await dlba("show", "nodes", "--stats")).code, 2);
    assert.equal((await dlba("show", "buckets", "all", "--rate")).code, 2);
    assert.equal((await dlba("show", "vservers", "--stats", "--rate")).code, 2);
  });
});

const toldEvents = (life: string, ...sequences: number[]): string =>
  JSON.stringify({
    life,
    events: sequences.map((sequence) => ({
      sequence,
      time: "2026-01-02T03:04:05.000Z",
      severity: "warning",
      kind: `kind-${life}-${sequence}`,
      process: "failover",
      count: 1,
      facts: {},
    })),
  });

describe("dlba events", () => {
  test("asks for those after a number, in a format", async (t) => {
    const directory = await runDir(t);
    const rows: [args: string[], asked: string][] = [
      [[], "show events since 0 text\n"],
      [["--since", "7", "--json"], "show events since 7 json\n"],
      [["--csv"], "show events since 0 csv\n"],
    ];
    for (const [args, stdout] of rows) {
      const outcome = await dlba("events", ...args, "--run-dir", directory);
      assert.deepEqual(outcome, { code: 0, stdout, stderr: "" });
    }
    assert.equal((await dlba("events", "--since", "x")).code, 2);
    assert.equal((await dlba("events", "--follow", "--run-dir", join(directory, "nowhere"))).code, 3);
  });

  test("follows them, across lives of the status process, each once", async (t) => {
    const answers = [
      toldEvents("a", 1, 2),
      toldEvents("a"),
      toldEvents("a", 3),
      // Another life, which does not know number 3 yet.
      toldEvents("b"),
      toldEvents("b", 1),
    ];
    const asked: string[] = [];
    const path = mkdtempSync(join(directory, "run-"));
    const server = await monitor({
      path: join(path, "monitor.sock"),
      answer: async (command) => {
        asked.push(command);
        return [`${answers.shift() ?? toldEvents("b")}\n`];
      },
      idle_ms: 20_000,
      answer_ms: 20_000,
      log: quiet,
    });
    t.after(() => server.close());
    const child = spawn(join(ROOT, "bin/dlba"), ["events", "--follow", "--run-dir", path]);
    t.after(() => child.kill("SIGKILL"));
    let said = "";
    child.stdout.setEncoding("utf8").on("data", (text: string) => (said += text));
    while (!said.includes("kind-b-1")) await once(child.stdout, "data");
    assert.deepEqual(
      [...said.matchAll(/kind-\S+/g)].map(([kind]) => kind),
      ["kind-a-1", "kind-a-2", "kind-a-3", "kind-b-1"],
    );
    assert.deepEqual(
      asked.slice(0, 5).map((command) => command.split(" ")[3]),
      ["0", "2", "2", "3", "0"],
    );
  });
});

test("dlba --version is the package's version", async () => {
  const { version } = JSON.parse(readFileSync(join(ROOT, "package.json"), "utf8"));
  assert.deepEqual(await dlba("--version"), { code: 0, stdout: `${version}\n`, stderr: "" });
});
