/**
 * A daemon's side of the tables: it connects to the node's status process and answers each question with its
 * rows. Nothing but events is sent unasked, so an idle daemon spends nothing on it.
 */
import { createConnection, type Socket } from "node:net";
import { describeError } from "../conf/errors.ts";
import {
  EVENTS_WAITING,
  ORDERS_LINE_BYTES,
  PUBLISH_LINE_BYTES,
  PUBLISH_RETRY_MAX_MS,
  RESTART_BACKOFF_MIN_MS,
} from "../conf/limits.ts";
import {
  QUESTION_TOPICS,
  type Answer,
  type EventMessage,
  type Hello,
  type NodeEvent,
  type PublishedBody,
  type Question,
  type Topic,
} from "../conf/messages.ts";
import { isRecord, parseJson } from "../conf/record.ts";
import { lineReader } from "../net/lines.ts";
import { eventOf } from "./event-kinds.ts";
import { onLogLine, type Logger } from "./log.ts";

export interface PublishOptions {
  /** The status process' socket, `${runDir}/publish.sock`. */
  readonly path: string;
  readonly hello: Hello;
  /** Makes the rows for a question. What it throws is logged, and the question stays without an answer. */
  readonly answer: (topic: Topic, question: Question) => PublishedBody | Promise<PublishedBody>;
  /** The status process is gone, and what it has told may be true no longer. */
  readonly onAway?: () => void;
  readonly log: Logger;
}

interface Publisher {
  readonly options: PublishOptions;
  socket: Socket | undefined;
  retry: NodeJS.Timeout | undefined;
  backoff_ms: number;
  isClosed: boolean;
  /** Events from while the status process was away. */
  waiting: NodeEvent[];
}

/**
 * Publishes until closed. The connection is made anew, with growing pauses, whenever the status process is away;
 * neither it nor the pauses keep the process alive.
 */
export function publish(options: PublishOptions): { close: () => void } {
  const publisher: Publisher = {
    options,
    socket: undefined,
    retry: undefined,
    backoff_ms: RESTART_BACKOFF_MIN_MS,
    isClosed: false,
    waiting: [],
  };
  const { process, worker } = options.hello;
  const deafen = onLogLine((sentence, line) => {
    const event = eventOf(sentence, line, process, worker, Date.now());
    if (event !== undefined) tellEvent(publisher, event);
  });
  connect(publisher);
  return {
    close: () => {
      deafen();
      publisher.isClosed = true;
      clearTimeout(publisher.retry);
      publisher.socket?.destroy();
    },
  };
}

function connect(publisher: Publisher): void {
  const { path, hello } = publisher.options;
  const socket = createConnection({ path });
  publisher.socket = socket;
  socket.unref();
  let isGreeted = false;
  const lines = lineReader(
    ORDERS_LINE_BYTES,
    (line) => void answerQuestion(publisher, socket, line),
    () => socket.destroy(),
  );
  socket.on("connect", () => {
    publisher.backoff_ms = RESTART_BACKOFF_MIN_MS;
    isGreeted = true;
    socket.write(`${JSON.stringify(hello)}\n`);
    for (const event of publisher.waiting.splice(0)) sendEvent(socket, event);
  });
  socket.on("data", lines.push);
  socket.on("error", (error) =>
    publisher.options.log.debug({ reason: error.message }, "the status process is away"),
  );
  socket.on("close", () => {
    if (isGreeted) publisher.options.onAway?.();
    reconnectLater(publisher);
  });
}

/** An event that the status process can't take now waits, as one of a bounded number. */
function tellEvent(publisher: Publisher, event: NodeEvent): void {
  const { socket, waiting } = publisher;
  const takes = socket !== undefined && !socket.connecting && socket.writable;
  if (takes && socket.writableLength <= PUBLISH_LINE_BYTES) sendEvent(socket, event);
  else if (waiting.push(event) > EVENTS_WAITING) waiting.shift();
}

function sendEvent(socket: Socket, event: NodeEvent): void {
  const message: EventMessage = { event };
  socket.write(`${JSON.stringify(message)}\n`);
}

function reconnectLater(publisher: Publisher): void {
  if (publisher.isClosed) return;
  publisher.retry = setTimeout(() => connect(publisher), publisher.backoff_ms).unref();
  publisher.backoff_ms = Math.min(publisher.backoff_ms * 2, PUBLISH_RETRY_MAX_MS);
}

async function answerQuestion(publisher: Publisher, socket: Socket, line: string): Promise<void> {
  const question = readQuestion(line);
  if (question === undefined) return void socket.destroy();
  try {
    const body = await publisher.options.answer(question.topic, question);
    const answer: Answer = { id: question.id, body };
    // A status process that asks but does not read must not make this process grow.
    if (socket.writableLength <= PUBLISH_LINE_BYTES) socket.write(`${JSON.stringify(answer)}\n`);
  } catch (error) {
    publisher.options.log.warn(
      { topic: question.topic, reason: describeError(error) },
      "a question of the status process could not be answered",
    );
  }
}

function readQuestion(line: string): Question | undefined {
  const message = parseJson(line);
  if (!isRecord(message)) return undefined;
  const topic = QUESTION_TOPICS.find((topic) => topic === message["topic"]);
  return isQuestion(message) && topic !== undefined ? message : undefined;
}

/** The socket is our own user's alone, and what it says has its sender's type. */
const isQuestion = (message: object): message is Question =>
  "id" in message &&
  typeof message.id === "number" &&
  (!("orders" in message) || Array.isArray(message.orders));
