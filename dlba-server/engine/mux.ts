/**
 * A client's HTTP/2 connection: between its frames and the sessions of its streams. Frames of one turn are gathered, and
 * leave in one write when the turn ends; records of streams that are over are used again.
 */
import { HTTP2_OUT_BYTES, KEPT_EXCHANGES } from "../../conf/limits.ts";
import {
  createConnection,
  createStream,
  dropStreams,
  type Http2Connection,
  type Http2Port,
  type Http2Stream,
} from "../http2/connection.ts";
import { takeFrames } from "../http2/input.ts";
import { announceGoaway, failConnection, giveBack, giveBackUnowned, sendGoaway } from "../http2/output.ts";
import { laidOut, layOutRequest } from "../http2/request-fields.ts";
import { CODE } from "../http2/wire.ts";
import * as session from "../session.ts";
import { destroyClient, finishClosing } from "./closing.ts";
import { createExchange, queueAgain, settle } from "./exchange.ts";
import { countWaiting, hold, isFull } from "./load.ts";
import type { ClientConnection, Exchange, Worker } from "./runtime.ts";
import { enter } from "./port.ts";
import { releaseServer } from "./server-connections.ts";
import { createStage, drainQueue, flushStage, received, type Stage } from "./stream.ts";
import { streamPort } from "./stream-port.ts";
import { arm, disarm } from "./timer-wheel.ts";
import { takesMore } from "./upstream-streams.ts";

export type Http2Client = Http2Connection<ClientConnection, Exchange>;

/** What a client connection has besides its frames' state. */
export interface Mux {
  readonly http2: Http2Client;
  /** What this turn's frames are gathered in. */
  stage: Stage | undefined;
  /** Since when no stream is open; Infinity while one is. */
  idleSince_ms: number;
  /** A request has come. */
  isUsed: boolean;
  /** How far the farewell is: not begun, told that it comes, told where it ends. */
  farewell: "none" | "announced" | "final";
}

let worker: Worker;
/** Connections that have something gathered, streams that are over, and what is kept for others. */
let dirty: ClientConnection[] = [];
const over: Exchange[] = [];
const kept: Exchange[] = [];
const stages: Stage[] = [];

/** Gives this module its worker; a process has one. */
export function bindMuxes(theWorker: Worker): void {
  worker = theWorker;
  // Records stand in their worker's wheel.
  kept.length = 0;
}

const port: Http2Port<ClientConnection, Exchange> = {
  makeRoom: (c) => {
    const mux = c.owner.mux!;
    if (mux.stage !== undefined) return writeOut(c.owner, mux, mux.stage);
    mux.stage = stages.pop() ?? createStage(HTTP2_OUT_BYTES);
    c.out = mux.stage;
    dirty.push(c.owner);
  },
  newStream: (c) => {
    const mux = c.owner.mux!;
    mux.isUsed = true;
    mux.idleSince_ms = Infinity;
    return takeExchange(c.owner).stream!;
  },
  head: (c, { user }, isEnded) => {
    const { env } = c.owner;
    const verdict = layOutRequest(env.limits.request_head_bytes, env.limits.request_target_bytes);
    enter(user);
    user.lastInput_ms = worker.now_ms;
    session.onStreamRequest(user.session, env, streamPort, laidOut, verdict, isEnded);
    settle(user);
  },
  data: takeData,
  end: (c, { user }, trailers) => {
    enter(user);
    user.lastInput_ms = worker.now_ms;
    session.onStreamEnd(user.session, c.owner.env, streamPort, trailers);
    settle(user);
  },
  reset: (c, { user }) => {
    enter(user);
    session.onClientLost(user.session, c.owner.env, streamPort);
    settle(user);
  },
  drained: (_c, { user }) => {
    enter(user);
    settle(user);
  },
  closed: (c, { user }) => {
    over.push(user);
    // What it sent and nobody took: without it the connection's window would shrink for good.
    if (user.held !== undefined) {
      giveBackUnowned(c, user.held.length);
      hold(user, undefined);
    }
    if (c.streams.size === 0) c.owner.mux!.idleSince_ms = worker.now_ms;
  },
  pinged: (c) => {
    if (c.owner.mux!.farewell === "announced") sayLast(c.owner);
  },
  goneAway: ({ owner }) => {
    // It opens no more streams; those it has are still answered.
    owner.mux!.farewell = "final";
    settleFarewell(owner);
  },
  failed: (c) => {
    loseStreams(c);
    c.owner.isClosing = true;
    c.owner.lingers = true;
  },
};

/** What the session does not take now is held, within the stream's window, and only given back when it is taken. */
function takeData(
  c: Http2Client,
  { user }: Http2Stream<Exchange>,
  bytes: Buffer,
  start: number,
  end: number,
): void {
  enter(user);
  user.lastInput_ms = worker.now_ms;
  let taken = start;
  if (user.held === undefined && mayTakeData(user)) {
    taken = session.onStreamData(user.session, c.owner.env, streamPort, bytes, start, end);
    if (taken > start) giveBack(c, user.stream!, taken - start);
  } else user.session.hasUnread = true;
  if (taken < end) {
    const rest = bytes.subarray(taken, end);
    hold(user, user.held === undefined ? Buffer.from(rest) : Buffer.concat([user.held, rest]));
  }
  settle(user);
}

/** Whether what was taken last has left for the web server. */
const mayTakeData = ({ server, upstream }: Exchange): boolean =>
  (server === undefined || !isFull(worker, server.stream.pending_bytes)) &&
  (upstream === undefined || takesMore(worker, upstream));

function takeExchange(client: ClientConnection): Exchange {
  const exchange = kept.pop() ?? newExchange(client);
  exchange.client = client;
  exchange.phaseStart_ms = worker.now_ms;
  return exchange;
}

function newExchange(client: ClientConnection): Exchange {
  const exchange = createExchange(client, streamPort, worker.now_ms);
  exchange.stream = createStream(exchange);
  return exchange;
}

/** Streams that are over leave their records to others; nobody works with them any more when a turn has ended. */
function keepRecords(): void {
  for (const exchange of over) {
    releaseServer(worker, exchange, false);
    hold(exchange, undefined);
    countWaiting(exchange, 0);
    exchange.requestStart_ms = -1;
    exchange.resetCode = 0;
    if (kept.length >= KEPT_EXCHANGES) {
      disarm(worker.wheel, exchange);
      continue;
    }
    // It leaves the wheel by itself, or is armed anew where it is.
    exchange.deadline_ms = Infinity;
    session.renewSession(exchange.session);
    kept.push(exchange);
  }
  over.length = 0;
}

/** From now on the connection's bytes are frames. */
export function startMux(connection: ClientConnection): void {
  const { limits, env } = { limits: worker.config.limits, env: connection.env };
  const http2 = createConnection(port, connection, true, limits.http2_streams, env.limits.request_head_bytes);
  http2.takesProtocols = env.takesWebsockets;
  connection.mux = { http2, stage: undefined, idleSince_ms: worker.now_ms, isUsed: false, farewell: "none" };
}

/** Bytes from the client stand in the receive buffer from 0 to `end` (what was held in front). */
export function muxBytesArrived(connection: ClientConnection, end: number): void {
  const { http2 } = connection.mux!;
  const consumed = takeFrames(http2, received.bytes, 0, end, worker.now_ms);
  // Less than a frame.
  const { exchange } = connection;
  hold(exchange, consumed < end ? Buffer.from(received.bytes.subarray(consumed, end)) : undefined);
  settleMux(connection);
}

/** A client that reads nothing is not read, either: it would only make us say more. */
export const mayReadMux = (connection: ClientConnection): boolean =>
  !connection.isClosing && !isFull(worker, connection.stream.pending_bytes);

/** The client has said its last byte: there is nobody to say anything to on streams that still wait for it. */
export function muxEnded(connection: ClientConnection): void {
  loseStreams(connection.mux!.http2);
  destroyClient(worker, connection, "close");
}

/** The worker ends now: what is under way is over, and its records are nobody's any more. */
export function stopMux(connection: ClientConnection): void {
  muxEnded(connection);
  over.length = 0;
}

/** Nobody is left to answer. */
export function loseStreams(c: Http2Client): void {
  c.isFailed = true;
  const lost = [...c.streams.values()];
  // First, so that nothing done below can end a stream once more: its record would serve two others at a time.
  dropStreams(c);
  for (const { user } of lost) {
    enter(user);
    session.onClientLost(user.session, c.owner.env, streamPort);
    settle(user);
    over.push(user);
  }
}

/** Some of what was queued has left: streams whose web servers were not read go on. */
export function muxDrained(connection: ClientConnection): void {
  drainQueue(connection.stream, worker.now_ms);
  // Its deadline moves on with what has left.
  if (isFull(worker, connection.stream.pending_bytes)) return settleMux(connection);
  for (const { user } of connection.mux!.http2.streams.values()) {
    enter(user);
    settle(user);
  }
  // Of TLS, frames may have been read already, which no event tells of.
  if (connection.stream.isReadable) queueAgain(connection);
  settleMux(connection);
}

/** The worker stops: what is on its way is still answered, nothing after it. */
export function drainMux(connection: ClientConnection): void {
  const { mux } = connection;
  if (mux === undefined || connection.isClosing || mux.farewell !== "none") return;
  mux.farewell = "announced";
  if (mux.http2.hasPreface) announceGoaway(mux.http2);
  else sayLast(connection);
  settleMux(connection);
}

/** Whatever has come by now is served, and no more. */
function sayLast(connection: ClientConnection): void {
  const mux = connection.mux!;
  mux.farewell = "final";
  sendGoaway(mux.http2, mux.http2.lastStream, CODE.noError);
  settleFarewell(connection);
}

function settleFarewell(connection: ClientConnection): void {
  const { farewell, http2 } = connection.mux!;
  if (farewell !== "final" || http2.streams.size > 0) return;
  connection.isClosing = true;
  connection.lingers = true;
}

/** Nothing has come for too long, or nothing is taken. */
export function muxTimedOut(connection: ClientConnection): void {
  const { stream } = connection;
  const mux = connection.mux!;
  const isStuck =
    stream.pending_bytes > 0 && stream.progress_ms + worker.config.timeouts.client_write_ms <= worker.now_ms;
  if (isStuck) return muxEnded(connection);
  if (mux.http2.headStream !== 0) failConnection(mux.http2, CODE.enhanceYourCalm);
  else if (!mux.http2.hasPreface) return muxEnded(connection);
  else sayLast(connection);
  settleMux(connection);
}

/** The connection's own time-outs: streams have theirs. */
function settleMux(connection: ClientConnection): void {
  if (connection.stream.isClosed) return;
  settleFarewell(connection);
  if (connection.isClosing) {
    // What is gathered has to leave first.
    if (connection.mux!.stage === undefined) finishClosing(worker, connection);
    return;
  }
  arm(worker.wheel, connection, deadlineOf(connection));
}

function deadlineOf({ stream, mux }: ClientConnection): number {
  const { timeouts } = worker.config;
  const { http2, idleSince_ms, isUsed, farewell } = mux!;
  const write_ms = stream.pending_bytes > 0 ? stream.progress_ms + timeouts.client_write_ms : Infinity;
  if (farewell === "announced") return Math.min(write_ms, worker.now_ms + timeouts.linger_ms);
  if (http2.headStream !== 0) return Math.min(write_ms, worker.now_ms + timeouts.request_head_ms);
  return Math.min(write_ms, idleSince_ms + (isUsed ? timeouts.keep_alive_ms : timeouts.request_head_ms));
}

function writeOut(connection: ClientConnection, mux: Mux, stage: Stage): void {
  // The descriptor of one that is closed may be someone else's by now.
  if (connection.stream.isClosed) stage.length = 0;
  else flushStage(stage, connection.stream, worker.now_ms);
  mux.http2.round++;
}

/** The turn ends: what was gathered leaves, with one write per connection. */
export function flushMuxes(): void {
  if (dirty.length === 0 && over.length === 0) return;
  const connections = dirty;
  dirty = [];
  for (const connection of connections) {
    const mux = connection.mux!;
    const stage = mux.stage!;
    writeOut(connection, mux, stage);
    mux.stage = undefined;
    mux.http2.out = undefined;
    stage.length = 0;
    stages.push(stage);
    settleMux(connection);
  }
  keepRecords();
}
