/** When who has kept the others waiting for too long: the time-outs of an exchange. */
import type { Http2Stream } from "../http2/connection.ts";
import { PHASE } from "../session-port.ts";
import { isFull } from "./load.ts";
import type { ClientConnection, Exchange, ServerConnection, Worker } from "./runtime.ts";
import { arm } from "./timer-wheel.ts";
import { stuckSince_ms, takesMore } from "./upstream-streams.ts";

/** The connection's time-out is that of what its exchange waits for, or of who takes nothing of what is written. */
export function updateDeadline(worker: Worker, exchange: Exchange): void {
  const { phase } = exchange.session;
  if (phase !== exchange.lastPhase) {
    exchange.lastPhase = phase;
    exchange.phaseStart_ms = worker.now_ms;
  }
  const deadline_ms = Math.min(phaseDeadline(worker, exchange), writeDeadline(worker, exchange));
  const bounded_ms = worker.config.timeouts.request_ms === 0 ? Infinity : requestDeadline(worker, exchange);
  arm(worker.wheel, exchange.client, Math.min(deadline_ms, bounded_ms));
}

/** The like for a stream, whose exchange has a time-out of its own. */
export function updateStreamDeadline(
  worker: Worker,
  exchange: Exchange,
  stream: Http2Stream<Exchange>,
): void {
  const { phase } = exchange.session;
  if (phase !== exchange.lastPhase) {
    exchange.lastPhase = phase;
    exchange.phaseStart_ms = worker.now_ms;
  }
  const deadline_ms = streamDeadline(worker, exchange, stream);
  const bounded_ms = worker.config.timeouts.request_ms === 0 ? Infinity : requestDeadline(worker, exchange);
  arm(worker.wheel, exchange, Math.min(deadline_ms, bounded_ms));
}

function streamDeadline(worker: Worker, exchange: Exchange, stream: Http2Stream<Exchange>): number {
  const { timeouts } = worker.config;
  const { server } = exchange;
  // The client takes nothing: as long as it is so, nobody else is to blame.
  if (stream.pending_bytes > 0) return worker.now_ms + timeouts.client_write_ms;
  const phase_ms = phaseDeadline(worker, exchange);
  if (server === undefined || server.stream.pending_bytes === 0 || server.stream.isConnecting)
    return phase_ms;
  return Math.min(phase_ms, server.stream.progress_ms + timeouts.response_head_ms);
}

/** For the whole request under way. */
function requestDeadline({ config: { timeouts } }: Worker, { session, access }: Exchange): number {
  const isBounded = timeouts.request_ms > 0 && session.isRequest && session.phase !== PHASE.tunnel;
  return isBounded ? access.began_ms + timeouts.request_ms : Infinity;
}

/** The request under way has taken too long as a whole. */
export const isOverdue = (worker: Worker, exchange: Exchange): boolean =>
  requestDeadline(worker, exchange) <= worker.now_ms;

/** Phases that end with one event count from their start, those with many from the last one. */
function phaseDeadline(worker: Worker, exchange: Exchange): number {
  const { timeouts } = worker.config;
  const since = exchange.phaseStart_ms;
  switch (exchange.session.phase) {
    case PHASE.idle:
      return since + timeouts.keep_alive_ms;
    case PHASE.requestHead:
      return since + timeouts.request_head_ms;
    case PHASE.requestBody:
      return Math.min(stuckDeadline(worker, exchange), requestBodyDeadline(worker, exchange));
    case PHASE.responseHead:
      return responseHeadDeadline(worker, exchange);
    case PHASE.responseBody:
      return bodyDeadline(worker, exchange, timeouts.response_body_ms, exchange.client);
    case PHASE.tunnel:
      return tunnelDeadline(worker, exchange);
    case PHASE.wait:
      return since + (exchange.waitsIn?.queueTimeout_ms ?? 0);
    case PHASE.connect: // The connection to the web server has its own deadline.
    case PHASE.closed:
      return Infinity;
  }
}

/** Nothing has gone either way; where one side has said its last, the other is expected to come to an end, too. */
function tunnelDeadline(worker: Worker, exchange: Exchange): number {
  const { session, lastInput_ms, phaseStart_ms, server, client } = exchange;
  const { tunnel_ms, request_body_ms } = worker.config.timeouts;
  const isHalf = session.isClientEnded || session.isServerEnded;
  // What was read long ago may still be leaving. An HTTP/2 client's socket has other streams' bytes, too.
  const toClient_ms = exchange.stream === undefined ? client.stream.progress_ms : 0;
  const moved_ms = Math.max(lastInput_ms, phaseStart_ms, toClient_ms, server?.stream.progress_ms ?? 0);
  return moved_ms + (isHalf ? Math.min(tunnel_ms, request_body_ms) : tunnel_ms);
}

/** A web server has its time from when it has got the whole request. */
function responseHeadDeadline(worker: Worker, { phaseStart_ms, upstream }: Exchange): number {
  const { response_head_ms } = worker.config.timeouts;
  if (upstream === undefined) return phaseStart_ms + response_head_ms;
  const stuck_ms = stuckSince_ms(worker, upstream);
  const since_ms = stuck_ms === Infinity ? Math.max(phaseStart_ms, upstream.stuckSince_ms) : stuck_ms;
  return since_ms + response_head_ms;
}

/** For a web server of HTTP/2 that takes no more of the request under way. */
export function stuckDeadline(worker: Worker, { upstream }: Exchange): number {
  if (upstream === undefined) return Infinity;
  return stuckSince_ms(worker, upstream) + worker.config.timeouts.response_head_ms;
}

function requestBodyDeadline(worker: Worker, exchange: Exchange): number {
  const { upstream, server } = exchange;
  if (upstream !== undefined && !takesMore(worker, upstream)) return Infinity;
  return bodyDeadline(worker, exchange, worker.config.timeouts.request_body_ms, server);
}

/** While the receiver holds things up, the sender is not to blame. */
function bodyDeadline(
  worker: Worker,
  exchange: Exchange,
  timeout_ms: number,
  receiver: ClientConnection | ServerConnection | undefined,
): number {
  if (receiver !== undefined && isFull(worker, receiver.stream.pending_bytes)) return Infinity;
  return Math.max(exchange.lastInput_ms, exchange.phaseStart_ms) + timeout_ms;
}

/** A receiver that takes nothing of what is queued for it. */
function writeDeadline(worker: Worker, { client: { stream }, server }: Exchange): number {
  const { timeouts } = worker.config;
  const client = stream.pending_bytes > 0 ? stream.progress_ms + timeouts.client_write_ms : Infinity;
  if (server === undefined || server.stream.pending_bytes === 0 || server.stream.isConnecting) return client;
  return Math.min(client, server.stream.progress_ms + timeouts.response_head_ms);
}
