/** Runs the flow program on a host of a lab while other things happen, and reads what it tells. */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { text } from "node:stream/consumers";
import { DlbaError } from "../conf/errors.ts";
import type { Flow, FlowPlan } from "./flow-report.ts";
import { labArgv } from "./lab.ts";

const FLOWS = join(import.meta.dirname, "flows.ts");

export interface FlowsSoFar {
  readonly flows: number;
  readonly open: number;
  readonly answers: number;
  /** Whoever's fault. */
  readonly errors: number;
}

export interface RunningFlows {
  soFar(): Promise<FlowsSoFar>;
  /** Ends the flows after a last request on each; resolves with all of them. Throws DlbaError COMMAND_FAILED. */
  stop(): Promise<Flow[]>;
}

/** Starts flows from a host. They end when this process does, too. */
export function startFlows(lab: string, hostName: string, plan: FlowPlan): RunningFlows {
  const [program = "", ...args] = labArgv(lab, hostName, [process.execPath, FLOWS]);
  const child = spawn(program, args, { stdio: ["pipe", "pipe", "pipe"] });
  child.stdin.on("error", () => {}); // It ended: `stop` tells why.
  child.stdin.write(`${JSON.stringify(plan)}\n`);
  const stderr = text(child.stderr);
  const closed = once(child, "close");
  const lines: string[] = [];
  const output = createInterface({ input: child.stdout });
  output.on("line", (line) => lines.push(line));
  return {
    soFar: async () => {
      child.stdin.write("so far\n");
      const [line] = await once(output, "line");
      const soFar: FlowsSoFar = JSON.parse(String(line));
      return soFar;
    },
    stop: async () => {
      child.stdin.end();
      await closed;
      const last = lines.at(-1);
      if (child.exitCode !== 0 || last === undefined) {
        throw new DlbaError(
          "COMMAND_FAILED",
          `the flows failed (${child.exitCode}): ${(await stderr).trim()}`,
        );
      }
      const flows: Flow[] = JSON.parse(last);
      return flows;
    },
  };
}
