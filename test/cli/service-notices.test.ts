/** What a node says to its service manager arrives as sd_notify(3) has it. */
import assert from "node:assert/strict";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test, type TestContext } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { serviceFacts, serviceManager } from "../../cli/service-notices.ts";
import type { Logger } from "../../status/log.ts";
import { datagramListener } from "./datagram-listener.ts";

function logger(): { log: Logger; warnings: string[] } {
  const warnings: string[] = [];
  const warn = (_facts: object, sentence: string): void => void warnings.push(sentence);
  return { log: { warn } as unknown as Logger, warnings };
}

function inEnvironment(t: TestContext, variables: Record<string, string>): void {
  Object.assign(process.env, variables);
  t.after(() => {
    for (const name of Object.keys(variables)) delete process.env[name];
  });
}

test("a manager is there when it names a socket; its watchdog counts when it means this process", () => {
  assert.deepEqual(serviceFacts({}, 7), { socket: undefined, watchdog_ms: undefined });
  assert.deepEqual(serviceFacts({ NOTIFY_SOCKET: "relative", WATCHDOG_USEC: "5" }, 7).socket, undefined);
  const env = { NOTIFY_SOCKET: "/run/notify", WATCHDOG_USEC: "3000000" };
  assert.deepEqual(serviceFacts(env, 7), { socket: "/run/notify", watchdog_ms: 3000 });
  assert.equal(serviceFacts({ ...env, WATCHDOG_PID: "7" }, 7).watchdog_ms, 3000);
  assert.equal(serviceFacts({ ...env, WATCHDOG_PID: "8" }, 7).watchdog_ms, undefined);
  for (const wrong of ["0", "-1", "x", "1.5"]) {
    assert.equal(serviceFacts({ ...env, WATCHDOG_USEC: wrong }, 7).watchdog_ms, undefined, wrong);
  }
});

for (const kind of ["a file", "an abstract name"] as const) {
  test(`ready, watchdog, leader and end arrive at ${kind}`, async (t) => {
    const dir = mkdtempSync(join(tmpdir(), "dlba-notify-"));
    t.after(() => rmSync(dir, { recursive: true }));
    const path = kind === "a file" ? join(dir, "notify") : `@dlba-test-${process.pid}`;
    const listener = datagramListener(t, path);
    inEnvironment(t, { NOTIFY_SOCKET: path, WATCHDOG_USEC: "50000" });
    const { log, warnings } = logger();
    const manager = serviceManager(log);
    assert.equal(process.env["NOTIFY_SOCKET"], undefined, "processes that are started don't inherit it");
    manager.ready("node one\nserves");
    await listener.hears("READY=1\nSTATUS=node one serves");
    await listener.hears("WATCHDOG=1");
    manager.leader(4711);
    await listener.hears("MAINPID=4711");
    manager.stopping(1500);
    await listener.hears("STOPPING=1\nEXTEND_TIMEOUT_USEC=1500000\nSTATUS=stopping");
    const before = listener.heard().length;
    await sleep(150);
    assert.equal(listener.heard().length, before, "another process has the watchdog now");
    assert.deepEqual(warnings, []);
  });
}

test("a manager that is gone is told of once, and the node goes on", (t) => {
  inEnvironment(t, { NOTIFY_SOCKET: "/nonexistent/notify" });
  const { log, warnings } = logger();
  const manager = serviceManager(log);
  manager.ready("one");
  manager.status("two");
  assert.deepEqual(warnings, ["the service manager can't be told"]);
});

test("without a manager nothing is said", () => {
  const { log, warnings } = logger();
  const manager = serviceManager(log);
  manager.ready("one");
  manager.stopping(1);
  assert.equal(manager.isThere, false);
  assert.deepEqual(warnings, []);
});
