/**
 * What operators and health checks say of web servers while the array runs: states and weights that stand instead of the
 * configured ones. A node keeps what operators have said in a file of its run directory; of two nodes that were told
 * different things the later one is right.
 */
import { readFileSync, renameSync, writeFileSync } from "node:fs";
import { DlbaError } from "./errors.ts";
import { MAX_WEIGHT } from "./limits.ts";
import { isRecord, parseJson } from "./record.ts";
import type { Config, PoolConfig } from "./schema.ts";
import { listOf, suggestion } from "./suggest.ts";

/** ready: as its weight says; drain: no new sessions, those it has go on; maint: nothing. */
export const SERVER_STATES = ["ready", "drain", "maint"] as const;
export type ServerStateName = (typeof SERVER_STATES)[number];

/** What operators have said of one web server, and when; null where what is configured counts. */
export interface Override {
  readonly pool: string;
  readonly id: string;
  readonly state: ServerStateName | null;
  readonly weight: number | null;
  /** Unix time of the node where it was said. */
  readonly at_ms: number;
}

/** How a web server stands, in the words of who tells a worker: what is null is as configured. */
export interface ServerOrder {
  readonly pool: string;
  readonly id: string;
  readonly state: ServerStateName | null;
  readonly weight: number | null;
  /** Why the node's health checks hold it to be down; null when they don't. */
  readonly complaint: string | null;
}

export const orderKey = ({ pool, id }: Pick<ServerOrder, "pool" | "id">): string => `${pool}/${id}`;

/** One command for one web server. */
export interface ServerCommand {
  readonly pool: string;
  readonly id: string;
  readonly state?: ServerStateName;
  readonly weight?: number;
}

const VERBS = ["server", "weight"] as const;

/**
 * Reads `server POOL/ID STATE` or `weight POOL/ID N`, or the same as HAProxy writes it (`set server POOL/ID state STATE`,
 * `set server POOL/ID weight N`, `set weight POOL/ID N`). Throws DlbaError COMMAND_UNKNOWN, SERVER_UNKNOWN, STATE_UNKNOWN, WEIGHT_INVALID.
 */
export function readServerCommand(config: Config, line: string): ServerCommand {
  const words = line.trim().split(/\s+/);
  const [verb = "", name = "", value = "", ...rest] = words[0] === "set" ? withoutSet(words) : words;
  const known = VERBS.find((each) => each === verb);
  if (known === undefined || rest.length > 0) throw unknownCommand(verb);
  const server = serverNamed(config, name);
  if (known === "weight") return { ...server, weight: readWeight(value) };
  const state = SERVER_STATES.find((each) => each === value);
  if (state !== undefined) return { ...server, state };
  throw new DlbaError(
    "STATE_UNKNOWN",
    `unknown state '${value.slice(0, 80)}'; ${meant(value, SERVER_STATES)}`,
  );
}

/** HAProxy names what is set of a server: its state or its weight. */
function withoutSet([, verb = "", name = "", ...rest]: readonly string[]): string[] {
  const [what, ...values] = rest;
  if (verb !== "server") return [verb, name, ...rest];
  if (what === "state") return [verb, name, ...values];
  return what === "weight" ? ["weight", name, ...values] : [verb, name, ...rest];
}

function readWeight(text: string): number {
  const weight = Number(text);
  if (/^\d{1,3}$/.test(text) && weight <= MAX_WEIGHT) return weight;
  throw new DlbaError(
    "WEIGHT_INVALID",
    `expected a weight from 0 to ${MAX_WEIGHT}, got '${text.slice(0, 80)}'`,
  );
}

function unknownCommand(verb: string): DlbaError {
  return new DlbaError("COMMAND_UNKNOWN", `unknown command '${verb.slice(0, 80)}'; ${meant(verb, VERBS)}`);
}

function meant(word: string, known: readonly string[]): string {
  const close = suggestion(word, known);
  return close === undefined ? `expected ${listOf(known, "or")}` : `did you mean '${close}'?`;
}

const isProxied = ({ scheduling }: PoolConfig): boolean => scheduling !== "direct";

/** Finds `POOL/ID` among the web servers that requests are proxied to. Throws DlbaError SERVER_UNKNOWN. */
function serverNamed({ pools }: Config, name: string): { pool: string; id: string } {
  const all = pools
    .filter(isProxied)
    .flatMap((pool) => pool.servers.map(({ id }) => ({ pool: pool.name, id })));
  const found = all.find((server) => orderKey(server) === name);
  if (found !== undefined) return found;
  const names = all.map(orderKey);
  const close = suggestion(name, names);
  const hint =
    close === undefined ? `there are ${listOf(names.slice(0, 20), "and")}` : `did you mean '${close}'?`;
  throw new DlbaError("SERVER_UNKNOWN", `there is no web server '${name.slice(0, 160)}'; ${hint}`);
}

const fileIn = (runDir: string): string => `${runDir}/servers.json`;

/** What was said before, for the web servers that there are; nothing when no file tells of it. */
export function readOverrides(runDir: string, config: Config): Override[] {
  let text: string;
  try {
    text = readFileSync(fileIn(runDir), "utf8");
  } catch {
    return [];
  }
  return overridesOf(parseJson(text), config);
}

/** Those of a list that can be read and whose web servers exist; a node with another version may have sent it. */
export function overridesOf(value: unknown, config: Config): Override[] {
  const known = new Set(
    config.pools.filter(isProxied).flatMap((pool) => pool.servers.map(({ id }) => `${pool.name}/${id}`)),
  );
  const list = Array.isArray(value) ? value : [];
  return list.flatMap((entry) => readOverride(entry) ?? []).filter((each) => known.has(orderKey(each)));
}

function readOverride(entry: unknown): Override | undefined {
  if (!isRecord(entry)) return undefined;
  const { pool, id, weight, at_ms } = entry;
  if (typeof pool !== "string" || typeof id !== "string" || typeof at_ms !== "number") return undefined;
  const state = SERVER_STATES.find((name) => name === entry["state"]) ?? null;
  const isWeight =
    typeof weight === "number" && Number.isInteger(weight) && weight >= 0 && weight <= MAX_WEIGHT;
  return { pool, id, state, weight: isWeight ? weight : null, at_ms };
}

/** Keeps them for whoever starts next. Written aside and renamed: nobody ever reads half of it. */
export function writeOverrides(runDir: string, overrides: readonly Override[]): void {
  const aside = `${fileIn(runDir)}.new`;
  writeFileSync(aside, `${JSON.stringify(overrides)}\n`, { mode: 0o600 });
  renameSync(aside, fileIn(runDir));
}
