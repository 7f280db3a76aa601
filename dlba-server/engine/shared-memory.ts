/** Memory that a node's workers share: a file in the run directory, which goes on over a reload, too. */
import { closeSync, constants, ftruncateSync, openSync } from "node:fs";
import { join } from "node:path";
import { monotonic_ns } from "../../conf/clock.ts";
import { mapShared } from "../../net/ffi.ts";

/** Maps so many bytes of a file, which are 0 when nobody has written them. The mapping stays as long as the process lives. */
export function sharedMemory(runDir: string, name: string, bytes: number): ArrayBuffer {
  const fd = openSync(join(runDir, name), constants.O_RDWR | constants.O_CREAT, 0o600);
  try {
    ftruncateSync(fd, bytes);
    return mapShared(fd, bytes).buffer;
  } finally {
    closeSync(fd);
  }
}

/** This process' clock counts from its start, the workers' common one from the machine's. */
export const SHARED_CLOCK_AHEAD_MS = monotonic_ns() / 1e6 - performance.now();
