/**
 * What befalls a machine: disks that are full or read-only, a clock that jumps, no name service. The array serves on, and each is
 * an event. Needs root.
 */
import assert from "node:assert/strict";
import { type ChildProcess, execFileSync, spawn } from "node:child_process";
import { once } from "node:events";
import {
  appendFileSync,
  closeSync,
  globSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
  writeSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import type { FlowPlan } from "../../lab/flow-report.ts";
import { type RunningFlows, startFlows } from "../../lab/flow-tools.ts";
import { labArgv, labDown, labExec, labShow, labStartNode } from "../../lab/lab.ts";
import { hostNamed } from "../../lab/planned-host.ts";
import { labHandover, labScheduler, labSchedulerSoon } from "../../lab/scheduler.ts";
import type { LabHost, LabState } from "../../lab/state.ts";
import { labUp } from "../../lab/up.ts";

const LAB = `hard${process.pid}`;
const DLBA = join(import.meta.dirname, "../../bin/dlba");
const DIR = mkdtempSync(join(tmpdir(), "dlba-hard-"));
const WITHIN_MS = 60_000;
/** Small disks: of the state directory, of the access log, and of the file that a node's log goes to. */
const DISKS = { state: join(DIR, "state"), access: join(DIR, "access"), log: join(DIR, "log") } as const;
const CLOCK = join(DIR, "clock");
const [FAKETIME = ""] = globSync("/usr/lib/*/faketime/libfaketime.so.1");

async function eventually(what: string, isSo: () => boolean | Promise<boolean>): Promise<void> {
  const deadline_ms = performance.now() + WITHIN_MS;
  while (!(await isSo())) {
    assert.ok(performance.now() < deadline_ms, `waited for ${what}`);
    await sleep(100);
  }
}

function fill(disk: string): void {
  const fd = openSync(join(disk, "filling"), "w");
  try {
    for (const size of [65_536, 1]) {
      try {
        for (;;) writeSync(fd, Buffer.alloc(size));
      } catch (error) {
        assert.equal((error as NodeJS.ErrnoException).code, "ENOSPC");
      }
    }
  } finally {
    closeSync(fd);
  }
}
const free = (disk: string): void => rmSync(join(disk, "filling"));

interface Event {
  readonly kind: string;
  readonly facts: Readonly<Record<string, string | number>>;
}

async function events(): Promise<readonly Event[]> {
  return ((await labShow(LAB, "node1", "events")) as { readonly events: readonly Event[] }).events;
}
const happened = async (kind: string): Promise<boolean> =>
  (await events()).some((event) => event.kind === kind);

/** The other node becomes the scheduler. */
async function handOver(): Promise<void> {
  const to = (await labSchedulerSoon(LAB)) === "node1" ? "node2" : "node1";
  await labHandover(LAB, to);
  assert.equal(await labSchedulerSoon(LAB), to);
}

const epoch = (info: unknown): unknown => (info as Record<string, unknown>)["Failover_epoch"];

async function states(): Promise<string[]> {
  const scheduler = (await labScheduler(LAB)) ?? "node1";
  const table = (await labShow(LAB, scheduler, "nodes")) as {
    readonly nodes: readonly { readonly state: string }[];
  };
  return table.nodes.map(({ state }) => state);
}

const PLAN: FlowPlan = {
  groups: [
    {
      kind: "held",
      name: "held",
      connections: 20,
      pause_ms: [50, 300],
      host: "198.18.0.100",
      port: 80,
      path: "/id",
    },
    { kind: "fresh", name: "new", per_second: 20, host: "198.18.0.100", port: 80, path: "/id" },
  ],
  answer_within_ms: 10_000,
  most_s: 120,
};

describe("a node whose disks and clock a test can turn", () => {
  let state: LabState;
  let node: LabHost;
  let own: ChildProcess;
  let flows: RunningFlows;

  before(async () => {
    for (const disk of Object.values(DISKS)) {
      mkdirSync(disk);
      execFileSync("mount", ["-t", "tmpfs", "-o", "size=512k", "tmpfs", disk]);
    }
    writeFileSync(CLOCK, "+0");
    ({ state } = await labUp({ name: LAB, nodes: 2, webs: 1, idleNodes: [1, 2] }));
    node = hostNamed(state.hosts, "node1");
    appendFileSync(state.config_file, `access_log: { file: ${join(DISKS.access, "access.log")} }\n`);
    mkdirSync(node.run_dir, { recursive: true });
    const log = openSync(join(DISKS.log, "node1.log"), "a");
    const places = ["--pin-dir", node.pin_dir ?? "", "--run-dir", node.run_dir, "--state-dir", DISKS.state];
    const run = [DLBA, "run", "--config", state.config_file, "--node", "node1", ...places];
    const [program = "", ...args] = labArgv(LAB, "node1", run);
    const clock = {
      LD_PRELOAD: FAKETIME,
      FAKETIME_TIMESTAMP_FILE: CLOCK,
      FAKETIME_NO_CACHE: "1",
      FAKETIME_DONT_FAKE_MONOTONIC: "1",
    };
    own = spawn(program, args, { stdio: ["ignore", log, log], env: { ...process.env, ...clock } });
    closeSync(log);
    await eventually("node1 to be ready", () =>
      readFileSync(join(DISKS.log, "node1.log"), "utf8").includes('"msg":"ready"'),
    );
    await labStartNode(LAB, "node2");
    await eventually("both nodes to be up", async () => (await states()).join() === "up,up");
    flows = startFlows(LAB, "client", PLAN);
    await eventually("traffic", async () => (await flows.soFar()).answers > 100);
  });
  after(async () => {
    await labDown(LAB);
    if (own.exitCode === null && own.signalCode === null) await once(own, "exit");
    for (const disk of Object.values(DISKS)) execFileSync("umount", [disk]);
    rmSync(DIR, { recursive: true });
  });

  test("full disks: logs wait or are lost, the epoch is kept in memory, a push is refused; all of it is told", async () => {
    for (const disk of Object.values(DISKS)) fill(disk);
    // Epochs are kept ahead, and the log's last page has some room: a few takeovers use both up.
    for (const kind of ["log-lost", "epoch-not-kept", "access-log-lost"]) {
      await eventually(kind, async () => {
        await handOver();
        return happened(kind);
      });
    }
    const changed = join(DIR, "changed.yaml");
    writeFileSync(
      changed,
      readFileSync(state.config_file, "utf8").replace(
        "workers: 1",
        "workers: 1\ntimeouts: { keep_alive_ms: 50000 }",
      ),
    );
    const push = await labExec(LAB, "node2", [
      DLBA,
      "push",
      changed,
      "--yes",
      "--run-dir",
      hostNamed(state.hosts, "node2").run_dir,
    ]);
    assert.notEqual(push.code, 0, push.stdout);
    assert.match(push.stdout + push.stderr, /node1.*(?:space|ENOSPC)/is);
    for (const disk of Object.values(DISKS)) free(disk);
    await handOver();
    await eventually("log-back", async () => happened("log-back"));
    const access = join(DISKS.access, "access.log");
    const before_bytes = statSync(access).size;
    await eventually("new lines of the access log", () => statSync(access).size > before_bytes);
  });

  test("a state directory that is read-only keeps nobody from taking over", async () => {
    execFileSync("mount", ["-o", "remount,ro", DISKS.state]);
    try {
      for (let i = 0; i < 4; i++) await handOver();
    } finally {
      execFileSync("mount", ["-o", "remount,rw", DISKS.state]);
    }
  });

  test("a clock that jumps by an hour, there and back, is an event and nothing else", async () => {
    const before = await labShow(LAB, "node2", "info");
    for (const [offset, seconds] of [
      ["+3600", 3600],
      ["-3600", -7200],
      ["+0", 3600],
    ] as const) {
      writeFileSync(CLOCK, offset);
      await eventually(`the jump by ${seconds} s`, async () =>
        (await events()).some(
          ({ kind, facts }) => kind === "clock-jumped" && Math.abs(Number(facts["seconds"]) - seconds) < 30,
        ),
      );
      assert.deepEqual(await states(), ["up", "up"]);
    }
    assert.equal(epoch(await labShow(LAB, "node2", "info")), epoch(before));
  });

  test("nobody noticed any of it", async () => {
    const failed = (await flows.stop()).filter(({ error }) => error !== null);
    assert.deepEqual(failed, []);
  });
});
