/**
 * The command line of `dlba`. Each command loads what it needs when it runs, so that `dlba check` works without
 * root, without libbpf, on any Linux machine.
 */
import { Command } from "commander";
import { productVersion } from "../conf/version.ts";
import { EXIT_MEANINGS } from "./exit-codes.ts";
import { registerCheck } from "./check.ts";
import { registerDoctor } from "./doctor.ts";
import { registerDrain } from "./drain.ts";
import { registerEvents } from "./events.ts";
import { registerHandover } from "./handover.ts";
import { registerInit } from "./init.ts";
import { registerJoin } from "./join.ts";
import { registerImport } from "./import.ts";
import { registerKey } from "./key.ts";
import { registerLab } from "./lab.ts";
import { registerPush } from "./push.ts";
import { registerReference } from "./reference.ts";
import { registerRehearse } from "./rehearse.ts";
import { registerReload } from "./reload.ts";
import { registerRun } from "./run.ts";
import { registerServer } from "./server.ts";
import { registerShow } from "./show.ts";
import { registerToken } from "./token.ts";
import { registerTop } from "./top.ts";
import { registerUpgrade } from "./upgrade.ts";
import { registerVersions } from "./versions.ts";

const exitText = (): string =>
  Object.entries(EXIT_MEANINGS)
    .map(([code, meaning]) => `${code} ${meaning}`)
    .join("; ");

/** All commands. */
export function createProgram(): Command {
  const program = new Command("dlba")
    .description("a decrypting load-balancing array: N machines share one virtual IP, end TLS and proxy HTTP")
    .version(productVersion())
    .showSuggestionAfterError()
    .exitOverride()
    .addHelpText("after", `\nExit codes: ${exitText()}.`);
  registerInit(program);
  registerToken(program);
  registerJoin(program);
  registerKey(program);
  registerCheck(program);
  registerDoctor(program);
  registerServer(program);
  registerRun(program);
  registerReload(program);
  registerUpgrade(program);
  registerPush(program);
  registerVersions(program);
  registerShow(program);
  registerTop(program);
  registerEvents(program);
  registerDrain(program);
  registerHandover(program);
  registerImport(program);
  registerLab(program);
  registerRehearse(program);
  registerReference(program);
  return program;
}
