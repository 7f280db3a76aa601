/** How a thread gets the processor before the ordinary work of the machine. */
import { setPriority } from "node:os";
import { bind, libc, nativeMemory } from "./ffi.ts";

/** realtime: before all ordinary work; raised: more of the processor than others; ordinary: neither was allowed. */
export type Precedence = "realtime" | "raised" | "ordinary";

const setScheduler = bind<[number, number, number], number>(
  libc(),
  "int sched_setscheduler(int pid, int policy, uintptr_t parameters)",
);
const SCHED_RR = 2;
/** Threads and processes that this one starts later are ordinary ones again. */
const RESET_ON_FORK = 0x4000_0000;
const CALLING_THREAD = 0;
/** Ahead of what is not realtime; behind all that is. */
const REALTIME_PRIORITY = 1;
const RAISED_NICE = -10;

/**
 * Puts the calling thread before others: SCHED_RR, or a better nice value where that is not allowed, or nothing. It must
 * be one that mostly sleeps. Returns what it got.
 */
export function runBeforeOthers(): Precedence {
  const parameters = nativeMemory(4);
  parameters.view.setInt32(0, REALTIME_PRIORITY, true);
  if (setScheduler(CALLING_THREAD, SCHED_RR | RESET_ON_FORK, parameters.address) === 0) return "realtime";
  try {
    setPriority(CALLING_THREAD, RAISED_NICE);
    return "raised";
  } catch {
    return "ordinary";
  }
}
