/** `dlba drain` and `dlba undrain`: takes a node out of service without breaking a connection, and back in. */
import { InvalidArgumentError, type Command } from "commander";
import { setTimeout as sleep } from "node:timers/promises";
import { DlbaError } from "../conf/errors.ts";
import { CONTROL_TIMEOUT_MS } from "../conf/limits.ts";
import { NODE_STATES } from "../conf/messages.ts";
import { isRecord, parseJson } from "../conf/record.ts";
import type { DrainStatus } from "../net/admin-socket.ts";
import { askAdminAt, nodeName } from "./admin.ts";
import { DEFAULT_RUN_DIR } from "./places.ts";

interface Place {
  readonly runDir: string;
}
interface UndrainOptions extends Place {
  readonly json?: boolean;
}
interface DrainOptions extends UndrainOptions {
  readonly wait?: boolean;
  readonly timeout?: number;
}

const POLL_MS = 1000;
/** A scheduler process that is started again answers within this time, and a wait goes on. */
const AWAY_MS = 10_000;

/** Adds `drain` and `undrain` to the command line. */
export function registerDrain(program: Command): void {
  withPlace(
    program
      .command("drain")
      .description(
        "take a node out of service: it gets nothing new, and keeps what it has (ask the scheduler)",
      ),
  )
    .option("--wait", "until the node has no connection left; tells once a second how many there are")
    .option("--timeout <seconds>", "wait no longer than this, and exit 1 then", seconds)
    .option("--json", "what is left in the end, as one JSON object")
    .action(async (node: string, options: DrainOptions) => drain(node, options));
  withPlace(
    program.command("undrain").description("take a drained node back into service (ask the scheduler)"),
  )
    .option("--json", "how it stands then, as one JSON object")
    .action(async (node: string, options: UndrainOptions) => undrain(node, options));
}

const withPlace = (command: Command): Command =>
  command
    .argument("<node>", "the node's name or number", nodeName)
    .option("--run-dir <directory>", "directory of the scheduler's sockets", DEFAULT_RUN_DIR);

function seconds(text: string): number {
  const value = Number(text);
  if (text.trim() !== "" && value > 0 && value <= 1e6) return value;
  throw new InvalidArgumentError("expected a number of seconds above 0");
}

async function drain(node: string, options: DrainOptions): Promise<void> {
  const answer = await ask(options, "drain", node);
  if (options.wait !== true && options.timeout === undefined) {
    if (options.json === true) return sayJson(await status(options, node));
    return say(node, answer, "draining");
  }
  const timeout_ms = (options.timeout ?? Infinity) * 1000;
  const last = await waitUntilDrained(() => status(options, node), timeout_ms);
  if (options.json === true) sayJson(last);
  else say(last.node, "", last.state);
}

async function undrain(node: string, options: UndrainOptions): Promise<void> {
  const answer = await ask(options, "undrain", node);
  if (options.json === true) sayJson(await status(options, node));
  else say(node, answer, "undrained");
}

function sayJson(status: DrainStatus): void {
  process.stdout.write(`${JSON.stringify(status)}\n`);
}

function say(node: string, answer: string, otherwise: string): void {
  process.stdout.write(`${answer === "" ? `${node}: ${otherwise}` : answer}\n`);
}

/** Polls until nothing is left. Throws DlbaError DRAIN_TIMEOUT or DRAIN_ENDED, or what the scheduler refuses. */
async function waitUntilDrained(poll: () => Promise<DrainStatus>, timeout_ms: number): Promise<DrainStatus> {
  const deadline_ms = performance.now() + timeout_ms;
  for (let isFirst = true; ; isFirst = false) {
    const status = await poll();
    if (isDrained(status)) return status;
    // The command may have been taken in, and not yet be seen in the node's state.
    if (status.state === "up" && !isFirst) throw takenBack(status);
    const left_ms = deadline_ms - performance.now();
    if (left_ms <= 0) throw timedOut(status, timeout_ms);
    process.stderr.write(`${status.node}: ${leftText(status)}\n`);
    await sleep(Math.min(POLL_MS, left_ms));
  }
}

/** A node that is down has lost its connections, so there is nothing to wait for. */
function isDrained({ state, connections_left, buckets_left }: DrainStatus): boolean {
  if (state === "drained" || state === "down") return true;
  return state === "disabled" && connections_left === 0 && buckets_left === 0;
}

/** `812 buckets, 37 connections left` */
function leftText({ state, connections_left, buckets_left }: DrainStatus): string {
  const connections = `${connections_left ?? "an unknown number of"} ${connections_left === 1 ? "connection" : "connections"}`;
  const note = state === "draining" ? "" : ` (${state})`;
  return `${buckets_left} ${buckets_left === 1 ? "bucket" : "buckets"}, ${connections} left${note}`;
}

function timedOut(status: DrainStatus, timeout_ms: number): DlbaError {
  const after = `is not drained after ${timeout_ms / 1000} s`;
  return new DlbaError("DRAIN_TIMEOUT", `${status.node} ${after}: ${leftText(status)}`, {
    hint: `it goes on draining; 'dlba undrain ${status.node}' takes it back into service`,
  });
}

function takenBack({ node }: DrainStatus): DlbaError {
  return new DlbaError("DRAIN_ENDED", `${node} is in service again: someone has undrained it`);
}

async function status(options: Place, node: string): Promise<DrainStatus> {
  const text = await askPatiently(options, "drain-status", node);
  const status = readStatus(parseJson(text));
  if (status !== undefined) return status;
  throw new DlbaError("NO_ANSWER", `the scheduler's answer can't be read: ${text.slice(0, 200)}`);
}

function readStatus(value: unknown): DrainStatus | undefined {
  if (!isRecord(value)) return undefined;
  const { node, connections_left, buckets_left } = value;
  const state = NODE_STATES.find((name) => name === value["state"]);
  if (typeof node !== "string" || state === undefined || typeof buckets_left !== "number") return undefined;
  if (connections_left !== null && typeof connections_left !== "number") return undefined;
  return { node, state, connections_left, buckets_left };
}

/** A wait outlives the scheduler process: it may be started again meanwhile. */
async function askPatiently(options: Place, command: string, node: string): Promise<string> {
  const end_ms = performance.now() + AWAY_MS;
  for (;;) {
    try {
      return await ask(options, command, node);
    } catch (error) {
      const isAway = error instanceof DlbaError && ["NOT_RUNNING", "NO_ANSWER"].includes(error.code);
      if (!isAway || performance.now() > end_ms) throw error;
      process.stderr.write("the scheduler process does not answer\n");
      await sleep(POLL_MS);
    }
  }
}

async function ask({ runDir }: Place, command: string, node: string): Promise<string> {
  return askAdminAt(runDir, `${command} ${node}`, CONTROL_TIMEOUT_MS);
}
