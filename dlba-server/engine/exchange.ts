/**
 * What passes between a client connection, its session, and the web server of the request under way: the
 * port that the session speaks to, the moving of bytes both ways, back-pressure and time-outs.
 *
 * Each input (bytes, an end, a connect's outcome, a time-out) goes to the session; `settle` then carries out
 * what the session asked for. Everything a session says during one input is staged and leaves in one write.
 */
import { RECEIVE_BUFFER_BYTES, LINGER_BYTES } from "../../conf/limits.ts";
import { close, closeWithReset, MSG_DONTWAIT, recv, shutdown, SHUT_WR } from "../../net/sockets.ts";
import { clearSslErrors, sslFree, sslShutdown } from "../../net/openssl.ts";
import type { AccessEnd } from "../access-line.ts";
import { chooseServer, noteResponse } from "../choose.ts";
import { writeProxyHeader } from "../proxy-header.ts";
import * as session from "../session.ts";
import { BY, PHASE, type SessionPort } from "../session-port.ts";
import type { ClientConnection, PoolRuntime, ServerConnection, Worker } from "./runtime.ts";
import {
  closeServer,
  concludeConnect,
  keepOrClose,
  markDown,
  openServer,
  takeIdle,
} from "./server-connections.ts";
import { noteRefusal } from "./refusals.ts";
import { clearStage, drainQueue, dropQueue, flushStage, received, stageBytes, stageText } from "./stream.ts";
import { arm, disarm } from "./timer-wheel.ts";

/** The connection whose session handles an input now: one at a time, so the port needs no object per connection. */
let current: ClientConnection;
let worker: Worker;
let isAborting = false;

/** Where the request under way goes. */
const poolOf = ({ vserver, session }: ClientConnection): PoolRuntime => vserver.pools[session.pool]!;

/** Gives the port its worker; a process has one. */
export function bindWorker(theWorker: Worker): void {
  worker = theWorker;
}

export const port: SessionPort = {
  clientText: (text) => {
    current.access.sent_bytes += text.length;
    stageText(worker.clientStage, current.stream, text, worker.now_ms);
  },
  clientBytes: (bytes, start, end) => {
    current.access.sent_bytes += end - start;
    stageBytes(worker.clientStage, current.stream, bytes, start, end, worker.now_ms);
  },
  serverText: (text) => {
    if (current.server !== undefined)
      stageText(worker.serverStage, current.server.stream, text, worker.now_ms);
  },
  serverBytes: (bytes, start, end) => {
    if (current.server === undefined) return;
    stageBytes(worker.serverStage, current.server.stream, bytes, start, end, worker.now_ms);
  },
  choose: (token, hash, tried) => chooseServer(poolOf(current).state, token, hash, tried, worker.now_ms),
  connect: (server, mayReuse) => {
    current.wantedServer = server;
    current.wantsReuse = mayReuse;
  },
  releaseServer,
  closeClient: () => {
    current.isClosing = true;
    current.lingers = !current.session.isRequestDone || current.session.hasUnread;
  },
  abortClient: () => {
    isAborting = true;
  },
  errorPage: (status) => current.vserver.errorPages.get(status),
  newRequestId: () => {
    const { requestIds } = worker;
    return requestIds.prefix + (requestIds.count++).toString(16).padStart(12, "0");
  },
  requestBegins: () => {
    const { access } = current;
    access.began_ms = worker.now_ms;
    access.sent_bytes = 0;
    access.status = 0;
    access.server = -1;
    access.response_ms = -1;
  },
  requestEnds: logAccess,
  noteRefused,
  countRequest,
  countResponse,
  countServerFailure: (server) => {
    poolOf(current).servers[server]!.counters.response_failures++;
  },
  countOwnAnswer: (status) => {
    const answers = worker.counters.own_answers;
    answers.set(status, (answers.get(status) ?? 0) + 1);
    current.access.status = status;
    countClass(status);
  },
};

function releaseServer(isReusable: boolean): void {
  const server = current.server;
  current.wantedServer = -1;
  if (server === undefined) return;
  if (isReusable) flushStage(worker.serverStage, server.stream, worker.now_ms);
  else clearStage(worker.serverStage);
  part(current, server);
  if (isReusable) keepOrClose(worker, server);
  else closeServer(worker, server);
}

/** A request has a web server's connection, on the way or open. */
function join(client: ClientConnection, server: ServerConnection): void {
  server.owner = client;
  client.server = server;
  server.pool.state.servers[server.index]!.load++;
}

/** It has it no longer. */
function part(client: ClientConnection, server: ServerConnection): void {
  server.owner = undefined;
  client.server = undefined;
  server.pool.state.servers[server.index]!.load--;
}

function countRequest(server: number, by: number): void {
  const { counters } = poolOf(current).servers[server]!;
  counters.hits++;
  if (by === BY.newCookie) counters.cookie_groups++;
  worker.counters.requests++;
  current.requestStart_ms = worker.now_ms;
  current.access.server = server;
}

function countResponse(server: number, status: number): void {
  countClass(status);
  const { access } = current;
  access.status = status;
  access.response_ms = worker.now_ms - access.began_ms;
  if (current.requestStart_ms < 0) return;
  // The turns' times, not the clock's: two clock reads per request less, and the mean is as good.
  const took_us = (worker.now_ms - current.requestStart_ms) * 1000;
  current.requestStart_ms = -1;
  const pool = poolOf(current);
  const { counters } = pool.servers[server]!;
  noteResponse(pool.state.servers[server]!, took_us / 1000);
  counters.response_time_sum_us += took_us;
  counters.response_time_count++;
  worker.counters.response_time_sum_us += took_us;
  worker.counters.response_time_count++;
}

function noteRefused(
  kind: "request" | "response",
  status: number,
  bytes: Buffer,
  start: number,
  end: number,
  isWhole: boolean,
): void {
  const { env, vserver, server } = current;
  const maxTarget = env.limits.request_target_bytes;
  const facts = {
    at_ms: Date.now(),
    vserver: vserver.name,
    client: env.clientAddress,
    client_port: env.clientPort,
    web_server:
      kind === "request" || server === undefined ? null : (server.pool.servers[server.index]?.id ?? null),
    status,
  };
  noteRefusal(worker.refusals, { kind, bytes, start, end, isWhole, maxTarget }, facts, worker.now_ms);
}

function logAccess(end: AccessEnd): void {
  const { accessLog, now_ms, nodeName } = worker;
  const { access, env, vserver } = current;
  if (accessLog === undefined || !env.isLogged) return;
  const { logged, requestId } = current.session;
  const { began_ms, status, sent_bytes, server, response_ms } = access;
  accessLog.note({
    at_ms: performance.timeOrigin + began_ms,
    node: nodeName,
    vserver: vserver.name,
    client: env.clientAddress,
    clientPort: env.clientPort,
    request: logged ?? undefined,
    requestId,
    status,
    sent_bytes,
    webServer: poolOf(current).servers[server]?.id ?? "",
    response_ms: response_ms < 0 ? undefined : response_ms,
    total_ms: now_ms - began_ms,
    end,
  });
}

function countClass(status: number): void {
  const index = Math.floor(status / 100);
  worker.counters.responses[index] = (worker.counters.responses[index] ?? 0) + 1;
}

/** Bytes from the client stand in the receive buffer from 0 to `end` (what was held in front). */
export function clientBytesArrived(connection: ClientConnection, end: number): void {
  current = connection;
  connection.lastInput_ms = worker.now_ms;
  const consumed = session.onClientBytes(connection.session, connection.env, port, received.bytes, 0, end);
  connection.held = consumed < end ? Buffer.from(received.bytes.subarray(consumed, end)) : undefined;
  settle(connection);
}

export function clientEnded(connection: ClientConnection): void {
  current = connection;
  session.onClientEnd(connection.session, connection.env, port);
  settle(connection);
}

export function clientLost(connection: ClientConnection): void {
  current = connection;
  session.onClientLost(connection.session, connection.env, port);
  destroyClient(connection, "close");
}

/** A connect has come to its end, well or not. */
export function connectConcluded(server: ServerConnection): void {
  const owner = server.owner;
  const code = concludeConnect(worker, server);
  if (owner === undefined) return closeServer(worker, server);
  current = owner;
  if (code === 0) {
    introduce(owner, server);
    session.onServerConnected(owner.session, owner.env, port, false);
  } else connectFailed(owner, server);
  settle(owner);
}

/** Tells a web server who is behind a new connection, if it wants to hear. */
function introduce({ env }: ClientConnection, { pool, stream }: ServerConnection): void {
  if (pool.sendProxy === undefined) return;
  const from = { address: env.clientAddress, port: env.clientPort };
  const to = { address: env.localAddress, port: env.localPort };
  stageText(worker.serverStage, stream, writeProxyHeader(pool.sendProxy, from, to), worker.now_ms);
}

/** A connect that takes too long counts as failed. */
export function connectTimedOut(server: ServerConnection): void {
  const ETIMEDOUT = 110;
  markDown(worker, server.pool, server.index, ETIMEDOUT);
  const owner = server.owner;
  if (owner === undefined) return closeServer(worker, server);
  current = owner;
  connectFailed(owner, server);
  settle(owner);
}

function connectFailed(owner: ClientConnection, server: ServerConnection): void {
  part(owner, server);
  closeServer(worker, server);
  session.onServerFailed(owner.session, owner.env, port);
}

/** Bytes from the web server stand in the receive buffer from 0 to `end`. */
export function serverBytesArrived(server: ServerConnection, end: number): void {
  const owner = server.owner!;
  current = owner;
  owner.lastInput_ms = worker.now_ms;
  session.onServerBytes(owner.session, owner.env, port, received.bytes, 0, end);
  settle(owner);
}

export function serverEnded(server: ServerConnection): void {
  const owner = server.owner!;
  current = owner;
  session.onServerEnd(owner.session, owner.env, port);
  // The session lets go of the connection as its first act; should it not, it is gone all the same.
  if (owner.server === server) releaseServer(false);
  settle(owner);
}

/** Some of what was queued has left: whoever waited for it goes on. */
export function streamDrained(connection: ClientConnection | ServerConnection): void {
  drainQueue(connection.stream, worker.now_ms);
  const client = connection.kind === "client" ? connection : connection.owner;
  if (client !== undefined) settle(client);
}

/** The worker stops: requests under way are answered, idle connections closed. */
export function drainClient(connection: ClientConnection): void {
  if (connection.isHandshaking || connection.isClosing) return;
  current = connection;
  session.onDrain(connection.session, connection.env, port);
  settle(connection);
}

/** Carries out what the session has asked for, until it waits for something from outside. */
function settle(connection: ClientConnection): void {
  while (connection.wantedServer !== -1 || mayOfferHeld(connection)) {
    if (isAborting) break;
    if (connection.wantedServer !== -1) startConnect(connection);
    else if (!offerHeld(connection)) break;
  }
  if (isAborting) {
    isAborting = false;
    clearStage(worker.clientStage);
    clearStage(worker.serverStage);
    destroyClient(connection, "reset");
    return;
  }
  flushStage(worker.clientStage, connection.stream, worker.now_ms);
  if (connection.server === undefined) clearStage(worker.serverStage);
  else flushStage(worker.serverStage, connection.server.stream, worker.now_ms);
  if (connection.isClosing) finishClosing(connection);
  else afterSettle(connection);
}

function mayOfferHeld(connection: ClientConnection): boolean {
  return connection.held !== undefined && !connection.isClosing && mayReadClient(connection);
}

/** Offers held bytes again; false when the session took none of them. */
function offerHeld(connection: ClientConnection): boolean {
  const held = connection.held!;
  const consumed = session.onClientBytes(connection.session, connection.env, port, held, 0, held.length);
  if (consumed === 0) return connection.wantedServer !== -1;
  connection.held = consumed < held.length ? held.subarray(consumed) : undefined;
  return true;
}

function startConnect(connection: ClientConnection): void {
  const pool = poolOf(connection);
  const index = connection.wantedServer;
  connection.wantedServer = -1;
  const state = pool.state.servers[index]!;
  // One request tries a web server that was passed over; the others go on passing it over until that is decided.
  if (state.downUntil_ms !== 0) state.downUntil_ms = worker.now_ms + worker.config.timeouts.server_retry_ms;
  const kept = connection.wantsReuse ? takeIdle(worker, pool.servers[index]!) : undefined;
  const server = kept ?? openServer(worker, pool, index);
  if (server === undefined) {
    session.onServerFailed(connection.session, connection.env, port);
    return;
  }
  join(connection, server);
  if (kept !== undefined) session.onServerConnected(connection.session, connection.env, port, true);
}

/** Whether the client may be read: the session takes bytes, and what it took last is not stuck at the web server. */
export function mayReadClient(connection: ClientConnection): boolean {
  if (connection.isClosing) return false;
  if (connection.server !== undefined && isFull(connection.server.stream.pending_bytes)) return false;
  return session.takesClientBytes(connection.session);
}

/** Whether the web server may be read: the client has taken enough of what was read before. */
export function mayReadServer(server: ServerConnection): boolean {
  return server.owner !== undefined && !isFull(server.owner.stream.pending_bytes);
}

const isFull = (pending_bytes: number): boolean => pending_bytes > worker.config.limits.buffer_bytes;

/** Who was held back goes on when it may; the deadline follows the phase. */
function afterSettle(connection: ClientConnection): void {
  const { stream, server } = connection;
  if (stream.isReadable && !connection.isQueuedAgain && mayReadClient(connection)) queueAgain(connection);
  if (server !== undefined && server.stream.isReadable && !server.isQueuedAgain && mayReadServer(server)) {
    queueAgain(server);
  }
  updateDeadline(connection);
}

/** Reads on in this turn's last part, after everyone else had a go. */
export function queueAgain(connection: ClientConnection | ServerConnection): void {
  if (connection.isQueuedAgain) return;
  connection.isQueuedAgain = true;
  worker.again.push(connection);
}

function updateDeadline(connection: ClientConnection): void {
  const { phase } = connection.session;
  if (phase !== connection.lastPhase) {
    connection.lastPhase = phase;
    connection.phaseStart_ms = worker.now_ms;
  }
  arm(worker.wheel, connection, Math.min(phaseDeadline(connection), writeDeadline(connection)));
}

/** Phases that end with one event count from their start, those with many from the last one. */
function phaseDeadline(connection: ClientConnection): number {
  const { timeouts } = worker.config;
  const since = connection.phaseStart_ms;
  switch (connection.session.phase) {
    case PHASE.idle:
      return since + timeouts.keep_alive_ms;
    case PHASE.requestHead:
      return since + timeouts.request_head_ms;
    case PHASE.requestBody:
      return bodyDeadline(connection, timeouts.request_body_ms, connection.server);
    case PHASE.responseHead:
      return since + timeouts.response_head_ms;
    case PHASE.responseBody:
      return bodyDeadline(connection, timeouts.response_body_ms, connection);
    case PHASE.connect: // The connection to the web server has its own deadline.
    case PHASE.closed:
      return Infinity;
  }
}

/** While the receiver holds things up, the sender is not to blame. */
function bodyDeadline(
  connection: ClientConnection,
  timeout_ms: number,
  receiver: ClientConnection | ServerConnection | undefined,
): number {
  if (receiver !== undefined && isFull(receiver.stream.pending_bytes)) return Infinity;
  return Math.max(connection.lastInput_ms, connection.phaseStart_ms) + timeout_ms;
}

/** A receiver that takes nothing of what is queued for it. */
function writeDeadline(connection: ClientConnection): number {
  const { timeouts } = worker.config;
  const { stream, server } = connection;
  const client = stream.pending_bytes > 0 ? stream.progress_ms + timeouts.client_write_ms : Infinity;
  if (server === undefined || server.stream.pending_bytes === 0 || server.stream.isConnecting) return client;
  return Math.min(client, server.stream.progress_ms + timeouts.response_head_ms);
}

/** The wheel says that a client connection's deadline has passed. */
export function clientTimedOut(connection: ClientConnection): void {
  const { stream, server } = connection;
  const { timeouts } = worker.config;
  if (connection.isHandshaking) worker.counters.tls_failures++;
  if (connection.isHandshaking || connection.isLingering) return destroyClient(connection, "close");
  const isStuck = stream.pending_bytes > 0 && stream.progress_ms + timeouts.client_write_ms <= worker.now_ms;
  if (isStuck) return clientLost(connection);
  if (connection.isClosing) return updateClosingDeadline(connection);
  const isServerStuck =
    server !== undefined && server.stream.pending_bytes > 0 && !server.stream.isConnecting;
  if (isServerStuck && server.stream.progress_ms + timeouts.response_head_ms <= worker.now_ms) {
    return serverEnded(server);
  }
  current = connection;
  session.onTimeout(connection.session, connection.env, port);
  settle(connection);
}

/** All has been said: what is queued still leaves, then the connection closes. */
function finishClosing(connection: ClientConnection): void {
  const { stream } = connection;
  if (stream.isBroken) dropQueue(stream);
  if (stream.pending_bytes > 0) return updateClosingDeadline(connection);
  if (connection.isLingering) return;
  if (stream.ssl !== 0) {
    sslShutdown(stream.ssl);
    clearSslErrors();
  }
  if (connection.lingers && !stream.isBroken) startLinger(connection);
  else destroyClient(connection, "close");
}

function updateClosingDeadline(connection: ClientConnection): void {
  arm(worker.wheel, connection, connection.stream.progress_ms + worker.config.timeouts.client_write_ms);
}

/**
 * Closing while the client still sends would reset the connection, and the reset could overtake the answer
 * (RFC 9112 9.6): the writing side closes first, and the rest is read and thrown away for a while.
 */
export function startLinger(connection: ClientConnection): void {
  connection.isHandshaking = false;
  connection.isClosing = true;
  connection.isLingering = true;
  connection.held = undefined;
  shutdown(connection.stream.fd, SHUT_WR);
  arm(worker.wheel, connection, worker.now_ms + worker.config.timeouts.linger_ms);
  readLingering(connection);
}

/** Throws away what a client sends after its answer. */
export function readLingering(connection: ClientConnection): void {
  for (;;) {
    const count = recv(connection.stream.fd, received.address, RECEIVE_BUFFER_BYTES, MSG_DONTWAIT);
    if (count < 0 && !connection.stream.hasPeerEnded) return;
    connection.lingered_bytes += Math.max(0, count);
    if (count <= 0 || connection.lingered_bytes > LINGER_BYTES) return destroyClient(connection, "close");
  }
}

/** Frees everything of a client connection. "reset" tells the client that what it has is not the whole. */
export function destroyClient(connection: ClientConnection, how: "close" | "reset"): void {
  const { stream } = connection;
  if (stream.isClosed) return;
  stream.isClosed = true;
  disarm(worker.wheel, connection);
  if (connection.server !== undefined) {
    current = connection;
    releaseServer(false);
  }
  worker.connections[stream.fd] = undefined;
  worker.clients.delete(connection);
  connection.vserver.openConnections--;
  dropQueue(stream);
  if (stream.ssl !== 0) sslFree(stream.ssl);
  if (how === "reset") closeWithReset(stream.fd);
  else close(stream.fd);
}
