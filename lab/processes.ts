/**
 * The processes of a lab's hosts. What runs in a host's namespace is the host's: nothing else gets in there,
 * so that is a surer mark than recorded process ids, and covers what `lab exec` started.
 */
import { type ChildProcess, spawn } from "node:child_process";
import { closeSync, openSync, readdirSync, readFileSync, readlinkSync } from "node:fs";
import { setTimeout as sleep } from "node:timers/promises";
import { DlbaError } from "../conf/errors.ts";
import { inNamespace, namespaceInode } from "./topology.ts";

export interface HostProcess {
  readonly pid: number;
  readonly command: string;
  readonly is_stopped: boolean;
}

const GONE_WITHIN_MS = 30_000;

/** The processes in a namespace. */
export function processesIn(namespace: string): HostProcess[] {
  const mark = `net:[${namespaceInode(namespace)}]`;
  return readdirSync("/proc")
    .filter((name) => /^\d+$/.test(name))
    .flatMap((name) => {
      try {
        if (readlinkSync(`/proc/${name}/ns/net`) !== mark) return [];
        const command = readFileSync(`/proc/${name}/cmdline`, "latin1").split("\0").join(" ").trim();
        const stat = readFileSync(`/proc/${name}/stat`, "latin1");
        const state = stat.charAt(stat.lastIndexOf(")") + 2);
        return state === "Z" ? [] : [{ pid: Number(name), command, is_stopped: state === "T" }];
      } catch {
        return []; // It ended meanwhile.
      }
    });
}

/** Sends a signal to every process in a namespace, or to those that are meant; returns how many there were. */
export function signalAll(
  namespace: string,
  signal: NodeJS.Signals,
  isMeant: (process: HostProcess) => boolean = () => true,
): number {
  const processes = processesIn(namespace).filter(isMeant);
  for (const { pid } of processes) {
    try {
      process.kill(pid, signal);
    } catch {
      // It ended meanwhile.
    }
  }
  return processes.length;
}

/** Kills every process in a namespace, and those that they start meanwhile. Throws DlbaError WONT_DIE. */
export async function killAll(namespace: string): Promise<number> {
  const deadline_ms = performance.now() + GONE_WITHIN_MS;
  let count = 0;
  for (;;) {
    const alive = signalAll(namespace, "SIGKILL");
    count = Math.max(count, alive);
    if (alive === 0) return count;
    if (performance.now() > deadline_ms) {
      throw new DlbaError("WONT_DIE", `${alive} processes in ${namespace} do not end`);
    }
    await sleep(10);
  }
}

/** Starts a program in a namespace that outlives this process; its output is appended to a log file. */
export function startDetached(namespace: string, argv: readonly string[], logFile: string): ChildProcess {
  const [program = "", ...args] = inNamespace(namespace, argv);
  const log = openSync(logFile, "a");
  const child = spawn(program, args, { detached: true, stdio: ["ignore", log, log], cwd: "/" });
  child.unref();
  closeSync(log);
  return child;
}
