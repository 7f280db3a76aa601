/**
 * The sender's edge: the port where the nodes that follow connect. Everything that happens in one turn of the event
 * loop goes out together at its end.
 */
import type { ArrayKey } from "../../conf/keys.ts";
import { DlbaError } from "../../conf/errors.ts";
import {
  FEED_PATIENCE_TICKS,
  FEED_ROOM_BYTES,
  FEED_TICK_MS,
  FOLLOWER_LINE_BYTES,
  MAX_NODES,
} from "../../conf/limits.ts";
import { controlStreamServer, type ControlStream, type StreamEvents } from "../../net/control-tls.ts";
import type { Logger } from "../../status/log.ts";
import {
  decodeFollowerMessage,
  encodeFeedMessage,
  type FollowerMessage,
  type Held,
  type Hello,
} from "./feed-message.ts";
import { acknowledged, due, gone, heard, inStep, ready, sendAgain, welcome, type Feed } from "./feed.ts";

/** Twice the nodes, so that hosts that only pretend have to be many, and a new connection finds room beside the old. */
const CONNECTIONS = MAX_NODES * 4;

export interface FeedServerOptions<Token> {
  /** This node's own address, and config.scheduler.port. */
  readonly address: string;
  readonly port: number;
  readonly arrayKey: ArrayKey;
  /** Nodes that may follow. */
  readonly nodeNumbers: ReadonlySet<number>;
  readonly feed: Feed<Token>;
  /** Proposals that every living node has by now. */
  readonly onReady: (tokens: readonly Token[]) => void;
  /** A node is in step now, or no longer (see `inStep`). */
  readonly onChange: (number: number) => void;
  /** A node tells which buckets it, as their previous node, still has connections of. */
  readonly onHeld?: (number: number, held: Held) => void;
  /** A node has told which buckets it has connections of, and waits for `tellMerged`. */
  readonly onConnected?: (number: number, bits: Uint8Array) => void;
  readonly log: Logger;
}
export interface FeedServer {
  readonly port: number;
  /** Has to be called when the feed has something new, or other nodes are living: sends, and looks what is ready. */
  changed(): void;
  /** Ends the connections of nodes that hold a key that is forgotten: those that have the new one come back at once. */
  dropForgotten(): void;
  /** Ends all connections; resolves when the port is free. */
  close(): Promise<void>;
}

interface Connection {
  readonly stream: ControlStream;
  /** Who it says it is. */
  number: number | undefined;
  isInStep: boolean;
  /** Since it was last heard, and since the system last took something. */
  silentTicks: number;
  stuckTicks: number;
}
interface Serving {
  readonly options: Omit<FeedServerOptions<unknown>, "onReady">;
  /** Hands on what is ready. */
  readonly settle: () => void;
  readonly connections: Set<Connection>;
  /** The connection that counts, by node number. */
  readonly current: Map<number, Connection>;
  /** What was last logged against a node: a refused one comes back twice a second. */
  readonly complaints: Map<number, string>;
  turn: NodeJS.Immediate | undefined;
  isClosed: boolean;
}

/** Serves a feed until closed. Rejects when the address can't be bound. */
export async function startFeedServer<Token>(options: FeedServerOptions<Token>): Promise<FeedServer> {
  const serving: Serving = {
    options,
    settle: () => {
      const tokens = ready(options.feed);
      if (tokens.length > 0) options.onReady(tokens);
    },
    connections: new Set(),
    current: new Map(),
    complaints: new Map(),
    turn: undefined,
    isClosed: false,
  };
  const { address, port, arrayKey } = options;
  const server = await controlStreamServer({
    address,
    port,
    arrayKey,
    line_bytes: FOLLOWER_LINE_BYTES,
    connections: CONNECTIONS,
    onStream: (stream) => accept(serving, stream),
  });
  const ticker = setInterval(() => tick(serving), FEED_TICK_MS);
  return {
    port: server.port,
    changed: () => soon(serving),
    dropForgotten: () => server.dropForgotten(),
    close: () => {
      serving.isClosed = true;
      clearInterval(ticker);
      clearImmediate(serving.turn);
      return server.close();
    },
  };
}

function accept(serving: Serving, stream: ControlStream): StreamEvents {
  const connection: Connection = {
    stream,
    number: undefined,
    isInStep: false,
    silentTicks: 0,
    stuckTicks: 0,
  };
  serving.connections.add(connection);
  return {
    onLine: (line) => hear(serving, connection, decodeFollowerMessage(line)),
    onClose: (reason) => part(serving, connection, reason),
  };
}

function part(serving: Serving, connection: Connection, reason: DlbaError | undefined): void {
  const { options, current } = serving;
  const { number } = connection;
  serving.connections.delete(connection);
  if (reason !== undefined) complain(serving, connection, reason.message);
  if (number === undefined || current.get(number) !== connection) return;
  current.delete(number);
  gone(options.feed, number);
  if (serving.isClosed || !connection.isInStep) return;
  options.log.info({ peer: number }, "a node no longer follows the table");
  options.onChange(number);
}

/** Logs what is wrong with a node, once until it is something else. */
function complain({ options, complaints }: Serving, connection: Connection, reason: string): void {
  const { number, stream } = connection;
  // Those that have not said who they are share a place.
  const key = number ?? -1;
  const isNews = complaints.get(key) !== reason;
  complaints.set(key, reason);
  const bindings = { peer: number, where: stream.where, reason };
  options.log[isNews ? "warn" : "debug"](bindings, "a node can't follow the table");
}

function hear(serving: Serving, connection: Connection, message: FollowerMessage): void {
  const { feed, onHeld, onConnected } = serving.options;
  connection.silentTicks = 0;
  if (message.kind === "hello") return greet(serving, connection, message);
  const { number } = connection;
  if (number === undefined) throw new DlbaError("FEED_INVALID", "a follower has not said who it is");
  heard(feed, number, performance.now());
  switch (message.kind) {
    case "acknowledged":
      if (!acknowledged(feed, number, message.version, message.isInUse)) throw unsent(message.version);
      return soon(serving);
    case "again":
      complain(serving, connection, `it has missed something: ${message.reason}`);
      sendAgain(feed, number);
      return soon(serving);
    case "held":
      checkHeld(feed, message);
      return onHeld?.(number, message);
    case "connected":
      checkBits(feed, "", message.bits);
      return onConnected?.(number, message.bits);
    case "refused":
      throw new DlbaError("FEED_REFUSED", `node ${number} refuses this scheduler: ${message.reason}`);
    case "tick":
  }
}

const unsent = (version: number): DlbaError =>
  new DlbaError("FEED_INVALID", `a follower speaks of version ${version}, which it has not been sent`);

function checkHeld(feed: Feed<unknown>, { group, version, bits }: Held): void {
  checkBits(feed, group, bits);
  if (version > feed.version) throw unsent(version);
}

function checkBits(feed: Feed<unknown>, group: string, bits: Uint8Array): void {
  const size = feed.groups.find(({ name }) => name === group)?.words.length;
  if (size === undefined) throw new DlbaError("FEED_INVALID", `a follower speaks of an unknown group`);
  if (bits.length !== Math.ceil(size / 8)) {
    throw new DlbaError("FEED_INVALID", `a follower tells ${bits.length * 8} bits for ${size} buckets`);
  }
}

function greet(serving: Serving, connection: Connection, hello: Hello): void {
  const { options, current } = serving;
  const { number } = hello;
  if (connection.number !== undefined) throw new DlbaError("FEED_INVALID", "a follower says twice who it is");
  connection.number = number;
  if (!options.nodeNumbers.has(number)) {
    return refuse(serving, connection, `node ${number} is not in the scheduler's configuration`);
  }
  const answer = welcome(options.feed, hello, performance.now());
  if (answer.kind === "ahead" || answer.kind === "refused") return refuse(serving, connection, answer.reason);
  const older = current.get(number);
  current.set(number, connection);
  if (older !== undefined) replace(serving, older, number);
  options.log.debug({ peer: number, where: connection.stream.where, copy: answer.kind }, "a node connected");
  soon(serving);
}

function refuse(serving: Serving, connection: Connection, reason: string): void {
  complain(serving, connection, reason);
  connection.stream.end(encodeFeedMessage({ kind: "refused", reason }));
}

/** The newer connection wins: the older one may have died without a word. */
function replace({ options }: Serving, older: Connection, number: number): void {
  options.log.info(
    { peer: number, where: older.stream.where },
    "a node connected anew; its older connection ends",
  );
  older.stream.destroy();
  if (older.isInStep) options.onChange(number);
}

function soon(serving: Serving): void {
  if (serving.isClosed) return;
  serving.turn ??= setImmediate(() => {
    serving.turn = undefined;
    turn(serving);
  });
}

/** What is ready goes first, so that what comes of it goes out with the rest. */
function turn(serving: Serving): void {
  serving.settle();
  for (const [number, connection] of serving.current) {
    noteStep(serving, connection, number);
    pump(serving, connection, number);
  }
}

function noteStep({ options, complaints }: Serving, connection: Connection, number: number): void {
  const isInStep = inStep(options.feed, number);
  if (isInStep === connection.isInStep) return;
  connection.isInStep = isInStep;
  if (isInStep) complaints.delete(number);
  options.log.info({ peer: number }, isInStep ? "a node follows the table" : "a node needs a full copy");
  options.onChange(number);
}

/** Sends as much as there is room for; the rest when the system has taken that. */
function pump(serving: Serving, connection: Connection, number: number): void {
  const { stream } = connection;
  let text = "";
  while (stream.queued_bytes() + text.length < FEED_ROOM_BYTES) {
    const message = due(serving.options.feed, number);
    if (message === undefined) break;
    text += encodeFeedMessage(message);
  }
  if (text !== "") {
    stream.send(text, () => {
      connection.stuckTicks = 0;
      soon(serving);
    });
  }
}

function tick(serving: Serving): void {
  for (const connection of serving.connections) {
    const { stream } = connection;
    const isIdle = stream.queued_bytes() === 0;
    connection.stuckTicks = isIdle ? 0 : connection.stuckTicks + 1;
    if (++connection.silentTicks > FEED_PATIENCE_TICKS) cutOff(serving, connection, "it says nothing");
    else if (connection.stuckTicks > FEED_PATIENCE_TICKS) cutOff(serving, connection, "it reads nothing");
    else if (isIdle && connection.number !== undefined) stream.send(encodeFeedMessage({ kind: "tick" }));
  }
}

function cutOff(serving: Serving, connection: Connection, reason: string): void {
  complain(serving, connection, reason);
  connection.stream.destroy();
}
