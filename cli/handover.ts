/** `dlba handover`: another node becomes the scheduler, in order. */
import { type Command } from "commander";
import { CONTROL_TIMEOUT_MS } from "../conf/limits.ts";
import { askAdminAt, nodeName, sayDone } from "./admin.ts";
import { DEFAULT_RUN_DIR } from "./places.ts";

interface HandoverOptions {
  readonly runDir: string;
  readonly json?: boolean;
}

/** Adds `handover` to the command line. */
export function registerHandover(program: Command): void {
  program
    .command("handover")
    .description("let another node become the scheduler, without breaking anything (ask the scheduler)")
    .argument("[node]", "its name or number; without it the best one that is in step", nodeName)
    .option("--json", "who schedules then, as one JSON object")
    .option("--run-dir <directory>", "directory of the scheduler's sockets", DEFAULT_RUN_DIR)
    .action(async (node: string | undefined, { runDir, json }: HandoverOptions) => {
      const line = node === undefined ? "handover" : `handover ${node}`;
      sayDone(await askAdminAt(runDir, line, CONTROL_TIMEOUT_MS), json);
    });
}
