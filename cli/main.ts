/** The entry of `dlba`: runs a command, and tells what failed. */
import { CommanderError } from "commander";
import { DlbaError, describeError } from "../conf/errors.ts";
import { EXIT } from "./exit-codes.ts";
import { createProgram } from "./program.ts";

async function main(argv: readonly string[]): Promise<void> {
  await createProgram().parseAsync(argv);
}

/** What was asked about is not as it should be; the command itself has worked. */
const FOUND = new Set([
  "CONFIG_INVALID",
  "DRAIN_TIMEOUT",
  "DRAIN_ENDED",
  "RELOAD_REFUSED",
  "PUSH_REFUSED",
  "PUSH_BUSY",
  "PUSH_OVERTAKEN",
  "PUSH_NOT_TAKEN",
  "PUSH_REVERTED",
  "KEY_WAITS",
  "KEY_CONFLICT",
  "UPGRADE_REFUSED",
]);

/** The exit code for what a command threw, after telling it in one line. */
function report(error: unknown): number {
  // Commander has said what is wrong; help and version end here too, with code 0.
  if (error instanceof CommanderError) return error.exitCode === 0 ? EXIT.ok : EXIT.usage;
  if (!(error instanceof DlbaError)) throw error;
  process.stderr.write(`dlba: ${describeError(error)}\n`);
  if (error.code === "USAGE") return EXIT.usage;
  return FOUND.has(error.code) ? EXIT.found : EXIT.environment;
}

// A reader that has seen enough (`dlba show buckets all | head`) is no error.
process.stdout.on("error", (error: NodeJS.ErrnoException) => {
  if (error.code !== "EPIPE") throw error;
  process.exit(EXIT.ok);
});

try {
  await main(process.argv);
} catch (error) {
  process.exitCode = report(error);
}
