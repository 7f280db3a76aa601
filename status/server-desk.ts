/**
 * Where web servers are drained, taken out and weighed while the array runs: takes commands from operators of this node and
 * of the others, keeps them, has the workers told, and tells the other nodes.
 */
import { describeError, DlbaError } from "../conf/errors.ts";
import type { Config, NodeConfig } from "../conf/schema.ts";
import { parseJson } from "../conf/record.ts";
import { overridesOf, readServerCommand, writeOverrides, type Override } from "../conf/server-orders.ts";
import { listOf } from "../conf/suggest.ts";
import type { Logger } from "./log.ts";
import { commandOverride, noteOverride, type OrderBook } from "./order-book.ts";
import type { Telling } from "./telling.ts";

export interface ServerDeskOptions {
  /** As it is now: it may be reloaded. */
  readonly config: () => Config;
  readonly node: NodeConfig;
  readonly runDir: string;
  readonly book: OrderBook;
  readonly telling: Telling;
  /** Asks another node's status process; rejects when it has no answer. */
  readonly askNode: (node: NodeConfig, line: string) => Promise<string>;
  readonly log: Logger;
}

/** What other nodes are asked: to take in what was said, and for all that they know. */
const TAKE = "override ";
export const OVERRIDES = "overrides";

export interface ServerDesk {
  /** Carries out an operator's command, here and (unless its first word is `here`) on all other nodes. */
  readonly command: (line: string) => Promise<string>;
  /** Answers another node; undefined when it is no question for this desk. */
  readonly answerNode: (line: string) => Promise<string | undefined>;
  /** Learns from the other nodes what was said while this one was away. */
  readonly catchUp: () => Promise<void>;
}

const HERE = "here ";

export function createServerDesk(options: ServerDeskOptions): ServerDesk {
  const { config, node, runDir, book, telling, askNode, log } = options;
  const others = (): NodeConfig[] => config().nodes.filter(({ number }) => number !== node.number);

  const take = async (
    overrides: readonly Override[],
  ): Promise<{ told: number; workers: number } | undefined> => {
    const news = overrides.filter((override) => noteOverride(book, override));
    if (news.length === 0) return undefined;
    writeOverrides(runDir, [...book.overrides.values()]);
    for (const { pool, id, state, weight } of news)
      log.info({ pool, web_server: id, state, weight }, "a web server stands otherwise now");
    return telling.changed();
  };
  const command = async (line: string): Promise<string> => {
    const isHere = line.startsWith(HERE);
    const read = readServerCommand(config(), isHere ? line.slice(HERE.length) : line);
    const override = commandOverride(book, config(), read, Date.now());
    const told = await take([override]);
    const asked = isHere ? [] : await askAll(others(), askNode, TAKE + JSON.stringify(override));
    const missed = asked.filter(({ failure }) => failure !== "");
    const done = describe(read.id, override, told ?? { told: 0, workers: 0 });
    if (missed.length === 0) return isHere ? `${done} on ${node.name}` : done;
    const reasons = missed.map(({ name, failure }) => `${name} (${failure})`);
    throw new DlbaError("NODES_MISSED", `${done}, but not on ${listOf(reasons, "and")}`, {
      hint: "they learn of it when they start; if they run, give the command again",
    });
  };
  return {
    command,
    answerNode: async (line) => {
      if (line === OVERRIDES) return JSON.stringify([...book.overrides.values()]);
      if (!line.startsWith(TAKE)) return undefined;
      await take(overridesOf([parseJson(line.slice(TAKE.length))], config()));
      return "ok";
    },
    catchUp: async () => {
      const answers = await askAll(others(), askNode, OVERRIDES);
      await take(answers.flatMap(({ answer }) => overridesOf(parseJson(answer), config())));
    },
  };
}

async function askAll(
  nodes: readonly NodeConfig[],
  askNode: ServerDeskOptions["askNode"],
  line: string,
): Promise<{ name: string; answer: string; failure: string }[]> {
  return Promise.all(
    nodes.map(async (node) => {
      const { name } = node;
      try {
        return { name, answer: await askNode(node, line), failure: "" };
      } catch (error) {
        return { name, answer: "", failure: describeError(error) };
      }
    }),
  );
}

const WORDS = { ready: "is ready", drain: "drains", maint: "is in maintenance" } as const;

function describe(
  id: string,
  { pool, state, weight }: Override,
  { told, workers }: { told: number; workers: number },
): string {
  const stands = state === null ? "stands as configured" : WORDS[state];
  const weighs = weight === null ? "" : `, weight ${weight}`;
  const late = told < workers ? ` (${workers - told} of ${workers} workers are yet to be told)` : "";
  return `${id} of pool ${pool} ${stands}${weighs}${late}`;
}
