/** Reading a client's TLS 1.3 connection, whose records are ours (records.ts). */
import { RECEIVE_BUFFER_BYTES } from "../../conf/limits.ts";
import { errno } from "../../net/ffi.ts";
import { EAGAIN, EINTR, MSG_DONTWAIT, MSG_NOSIGNAL, recv, send } from "../../net/sockets.ts";
import { CUT, END, FAILED, WOULD_BLOCK } from "./reading.ts";
import {
  hasRecord,
  keep,
  NO_ANSWER,
  opened,
  openRecords,
  type Records,
  sealAlert,
  sealed,
  takePlain,
  type Target,
  unkeep,
  wire,
} from "./records.ts";
import type { Stream } from "./stream.ts";

/**
 * Receives behind `wire[0, end)`. Returns where what there is ends then, or END, WOULD_BLOCK or FAILED with nothing received. A short
 * read means that the kernel has no more, unless the peer's end is still to be read.
 */
export function receiveWire(stream: Stream, end: number): number {
  const count = recv(stream.fd, wire.address + end, RECEIVE_BUFFER_BYTES, MSG_DONTWAIT);
  if (count > 0) {
    if (count < RECEIVE_BUFFER_BYTES && !stream.hasPeerEnded) stream.isReadable = false;
    return end + count;
  }
  if (count === 0) return END;
  const code = errno();
  if (code === EINTR) return receiveWire(stream, end);
  if (code !== EAGAIN) return FAILED;
  stream.isReadable = false;
  return WOULD_BLOCK;
}

/** Like `readStream`: opened bytes go to `target[offset, offset + room)`. `stream.isReadable` stays true while there is more to open. */
export function readSealed(
  stream: Stream,
  records: Records,
  target: Target,
  offset: number,
  room: number,
): number {
  for (;;) {
    const before = takePlain(records, target, offset, room);
    if (before > 0) return before;
    if (records.hasEnded) return END;
    if (records.alert !== undefined) {
      // Only now: what came before it has been answered, and nothing may follow an alert (RFC 8446 6.2).
      if (records.alert !== NO_ANSWER) sendAlert(stream, records, records.alert);
      return FAILED;
    }
    const end = fillWire(stream, records);
    if (end <= 0) return end;
    const count = openRecords(records, end, target, offset, room);
    if (hasMore(records, end)) stream.isReadable = true;
    if (count > 0) return count;
    if (!stream.isReadable) return WOULD_BLOCK;
  }
}

/** Brings a whole record, or what there is of it, into `wire`. Returns where it ends, or what `readStream` would return. */
function fillWire(stream: Stream, records: Records): number {
  const kept = unkeep(records);
  if (hasRecord(0, kept)) return kept;
  const end = receiveWire(stream, kept);
  if (end > 0) return end;
  keep(records, 0, kept);
  return end === END ? CUT : end;
}

/** Keeps what is still to be opened. Returns whether reading goes on without the kernel's saying so. */
function hasMore(records: Records, end: number): boolean {
  if (records.alert !== undefined || records.hasEnded) return true;
  const { at } = opened;
  const isMore = records.plain !== undefined || hasRecord(at, end);
  keep(records, at, end);
  return isMore;
}

/** Where it can't go at once it is left out: the connection ends all the same. */
function sendAlert(stream: Stream, records: Records, code: number): void {
  if (stream.pending_bytes > 0 || stream.isBroken) return;
  sealAlert(records, code);
  send(stream.fd, sealed.address, sealed.length, MSG_DONTWAIT | MSG_NOSIGNAL);
}
