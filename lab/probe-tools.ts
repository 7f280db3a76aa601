/** Runs the probe program on a host of a lab. */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { setTimeout as sleep } from "node:timers/promises";
import { DlbaError } from "../conf/errors.ts";
import { monotonicNow_ms } from "./flow-report.ts";
import { labArgv } from "./lab.ts";
import { type Cut, outageAfter_ms, type Probe, type ProbePlan } from "./probe-report.ts";

const PROBES = join(import.meta.dirname, "probes.ts");
const POLL_MS = 5;

export interface RunningProbes {
  /** All that have ended since the last `forget`, in the order of their ends. */
  ended(): readonly Probe[];
  forget(): void;
  /** Waits for the first answer after a cut (see outageAfter_ms); undefined when none comes in time. */
  outageAfter_ms(cut: Cut, within_ms: number): Promise<number | undefined>;
  stop(): Promise<void>;
}

/** Starts probes from a host. They end when this process does, too. */
export function startProbes(lab: string, hostName: string, plan: ProbePlan): RunningProbes {
  const [program = "", ...args] = labArgv(lab, hostName, [process.execPath, PROBES, JSON.stringify(plan)]);
  const child = spawn(program, args, { stdio: ["pipe", "pipe", "inherit"] });
  const closed = once(child, "close");
  let probes: Probe[] = [];
  createInterface({ input: child.stdout }).on("line", (line) => {
    const probe: Probe = JSON.parse(line);
    probes.push(probe);
  });
  return {
    ended: () => probes,
    forget: () => (probes = []),
    outageAfter_ms: async (cut, within_ms) => {
      while (monotonicNow_ms() < cut.begun_ms + within_ms) {
        if (child.exitCode !== null) throw new DlbaError("COMMAND_FAILED", "the probes ended");
        const outage_ms = outageAfter_ms(probes, cut);
        if (outage_ms !== undefined) return outage_ms;
        await sleep(POLL_MS);
      }
      return undefined;
    },
    stop: async () => {
      child.stdin.end();
      await closed;
    },
  };
}
