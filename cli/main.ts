/**
 * The command line of `dlba`. Each command loads what it needs when it runs, so that `dlba check` works without
 * root, without libbpf, on any Linux machine.
 */
import { Command, CommanderError } from "commander";
import { DlbaError, describeError } from "../conf/errors.ts";
import { productVersion } from "../conf/version.ts";
import { registerCheck } from "./check.ts";
import { registerDoctor } from "./doctor.ts";
import { registerDrain } from "./drain.ts";
import { registerEvents } from "./events.ts";
import { EXIT } from "./exit-codes.ts";
import { registerHandover } from "./handover.ts";
import { registerLab } from "./lab.ts";
import { registerReload } from "./reload.ts";
import { registerRun } from "./run.ts";
import { registerShow } from "./show.ts";

async function main(argv: readonly string[]): Promise<void> {
  const program = new Command("dlba")
    .description(
      "A decrypting load-balancing array: N machines share one virtual IP, end TLS and proxy HTTP.",
    )
    .version(productVersion())
    .showSuggestionAfterError()
    .exitOverride()
    .addHelpText(
      "after",
      "\nExit codes: 0 good, 1 errors found or not drained in time, 2 wrong usage, 3 wrong surroundings.",
    );
  registerCheck(program);
  registerShow(program);
  registerDoctor(program);
  registerDrain(program);
  registerEvents(program);
  registerHandover(program);
  registerRun(program);
  registerReload(program);
  registerLab(program);
  await program.parseAsync(argv);
}

/** What was asked about is not as it should be; the command itself has worked. */
const FOUND = new Set(["CONFIG_INVALID", "DRAIN_TIMEOUT", "DRAIN_ENDED", "RELOAD_REFUSED"]);

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
