/** How `dlba key` asks the nodes, and carries a change through them. */
import { setTimeout as sleep } from "node:timers/promises";
import { describeError, DlbaError } from "../../conf/errors.ts";
import type { ArrayKey } from "../../conf/keys.ts";
import { KEY_ASK_MS, KEY_AWAY_ROUNDS, KEY_ROUNDS } from "../../conf/limits.ts";
import type { Config, NodeConfig } from "../../conf/schema.ts";
import { listOf } from "../../conf/suggest.ts";
import { controlClient } from "../../net/control-tls.ts";
import { orderLine, readKeyAnswer, STATE_LINE } from "./orders.ts";
import { nextStep, type Change, type KeyOrder, type KeyState, type SeenNode, type Step } from "./stages.ts";

/** Asks a node by a line; rejects with DlbaError when there is no answer, and KEY_REFUSED when it is a refusal. */
export type AskNode = (node: string, line: string) => Promise<KeyState>;

/** Over the nodes' control plane; `keys` are tried one after the other: which one a node hears depends on its stage. */
export function nodeAsker({ nodes, status }: Config, keys: () => readonly ArrayKey[]): AskNode {
  return async (name, line) => {
    const node = nodes.find((each) => each.name === name)!;
    let failure: unknown;
    for (const arrayKey of keys()) {
      try {
        return await askOne(node, status.port, arrayKey, line);
      } catch (error) {
        if (!(error instanceof DlbaError) || error.code !== "CONTROL_FAILED") throw error;
        failure ??= error;
      }
    }
    throw failure;
  };
}

async function askOne(
  { name, address }: NodeConfig,
  port: number,
  arrayKey: ArrayKey,
  line: string,
): Promise<KeyState> {
  const answer = readKeyAnswer(
    await controlClient({ address, port, arrayKey, line, timeout_ms: KEY_ASK_MS }),
  );
  if (answer === undefined) throw new DlbaError("KEY_NO_ANSWER", `${name} gives no answer that makes sense`);
  if ("refused" in answer) throw new DlbaError("KEY_REFUSED", `${name} refuses: ${answer.refused}`);
  return answer;
}

export interface Looked extends SeenNode {
  /** Why a node is away. */
  readonly reason: string;
}

/** How all of these nodes stand. */
export const lookAtAll = (ask: AskNode, nodes: readonly string[]): Promise<Looked[]> =>
  Promise.all(
    nodes.map(async (node) => {
      try {
        return { node, state: await ask(node, STATE_LINE), reason: "" };
      } catch (error) {
        if (!(error instanceof DlbaError)) throw error;
        return { node, state: undefined, reason: describeError(error) };
      }
    }),
  );

export interface Carrying {
  readonly ask: AskNode;
  readonly nodes: readonly string[];
  readonly self: string;
  readonly change: Change;
  /** The key that `change.to` names, if it is at hand here. */
  readonly key: Uint8Array | undefined;
  readonly tell: (sentence: string) => void;
  /** Between two looks at nodes that lag. */
  readonly pause_ms: number;
}

const DONE: Readonly<Record<"prepare" | "use" | "forget", string>> = {
  prepare: "hears both keys now",
  use: "speaks with the new key now",
  forget: "has forgotten the old key",
};

/**
 * Carries a change through, or as far as it goes. Throws DlbaError: KEY_WAITS (a node is away or lags: nothing is harmed, and the
 * same command goes on later), KEY_CONFLICT, KEY_ELSEWHERE (the key is on another node), KEY_REFUSED.
 */
export async function carryThrough(carrying: Carrying): Promise<void> {
  const { ask, nodes, self, change, pause_ms } = carrying;
  for (let waited = 0; ; waited++) {
    const seen = await lookAtAll(ask, nodes);
    const step = nextStep(seen, change, self);
    if (step.kind === "done") return;
    const failure = step.kind === "wait" ? waits(step, seen) : await give(carrying, step, seen);
    // Processes that lag will come; a node that does not answer may be gone for long.
    const most = seen.some(({ state }) => state === undefined) ? KEY_AWAY_ROUNDS : KEY_ROUNDS;
    if (failure !== undefined && waited >= most) throw failure;
    if (failure !== undefined) await sleep(pause_ms);
  }
}

/** Gives orders until one gets no answer, and tells that: whether it was carried out, a look will show. */
async function give(
  { ask, change, key, tell }: Carrying,
  { kind, nodes }: Exclude<Step, { kind: "wait" | "done" }>,
  seen: readonly Looked[],
): Promise<DlbaError | undefined> {
  const order = orderOf(kind, change, key, seen);
  for (const node of nodes) {
    try {
      await ask(node, orderLine(order));
    } catch (error) {
      if (error instanceof DlbaError && error.code !== "KEY_REFUSED") return error;
      throw error;
    }
    tell(`${node} ${DONE[kind]}`);
  }
  return undefined;
}

function orderOf(
  kind: "prepare" | "use" | "forget",
  { from, to }: Change,
  key: Uint8Array | undefined,
  seen: readonly Looked[],
): KeyOrder {
  if (kind !== "prepare") return { kind, id: to };
  if (key !== undefined) return { kind, from, key };
  const holders = seen.filter(({ state }) => state?.next === to || state?.current === to);
  const hint = `say it again on ${listOf(
    holders.map(({ node }) => node),
    "or",
  )}`;
  throw new DlbaError("KEY_ELSEWHERE", `key ${to}, which others are to have, is not on this node`, { hint });
}

const STANDING = {
  use: "the old key is still in use",
  forget: "the old key is still heard",
} as const;

function waits({ stage, nodes }: Extract<Step, { kind: "wait" }>, seen: readonly Looked[]): DlbaError {
  const why = nodes.map((node) => {
    const { state, reason } = seen.find((each) => each.node === node)!;
    if (state === undefined) return `${node} is away (${reason})`;
    return `${node}: ${listOf(state.lagging, "and")} has not taken the key yet`;
  });
  const hint =
    "say the same again when that is over; a node that is gone for good is left behind with --without";
  return new DlbaError("KEY_WAITS", `${why.join("; ")}: ${STANDING[stage]}, and the array goes on as it is`, {
    hint,
  });
}
