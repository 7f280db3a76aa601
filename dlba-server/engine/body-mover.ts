/**
 * Big bodies on plain connections go from socket to socket inside the kernel, by way of a pipe, without a copy (splice):
 * measured, a response of 1 MB takes half of the CPU time that way. A worker has one pipe, which is empty between two moves:
 * what the receiving socket does not take is copied out of it and queued.
 */
import { MOVED_BYTES } from "../../conf/limits.ts";
import { errno } from "../../net/ffi.ts";
import { createPipe, readPipe, spliceFrom, spliceTo } from "../../net/pipe.ts";
import { EAGAIN, EINTR } from "../../net/sockets.ts";
import { END, FAILED, WOULD_BLOCK } from "./reading.ts";
import { queueBytes, received, type Stream } from "./stream.ts";

/** Made at the start, not when it is first needed: a worker that is short of descriptors then has it already. */
const pipe = createPipe(MOVED_BYTES);

/** A body with less left is read: the next head comes behind it, and the two are written together. */
const LEAST_BYTES = 32_768;

/** Whether as much may be moved as it is: neither side is TLS, and nothing waits to be written before it. */
export function mayMove(from: Stream, to: Stream, left_bytes: number): boolean {
  return left_bytes >= LEAST_BYTES && !from.isTls && !to.isTls && isOpen(to) && from.isReadable;
}

const isOpen = (to: Stream): boolean =>
  to.pending_bytes === 0 && !to.isBroken && !to.isConnecting && !to.isClosed;

/** Moves at most `left_bytes`; like `readStream`: a count of bytes, END, WOULD_BLOCK or FAILED. */
export function moveBytes(from: Stream, to: Stream, left_bytes: number, now_ms: number): number {
  const count = spliceFrom(from.fd, pipe, Math.min(left_bytes, MOVED_BYTES));
  if (count === 0) return END;
  if (count < 0) {
    const code = errno();
    if (code === EINTR) return moveBytes(from, to, left_bytes, now_ms);
    if (code !== EAGAIN) return FAILED;
    from.isReadable = false;
    return WOULD_BLOCK;
  }
  empty(to, count, now_ms);
  return count;
}

function empty(to: Stream, count: number, now_ms: number): void {
  let left = count;
  while (left > 0) {
    const taken = spliceTo(pipe, to.fd, left);
    if (taken > 0) {
      left -= taken;
      continue;
    }
    const code = errno();
    if (taken < 0 && code === EINTR) continue;
    if (taken < 0 && code !== EAGAIN) to.isBroken = true;
    break;
  }
  while (left > 0) {
    const read = readPipe(pipe, received.address, Math.min(left, received.bytes.length));
    if (read <= 0) throw new Error("a pipe has lost bytes");
    left -= read;
    if (!to.isBroken) queueBytes(to, received.bytes, 0, read, now_ms);
  }
}
