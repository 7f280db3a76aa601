/** Whether what an array holds stays level over a long run: memory, descriptors, BPF objects. */
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { processesIn } from "../../lab/processes.ts";
import type { LabHost, LabState } from "../../lab/state.ts";

/** Of all nodes' processes together. BPF objects live by descriptors, mapped pages and pins. */
export interface Levels {
  readonly memory_bytes: number;
  readonly descriptors: number;
  readonly mapped_bpf: number;
  readonly pins: number;
}

/** What the nodes of a lab hold now. */
export function levelsOf(state: LabState): Levels {
  const nodes = state.hosts.filter(({ kind }) => kind === "node");
  const pids = nodes.flatMap(({ namespace }) => processesIn(namespace).map(({ pid }) => pid));
  const sum = (of: (pid: number) => number): number =>
    pids.reduce((total, pid) => total + orZero(of, pid), 0);
  return {
    memory_bytes: sum(residentBytes),
    descriptors: sum((pid) => readdirSync(`/proc/${pid}/fd`).length),
    mapped_bpf: sum(
      (pid) => readFileSync(`/proc/${pid}/maps`, "latin1").split("anon_inode:bpf-map").length - 1,
    ),
    pins: nodes.reduce((total, node) => total + pinsOf(node), 0),
  };
}

/** A process that ended meanwhile holds nothing. */
function orZero(of: (pid: number) => number, pid: number): number {
  try {
    return of(pid);
  } catch {
    return 0;
  }
}

function residentBytes(pid: number): number {
  return Number(/VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${pid}/status`, "utf8"))?.[1] ?? 0) * 1024;
}

function pinsOf({ pin_dir }: LabHost): number {
  if (pin_dir === null) return 0;
  return readdirSync(pin_dir, { withFileTypes: true, recursive: true }).filter(
    (entry) => !entry.isDirectory() && join(entry.parentPath, entry.name).startsWith(pin_dir),
  ).length;
}

/** What may come on top: heaps differ by when they were swept, processes by when they were started. */
const SLACK: Readonly<Record<keyof Levels, (level: number) => number>> = {
  memory_bytes: (level) => level * 0.2 + 32 * 2 ** 20,
  descriptors: (level) => level * 0.05 + 10,
  mapped_bpf: () => 4,
  pins: () => 0,
};

/**
 * What has risen from the first third of the samples to the last one, in sentences; the first sample warms up. What counts is
 * how low it comes: connections and heaps come and go, and what leaks stays. Pure.
 */
export function risen(samples: readonly Levels[]): string[] {
  const warm = samples.slice(1);
  const third = Math.ceil(warm.length / 3);
  if (warm.length < 2) return [];
  const names: readonly (keyof Levels)[] = ["memory_bytes", "descriptors", "mapped_bpf", "pins"];
  return names.flatMap((name) => {
    const of = (part: readonly Levels[]): number => Math.min(...part.map((levels) => levels[name]));
    const [before, after] = [of(warm.slice(0, third)), of(warm.slice(-third))];
    return after <= before + SLACK[name](before) ? [] : [`${name} rose from ${before} to ${after}`];
  });
}
