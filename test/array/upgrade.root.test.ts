/** A node goes over to another process, as after an upgrade of its package, and no client notices. Needs root. */
import assert from "node:assert/strict";
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { readFileSync, writeFileSync } from "node:fs";
import { after, before, describe, test } from "node:test";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { labArgv, labDown, labExec, labStatus } from "../../lab/lab.ts";
import type { LabHost, LabState } from "../../lab/state.ts";
import { labUp } from "../../lab/up.ts";
import { type CommandResult, tryCommand } from "../../net/command.ts";

const LAB = `u${process.pid}`;
const DLBA = join(import.meta.dirname, "../../bin/dlba");
const VIP = "198.18.0.100";
const WITHIN_MS = 60_000;

async function eventually(what: string, isSo: () => boolean | Promise<boolean>): Promise<void> {
  const deadline_ms = performance.now() + WITHIN_MS;
  while (!(await isSo())) {
    assert.ok(performance.now() < deadline_ms, `waited for ${what}`);
    await sleep(100);
  }
}

function onClient(...argv: string[]): { child: ChildProcess; said: Promise<string> } {
  const [program = "", ...args] = labArgv(LAB, "client", argv);
  const child = spawn(program, args, { stdio: ["ignore", "pipe", "inherit"] });
  let text = "";
  child.stdout.on("data", (data) => (text += String(data)));
  return { child, said: once(child, "close").then(() => text) };
}

async function pids(part: string): Promise<number[]> {
  const { hosts } = await labStatus(LAB);
  const { processes } = hosts.find(({ name }) => name === "node1")!;
  return processes.filter(({ command }) => command.includes(part)).map(({ pid }) => pid);
}

async function isServed(): Promise<boolean> {
  const curl = ["curl", "-s", "-m", "5", `http://${VIP}/id`];
  return (await labExec(LAB, "client", curl)).stdout.startsWith("web");
}

describe("a node that is upgraded", () => {
  let state: LabState;
  const node = (): LabHost => state.hosts.find(({ name }) => name === "node1")!;
  const upgrade = async (...more: string[]): Promise<CommandResult> =>
    tryCommand(DLBA, ["upgrade", "--run-dir", node().run_dir, ...more]);
  const leader = (): number =>
    Number(/"pid":(\d+)/.exec(readFileSync(join(node().run_dir, "supervisor.json"), "utf8"))?.[1]);
  const log = (): string => readFileSync(node().log_file, "utf8");
  before(async () => {
    ({ state } = await labUp({ name: LAB, nodes: 2, webs: 1 }));
  });
  after(async () => labDown(LAB));

  test("answers every request: on kept connections, on new ones, over TLS, and of a download that goes on", async () => {
    const first = leader();
    const wrk = ["wrk", "-t1", "-c16", "-d7s", "--timeout", "30s"];
    const loads = [
      onClient(...wrk, `http://${VIP}/100b`),
      onClient(...wrk, "-H", "Connection: close", `http://${VIP}/100b`),
      onClient(...wrk, `https://${VIP}/100b`),
    ];
    const downloads = Array.from({ length: 4 }, () =>
      onClient(
        "curl",
        "-s",
        "--limit-rate",
        "6M",
        `http://${VIP}/50m`,
        "-o",
        "/dev/null",
        "-w",
        "%{http_code} %{size_download}",
      ),
    );
    await sleep(500);
    const { code, stdout, stderr } = await upgrade("--json");
    assert.equal(code, 0, stderr);
    const { pid, version, before } = JSON.parse(stdout);
    assert.deepEqual([pid, version], [leader(), before]);
    assert.notEqual(pid, first);
    const [size] = state.web_files.filter(({ path }) => path.endsWith("50m")).map((file) => file.size_bytes);
    for (const { said } of downloads) assert.equal(await said, `200 ${size}`);
    for (const { said } of loads) {
      const text = await said;
      assert.match(text, /[1-9]\d* requests in/);
      assert.doesNotMatch(text, /Socket errors|Non-2xx/);
    }
    await eventually(
      "the workers of before to end",
      async () => (await pids("dlba-server/main.ts")).length === 1,
    );
    for (const folder of ["status", "scheduler", "failover"]) {
      assert.equal((await pids(`${folder}/main.ts`)).length, 1, folder);
    }
  });

  test("goes on as it was when the other process can't run, whatever the reason", async () => {
    const before = [leader(), ...(await pids("dlba-server/main.ts"))];
    const good = readFileSync(state.config_file, "utf8");
    writeFileSync(state.config_file, `${good}\nwrong: true\n`);
    const refused = await upgrade();
    assert.equal(refused.code, 1);
    assert.match(refused.stderr, /nothing was changed: .*has ended \(code 1\)/);
    writeFileSync(state.config_file, good);
    assert.deepEqual([leader(), ...(await pids("dlba-server/main.ts"))], before);
    assert.equal(await isServed(), true);
  });

  test("goes on with workers of its own when the other process is killed half-way", async () => {
    const before = leader();
    const known = new Set(await pids("cli/main.ts"));
    const answer = upgrade();
    let successor = 0;
    await eventually("the other process", async () => {
      successor = (await pids("cli/main.ts run")).find((pid) => !known.has(pid)) ?? 0;
      return successor !== 0;
    });
    // From here on it is killed at whatever moment; serving is the latest that it can be and fail.
    await eventually("its workers", () => log().includes(`"pid":${successor},"child":"dlba-server 0"`));
    process.kill(successor, "SIGKILL");
    const { code, stderr } = await answer;
    assert.equal(code, 1, stderr);
    assert.match(stderr, /nothing was changed: .*has ended \(SIGKILL\)/);
    assert.equal(leader(), before);
    await eventually("an answer", isServed);
    assert.equal((await upgrade()).code, 0);
    await eventually("an answer", isServed);
  });

  test("stops as a whole, with what still drains of before", async () => {
    const [oldest] = (await pids("cli/main.ts run")).sort((a, b) => a - b);
    process.kill(oldest!, "SIGTERM");
    await eventually("the end of all processes", async () => (await pids("/main.ts")).length === 0);
  });
});
