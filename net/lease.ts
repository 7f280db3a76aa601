/**
 * The page that says until when a node's data plane answers ARP and neighbour solicitations for the VIPs: the one
 * map that both the scheduler (which makes it) and the failover process (which renews it) know.
 */
import { join } from "node:path";
import { mapShared } from "./ffi.ts";
import { usePinned } from "./libbpf.ts";

/** Name of the map's pin in the node's pin directory. */
export const LEASE_PIN = "lease";
const LEASE_BYTES = 8;

export interface Lease {
  /** CLOCK_MONOTONIC in ns (`process.hrtime.bigint()`); 0 ends it. */
  set(until_ns: bigint): void;
  get(): bigint;
  close(): void;
}

/** Maps the lease of a node's data plane. Throws DlbaError NO_DATA_PLANE while there is none. */
export function openLease(pinDir: string): Lease {
  const mapping = usePinned(join(pinDir, LEASE_PIN), (fd) => mapShared(fd, LEASE_BYTES));
  // One aligned 64-bit store: the program never sees half of it.
  const words = new BigUint64Array(mapping.buffer, 0, 1);
  return {
    set: (until_ns) => void Atomics.store(words, 0, until_ns),
    get: () => Atomics.load(words, 0),
    close: mapping.unmap,
  };
}
