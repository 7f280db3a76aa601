/** `dlba init`: a first configuration, fitted to this machine, and the array key. Nothing that is there is overwritten. */
import type { Command } from "commander";
import { randomBytes } from "node:crypto";
import { existsSync, mkdirSync } from "node:fs";
import { dirname, resolve } from "node:path";
import { formatConfigErrors } from "../conf/config-error.ts";
import { DlbaError } from "../conf/errors.ts";
import { readArrayKey } from "../conf/keys.ts";
import { ARRAY_KEY_BYTES } from "../conf/limits.ts";
import { summarize } from "./check.ts";
import { configurationText } from "./init/configuration.ts";
import { readMachine } from "./init/machine.ts";
import { planArray, type Plan, type Wishes } from "./init/plan.ts";
import { DEFAULT_CONFIG_FILE, DEFAULT_KEY_FILE } from "./places.ts";
import { createFile } from "./whole-files.ts";

interface InitOptions extends Wishes {
  readonly config: string;
  readonly json?: boolean;
}

const several = (value: string, before: readonly string[]): string[] => [...before, value];

/** Adds `init` to the command line. */
export function registerInit(program: Command): void {
  program
    .command("init")
    .description("write a first configuration, fitted to this machine, and the array key; overwrites nothing")
    .option("--vip <address>", "virtual IP address for the clients (several times for more)", several, [])
    .option("--web-server <address[:port]>", "who answers requests (several times for more)", several, [])
    .option("--node <name=address>", "a node, all of them in order; left out: this machine", several, [])
    .option("--interface <name>", "on the array's segment; left out: the one that leads out of here")
    .option("--certificate <file>", "serve HTTPS with this certificate, too")
    .option("--private-key <file>", "its private key")
    .option("--name <name>", "the array's name", "array")
    .option("--config <file>", "where to write the configuration", DEFAULT_CONFIG_FILE)
    .option("--key-file <file>", "where to write the array key; one that is there is kept", DEFAULT_KEY_FILE)
    .option("--json", "what was written and guessed, as one JSON object")
    .action(init);
}

/** Throws DlbaError: USAGE, FILE_EXISTS, FILE_UNWRITABLE, ARRAY_KEY_INVALID; then no configuration has been written. */
async function init({ json = false, ...options }: InitOptions): Promise<void> {
  const config = resolve(options.config);
  const keyFile = resolve(options.keyFile);
  if (existsSync(config)) {
    const hint = "change it by hand, or name another file with --config";
    throw new DlbaError("FILE_EXISTS", `${config} is there already, and is left as it is`, { hint });
  }
  const plan = planArray({ ...options, keyFile }, readMachine());
  const text = configurationText(plan);
  const { parseConfig } = await import("../conf/load.ts");
  const parsed = parseConfig(text, config);
  if ("errors" in parsed) {
    throw new DlbaError("USAGE", `that makes no configuration:\n${formatConfigErrors(parsed.errors)}`);
  }
  // The configuration last: whoever is killed before can say the same command again.
  const isNewKey = provideKey(keyFile);
  makeDirectory(config);
  createFile(config, text, 0o644);
  const holds = summarize(parsed.config);
  const next = nextSteps(plan, config);
  const { self, notes } = plan;
  if (json) {
    const result = {
      config,
      key_file: keyFile,
      is_new_key: isNewKey,
      node: self ?? null,
      holds,
      notes,
      next,
    };
    process.stdout.write(`${JSON.stringify(result)}\n`);
    return;
  }
  const key = isNewKey ? `${keyFile}: a new array key, for its owner alone` : `${keyFile}: kept as it is`;
  for (const note of notes) process.stderr.write(`note: ${note}\n`);
  process.stdout.write(`${config}: ${holds}\n${key}\nnext:\n${next.map((line) => `  ${line}\n`).join("")}`);
}

/** Whether a key has been made; one that is there is kept. Throws DlbaError ARRAY_KEY_INVALID, FILE_UNWRITABLE. */
function provideKey(keyFile: string): boolean {
  if (existsSync(keyFile)) {
    readArrayKey(keyFile);
    return false;
  }
  makeDirectory(keyFile);
  createFile(keyFile, `${randomBytes(ARRAY_KEY_BYTES).toString("base64")}\n`, 0o600);
  return true;
}

function makeDirectory(file: string): void {
  try {
    mkdirSync(dirname(file), { recursive: true, mode: 0o755 });
  } catch (cause) {
    throw new DlbaError("FILE_UNWRITABLE", `${dirname(file)} can't be made`, { cause });
  }
}

function nextSteps({ self, nodes, certificate }: Plan, config: string): string[] {
  const others = nodes.filter(({ name }) => name !== self).map(({ name }) => name);
  const sent = certificate === undefined ? "" : " --with-certificates";
  return [
    `dlba doctor --config ${config} --node ${self ?? nodes[0]?.name}`,
    `dlba run --config ${config} --node ${self ?? nodes[0]?.name}`,
    ...others.map(
      (name) => `dlba token --config ${config} --node ${name}${sent}, and on ${name}: dlba join TOKEN`,
    ),
  ];
}
