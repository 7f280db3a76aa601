/** Streams to web servers that speak HTTP/2: each is an exchange's, and many are on one connection. */
import { RECEIVE_BUFFER_BYTES } from "../../conf/limits.ts";
import { createStream, type Http2Connection, type Http2Stream, openStream } from "../http2/connection.ts";
import { type MessageIn, startResponse } from "../http2/from-server.ts";
import { giveBack, resetStream } from "../http2/output.ts";
import { type MessageOut, sendMessage, startMessage } from "../http2/to-server.ts";
import { CODE } from "../http2/wire.ts";
import type { ServerCounters } from "./counters.ts";
import { isFull } from "./load.ts";
import type { Exchange, ServerConnection, Worker } from "./runtime.ts";
import type { Stage } from "./stream.ts";

/** An exchange's share of a connection to a web server. */
export interface Upstream {
  readonly connection: ServerConnection;
  exchange: Exchange | undefined;
  stream: Http2Stream<Upstream> | undefined;
  readonly request: MessageOut;
  readonly response: MessageIn;
  /** Data that the session has got, while its client could not take more: given back when it can. */
  owed_bytes: number;
  /** Since when the web server takes no more of the request, and how much of it waits; -1: it takes what comes, since then. */
  stuckSince_ms: number;
  stuck_bytes: number;
}

/** What a connection to a web server has besides its frames' state. */
export interface UpstreamMux {
  readonly http2: Http2Connection<ServerConnection, Upstream>;
  stage: Stage | undefined;
  /** Less than a frame. */
  held: Buffer | undefined;
  /** Those that wait for the connection. */
  readonly waiting: Upstream[];
  /** The web server takes no more streams here, or says nothing. */
  isGoingAway: boolean;
  /** When something came last. */
  heard_ms: number;
  /** What of its streams waits for windows, as it was counted last. */
  counted_bytes: number;
}
export const countersOf = ({ pool, index }: ServerConnection): ServerCounters =>
  pool.servers[index]!.counters;
const scratch = Buffer.allocUnsafeSlow(RECEIVE_BUFFER_BYTES * 2);

/** An exchange will have a stream on this connection. */
export function joinUpstream(exchange: Exchange, connection: ServerConnection): Upstream {
  const { pool, index } = connection;
  const upstream: Upstream = {
    connection,
    exchange,
    stream: undefined,
    request: startMessage(),
    response: startResponse(),
    owed_bytes: 0,
    stuckSince_ms: 0,
    stuck_bytes: -1,
  };
  exchange.upstream = upstream;
  const load = ++pool.state.servers[index]!.load;
  const counters = countersOf(connection);
  if (load > counters.most_active_requests) counters.most_active_requests = load;
  return upstream;
}

/** It has it, now that the connection is there. */
export function beginUpstream(upstream: Upstream): void {
  const { http2 } = upstream.connection.upstreams!;
  const stream = createStream(upstream);
  http2.lastOwn += 2;
  openStream(http2, stream, http2.lastOwn);
  upstream.stream = stream;
}

/** The exchange is done with its stream, or with waiting for one. */
export function releaseUpstream(worker: Worker, upstream: Upstream): void {
  const { connection, stream } = upstream;
  const mux = connection.upstreams!;
  const { http2, waiting } = mux;
  partUpstream(upstream);
  const at = waiting.indexOf(upstream);
  if (at !== -1) waiting.splice(at, 1);
  // What was to come of it is nobody's any more.
  if (stream === undefined || !stream.isOpen || http2.isFailed) return;
  const isOver = stream.isRemoteEnded && stream.isLocalEnded;
  if (isOver) return;
  // Given up in a long silence: the other end may be gone without a word, and the next request had better not find out.
  const silence_ms = worker.config.timeouts.response_head_ms / 2;
  if (mux.heard_ms + silence_ms <= worker.now_ms) mux.isGoingAway = true;
  resetStream(http2, stream, CODE.cancel);
}

/** The exchange and its stream have nothing to do with each other any more. */
export function partUpstream(upstream: Upstream): void {
  const { exchange, connection } = upstream;
  if (exchange === undefined) return;
  exchange.upstream = undefined;
  upstream.exchange = undefined;
  connection.pool.state.servers[connection.index]!.load--;
}

/** A piece of the request, as a session writes it. */
export function sayUpstream(upstream: Upstream, bytes: Buffer, start: number, end: number): void {
  const { connection, stream, request } = upstream;
  if (stream === undefined || !stream.isOpen) return;
  countersOf(connection).bytes_in += end - start;
  const scheme = connection.pool.tls === 0 ? "http" : "https";
  sendMessage(connection.upstreams!.http2, stream, request, scheme, bytes, start, end);
}

export const sayUpstreamText = (upstream: Upstream, text: string): void =>
  sayUpstream(upstream, scratch, 0, scratch.latin1Write(text));

/** Whether the web server has taken what it was sent. */
export const takesMore = (worker: Worker, { connection, stream }: Upstream): boolean =>
  (stream === undefined || stream.pending_bytes === 0) && !isFull(worker, connection.stream.pending_bytes);

/** Since when the web server has taken nothing of what waits for its windows or its socket; Infinity when it takes what comes. */
export function stuckSince_ms(worker: Worker, upstream: Upstream): number {
  if (takesMore(worker, upstream)) {
    if (upstream.stuck_bytes !== -1) upstream.stuckSince_ms = worker.now_ms;
    upstream.stuck_bytes = -1;
    return Infinity;
  }
  const pending_bytes = upstream.stream?.pending_bytes ?? 0;
  if (upstream.stuck_bytes === -1 || pending_bytes < upstream.stuck_bytes)
    upstream.stuckSince_ms = worker.now_ms;
  upstream.stuck_bytes = pending_bytes;
  return upstream.stuckSince_ms;
}

/** The client has taken what it was sent: the web server may send on. */
export function payBack(upstream: Upstream): void {
  const { connection, stream, owed_bytes } = upstream;
  if (owed_bytes === 0 || stream === undefined) return;
  upstream.owed_bytes = 0;
  giveBack(connection.upstreams!.http2, stream, owed_bytes);
}
