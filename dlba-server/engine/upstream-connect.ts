/** Which connection to a web server that speaks HTTP/2 an exchange's stream is on: one that has room, or a new one. */
import type { Http2Connection } from "../http2/connection.ts";
import { MAX_STREAM } from "../http2/wire.ts";
import type { Exchange, PoolRuntime, ServerConnection, Worker } from "./runtime.ts";
import { markDown, markUp, openServer } from "./server-connections.ts";
import { disarm } from "./timer-wheel.ts";
import { beginUpstream, joinUpstream, type Upstream } from "./upstream-streams.ts";

/** Streams of a connection before its settings tell of another number. */
const FIRST_STREAMS = 100;

/** Makes what a new connection has besides its socket. */
type Starter = (connection: ServerConnection) => Http2Connection<ServerConnection, Upstream>;
let start: Starter;

/** Tells how connections begin: that is known to who hears of what comes on them. */
export function bindStarter(starter: Starter): void {
  start = starter;
}

/** Gives an exchange a stream to a web server: begun, or waiting for a connection; undefined when there can't be one. */
export function startUpstream(
  worker: Worker,
  exchange: Exchange,
  pool: PoolRuntime,
  index: number,
): "begun" | "waiting" | undefined {
  const server = pool.servers[index]!;
  const kept = server.upstreams.find(hasRoom);
  if (kept === undefined && server.upstreams.some(takesNothing)) {
    markDown(worker, pool, index, "takes no streams (SETTINGS_MAX_CONCURRENT_STREAMS is 0)");
    return undefined;
  }
  const connection = kept ?? openUpstream(worker, pool, index);
  if (connection === undefined) return undefined;
  const upstream = joinUpstream(exchange, connection);
  if (connection.stream.isConnecting) {
    connection.upstreams!.waiting.push(upstream);
    return "waiting";
  }
  server.counters.reuses++;
  markUp(worker, pool, index);
  disarm(worker.wheel, connection);
  beginUpstream(upstream);
  return "begun";
}

function isUsable({ upstreams, stream }: ServerConnection): boolean {
  const { http2, isGoingAway } = upstreams!;
  return !isGoingAway && !http2.isFailed && !stream.hasPeerEnded && http2.lastOwn < MAX_STREAM - 2;
}

function hasRoom(connection: ServerConnection): boolean {
  const { http2, waiting } = connection.upstreams!;
  const most = Math.min(http2.maxPeerStreams, http2.hasSettings ? Infinity : FIRST_STREAMS);
  return isUsable(connection) && http2.streams.size + waiting.length < most;
}

/** Its web server wants no requests for now, on any other connection as little; it may say otherwise here. */
const takesNothing = (connection: ServerConnection): boolean =>
  isUsable(connection) && connection.upstreams!.http2.maxPeerStreams === 0;

function openUpstream(worker: Worker, pool: PoolRuntime, index: number): ServerConnection | undefined {
  const connection = openServer(worker, pool, index);
  if (connection === undefined) return undefined;
  connection.upstreams = {
    http2: start(connection),
    stage: undefined,
    held: undefined,
    waiting: [],
    isGoingAway: false,
    heard_ms: worker.now_ms,
    counted_bytes: 0,
  };
  pool.servers[index]!.upstreams.push(connection);
  return connection;
}
