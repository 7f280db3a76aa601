/** Which array a command is for: from a node, or from anywhere with the array key. */
import { isIP } from "node:net";
import { Option, type Command } from "commander";
import { DlbaError } from "../../conf/errors.ts";
import { readArrayKey } from "../../conf/keys.ts";
import { PUSH_ASK_MS } from "../../conf/limits.ts";
import { isRecord, parseJson } from "../../conf/record.ts";
import { listOf } from "../../conf/suggest.ts";
import { askAdmin } from "../../net/admin-socket.ts";
import { readText } from "../generation.ts";
import { DEFAULT_RUN_DIR, supervisorSocket } from "../places.ts";
import { notReached } from "../show.ts";
import { peersOf, realWorld } from "./control.ts";
import { readPeers, type Peer } from "./messages.ts";
import { askStates, latestOf, type PushWorld, type States } from "./proposer.ts";

export interface Place {
  readonly runDir: string;
  readonly config?: string;
  readonly key?: string;
  readonly node?: readonly string[];
}

export interface Target {
  readonly world: PushWorld;
  readonly peers: readonly Peer[];
  readonly states: States;
}

const DEFAULT_PORT = 8473;

/** Adds the options that say which array is meant. */
export const withPlace = (command: Command): Command =>
  command
    .option("--run-dir <directory>", "on a node: directory of its sockets", DEFAULT_RUN_DIR)
    .option("--config <file>", "elsewhere: a configuration file that names the nodes")
    .option("--key <file>", "elsewhere: the array key, if it is not where the configuration says")
    .addOption(
      new Option(
        "--node <address...>",
        "elsewhere: addresses of nodes, with :PORT ([...]:PORT for IPv6) unless that is 8473",
      ),
    );

/**
 * Asks any node who the others are, and all of them how they stand. `file` is what to go by where no node runs. Throws DlbaError
 * ARRAY_NOT_REACHED, NOT_RUNNING, USAGE, or of a file that can't be read.
 */
export async function reachArray(place: Place, file?: string): Promise<Target> {
  const { keyFile, seeds } = await seedsOf(place, file);
  readArrayKey(keyFile);
  const world = realWorld(() => readArrayKey(keyFile));
  const first = await askStates(world, seeds);
  const latest = latestOf(first);
  const known = first.states.find(({ state }) => state.current.number === latest?.number);
  if (known === undefined) {
    const reasons = first.away.map(({ node, text }) => `${node} (${text})`);
    throw new DlbaError("ARRAY_NOT_REACHED", `no node answers: ${listOf(reasons, "and")}`, {
      hint: "does 'dlba run' run there, is push.port open, and is the array key the same?",
    });
  }
  const { peers } = known.state;
  const isSame = JSON.stringify(peers) === JSON.stringify(seeds);
  return { world, peers, states: isSame ? first : await askStates(world, peers) };
}

interface Seeds {
  readonly keyFile: string;
  readonly seeds: readonly Peer[];
}

async function seedsOf({ runDir, config, key, node }: Place, file: string | undefined): Promise<Seeds> {
  if (node !== undefined) {
    const keyFile = key ?? (config === undefined ? undefined : readText(config).config.array.key_file);
    if (keyFile === undefined) throw new DlbaError("USAGE", "--node needs --key, too");
    return { keyFile, seeds: node.map(seedOf) };
  }
  if (config !== undefined || key !== undefined) return seedsIn(config ?? file, key);
  try {
    return await ownArray(supervisorSocket(runDir));
  } catch (error) {
    const isElsewhere = error instanceof DlbaError && error.code === "NOT_RUNNING";
    if (isElsewhere && file !== undefined) return seedsIn(file, undefined);
    throw error;
  }
}

function seedsIn(file: string | undefined, key: string | undefined): Seeds {
  if (file === undefined) throw new DlbaError("USAGE", "--key needs --config or --node, too");
  const { config } = readText(file);
  return { keyFile: key ?? config.array.key_file, seeds: peersOf(config) };
}

/** `192.0.2.1`, `192.0.2.1:8473`, `2001:db8::1`, `[2001:db8::1]:8473` */
function seedOf(text: string, i: number): Peer {
  const [, bracketed, plain, port] = /^(?:\[([^\]]+)\]|([^:]+))(?::(\d{1,5}))?$/.exec(text) ?? [];
  const address = bracketed ?? plain ?? text;
  if (isIP(address) === 0 || Number(port ?? 1) > 65_535) {
    throw new DlbaError(
      "USAGE",
      `--node ${text}: expected an IP address, such as 192.0.2.1 or [2001:db8::1]:${DEFAULT_PORT}`,
    );
  }
  return { number: i, name: text, address, port: Number(port ?? DEFAULT_PORT) };
}

/** The array of the node that runs on this machine, as its supervisor tells. */
async function ownArray(path: string): Promise<Seeds> {
  let told: unknown;
  try {
    told = parseJson(await askAdmin({ path, line: "array", timeout_ms: PUSH_ASK_MS, process: "supervisor" }));
  } catch (error) {
    throw error instanceof Error ? notReached(path, error) : error;
  }
  const seeds = isRecord(told) ? readPeers(told["peers"]) : undefined;
  if (!isRecord(told) || seeds === undefined || typeof told["key_file"] !== "string")
    throw new DlbaError("NO_ANSWER", "the node's answer can't be read");
  return { keyFile: told["key_file"], seeds };
}
