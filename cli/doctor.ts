/** `dlba doctor`: whether a machine is fit for a node, and what to do about what is not as it should be. */
import { Option, type Command } from "commander";
import { DlbaError } from "../conf/errors.ts";
import { EXIT } from "./exit-codes.ts";
import { DEFAULT_PIN_DIR, DEFAULT_RUN_DIR } from "./places.ts";

interface DoctorOptions {
  readonly config?: string;
  readonly node?: string;
  readonly pinDir: string;
  readonly runDir: string;
  readonly json?: boolean;
  readonly strict?: boolean;
}

/** Adds `doctor` to the program. */
export function registerDoctor(program: Command): void {
  program
    .command("doctor")
    .description(
      "check this machine for a node: kernel, interfaces, limits, ports, certificates, the way to others",
    )
    .option("--config <file>", "the array's configuration; without it the machine alone is checked")
    .option("--node <name>", "this node's name in the configuration")
    .option("--pin-dir <dir>", "the node's --pin-dir", DEFAULT_PIN_DIR)
    .option("--run-dir <dir>", "the node's --run-dir", DEFAULT_RUN_DIR)
    .option("--json", "as one JSON value")
    .addOption(new Option("--strict", "exit 1 for warnings, too"))
    .action(async (options: DoctorOptions) => {
      process.exitCode = await doctor(options);
    });
}

/** Throws DlbaError: USAGE, or what is wrong with the configuration. */
async function doctor(options: DoctorOptions): Promise<number> {
  const { config: file, node: name } = options;
  if ((file === undefined) !== (name === undefined)) {
    throw new DlbaError("USAGE", "--config and --node belong together");
  }
  const { machineFacts, nodeHostFacts } = await import("./doctor/collect.ts");
  const { findings } = await import("./doctor/findings.ts");
  const { reportJson, reportText } = await import("./doctor/report.ts");
  const { runningSupervisor } = await import("./node.ts");
  const machine = machineFacts(runningSupervisor(options.runDir) !== undefined);
  const host =
    file === undefined || name === undefined ? undefined : await hostOf(file, name, options.pinDir);
  const found = findings({ machine, host, now_ms: Date.now() });
  const about =
    host === undefined
      ? "this machine"
      : `this machine as ${host.node.name} of array ${host.config.array.name}`;
  process.stdout.write(options.json === true ? reportJson(found, about) : reportText(found, about));
  const isBad = found.some(
    ({ level }) => level === "error" || (options.strict === true && level === "warning"),
  );
  return isBad ? EXIT.found : EXIT.ok;

  async function hostOf(configFile: string, nodeName: string, pinDir: string) {
    const { loadConfig } = await import("../conf/load.ts");
    const { findNode } = await import("../conf/node.ts");
    const config = loadConfig(configFile);
    return nodeHostFacts(config, findNode(config, nodeName), pinDir);
  }
}
