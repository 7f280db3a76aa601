/** Whether a node could run a configuration that is to be pushed, by all that can be found out without running it. */
import { connect } from "node:net";
import { describeError, DlbaError, isOperatingError } from "../../conf/errors.ts";
import { DOCTOR_CONNECT_MS, PUSH_PROBES } from "../../conf/limits.ts";
import type { Config, NodeConfig } from "../../conf/schema.ts";
import { textGeneration, type Generation } from "../generation.ts";
import { hostFacts, startProblems } from "../start-checks.ts";
import type { Judgement } from "./desk.ts";

export interface JudgeOptions {
  readonly node: string;
  readonly pinDir: string;
  /** What the node runs now. */
  readonly running: () => Config;
  /** What of it would need a restart; throws when ports are not free. */
  readonly needs: (after: Generation) => readonly string[];
}

/** Errors of the text, its files, the machine and its ports; and warnings: certificates out of date, web servers that can't be connected. */
export async function judge(
  { node: name, pinDir, running, needs }: JudgeOptions,
  text: string,
  file: string,
  onRestart: boolean,
): Promise<Judgement> {
  let after: Generation;
  try {
    after = textGeneration(text, file);
  } catch (error) {
    return { reasons: linesOf(error), warnings: [] };
  }
  const before = running();
  const node = after.config.nodes.find((each) => each.name === name);
  if (node === undefined)
    return {
      reasons: [`there is no node ${name} in it any more (stop that node first, then push again)`],
      warnings: [],
    };
  const reasons = [
    ...membershipReasons(before, after.config),
    ...machineReasons(after.config, node, pinDir),
    ...needReasons(needs, after, onRestart),
  ];
  const warnings =
    reasons.length > 0 ? [] : [...after.warnings, ...(await unreachable(before, after.config))];
  return { reasons, warnings };
}

/** An error may tell of several things, one a line. */
const linesOf = (error: unknown): string[] => {
  if (!(error instanceof DlbaError)) throw error;
  return describeError(error).split("\n");
};

const places = ({ nodes }: Config): Set<string> =>
  new Set(nodes.map(({ number, address }) => `${number} ${address}`));

/** Majorities of before and after must have a node in common, whoever has been started again by then. */
function membershipReasons(before: Config, after: Config): string[] {
  const changed = places(before).symmetricDifference(places(after)).size;
  return changed > 1
    ? ["more than one node comes, goes or gets another address: push these changes one by one"]
    : [];
}

function machineReasons(config: Config, node: NodeConfig, pinDir: string): string[] {
  return startProblems(node, pinDir, hostFacts(config, node, pinDir)).map(describeError);
}

function needReasons(needs: JudgeOptions["needs"], after: Generation, onRestart: boolean): string[] {
  try {
    const names = needs(after);
    if (names.length === 0 || onRestart) return [];
    return [
      `a running node can't change ${names.join(", ")} (push it with --on-restart, then restart one node after the other)`,
    ];
  } catch (error) {
    if (!isOperatingError(error)) throw error;
    return [`a port can't be listened on: ${describeError(error)}`];
  }
}

interface Target {
  readonly what: string;
  readonly address: string;
  readonly port: number;
}

const proxied = ({ pools }: Config): Target[] =>
  pools
    .filter(({ scheduling }) => scheduling !== "direct")
    .flatMap(({ name, servers }) =>
      servers.map(({ id, address, port }) => ({ what: `web server ${id} of pool ${name}`, address, port })),
    );

/** Web servers that are new, a bounded number of them. */
async function unreachable(before: Config, after: Config): Promise<string[]> {
  const known = new Set(proxied(before).map(({ address, port }) => `${address} ${port}`));
  const fresh = proxied(after).filter(({ address, port }) => !known.has(`${address} ${port}`));
  const found = await Promise.all(fresh.slice(0, PUSH_PROBES).map(probe));
  return found.flatMap((each) => each ?? []);
}

function probe({ what, address, port }: Target): Promise<string | undefined> {
  return new Promise((resolve) => {
    const socket = connect({ host: address, port, timeout: DOCTOR_CONNECT_MS });
    const settle = (reason?: string): void => {
      socket.destroy();
      resolve(
        reason === undefined ? undefined : `${what} (${address} port ${port}) can't be connected: ${reason}`,
      );
    };
    socket.once("connect", () => settle());
    socket.once("timeout", () => settle(`no answer within ${DOCTOR_CONNECT_MS} ms`));
    socket.once("error", (error) => settle("code" in error ? String(error.code) : error.message));
  });
}
