/**
 * One socket, plain, with records of ours, or OpenSSL's: reading, and writing what was staged for it.
 *
 * A worker has one receive buffer and one stage per direction for all its connections. What a session says
 * while it handles one input is staged, and written with one call when the handler has returned: a body stays where it was
 * received, and the head that goes with it is written in front of it there. Only what the kernel does not take is copied
 * and queued.
 */
import {
  EAGAIN,
  EINTR,
  recv,
  send,
  shutdown,
  SHUT_WR,
  MSG_DONTWAIT,
  MSG_NOSIGNAL,
} from "../../net/sockets.ts";
import { addressOf, errno, nativeMemory } from "../../net/ffi.ts";
import {
  clearSslErrors,
  sslError,
  sslHasPending,
  sslRead,
  sslShutdown,
  sslWrite,
  SSL_ERROR_WANT_READ,
  SSL_ERROR_WANT_WRITE,
  SSL_ERROR_ZERO_RETURN,
} from "../../net/openssl.ts";
import { RECEIVE_BUFFER_BYTES } from "../../conf/limits.ts";
import { ALERT } from "../tls13/wire.ts";
import { buffered, CUT, END, FAILED, WOULD_BLOCK } from "./reading.ts";
import { type Records, sealAlert, sealed, sealNext } from "./records.ts";
import { readSealed } from "./sealed-stream.ts";

export interface Stream {
  readonly fd: number;
  /** Tells this socket's events from those of an earlier one with the same descriptor. */
  readonly generation: number;
  /** Address of the SSL object that reads and writes the socket; 0 where there is none. */
  ssl: number;
  /** A client's TLS connection, unless it is OpenSSL's: what is queued is sealed already. */
  records: Records | undefined;
  readonly isTls: boolean;
  /** Not connected yet: what is written is queued. */
  isConnecting: boolean;
  /** The kernel has said that there is something to read, and it has not been read to the end. */
  isReadable: boolean;
  /** Nothing has been read since the kernel said so. */
  isFresh: boolean;
  /** The peer's FIN has been announced: only reading to the end shows what came before it. */
  hasPeerEnded: boolean;
  /** Writing failed: what is still written is thrown away, the end shows when reading. */
  isBroken: boolean;
  isClosed: boolean;
  /** Nothing more is written behind what is queued: then the peer is told so. */
  endsWhenDrained: boolean;
  /** It has been told. */
  isEnded: boolean;
  /** What the kernel did not take yet. */
  readonly queue: Buffer[];
  pending_bytes: number;
  /** When the kernel last took something while some was pending. */
  progress_ms: number;
}

export function createStream(
  fd: number,
  generation: number,
  ssl: number,
  isConnecting: boolean,
  records?: Records,
): Stream {
  return {
    fd,
    generation,
    ssl,
    records,
    isTls: ssl !== 0 || records !== undefined,
    isConnecting,
    isReadable: false,
    isFresh: false,
    hasPeerEnded: false,
    isBroken: false,
    isClosed: false,
    endsWhenDrained: false,
    isEnded: false,
    queue: [],
    pending_bytes: 0,
    progress_ms: 0,
  };
}

/** Room in front of the receive buffer for the head that replaces one that was received. */
const HEADROOM_BYTES = 16_384;
const memory = nativeMemory(HEADROOM_BYTES + RECEIVE_BUFFER_BYTES);
/** What everything is received into; valid until the next read. */
export const received = {
  bytes: memory.bytes.subarray(HEADROOM_BYTES),
  address: memory.address + HEADROOM_BYTES,
};

/** Reads into the receive buffer from `offset` on, as far as `end`: a count of bytes, END, CUT, WOULD_BLOCK or FAILED. */
export function readStream(stream: Stream, offset: number, end = RECEIVE_BUFFER_BYTES): number {
  const room = end - offset;
  const { records } = stream;
  if (records !== undefined) return readSealed(stream, records, received, offset, room);
  return stream.ssl === 0 ? readPlain(stream, offset, room) : readTls(stream, offset, room);
}

function readPlain(stream: Stream, offset: number, room: number): number {
  const count = recv(stream.fd, received.address + offset, room, MSG_DONTWAIT);
  if (count > 0) {
    // Edge-triggered: a short read means that the kernel has no more, unless the peer's end is still to be read.
    if (count < room && !stream.hasPeerEnded) stream.isReadable = false;
    return count;
  }
  if (count === 0) return END;
  const code = errno();
  if (code === EINTR) return readPlain(stream, offset, room);
  if (code !== EAGAIN) return FAILED;
  stream.isReadable = false;
  return WOULD_BLOCK;
}

/** Far below the 16 KB that OpenSSL asks the kernel for at a time. */
const SHORT_RECORD_BYTES = 8192;

function readTls(stream: Stream, offset: number, room: number): number {
  const isFresh = stream.isFresh;
  stream.isFresh = false;
  const count = sslRead(stream.ssl, received.address + offset, room);
  if (count > 0) {
    // One short record with nothing behind it: the kernel gave all it had. Saves a read per request that would block.
    const isShort = isFresh && count < SHORT_RECORD_BYTES && !stream.hasPeerEnded;
    if (isShort && sslHasPending(stream.ssl) === 0) stream.isReadable = false;
    return count;
  }
  const reason = sslError(stream.ssl, count);
  if (reason === SSL_ERROR_WANT_READ || reason === SSL_ERROR_WANT_WRITE) {
    stream.isReadable = false;
    return WOULD_BLOCK;
  }
  clearSslErrors();
  return reason === SSL_ERROR_ZERO_RETURN ? END : CUT;
}

/** What is to be written to one stream when the input's handler has returned: the bytes, then the text, then the tail. */
export interface Stage {
  readonly bytes: Buffer;
  readonly address: number;
  length: number;
  /** Text whose char codes are bytes. */
  text: string;
  /** A piece of the receive buffer; equal when there is none. */
  tailStart: number;
  tailEnd: number;
}

export function createStage(room_bytes: number): Stage {
  const { bytes, address } = nativeMemory(room_bytes);
  return { bytes, address, length: 0, text: "", tailStart: 0, tailEnd: 0 };
}

/** Stages text whose char codes are bytes. */
export function stageText(stage: Stage, stream: Stream, text: string, now_ms: number): void {
  const isFull = stage.length + stage.text.length + text.length > stage.bytes.length;
  if (isFull || stage.tailStart !== stage.tailEnd) {
    makeRoom(stage, stream, text.length, now_ms);
  }
  stage.text = stage.text === "" ? text : stage.text + text;
}

/** Stages a piece of a buffer; of the receive buffer only its place is noted. */
export function stageBytes(
  stage: Stage,
  stream: Stream,
  bytes: Buffer,
  start: number,
  end: number,
  now_ms: number,
): void {
  if (bytes === received.bytes && stage.tailStart === stage.tailEnd) {
    stage.tailStart = start;
    stage.tailEnd = end;
    return;
  }
  if (bytes === received.bytes && stage.tailEnd === start) {
    stage.tailEnd = end;
    return;
  }
  makeRoom(stage, stream, end - start, now_ms);
  bytes.copy(stage.bytes, stage.length, start, end);
  stage.length += end - start;
}

const staged_bytes = ({ length, text, tailStart, tailEnd }: Stage): number =>
  length + text.length + tailEnd - tailStart;

/** Settles all that is staged into the stage's bytes, or writes it out when there is no room left. */
function makeRoom(stage: Stage, stream: Stream, wanted_bytes: number, now_ms: number): void {
  if (staged_bytes(stage) + wanted_bytes > stage.bytes.length) flushStage(stage, stream, now_ms);
  else settleAll(stage);
}

function settleAll(stage: Stage): void {
  if (stage.text !== "") stage.length += stage.bytes.latin1Write(stage.text, stage.length);
  stage.text = "";
  if (stage.tailStart === stage.tailEnd) return;
  received.bytes.copy(stage.bytes, stage.length, stage.tailStart, stage.tailEnd);
  stage.length += stage.tailEnd - stage.tailStart;
  stage.tailStart = stage.tailEnd;
}

/** Writes what is staged; what the kernel does not take is copied to the stream's queue. */
export function flushStage(stage: Stage, stream: Stream, now_ms: number): void {
  if (staged_bytes(stage) === 0) return;
  // An answer is mostly a head and what came behind the one it replaces: that takes no copy of the body.
  const isInFront = stage.length === 0 && stage.text.length <= HEADROOM_BYTES + stage.tailStart;
  if (isInFront && stage.tailStart !== stage.tailEnd) writeInPlace(stage, stream, now_ms);
  else {
    const mayOverflow = staged_bytes(stage) > stage.bytes.length;
    if (mayOverflow) writeInParts(stage, stream, now_ms);
    else {
      settleAll(stage);
      writeOrQueue(stream, stage.bytes, stage.address, 0, stage.length, now_ms);
    }
  }
  clearStage(stage);
}

/** Writes the text in front of the tail, over what came before it and has been read, and both with one call. */
function writeInPlace(stage: Stage, stream: Stream, now_ms: number): void {
  const end = HEADROOM_BYTES + stage.tailEnd;
  const start = HEADROOM_BYTES + stage.tailStart - stage.text.length;
  if (stage.text !== "") memory.bytes.latin1Write(stage.text, start);
  writeOrQueue(stream, memory.bytes, memory.address, start, end, now_ms);
}

/** More than the stage has room for: what comes first goes first. */
function writeInParts(stage: Stage, stream: Stream, now_ms: number): void {
  const { tailStart, tailEnd } = stage;
  stage.tailStart = tailEnd;
  settleAll(stage);
  writeOrQueue(stream, stage.bytes, stage.address, 0, stage.length, now_ms);
  writeOrQueue(stream, received.bytes, received.address, tailStart, tailEnd, now_ms);
}

export function clearStage(stage: Stage): void {
  stage.length = 0;
  stage.text = "";
  stage.tailStart = 0;
  stage.tailEnd = 0;
}

function writeOrQueue(
  stream: Stream,
  bytes: Buffer,
  address: number,
  start: number,
  end: number,
  now_ms: number,
): void {
  if (stream.records !== undefined)
    return writeSealed(stream, stream.records, address + start, end - start, now_ms);
  let written = 0;
  if (!stream.isBroken && !stream.isConnecting && stream.pending_bytes === 0) {
    const write = stream.ssl === 0 ? sendPlain : writeRecords;
    written = write(stream, address + start, end - start);
  }
  if (!stream.isBroken && written < end - start) queueBytes(stream, bytes, start + written, end, now_ms);
}

function writeSealed(
  stream: Stream,
  records: Records,
  address: number,
  length_bytes: number,
  now_ms: number,
): void {
  let taken = 0;
  while (taken < length_bytes && !stream.isBroken && !stream.isClosed) {
    taken += sealNext(records, address + taken, length_bytes - taken);
    sendWire(stream, sealed, now_ms);
  }
}

/** Sends bytes as they are, behind what is queued; what the kernel does not take is queued. */
export function sendWire(
  stream: Stream,
  { bytes, address, length }: { bytes: Buffer; address: number; length: number },
  now_ms: number,
): void {
  const mayGo = !stream.isBroken && stream.pending_bytes === 0;
  const written = mayGo ? sendPlain(stream, address, length) : 0;
  if (!stream.isBroken && written < length) queueBytes(stream, bytes, written, length, now_ms);
}

function sendPlain(stream: Stream, address: number, length_bytes: number): number {
  const count = send(stream.fd, address, length_bytes, MSG_DONTWAIT | MSG_NOSIGNAL);
  if (count >= 0) return count;
  const code = errno();
  if (code !== EAGAIN && code !== EINTR) stream.isBroken = true;
  return 0;
}

/** Writes record by record until all is written or the kernel takes no more. */
function writeRecords(stream: Stream, address: number, length_bytes: number): number {
  let written = 0;
  while (written < length_bytes) {
    const count = sslWrite(stream.ssl, address + written, length_bytes - written);
    if (count > 0) {
      written += count;
      continue;
    }
    const reason = sslError(stream.ssl, count);
    if (reason !== SSL_ERROR_WANT_WRITE && reason !== SSL_ERROR_WANT_READ) {
      clearSslErrors();
      stream.isBroken = true;
    }
    break;
  }
  return written;
}

/** One contiguous copy: OpenSSL wants a record that did not go out offered again from its first byte, no shorter. */
export function queueBytes(stream: Stream, bytes: Buffer, start: number, end: number, now_ms: number): void {
  const rest = Buffer.allocUnsafe(end - start);
  bytes.copy(rest, 0, start, end);
  if (stream.pending_bytes === 0) stream.progress_ms = now_ms;
  stream.queue.push(rest);
  stream.pending_bytes += rest.length;
  buffered.bytes += rest.length;
}

/** Goes on with what is queued, after the kernel has said that it takes more. */
export function drainQueue(stream: Stream, now_ms: number): void {
  while (stream.queue.length > 0 && !stream.isBroken) {
    const next = stream.queue[0]!;
    const written = writeQueued(stream, next);
    if (written > 0) {
      stream.pending_bytes -= written;
      buffered.bytes -= written;
      stream.progress_ms = now_ms;
    }
    if (written < next.length) {
      if (written > 0) stream.queue[0] = next.subarray(written);
      break;
    }
    stream.queue.shift();
  }
  if (stream.isBroken) dropQueue(stream);
  if (stream.endsWhenDrained) endStream(stream, now_ms);
}

function writeQueued(stream: Stream, bytes: Buffer): number {
  const address = addressOf(bytes);
  return stream.ssl === 0
    ? sendPlain(stream, address, bytes.length)
    : writeRecords(stream, address, bytes.length);
}

/** The peer hears that nothing more comes, when all that is queued has left; it may go on sending. */
export function endStream(stream: Stream, now_ms: number): void {
  stream.endsWhenDrained = true;
  if (stream.pending_bytes > 0 || stream.isEnded || stream.isConnecting) return;
  sayEnd(stream, now_ms);
  if (stream.pending_bytes > 0) return;
  stream.isEnded = true;
  shutdown(stream.fd, SHUT_WR);
}

/** TLS's own word for the end of what is written; it is said once. */
export function sayEnd(stream: Stream, now_ms: number): void {
  const { records, ssl } = stream;
  if (ssl !== 0) {
    sslShutdown(ssl);
    clearSslErrors();
  } else if (records?.outgoing !== undefined && !records.hasSaidEnd) {
    records.hasSaidEnd = true;
    sealAlert(records, ALERT.closeNotify);
    sendWire(stream, sealed, now_ms);
  }
}

export function dropQueue(stream: Stream): void {
  buffered.bytes -= stream.pending_bytes;
  stream.queue.length = 0;
  stream.pending_bytes = 0;
}
