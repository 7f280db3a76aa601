/** `dlba run`: one node of the array, supervised; `dlba detach`: takes its data plane and VIPs away again. */
import type { Command } from "commander";
import type { NodePlaces, RunOptions } from "./node.ts";
import { DEFAULT_PIN_DIR, DEFAULT_RUN_DIR, DEFAULT_STATE_DIR } from "./places.ts";

/** Adds `run` and `detach` to the command line. */
export function registerRun(program: Command): void {
  program
    .command("run")
    .description("run a node of the array: start its processes and keep them running")
    .requiredOption("--config <file>", "the array's configuration")
    .requiredOption("--node <name>", "this node's name in the configuration")
    .option("--pin-dir <dir>", "directory for the pinned data plane, on a BPF file system", DEFAULT_PIN_DIR)
    .option("--run-dir <dir>", "directory for the node's Unix sockets", DEFAULT_RUN_DIR)
    .option(
      "--state-dir <dir>",
      `directory for what outlasts a restart of the machine (default: ${DEFAULT_STATE_DIR}, or another --run-dir)`,
    )
    .action(async (options: RunOptions) => (await import("./node.ts")).runNode(options));
  program
    .command("detach")
    .description("remove what a stopped node left: its pinned data plane, and the VIPs on lo")
    .option("--pin-dir <dir>", "the node's --pin-dir", DEFAULT_PIN_DIR)
    .option("--run-dir <dir>", "the node's --run-dir", DEFAULT_RUN_DIR)
    .option("--json", "what was removed, as one JSON object")
    .action(async (options: NodePlaces & { readonly json?: boolean }) => {
      const { pinDir, vips } = await (await import("./node.ts")).detachNode(options);
      const text = `data plane removed from ${pinDir}; VIPs removed from lo: ${vips.join(", ") || "none"}`;
      process.stdout.write(`${options.json === true ? JSON.stringify({ pin_dir: pinDir, vips }) : text}\n`);
    });
}
