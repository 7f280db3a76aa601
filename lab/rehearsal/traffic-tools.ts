/** Runs the clients of a rehearsal on the lab's client, and reads what they tell. */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { text } from "node:stream/consumers";
import { DlbaError } from "../../conf/errors.ts";
import { labArgv } from "../lab.ts";
import type { Asked, TrafficPlan } from "./report.ts";

const TRAFFIC = join(import.meta.dirname, "traffic.ts");
/** Beyond this many requests the figures say what was until then. */
const MAX_ASKED = 2_000_000;

export interface RunningTraffic {
  /** What is over so far; the list grows. */
  readonly asked: readonly Asked[];
  /** Throws DlbaError COMMAND_FAILED when the clients had ended by themselves. */
  stop(): Promise<void>;
}

/** Starts to ask. It ends when this process does, too. */
export function startTraffic(lab: string, plan: TrafficPlan): RunningTraffic {
  const [program = "", ...args] = labArgv(lab, "client", [process.execPath, TRAFFIC]);
  const child = spawn(program, args, { stdio: "pipe" });
  const asked: Asked[] = [];
  const stderr = text(child.stderr);
  const closed = once(child, "close");
  child.stdin.on("error", () => {}); // It ended: `stop` tells why.
  child.stdin.write(`${JSON.stringify(plan)}\n`);
  createInterface({ input: child.stdout }).on("line", (line) => {
    if (asked.length >= MAX_ASKED) return;
    const each: Asked = JSON.parse(line);
    asked.push(each);
  });
  return {
    asked,
    stop: async () => {
      child.stdin.end();
      await closed;
      if (child.exitCode === 0) return;
      throw new DlbaError("COMMAND_FAILED", `the clients failed: ${(await stderr).trim()}`);
    },
  };
}
