/** `dlba key`: which array key the nodes hold, and another one for all of them while the array runs. */
import type { Command } from "commander";
import { randomBytes } from "node:crypto";
import { DlbaError } from "../conf/errors.ts";
import { arrayKeyOf, keyId, readArrayKey, type ArrayKey } from "../conf/keys.ts";
import { ARRAY_KEY_BYTES } from "../conf/limits.ts";
import { findNode } from "../conf/node.ts";
import type { Config } from "../conf/schema.ts";
import { readMachine } from "./init/machine.ts";
import type { AskNode, Looked } from "./key/asking.ts";
import { DEFAULT_CONFIG_FILE, DEFAULT_STATE_DIR } from "./places.ts";

interface KeyOptions {
  readonly config: string;
  readonly stateDir: string;
  readonly json?: boolean;
}
interface RotateOptions extends KeyOptions {
  readonly without: readonly string[];
  readonly abandon?: boolean;
}

/** Adds `key` to the command line. */
export function registerKey(program: Command): void {
  const key = program.command("key").description("the array key: which one the nodes hold, and another one");
  key
    .command("show")
    .description("the ids of the keys that all nodes hold; an id tells nothing of its key")
    .option("--config <file>", "the array's configuration", DEFAULT_CONFIG_FILE)
    .option("--state-dir <directory>", "where the node keeps what was pushed", DEFAULT_STATE_DIR)
    .option("--json", "as one JSON object")
    .action(show);
  key
    .command("rotate")
    .description(
      "give all nodes another key, or carry on what was begun; no request and no connection is lost",
    )
    .option("--config <file>", "the array's configuration", DEFAULT_CONFIG_FILE)
    .option("--state-dir <directory>", "where the node keeps what was pushed", DEFAULT_STATE_DIR)
    .option(
      "--without <node>",
      "leave a node behind: it has to join again (several times for more)",
      several,
      [],
    )
    .option("--abandon", "give up a change that has begun, as long as no node speaks with the new key")
    .option("--json", "as one JSON object")
    .action(rotate);
}

const several = (value: string, before: readonly string[]): string[] => [...before, value];

interface Array {
  readonly config: Config;
  readonly held: ArrayKey;
  readonly ask: AskNode;
  /** Keys by their ids, as far as they are on this machine. */
  readonly keys: Map<string, Uint8Array>;
}

/** The array, by this machine's files. Throws DlbaError of the configuration, or of the key. */
async function openArray({ config: configFile, stateDir }: KeyOptions): Promise<Array> {
  const { inForce } = await import("./in-force.ts");
  const { nodeAsker } = await import("./key/asking.ts");
  const { config } = inForce(configFile, stateDir);
  const held = readArrayKey(config.array.key_file);
  const keys = new Map(
    [held.current, ...(held.also === undefined ? [] : [held.also])].map((key) => [keyId(key), key]),
  );
  const ask = nodeAsker(config, () => [...keys.values()].map(arrayKeyOf));
  return { config, held, ask, keys };
}

async function show(options: KeyOptions): Promise<void> {
  const { lookAtAll } = await import("./key/asking.ts");
  const { config, held, ask } = await openArray(options);
  const seen = await lookAtAll(
    ask,
    config.nodes.map(({ name }) => name),
  );
  const here = { file: config.array.key_file, current: keyId(held.current), seed: keyId(held.seed) };
  if (options.json === true) {
    const nodes = seen.map(({ node, state, reason }) => ({
      node,
      ...state,
      away: state === undefined ? reason : null,
    }));
    process.stdout.write(`${JSON.stringify({ ...here, nodes })}\n`);
    return;
  }
  const rows = seen.map(
    ({ node, state, reason }) => `${node}: ${state === undefined ? `away: ${reason}` : stateText(state)}`,
  );
  process.stdout.write(`${here.file}: key ${here.current}\n${rows.map((row) => `${row}\n`).join("")}`);
}

function stateText({ current, next, previous, lagging }: NonNullable<Looked["state"]>): string {
  const also =
    next === null ? (previous === null ? "" : `, still hears ${previous}`) : `, hears ${next}, too`;
  const late = lagging.length === 0 ? "" : `; not taken yet by ${lagging.join(", ")}`;
  return `key ${current}${also}${late}`;
}

/** Throws DlbaError KEY_WAITS, KEY_CONFLICT, KEY_ELSEWHERE, KEY_REFUSED, NOT_A_NODE. */
async function rotate(options: RotateOptions): Promise<void> {
  const { carryThrough, lookAtAll } = await import("./key/asking.ts");
  const { changeUnderWay } = await import("./key/stages.ts");
  const { without, abandon = false, json = false } = options;
  const { config, held, ask, keys } = await openArray(options);
  const behind = new Set(without.map((name) => findNode(config, name).name));
  const nodes = config.nodes.map(({ name }) => name).filter((name) => !behind.has(name));
  const tell = (sentence: string): void => void (json || process.stdout.write(`${sentence}\n`));
  const seen = await lookAtAll(ask, nodes);
  if (abandon) {
    await giveUp(ask, seen, tell);
    if (json) process.stdout.write(`${JSON.stringify({ abandoned: true })}\n`);
    return;
  }
  const self = ownName(config, nodes);
  const known = changeUnderWay(seen);
  if (known !== undefined) tell(`a change to key ${known.to} has begun: it goes on`);
  const change = known ?? begin(held, seen, keys);
  await carryThrough({ ask, nodes, self, change, key: keys.get(change.to), tell, pause_ms: 500 });
  const left = [...behind];
  if (json) process.stdout.write(`${JSON.stringify({ key: change.to, left_behind: left })}\n`);
  tell(`all nodes have key ${change.to}, and key ${change.from} is forgotten`);
  for (const name of left) {
    const text = `${name} has been left behind: to have it again, stop it, remove its key file, and have it join (dlba token, dlba join)`;
    process.stderr.write(`note: ${text}\n`);
  }
}

/** A new key, for which all nodes have to be there at the start: a change that can't go on is better not begun. */
function begin(
  held: ArrayKey,
  seen: readonly Looked[],
  keys: Map<string, Uint8Array>,
): { from: string; to: string } {
  const away = seen.find(({ state }) => state === undefined);
  if (away !== undefined) {
    const hint = "wait for it, or leave it behind with --without; it has to join again then";
    throw new DlbaError("KEY_WAITS", `${away.node} is away (${away.reason}): nothing was changed`, { hint });
  }
  const key = randomBytes(ARRAY_KEY_BYTES);
  keys.set(keyId(key), key);
  return { from: keyId(held.current), to: keyId(key) };
}

/** The key must be on a disk before any other node hears of it: this machine has to be a node. */
function ownName(config: Config, nodes: readonly string[]): string {
  const own = new Set(
    readMachine().interfaces.flatMap(({ addresses }) => addresses.map(({ address }) => address)),
  );
  const self = config.nodes.find(({ name, address }) => nodes.includes(name) && own.has(address));
  if (self !== undefined) return self.name;
  const hint = "say it on one of the nodes that are to have the new key";
  throw new DlbaError("NOT_A_NODE", "this machine has the address of none of these nodes", { hint });
}

async function giveUp(
  ask: AskNode,
  seen: readonly Looked[],
  tell: (sentence: string) => void,
): Promise<void> {
  const { orderLine } = await import("./key/orders.ts");
  const { abandoned } = await import("./key/stages.ts");
  const dropped = abandoned(seen);
  for (const { node, id } of dropped) {
    await ask(node, orderLine({ kind: "drop", id }));
    tell(`${node} has dropped key ${id}`);
  }
  tell(dropped.length === 0 ? "no change had begun" : "the change is given up: all is as before");
}
