/** A process whose log can't be written goes on, tells of it as of any event. */
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { closeSync, openSync } from "node:fs";
import { join } from "node:path";
import { text } from "node:stream/consumers";
import { test } from "node:test";

/** Logs to standard error, and says on standard output which events that made. */
const LOGS = `
  const { createLogger, onLogLine } = await import("./status/log.ts");
  const { eventOf } = await import("./status/event-kinds.ts");
  onLogLine((sentence, line) => {
    const event = eventOf(sentence, line, "status", 0, 0);
    if (event !== undefined) console.log(event.kind, JSON.stringify(event.facts));
  });
  const log = createLogger({ process: "status" });
  for (let i = 0; i < 2000; i++) log.info({ i, padding: "x".repeat(200) }, "a line");
  setTimeout(() => console.log("alive"), 50);
`;

test("a full disk under the log ends no process, and is an event", async () => {
  const full = openSync("/dev/full", "w");
  const child = spawn(process.execPath, ["--input-type=module", "-e", LOGS], {
    cwd: join(import.meta.dirname, "../.."),
    stdio: ["ignore", "pipe", full],
  });
  closeSync(full);
  const [said] = await Promise.all([text(child.stdout!), once(child, "close")]);
  assert.equal(child.exitCode, 0, said);
  assert.match(said, /^log-lost \{"reason":"ENOSPC/m);
  assert.match(said, /^alive$/m);
  assert.equal(said.match(/log-lost/g)?.length, 1);
});
