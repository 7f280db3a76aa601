/**
 * What the scheduler process of a node tells its failover process: that it is alive, how far its table is, whom it
 * wants to schedule instead, and whether it is merging tables. It stands in the page by which it also steers the program of an interface.
 */
import { join } from "node:path";
import { NOBODY } from "../conf/limits.ts";
import { mapShared } from "./ffi.ts";
import { usePinned } from "./libbpf.ts";

/** Offsets of `struct control` (scheduler/bpf/layout.h). */
export const CONTROL_LAYOUT = {
  size: 304,
  table_version: 80,
  turned_ns: 88,
  hand_over_to: 124,
  is_merging: 128,
} as const;
const at = CONTROL_LAYOUT;

/** Name of the map's pin; `slot` is the interface's place in the node's list. */
export const controlPin = (slot: number): string => `control-${slot}`;

export interface ControlPage {
  /** CLOCK_MONOTONIC of its latest turn; 0 before the first one. */
  turned_ns(): bigint;
  /** 0 while its table is not whole, or not of the present epoch. */
  table_version(): number;
  /** The node that shall take over; undefined: none. */
  handOverTo(): number | undefined;
  /** Tables of schedulers that lost are being taken in. */
  isMerging(): boolean;
  close(): void;
}

/** Maps the page of an interface. Throws DlbaError NO_DATA_PLANE while there is none. */
export function openControlPage(pinDir: string, slot: number): ControlPage {
  const mapping = usePinned(join(pinDir, controlPin(slot)), (fd) => mapShared(fd, at.size, "read"));
  const longs = new BigUint64Array(mapping.buffer);
  const words = new Uint32Array(mapping.buffer);
  return {
    turned_ns: () => Atomics.load(longs, at.turned_ns / 8),
    table_version: () => Number(Atomics.load(longs, at.table_version / 8)),
    handOverTo: () => {
      const number = Atomics.load(words, at.hand_over_to / 4);
      return number === NOBODY ? undefined : number;
    },
    isMerging: () => Atomics.load(words, at.is_merging / 4) !== 0,
    close: mapping.unmap,
  };
}
