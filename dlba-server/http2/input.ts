/**
 * Frames that come (RFC 9113 4 to 6). Each is taken whole, checked, and told to the connection's user; what breaks a rule ends
 * its stream or the connection. Time comes in as a number.
 */
import * as limits from "../../conf/limits.ts";
import {
  CLOSED,
  closeStream,
  type Http2Connection,
  type Http2Stream,
  howClosed,
  openStream,
} from "./connection.ts";
import { decodeBlock } from "./hpack-decoder.ts";
import { boundEncoder } from "./hpack-encoder.ts";
import {
  failConnection,
  giveBackUnowned,
  resetStream,
  resumeStream,
  resumeWaiting,
  sendPing,
  sendReset,
  sendSettings,
  sendSettingsAck,
} from "./output.ts";
import { layOutTrailers } from "./request-fields.ts";
import {
  CODE,
  FLAG,
  FRAME,
  FRAME_BYTES,
  FRAME_HEAD_BYTES,
  MAX_WINDOW,
  PREFACE,
  read31,
  SETTING,
} from "./wire.ts";

/**
 * Takes the frames that are whole in `bytes[start, end)`. Returns the index up to which they were taken: the rest, less than a
 * frame, is to be offered again in front of newer bytes.
 */
export function takeFrames<O, X>(
  c: Http2Connection<O, X>,
  bytes: Buffer,
  start: number,
  end: number,
  now_ms: number,
): number {
  let at = start;
  if (now_ms - c.credited_ms >= 1000) credit(c, now_ms);
  if (!c.hasPreface) {
    at = takePreface(c, bytes, start, end);
    if (!c.hasPreface) return c.isFailed ? end : start;
  }
  while (!c.isFailed && end - at >= FRAME_HEAD_BYTES) {
    const length = (bytes[at]! << 16) | (bytes[at + 1]! << 8) | bytes[at + 2]!;
    if (length > FRAME_BYTES) {
      failConnection(c, CODE.frameSizeError);
      break;
    }
    const next = at + FRAME_HEAD_BYTES + length;
    if (next > end) break;
    takeFrame(c, bytes, at, next);
    at = next;
  }
  return c.isFailed ? end : at;
}

function takePreface<O, X>(c: Http2Connection<O, X>, bytes: Buffer, start: number, end: number): number {
  const stop = Math.min(end, start + PREFACE.length);
  if (PREFACE.compare(bytes, start, stop, 0, stop - start) !== 0) failConnection(c, CODE.protocolError);
  else if (stop - start === PREFACE.length) {
    c.hasPreface = true;
    sendSettings(c);
  }
  return stop;
}

/** Credits grow with time. */
function credit<O, X>(c: Http2Connection<O, X>, now_ms: number): void {
  const seconds = c.credited_ms === -Infinity ? 0 : (now_ms - c.credited_ms) / 1000;
  c.credited_ms = now_ms;
  c.idleFrames = Math.min(
    limits.HTTP2_IDLE_FRAMES,
    c.idleFrames + seconds * limits.HTTP2_IDLE_FRAMES_PER_SECOND,
  );
  c.resets = Math.min(limits.HTTP2_RESETS, c.resets + seconds * limits.HTTP2_RESETS_PER_SECOND);
}

/** A frame that does no work. */
function countIdleFrame<O, X>(c: Http2Connection<O, X>): void {
  if (--c.idleFrames < 0) failConnection(c, CODE.enhanceYourCalm);
}

/** A stream that ends for the peer's sake or fault before it is answered. */
function countReset<O, X>(c: Http2Connection<O, X>): void {
  // Whoever we ask resets what it likes.
  if (c.isServer && --c.resets < 0) failConnection(c, CODE.enhanceYourCalm);
}

function takeFrame<O, X>(c: Http2Connection<O, X>, bytes: Buffer, at: number, end: number): void {
  const type = bytes[at + 3]!;
  const flags = bytes[at + 4]!;
  const id = read31(bytes, at + 5);
  const start = at + FRAME_HEAD_BYTES;
  if (c.headStream !== 0 && (type !== FRAME.continuation || id !== c.headStream)) {
    return failConnection(c, CODE.protocolError);
  }
  if (!c.hasSettings && type !== FRAME.settings) return failConnection(c, CODE.protocolError);
  switch (type) {
    case FRAME.data:
      return takeData(c, bytes, flags, id, start, end);
    case FRAME.headers:
      return takeHeaders(c, bytes, flags, id, start, end);
    case FRAME.priority:
      return takePriority(c, bytes, id, start, end);
    case FRAME.rstStream:
      return takeReset(c, bytes, id, start, end);
    case FRAME.settings:
      return takeSettings(c, bytes, flags, id, start, end);
    case FRAME.pushPromise:
      return failConnection(c, CODE.protocolError);
    case FRAME.ping:
      return takePing(c, bytes, flags, id, start, end);
    case FRAME.goaway:
      return takeGoaway(c, bytes, id, start, end);
    case FRAME.windowUpdate:
      return takeWindowUpdate(c, bytes, id, start, end);
    case FRAME.continuation:
      return takeContinuation(c, bytes, flags, id, start, end);
    default:
      // Frames that nobody knows are passed over (RFC 9113 5.5).
      return countIdleFrame(c);
  }
}

/** Whether a stream has never been: frames but HEADERS and PRIORITY on it are nonsense. */
const isIdle = <O, X>(c: Http2Connection<O, X>, id: number): boolean =>
  ((id & 1) === 1) === c.isServer ? id > c.lastStream : id > c.lastOwn;

/** A stream breaks a rule: it is over, and its user hears of it. */
function failStream<O, X>(c: Http2Connection<O, X>, stream: Http2Stream<X>, code: number): void {
  c.port.reset(c, stream, code);
  resetStream(c, stream, code);
  countReset(c);
}

/** A frame of a stream that is over: what was on its way when we had reset it is passed over. */
function takeLate<O, X>(c: Http2Connection<O, X>, id: number): void {
  const how = howClosed(c, id);
  countIdleFrame(c);
  if (how === CLOSED.resetByUs || c.isFailed) return;
  if (how === CLOSED.resetByPeer) sendReset(c, id, CODE.streamClosed);
  else failConnection(c, CODE.streamClosed);
}

/** Where a padded frame's content ends; -1 when there is more padding than frame. The content begins one byte on. */
const paddedEnd = (bytes: Buffer, start: number, end: number): number =>
  start === end || bytes[start]! >= end - start ? -1 : end - bytes[start]!;

function takeData<O, X>(
  c: Http2Connection<O, X>,
  bytes: Buffer,
  flags: number,
  id: number,
  start: number,
  end: number,
): void {
  if (id === 0 || isIdle(c, id)) return failConnection(c, CODE.protocolError);
  const isPadded = (flags & FLAG.padded) !== 0;
  const stop = isPadded ? paddedEnd(bytes, start, end) : end;
  if (stop === -1) return failConnection(c, CODE.protocolError);
  const from = isPadded ? start + 1 : start;
  c.receiveWindow -= end - start;
  if (c.receiveWindow < 0) return failConnection(c, CODE.flowControlError);
  const stream = c.streams.get(id);
  if (stream === undefined) {
    giveBackUnowned(c, end - start);
    return takeLate(c, id);
  }
  if (stream.isRemoteEnded || !stream.hasHead) {
    giveBackUnowned(c, end - start);
    return failStream(c, stream, stream.hasHead ? CODE.streamClosed : CODE.protocolError);
  }
  stream.receiveWindow -= end - start;
  if (stream.receiveWindow < 0) {
    giveBackUnowned(c, end - start);
    return failStream(c, stream, CODE.flowControlError);
  }
  const padding = end - start - (stop - from);
  if (padding > 0) {
    stream.receiveWindow += padding;
    giveBackUnowned(c, padding);
  }
  const isEnd = (flags & FLAG.endStream) !== 0;
  if (stop > from) {
    c.idleFrames++;
    c.dataEnds = isEnd;
    c.port.data(c, stream, bytes, from, stop);
  } else if (!isEnd) countIdleFrame(c);
  if (isEnd && stream.isOpen) endRemote(c, stream, "");
}

function endRemote<O, X>(c: Http2Connection<O, X>, stream: Http2Stream<X>, trailers: string): void {
  stream.isRemoteEnded = true;
  c.port.end(c, stream, trailers);
  if (stream.isLocalEnded) closeStream(c, stream, CLOSED.ended);
}

function takeHeaders<O, X>(
  c: Http2Connection<O, X>,
  bytes: Buffer,
  flags: number,
  id: number,
  start: number,
  end: number,
): void {
  if (id === 0) return failConnection(c, CODE.protocolError);
  let [from, stop] = [start, end];
  if ((flags & FLAG.padded) !== 0) {
    stop = paddedEnd(bytes, start, end);
    if (stop === -1) return failConnection(c, CODE.protocolError);
    from++;
  }
  c.headIsBad = false;
  if ((flags & FLAG.priority) !== 0) {
    if (stop - from < 5) return failConnection(c, CODE.frameSizeError);
    // Priorities are not followed, but a stream that depends on itself is nonsense (RFC 7540 5.3.1).
    c.headIsBad = read31(bytes, from) === id;
    from += 5;
  }
  c.headStream = id;
  c.headEnds = (flags & FLAG.endStream) !== 0;
  if ((flags & FLAG.endHeaders) !== 0) return takeBlock(c, bytes, from, stop);
  c.continuations = 0;
  c.headBlock = Buffer.from(bytes.subarray(from, stop));
}

function takeContinuation<O, X>(
  c: Http2Connection<O, X>,
  bytes: Buffer,
  flags: number,
  id: number,
  start: number,
  end: number,
): void {
  if (id === 0 || c.headStream === 0) return failConnection(c, CODE.protocolError);
  const isTooMuch = c.headBlock.length + end - start > limits.HTTP2_HEADER_BLOCK_BYTES;
  if (isTooMuch || ++c.continuations > limits.HTTP2_CONTINUATIONS) {
    return failConnection(c, CODE.enhanceYourCalm);
  }
  c.headBlock = Buffer.concat([c.headBlock, bytes.subarray(start, end)]);
  if ((flags & FLAG.endHeaders) === 0) return;
  const block = c.headBlock;
  c.headBlock = block.subarray(0, 0);
  takeBlock(c, block, 0, block.length);
}

/** A head is whole. Whatever becomes of it, its block has to be decoded: it changes the table. */
function takeBlock<O, X>(c: Http2Connection<O, X>, bytes: Buffer, start: number, end: number): void {
  const id = c.headStream;
  c.headStream = 0;
  if (!decodeBlock(c.decoder, bytes, start, end, c.maxListBytes)) {
    return failConnection(c, CODE.compressionError);
  }
  const stream = c.streams.get(id);
  if (stream !== undefined) return takeHeadOf(c, stream);
  const isNew = c.isServer && (id & 1) === 1 && id > c.lastStream;
  if (isNew) return takeNew(c, id);
  if (isIdle(c, id) || howClosed(c, id) === CLOSED.unknown) return failConnection(c, CODE.protocolError);
  takeLate(c, id);
}

/** A client opens a stream. */
function takeNew<O, X>(c: Http2Connection<O, X>, id: number): void {
  c.lastStream = id;
  // Said after we had told it where we stop: it will ask again elsewhere.
  if (id > c.lastTaken) return;
  if (c.streams.size >= c.maxStreams || c.headIsBad) {
    sendReset(c, id, c.headIsBad ? CODE.protocolError : CODE.refusedStream);
    c.closedIds[c.closedAt] = id;
    c.closedHow[c.closedAt] = CLOSED.resetByUs;
    c.closedAt = (c.closedAt + 1) % limits.HTTP2_CLOSED_STREAMS;
    return countReset(c);
  }
  const stream = c.port.newStream(c);
  openStream(c, stream, id);
  stream.hasHead = true;
  stream.isRemoteEnded = c.headEnds;
  c.port.head(c, stream, c.headEnds);
}

/** Fields on a stream that is there: trailers, or on our own streams a response's head. */
function takeHeadOf<O, X>(c: Http2Connection<O, X>, stream: Http2Stream<X>): void {
  if (stream.isRemoteEnded) return failStream(c, stream, CODE.streamClosed);
  if (c.headIsBad) return failStream(c, stream, CODE.protocolError);
  if (!stream.hasHead) return takeResponse(c, stream);
  const trailers = c.headEnds ? layOutTrailers() : undefined;
  if (trailers === undefined) return failStream(c, stream, CODE.protocolError);
  endRemote(c, stream, trailers);
}

function takeResponse<O, X>(c: Http2Connection<O, X>, stream: Http2Stream<X>): void {
  const isEnd = c.headEnds;
  stream.isRemoteEnded = isEnd;
  c.port.head(c, stream, isEnd);
  if (isEnd && stream.isOpen && stream.isLocalEnded) closeStream(c, stream, CLOSED.ended);
}

/** Priorities are not followed (RFC 9113 5.3.2). */
function takePriority<O, X>(
  c: Http2Connection<O, X>,
  bytes: Buffer,
  id: number,
  start: number,
  end: number,
): void {
  if (id === 0) return failConnection(c, CODE.protocolError);
  const stream = c.streams.get(id);
  const code = end - start === 5 ? CODE.protocolError : CODE.frameSizeError;
  const isBad = code === CODE.frameSizeError || read31(bytes, start) === id;
  if (!isBad) return countIdleFrame(c);
  if (stream === undefined) failConnection(c, code);
  else failStream(c, stream, code);
}

function takeReset<O, X>(
  c: Http2Connection<O, X>,
  bytes: Buffer,
  id: number,
  start: number,
  end: number,
): void {
  if (id === 0 || isIdle(c, id)) return failConnection(c, CODE.protocolError);
  if (end - start !== 4) return failConnection(c, CODE.frameSizeError);
  const stream = c.streams.get(id);
  if (stream === undefined) return countIdleFrame(c);
  c.port.reset(c, stream, bytes.readUInt32BE(start));
  closeStream(c, stream, CLOSED.resetByPeer);
  countReset(c);
}

function takeSettings<O, X>(
  c: Http2Connection<O, X>,
  bytes: Buffer,
  flags: number,
  id: number,
  start: number,
  end: number,
): void {
  if (id !== 0) return failConnection(c, CODE.protocolError);
  const isAck = (flags & FLAG.ack) !== 0;
  if (isAck ? end > start : (end - start) % 6 !== 0) return failConnection(c, CODE.frameSizeError);
  if (isAck) return countIdleFrame(c);
  if (c.hasSettings) countIdleFrame(c);
  c.hasSettings = true;
  const before = c.initialWindow;
  for (let at = start; at < end; at += 6) {
    const value =
      bytes[at + 2]! * 0x1000000 + ((bytes[at + 3]! << 16) | (bytes[at + 4]! << 8) | bytes[at + 5]!);
    const code = takeSetting(c, (bytes[at]! << 8) | bytes[at + 1]!, value);
    if (code !== CODE.noError) return failConnection(c, code);
  }
  if (c.initialWindow !== before && !shiftWindows(c, c.initialWindow - before)) {
    return failConnection(c, CODE.flowControlError);
  }
  sendSettingsAck(c);
}

function takeSetting<O, X>(c: Http2Connection<O, X>, name: number, value: number): number {
  switch (name) {
    case SETTING.headerTableSize:
      boundEncoder(c.encoder, value);
      return CODE.noError;
    case SETTING.enablePush:
      return value > 1 || (value === 1 && !c.isServer) ? CODE.protocolError : CODE.noError;
    case SETTING.maxConcurrentStreams:
      c.maxPeerStreams = value;
      return CODE.noError;
    case SETTING.initialWindowSize:
      if (value > MAX_WINDOW) return CODE.flowControlError;
      c.initialWindow = value;
      return CODE.noError;
    case SETTING.maxFrameSize:
      return value < FRAME_BYTES || value > 0xffffff ? CODE.protocolError : CODE.noError;
    default:
      return CODE.noError;
  }
}

/** The first window's size counts for the streams that are there, too (RFC 9113 6.9.2). */
function shiftWindows<O, X>(c: Http2Connection<O, X>, by: number): boolean {
  for (const stream of c.streams.values()) {
    stream.sendWindow += by;
    if (stream.sendWindow > MAX_WINDOW) return false;
    if (by > 0) resumeStream(c, stream);
  }
  return true;
}

function takePing<O, X>(
  c: Http2Connection<O, X>,
  bytes: Buffer,
  flags: number,
  id: number,
  start: number,
  end: number,
): void {
  if (id !== 0) return failConnection(c, CODE.protocolError);
  if (end - start !== 8) return failConnection(c, CODE.frameSizeError);
  if ((flags & FLAG.ack) !== 0) {
    countIdleFrame(c);
    return c.port.pinged(c);
  }
  sendPing(c, FLAG.ack, bytes.readInt32BE(start), bytes.readInt32BE(start + 4));
  countIdleFrame(c);
}

function takeGoaway<O, X>(
  c: Http2Connection<O, X>,
  bytes: Buffer,
  id: number,
  start: number,
  end: number,
): void {
  if (id !== 0) return failConnection(c, CODE.protocolError);
  if (end - start < 8) return failConnection(c, CODE.frameSizeError);
  countIdleFrame(c);
  c.port.goneAway(c, read31(bytes, start));
}

function takeWindowUpdate<O, X>(
  c: Http2Connection<O, X>,
  bytes: Buffer,
  id: number,
  start: number,
  end: number,
): void {
  if (end - start !== 4) return failConnection(c, CODE.frameSizeError);
  const more = read31(bytes, start);
  countIdleFrame(c);
  // Streams that waited are nobody's any more.
  if (c.isFailed) return;
  if (id === 0) {
    if (more === 0) return failConnection(c, CODE.protocolError);
    c.sendWindow += more;
    if (c.sendWindow > MAX_WINDOW) return failConnection(c, CODE.flowControlError);
    return resumeWaiting(c);
  }
  if (isIdle(c, id)) return failConnection(c, CODE.protocolError);
  const stream = c.streams.get(id);
  if (stream === undefined) return;
  if (more === 0) return failStream(c, stream, CODE.protocolError);
  stream.sendWindow += more;
  if (stream.sendWindow > MAX_WINDOW) return failStream(c, stream, CODE.flowControlError);
  if (stream.pending_bytes > 0) resumeStream(c, stream);
}
