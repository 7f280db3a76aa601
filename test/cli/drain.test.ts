/** `dlba drain` against a scheduler process that the test plays. */
import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, describe, test, type TestContext } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { DlbaError } from "../../conf/errors.ts";
import { adminServer, type DrainStatus } from "../../net/admin-socket.ts";

const ROOT = join(import.meta.dirname, "../..");
const directory = mkdtempSync(join(tmpdir(), "dlba-drain-"));
after(() => rmSync(directory, { recursive: true }));

interface Outcome {
  readonly code: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

function dlba(runDir: string, ...args: string[]): Promise<Outcome> {
  return heard(() => undefined, runDir, ...args);
}

/** The same, and what it says on standard error as it says it. */
function heard(
  onStderr: (text: string) => void,
  runDir: string,
  ...args: readonly string[]
): Promise<Outcome> {
  return new Promise((resolve) => {
    const argv = [...args, "--run-dir", runDir];
    const child = execFile(join(ROOT, "bin/dlba"), argv, { timeout: 60_000 }, (_error, stdout, stderr) =>
      resolve({ code: child.exitCode, stdout, stderr }),
    );
    child.stderr?.on("data", onStderr);
  });
}

const draining = (change: Partial<DrainStatus>): DrainStatus => ({
  node: "node2",
  state: "draining",
  connections_left: 37,
  buckets_left: 812,
  ...change,
});

/** A scheduler that gives these states one after the other, the last one for ever; and what it was asked. */
async function scheduler(
  t: TestContext,
  states: readonly (DrainStatus | string)[] = [],
  otherwise = "",
): Promise<{ runDir: string; asked: string[] }> {
  const runDir = mkdtempSync(join(directory, "run-"));
  const asked: string[] = [];
  let polls = 0;
  const server = await adminServer({
    path: join(runDir, "admin.sock"),
    handle: async (line) => {
      asked.push(line);
      if (!line.startsWith("drain-status ")) return otherwise;
      const state = states[Math.min(polls++, states.length - 1)];
      if (typeof state === "string") throw new DlbaError("NOT_SCHEDULER", state);
      return JSON.stringify(state);
    },
  });
  t.after(() => server.close());
  return { runDir, asked };
}

describe("dlba drain and undrain", () => {
  test("tell the scheduler, and print what it says", async (t) => {
    const { runDir, asked } = await scheduler(t);
    assert.deepEqual(await dlba(runDir, "drain", "node2"), {
      code: 0,
      stdout: "node2: draining\n",
      stderr: "",
    });
    assert.deepEqual(await dlba(runDir, "undrain", "2"), { code: 0, stdout: "2: undrained\n", stderr: "" });
    assert.deepEqual(asked, ["drain node2", "undrain 2"]);
    const talkative = await scheduler(t, [], "node2 drains, 812 buckets move");
    const { stdout } = await dlba(talkative.runDir, "drain", "node2");
    assert.equal(stdout, "node2 drains, 812 buckets move\n");
  });

  test("say it as JSON, too, as handover does", async (t) => {
    const back = draining({ state: "up", connections_left: 4, buckets_left: 900 });
    const { runDir, asked } = await scheduler(t, [back], "node1 schedules now");
    assert.deepEqual(JSON.parse((await dlba(runDir, "undrain", "node2", "--json")).stdout), back);
    const handed = await dlba(runDir, "handover", "node1", "--json");
    assert.deepEqual(JSON.parse(handed.stdout), { done: "node1 schedules now" });
    assert.deepEqual(asked, ["undrain node2", "drain-status node2", "handover node1"]);
  });

  test("reload's lines are one JSON object, too", async (t) => {
    const runDir = mkdtempSync(join(directory, "run-"));
    const lines = ["reloaded: 2 workers have a successor", "vserver shop is new"];
    const server = await adminServer({
      path: join(runDir, "supervisor.sock"),
      handle: async () => JSON.stringify({ ok: true, lines }),
    });
    t.after(() => server.close());
    assert.deepEqual(JSON.parse((await dlba(runDir, "reload", "--json")).stdout), { done: lines });
    assert.equal((await dlba(runDir, "reload")).stdout, `${lines.join("\n")}\n`);
  });

  test("a refusal goes to standard error, with code 3", async (t) => {
    const runDir = mkdtempSync(join(directory, "run-"));
    const server = await adminServer({
      path: join(runDir, "admin.sock"),
      handle: async () => {
        throw new DlbaError("NOT_SCHEDULER", "node1 is the scheduler; run it there");
      },
    });
    t.after(() => server.close());
    for (const args of [
      ["drain", "node2"],
      ["drain", "node2", "--wait"],
      ["undrain", "node2"],
    ]) {
      assert.deepEqual(await dlba(runDir, ...args), {
        code: 3,
        stdout: "",
        stderr: "dlba: node1 is the scheduler; run it there\n",
      });
    }
  });

  test("where nothing runs they say so", async () => {
    const { code, stderr } = await dlba(join(directory, "nowhere"), "drain", "node2", "--wait");
    assert.equal(code, 3);
    assert.match(stderr, /^dlba: no node runs here: nothing listens on .*nowhere\/admin\.sock \(start one/);
  });

  test("names that no node can have, and times that are none, are wrong usage", async () => {
    const nowhere = join(directory, "nowhere");
    for (const args of [["drain"], ["drain", "a b"], ["drain", "a\nundrain b"], ["undrain", "n", "--wait"]]) {
      assert.equal((await dlba(nowhere, ...args)).code, 2, args.join(" "));
    }
    for (const time of ["0", "-1", "soon", ""]) {
      assert.equal((await dlba(nowhere, "drain", "node2", "--timeout", time)).code, 2, time);
    }
  });
});

describe("dlba drain --wait", () => {
  test("tells what is left, until nothing is", async (t) => {
    const states = [
      draining({ state: "up", connections_left: null }),
      draining({}),
      draining({ buckets_left: 0, connections_left: 1 }),
      draining({ state: "drained", buckets_left: 0, connections_left: 0 }),
    ];
    const { runDir, asked } = await scheduler(t, states);
    const { code, stdout, stderr } = await dlba(runDir, "drain", "2", "--wait");
    assert.deepEqual([code, stdout], [0, "node2: drained\n"]);
    assert.deepEqual(stderr.trimEnd().split("\n"), [
      "node2: 812 buckets, an unknown number of connections left (up)",
      "node2: 812 buckets, 37 connections left",
      "node2: 0 buckets, 1 connection left",
    ]);
    assert.deepEqual(asked, ["drain 2", ...states.map(() => "drain-status 2")]);
  });

  test("a node that goes down, or that is disabled and empty, has nothing left to wait for", async (t) => {
    const empty = { buckets_left: 0, connections_left: 0 };
    for (const last of [draining({ state: "down" }), draining({ state: "disabled", ...empty })]) {
      const { runDir } = await scheduler(t, [last]);
      const outcome = await dlba(runDir, "drain", "node2", "--wait");
      assert.deepEqual(outcome, { code: 0, stdout: `node2: ${last.state}\n`, stderr: "" });
    }
  });

  test("ends with 1 and what is left when the time is over", async (t) => {
    const { runDir } = await scheduler(t, [draining({ state: "disabled" })]);
    const { code, stdout, stderr } = await dlba(runDir, "drain", "node2", "--timeout", "0.2");
    assert.deepEqual([code, stdout], [1, ""]);
    assert.match(
      stderr,
      /(?:^|\n)dlba: node2 is not drained after 0\.2 s: 812 buckets, 37 connections left \(disabled\) \(it goes on draining; 'dlba undrain node2' takes it back into service\)\n$/,
    );
  });

  test("ends with 1 when somebody takes the node back", async (t) => {
    const { runDir } = await scheduler(t, [draining({}), draining({ state: "up" })]);
    const { code, stderr } = await dlba(runDir, "drain", "node2", "--wait");
    assert.equal(code, 1);
    assert.match(stderr, /\ndlba: node2 is in service again: someone has undrained it\n$/);
  });

  test("ends with 3 when another node becomes the scheduler", async (t) => {
    const { runDir } = await scheduler(t, [draining({}), "node1 is the scheduler; run it there"]);
    const { code, stderr } = await dlba(runDir, "drain", "node2", "--wait");
    assert.equal(code, 3);
    assert.match(stderr, /\ndlba: node1 is the scheduler; run it there\n$/);
  });

  test("outlives the scheduler process", async (t) => {
    const first = await scheduler(t, [draining({})]);
    const path = join(first.runDir, "admin.sock");
    let said = "";
    const waiting = heard((text) => (said += text), first.runDir, "drain", "node2", "--wait");
    while (!first.asked.includes("drain-status node2")) await sleep(20);
    rmSync(path);
    while (!said.includes("does not answer\n")) await sleep(20);
    const next = await adminServer({
      path,
      handle: async () => JSON.stringify(draining({ state: "drained" })),
    });
    t.after(() => next.close());
    const { code, stdout, stderr } = await waiting;
    assert.deepEqual([code, stdout], [0, "node2: drained\n"]);
    assert.match(stderr, /^the scheduler process does not answer$/m);
  });
});
