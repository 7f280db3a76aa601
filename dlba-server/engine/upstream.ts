/**
 * HTTP/2 to web servers (gRPC needs it): many exchanges on one connection, a stream each. Sessions go on speaking HTTP/1.1;
 * http2/to-server.ts and from-server.ts stand between.
 */
import { HTTP2_OUT_BYTES, RECEIVE_BUFFER_BYTES } from "../../conf/limits.ts";
import {
  createConnection,
  dropStreams,
  type Http2Connection,
  type Http2Port,
  type Http2Stream,
} from "../http2/connection.ts";
import { frameData, messageEnd, responseHead } from "../http2/from-server.ts";
import { takeFrames } from "../http2/input.ts";
import { giveBack, giveBackUnowned, resetStream, sendSettings, sendPreface } from "../http2/output.ts";
import { CODE } from "../http2/wire.ts";
import * as session from "../session.ts";
import { settle } from "./exchange.ts";
import { countUpstream, isFull } from "./load.ts";
import { enter } from "./port.ts";
import type { Exchange, ServerConnection, Worker } from "./runtime.ts";
import {
  closeServer,
  CONNECT,
  type ConnectStep,
  concludeConnect,
  markLate,
  shakeHands,
} from "./server-connections.ts";
import { createStage, drainQueue, flushStage, received, type Stage } from "./stream.ts";
import { arm } from "./timer-wheel.ts";
import { bindStarter } from "./upstream-connect.ts";
import {
  beginUpstream,
  countersOf,
  partUpstream,
  type Upstream,
  type UpstreamMux,
} from "./upstream-streams.ts";

type Connection = Http2Connection<ServerConnection, Upstream>;

let worker: Worker;
let dirty: ServerConnection[] = [];
const stages: Stage[] = [];
/** Gives this module its worker; a process has one. */
export function bindUpstreams(theWorker: Worker): void {
  worker = theWorker;
  const { response_head_bytes } = worker.config.limits;
  bindStarter((connection) => createConnection(port, connection, false, 0, response_head_bytes));
}

/** A connect, or the handshake after it, goes on or has come to its end, well or not. */
export function upstreamConcluded(connection: ServerConnection, isTimedOut: boolean): void {
  const { waiting, http2 } = connection.upstreams!;
  if (isTimedOut) markLate(worker, connection);
  const step = isTimedOut ? CONNECT.failed : goOnConnecting(connection);
  if (step === CONNECT.underWay) return;
  const isThere = step === CONNECT.done;
  const all = waiting.splice(0);
  if (!isThere) closeUpstream(connection);
  else {
    sendPreface(http2);
    sendSettings(http2);
  }
  for (const upstream of all) {
    const { exchange } = upstream;
    if (exchange === undefined) continue;
    enter(exchange);
    if (isThere) {
      beginUpstream(upstream);
      session.onServerConnected(exchange.session, exchange.client.env, exchange.port, false);
    } else {
      partUpstream(upstream);
      session.onServerFailed(exchange.session, exchange.client.env, exchange.port);
    }
    settle(exchange);
  }
}

function goOnConnecting(connection: ServerConnection): ConnectStep {
  if (connection.isHandshaking) return shakeHands(worker, connection);
  const step = concludeConnect(worker, connection);
  return step === CONNECT.underWay ? shakeHands(worker, connection) : step;
}

/** Whether the client of an exchange has so much waiting that its web server had better pause. */
function isClientFull({ client, stream }: Exchange): boolean {
  return isFull(worker, client.stream.pending_bytes) || (stream !== undefined && stream.pending_bytes > 0);
}

/** Says a piece of the response's message to the session. */
function tell(exchange: Exchange, bytes: Buffer, end: number): void {
  if (exchange.upstream !== undefined) countersOf(exchange.upstream.connection).bytes_out += end;
  enter(exchange);
  exchange.lastInput_ms = worker.now_ms;
  session.onServerBytes(exchange.session, exchange.client.env, exchange.port, bytes, 0, end);
}
const message = Buffer.allocUnsafeSlow(RECEIVE_BUFFER_BYTES * 4);

const port: Http2Port<ServerConnection, Upstream> = {
  makeRoom: (c) => {
    const mux = c.owner.upstreams!;
    if (mux.stage !== undefined) return writeOut(c.owner, mux, mux.stage);
    mux.stage = stages.pop() ?? createStage(HTTP2_OUT_BYTES);
    c.out = mux.stage;
    dirty.push(c.owner);
  },
  newStream: () => {
    throw new Error("a web server opens no streams");
  },
  head: (c, stream, isEnded) => {
    const { exchange, response } = stream.user;
    if (exchange === undefined) return;
    const text = responseHead(response, isEnded, c.maxListBytes);
    stream.hasHead = response.hasHead;
    if (text === undefined) return fail(c, stream, CODE.protocolError);
    tell(exchange, message, message.latin1Write(text));
    settle(exchange);
  },
  data: (c, stream, bytes, start, end) => {
    const { exchange, response } = stream.user;
    if (exchange === undefined) return giveBack(c, stream, end - start);
    // Clients of HTTP/1.1 have no room for trailers behind a body with a length.
    const mayHaveTrailers = exchange.stream !== undefined && !c.dataEnds;
    const length = frameData(response, bytes, start, end, message, mayHaveTrailers);
    if (length > 0) tell(exchange, message, length);
    // A response that has just become whole has ended the stream: nobody would give it back later.
    if (stream.isOpen && isClientFull(exchange)) stream.user.owed_bytes += end - start;
    else giveBack(c, stream, end - start);
    settle(exchange);
  },
  end: (_c, { user: { exchange, response } }, trailers) => {
    if (exchange === undefined) return;
    if (response.last !== -1) session.onServerTrailers(exchange.session, trailers);
    const text = messageEnd(response, trailers);
    if (text !== "") tell(exchange, message, message.latin1Write(text));
    // A length that was not reached.
    enter(exchange);
    if (exchange.upstream !== undefined) endExchange(exchange);
    settle(exchange);
  },
  reset: (_c, { user }, code) => {
    const { exchange } = user;
    // It is not to be reset once more.
    user.stream = undefined;
    if (exchange === undefined) return;
    enter(exchange);
    exchange.resetCode = code;
    if (code === CODE.refusedStream) refuseExchange(exchange);
    else endExchange(exchange);
    settle(exchange);
  },
  drained: (_c, { user: { exchange } }) => {
    if (exchange === undefined) return;
    enter(exchange);
    settle(exchange);
  },
  closed: (c, { user }) => {
    giveBackUnowned(c, user.owed_bytes);
    user.owed_bytes = 0;
    user.stream = undefined;
  },
  pinged: () => undefined,
  goneAway: (c, lastStream) => {
    c.owner.upstreams!.isGoingAway = true;
    // Streams behind the last one have not been looked at: they may go elsewhere.
    for (const stream of c.streams.values()) {
      if (stream.id <= lastStream) continue;
      const { exchange } = stream.user;
      resetStream(c, stream, CODE.cancel);
      if (exchange === undefined) continue;
      enter(exchange);
      refuseExchange(exchange);
      settle(exchange);
    }
  },
  failed: (c) => loseAll(c),
};

function endExchange({ session: state, client, port: sessionPort }: Exchange): void {
  session.onServerEnd(state, client.env, sessionPort);
}
function refuseExchange({ session: state, client, port: sessionPort }: Exchange): void {
  session.onServerRefused(state, client.env, sessionPort);
}

/** A response is malformed. */
function fail(c: Connection, stream: Http2Stream<Upstream>, code: number): void {
  const { exchange } = stream.user;
  resetStream(c, stream, code);
  if (exchange === undefined) return;
  enter(exchange);
  endExchange(exchange);
  settle(exchange);
}

/** Nothing more comes on a connection. */
function loseAll(c: Connection): void {
  c.isFailed = true;
  const lost = [...c.streams.values()];
  dropStreams(c);
  for (const { user } of lost) {
    const { exchange } = user;
    user.stream = undefined;
    if (exchange === undefined) continue;
    enter(exchange);
    endExchange(exchange);
    settle(exchange);
  }
}

/** Bytes from the web server stand in the receive buffer from 0 to `end` (what was held in front). */
export function upstreamArrived(connection: ServerConnection, end: number): void {
  const mux = connection.upstreams!;
  mux.heard_ms = worker.now_ms;
  const consumed = takeFrames(mux.http2, received.bytes, 0, end, worker.now_ms);
  mux.held = consumed < end ? Buffer.from(received.bytes.subarray(consumed, end)) : undefined;
  settleUpstream(connection);
}

/** The web server has closed, or its connection has failed. */
export function upstreamEnded(connection: ServerConnection): void {
  loseAll(connection.upstreams!.http2);
  closeUpstream(connection);
}

/** Some of what was queued has left: whoever waited for that goes on. */
export function upstreamDrained(connection: ServerConnection): void {
  drainQueue(connection.stream, worker.now_ms);
  settleUpstream(connection);
  if (connection.stream.isClosed || isFull(worker, connection.stream.pending_bytes)) return;
  for (const { user } of connection.upstreams!.http2.streams.values()) {
    if (user.exchange === undefined) continue;
    enter(user.exchange);
    settle(user.exchange);
  }
}

function closeUpstream(connection: ServerConnection): void {
  const { upstreams } = connection.pool.servers[connection.index]!;
  const at = upstreams.indexOf(connection);
  if (at !== -1) upstreams.splice(at, 1);
  dropStreams(connection.upstreams!.http2);
  countUpstream(connection);
  closeServer(worker, connection);
}

/** A connection without streams is closed when it is no use any more, or in a while. */
function settleUpstream(connection: ServerConnection): void {
  if (connection.stream.isClosed) return;
  countUpstream(connection);
  const { http2, isGoingAway, stage, waiting } = connection.upstreams!;
  if (http2.isFailed && stage === undefined) return closeUpstream(connection);
  if (connection.stream.isConnecting) return;
  const { timeouts } = worker.config;
  const { pending_bytes, progress_ms } = connection.stream;
  const write_ms = pending_bytes > 0 ? progress_ms + timeouts.response_head_ms : Infinity;
  if (http2.streams.size > 0 || waiting.length > 0) return arm(worker.wheel, connection, write_ms);
  if (isGoingAway || worker.isDraining) return closeUpstream(connection);
  arm(worker.wheel, connection, Math.min(write_ms, worker.now_ms + timeouts.server_idle_ms));
}

/** A connect that takes too long, a web server that takes nothing, or a connection that has been idle for long enough. */
export function upstreamTimedOut(connection: ServerConnection): void {
  if (connection.stream.isConnecting) upstreamConcluded(connection, true);
  else if (isStuck(connection)) upstreamEnded(connection);
  else if (connection.upstreams!.http2.streams.size === 0) closeUpstream(connection);
  else settleUpstream(connection);
}

/** A web server that takes nothing of what is queued for it. */
const isStuck = ({ stream: { pending_bytes, progress_ms } }: ServerConnection): boolean =>
  pending_bytes > 0 && progress_ms + worker.config.timeouts.response_head_ms <= worker.now_ms;

/** The worker takes no more connections: those to web servers that nobody uses are closed, the others when they are done. */
export function drainUpstreams(): void {
  for (const connection of allUpstreams()) settleUpstream(connection);
}

/** The worker ends now. */
export function stopUpstreams(): void {
  for (const connection of allUpstreams()) closeUpstream(connection);
}

const allUpstreams = (): ServerConnection[] =>
  worker.pools.flatMap(({ servers }) => servers.flatMap(({ upstreams }) => upstreams));

function writeOut(connection: ServerConnection, mux: UpstreamMux, stage: Stage): void {
  flushStage(stage, connection.stream, worker.now_ms);
  mux.http2.round++;
}

/** The turn ends: what was gathered leaves. */
export function flushUpstreams(): void {
  if (dirty.length === 0) return;
  const connections = dirty;
  dirty = [];
  for (const connection of connections) {
    const mux = connection.upstreams!;
    const stage = mux.stage!;
    if (!connection.stream.isClosed) writeOut(connection, mux, stage);
    mux.stage = undefined;
    mux.http2.out = undefined;
    stage.length = 0;
    stages.push(stage);
    settleUpstream(connection);
  }
}
