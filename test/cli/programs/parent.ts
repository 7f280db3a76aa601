/** A supervisor of one child that is stuck in a loop and one that waits; the test kills it. */
import { join } from "node:path";
import { supervise } from "../../../cli/supervisor.ts";
import { createLogger } from "../../../status/log.ts";

const child = join(import.meta.dirname, "child.ts");
const specs = ["stuck", "waits"].map((name) => ({
  name,
  program: process.execPath,
  args: [child, name],
  stop_grace_ms: 1000,
}));
const supervisor = supervise(specs, createLogger({ process: "supervisor" }));
await supervisor.ready;
console.log("ready");
