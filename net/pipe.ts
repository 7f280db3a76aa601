/** A pipe that bytes pass through from one socket to another without being copied (splice(2)). */
import { bind, checked, libc, nativeMemory } from "./ffi.ts";

const c = libc();
const pipe2 = bind<[number, number], number>(c, "int pipe2(uintptr_t ends, int flags)");
const fcntl = bind<[number, number, number], number>(c, "int fcntl(int fd, int command, int argument)");
const splice = bind<[number, number, number, number, number, number], number>(
  c,
  "int splice(int from, uintptr_t from_offset, int to, uintptr_t to_offset, size_t length, unsigned int flags)",
);
const read = bind<[number, number, number], number>(c, "int read(int fd, uintptr_t to, size_t length)");

const O_NONBLOCK = 0x800;
const O_CLOEXEC = 0x80000;
const F_SETPIPE_SZ = 1031;
const SPLICE_F_MOVE = 1;
const SPLICE_F_NONBLOCK = 2;
const FLAGS = SPLICE_F_MOVE | SPLICE_F_NONBLOCK;

export interface Pipe {
  readonly readEnd: number;
  readonly writeEnd: number;
}

/** An empty pipe with room for so many bytes, or for as many as the system allows. */
export function createPipe(size_bytes: number): Pipe {
  const ends = nativeMemory(8);
  checked("pipe2", pipe2(ends.address, O_NONBLOCK | O_CLOEXEC));
  const pipe = { readEnd: ends.view.getInt32(0, true), writeEnd: ends.view.getInt32(4, true) };
  fcntl(pipe.writeEnd, F_SETPIPE_SZ, size_bytes);
  return pipe;
}

/** Bytes out of a socket into the pipe: a count, 0 at the end, -1 with errno. */
export const spliceFrom = (fd: number, pipe: Pipe, most_bytes: number): number =>
  splice(fd, 0, pipe.writeEnd, 0, most_bytes, FLAGS);

/** Bytes out of the pipe into a socket: a count, or -1 with errno. */
export const spliceTo = (pipe: Pipe, fd: number, most_bytes: number): number =>
  splice(pipe.readEnd, 0, fd, 0, most_bytes, FLAGS);

/** Bytes out of the pipe into memory: a count, or -1 with errno. */
export const readPipe = (pipe: Pipe, address: number, most_bytes: number): number =>
  read(pipe.readEnd, address, most_bytes);
