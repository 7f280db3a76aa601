/** What a worker has taken on, and when that is too much: requests are refused then, and those under way go on. */
import { CODER_BYTES, MAX_CODERS, SHED_CONNECTIONS } from "../../conf/limits.ts";
import type { Coding } from "../http/content-coding.ts";
import type { ClientConnection, Exchange, ServerConnection, Worker } from "./runtime.ts";
import { buffered } from "./reading.ts";

/** Keeps what a session has not taken yet (or nothing), and counts it with all else that waits. */
export function hold(exchange: Exchange, bytes: Buffer | undefined): void {
  buffered.bytes += (bytes?.length ?? 0) - (exchange.held?.length ?? 0);
  exchange.held = bytes;
}

/** Counts what waits for a stream's windows, as of now: the frames' side of it knows nothing of the worker. */
export function countWaiting(exchange: Exchange, pending_bytes: number): void {
  buffered.bytes += pending_bytes - exchange.counted_bytes;
  exchange.counted_bytes = pending_bytes;
}

/** The like for all streams to a web server that speaks HTTP/2. */
export function countUpstream({ upstreams }: ServerConnection): void {
  if (upstreams === undefined) return;
  const { pending_bytes } = upstreams.http2;
  buffered.bytes += pending_bytes - upstreams.counted_bytes;
  upstreams.counted_bytes = pending_bytes;
}

/** Whether one more response may be compressed; if not, it goes as it is. */
export const mayCode = ({ coders, config: { limits } }: Worker, coding: Coding): boolean =>
  coders < MAX_CODERS && buffered.bytes + CODER_BYTES[coding] <= limits.memory_bytes;

/** One more is compressed (1), or one less (-1). */
export function countCoder(worker: Worker, coding: Coding, by: 1 | -1): void {
  worker.coders += by;
  buffered.bytes += CODER_BYTES[coding] * by;
}

/** So much waits for a receiver that its sender is not read until some of it has left. */
export function isFull({ config: { limits } }: Worker, pending_bytes: number): boolean {
  if (pending_bytes === 0) return false;
  // When the worker holds too much, it takes no more from whoever's other side is slow.
  return pending_bytes > limits.buffer_bytes || buffered.bytes > limits.memory_bytes;
}

/** Whether a client's requests are refused: too many bytes wait, or he is one client too many. */
export function hasTooMuch({ config: { limits }, clients }: Worker, client: ClientConnection): boolean {
  if (buffered.bytes > limits.memory_bytes) return true;
  return client.isSurplus && clients.size > limits.connections_per_worker;
}

/** Whether one more would be a client too many, who is only told so. */
export const isSurplus = ({ config: { limits }, clients }: Worker): boolean =>
  clients.size >= limits.connections_per_worker;

/** Whether there are even too many to be told. */
export const isCrowded = ({ config: { limits }, clients }: Worker): boolean =>
  clients.size >= limits.connections_per_worker + SHED_CONNECTIONS;
