/**
 * The page that says who schedules as far as this node knows, and until when its data plane answers ARP and neighbour
 * solicitations for the VIPs. The failover process writes it; the XDP program heeds it, and raises the epoch by itself
 * when the scheduler of a later one asks; the scheduler process, which makes it, reads it.
 */
import { join } from "node:path";
import { mapShared, type SharedMapping } from "./ffi.ts";
import { HEARTBEAT_SIDE_SHIFT, HEARTBEAT_STANDS, MAX_SIDE } from "./heartbeat.ts";
import { usePinned } from "./libbpf.ts";

/** Name of the map's pin in the node's pin directory. */
export const LEASE_PIN = "lease";
/** Offsets of `struct lease` (scheduler/bpf/layout.h). */
export const LEASE_LAYOUT = {
  size: 40,
  until_ns: 0,
  epoch: 8,
  former: 12,
  epochs: 8,
  offered: 16,
  told: 20,
  offer_ns: 24,
  offer_epoch: 32,
} as const;
const at = LEASE_LAYOUT;

export interface Told {
  /** It would take over. */
  readonly stands: boolean;
  /** How many nodes follow it, itself included; 0 when it doesn't schedule. */
  readonly side: number;
}

/** Mapped: every call is one load or store that the kernel sees whole. Epochs are those of conf/epoch.ts. */
export interface Lease {
  /** CLOCK_MONOTONIC in ns (`process.hrtime.bigint()`): until then this node answers, if it schedules. */
  until_ns(): bigint;
  /** 0 ends it. */
  setUntil(until_ns: bigint): void;
  /** The latest that this node knows of. */
  epoch(): number;
  /**
   * Goes from one epoch to a later one. The first becomes the former one, unless another one is named. False when the kernel
   * was faster: then the epoch is another one already.
   */
  raiseEpoch(from: number, to: number, former?: number): boolean;
  /** The epoch before: what its scheduler sends still gets a second chance; 0: none. */
  former(): number;
  setFormer(epoch: number): void;
  /** The epoch in which its scheduler asked this node to take over; 0: none. */
  offered(): number;
  clearOffered(): void;
  /** What this node says of itself in its answers to heartbeats. */
  tell(told: Told): void;
  close(): void;
}

/** Maps the lease of a node's data plane. Throws DlbaError NO_DATA_PLANE while there is none. */
export function openLease(pinDir: string): Lease {
  return leaseOf(usePinned(join(pinDir, LEASE_PIN), (fd) => mapShared(fd, at.size)));
}

/** The same of a map that is mapped already. */
export function leaseOf({ buffer, unmap }: SharedMapping): Lease {
  const longs = new BigUint64Array(buffer);
  const words = new Uint32Array(buffer);
  return {
    until_ns: () => Atomics.load(longs, at.until_ns / 8),
    setUntil: (until_ns) => void Atomics.store(longs, at.until_ns / 8, until_ns),
    epoch: () => Atomics.load(words, at.epoch / 4),
    raiseEpoch: (from, to, former = from) => changeEpochs(longs, from, { epoch: to, former }),
    former: () => Atomics.load(words, at.former / 4),
    setFormer: (former) => {
      for (let epoch = Atomics.load(words, at.epoch / 4); !changeEpochs(longs, epoch, { epoch, former });)
        epoch = Atomics.load(words, at.epoch / 4);
    },
    offered: () => Atomics.load(words, at.offered / 4),
    clearOffered: () => void Atomics.store(words, at.offered / 4, 0),
    tell: (told) => void Atomics.store(words, at.told / 4, flagsOf(told)),
    close: unmap,
  };
}

const flagsOf = ({ stands, side }: Told): number =>
  (stands ? HEARTBEAT_STANDS : 0) | (Math.min(side, MAX_SIDE) << HEARTBEAT_SIDE_SHIFT);

/** Epoch and former epoch are one 64-bit word, as they have to change together. False when the epoch is not `from`. */
function changeEpochs(
  longs: BigUint64Array,
  from: number,
  { epoch, former }: { readonly epoch: number; readonly former: number },
): boolean {
  const wanted = (BigInt(former) << 32n) | BigInt(epoch);
  for (;;) {
    const before = Atomics.load(longs, at.epochs / 8);
    if (Number(before & 0xffff_ffffn) !== from) return false;
    if (Atomics.compareExchange(longs, at.epochs / 8, before, wanted) === before) return true;
  }
}
