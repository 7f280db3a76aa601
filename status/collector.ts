/** Asks the processes of a node for their rows. They connect; a process that ended is gone with its connection. */
import type { Socket } from "node:net";
import {
  PROCESS_NAMES,
  type Answer,
  type EventMessage,
  type Hello,
  type NodeEvent,
  type PublishedBody,
  type Question,
  type Topic,
  type WorkerReport,
} from "../conf/messages.ts";
import { PUBLISH_LINE_BYTES, PUBLISHERS } from "../conf/limits.ts";
import { isRecord, parseJson } from "../conf/record.ts";
import { lineReader } from "../net/lines.ts";
import { listenUnix } from "../net/unix-server.ts";
import type { Published } from "./info.ts";
import type { Telling } from "./telling.ts";
import { workerHistory } from "./worker-history.ts";

export interface Collector {
  /** Asks everyone who may know, at once. Askers of the same topic at the same time share one round. */
  readonly ask: (topic: Topic) => Promise<readonly Published[]>;
  /** The last counters of all workers that are not among these answers: see `worker-history.ts`. */
  readonly absent: (published: readonly Published[]) => WorkerReport[];
  readonly close: () => Promise<void>;
}

export interface CollectorHears {
  /** Every round of rows. */
  readonly onRows: (published: readonly Published[], absent: WorkerReport[]) => void;
  /** What happened in a process. */
  readonly onEvent: (event: NodeEvent) => void;
  /** Workers are told what it has for them. */
  readonly telling: Telling;
}

interface Publisher {
  readonly socket: Socket;
  hello: Hello | undefined;
  readonly waiting: Map<number, (body: PublishedBody | null) => void>;
}

/** Listens for publishers at `path`; each has `answer_ms` for an answer. `hears` is told what comes. */
export async function collect(
  path: string,
  answer_ms: number,
  hears: Partial<CollectorHears> = {},
): Promise<Collector> {
  const publishers = new Set<Publisher>();
  const history = workerHistory();
  const rounds = new Map<Topic, Promise<readonly Published[]>>();
  let lastId = 0;
  const server = await listenUnix({
    path,
    mode: 0o600,
    connections: PUBLISHERS,
    onConnection: (socket) =>
      greet(socket, publishers, hears.onEvent, (publisher) => {
        if (hears.telling === undefined || publisher.hello?.process !== "dlba-server") return;
        const left = hears.telling.join(async (orders, is_last) => {
          const question: Question = { id: ++lastId, topic: "orders", orders, is_last };
          return (await askOne(publisher, question, answer_ms)) !== null;
        });
        socket.on("close", left);
      }),
  });

  const round = async (topic: Topic): Promise<readonly Published[]> => {
    const asked = [...publishers].filter(({ hello }) => hello !== undefined && mayKnow(hello, topic));
    const published = await Promise.all(
      asked.map(async (publisher) => ({
        hello: publisher.hello!,
        body: await askOne(publisher, { id: ++lastId, topic }, answer_ms),
      })),
    );
    for (const { hello, body } of published) if (body?.kind === "worker") history.note(hello, body);
    if (topic === "rows") hears.onRows?.(published, history.absent(published));
    return published;
  };
  return {
    ask: (topic) => {
      const underWay = rounds.get(topic);
      if (underWay !== undefined) return underWay;
      const fresh = round(topic).finally(() => rounds.delete(topic));
      rounds.set(topic, fresh);
      return fresh;
    },
    absent: history.absent,
    close: server.close,
  };
}

/** The tables of buckets and vservers are the scheduler process' alone. */
function mayKnow(hello: Hello, topic: Topic): boolean {
  if (topic === "errors" || topic === "connections" || topic === "spans")
    return hello.process === "dlba-server";
  if (topic === "rows") return true;
  return hello.process === "scheduler";
}

function greet(
  socket: Socket,
  publishers: Set<Publisher>,
  onEvent: CollectorHears["onEvent"] = () => undefined,
  onHello: (publisher: Publisher) => void,
): void {
  const publisher: Publisher = { socket, hello: undefined, waiting: new Map() };
  const lines = lineReader(
    PUBLISH_LINE_BYTES,
    (line) => takeLine(publisher, line, onEvent, onHello),
    () => socket.destroy(),
  );
  publishers.add(publisher);
  socket.on("data", lines.push);
  socket.on("end", () => socket.destroy());
  socket.on("close", () => {
    publishers.delete(publisher);
    for (const settle of publisher.waiting.values()) settle(null);
  });
}

function takeLine(
  publisher: Publisher,
  line: string,
  onEvent: CollectorHears["onEvent"],
  onHello: (publisher: Publisher) => void,
): void {
  const message = parseJson(line);
  if (!isRecord(message)) return void publisher.socket.destroy();
  if (publisher.hello === undefined) {
    publisher.hello = readHello(message);
    if (publisher.hello === undefined) publisher.socket.destroy();
    else onHello(publisher);
    return;
  }
  if (isEvent(message)) return onEvent(message.event);
  if (!isAnswer(message)) return void publisher.socket.destroy();
  // An answer that came too late has nobody waiting any more.
  publisher.waiting.get(message.id)?.(message.body);
}

/** The socket is our own user's alone and a body's shape is its sender's type, so its kind is enough. */
function isAnswer(message: object): message is Answer {
  const { id, body } = { id: undefined, body: undefined, ...message };
  return typeof id === "number" && isRecord(body) && typeof body["kind"] === "string";
}

/** As an answer. */
function isEvent(message: object): message is EventMessage {
  const { event } = { event: undefined, ...message };
  return isRecord(event) && typeof event["kind"] === "string" && typeof event["at_ms"] === "number";
}

function readHello(message: Record<string | number, unknown>): Hello | undefined {
  const name = PROCESS_NAMES.find((name) => name === message["process"]);
  const { worker, pid } = message;
  if (name === undefined || typeof worker !== "number" || typeof pid !== "number") return undefined;
  return { process: name, worker, pid };
}

function askOne(publisher: Publisher, question: Question, answer_ms: number): Promise<PublishedBody | null> {
  return new Promise((resolve) => {
    const settle = (body: PublishedBody | null): void => {
      clearTimeout(timer);
      publisher.waiting.delete(question.id);
      resolve(body);
    };
    const timer = setTimeout(settle, answer_ms, null);
    publisher.waiting.set(question.id, settle);
    // Questions are small, but one who never reads them gets no more of them.
    if (publisher.socket.writableLength === 0) publisher.socket.write(`${JSON.stringify(question)}\n`);
  });
}
