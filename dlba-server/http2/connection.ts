/**
 * An HTTP/2 connection and its streams (RFC 9113): plain records, and the seam to whoever uses them. Frames that come are
 * taken in input.ts, frames that go are made in output.ts; neither knows a socket or a clock.
 */
import * as limits from "../../conf/limits.ts";
import { createDecoder, type HpackDecoder } from "./hpack-decoder.ts";
import { createEncoder, type HpackEncoder } from "./hpack-encoder.ts";
import { DEFAULT_WINDOW } from "./wire.ts";

/** `X` is what the user keeps of a stream, `O` what it keeps of a connection. Records are used again for other streams. */
export interface Http2Stream<X> {
  readonly user: X;
  id: number;
  /** It is one of its connection's streams. */
  isOpen: boolean;
  /** The peer has said its last, we have (or it waits in `pending`). */
  isRemoteEnded: boolean;
  isLocalEnded: boolean;
  /** A request's body has begun, or a response's final head has come: further fields are trailers. */
  hasHead: boolean;
  /** What we may send, and what the peer may. */
  sendWindow: number;
  receiveWindow: number;
  /** Taken, and not given back to the peer's window yet. */
  unreturned_bytes: number;
  /** Data that no window has room for, and whether the end (with these trailers) follows it. */
  readonly pending: Buffer[];
  pending_bytes: number;
  endsAfterPending: boolean;
  /** Either side may end before the other, as a WebSocket's may (RFC 8441). */
  isTunnel: boolean;
  trailers: string;
  /** It is among those that wait for the connection's window. */
  isWaiting: boolean;
  /** Where its last frame stands in what is gathered, while that is round `lastRound`: its end can still be marked there. */
  lastFrame: number;
  lastRound: number;
}

export function createStream<X>(user: X): Http2Stream<X> {
  return {
    user,
    id: 0,
    isOpen: false,
    isRemoteEnded: false,
    isLocalEnded: false,
    hasHead: false,
    sendWindow: 0,
    receiveWindow: 0,
    unreturned_bytes: 0,
    pending: [],
    pending_bytes: 0,
    endsAfterPending: false,
    isTunnel: false,
    trailers: "",
    isWaiting: false,
    lastFrame: 0,
    lastRound: -1,
  };
}

/** Frames are gathered here; `port.makeRoom` has them written when it is full. */
export interface Gathered {
  readonly bytes: Buffer;
  length: number;
}

export interface Http2Port<O, X> {
  /** Gives the connection something to gather frames in, emptied if it is there already. */
  makeRoom(c: Http2Connection<O, X>): void;
  /** A record for a stream that the peer opens. */
  newStream(c: Http2Connection<O, X>): Http2Stream<X>;
  /** A head has come, and lies in `decoded`; with `isEnded` nothing follows it. */
  head(c: Http2Connection<O, X>, stream: Http2Stream<X>, isEnded: boolean): void;
  /** Data: whoever takes it says so with `giveBack`, now or later. */
  data(c: Http2Connection<O, X>, stream: Http2Stream<X>, bytes: Buffer, start: number, end: number): void;
  /** The peer's last word; `trailers` are whole lines. */
  end(c: Http2Connection<O, X>, stream: Http2Stream<X>, trailers: string): void;
  /** The peer has reset the stream, or it had to be for the peer's fault. Nothing more may be said on it. */
  reset(c: Http2Connection<O, X>, stream: Http2Stream<X>, code: number): void;
  /** All that waited for a window is on its way. */
  drained(c: Http2Connection<O, X>, stream: Http2Stream<X>): void;
  /** The stream is over: its record may be used again once nobody holds it. */
  closed(c: Http2Connection<O, X>, stream: Http2Stream<X>): void;
  /** The peer has acknowledged a PING of ours, takes no more streams, or the connection can't go on. */
  pinged(c: Http2Connection<O, X>): void;
  goneAway(c: Http2Connection<O, X>, lastStream: number): void;
  failed(c: Http2Connection<O, X>, code: number): void;
}

export interface Http2Connection<O, X> {
  readonly port: Http2Port<O, X>;
  readonly owner: O;
  /** We are the side that is asked. */
  readonly isServer: boolean;
  readonly maxStreams: number;
  /** Of a head, as SETTINGS_MAX_HEADER_LIST_SIZE counts. */
  readonly maxListBytes: number;
  /** Clients may ask for other protocols on a stream (RFC 8441). */
  takesProtocols: boolean;
  readonly decoder: HpackDecoder;
  readonly encoder: HpackEncoder;
  readonly streams: Map<number, Http2Stream<X>>;

  // What comes.
  hasPreface: boolean;
  hasSettings: boolean;
  /** The stream whose head is incomplete, and what there is of it; 0: none. */
  headStream: number;
  headEnds: boolean;
  /** Nothing follows the data that comes now, not even trailers. */
  dataEnds: boolean;
  headIsBad: boolean;
  headBlock: Buffer;
  continuations: number;
  /** The highest stream that the peer has opened, and that we have. */
  lastStream: number;
  lastOwn: number;
  receiveWindow: number;
  unreturned_bytes: number;
  /** Streams that are over, as a ring, and whether we had reset them: then what was on its way is passed over. */
  readonly closedIds: Uint32Array;
  readonly closedHow: Uint8Array;
  closedAt: number;
  /** The credits of those who do no work. */
  idleFrames: number;
  resets: number;
  credited_ms: number;

  // What goes.
  out: Gathered | undefined;
  /** Counts the times that what was gathered has been written. */
  round: number;
  sendWindow: number;
  /** What waits for windows, on all streams. */
  pending_bytes: number;
  /** The peer's settings. */
  initialWindow: number;
  maxPeerStreams: number;
  /** Streams that have something to send, and wait for the connection's window. */
  readonly waiting: Http2Stream<X>[];
  /** We take no more streams than up to this one. */
  lastTaken: number;
  /** Nothing is said or taken any more. */
  isFailed: boolean;
}

const NO_BYTES = Buffer.alloc(0);

export function createConnection<O, X>(
  port: Http2Port<O, X>,
  owner: O,
  isServer: boolean,
  maxStreams: number,
  maxListBytes: number,
): Http2Connection<O, X> {
  return {
    port,
    owner,
    isServer,
    maxStreams,
    maxListBytes,
    takesProtocols: false,
    decoder: createDecoder(),
    encoder: createEncoder(),
    streams: new Map(),
    hasPreface: !isServer,
    hasSettings: false,
    headStream: 0,
    headEnds: false,
    dataEnds: false,
    headIsBad: false,
    headBlock: NO_BYTES,
    continuations: 0,
    lastStream: 0,
    lastOwn: -1,
    receiveWindow: DEFAULT_WINDOW,
    unreturned_bytes: 0,
    closedIds: new Uint32Array(limits.HTTP2_CLOSED_STREAMS),
    closedHow: new Uint8Array(limits.HTTP2_CLOSED_STREAMS),
    closedAt: 0,
    idleFrames: limits.HTTP2_IDLE_FRAMES,
    resets: limits.HTTP2_RESETS,
    credited_ms: -Infinity,
    out: undefined,
    round: 0,
    sendWindow: DEFAULT_WINDOW,
    pending_bytes: 0,
    initialWindow: DEFAULT_WINDOW,
    maxPeerStreams: Infinity,
    waiting: [],
    lastTaken: Infinity,
    isFailed: false,
  };
}

/** A stream of the peer's (or of ours) begins. */
export function openStream<O, X>(c: Http2Connection<O, X>, stream: Http2Stream<X>, id: number): void {
  stream.id = id;
  stream.isOpen = true;
  stream.isRemoteEnded = false;
  stream.isLocalEnded = false;
  stream.hasHead = false;
  stream.sendWindow = c.initialWindow;
  stream.receiveWindow = limits.HTTP2_STREAM_WINDOW_BYTES;
  stream.unreturned_bytes = 0;
  stream.pending.length = 0;
  stream.pending_bytes = 0;
  stream.endsAfterPending = false;
  stream.isTunnel = false;
  stream.trailers = "";
  stream.isWaiting = false;
  stream.lastRound = -1;
  c.streams.set(id, stream);
}

/** How a stream that is over has ended; `unknown` for one that is not remembered. */
export const CLOSED = { unknown: 0, ended: 1, resetByPeer: 2, resetByUs: 3 } as const;

/** A stream is over. */
export function closeStream<O, X>(c: Http2Connection<O, X>, stream: Http2Stream<X>, how: number): void {
  if (!stream.isOpen) return;
  stream.isOpen = false;
  c.streams.delete(stream.id);
  c.closedIds[c.closedAt] = stream.id;
  c.closedHow[c.closedAt] = how;
  c.closedAt = (c.closedAt + 1) % limits.HTTP2_CLOSED_STREAMS;
  if (stream.isWaiting) c.waiting.splice(c.waiting.indexOf(stream), 1);
  stream.isWaiting = false;
  stream.pending.length = 0;
  c.pending_bytes -= stream.pending_bytes;
  stream.pending_bytes = 0;
  stream.trailers = "";
  c.port.closed(c, stream);
}

/** The connection can't go on: its streams are over without a word, and what they had to say is dropped. */
export function dropStreams<O, X>(c: Http2Connection<O, X>): void {
  for (const stream of c.streams.values()) {
    stream.isOpen = false;
    stream.isWaiting = false;
    stream.pending.length = 0;
    stream.pending_bytes = 0;
    stream.trailers = "";
  }
  c.streams.clear();
  c.pending_bytes = 0;
  c.waiting.length = 0;
}

export function howClosed<O, X>(c: Http2Connection<O, X>, id: number): number {
  const at = c.closedIds.lastIndexOf(id);
  return at === -1 ? CLOSED.unknown : c.closedHow[at]!;
}
