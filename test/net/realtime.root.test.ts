/** What a thread that wants to run before others gets. Each try is a process of its own. Needs root. */
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { join } from "node:path";
import { test } from "node:test";
import type { Got } from "./realtime-process.ts";

const SCRIPT = join(import.meta.dirname, "realtime-process.ts");
const ORDINARY = { nice: 0, priority: 0, policy: 0 };
const SCHED_RR = 2;

function run(...prefix: string[]): Got {
  return JSON.parse(execFileSync("env", [...prefix, process.execPath, SCRIPT], { encoding: "utf8" }));
}

test("where it may, the thread becomes a realtime one of the lowest priority; threads that it starts don't", () => {
  assert.deepEqual(run(), {
    precedence: "realtime",
    own: { nice: 0, priority: 1, policy: SCHED_RR },
    further: ORDINARY,
  });
});

test("where nothing is allowed it goes on as it was", () => {
  const limits = ["prlimit", "--nice=0", "--rtprio=0"];
  const got = run(...limits, "setpriv", "--bounding-set=-sys_nice", "--inh-caps=-sys_nice");
  assert.deepEqual(got, { precedence: "ordinary", own: ORDINARY, further: ORDINARY });
});
