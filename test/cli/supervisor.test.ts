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
