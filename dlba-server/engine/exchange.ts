/**
 * What passes between a client connection, the session of an exchange on it, and the web server of the request under way:
 * the moving of bytes both ways, back-pressure and time-outs. What sessions say comes by `port.ts`.
 *
 * Each input (bytes, an end, a connect's outcome, a time-out) goes to the session; `settle` then carries out
 * what the session asked for. Everything a session says during one input is staged and leaves in one write.
 */
import { HTTP2_FIRST_READ_BYTES, HTTP2_LEAST_READ_BYTES, RECEIVE_BUFFER_BYTES } from "../../conf/limits.ts";
import { holdBack, MSG_DONTWAIT, MSG_NOSIGNAL, send } from "../../net/sockets.ts";
import type { Http2Stream } from "../http2/connection.ts";
import { giveBack, resetStream } from "../http2/output.ts";
import { CODE } from "../http2/wire.ts";
import { writeProxyHeader, type ProxyVersion } from "../proxy-header.ts";
import * as session from "../session.ts";
import { PHASE, type SessionPort } from "../session-port.ts";
import { mayMove, moveBytes } from "./body-mover.ts";
import { destroyClient, finishClosing, updateClosingDeadline } from "./closing.ts";
import { isOverdue, stuckDeadline, updateDeadline, updateStreamDeadline } from "./deadlines.ts";
import { countWaiting, hold, isFull } from "./load.ts";
import { bindPort, current, enter, isCut, poolOf, port, setTurn, wasCut } from "./port.ts";
import { NOT_MOVED } from "./reading.ts";
import type { ClientConnection, Exchange, PoolRuntime, ServerConnection, Worker } from "./runtime.ts";
import {
  closeServer,
  CONNECT,
  concludeConnect,
  joinServer,
  markLate,
  openServer,
  partServer,
  releaseServer,
  shakeHands,
  takeIdle,
  type ConnectStep,
} from "./server-connections.ts";
import { clearStage, drainQueue, flushStage, received, stageText } from "./stream.ts";
import { startUpstream } from "./upstream-connect.ts";
import { countersOf, payBack, takesMore } from "./upstream-streams.ts";
import { serveWaiting, stopWaiting } from "./waiting.ts";

let worker: Worker;
/** Gives this module and the port their worker; a process has one. */
export function bindWorker(theWorker: Worker): void {
  worker = theWorker;
  bindPort(theWorker);
}

/** Bytes from the client stand in the receive buffer from 0 to `end` (what was held in front). */
export function clientBytesArrived(connection: ClientConnection, end: number): void {
  const { exchange } = connection;
  enter(exchange);
  exchange.lastInput_ms = worker.now_ms;
  const consumed = session.onClientBytes(exchange.session, connection.env, port, received.bytes, 0, end);
  if (consumed < end) hold(exchange, Buffer.from(received.bytes.subarray(consumed, end)));
  else if (exchange.held !== undefined) hold(exchange, undefined);
  settle(exchange);
}

export function clientEnded(connection: ClientConnection): void {
  const { exchange } = connection;
  enter(exchange);
  session.onClientEnd(exchange.session, connection.env, port);
  settle(exchange);
}

export function clientLost(connection: ClientConnection): void {
  enter(connection.exchange);
  session.onClientLost(current.session, connection.env, port);
  destroyClient(worker, connection, "close");
}

/** A connect has come to its end, well or not. */
export function connectConcluded(server: ServerConnection): void {
  const { owner } = server;
  const step = goOnConnecting(server);
  if (step === CONNECT.underWay) return;
  if (owner === undefined) return closeServer(worker, server);
  enter(owner);
  if (step === CONNECT.done) {
    if (server.stream.ssl === 0) introduce(owner.client, server);
    session.onServerConnected(owner.session, owner.client.env, owner.port, false);
  } else connectFailed(owner, server);
  settle(owner);
}

function goOnConnecting(server: ServerConnection): ConnectStep {
  if (server.isHandshaking) return shakeHands(worker, server);
  const step = concludeConnect(worker, server);
  if (step !== CONNECT.underWay) return step;
  // The PROXY header comes before TLS.
  if (server.owner !== undefined) introduceBare(server.owner.client, server);
  return shakeHands(worker, server);
}

/** Tells a web server who is behind a new connection, if it wants to hear. */
function introduce(client: ClientConnection, { pool, stream }: ServerConnection): void {
  if (pool.sendProxy === undefined) return;
  stageText(worker.serverStage, stream, introduction(client, pool.sendProxy), worker.now_ms);
}

/** The same below TLS: a new socket takes so few bytes at once. */
function introduceBare(client: ClientConnection, { pool, stream }: ServerConnection): void {
  if (pool.sendProxy === undefined) return;
  const text = introduction(client, pool.sendProxy);
  const { bytes, address } = worker.serverStage;
  send(stream.fd, address, bytes.latin1Write(text), MSG_DONTWAIT | MSG_NOSIGNAL);
}

function introduction({ env }: ClientConnection, version: ProxyVersion): string {
  const from = { address: env.clientAddress, port: env.clientPort };
  const to = { address: env.localAddress, port: env.localPort };
  return writeProxyHeader(version, from, to);
}

/** A connect that takes too long counts as failed. */
export function connectTimedOut(server: ServerConnection): void {
  markLate(worker, server);
  const { owner } = server;
  if (owner === undefined) return closeServer(worker, server);
  enter(owner);
  connectFailed(owner, server);
  settle(owner);
}

function connectFailed(owner: Exchange, server: ServerConnection): void {
  partServer(owner, server);
  closeServer(worker, server);
  session.onServerFailed(owner.session, owner.client.env, owner.port);
}

/** Bytes from the web server stand in the receive buffer from 0 to `end`. */
export function serverBytesArrived(server: ServerConnection, end: number): void {
  const owner = server.owner!;
  enter(owner);
  owner.lastInput_ms = worker.now_ms;
  countersOf(server).bytes_out += end;
  session.onServerBytes(owner.session, owner.client.env, owner.port, received.bytes, 0, end);
  settle(owner);
}

/**
 * Moves some of a response's body to the client without looking at it, if it is big and nothing is to be done to it: NOT_MOVED,
 * or what `readStream` would return.
 */
export function moveBody(server: ServerConnection): number {
  const owner = server.owner!;
  const { client } = owner;
  if (owner.stream !== undefined) return NOT_MOVED;
  const left = session.unseen_bytes(owner.session);
  if (!mayMove(server.stream, client.stream, left)) return NOT_MOVED;
  const count = moveBytes(server.stream, client.stream, left, worker.now_ms);
  if (count <= 0) return count;
  enter(owner);
  owner.lastInput_ms = worker.now_ms;
  owner.access.sent_bytes += count;
  countersOf(server).bytes_out += count;
  client.vserver.counters.bytes_out += count;
  session.onBodyMoved(owner.session, client.env, port, count);
  settle(owner);
  return count;
}

/** `isCut`: without the end that TLS has for it. */
export function serverEnded(server: ServerConnection, isCut = false): void {
  const owner = server.owner!;
  enter(owner);
  session.onServerEnd(owner.session, owner.client.env, owner.port, isCut);
  // The session lets go of the connection as its first act; should it not, it is gone all the same.
  if (owner.server === server && owner.session.phase !== PHASE.tunnel) releaseServer(worker, owner, false);
  settle(owner);
}

/** The connection to a web server has failed. */
export function serverLost(server: ServerConnection): void {
  const owner = server.owner!;
  enter(owner);
  session.onServerLost(owner.session, owner.client.env, owner.port);
  if (owner.server === server) releaseServer(worker, owner, false);
  settle(owner);
}

/** Some of what was queued has left: whoever waited for it goes on. */
export function streamDrained(connection: ClientConnection | ServerConnection): void {
  drainQueue(connection.stream, worker.now_ms);
  const exchange = connection.kind === "client" ? connection.exchange : connection.owner;
  if (exchange === undefined) return;
  enter(exchange);
  settle(exchange);
}

/** The worker stops: requests under way are answered, idle connections closed. */
export function drainClient(connection: ClientConnection): void {
  if (connection.isHandshaking || connection.isClosing) return;
  enter(connection.exchange);
  session.onDrain(current.session, connection.env, port);
  settle(current);
}

/** The worker ends now: what is under way is over. */
export function stopClient(connection: ClientConnection): void {
  enter(connection.exchange);
  session.onStop(current.session, connection.env, port);
  destroyClient(worker, connection, "close");
}

/** Another worker takes over: the next response on the connection is its last. */
export function retireClient({ exchange }: ClientConnection): void {
  session.onRetire(exchange.session);
}

/** Lets those go on who have waited for a web server. */
export function goOnWaiting(pool: PoolRuntime): void {
  serveWaiting(worker, pool, turnHasCome);
}

function turnHasCome(exchange: Exchange): void {
  enter(exchange);
  setTurn(true);
  session.onTurn(exchange.session, exchange.client.env, exchange.port);
  setTurn(false);
  settle(exchange);
}

/** Carries out what the session has asked for, until it waits for something from outside. */
export function settle(exchange: Exchange): void {
  const { client } = exchange;
  while (exchange.wantedServer !== -1 || mayOfferHeld(exchange)) {
    if (isCut()) break;
    if (exchange.wantedServer !== -1) startConnect(exchange);
    else if (!offerHeld(exchange)) break;
  }
  if (exchange.seat !== undefined && exchange.session.phase !== PHASE.wait) stopWaiting(exchange);
  if (exchange.stream !== undefined) return settleStream(exchange, exchange.stream);
  if (wasCut()) {
    clearStage(worker.clientStage);
    clearStage(worker.serverStage);
    destroyClient(worker, client, "reset");
    return;
  }
  // Answer, close_notify and end leave in one packet instead of three.
  if (client.isClosing && !client.isLingering) holdBack(client.stream.fd);
  flushStage(worker.clientStage, client.stream, worker.now_ms);
  if (exchange.server === undefined) clearStage(worker.serverStage);
  else flushStage(worker.serverStage, exchange.server.stream, worker.now_ms);
  if (client.isClosing) finishClosing(worker, client);
  else afterSettle(exchange);
}

/** What the web server gets leaves; what the client gets waits for the turn's end. */
function settleStream(exchange: Exchange, stream: Http2Stream<Exchange>): void {
  const { server } = exchange;
  if (server === undefined) clearStage(worker.serverStage);
  else flushStage(worker.serverStage, server.stream, worker.now_ms);
  countWaiting(exchange, stream.pending_bytes);
  if (!stream.isOpen) return;
  const { upstream } = exchange;
  if (upstream !== undefined && stream.pending_bytes === 0) payBack(upstream);
  if (server !== undefined && server.stream.isReadable && !server.isQueuedAgain && mayReadServer(server)) {
    queueAgain(server);
  }
  updateStreamDeadline(worker, exchange, stream);
}

function mayOfferHeld(exchange: Exchange): boolean {
  if (exchange.held === undefined) return false;
  if (exchange.stream !== undefined) return mayTakeBody(exchange);
  return !exchange.client.isClosing && mayReadClient(exchange.client);
}

/** Whether the session takes more of a body, and what it took last is not stuck at the web server. */
export function mayTakeBody({ server, upstream, session: state }: Exchange): boolean {
  if (upstream !== undefined && !takesMore(worker, upstream)) return false;
  if (server !== undefined && isFull(worker, server.stream.pending_bytes)) return false;
  return session.takesClientBytes(state);
}

/** Offers held bytes again; false when the session took none of them. */
function offerHeld(exchange: Exchange): boolean {
  const held = exchange.held!;
  const { env } = exchange.client;
  // A stream that ends meanwhile gives back what it holds, and this is counted below.
  hold(exchange, undefined);
  const consumed = session.onClientBytes(exchange.session, env, exchange.port, held, 0, held.length);
  if (consumed < held.length) hold(exchange, consumed === 0 ? held : held.subarray(consumed));
  if (consumed === 0) return exchange.wantedServer !== -1;
  if (exchange.stream !== undefined) giveBack(exchange.client.mux!.http2, exchange.stream, consumed);
  return true;
}

function startConnect(exchange: Exchange): void {
  const pool = poolOf(exchange);
  const index = exchange.wantedServer;
  exchange.wantedServer = -1;
  const state = pool.state.servers[index]!;
  // One request tries a web server that was passed over; the others go on passing it over until that is decided.
  if (state.downUntil_ms !== 0) state.downUntil_ms = worker.now_ms + worker.config.timeouts.server_retry_ms;
  if (pool.isHttp2) {
    const how = startUpstream(worker, exchange, pool, index);
    const { env } = exchange.client;
    if (how === "begun") session.onServerConnected(exchange.session, env, exchange.port, true);
    else if (how === undefined) session.onServerFailed(exchange.session, env, exchange.port);
    return;
  }
  const kept = exchange.wantsReuse ? takeIdle(worker, pool.servers[index]!) : undefined;
  const server = kept ?? openServer(worker, pool, index);
  if (server === undefined) {
    session.onServerFailed(exchange.session, exchange.client.env, exchange.port);
    return;
  }
  joinServer(exchange, server);
  if (kept === undefined) return;
  session.onServerConnected(exchange.session, exchange.client.env, exchange.port, true);
}

/** Whether the client may be read: the session takes bytes, and what it took last is not stuck at the web server. */
export function mayReadClient({
  isClosing,
  exchange: { session: state, server, upstream },
}: ClientConnection): boolean {
  if (isClosing || (upstream !== undefined && !takesMore(worker, upstream))) return false;
  if (server !== undefined && isFull(worker, server.stream.pending_bytes)) return false;
  return session.takesClientBytes(state);
}

/** Whether the web server may be read: the client has taken enough of what was read before. */
export function mayReadServer({ owner }: ServerConnection): boolean {
  if (owner === undefined || isFull(worker, owner.client.stream.pending_bytes)) return false;
  return owner.stream === undefined || owner.stream.pending_bytes === 0;
}

/** Up to where the receive buffer may be filled from a web server: little more than a stream's windows have room for. */
export function serverRoom({ owner }: ServerConnection): number {
  if (owner?.stream === undefined) return RECEIVE_BUFFER_BYTES;
  if (!owner.session.isAnswered) return HTTP2_FIRST_READ_BYTES;
  const window = Math.min(owner.stream.sendWindow, owner.client.mux!.http2.sendWindow);
  return Math.min(RECEIVE_BUFFER_BYTES, Math.max(HTTP2_LEAST_READ_BYTES, window));
}

/** Who was held back goes on when it may; the deadline follows the phase. */
function afterSettle(exchange: Exchange): void {
  const { client, server, upstream } = exchange;
  if (upstream !== undefined && !isFull(worker, client.stream.pending_bytes)) payBack(upstream);
  if (client.stream.isReadable && !client.isQueuedAgain && mayReadClient(client)) queueAgain(client);
  if (server !== undefined && server.stream.isReadable && !server.isQueuedAgain && mayReadServer(server)) {
    queueAgain(server);
  }
  updateDeadline(worker, exchange);
}

/** Reads on in this turn's last part, after everyone else had a go. */
export function queueAgain(connection: ClientConnection | ServerConnection): void {
  if (connection.isQueuedAgain) return;
  connection.isQueuedAgain = true;
  worker.again.push(connection);
}

/** The wheel says that a stream's deadline has passed. */
export function exchangeTimedOut(exchange: Exchange): void {
  const { stream, server, client } = exchange;
  if (stream === undefined || !stream.isOpen) return;
  enter(exchange);
  // The client is slow, and takes something all the same.
  if (stream.pending_bytes < exchange.counted_bytes && !isOverdue(worker, exchange)) return settle(exchange);
  // What it was sent waits for its window, and all else is done: nobody is going to read it.
  if (exchange.session.phase === PHASE.closed) resetStream(client.mux!.http2, stream, CODE.cancel);
  else if (isServerStuck(server)) {
    serverEnded(server!);
    return;
  } else if (isOverdue(worker, exchange)) session.onOverdue(exchange.session, exchange.port);
  else if (isHeldUp(exchange)) endIfStuck(exchange);
  else if (stream.pending_bytes > 0) {
    // It is the client who takes nothing, not the web server's fault.
    session.onClientLost(exchange.session, client.env, exchange.port);
    resetStream(client.mux!.http2, stream, CODE.cancel);
  } else session.onTimeout(exchange.session, client.env, exchange.port);
  settle(exchange);
}

/** A web server of HTTP/2 takes no more of a request, for now: others on its connection may go on. */
const isHeldUp = ({ upstream, session: { phase } }: Exchange): boolean =>
  (phase === PHASE.requestBody || phase === PHASE.responseHead) &&
  upstream !== undefined &&
  !takesMore(worker, upstream);

/** It has had its time. */
function endIfStuck(exchange: Exchange): void {
  const { session: state, client, port: sessionPort } = exchange;
  if (stuckDeadline(worker, exchange) <= worker.now_ms) session.onServerEnd(state, client.env, sessionPort);
}

/** A web server that takes nothing of a request. */
const isServerStuck = (server: ServerConnection | undefined): boolean =>
  server !== undefined &&
  server.stream.pending_bytes > 0 &&
  !server.stream.isConnecting &&
  server.stream.progress_ms + worker.config.timeouts.response_head_ms <= worker.now_ms;

/** The wheel says that a client connection's deadline has passed. */
export function clientTimedOut(connection: ClientConnection): void {
  const { stream, exchange } = connection;
  const { timeouts } = worker.config;
  if (connection.isHandshaking) worker.counters.tls_failures++;
  if (connection.isHandshaking || connection.isLingering) return destroyClient(worker, connection, "close");
  const isStuck = stream.pending_bytes > 0 && stream.progress_ms + timeouts.client_write_ms <= worker.now_ms;
  if (isStuck) return clientLost(connection);
  if (connection.isClosing) return updateClosingDeadline(worker, connection);
  const { server } = exchange;
  if (isServerStuck(server)) return serverLost(server!);
  enter(exchange);
  if (isOverdue(worker, exchange)) session.onOverdue(exchange.session, port);
  else if (isHeldUp(exchange)) endIfStuck(exchange);
  else session.onTimeout(exchange.session, connection.env, port);
  settle(exchange);
}

/** An exchange of a client's, which waits for a request. */
export function createExchange(client: ClientConnection, sessionPort: SessionPort, now_ms: number): Exchange {
  return {
    kind: "exchange",
    client,
    stream: undefined,
    session: session.createSession(sessionPort !== port),
    port: sessionPort,
    server: undefined,
    upstream: undefined,
    resetCode: 0,
    held: undefined,
    counted_bytes: 0,
    seat: undefined,
    waitsIn: undefined,
    wantedServer: -1,
    wantsReuse: false,
    lastPhase: PHASE.requestHead,
    phaseStart_ms: now_ms,
    lastInput_ms: now_ms,
    requestStart_ms: -1,
    access: {
      began_ms: now_ms,
      sent_bytes: 0,
      received_bytes: 0,
      isTunnel: false,
      status: 0,
      server: -1,
      response_ms: -1,
      isNewTrace: false,
    },
    coder: undefined,
    deadline_ms: Infinity,
    slotTick: -1,
    wheelNext: undefined,
    wheelPrevious: undefined,
  };
}
