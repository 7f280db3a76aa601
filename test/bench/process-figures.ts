/** What a process with its children costs, as the kernel counts it. */
import { readdirSync, readFileSync } from "node:fs";

/** CPU time of a process and its children in seconds, all threads, from the scheduler's own nanoseconds. */
export function cpuSeconds(pid: number): number {
  let total_ns = 0;
  for (const thread of readdirSync(`/proc/${pid}/task`)) {
    total_ns += Number(readFileSync(`/proc/${pid}/task/${thread}/schedstat`, "utf8").split(" ")[0]);
  }
  return total_ns / 1e9 + childPids(pid).reduce((sum, child) => sum + cpuSeconds(child), 0);
}

const childPids = (pid: number): number[] =>
  readFileSync(`/proc/${pid}/task/${pid}/children`, "utf8").trim().split(" ").filter(Boolean).map(Number);

export function residentBytes(pid: number): number {
  const kilobytes = Number(/VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${pid}/status`, "utf8"))?.[1] ?? 0);
  return kilobytes * 1024 + childPids(pid).reduce((sum, child) => sum + residentBytes(child), 0);
}
