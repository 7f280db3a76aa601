import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { join } from "node:path";
import { test, type TestContext } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { type ChildSpec, supervise, type Supervisor } from "../../cli/supervisor.ts";
import { isRunning, processIdentity, type ProcessIdentity } from "../../net/process-identity.ts";
import type { Logger } from "../../status/log.ts";

const PROGRAMS = join(import.meta.dirname, "programs");
const WITHIN_MS = 30_000;

interface Line {
  readonly message: string;
  readonly child_pid: number;
  readonly [fact: string]: unknown;
}

/** A logger that keeps its lines. */
function recorder(): { log: Logger; lines: Line[] } {
  const lines: Line[] = [];
  const keep = (facts: Omit<Line, "message">, message: string): void => {
    lines.push({ ...facts, message } as Line);
  };
  return { log: { info: keep, warn: keep, error: keep } as unknown as Logger, lines };
}

function spec(behaviour: string, stop_grace_ms = WITHIN_MS): ChildSpec {
  const args = [join(PROGRAMS, "child.ts"), behaviour];
  return { name: behaviour, program: process.execPath, args, stop_grace_ms };
}

function started(t: TestContext, specs: readonly ChildSpec[]): { supervisor: Supervisor; lines: Line[] } {
  const { log, lines } = recorder();
  const supervisor = supervise(specs, log);
  t.after(async () => supervisor.stop());
  return { supervisor, lines };
}

async function eventually(what: string, isSo: () => boolean): Promise<void> {
  const deadline_ms = performance.now() + WITHIN_MS;
  while (!isSo()) {
    assert.ok(performance.now() < deadline_ms, `waited for ${what}`);
    await sleep(10);
  }
}

function identified(pid: number): ProcessIdentity {
  const identity = processIdentity(pid);
  assert.ok(identity !== undefined, `process ${pid} runs`);
  return identity;
}

const starts = (lines: readonly Line[]): Line[] =>
  lines.filter(({ message }) => message === "process started");

test("is ready when every child has said so, and a killed child is started again", async (t) => {
  const { supervisor, lines } = started(t, [spec("one"), spec("two")]);
  await supervisor.ready;
  assert.equal(starts(lines).length, 2);
  const [victim] = starts(lines);
  process.kill(victim!.child_pid, "SIGKILL");
  await eventually("a third start", () => starts(lines).length === 3);
  const end = lines.find(({ message }) => message.startsWith("process ended"));
  assert.deepEqual(
    { child: end?.["child"], signal: end?.["signal"], ends: end?.["ends"], pid: end?.child_pid },
    { child: "one", signal: "SIGKILL", ends: 1, pid: victim!.child_pid },
  );
});

test("a child that always fails is tried after growing pauses, and its exit code is told", async (t) => {
  const { lines } = started(t, [spec("fail")]);
  await eventually("three ends", () => lines.filter(({ code }) => code === 7).length >= 3);
  const pauses = lines.filter(({ code }) => code === 7).map((line) => line["next_try_ms"]);
  assert.deepEqual(pauses.slice(0, 3), [100, 200, 400]);
});

test("a program that can't be started is told, and tried again", async (t) => {
  const { lines } = started(t, [{ ...spec("x"), program: "/nonexistent/program" }]);
  await eventually("a second try", () => starts(lines).length >= 2);
  assert.match(String(lines.find(({ error }) => error !== undefined)?.["error"]), /ENOENT/);
});

test("stop ends all children, and kills those that don't end in time", async (t) => {
  const { supervisor, lines } = started(t, [spec("one"), spec("deaf", 200)]);
  await supervisor.ready;
  const children = starts(lines).map(({ child_pid: pid }) => identified(pid));
  await supervisor.stop();
  assert.deepEqual(children.filter(isRunning), []);
  assert.equal(starts(lines).length, 2);
  const killed = lines.filter(({ message }) => message.includes("killed")).map(({ child }) => child);
  assert.deepEqual(killed, ["deaf"]);
});

test("a child that stops first has the others beside it until it has ended", async (t) => {
  const specs = [spec("two"), { ...spec("deaf", 300), stopsFirst: true }];
  const { supervisor, lines } = started(t, specs);
  await supervisor.ready;
  await supervisor.stop();
  const ends = lines.filter(({ message }) => message === "process stopped");
  assert.deepEqual(
    ends.map(({ child, signal }) => [child, signal]),
    [
      ["deaf", "SIGKILL"],
      ["two", "SIGTERM"],
    ],
  );
});

const named = (behaviour: string, name: string): ChildSpec => ({ ...spec(behaviour), name });
const pidsOf = (lines: readonly Line[], name: string): number[] =>
  starts(lines).flatMap((line) => (line["child"] === name ? [line.child_pid] : []));

test("a successor takes over when it is ready: the one before is told to retire, and is not started again", async (t) => {
  const { supervisor, lines } = started(t, [named("one", "a"), named("two", "b")]);
  await supervisor.ready;
  const successor = await supervisor.prepare(named("three", "a"));
  assert.equal(
    lines.filter(({ message }) => message === "process stopped").length,
    0,
    "nobody retires before",
  );
  successor.takeOver([], WITHIN_MS);
  await eventually("the first one to end", () => lines.some(({ message }) => message === "process stopped"));
  const end = lines.find(({ message }) => message === "process stopped");
  assert.deepEqual([end?.["child"], end?.["code"]], ["a", 5]);
  // The successor is the supervisor's child like any other.
  process.kill(pidsOf(lines, "a")[1]!, "SIGKILL");
  await eventually("the successor to be started again", () => pidsOf(lines, "a").length === 3);
});

test("the end of a successor that has one itself is told, too, and who waits for the end of all that retire hears it", async (t) => {
  const { supervisor, lines } = started(t, [named("one", "a")]);
  await supervisor.ready;
  await supervisor.retiredEnded();
  for (const behaviour of ["two", "three"]) {
    const successor = await supervisor.prepare(named(behaviour, "a"));
    successor.takeOver([], WITHIN_MS);
    await supervisor.retiredEnded();
  }
  const ends = lines.filter(({ message }) => message === "process stopped");
  assert.deepEqual(
    ends.map(({ child_pid: pid, code }) => [pid, code]),
    pidsOf(lines, "a")
      .slice(0, 2)
      .map((pid) => [pid, 5]),
  );
});

test("processes are added when there is none of their name, and ended for good", async (t) => {
  const { supervisor, lines } = started(t, []);
  await supervisor.add(named("one", "a"));
  await supervisor.add(named("two", "a"));
  assert.equal(pidsOf(lines, "a").length, 1);
  await supervisor.end(["a", "none of this name"]);
  assert.deepEqual(
    lines.filter(({ message }) => message === "process stopped").map(({ signal }) => signal),
    ["SIGTERM"],
  );
  await supervisor.add(named("three", "a"));
  assert.equal(pidsOf(lines, "a").length, 2);
});

test("a successor that never gets ready is tried some times; then the one before goes on as it was", async (t) => {
  const { supervisor, lines } = started(t, [named("one", "a")]);
  await supervisor.ready;
  await assert.rejects(supervisor.prepare(named("fail", "a")), {
    code: "SUCCESSOR_FAILED",
    message: /the new a does not start: ended with code 7/,
  });
  const [first, ...tried] = pidsOf(lines, "a");
  assert.equal(tried.length, 3);
  assert.ok(isRunning(identified(first!)));
  const successor = await supervisor.prepare(named("two", "a"));
  const [discarded] = pidsOf(lines, "a").slice(-1);
  successor.discard();
  await eventually("the discarded one to end", () => processIdentity(discarded!) === undefined);
  assert.ok(isRunning(identified(first!)));
  assert.equal(pidsOf(lines, "a").length, 5, "and it is not started again");
});

test("a successor that dies between being ready and taking over is started again", async (t) => {
  const { supervisor, lines } = started(t, [named("one", "a")]);
  await supervisor.ready;
  const successor = await supervisor.prepare(named("two", "a"));
  const pid = pidsOf(lines, "a")[1]!;
  process.kill(pid, "SIGKILL");
  await eventually("it to be gone", () => processIdentity(pid) === undefined);
  successor.takeOver([], WITHIN_MS);
  await eventually("another one", () => pidsOf(lines, "a").length === 3);
});

test("who stands in for another one hears when that one runs, and when it does not", async (t) => {
  const specs = [{ ...named("one", "a"), coveredBy: "b" }, named("covers", "b")];
  const { supervisor, lines } = started(t, specs);
  await supervisor.ready;
  process.kill(pidsOf(lines, "a")[0]!, "SIGKILL");
  await eventually("it to be told", () => lines.some(({ code }) => code === 6));
  await eventually("both to be started again", () => starts(lines).length === 4);
});

test("who does not retire in time is stopped", async (t) => {
  const { supervisor, lines } = started(t, [named("deaf", "a"), named("stays", "b")]);
  await supervisor.ready;
  const successor = await supervisor.prepare(named("two", "a"));
  successor.takeOver([], 0);
  const [first] = pidsOf(lines, "a");
  await eventually("the first one to end", () => processIdentity(first!) === undefined);
});

test("a process that is started anew has what it was respecified to have, whenever that was", async (t) => {
  const { supervisor, lines } = started(t, [named("one", "a")]);
  await supervisor.ready;
  supervisor.respecify(named("fail", "a"));
  supervisor.restart("a");
  await eventually("it to fail", () => lines.some(({ code }) => code === 7));
});

test("children die with their supervisor, even one that is stuck in a loop", async () => {
  const parent = spawn(process.execPath, [join(PROGRAMS, "parent.ts")], {
    stdio: ["ignore", "pipe", "pipe"],
  });
  let log = "";
  parent.stderr.setEncoding("utf8").on("data", (text: string) => (log += text));
  const [word] = (await once(parent.stdout, "data")) as [Buffer];
  assert.equal(String(word), "ready\n");
  const children = [...log.matchAll(/"child_pid":(\d+)/g)].map(([, pid]) => identified(Number(pid)));
  assert.equal(children.length, 2);
  parent.kill("SIGKILL");
  await eventually("both children to end", () => !children.some(isRunning));
});
