/**
 * What the kernel notes of the other nodes on one interface, for processes that don't own the data plane: when each
 * last answered a heartbeat and what it told, and its MAC address. Mapped, so reading costs no call.
 */
import { join } from "node:path";
import { mapShared } from "./ffi.ts";
import { usePinned } from "./libbpf.ts";

/** Offsets of `struct peer` and `struct node` (scheduler/bpf/layout.h). */
export const PEERS_LAYOUT = {
  peer: { size: 32, answered_ns: 0, heard_ns: 8, table_version: 16, epoch: 24, flags: 28 },
  node: { size: 16, mac: 0, flags: 8, up: 1, reachable: 4 },
  rows: 256,
  channels: 2,
} as const;
const { peer: PEER, node: NODE, rows: ROWS, channels: CHANNELS } = PEERS_LAYOUT;
const MAC_BYTES = 6;

/** Who asks: 0 the failover process, 1 the scheduler process. Each has its own rows. */
export type Channel = 0 | 1;

/** Names of the two maps' pins; `slot` is the interface's place in the node's list. */
export const peersPin = (slot: number): string => `peers-${slot}`;
export const nodesPin = (slot: number): string => `nodes-${slot}`;

/** By node number. Times are CLOCK_MONOTONIC; all is 0 before a node's first answer. */
export interface Peers {
  /** `sent_ns` of our latest heartbeat that it has answered. */
  answered_ns(number: number): bigint;
  /** When that answer came. */
  heard_ns(number: number): bigint;
  epoch(number: number): number;
  /** Bits of `enum heartbeat_flag`. */
  flags(number: number): number;
  table_version(number: number): number;
  /** A copy; undefined while it is not known. */
  macOf(number: number): Uint8Array | undefined;
}
export interface PeersPage extends Peers {
  close(): void;
}

/**
 * Maps what is known of the peers on an interface, from answers to one process's questions. Throws DlbaError
 * NO_DATA_PLANE while there is none.
 */
export function openPeersPage(pinDir: string, slot: number, channel: Channel): PeersPage {
  const map = (pin: string, size_bytes: number) =>
    usePinned(join(pinDir, pin), (fd) => mapShared(fd, size_bytes, "read"));
  const peers = map(peersPin(slot), CHANNELS * ROWS * PEER.size);
  const nodes = map(nodesPin(slot), ROWS * NODE.size);
  return {
    ...peersOf(peers.buffer, nodes.buffer, channel),
    close: () => {
      peers.unmap();
      nodes.unmap();
    },
  };
}

/** The same of maps that are mapped already. */
export function peersOf(peers: ArrayBuffer, nodes: ArrayBuffer, channel: Channel): Peers {
  const longs = new BigUint64Array(peers);
  const words = new Uint32Array(peers);
  const bytes = new Uint8Array(nodes);
  const rowAt = (number: number): number => (channel * ROWS + number) * PEER.size;
  const long = (number: number, offset: number): bigint => Atomics.load(longs, (rowAt(number) + offset) / 8);
  const word = (number: number, offset: number): number => Atomics.load(words, (rowAt(number) + offset) / 4);
  return {
    answered_ns: (number) => long(number, PEER.answered_ns),
    heard_ns: (number) => long(number, PEER.heard_ns),
    epoch: (number) => word(number, PEER.epoch),
    flags: (number) => word(number, PEER.flags),
    table_version: (number) => Number(long(number, PEER.table_version)),
    macOf: (number) => {
      const at = number * NODE.size + NODE.mac;
      const mac = bytes.slice(at, at + MAC_BYTES);
      return mac.every((byte) => byte === 0) ? undefined : mac;
    },
  };
}

/** What the program knows of the nodes' conditions on an interface, for a process that doesn't own the data plane. */
export interface NodeFlags {
  /** From the next packet on the program routes round the node, and hands nothing on to it. */
  markDead(number: number): void;
  close(): void;
}

/** Maps them. Throws DlbaError NO_DATA_PLANE while there is none. */
export function openNodeFlags(pinDir: string, slot: number): NodeFlags {
  const mapping = usePinned(join(pinDir, nodesPin(slot)), (fd) => mapShared(fd, ROWS * NODE.size));
  return { markDead: markDeadIn(mapping.buffer), close: mapping.unmap };
}

/** The same of a map that is mapped already. */
export function markDeadIn(nodes: ArrayBuffer): NodeFlags["markDead"] {
  const words = new Int32Array(nodes);
  return (number) =>
    void Atomics.and(words, (number * NODE.size + NODE.flags) / 4, ~(NODE.up | NODE.reachable));
}
