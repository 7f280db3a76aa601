/** Connections to web servers: opened when a session wants one, kept for the next while idle, closed. */
import {
  close,
  connectTcp,
  MSG_DONTWAIT,
  MSG_PEEK,
  recv,
  socketError,
  watchStream,
  EAGAIN,
} from "../../net/sockets.ts";
import { errno, nativeMemory, SysError } from "../../net/ffi.ts";
import type { Exchange, PoolRuntime, ServerConnection, WebServer, Worker } from "./runtime.ts";
import {
  choseHttp2,
  clearSslErrors,
  sslError,
  sslFree,
  sslHandshake,
  sslRead,
  sslShutdown,
  SSL_ERROR_WANT_READ,
  SSL_ERROR_WANT_WRITE,
} from "../../net/openssl.ts";
import { connectSsl, freeSession, handshakeFailure, takeSession } from "../../net/openssl-client.ts";
import { clearStage, createStream, dropQueue, flushStage } from "./stream.ts";
import { arm, disarm } from "./timer-wheel.ts";
import { stopWaiting } from "./waiting.ts";
import { releaseUpstream } from "./upstream-streams.ts";

/** A kept connection that has been idle for longer is looked at before it is used again. */
const PEEK_AFTER_MS = 10;
const peeked = nativeMemory(8);

/** Takes a kept connection that is still alive, the one used last first; undefined when there is none. */
export function takeIdle(worker: Worker, server: WebServer): ServerConnection | undefined {
  for (;;) {
    const connection = server.idle.pop();
    if (connection === undefined) return undefined;
    disarm(worker.wheel, connection);
    if (isAlive(worker, connection)) {
      server.counters.reuses++;
      return connection;
    }
    closeServer(worker, connection);
  }
}

/** A web server may close a kept connection at any moment; the event can be behind this one in the queue. */
function isAlive(worker: Worker, connection: ServerConnection): boolean {
  if (connection.stream.hasPeerEnded) return false;
  if (connection.stream.ssl !== 0) return isTlsAlive(connection);
  if (worker.now_ms - connection.idleSince_ms < PEEK_AFTER_MS && !connection.stream.isReadable) return true;
  const count = recv(connection.stream.fd, peeked.address, 1, MSG_PEEK | MSG_DONTWAIT);
  return count < 0 && errno() === EAGAIN;
}

/** A session ticket may have come, which is no reason to close. */
export function isTlsAlive({ stream }: ServerConnection): boolean {
  if (!stream.isReadable) return true;
  stream.isReadable = false;
  const count = sslRead(stream.ssl, peeked.address, 1);
  const isAlive = count <= 0 && sslError(stream.ssl, count) === SSL_ERROR_WANT_READ;
  clearSslErrors();
  return isAlive;
}

/** Starts a new connection. Returns it (on the way), or undefined when the kernel refused at once. */
export function openServer(worker: Worker, pool: PoolRuntime, index: number): ServerConnection | undefined {
  const server = pool.servers[index]!;
  const fd = connectTcp(server.address, server.port);
  if (fd < 0) {
    markDown(worker, pool, index, connectReason(server, -fd));
    return undefined;
  }
  const generation = ++worker.generation | 0;
  const ssl = pool.tls === 0 ? 0 : connectSsl(pool.tls, fd, server.expected, server.session);
  const connection: ServerConnection = {
    kind: "server",
    stream: createStream(fd, generation, ssl, true),
    pool,
    index,
    owner: undefined,
    upstreams: undefined,
    isReused: false,
    isHandshaking: false,
    isSessionTaken: false,
    idleSince_ms: 0,
    isQueuedAgain: false,
    deadline_ms: Infinity,
    slotTick: -1,
    wheelNext: undefined,
    wheelPrevious: undefined,
  };
  server.counters.open_connections++;
  server.counters.connects++;
  worker.connections[fd] = connection;
  watchStream(worker.epoll, fd, generation);
  arm(worker.wheel, connection, worker.now_ms + worker.config.timeouts.connect_ms);
  return connection;
}

/** How far a connection to a web server has come. */
export const CONNECT = { failed: 0, underWay: 1, done: 2 } as const;
export type ConnectStep = (typeof CONNECT)[keyof typeof CONNECT];

const connectReason = ({ address, port }: WebServer, code: number): string =>
  new SysError("connect", code, `to ${address.text} port ${port}`).message;

/** Reads whether the socket is connected. The web server's state follows. */
export function concludeConnect(worker: Worker, connection: ServerConnection): ConnectStep {
  const { pool, index, stream } = connection;
  const code = socketError(stream.fd);
  if (code !== 0) {
    markDown(worker, pool, index, connectReason(pool.servers[index]!, code));
    return CONNECT.failed;
  }
  if (stream.ssl !== 0) return CONNECT.underWay;
  isConnected(worker, connection);
  return CONNECT.done;
}

function isConnected(worker: Worker, connection: ServerConnection): void {
  connection.stream.isConnecting = false;
  disarm(worker.wheel, connection);
  markUp(worker, connection.pool, connection.index);
}

/** Goes on with the TLS handshake of a connected socket. Its time-out is that of connecting. */
export function shakeHands(worker: Worker, connection: ServerConnection): ConnectStep {
  const { pool, index, stream } = connection;
  const server = pool.servers[index]!;
  connection.isHandshaking = true;
  const result = sslHandshake(stream.ssl);
  if (result === 1) {
    connection.isHandshaking = false;
    // What came behind the handshake may stand in OpenSSL's buffer.
    stream.isReadable = true;
    // A server may pass over what it is offered, and then speaks HTTP/1.1.
    if (pool.isHttp2 && !choseHttp2(stream.ssl)) {
      forgetSession(server);
      markDown(worker, pool, index, "TLS: it does not speak HTTP/2 (ALPN)");
      return CONNECT.failed;
    }
    isConnected(worker, connection);
    return CONNECT.done;
  }
  const reason = sslError(stream.ssl, result);
  if (reason === SSL_ERROR_WANT_READ || reason === SSL_ERROR_WANT_WRITE) return CONNECT.underWay;
  forgetSession(server);
  markDown(worker, pool, index, `TLS: ${handshakeFailure(stream.ssl)}`);
  return CONNECT.failed;
}

function forgetSession(server: WebServer): void {
  if (server.session !== 0) freeSession(server.session);
  server.session = 0;
}

/** The newest session is resumed by the next connections: its ticket comes behind the handshake. */
function noteSession(server: WebServer, connection: ServerConnection): void {
  if (connection.isSessionTaken) return;
  const session = takeSession(connection.stream.ssl);
  if (session === 0) return;
  forgetSession(server);
  server.session = session;
  connection.isSessionTaken = true;
}

/** A connect, or its TLS handshake, has taken too long. */
export function markLate(worker: Worker, { pool, index, isHandshaking }: ServerConnection): void {
  const ETIMEDOUT = 110;
  const reason = isHandshaking ? "TLS: no handshake in time" : connectReason(pool.servers[index]!, ETIMEDOUT);
  markDown(worker, pool, index, reason);
}

/** A web server that could not be connected is passed over for a while (the array's passive check). */
export function markDown(worker: Worker, pool: PoolRuntime, index: number, reason: string): void {
  const state = pool.state.servers[index]!;
  const server = pool.servers[index]!;
  server.counters.connect_failures++;
  if (state.downUntil_ms === 0 || server.failure !== reason) {
    worker.log.warn({ pool: pool.name, web_server: server.id, reason }, "web server passed over");
  }
  server.failure = reason;
  state.downUntil_ms = worker.now_ms + worker.config.timeouts.server_retry_ms;
}

/** It is there again. */
export function markUp(worker: Worker, pool: PoolRuntime, index: number): void {
  const state = pool.state.servers[index]!;
  if (state.downUntil_ms === 0) return;
  state.downUntil_ms = 0;
  state.upSince_ms = worker.now_ms;
  worker.log.info({ pool: pool.name, web_server: pool.servers[index]!.id }, "web server is back");
}

/** Keeps a connection for another request, or closes it when there are enough or it can't be used again. */
export function keepOrClose(worker: Worker, connection: ServerConnection): void {
  const { stream } = connection;
  const server = connection.pool.servers[connection.index]!;
  const isUsable =
    !stream.hasPeerEnded && !stream.isBroken && !stream.isConnecting && stream.pending_bytes === 0;
  if (!isUsable || worker.isDraining || server.idle.length >= worker.config.limits.idle_server_connections) {
    closeServer(worker, connection);
    return;
  }
  if (stream.ssl !== 0) noteSession(server, connection);
  connection.owner = undefined;
  connection.isReused = true;
  connection.idleSince_ms = worker.now_ms;
  server.idle.push(connection);
  arm(worker.wheel, connection, worker.now_ms + worker.config.timeouts.server_idle_ms);
}

/** Closes a connection to a web server, wherever it is. */
export function closeServer(worker: Worker, connection: ServerConnection): void {
  const { stream } = connection;
  if (stream.isClosed) return;
  stream.isClosed = true;
  disarm(worker.wheel, connection);
  const server = connection.pool.servers[connection.index]!;
  const at = server.idle.indexOf(connection);
  if (at !== -1) server.idle.splice(at, 1);
  server.counters.open_connections--;
  worker.connections[stream.fd] = undefined;
  dropQueue(stream);
  if (stream.ssl !== 0) freeTls(server, connection);
  close(stream.fd);
}

function freeTls(server: WebServer, connection: ServerConnection): void {
  const { ssl, isConnecting } = connection.stream;
  if (!isConnecting) {
    noteSession(server, connection);
    // Without it OpenSSL takes the session for broken.
    sslShutdown(ssl);
    clearSslErrors();
  }
  sslFree(ssl);
}

/** An exchange has a web server's connection, on the way or open. */
export function joinServer(exchange: Exchange, server: ServerConnection): void {
  server.owner = exchange;
  exchange.server = server;
  const { counters } = server.pool.servers[server.index]!;
  const load = ++server.pool.state.servers[server.index]!.load;
  if (load > counters.most_active_requests) counters.most_active_requests = load;
}

/** It has it no longer. */
export function partServer(exchange: Exchange, server: ServerConnection): void {
  server.owner = undefined;
  exchange.server = undefined;
  server.pool.state.servers[server.index]!.load--;
}

/** An exchange is done with its web server, or with waiting for one. */
export function releaseServer(worker: Worker, exchange: Exchange, isReusable: boolean): void {
  const { server, upstream } = exchange;
  exchange.wantedServer = -1;
  if (exchange.seat !== undefined) stopWaiting(exchange);
  if (upstream !== undefined) return releaseUpstream(worker, upstream);
  if (server === undefined) return;
  if (isReusable) flushStage(worker.serverStage, server.stream, worker.now_ms);
  else clearStage(worker.serverStage);
  partServer(exchange, server);
  if (isReusable) keepOrClose(worker, server);
  else closeServer(worker, server);
}
