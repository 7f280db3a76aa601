/**
 * The state of one client connection: plain data, so that it can be written down as JSON and gone on with
 * elsewhere between any two inputs.
 */
import type { ChunkState } from "../http/chunked.ts";
import type { Coding } from "../http/content-coding.ts";
import { FRAMING, type Framing } from "../http/framing.ts";
import type { LoggedRequest } from "../http/logged.ts";
import { type HeadProgress, resetProgress, startHead } from "../http/head-progress.ts";
import type { HeaderEdits } from "../rules/edits.ts";
import { PHASE, type Phase, type PoolEnv, type SessionEnv } from "../session-port.ts";

export interface Session {
  phase: Phase;

  /** The one request of an HTTP/2 stream; else one after the other on a connection. */
  readonly isStream: boolean;

  // The client's connection.
  /** The client has said its last byte (it may still read). */
  isClientEnded: boolean;
  /** The engine holds client bytes that were offered and not taken. */
  hasUnread: boolean;
  isDraining: boolean;
  /** Empty lines taken before the request head to come. */
  emptyLines: number;
  ownAnswers: number;
  /** How far an incomplete request head has been looked at. */
  requestProgress: HeadProgress;

  // The request under way.
  /** A request has begun and is not over. */
  isRequest: boolean;
  /** What the log tells of it; null where nothing is logged, and for what could not be read. */
  logged: LoggedRequest | null;
  requestId: string;
  /** Its traceparent, where the vserver looks after that; "" for none. */
  traceparent: string;
  clientMinor: number;
  isHead: boolean;
  isIdempotent: boolean;
  /** The client connection may be kept after this request; once the final head is out, what it said. */
  isKept: boolean;
  /** The head as it goes to the web server, kept until a response begins. */
  requestHead: string;
  /** The request has the application's session cookie, where the pool names one. */
  hasSession: boolean;
  /** The injected cookie's value, "" for none, and the hash of the request's key, 0 for none. */
  token: string;
  hash: number;
  expectsContinue: boolean;
  /** The Sec-WebSocket-Key of a request for an upgrade, "" for any other; its answer has to fit. */
  websocketKey: string;
  requestFraming: Framing;
  requestLeft: number;
  requestChunks: ChunkState | null;
  /** Whole lines that follow the body of a stream's request, and of its response. */
  requestTrailers: string;
  responseTrailers: string;
  /** Bytes of the body have gone to the web server. */
  isBodyBegun: boolean;
  /** The whole request has been taken, or none has begun. */
  isRequestDone: boolean;

  // The web server.
  /** Where the request under way goes: an index into the environment's pools. */
  pool: number;
  /** The one being connected or connected; -1 for none. */
  server: number;
  isConnected: boolean;
  isReused: boolean;
  tried: number[];
  tries: number;
  /** How often it was given to another web server after one had it. */
  retries: number;
  /** The web server that this request was last counted for. */
  countedServer: number;

  // The response.
  /** The coding that the client likes best, "" for none; its content is being compressed with that. */
  coding: Coding | "";
  isCoded: boolean;
  /** What rules change of its head. */
  responseEdits: HeaderEdits | null;
  /** The web server has sent something. */
  hasResponse: boolean;
  /** What has come of an incomplete response head (char codes are bytes). */
  responsePart: string;
  responseProgress: HeadProgress;
  interims: number;
  /** The final head has gone to the client. */
  isAnswered: boolean;
  responseFraming: Framing;
  responseLeft: number;
  responseChunks: ChunkState | null;
  /** Chunks are taken off for a client of HTTP/1.0. */
  isDecoded: boolean;
  isServerKept: boolean;
  /** Of a tunnel: the web server has said its last byte. */
  isServerEnded: boolean;
}

/** A session for a connection that has just been accepted, or for a stream. */
export function createSession(isStream = false): Session {
  return {
    isStream,
    phase: PHASE.requestHead,
    isClientEnded: false,
    hasUnread: false,
    isDraining: false,
    emptyLines: 0,
    ownAnswers: 0,
    requestProgress: startHead(),
    isRequest: false,
    logged: null,
    requestId: "",
    traceparent: "",
    clientMinor: 1,
    isHead: false,
    isIdempotent: false,
    isKept: false,
    requestHead: "",
    hasSession: false,
    token: "",
    hash: 0,
    expectsContinue: false,
    websocketKey: "",
    requestFraming: FRAMING.none,
    requestLeft: 0,
    requestChunks: null,
    requestTrailers: "",
    responseTrailers: "",
    isBodyBegun: false,
    isRequestDone: true,
    pool: 0,
    server: -1,
    isConnected: false,
    isReused: false,
    tried: [],
    tries: 0,
    retries: 0,
    countedServer: -1,
    coding: "",
    isCoded: false,
    responseEdits: null,
    hasResponse: false,
    responsePart: "",
    responseProgress: startHead(),
    interims: 0,
    isAnswered: false,
    responseFraming: FRAMING.none,
    responseLeft: 0,
    responseChunks: null,
    isDecoded: false,
    isServerKept: false,
    isServerEnded: false,
  };
}

/** No request is under way: the engine may read, and the head of one is awaited. */
export const awaitsHead = (s: Session): boolean => s.phase === PHASE.idle || s.phase === PHASE.requestHead;

/** The pool of the request under way. */
export const poolOf = (s: Session, env: SessionEnv): PoolEnv => env.pools[s.pool]!;

/** Forgets the last request before the next one on the same connection. */
export function clearRequest(s: Session): void {
  s.isHead = false;
  s.isIdempotent = false;
  s.isKept = false;
  s.requestHead = "";
  s.hasSession = false;
  s.token = "";
  s.hash = 0;
  s.expectsContinue = false;
  s.websocketKey = "";
  s.requestFraming = FRAMING.none;
  s.requestLeft = 0;
  s.requestChunks = null;
  s.isBodyBegun = false;
  s.isRequestDone = false;
  s.pool = 0;
  s.tried.length = 0;
  s.tries = 0;
  s.retries = 0;
  s.countedServer = -1;
  s.coding = "";
  s.responseEdits = null;
  clearResponse(s);
}

/** Makes a stream's session what it was when it was new, for another stream. */
export function renewSession(s: Session): void {
  clearRequest(s);
  s.phase = PHASE.requestHead;
  s.isClientEnded = false;
  s.hasUnread = false;
  s.isDraining = false;
  s.ownAnswers = 0;
  s.isRequest = false;
  s.logged = null;
  s.requestId = "";
  s.requestTrailers = "";
  s.responseTrailers = "";
  s.isRequestDone = true;
}

/** Forgets what a web server was and said, before another one is asked or the exchange ends. */
export function clearResponse(s: Session): void {
  s.server = -1;
  s.isConnected = false;
  s.isReused = false;
  s.hasResponse = false;
  s.responsePart = "";
  resetProgress(s.responseProgress);
  s.interims = 0;
  s.isAnswered = false;
  s.responseFraming = FRAMING.none;
  s.responseLeft = 0;
  s.responseChunks = null;
  s.isDecoded = false;
  s.isCoded = false;
  s.isServerKept = false;
  s.isServerEnded = false;
}
