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
import { clearStage, createStream, flushStage } from "./stream.ts";
import { arm, disarm } from "./timer-wheel.ts";

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
  if (worker.now_ms - connection.idleSince_ms < PEEK_AFTER_MS && !connection.stream.isReadable) return true;
  const count = recv(connection.stream.fd, peeked.address, 1, MSG_PEEK | MSG_DONTWAIT);
  return count < 0 && errno() === EAGAIN;
}

/** Starts a new connection. Returns it (on the way), or undefined when the kernel refused at once. */
export function openServer(worker: Worker, pool: PoolRuntime, index: number): ServerConnection | undefined {
  const server = pool.servers[index]!;
  const fd = connectTcp(server.address, server.port);
  if (fd < 0) {
    markDown(worker, pool, index, -fd);
    return undefined;
  }
  const generation = ++worker.generation | 0;
  const connection: ServerConnection = {
    kind: "server",
    stream: createStream(fd, generation, 0, true),
    pool,
    index,
    owner: undefined,
    isReused: false,
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

/** Reads how a connect ended: 0 when it succeeded, else the errno. The web server's state follows. */
export function concludeConnect(worker: Worker, connection: ServerConnection): number {
  const code = socketError(connection.stream.fd);
  if (code !== 0) {
    markDown(worker, connection.pool, connection.index, code);
    return code;
  }
  connection.stream.isConnecting = false;
  disarm(worker.wheel, connection);
  markUp(worker, connection.pool, connection.index);
  return 0;
}

/** A web server that could not be connected is passed over for a while (the array's passive check). */
export function markDown(worker: Worker, pool: PoolRuntime, index: number, code: number): void {
  const state = pool.state.servers[index]!;
  const server = pool.servers[index]!;
  server.counters.connect_failures++;
  if (state.downUntil_ms === 0) {
    const reason = new SysError("connect", code, `to ${server.address.text} port ${server.port}`).message;
    worker.log.warn({ pool: pool.name, web_server: server.id, reason }, "web server passed over");
  }
  state.downUntil_ms = worker.now_ms + worker.config.timeouts.server_retry_ms;
}

function markUp(worker: Worker, pool: PoolRuntime, index: number): void {
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
  close(stream.fd);
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
  const { server } = exchange;
  exchange.wantedServer = -1;
  if (server === undefined) return;
  if (isReusable) flushStage(worker.serverStage, server.stream, worker.now_ms);
  else clearStage(worker.serverStage);
  partServer(exchange, server);
  if (isReusable) keepOrClose(worker, server);
  else closeServer(worker, server);
}
