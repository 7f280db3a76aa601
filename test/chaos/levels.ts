/** Whether what an array holds stays level over a long run: memory, descriptors, BPF objects. */
import { readdirSync, readFileSync, readlinkSync } from "node:fs";
import { join } from "node:path";
import { processesIn } from "../../lab/processes.ts";
import type { LabHost, LabState } from "../../lab/state.ts";

/** Of all nodes' processes together. BPF objects live by descriptors, mapped pages and pins. */
export interface Levels {
  readonly memory_bytes: number;
  /** All but sockets. */
  readonly descriptors: number;
  /** Connections that clients have lost are among them until they time out: their number follows what happened last. */
  readonly sockets: number;
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
    descriptors: sum((pid) => linksOf(pid).filter((link) => !isSocket(link)).length),
    sockets: sum((pid) => linksOf(pid).filter(isSocket).length),
    mapped_bpf: sum(
      (pid) => readFileSync(`/proc/${pid}/maps`, "latin1").split("anon_inode:bpf-map").length - 1,
    ),
    pins: nodes.reduce((total, node) => total + pinsOf(node), 0),
  };
}

const isSocket = (link: string): boolean => link.startsWith("socket:");

/** What a process's descriptors are. */
function linksOf(pid: number): string[] {
  const dir = `/proc/${pid}/fd`;
  return readdirSync(dir).map((fd) => {
    try {
      return readlinkSync(join(dir, fd));
    } catch {
      return "";
    }
  });
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
  sockets: (level) => level * 0.5 + 100,
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
  const names: readonly (keyof Levels)[] = ["memory_bytes", "descriptors", "sockets", "mapped_bpf", "pins"];
  return names.flatMap((name) => {
    const of = (part: readonly Levels[]): number => Math.min(...part.map((levels) => levels[name]));
    const [before, after] = [of(warm.slice(0, third)), of(warm.slice(-third))];
    return after <= before + SLACK[name](before) ? [] : [`${name} rose from ${before} to ${after}`];
  });
}
