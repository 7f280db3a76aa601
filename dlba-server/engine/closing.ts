/** How a client connection ends: what is queued leaves, what the client still sends is read, or it is cut off. */
import { LINGER_BYTES, RECEIVE_BUFFER_BYTES } from "../../conf/limits.ts";
import { sslFree } from "../../net/openssl.ts";
import { close, closeWithReset, MSG_DONTWAIT, recv, shutdown, SHUT_WR } from "../../net/sockets.ts";
import { hold } from "./load.ts";
import { freeRecords } from "./records.ts";
import type { ClientConnection, Worker } from "./runtime.ts";
import { releaseServer } from "./server-connections.ts";
import { dropQueue, received, sayEnd } from "./stream.ts";
import { dropConnection } from "../rules/client-connections.ts";
import { arm, disarm } from "./timer-wheel.ts";

/** All has been said: what is queued still leaves, then the connection closes. */
export function finishClosing(worker: Worker, connection: ClientConnection): void {
  const { stream } = connection;
  if (stream.isBroken) dropQueue(stream);
  if (stream.pending_bytes > 0) return updateClosingDeadline(worker, connection);
  if (connection.isLingering) return;
  sayEnd(stream, worker.now_ms);
  if (stream.isBroken) dropQueue(stream);
  if (stream.pending_bytes > 0) return updateClosingDeadline(worker, connection);
  if (connection.lingers && !stream.isBroken) startLinger(worker, connection);
  else destroyClient(worker, connection, "close");
}

/** What is still queued has to leave. */
export function updateClosingDeadline(worker: Worker, connection: ClientConnection): void {
  arm(worker.wheel, connection, connection.stream.progress_ms + worker.config.timeouts.client_write_ms);
}

/**
 * Closing while the client still sends would reset the connection, and the reset could overtake the answer
 * (RFC 9112 9.6): the writing side closes first, and the rest is read and thrown away for a while.
 */
export function startLinger(worker: Worker, connection: ClientConnection): void {
  connection.isHandshaking = false;
  connection.isClosing = true;
  connection.isLingering = true;
  hold(connection.exchange, undefined);
  shutdown(connection.stream.fd, SHUT_WR);
  arm(worker.wheel, connection, worker.now_ms + worker.config.timeouts.linger_ms);
  readLingering(worker, connection);
}

/** Throws away what a client sends after its answer. */
export function readLingering(worker: Worker, connection: ClientConnection): void {
  for (;;) {
    const count = recv(connection.stream.fd, received.address, RECEIVE_BUFFER_BYTES, MSG_DONTWAIT);
    if (count < 0 && !connection.stream.hasPeerEnded) return;
    connection.lingered_bytes += Math.max(0, count);
    if (count <= 0 || connection.lingered_bytes > LINGER_BYTES)
      return destroyClient(worker, connection, "close");
  }
}

/** Frees everything of a client connection. "reset" tells the client that what it has is not the whole. */
export function destroyClient(worker: Worker, connection: ClientConnection, how: "close" | "reset"): void {
  const { stream } = connection;
  if (stream.isClosed) return;
  stream.isClosed = true;
  disarm(worker.wheel, connection);
  if (connection.mux === undefined) releaseServer(worker, connection.exchange, false);
  else for (const { user } of connection.mux.http2.streams.values()) releaseServer(worker, user, false);
  worker.connections[stream.fd] = undefined;
  worker.clients.delete(connection);
  const { vserver, countedFor } = connection;
  vserver.openConnections--;
  if (countedFor !== "") dropConnection(vserver.clientConnections!, countedFor);
  dropQueue(stream);
  hold(connection.exchange, undefined);
  if (stream.ssl !== 0) sslFree(stream.ssl);
  if (stream.records !== undefined) freeRecords(stream.records);
  if (how === "reset") closeWithReset(stream.fd);
  else close(stream.fd);
}
