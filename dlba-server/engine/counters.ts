/**
 * What a worker counts of its web servers and vservers: integers on records that are there anyway, so counting costs an
 * addition and allocates nothing. Everything but the most at once only grows.
 */
import type { AccessEnd } from "../access-line.ts";

/** Counters of one web server, as one worker sees it. */
export interface ServerCounters {
  hits: number;
  open_connections: number;
  cookie_groups: number;
  connect_failures: number;
  response_failures: number;
  response_time_sum_us: number;
  response_time_count: number;
  /** The most requests that it had at once. */
  most_active_requests: number;
  /** Sent to it, and received from it. */
  bytes_in: number;
  bytes_out: number;
  /** Connections made, and requests that took a kept one. */
  connects: number;
  reuses: number;
  /** Requests that came here at a further try, and those that went on to another one from here. */
  retries: number;
  redispatches: number;
  /** Requests that the client, or this web server, broke off. */
  client_aborts: number;
  server_aborts: number;
  /** By status class, 1xx to 5xx at index 1 to 5. */
  readonly responses: number[];
}

/** Counters of one vserver, as one worker sees it. */
export interface VserverCounters {
  accepted: number;
  most_open_connections: number;
  requests: number;
  /** Received from clients, and sent to them, inside of TLS. */
  bytes_in: number;
  bytes_out: number;
  /** Answers that the proxy made itself, and those of them that blamed the client. */
  own_answers: number;
  refused_requests: number;
  client_aborts: number;
  server_aborts: number;
  /** As a web server's. */
  readonly responses: number[];
}

const noResponses = (): number[] => [0, 0, 0, 0, 0, 0];

export function createServerCounters(): ServerCounters {
  return {
    hits: 0,
    open_connections: 0,
    cookie_groups: 0,
    connect_failures: 0,
    response_failures: 0,
    response_time_sum_us: 0,
    response_time_count: 0,
    most_active_requests: 0,
    bytes_in: 0,
    bytes_out: 0,
    connects: 0,
    reuses: 0,
    retries: 0,
    redispatches: 0,
    client_aborts: 0,
    server_aborts: 0,
    responses: noResponses(),
  };
}

export function createVserverCounters(): VserverCounters {
  return {
    accepted: 0,
    most_open_connections: 0,
    requests: 0,
    bytes_in: 0,
    bytes_out: 0,
    own_answers: 0,
    refused_requests: 0,
    client_aborts: 0,
    server_aborts: 0,
    responses: noResponses(),
  };
}

/** A response's status class. */
export function countStatus(responses: number[], status: number): void {
  const index = Math.floor(status / 100);
  responses[index] = (responses[index] ?? 0) + 1;
}

/** A request that did not end as it should; `server` is the web server that had it, if one did. */
export function countAbort(
  vserver: VserverCounters,
  server: ServerCounters | undefined,
  end: Exclude<AccessEnd, "done">,
): void {
  const field = end === "lost" ? "client_aborts" : "server_aborts";
  vserver[field]++;
  if (server !== undefined) server[field]++;
}
