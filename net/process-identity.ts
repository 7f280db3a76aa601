/** Names a process for good: its id alone may belong to another one later. */
import { readFileSync } from "node:fs";

export interface ProcessIdentity {
  readonly pid: number;
  /** Start time in clock ticks since boot (proc(5), field 22 of `stat`). */
  readonly started_ticks: number;
}

/** The identity of a running process; undefined when there is none with this id. */
export function processIdentity(pid: number): ProcessIdentity | undefined {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, "latin1");
    // The second field is the command's name in parentheses, and may contain anything.
    const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
    if (fields[0] === "Z") return undefined; // It ended; its parent has not asked for its exit code yet.
    return { pid, started_ticks: Number(fields[19]) };
  } catch {
    return undefined;
  }
}

/** Whether the very process still runs. */
export function isRunning(identity: ProcessIdentity): boolean {
  return processIdentity(identity.pid)?.started_ticks === identity.started_ticks;
}
