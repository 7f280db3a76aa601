/** Configurations are pushed to a whole array: to all nodes or to none, and to those that were away when they are back. Needs root. */
import assert from "node:assert/strict";
import { type ChildProcess, spawn } from "node:child_process";
import { readFileSync, rmSync, writeFileSync } from "node:fs";
import { mkdtempSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { labArgv, labDown, labExec, labHeal, labKill, labShow } from "../../lab/lab.ts";
import type { LabState } from "../../lab/state.ts";
import { labUp } from "../../lab/up.ts";
import { tryCommand, type CommandResult } from "../../net/command.ts";

const LAB = `p${process.pid}`;
const DIR = mkdtempSync(join(tmpdir(), "dlba-push-"));
const DLBA = join(import.meta.dirname, "../../bin/dlba");
const NODES = ["node1", "node2", "node3"];
const WITHIN_MS = 90_000;

let state: LabState;
const original = (): string => readFileSync(state.config_file, "utf8");

/** The lab's configuration with another marker, and changes. */
function fileWith(name: string, change: (text: string) => string = (text) => text): string {
  const file = join(DIR, `${name}.yaml`);
  writeFileSync(file, change(`# ${name}\n${original()}`));
  return file;
}

/** From the client's machine, which is no node. */
const away = async (command: string, ...args: string[]): Promise<CommandResult> =>
  labExec(LAB, "client", [DLBA, command, ...args, "--config", state.config_file]);

async function eventually(what: string, isSo: () => Promise<boolean>): Promise<void> {
  const deadline_ms = performance.now() + WITHIN_MS;
  while (!(await isSo())) {
    assert.ok(performance.now() < deadline_ms, `waited for ${what}`);
    await sleep(200);
  }
}

interface Line {
  readonly node: string;
  readonly version: number | null;
  readonly running: number | null;
  readonly problem: string;
}
async function nodes(): Promise<Line[]> {
  return (JSON.parse((await away("history", "--json")).stdout) as { nodes: Line[] }).nodes;
}
const allRun = async (version: number): Promise<boolean> =>
  (await nodes()).every(
    (line) => line.version === version && line.running === version && line.problem === "",
  );

const status = async (port: number): Promise<string> => {
  const curl = ["curl", "-s", "-m", "5", "-o", "/dev/null", "-w", "%{http_code}"];
  return (await labExec(LAB, "client", [...curl, `http://198.18.0.100:${port}/100b`])).stdout;
};

const withPort = (text: string): string => text.replace("ports: [80]", "ports: [80, 81]");

/** Runs a script on a host until it is killed. */
function startIn(host: string, script: string): ChildProcess {
  const [program = "", ...args] = labArgv(LAB, host, [process.execPath, "-e", script]);
  return spawn(program, args, { stdio: "ignore" });
}

const rejecting = (way: string, end: string): string =>
  `chain ${way} { type filter hook ${way} priority 0; ${end} != lo tcp dport 8473 reject with tcp reset; };`;

/** Who tries to reach a node's push port from elsewhere gets no answer. */
async function deafen(node: string, isDeaf: boolean): Promise<void> {
  const rules = isDeaf
    ? `table inet deaf { ${rejecting("input", "iifname")} ${rejecting("output", "oifname")} }`
    : "delete table inet deaf";
  await labExec(LAB, node, ["nft", rules]);
}

describe("an array that is pushed to", () => {
  before(async () => {
    ({ state } = await labUp({ name: LAB, nodes: NODES.length, webs: 1 }));
  });
  after(async () => {
    await labDown(LAB);
    rmSync(DIR, { recursive: true });
  });

  test("takes a configuration from a machine that is no node, on all nodes, and shows what it is", async () => {
    const file = fileWith("first", withPort);
    const dry = await away("push", file, "--dry-run");
    assert.match(dry.stdout, /^\+ +ports: \[80, 81\]$/m);
    assert.match(dry.stdout, /node1, node2 and node3 can run it/);
    assert.ok(await allRun(0));
    const pushed = await away("push", file, "-m", "one more port");
    assert.equal(pushed.code, 0, pushed.stderr);
    assert.match(pushed.stdout, /version 1 is in force\n3 of 3 nodes run it\n$/);
    assert.equal(await status(81), "200");
    assert.ok(await allRun(1));
    assert.equal((await away("export")).stdout, readFileSync(file, "utf8"));
    const again = await away("push", file);
    assert.match(again.stdout, /version 1 holds just this/);
    const info = (await labShow(LAB, "node2", "info")) as Record<string, unknown>;
    assert.equal(info["Config_version"], 1);
    assert.equal(info["Config_problem"], "none");
  });

  test("refuses as a whole what one node can't run, and what needs a restart, before anything is done", async () => {
    const missing = fileWith("bad", (text) =>
      text.replace(/certificate: [^,]+/, "certificate: /nowhere.crt"),
    );
    const refused = await away("push", missing);
    assert.equal(refused.code, 1);
    for (const node of NODES) assert.ok(refused.stderr.includes(`${node}: ${missing}:`), refused.stderr);
    const restart = await away(
      "push",
      fileWith("size", (text) => text.replace("scheduler:\n", "scheduler:\n  table_size: 4096\n")),
    );
    assert.equal(restart.code, 1);
    assert.match(restart.stderr, /node1: a running node can't change scheduler\.table_size .*--on-restart/);
    const taken = startIn("node2", "require('net').createServer().listen(82, '0.0.0.0')");
    try {
      const portFile = fileWith("port", (text) => text.replace("ports: [80]", "ports: [80, 82]"));
      await eventually("the port to be found taken", async () => {
        const refusal = (await away("push", portFile, "--dry-run")).stderr;
        return /node2: a port can't be listened on: bind .* port 82: .*EADDRINUSE/.test(refusal);
      });
    } finally {
      taken.kill("SIGKILL");
    }
    const broken = await away(
      "push",
      fileWith("broken", (text) => text.replace("pools:", "polls:")),
    );
    assert.match(broken.stderr, /unknown key 'polls'; did you mean 'pools'/);
    assert.ok(await allRun(1));
  });

  test("has one of two pushes at the same time win, and tells the other", async () => {
    const results = await Promise.all(
      ["left", "right"].map(async (name) => away("push", fileWith(name, withPort), "--expect", "1")),
    );
    const codes = results.map(({ code }) => code).toSorted((a, b) => a - b);
    assert.deepEqual(codes, [0, 1], JSON.stringify(results));
    assert.match(
      results.find(({ code }) => code === 1)!.stderr,
      /busy with a push by|another push came first|version 2, pushed by .* is in force, and not 1/,
    );
    await eventually("all to run version 2", async () => allRun(2));
  });

  test("a node that was off, and one that could not be reached, take the version when they are back", async () => {
    await labKill(LAB, "node3");
    const pushed = await away("push", fileWith("without-node3", withPort));
    assert.equal(pushed.code, 0, pushed.stderr);
    assert.match(pushed.stdout, /node3 is away and takes it when it is back/);
    await labHeal(LAB, "node3");
    assert.ok(await allRun(3));
    const log = readFileSync(state.hosts.find(({ name }) => name === "node3")!.log_file, "utf8");
    assert.match(log, /the version that was pushed last is run, and not the configuration file/);
    await deafen("node2", true);
    assert.equal((await away("push", fileWith("deaf", withPort))).code, 0);
    await deafen("node2", false);
    await eventually("node2 to catch up", async () => allRun(4));
  });

  test("nothing is pushed to a minority", async () => {
    for (const node of ["node2", "node3"]) await deafen(node, true);
    const lonely = await away("push", fileWith("lonely", withPort));
    for (const node of ["node2", "node3"]) await deafen(node, false);
    assert.equal(lonely.code, 3, lonely.stdout);
    assert.match(lonely.stderr, /1 of 3 nodes can be asked, and 2 are needed; nothing was changed/);
    assert.ok(await allRun(4));
  });

  test("a reload takes no edited file beside a pushed version; revert goes back on all nodes", async () => {
    const node = state.hosts.find(({ name }) => name === "node1")!;
    const reload = async (): Promise<CommandResult> =>
      tryCommand(DLBA, ["reload", "--run-dir", node.run_dir]);
    assert.match(
      (await reload()).stdout,
      /nothing has changed\nversion 4, pushed by .*, counts; .* is not read/,
    );
    const text = original();
    writeFileSync(state.config_file, `# edited\n${text}`);
    const refused = await reload();
    writeFileSync(state.config_file, text);
    assert.equal(refused.code, 1);
    assert.match(refused.stderr, /has been edited, but version 4, .*push the edited file with: dlba push/);
    // On a node nothing has to be named.
    const [program = "", ...args] = labArgv(LAB, "node1", [DLBA, "revert", "0", "--run-dir", node.run_dir]);
    const reverted = await tryCommand(program, args);
    assert.equal(reverted.code, 0, reverted.stderr);
    assert.ok(await allRun(5));
    await eventually("port 81 to be closed", async () => (await status(81)) === "000");
    const history = (await away("history")).stdout;
    assert.match(history, /^5 .*back to version 0$/m);
    assert.match(history, /^1 .*one more port$/m);
    assert.equal((await away("diff", state.config_file)).code, 0);
    assert.match((await away("diff", "1")).stdout, /^-.*ports: \[80, 81\]$/m);
  });

  test("goes back by itself when it is worse off, if asked to watch", async () => {
    const [program = "", ...args] = labArgv(LAB, "client", [
      "wrk",
      "-t1",
      "-c4",
      "-d120s",
      "http://198.18.0.100/100b",
    ]);
    const load = spawn(program, args, { stdio: "ignore" });
    const dead = fileWith("dead", (text) =>
      text.replaceAll("address: 198.18.2.1, port: 80", "address: 198.18.2.1, port: 9"),
    );
    const watched = await away("push", dead, "--watch", "60s");
    load.kill("SIGKILL");
    assert.equal(watched.code, 1, watched.stdout);
    assert.match(watched.stdout, /warning: node1: web server web1 of pool web .* can't be connected/);
    assert.match(watched.stderr, /version 6 was reverted by version 7/);
    assert.ok(await allRun(7));
    assert.equal(await status(80), "200");
  });

  test("what needs a restart is pushed if so asked, and each node runs it from its next start on", async () => {
    const file = fileWith("restart", (text) =>
      text.replace("scheduler:\n", "scheduler:\n  heartbeat_ms: 30\n"),
    );
    const pushed = await away("push", file, "--on-restart");
    assert.equal(pushed.code, 0, pushed.stderr);
    assert.match(pushed.stdout, /version 8 is in force\nit is run by each node from the next start/);
    await labKill(LAB, "node2");
    await labHeal(LAB, "node2");
    await eventually("the others to say that they wait for a restart", async () =>
      (await nodes()).every(({ node, version, running, problem }) =>
        node === "node2"
          ? running === 8 && problem === ""
          : version === 8 && running === 7 && /can't change scheduler\.heartbeat_ms/.test(problem),
      ),
    );
    const back = await away("revert", "5");
    assert.match(back.stderr, /node2: a running node can't change scheduler\.heartbeat_ms/);
  });
});
