/**
 * The seam between a session (pure: bytes and events in, bytes and wishes out) and the engine (sockets, TLS,
 * clocks). Nothing on the session's side reads a clock, a random number or a socket, so a session can be
 * replayed, fuzzed, and continued on another node.
 *
 * The engine feeds one input at a time; while it is handled, the session calls the port below, and the engine
 * writes what was staged when the input's handler has returned. A port call never re-enters the session.
 */

import type { IpAddress } from "../conf/address.ts";
import type { AccessEnd } from "./access-line.ts";
import type { Coding, Compression, Step } from "./http/content-coding.ts";
import type { RetryRules } from "./pools/retry-rules.ts";
import type { HeaderEdits } from "./rules/edits.ts";
import type { Persistence } from "./persistence.ts";
import type { Rules } from "./rules/rules.ts";

/** What a session is waiting for; the engine picks the time-out of the phase and calls `onTimeout`. */
export const PHASE = {
  /** Between two requests on a kept connection. */
  idle: 0,
  /** A request head has begun (or the connection is new) and is not complete. */
  requestHead: 1,
  /** The web server is being connected. */
  connect: 2,
  /** The request body is on its way. */
  requestBody: 3,
  /** The request is out, the response head is awaited. */
  responseHead: 4,
  /** The response body is on its way. */
  responseBody: 5,
  /** Nothing more will be said: the engine closes when all is written. */
  closed: 6,
  /** A WebSocket, or what else was upgraded to: bytes go both ways as they come. */
  tunnel: 7,
  /** All web servers that the request may go to have as many as they may. */
  wait: 8,
} as const;
export type Phase = (typeof PHASE)[keyof typeof PHASE];

/** How a request was scheduled, for the tables. */
export const BY = { cookie: 0, newCookie: 1, hash: 2 } as const;

/** What `choose` says when it names no web server. */
export const CHOICE = {
  /** There is none (left). */
  none: -1,
  /** The request has to wait. */
  full: -2,
  /** The worker has too much to do: the request is refused, and its connection closed. */
  shed: -3,
} as const;

/**
 * What a session may ask of the engine. `bytes` are only valid during the call: the engine writes or copies. Web servers
 * are indices into the session's pool, which changes only while it has none.
 */
export interface SessionPort {
  /** Stages bytes for the client: text whose char codes are bytes (latin1), or a piece of a buffer. */
  clientText(text: string): void;
  clientBytes(bytes: Buffer, start: number, end: number): void;
  /**
   * Only for streams: the response head that was read last, which stands in `bytes`, goes to the client; `added` are whole
   * header lines of ours, `edits` those of rules. What a stream's client gets as text is a whole answer.
   */
  clientHead(bytes: Buffer, edits: HeaderEdits | null, added: string): void;
  /** Gets ready to compress this response; false: there are too many already, and it goes as it is. */
  beginCoding(coding: Coding): boolean;
  /** Stages what comes of compressing a piece of content, each piece of it as a chunk. What was begun is over with the request. */
  clientCoded(bytes: Buffer, start: number, end: number, step: Step): void;
  /** Stages bytes for the web server of the request under way. */
  serverText(text: string): void;
  serverBytes(bytes: Buffer, start: number, end: number): void;

  /**
   * Chooses a web server of the session's pool for a request: the one a valid cookie names when it is up, else by the pool's
   * scheduling. `token` is the injected cookie's value or "" for none; `hash` that of the request's key, 0
   * for none; `tried` lists indices that failed for this request. Returns an index into the pool, or what `CHOICE` has.
   */
  choose(token: string, hash: number, tried: readonly number[]): number;
  /** Has the request wait for whom `choose` has just said: `onTurn` follows. False: too many wait already. */
  wait(): boolean;
  /** Takes a retry out of the pool's budget; false when there is none left. */
  mayRetry(): boolean;
  /**
   * Connects to a web server: an idle kept connection when `mayReuse` and one is there, else a new one. Exactly
   * one of `onServerConnected` and `onServerFailed` follows, as a later input.
   */
  connect(server: number, mayReuse: boolean): void;
  /** From here on bytes go both ways as they come, until `requestEnds`. */
  tunnelBegins(): void;
  /** One side of a tunnel has said its last byte: the other hears of it when all is written, and may go on. */
  endClient(): void;
  endServer(): void;
  /** The exchange with the web server is over: its connection may serve others, or must be closed. */
  releaseServer(isReusable: boolean): void;

  /** Writes what is staged, then closes (a stream: ends it); what the client still sends is read and thrown away for a while. */
  closeClient(): void;
  /** Only for streams: the request is malformed, and the stream is reset for it. */
  refuseStream(): void;
  /** Cuts the client off, so that a truncated response can't be mistaken for a whole one. */
  abortClient(): void;

  /** HTML to answer a status with, whose char codes are bytes; undefined: a few words of ours. */
  errorPage(status: number): string | undefined;
  /**
   * Counts the request for the limit of a rule (its index). Returns 0 when it is within, else the time in ms until the client
   * may ask again.
   */
  readonly takeFromLimit: (rule: number) => number;
  /** 24 random bytes in hexadecimal digits, for a trace. */
  readonly newTraceId: () => string;
  /** A key for a WebSocket's upgrade: 16 random bytes in base64. */
  readonly newWebsocketKey: () => string;
  /** A name for a request, different from all others. */
  newRequestId(): string;
  /** A request begins; it is over: answered in full, with a response that broke off, or because the client is gone. */
  requestBegins(): void;
  requestEnds(end: AccessEnd): void;

  /**
   * `bytes[start, end)` is no good request or response, and is answered with this status. `isWhole`: it could be read, and
   * what it says is refused. What was scanned last is forgotten.
   */
  noteRefused(
    kind: "request" | "response",
    status: number,
    bytes: Buffer,
    start: number,
    end: number,
    isWhole: boolean,
  ): void;

  /** For tables and logs: a request was given to a web server; a response head came; the proxy answered itself. */
  countRequest(server: number, by: number): void;
  countResponse(server: number, status: number): void;
  countServerFailure(server: number): void;
  countOwnAnswer(status: number): void;
}

/** What a session knows of a pool that it may give requests to. */
export interface PoolEnv {
  readonly scheduling: "cookie" | "url-hash";
  /** Name of the injected cookie; `setCookie[i]` is the whole header line (with CRLF) that names web server i. */
  readonly cookieName: string;
  readonly setCookie: readonly string[];
  /** Which web server an injected cookie's value names (all of the pool, up or not). */
  readonly tokenIndex: ReadonlyMap<string, number>;
  /** Names of the cookies of the vserver's other pools: the web servers don't see those either. */
  readonly otherCookies: readonly string[];
  readonly persistence: Persistence;
  /** Whether the web servers can be asked for an upgrade: HTTP/2 has none. */
  readonly takesUpgrades: boolean;
  /** Whether connections to web servers are kept. */
  readonly serverKeepAlive: boolean;
  /** When a request is given to another web server after the first one had it. */
  readonly retries: RetryRules;
}

/** What a session knows of where it runs; the same for every connection of a vserver but for the client. */
export interface SessionEnv {
  readonly limits: {
    readonly request_head_bytes: number;
    readonly request_target_bytes: number;
    readonly request_body_bytes: number;
    readonly response_head_bytes: number;
  };
  readonly scheme: "http" | "https";
  /** Lower-case host names served ("*.example.org" for a level); empty: all. */
  readonly hosts: readonly string[];
  /** Where requests may go; to the first one unless a rule says otherwise. A session's `pool` is an index into these. */
  readonly pools: readonly PoolEnv[];
  /** What is decided by the request; null when there are no rules. */
  readonly rules: Rules | null;
  /** Which responses are compressed; null: none are. */
  readonly compression: Compression | null;
  /** Pseudonym in Via. */
  readonly via: string;
  /** Whether requests for an upgrade to the WebSocket protocol go on as such. */
  readonly takesWebsockets: boolean;
  /** Whether web servers are told an X-Request-Id, and whether requests are logged. */
  readonly addsRequestId: boolean;
  /** Whether requests without a valid traceparent get one. */
  readonly addsTraceparent: boolean;
  /** Whether what the access log or a trace tells of a request is kept. */
  readonly isLogged: boolean;
  /** The client's address, where there are rules. */
  readonly clientIp: IpAddress | undefined;
  /** The client's address as text, its port, and whether it may hand on X-Forwarded-For and Forwarded. */
  readonly clientAddress: string;
  readonly clientPort: number;
  readonly isTrustedProxy: boolean;
  /** The address and port that the client connected to (for an absent Host: HTTP/1.0). */
  readonly localAddress: string;
  readonly localPort: number;
}
