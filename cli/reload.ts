/** `dlba reload`: a running node takes its configuration anew. */
import type { Command } from "commander";
import { DlbaError } from "../conf/errors.ts";
import { RELOAD_ANSWER_MS } from "../conf/limits.ts";
import { isRecord, parseJson } from "../conf/record.ts";
import { askAdmin } from "../net/admin-socket.ts";
import { DEFAULT_RUN_DIR, supervisorSocket } from "./places.ts";
import { notReached } from "./show.ts";

/** Adds `reload` to the command line. */
export function registerReload(program: Command): void {
  program
    .command("reload")
    .description(
      "have a running node take its configuration and certificates anew, without losing a connection",
    )
    .option("--json", "what was done, as one JSON object")
    .option("--run-dir <directory>", "directory of the node's sockets", DEFAULT_RUN_DIR)
    .action(async ({ runDir, json }: { readonly runDir: string; readonly json?: boolean }) => {
      const done = await askReload(supervisorSocket(runDir));
      process.stdout.write(`${json === true ? JSON.stringify({ done }) : done.join("\n")}\n`);
    });
}

/** Asks a node's supervisor; resolves with what it did. Rejects with DlbaError RELOAD_REFUSED, NOT_RUNNING or NO_ANSWER. */
async function askReload(path: string): Promise<readonly string[]> {
  let answer: unknown;
  try {
    answer = parseJson(await askAdmin({ path, line: "reload", timeout_ms: RELOAD_ANSWER_MS }));
  } catch (error) {
    throw error instanceof Error ? notReached(path, error) : error;
  }
  if (!isRecord(answer) || !Array.isArray(answer["lines"])) {
    throw new DlbaError("NO_ANSWER", "the node's answer can't be read");
  }
  const lines = answer["lines"].map(String);
  if (answer["ok"] === true) return lines;
  throw new DlbaError("RELOAD_REFUSED", ["nothing was changed:", ...lines].join("\n"));
}
