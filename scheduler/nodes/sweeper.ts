/** The sweep's edge: asks the nodes' status processes over the control transport, and keeps what they said. */
import { setTimeout as sleep } from "node:timers/promises";
import type { ArrayKey } from "../../conf/keys.ts";
import { describeError, DlbaError } from "../../conf/errors.ts";
import type { NodeStatus } from "../../conf/messages.ts";
import type { NodeConfig } from "../../conf/schema.ts";
import { controlClient } from "../../net/control-tls.ts";
import type { Logger } from "../../status/log.ts";
import {
  startSweep,
  sweepAgain,
  sweepAnswered,
  sweepUnanswered,
  type SweepChange,
  type SweepSettings,
  type SweepTurn,
} from "./sweep.ts";

export interface SweeperOptions extends SweepSettings {
  readonly nodes: readonly NodeConfig[];
  /** Nodes that count as failed until they answer. */
  readonly failed: ReadonlySet<number>;
  readonly port: number;
  readonly timeout_ms: number;
  readonly arrayKey: ArrayKey;
  /** Why a node with this status serves nobody; empty when it serves. */
  readonly complaintOf: (status: NodeStatus) => string;
  readonly log: Logger;
  readonly onChange: (change: SweepChange) => void;
}
export interface Sweeper {
  last_sweep_at_ms: number | null;
  last_sweep_took_ms: number | null;
  /** The last answer of each node that is not failed, by number. */
  readonly answers: Map<number, NodeStatus>;
  /** Ends a pause between two rounds: something is known to have changed. */
  hurry(): void;
  stop(): void;
}

/** Sweeps until stopped. */
export function startSweeper(options: SweeperOptions): Sweeper {
  const numbers = options.nodes.map(({ number }) => number);
  const sweeper = {
    last_sweep_at_ms: null as number | null,
    last_sweep_took_ms: null as number | null,
    answers: new Map<number, NodeStatus>(),
    isStopped: false,
    timer: undefined as NodeJS.Timeout | undefined,
    again: () => {},
    hurry: () => {
      if (sweeper.timer === undefined) return;
      clearTimeout(sweeper.timer);
      sweeper.again();
    },
    stop: () => {
      sweeper.isStopped = true;
      clearTimeout(sweeper.timer);
    },
  };
  const take = (turn: SweepTurn): void => {
    sweeper.last_sweep_at_ms = turn.state.last_sweep_at_ms;
    sweeper.last_sweep_took_ms = turn.state.last_sweep_took_ms;
    if (turn.change !== undefined) {
      if (turn.change.failed) sweeper.answers.delete(turn.change.node);
      options.onChange(turn.change);
    }
    const { step, state } = turn;
    if (step.kind === "ask") return void ask(step.node, turn);
    sweeper.again = () => {
      sweeper.timer = undefined;
      take(sweepAgain(state, options, Date.now()));
    };
    sweeper.timer = setTimeout(sweeper.again, step.delay_ms);
  };
  const ask = async (number: number, { state }: SweepTurn): Promise<void> => {
    const tryEnd_ms = performance.now() + options.timeout_ms;
    const { status, reason } = await askStatus(options, number);
    // A refusal comes at once, and three of them within a millisecond would fail a node whose status process is
    // just being started again: so every try that counts takes its full time.
    if (reason !== "" && !state.failed.has(number))
      await sleep(Math.max(0, tryEnd_ms - performance.now()), undefined, { ref: false });
    if (sweeper.isStopped) return;
    if (status === undefined || reason !== "")
      return take(sweepUnanswered(state, options, Date.now(), reason));
    sweeper.answers.set(number, status);
    take(sweepAnswered(state, options, Date.now()));
  };
  take(startSweep(numbers, options.failed, options, Date.now()));
  return sweeper;
}

/** One question to one node; a reason when it gave no answer that can be used, or one that says it serves nobody. */
async function askStatus(
  options: SweeperOptions,
  number: number,
): Promise<{ readonly status?: NodeStatus; readonly reason: string }> {
  const node = options.nodes.find((node) => node.number === number);
  try {
    if (node === undefined) throw new DlbaError("NODE_UNKNOWN", `there is no node ${number}`);
    const { port, arrayKey, timeout_ms } = options;
    const status = readStatus(
      await controlClient({ address: node.address, port, arrayKey, timeout_ms, line: "status" }),
      number,
    );
    return { status, reason: options.complaintOf(status) };
  } catch (error) {
    options.log.debug({ peer: node?.name, reason: describeError(error) }, "a node gave no status");
    return { reason: "it does not answer the sweep" };
  }
}

/** Reads an answer's line. The sender holds the array key; this catches a wrong address, not a forger. */
export function readStatus(line: string, number: number): NodeStatus {
  const status: Partial<NodeStatus> = JSON.parse(line);
  const { hits, open_connections, workers, workers_accepting, web_servers } = status;
  const isWhole = [hits, open_connections, workers, workers_accepting].every(
    (value) => typeof value === "number",
  );
  if (!isWhole || !Array.isArray(web_servers)) {
    throw new DlbaError("STATUS_INVALID", "the answer is not a node's status");
  }
  if (status.number !== number) {
    throw new DlbaError("STATUS_INVALID", `node ${status.number} answered in place of node ${number}`);
  }
  return {
    number,
    avg_response_time_us: status.avg_response_time_us ?? null,
    hits: hits ?? 0,
    open_connections: open_connections ?? 0,
    open_by_vserver: status.open_by_vserver ?? {},
    workers: workers ?? 0,
    workers_accepting: workers_accepting ?? 0,
    web_servers,
  };
}
