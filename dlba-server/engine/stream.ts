/**
 * One socket, plain or TLS: reading, and writing what was staged for it.
 *
 * A worker has one receive buffer and one stage per direction for all its connections. What a session says
 * while it handles one input is staged, and written with one call when the handler has returned: head and
 * small body leave together, and a big body goes from the receive buffer to the socket without a copy. Only
 * what the kernel does not take is copied and queued.
 */
import { EAGAIN, EINTR, recv, send, writev, MSG_DONTWAIT, MSG_NOSIGNAL } from "../../net/sockets.ts";
import { addressOf, errno, nativeMemory } from "../../net/ffi.ts";
import {
  clearSslErrors,
  sslError,
  sslHasPending,
  sslRead,
  sslWrite,
  SSL_ERROR_WANT_READ,
  SSL_ERROR_WANT_WRITE,
} from "../../net/openssl.ts";
import { RECEIVE_BUFFER_BYTES, STAGE_BUFFER_BYTES } from "../../conf/limits.ts";

export interface Stream {
  readonly fd: number;
  /** Tells this socket's events from those of an earlier one with the same descriptor. */
  readonly generation: number;
  /** Address of the SSL object, 0 for a plain connection. */
  readonly ssl: number;
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
  /** What the kernel did not take yet. */
  readonly queue: Buffer[];
  pending_bytes: number;
  /** When the kernel last took something while some was pending. */
  progress_ms: number;
}

export function createStream(fd: number, generation: number, ssl: number, isConnecting: boolean): Stream {
  return {
    fd,
    generation,
    ssl,
    isConnecting,
    isReadable: false,
    isFresh: false,
    hasPeerEnded: false,
    isBroken: false,
    isClosed: false,
    queue: [],
    pending_bytes: 0,
    progress_ms: 0,
  };
}

/** What everything is received into; valid until the next read. */
export const received = nativeMemory(RECEIVE_BUFFER_BYTES);

export const END = 0;
export const WOULD_BLOCK = -1;
export const FAILED = -2;

/** Reads into the receive buffer from `offset` on: a count of bytes, END, WOULD_BLOCK or FAILED. */
export function readStream(stream: Stream, offset: number): number {
  const room = RECEIVE_BUFFER_BYTES - offset;
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
  // close_notify, or an end without it: either way nothing more comes.
  return END;
}

/** What is to be written to one stream when the input's handler has returned. */
export interface Stage {
  readonly bytes: Buffer;
  readonly address: number;
  length: number;
  /** A piece of the receive buffer that follows the staged bytes; equal when there is none. */
  tailStart: number;
  tailEnd: number;
}

export function createStage(): Stage {
  const memory = nativeMemory(STAGE_BUFFER_BYTES);
  return { bytes: memory.bytes, address: memory.address, length: 0, tailStart: 0, tailEnd: 0 };
}

const iovec = nativeMemory(32);

/** Stages text whose char codes are bytes. */
export function stageText(stage: Stage, stream: Stream, text: string, now_ms: number): void {
  makeRoom(stage, stream, text.length, now_ms);
  stage.length += stage.bytes.latin1Write(text, stage.length);
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

/** Settles the tail into the stage, and writes out when there is no room left. */
function makeRoom(stage: Stage, stream: Stream, wanted_bytes: number, now_ms: number): void {
  const tail_bytes = stage.tailEnd - stage.tailStart;
  if (stage.length + tail_bytes + wanted_bytes > STAGE_BUFFER_BYTES) {
    flushStage(stage, stream, now_ms);
    return;
  }
  if (tail_bytes > 0) settleTail(stage);
}

/** A tail up to here is cheaper copied behind the head than gathered by the kernel. */
const COPY_TAIL_BYTES = 8192;

function settleTail(stage: Stage): void {
  received.bytes.copy(stage.bytes, stage.length, stage.tailStart, stage.tailEnd);
  stage.length += stage.tailEnd - stage.tailStart;
  stage.tailStart = stage.tailEnd;
}

/** Writes what is staged; what the kernel does not take is copied to the stream's queue. */
export function flushStage(stage: Stage, stream: Stream, now_ms: number): void {
  const tail_bytes = stage.tailEnd - stage.tailStart;
  if (stage.length + tail_bytes === 0) return;
  let written = 0;
  if (!stream.isBroken && !stream.isConnecting && stream.pending_bytes === 0) {
    written = stream.ssl === 0 ? writePlain(stage, stream) : writeTls(stage, stream);
  }
  if (!stream.isBroken && written < stage.length + tail_bytes) queueRest(stage, stream, written, now_ms);
  clearStage(stage);
}

export function clearStage(stage: Stage): void {
  stage.length = 0;
  stage.tailStart = 0;
  stage.tailEnd = 0;
}

function writePlain(stage: Stage, stream: Stream): number {
  if (stage.length > 0 && stage.tailEnd - stage.tailStart <= COPY_TAIL_BYTES) settleTail(stage);
  const tail_bytes = stage.tailEnd - stage.tailStart;
  if (tail_bytes === 0) return sendPlain(stream, stage.address, stage.length);
  const tailAddress = received.address + stage.tailStart;
  if (stage.length === 0) return sendPlain(stream, tailAddress, tail_bytes);
  setWord(0, stage.address);
  setWord(8, stage.length);
  setWord(16, tailAddress);
  setWord(24, tail_bytes);
  return sent(stream, writev(stream.fd, iovec.address, 2));
}

/** A 64-bit little-endian word out of a number below 2^53, without a BigInt. */
function setWord(offset: number, value: number): void {
  iovec.view.setUint32(offset, value >>> 0, true);
  iovec.view.setUint32(offset + 4, Math.floor(value / 4_294_967_296), true);
}

function sendPlain(stream: Stream, address: number, length_bytes: number): number {
  return sent(stream, send(stream.fd, address, length_bytes, MSG_DONTWAIT | MSG_NOSIGNAL));
}

function sent(stream: Stream, count: number): number {
  if (count >= 0) return count;
  const code = errno();
  if (code !== EAGAIN && code !== EINTR) stream.isBroken = true;
  return 0;
}

function writeTls(stage: Stage, stream: Stream): number {
  if (stage.length === 0) {
    return writeRecords(stream, received.address + stage.tailStart, stage.tailEnd - stage.tailStart);
  }
  if (stage.length + stage.tailEnd - stage.tailStart > STAGE_BUFFER_BYTES) {
    const head = writeRecords(stream, stage.address, stage.length);
    if (head < stage.length) return head;
    return head + writeRecords(stream, received.address + stage.tailStart, stage.tailEnd - stage.tailStart);
  }
  settleTail(stage);
  return writeRecords(stream, stage.address, stage.length);
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
function queueRest(stage: Stage, stream: Stream, written: number, now_ms: number): void {
  const tail_bytes = stage.tailEnd - stage.tailStart;
  const rest = Buffer.allocUnsafe(stage.length + tail_bytes - written);
  const fromStage = Math.max(0, stage.length - written);
  stage.bytes.copy(rest, 0, stage.length - fromStage, stage.length);
  const tailSkip = Math.max(0, written - stage.length);
  received.bytes.copy(rest, fromStage, stage.tailStart + tailSkip, stage.tailEnd);
  if (stream.pending_bytes === 0) stream.progress_ms = now_ms;
  stream.queue.push(rest);
  stream.pending_bytes += rest.length;
}

/** Goes on with what is queued, after the kernel has said that it takes more. */
export function drainQueue(stream: Stream, now_ms: number): void {
  while (stream.queue.length > 0 && !stream.isBroken) {
    const next = stream.queue[0]!;
    const written = writeQueued(stream, next);
    if (written > 0) {
      stream.pending_bytes -= written;
      stream.progress_ms = now_ms;
    }
    if (written < next.length) {
      if (written > 0) stream.queue[0] = next.subarray(written);
      break;
    }
    stream.queue.shift();
  }
  if (stream.isBroken) dropQueue(stream);
}

function writeQueued(stream: Stream, bytes: Buffer): number {
  const address = addressOf(bytes);
  return stream.ssl === 0
    ? sendPlain(stream, address, bytes.length)
    : writeRecords(stream, address, bytes.length);
}

export function dropQueue(stream: Stream): void {
  stream.queue.length = 0;
  stream.pending_bytes = 0;
}
