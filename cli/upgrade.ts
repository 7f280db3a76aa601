/** `dlba upgrade`: a running node goes over to the version that is installed. */
import type { Command } from "commander";
import { DlbaError } from "../conf/errors.ts";
import { UPGRADE_ANSWER_MS } from "../conf/limits.ts";
import { isRecord, parseJson } from "../conf/record.ts";
import { askAdmin } from "../net/admin-socket.ts";
import { DEFAULT_RUN_DIR, supervisorSocket } from "./places.ts";
import { notReached } from "./show.ts";

interface UpgradeOptions {
  readonly runDir: string;
  readonly json?: boolean;
}

/** Adds `upgrade` to the command line. */
export function registerUpgrade(program: Command): void {
  program
    .command("upgrade")
    .description("have a running node go over to the installed version, without losing a connection")
    .option("--run-dir <directory>", "directory of the node's sockets", DEFAULT_RUN_DIR)
    .option("--json", "what runs now, as one JSON object")
    .action(async ({ runDir, json }: UpgradeOptions) => {
      const answer = await askUpgrade(supervisorSocket(runDir));
      process.stdout.write(json === true ? `${JSON.stringify(answer)}\n` : `${sentence(answer)}\n`);
    });
}

interface Upgraded {
  readonly version: string;
  readonly before: string;
  readonly pid: number;
}

const sentence = ({ version, before, pid }: Upgraded): string =>
  `this node runs version ${version} now (before: ${before}), led by process ${pid}; connections of before go on until they end`;

/** Rejects with DlbaError UPGRADE_REFUSED, NOT_RUNNING or NO_ANSWER. */
async function askUpgrade(path: string): Promise<Upgraded> {
  let answer: unknown;
  try {
    answer = parseJson(await askAdmin({ path, line: "upgrade", timeout_ms: UPGRADE_ANSWER_MS }));
  } catch (error) {
    if (error instanceof DlbaError && error.code === "ADMIN_REFUSED") {
      throw new DlbaError("UPGRADE_REFUSED", `nothing was changed: ${error.message}`);
    }
    throw error instanceof Error ? notReached(path, error) : error;
  }
  const { version, before, pid } = isRecord(answer) ? answer : {};
  if (typeof version === "string" && typeof before === "string" && typeof pid === "number") {
    return { version, before, pid };
  }
  throw new DlbaError("NO_ANSWER", "the node's answer can't be read");
}
