/** `dlba join`: this host gets what it needs to be a node of an array, from one of its nodes, with a token made there. */
import type { Command } from "commander";
import { text as readAll } from "node:stream/consumers";
import { DlbaError } from "../conf/errors.ts";
import { productVersion } from "../conf/version.ts";
import { readMachine, type Machine } from "./init/machine.ts";
import type { Parcel } from "./join/parcel.ts";
import type { Config } from "../conf/schema.ts";

interface JoinOptions {
  readonly json?: boolean;
}

/** Adds `join` to the command line. */
export function registerJoin(program: Command): void {
  program
    .command("join")
    .description("make this host a node of an array, with a token that 'dlba token' on one of its nodes made")
    .argument("[token]", "the token; left out or -: read from standard input")
    .option("--json", "what was written and what to do next, as one JSON object")
    .action(join);
}

/** Throws DlbaError: USAGE, and as `arrive` and `keepParcel` do. */
async function join(given: string | undefined, { json = false }: JoinOptions): Promise<void> {
  const { arrive, keepParcel } = await import("./join/arrival.ts");
  const { readToken } = await import("./join/token.ts");
  const isGiven = given !== undefined && given !== "-";
  const token = readToken(isGiven ? given : await readAll(process.stdin));
  const machine = readMachine();
  const addresses = machine.interfaces.flatMap((each) => each.addresses.map(({ address }) => address));
  const hello = { join: 1, version: productVersion(), hostname: machine.hostname, addresses } as const;
  let config: Config | undefined;
  const parcel = await arrive(token, hello, (parcel) => (config = keepParcel(parcel)));
  if (config === undefined) throw new DlbaError("JOIN_FAILED", "nothing was written");
  const { nodeLine } = await import("./join/parcel.ts");
  const { address, interfaceName } = placeOf(machine, config);
  const line = parcel.node === null ? nodeLine(config, machine.hostname, address, interfaceName) : undefined;
  tell(parcel, config, line, json);
}

/** Where this host would be as a node: on the interface that the other nodes have, or that leads out of here. */
function placeOf(machine: Machine, config: Config): { address: string; interfaceName: string } {
  const names = [config.nodes[0]?.interface, machine.defaultInterface];
  const found =
    names
      .map((name) => machine.interfaces.find((each) => each.name === name))
      .find((each) => each !== undefined) ?? machine.interfaces[0];
  return { address: found?.addresses[0]?.address ?? "ADDRESS", interfaceName: found?.name ?? "INTERFACE" };
}

function tell(parcel: Parcel, config: Config, line: string | undefined, json: boolean): void {
  const { key, files, missing, node, version } = parcel;
  const written = [parcel.config.path, key.path, ...files.map(({ path }) => path)];
  const next = nextSteps(parcel, line);
  if (json) {
    const result = { array: config.array.name, node, written, missing, node_to_add: line ?? null, next };
    process.stdout.write(`${JSON.stringify(result)}\n`);
    return;
  }
  if (version !== productVersion()) {
    process.stderr.write(`note: the array has dlba ${version}, this host ${productVersion()}\n`);
  }
  const who =
    node === null
      ? `no node of array ${config.array.name} has an address of this host`
      : `this host is ${node} of array ${config.array.name}`;
  process.stdout.write(
    `written: ${written.join(", ")}\n${who}\nnext:\n${next.map((each) => `  ${each}\n`).join("")}`,
  );
}

function nextSteps({ config, missing, node }: Parcel, line: string | undefined): string[] {
  const bring =
    missing.length === 0 ? [] : [`bring from another node, keys with mode 0600: ${missing.join(", ")}`];
  const start = (name: string): string[] => [
    `dlba doctor --config ${config.path} --node ${name}`,
    `dlba run --config ${config.path} --node ${name}`,
  ];
  if (node !== null) return [...bring, ...start(node)];
  return [
    ...bring,
    `on a node of the array, add to nodes in its configuration: ${line}`,
    "bring that to all nodes there, and join here once more with a new token, for the configuration with this node in it",
  ];
}
