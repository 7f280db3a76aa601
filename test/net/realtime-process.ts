/**
 * Puts its thread before others, starts a further thread, and says as a line of JSON what it got, and what the kernel
 * says of both.
 */
import { readFileSync } from "node:fs";
import { isMainThread, parentPort, Worker } from "node:worker_threads";
import { runBeforeOthers, type Precedence } from "../../net/realtime.ts";

interface Thread {
  readonly nice: number;
  readonly priority: number;
  readonly policy: number;
}
export interface Got {
  readonly precedence: Precedence;
  readonly own: Thread;
  readonly further: Thread;
}

/** Of the calling thread (proc(5): fields 19, 40 and 41). */
function thread(): Thread {
  const fields = readFileSync("/proc/thread-self/stat", "latin1").split(") ").at(-1)!.split(" ").map(Number);
  return { nice: fields[16]!, priority: fields[37]!, policy: fields[38]! };
}

if (isMainThread) {
  const precedence = runBeforeOthers();
  const own = thread();
  new Worker(new URL(import.meta.url)).on("message", (further: Thread) => {
    console.log(JSON.stringify({ precedence, own, further } satisfies Got));
  });
} else {
  // oxlint-disable-next-line unicorn/require-post-message-target-origin -- a thread's port has no origin
  parentPort?.postMessage(thread());
}
