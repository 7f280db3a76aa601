/**
 * A client that keeps many HTTP connections, some busy and some idle, and makes new ones at a rate; at the end it
 * tells of each what became of it. Run as `node lab/flows.ts` on a host of the lab; see flow-tools.ts.
 *
 * It reads a FlowPlan as the first line of its standard input, and ends when that ends: each kept connection gets a last
 * request then, so that one that was lost in silence is noticed. Each further line is answered with the number of
 * flows, answers and errors so far, as a line of JSON; the last line is the list of all flows.
 */
import { connect, type Socket } from "node:net";
import { createInterface } from "node:readline";
import {
  type Flow,
  type FlowGroup,
  type FlowPlan,
  type FreshGroup,
  type HeldGroup,
  monotonicNow_ms,
} from "./flow-report.ts";

/** More flows than this are not made. */
const MAX_FLOWS = 300_000;
const MAX_ANSWER_BYTES = 65_536;
const REOPEN_MS = 250;
const FRESH_TICK_MS = 10;

type OpenFlow = { -readonly [Key in keyof Flow]: Flow[Key] };

/** A connection and what it waits for. */
interface Connection {
  readonly flow: OpenFlow;
  readonly socket: Socket;
  readonly group: FlowGroup;
  /** When the request under way was sent (or the connection begun); undefined between requests. */
  asked_ms: number | undefined;
  received: Buffer;
  timer: NodeJS.Timeout | undefined;
  isLast: boolean;
  isOver: boolean;
}

const flows: OpenFlow[] = [];
const open = new Set<Connection>();
let plan: FlowPlan = { groups: [], answer_within_ms: 0, most_s: 0 };
let isEnding = false;

function openFlow(group: FlowGroup): void {
  if (isEnding || flows.length >= MAX_FLOWS) return;
  const opened_ms = monotonicNow_ms();
  const flow: OpenFlow = {
    group: group.name,
    node: "",
    client_port: 0,
    opened_ms,
    ended_ms: opened_ms,
    answers: 0,
    slowest_ms: 0,
    slowest_at_ms: opened_ms,
    error: null,
  };
  flows.push(flow);
  const socket = connect({ host: group.host, port: group.port, noDelay: true });
  const connection: Connection = {
    flow,
    socket,
    group,
    asked_ms: opened_ms,
    received: Buffer.alloc(0),
    timer: undefined,
    isLast: group.kind === "fresh",
    isOver: false,
  };
  open.add(connection);
  connection.timer = setTimeout(() => end(connection, "no answer in time"), plan.answer_within_ms);
  socket.on("connect", () => {
    flow.client_port = socket.localPort ?? 0;
    send(connection);
  });
  socket.on("data", (bytes) => receive(connection, bytes));
  socket.on("error", (error: NodeJS.ErrnoException) => end(connection, `${error.syscall} ${error.code}`));
  socket.on("end", () => end(connection, connection.asked_ms === undefined ? "closed while idle" : "closed"));
}

/** Asks, with the time of the connection counted to the first answer. */
function ask(connection: Connection): void {
  connection.asked_ms = monotonicNow_ms();
  clearTimeout(connection.timer);
  connection.timer = setTimeout(() => end(connection, "no answer in time"), plan.answer_within_ms);
  send(connection);
}

function send({ socket, group, isLast }: Connection): void {
  const host = group.host.includes(":") ? `[${group.host}]` : group.host;
  const last = isLast ? "Connection: close\r\n" : "";
  socket.write(`GET ${group.path} HTTP/1.1\r\nHost: ${host}:${group.port}\r\n${last}\r\n`);
}

const HEAD_END = "\r\n\r\n";

function receive(connection: Connection, bytes: Buffer): void {
  if (connection.asked_ms === undefined) return end(connection, "an answer that was not asked for");
  connection.received = Buffer.concat([connection.received, bytes]);
  const { received } = connection;
  if (received.length > MAX_ANSWER_BYTES) return end(connection, "too long an answer");
  const headEnd = received.indexOf(HEAD_END);
  if (headEnd < 0) return;
  const head = received.toString("latin1", 0, headEnd + 2);
  const header = (name: string): string =>
    new RegExp(`\r\n${name}: *([^\r]*)\r\n`, "i").exec(head)?.[1] ?? "";
  const whole_bytes = headEnd + HEAD_END.length + Number(header("content-length"));
  if (received.length < whole_bytes) return;
  connection.received = received.subarray(whole_bytes);
  answered(connection, {
    status: Number(head.slice(9, 12)),
    node: header("x-asked-by") || header("x-web-server"),
    isClosing: header("connection").toLowerCase() === "close",
  });
}

interface Answered {
  readonly status: number;
  readonly node: string;
  readonly isClosing: boolean;
}

function answered(connection: Connection, { status, node, isClosing }: Answered): void {
  const { flow, asked_ms = 0 } = connection;
  if (status !== 200) return end(connection, `status ${status}`);
  if (flow.node !== "" && node !== flow.node) return end(connection, `answered by ${node}`);
  flow.node = node;
  flow.answers++;
  const now_ms = monotonicNow_ms();
  if (now_ms - asked_ms > flow.slowest_ms) {
    flow.slowest_ms = now_ms - asked_ms;
    flow.slowest_at_ms = now_ms;
  }
  connection.asked_ms = undefined;
  clearTimeout(connection.timer);
  // A server that is being stopped says that it closes: that is in order.
  if (connection.isLast || isClosing || isSpent(connection)) return end(connection, null);
  if (isEnding) return askLast(connection);
  connection.timer = setTimeout(() => ask(connection), pauseOf(connection.group));
}

function isSpent({ group, flow }: Connection): boolean {
  return group.kind === "held" && group.most_answers !== undefined && flow.answers >= group.most_answers;
}

function pauseOf(group: FlowGroup): number {
  if (group.kind === "fresh") return 0;
  const [least, most] = group.pause_ms;
  return least + Math.random() * (most - least);
}

function askLast(connection: Connection): void {
  connection.isLast = true;
  ask(connection);
}

function end(connection: Connection, error: string | null): void {
  if (connection.isOver) return;
  connection.isOver = true;
  clearTimeout(connection.timer);
  connection.flow.ended_ms = monotonicNow_ms();
  connection.flow.error = error;
  connection.socket.destroy();
  open.delete(connection);
  const { group } = connection;
  if (group.kind === "held" && !isEnding) setTimeout(() => openFlow(group), REOPEN_MS);
  if (isEnding && open.size === 0) finish();
}

function holdGroup(group: HeldGroup): void {
  for (let i = 0; i < group.connections; i++) {
    // Spread over a second, so that they don't all begin at once.
    setTimeout(() => openFlow(group), (i * 1000) / group.connections);
  }
}

function feedGroup(group: FreshGroup): void {
  const started_ms = performance.now();
  let made = 0;
  const timer = setInterval(() => {
    if (isEnding) return clearInterval(timer);
    const due = ((performance.now() - started_ms) * group.per_second) / 1000;
    for (; made < due; made++) openFlow(group);
  }, FRESH_TICK_MS);
}

function start(text: string): void {
  plan = JSON.parse(text);
  for (const group of plan.groups) {
    if (group.kind === "held") holdGroup(group);
    else feedGroup(group);
  }
  setTimeout(stop, plan.most_s * 1000).unref();
}

function stop(): void {
  if (isEnding) return;
  isEnding = true;
  if (open.size === 0) finish();
  for (const connection of open) if (connection.asked_ms === undefined) askLast(connection);
}

function finish(): void {
  process.stdout.write(`${JSON.stringify(flows)}\n`, () => process.exit(0));
}

function tellSoFar(): void {
  const answers = flows.reduce((sum, flow) => sum + flow.answers, 0);
  const errors = flows.filter(({ error }) => error !== null).length;
  console.log(JSON.stringify({ flows: flows.length, open: open.size, answers, errors }));
}

let isStarted = false;
const input = createInterface({ input: process.stdin });
input.on("line", (line) => {
  if (isStarted) return tellSoFar();
  isStarted = true;
  start(line);
});
input.on("close", stop);
