/** A file that is nowhere but in memory, for whoever inherits its descriptor; it can't be changed any more. */
import { writeSync } from "node:fs";
import { bind, checked, libc } from "./ffi.ts";
import { close } from "./sockets.ts";

const MFD_CLOEXEC = 1;
const MFD_ALLOW_SEALING = 2;
const F_ADD_SEALS = 1033;
/** SEAL | SHRINK | GROW | WRITE */
const ALL_SEALS = 1 | 2 | 4 | 8;

const memfdCreate = bind<[string, number], number>(
  libc(),
  "int memfd_create(const char *name, unsigned int flags)",
);
const fcntl = bind<[number, number, number], number>(libc(), "int fcntl(int fd, int command, int argument)");

/** Returns the descriptor. Throws SysError. */
export function createMemoryFile(name: string, bytes: Uint8Array): number {
  const fd = checked("memfd_create", memfdCreate(name, MFD_CLOEXEC | MFD_ALLOW_SEALING));
  try {
    for (let at = 0; at < bytes.length;) at += writeSync(fd, bytes, at);
    checked("fcntl", fcntl(fd, F_ADD_SEALS, ALL_SEALS));
    return fd;
  } catch (error) {
    close(fd);
    throw error;
  }
}
