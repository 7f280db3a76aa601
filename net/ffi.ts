/**
 * The ground of all foreign calls: the loaded libraries, native memory with a fixed address, errno as errors.
 *
 * Calls on hot paths take numeric addresses of buffers that live as long as the process: koffi passes a
 * number in half the time of a Buffer, and nothing is allocated per call.
 */
import koffi, { type LibraryHandle } from "koffi";
import { getSystemErrorMessage, getSystemErrorName } from "node:util";
import { DlbaError } from "../conf/errors.ts";

/** A failed system or library call: `code` is the errno's name (`ECONNREFUSED`), `call` what was tried. */
export class SysError extends DlbaError {
  readonly errno: number;
  readonly call: string;

  constructor(call: string, errno: number, detail = "") {
    const name = errno === 0 ? "EUNKNOWN" : getSystemErrorName(-errno);
    const text = errno === 0 ? "unknown error" : getSystemErrorMessage(-errno);
    super(name, `${call}${detail === "" ? "" : ` ${detail}`}: ${text} (${name})`);
    this.errno = errno;
    this.call = call;
  }
}

/** errno of the last foreign call on this thread. Read it before the next call. */
export const errno = (): number => koffi.errno();

/** Returns a call's result, or throws the SysError when it is negative. */
export function checked(call: string, result: number, detail = ""): number {
  if (result < 0) throw new SysError(call, errno(), detail);
  return result;
}

export type NativeFunction<A extends readonly unknown[], R> = (...args: A) => R;

/** Binds a C function by prototype, e.g. `bind<[number], number>(libc(), "int close(int fd)")`. */
export function bind<A extends readonly unknown[], R>(
  library: LibraryHandle,
  prototype: string,
): NativeFunction<A, R> {
  return library.func(prototype);
}

/** The same for a call that may wait: it runs on a thread of its own, and must touch nothing that others use meanwhile. */
export function bindWaiting<A extends readonly unknown[]>(
  library: LibraryHandle,
  prototype: string,
): NativeFunction<A, Promise<number>> {
  const call = library.func(prototype);
  return (...args) =>
    new Promise((resolve, reject) => {
      call.async(...args, (error: Error | null, result: number) =>
        error === null ? resolve(result) : reject(error),
      );
    });
}

let libcHandle: LibraryHandle | undefined;
/** The C library. */
export function libc(): LibraryHandle {
  libcHandle ??= koffi.load("libc.so.6");
  return libcHandle;
}

let selfHandle: LibraryHandle | undefined;
/** The running Node binary itself: its OpenSSL and libuv. */
export function ownBinary(): LibraryHandle {
  selfHandle ??= koffi.load(null);
  return selfHandle;
}

/**
 * Zeroed memory outside the JS heap whose address never changes. It lives as long as the returned Buffer is
 * referenced, so whoever hands the address to the kernel keeps the Buffer.
 */
export interface NativeMemory {
  readonly bytes: Buffer;
  readonly view: DataView;
  readonly address: number;
}
export function nativeMemory(size_bytes: number): NativeMemory {
  const bytes = Buffer.allocUnsafeSlow(size_bytes).fill(0);
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  return { bytes, view, address: addressOf(bytes) };
}

/** Address of a Buffer's first byte, as a number (user-space addresses fit into 53 bits). */
export function addressOf(bytes: Uint8Array): number {
  return Number(koffi.address(bytes));
}

/** Reads a NUL-terminated string at an address; empty for address 0. */
export function readCString(address: number): string {
  return address === 0 ? "" : String(koffi.decode(address, "char", -1));
}

const mmapCall = bind<[number, number, number, number, number, number], number>(
  libc(),
  "intptr_t mmap(uintptr_t address, size_t length, int protection, int flags, int fd, int64_t offset)",
);
const munmapCall = bind<[number, number], number>(libc(), "int munmap(uintptr_t address, size_t length)");
const PROT_READ = 1;
const PROT_WRITE = 2;
const MAP_SHARED = 1;
const PAGE_BYTES = 4096;

/** Memory shared with the kernel or another process. `unmap` must be called at most once, and nothing of the buffer be used after it. */
export interface SharedMapping {
  readonly buffer: ArrayBuffer;
  readonly unmap: () => void;
}
/** Maps a descriptor shared, read-write unless told otherwise. The length is rounded up to whole pages. */
export function mapShared(
  fd: number,
  size_bytes: number,
  access: "read" | "read-write" = "read-write",
): SharedMapping {
  const length = Math.ceil(size_bytes / PAGE_BYTES) * PAGE_BYTES;
  const protection = access === "read" ? PROT_READ : PROT_READ | PROT_WRITE;
  const address = mmapCall(0, length, protection, MAP_SHARED, fd, 0);
  if (address === -1) throw new SysError("mmap", errno(), `of ${length} bytes`);
  return { buffer: koffi.view(address, length), unmap: () => void munmapCall(address, length) };
}
