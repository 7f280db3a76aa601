/** `dlba import haproxy.cfg`: a configuration of ours from HAProxy's and keepalived's, and what could not be taken over. */
import { type Command, InvalidArgumentError } from "commander";
import { existsSync, readdirSync, statSync, writeFileSync } from "node:fs";
import { lookup } from "node:dns/promises";
import { isIP } from "node:net";
import { basename, join } from "node:path";
import { formatConfigErrors } from "../conf/config-error.ts";
import { DlbaError } from "../conf/errors.ts";
import { readConfigFile } from "../conf/load.ts";
import type { Composed } from "./import/compose.ts";
import type { Note } from "./import/notes.ts";
import { EXIT } from "./exit-codes.ts";

interface ImportOptions {
  readonly keepalived?: string;
  readonly vip: readonly string[];
  readonly node: readonly { readonly name: string; readonly address: string }[];
  readonly name: string;
  readonly output?: string;
  readonly json?: boolean;
  readonly strict?: boolean;
}

/** Adds `import` to the program. */
export function registerImport(program: Command): void {
  program
    .command("import")
    .description(
      "make a configuration of a haproxy.cfg; says line by line what it leaves out, and what to do instead",
    )
    .argument("<haproxy.cfg>", "HAProxy's configuration")
    .option("--keepalived <file>", "keepalived's configuration: VIPs, interface and machines")
    .option("--vip <address>", "what bind lines without an address stand for; may be repeated", address, [])
    .option("--node <name=address>", "a node; may be repeated", node, [])
    .option("--name <name>", "the array's name", "imported")
    .option("--output <file>", "where the configuration goes, instead of standard output")
    .option("--json", "the configuration and the notes as one JSON object")
    .option("--strict", "exit with 1 when anything was left out")
    .action(async (file: string, options: ImportOptions) => {
      process.exitCode = await run(file, options);
    });
}

function address(text: string, before: readonly string[]): string[] {
  if (isIP(text) === 0) throw new InvalidArgumentError("expected an IPv4 or IPv6 address");
  return [...before, text];
}

function node(text: string, before: ImportOptions["node"]): ImportOptions["node"] {
  const [, name, at = ""] = /^([^=]+)=(.+)$/.exec(text) ?? [];
  if (name === undefined || isIP(at) === 0)
    throw new InvalidArgumentError("expected a name and an address such as lb1=192.0.2.11");
  return [...before, { name, address: at }];
}

async function run(file: string, options: ImportOptions): Promise<number> {
  const composed = await importFiles(file, options);
  const { yaml, notes, errors } = composed;
  const isWhole =
    errors.length === 0 && !(options.strict === true && notes.some(({ kind }) => kind === "left-out"));
  if (options.json === true)
    process.stdout.write(`${JSON.stringify({ file, config: yaml, notes, errors })}\n`);
  else await tell(composed, options.output);
  return isWhole ? EXIT.ok : EXIT.found;
}

/** Reads the files and looks up names, then makes the configuration. Throws DlbaError CONFIG_UNREADABLE. */
async function importFiles(file: string, options: ImportOptions): Promise<Composed> {
  const { importHaproxy } = await import("./import/haproxy.ts");
  const { readSections } = await import("./import/haproxy-lines.ts");
  const { serverNames } = await import("./import/haproxy-servers.ts");
  const { readKeepalived } = await import("./import/keepalived.ts");
  const { compose } = await import("./import/compose.ts");
  const text = readConfigFile(file);
  const keepalived =
    options.keepalived === undefined
      ? undefined
      : readKeepalived(readConfigFile(options.keepalived), basename(options.keepalived));
  const names = serverNames(readSections(text).flatMap(({ lines }) => lines));
  const draft = importHaproxy(text, basename(file), {
    keepalived,
    vips: options.vip,
    nodes: options.node,
    resolved: await resolve(names),
    listPem,
    exists: existsSync,
  });
  return compose(draft, keepalived?.ledger.notes() ?? [], { file: basename(file), arrayName: options.name });
}

/** Names that can't be found are left out. */
async function resolve(names: readonly string[]): Promise<Map<string, string>> {
  const found = new Map<string, string>();
  for (const name of names) {
    try {
      found.set(name, (await lookup(name)).address);
    } catch {
      // It is said where the name stands.
    }
  }
  return found;
}

function listPem(directory: string): string[] | undefined {
  if (statSync(directory, { throwIfNoEntry: false })?.isDirectory() !== true) return undefined;
  return readdirSync(directory)
    .filter((name) => /\.(pem|crt)$/.test(name))
    .toSorted()
    .map((name) => join(directory, name));
}

async function tell({ yaml, notes, errors }: Composed, output: string | undefined): Promise<void> {
  const { noteText } = await import("./import/notes.ts");
  for (const note of notes) process.stderr.write(`${noteText(note)}\n`);
  process.stderr.write(`${summary(notes)}\n`);
  if (errors.length > 0)
    process.stderr.write(`what was made has errors, to be mended by hand:\n${formatConfigErrors(errors)}\n`);
  if (output === undefined) process.stdout.write(yaml);
  else write(output, yaml);
}

function write(output: string, yaml: string): void {
  try {
    // What is there already was perhaps written by hand.
    writeFileSync(output, yaml, { flag: "wx" });
  } catch (cause) {
    throw new DlbaError("FILE_UNWRITABLE", `${output} can't be written`, {
      cause,
      hint: "name a file that is not there yet",
    });
  }
}

function summary(notes: readonly Note[]): string {
  const count = (kind: Note["kind"]): number => notes.filter((note) => note.kind === kind).length;
  return `${count("left-out")} lines left out, ${count("differs")} that differ, ${count("not-needed")} not needed`;
}
