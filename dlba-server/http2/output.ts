/** Frames that go: gathered per connection, and written by its user at the end of a turn. */
import * as limits from "../../conf/limits.ts";
import { CLOSED, closeStream, type Gathered, type Http2Connection, type Http2Stream } from "./connection.ts";
import { beginBlock, encodeField } from "./hpack-encoder.ts";
import {
  CODE,
  DEFAULT_WINDOW,
  FLAG,
  FRAME,
  FRAME_BYTES,
  FRAME_HEAD_BYTES,
  MAX_STREAM,
  PREFACE,
  SETTING,
  write32,
  writeFrameHead,
} from "./wire.ts";

/** Somewhere with room for so many bytes more. */
export function roomFor<O, X>(c: Http2Connection<O, X>, bytes: number): Gathered {
  if (c.out === undefined || c.out.length + bytes > c.out.bytes.length) c.port.makeRoom(c);
  return c.out!;
}

function writeShort<O, X>(
  c: Http2Connection<O, X>,
  type: number,
  flags: number,
  stream: number,
  first: number,
  second: number,
  length: number,
): void {
  const out = roomFor(c, FRAME_HEAD_BYTES + 8);
  writeFrameHead(out.bytes, out.length, length, type, flags, stream);
  const at = out.length + FRAME_HEAD_BYTES;
  if (length >= 4) write32(out.bytes, at, first);
  if (length >= 8) write32(out.bytes, at + 4, second);
  out.length = at + length;
}

const writeWindowUpdate = <O, X>(c: Http2Connection<O, X>, stream: number, bytes: number): void =>
  writeShort(c, FRAME.windowUpdate, 0, stream, bytes, 0, 4);

/** The first bytes of who asks. */
export function sendPreface<O, X>(c: Http2Connection<O, X>): void {
  const out = roomFor(c, PREFACE.length);
  out.length += PREFACE.copy(out.bytes, out.length);
}

/** What either side begins with: its settings, and the connection's whole window. */
export function sendSettings<O, X>(c: Http2Connection<O, X>): void {
  const settings: [number, number][] = [
    [SETTING.maxConcurrentStreams, c.maxStreams],
    [SETTING.maxHeaderListSize, c.maxListBytes],
    [SETTING.initialWindowSize, limits.HTTP2_STREAM_WINDOW_BYTES],
  ];
  if (!c.isServer) settings.push([SETTING.enablePush, 0]);
  if (c.takesProtocols) settings.push([SETTING.enableConnectProtocol, 1]);
  const out = roomFor(c, FRAME_HEAD_BYTES + settings.length * 6);
  writeFrameHead(out.bytes, out.length, settings.length * 6, FRAME.settings, 0, 0);
  out.length += FRAME_HEAD_BYTES;
  for (const [name, value] of settings) {
    out.bytes[out.length] = 0;
    out.bytes[out.length + 1] = name;
    write32(out.bytes, out.length + 2, value);
    out.length += 6;
  }
  c.receiveWindow = limits.HTTP2_CONNECTION_WINDOW_BYTES;
  writeWindowUpdate(c, 0, limits.HTTP2_CONNECTION_WINDOW_BYTES - DEFAULT_WINDOW);
}

export const sendSettingsAck = <O, X>(c: Http2Connection<O, X>): void =>
  writeShort(c, FRAME.settings, FLAG.ack, 0, 0, 0, 0);

/** A PING, or with `ack` the answer to one; eight bytes in two numbers. */
export const sendPing = <O, X>(
  c: Http2Connection<O, X>,
  flags: number,
  first: number,
  second: number,
): void => writeShort(c, FRAME.ping, flags, 0, first, second, 8);

/** Tells the peer up to which stream its requests are served. */
export function sendGoaway<O, X>(c: Http2Connection<O, X>, lastStream: number, code: number): void {
  if (code === CODE.noError) c.lastTaken = Math.min(c.lastTaken, lastStream);
  writeShort(c, FRAME.goaway, 0, 0, lastStream, code, 8);
}

/** The first of two: it closes nothing yet, since requests are on their way (RFC 9113 6.8). A PING tells when they are here. */
export function announceGoaway<O, X>(c: Http2Connection<O, X>): void {
  sendGoaway(c, MAX_STREAM, CODE.noError);
  sendPing(c, 0, 0, 0);
}

/** The connection can't go on. */
export function failConnection<O, X>(c: Http2Connection<O, X>, code: number): void {
  if (c.isFailed) return;
  sendGoaway(c, c.lastStream, code);
  c.isFailed = true;
  c.port.failed(c, code);
}

/** Ends a stream before its time; the user knows. */
export function resetStream<O, X>(c: Http2Connection<O, X>, stream: Http2Stream<X>, code: number): void {
  if (!stream.isOpen) return;
  writeShort(c, FRAME.rstStream, 0, stream.id, code, 0, 4);
  closeStream(c, stream, CLOSED.resetByUs);
}

/** Answers a frame of a stream that is not there. */
export const sendReset = <O, X>(c: Http2Connection<O, X>, id: number, code: number): void =>
  writeShort(c, FRAME.rstStream, 0, id, code, 0, 4);

/** So much of what the peer has sent is taken: it may send as much again. Told in portions of half a window. */
export function giveBack<O, X>(c: Http2Connection<O, X>, stream: Http2Stream<X>, bytes: number): void {
  if (c.isFailed) return;
  giveBackUnowned(c, bytes);
  if (!stream.isOpen || stream.isRemoteEnded) return;
  stream.unreturned_bytes += bytes;
  if (stream.unreturned_bytes * 2 < limits.HTTP2_STREAM_WINDOW_BYTES) return;
  stream.receiveWindow += stream.unreturned_bytes;
  writeWindowUpdate(c, stream.id, stream.unreturned_bytes);
  stream.unreturned_bytes = 0;
}

/** The like for bytes that are nobody's: padding, and what comes after a stream's end. */
export function giveBackUnowned<O, X>(c: Http2Connection<O, X>, bytes: number): void {
  c.unreturned_bytes += bytes;
  if (c.unreturned_bytes * 2 < limits.HTTP2_CONNECTION_WINDOW_BYTES) return;
  c.receiveWindow += c.unreturned_bytes;
  writeWindowUpdate(c, 0, c.unreturned_bytes);
  c.unreturned_bytes = 0;
}

/** Begins a head: returns where its block goes, with room for so many bytes. `endHead` closes it. */
export function beginHead<O, X>(c: Http2Connection<O, X>, blockBytes: number): Gathered {
  // The peer's table bound, and the heads of the frames that a large block is cut into.
  const out = roomFor(
    c,
    FRAME_HEAD_BYTES + blockBytes + 12 + Math.ceil(blockBytes / FRAME_BYTES) * FRAME_HEAD_BYTES,
  );
  headStart = out.length;
  out.length = beginBlock(c.encoder, out.bytes, out.length + FRAME_HEAD_BYTES);
  return out;
}
let headStart = 0;

/** Closes the head that was begun last, as the stream's. */
export function endHead<O, X>(c: Http2Connection<O, X>, stream: Http2Stream<X>, flags: number): void {
  const out = c.out!;
  const length = out.length - headStart - FRAME_HEAD_BYTES;
  const isWhole = length <= FRAME_BYTES;
  const first = isWhole ? length : FRAME_BYTES;
  const headFlags = isWhole ? flags | FLAG.endHeaders : flags;
  writeFrameHead(out.bytes, headStart, first, FRAME.headers, headFlags, stream.id);
  if (!isWhole) continueHead(out, stream.id, headStart + FRAME_HEAD_BYTES + FRAME_BYTES);
  // An end that follows is marked on HEADERS, even when CONTINUATION frames come after it.
  stream.lastFrame = headStart;
  stream.lastRound = c.round;
}

/** Cuts what stands from `at` on into CONTINUATION frames, since no frame may be larger than the peer takes. */
function continueHead(out: Gathered, id: number, from: number): void {
  for (let at = from; at < out.length;) {
    const length = Math.min(FRAME_BYTES, out.length - at);
    out.bytes.copyWithin(at + FRAME_HEAD_BYTES, at, out.length);
    out.length += FRAME_HEAD_BYTES;
    const isLast = at + FRAME_HEAD_BYTES + length === out.length;
    writeFrameHead(out.bytes, at, length, FRAME.continuation, isLast ? FLAG.endHeaders : 0, id);
    at += FRAME_HEAD_BYTES + length;
  }
}

/** Says data on a stream: what the windows have no room for is kept, and follows. */
export function sendData<O, X>(
  c: Http2Connection<O, X>,
  stream: Http2Stream<X>,
  bytes: Buffer,
  start: number,
  end: number,
): void {
  const from = stream.pending_bytes > 0 ? start : writeDataFrames(c, stream, bytes, start, end);
  if (from === end) return;
  stream.pending.push(Buffer.from(bytes.subarray(from, end)));
  stream.pending_bytes += end - from;
  c.pending_bytes += end - from;
  if (!stream.isWaiting && stream.sendWindow > 0) wait(c, stream);
}

/** As many frames as the windows allow; returns the index after what is in them. */
function writeDataFrames<O, X>(
  c: Http2Connection<O, X>,
  stream: Http2Stream<X>,
  bytes: Buffer,
  start: number,
  end: number,
): number {
  let at = start;
  while (at < end) {
    const length = Math.min(end - at, c.sendWindow, stream.sendWindow, FRAME_BYTES);
    if (length <= 0) return at;
    const out = roomFor(c, FRAME_HEAD_BYTES + length);
    stream.lastFrame = out.length;
    stream.lastRound = c.round;
    writeFrameHead(out.bytes, out.length, length, FRAME.data, 0, stream.id);
    bytes.copy(out.bytes, out.length + FRAME_HEAD_BYTES, at, at + length);
    out.length += FRAME_HEAD_BYTES + length;
    c.sendWindow -= length;
    stream.sendWindow -= length;
    c.idleFrames += 4;
    at += length;
  }
  return at;
}

function wait<O, X>(c: Http2Connection<O, X>, stream: Http2Stream<X>): void {
  stream.isWaiting = true;
  c.waiting.push(stream);
}

/** Our last word on a stream, `trailers` being whole lines. */
export function endStream<O, X>(c: Http2Connection<O, X>, stream: Http2Stream<X>, trailers: string): void {
  if (!stream.isOpen || stream.isLocalEnded || stream.endsAfterPending) return;
  if (stream.pending_bytes > 0) {
    stream.endsAfterPending = true;
    stream.trailers = trailers;
    return;
  }
  stream.isLocalEnded = true;
  if (trailers !== "") writeTrailers(c, stream, trailers);
  else if (stream.lastRound === c.round) c.out!.bytes[stream.lastFrame + 4]! |= FLAG.endStream;
  else writeShort(c, FRAME.data, FLAG.endStream, stream.id, 0, 0, 0);
  if (stream.isRemoteEnded) closeStream(c, stream, CLOSED.ended);
  // What a client still sends of a request that is answered is not wanted any more (RFC 9113 8.1).
  else if (c.isServer && !stream.isTunnel) resetStream(c, stream, CODE.noError);
}

/** A tunnel is over on both sides, whatever the client would still say. */
export function closeTunnel<O, X>(c: Http2Connection<O, X>, stream: Http2Stream<X>): void {
  stream.isTunnel = false;
  endStream(c, stream, "");
  if (!stream.isOpen || !stream.isLocalEnded) return;
  if (stream.isRemoteEnded) closeStream(c, stream, CLOSED.ended);
  else resetStream(c, stream, CODE.noError);
}

/** Lines that are added to a head, or follow a body. */
const lines = Buffer.allocUnsafeSlow(limits.HTTP2_OUT_BYTES);

function writeTrailers<O, X>(c: Http2Connection<O, X>, stream: Http2Stream<X>, trailers: string): void {
  const out = beginHead(c, trailers.length * 2);
  encodeLines(c, out, trailers);
  endHead(c, stream, FLAG.endStream);
}

/** Encodes whole field lines of text (char codes are bytes) into a head under way, for which room has been made. */
export function encodeLines<O, X>(c: Http2Connection<O, X>, out: Gathered, text: string): void {
  const length = lines.latin1Write(text);
  for (let at = 0; at < length;) {
    const nameEnd = lines.indexOf(58, at);
    const end = lines.indexOf(13, nameEnd);
    let [valueStart, valueEnd] = [nameEnd + 1, end];
    while (valueStart < end && (lines[valueStart] === 32 || lines[valueStart] === 9)) valueStart++;
    while (valueEnd > valueStart && (lines[valueEnd - 1] === 32 || lines[valueEnd - 1] === 9)) valueEnd--;
    out.length = encodeField(
      c.encoder,
      out.bytes,
      out.length,
      lines,
      at,
      nameEnd,
      valueStart,
      valueEnd,
      true,
    );
    at = end + 2;
  }
}

/** A stream's own window has room again: what it has waiting goes on. */
export function resumeStream<O, X>(c: Http2Connection<O, X>, stream: Http2Stream<X>): void {
  if (stream.pending_bytes === 0) return;
  if (c.sendWindow <= 0) {
    if (!stream.isWaiting) wait(c, stream);
    return;
  }
  while (stream.pending.length > 0) {
    const next = stream.pending[0]!;
    const written = writeDataFrames(c, stream, next, 0, next.length);
    stream.pending_bytes -= written;
    c.pending_bytes -= written;
    if (written < next.length) {
      stream.pending[0] = next.subarray(written);
      if (stream.sendWindow > 0 && !stream.isWaiting) wait(c, stream);
      return;
    }
    stream.pending.shift();
  }
  if (stream.endsAfterPending) {
    stream.endsAfterPending = false;
    endStream(c, stream, stream.trailers);
  } else c.port.drained(c, stream);
}

/** The connection's window has room again: those that waited for it go on, one after the other. */
export function resumeWaiting<O, X>(c: Http2Connection<O, X>): void {
  for (let left = c.waiting.length; left > 0 && c.sendWindow > 0; left--) {
    const stream = c.waiting.shift();
    if (stream === undefined) return;
    stream.isWaiting = false;
    resumeStream(c, stream);
  }
}
