/**
 * Typed views of the maps that each interface of a node has for itself: the other nodes' MAC addresses there, what
 * this node is, and what the peers' kernels have answered. Everything written is seen by the program at once.
 */
import { mapShared, type SharedMapping } from "../../net/ffi.ts";
import { HEARTBEAT_KEY_BYTES, type HeartbeatKeys } from "../../net/heartbeat.ts";
import type { BpfObject } from "../../net/libbpf.ts";
import { peersOf, type Peers } from "../../net/peers-page.ts";
import {
  CONTROL,
  GROUP_COUNT,
  CHANNEL_COUNT,
  CHANNEL_SCHEDULER,
  LAYOUT_VERSION,
  NODE,
  NODE_COUNT,
  NODE_DRAINING,
  NODE_NOBODY,
  NODE_REACHABLE,
  NODE_SCATTERED,
  NODE_SELF,
  NODE_UP,
  PEER,
} from "../layout.ts";
import { padded, replaceAll } from "./shared-maps.ts";

export const HASH_KEY_BYTES = 48;
const MEMBER_FILTER_WORDS = 16;

/** What the program knows of a node's condition. */
export interface NodeState {
  /** It takes frames. */
  readonly isUp: boolean;
  readonly isSelf: boolean;
  /** Its kernel lives: it may have connections that are handed on to it, even if it is not up. */
  readonly isReachable: boolean;
  /** Kept for user space alone. */
  readonly isDraining: boolean;
  /** It has, or may have, connections of buckets that do not name it. */
  readonly isScattered?: boolean | undefined;
}
export interface NodeEntry extends NodeState {
  readonly mac: Uint8Array;
  /** Its place in the traffic rows of a virtual server. */
  readonly slot: number;
}

/** What holds for the node as a whole: it is written to all interfaces alike. */
export interface NodeWriters {
  /** `HASH_KEY_BYTES` bytes, the same on all nodes. Throws RangeError. */
  setHashKey(key: Uint8Array): void;
  /**
   * Heartbeats are heard under `key` and, while the array key is being changed, under `also`. A key that is heard already is
   * not written again, so that none is refused meanwhile. 16 bytes each. Throws RangeError.
   */
  setHeartbeatKeys(keys: HeartbeatKeys): void;
  /** How long an answer of the scheduler's counts, in whole ns: see hearsFor_ns. */
  setHears(hears_ns: number): void;
  /** This node's number. */
  setNumber(number: number): void;
  /** Whether the table is whole: frames that no member sent are scheduled by it, whoever the scheduler is. */
  setHasTable(hasTable: boolean): void;
  /** Whether some bucket has a previous node; if none has, the scheduler's frames are not looked at. */
  setHasPrevious(hasPrevious: boolean): void;
  /** What heartbeat answers tell: 0 while the table is not whole, or not of the present epoch. */
  setTableVersion(version: number): void;
  /** CLOCK_MONOTONIC in whole ns: the scheduler process has just taken a turn. */
  setTurned(turned_ns: number): void;
  /** The node that shall schedule instead of this one; undefined: none. */
  setHandOverTo(number: number | undefined): void;
  /** Whether what this node knows of others may be wrong: frames without a connection are dropped, not answered by a reset. */
  setInDoubt(isInDoubt: boolean): void;
  /** Whether tables of schedulers that lost are being taken in. */
  setMerging(isMerging: boolean): void;
}
/** What an earlier process wrote last. */
export interface NodeFacts {
  readonly hasTable: boolean;
  readonly hasPrevious: boolean;
  readonly tableVersion: number;
}

export interface MemberMac {
  readonly number: number;
  readonly mac: Uint8Array;
}

/** The maps of one interface. Group 0 is the array's nodes; each direct pool is a further one. */
export interface InterfaceMaps {
  setOwnMac(mac: Uint8Array): void;
  setNode(group: number, number: number, node: NodeEntry): void;
  /** One store: the program never sees half of it. */
  setNodeState(group: number, number: number, state: NodeState): void;
  /** The MAC address is all zeros when the node was never set. */
  readNode(group: number, number: number): NodeEntry;
  /** The array's nodes by MAC address: their frames are never scheduled again. */
  setMembers(members: readonly MemberMac[]): void;
  /** What the peers have answered to the scheduler process. */
  readonly peers: Peers;
}

/** The views of an object that is loaded; maps that are new are initialised. `close` unmaps; the object stays. */
export function openInterfaceMaps(
  object: BpfObject,
): InterfaceMaps & NodeWriters & { facts(): NodeFacts; close(): void } {
  const control = mapShared(object.mapFd(".data.control"), CONTROL.size);
  const nodes = mapShared(object.mapFd("nodes"), NODE_COUNT * GROUP_COUNT * NODE.size);
  const peers = mapShared(object.mapFd("peers"), CHANNEL_COUNT * NODE_COUNT * PEER.size);
  new DataView(control.buffer).setUint32(CONTROL.layout, LAYOUT_VERSION, true);
  return {
    ...nodeWriters(control),
    ...macWriters(control, object.mapFd("members")),
    ...nodeViews(nodes, control),
    facts: () => readFacts(control),
    peers: peersOf(peers.buffer, nodes.buffer, CHANNEL_SCHEDULER),
    close: () => {
      for (const mapping of [control, nodes, peers]) mapping.unmap();
    },
  };
}

function nodeWriters({ buffer }: SharedMapping): NodeWriters {
  const view = new DataView(buffer);
  const bytes = new Uint8Array(buffer);
  const setKey = (at: number, key: Uint8Array, size_bytes: number): void => {
    if (key.length !== size_bytes) throw new RangeError(`the key has ${size_bytes} bytes`);
    bytes.set(key, at);
  };
  const setLong = (at: number, value: number): void => view.setBigUint64(at, BigInt(value), true);
  const setFlag = (at: number, flag: boolean): void => view.setUint32(at, Number(flag), true);
  return {
    setHashKey: (key) => setKey(CONTROL.hash_key, key, HASH_KEY_BYTES),
    setHeartbeatKeys: (keys) => setHeartbeatKeys(bytes, keys),
    setHears: (hears_ns) => setLong(CONTROL.hears_ns, hears_ns),
    setNumber: (number) => view.setUint16(CONTROL.number, number, true),
    setHasTable: (hasTable) => setFlag(CONTROL.has_table, hasTable),
    setHasPrevious: (hasPrevious) => setFlag(CONTROL.has_previous, hasPrevious),
    setTableVersion: (version) => setLong(CONTROL.table_version, version),
    setTurned: (turned_ns) => setLong(CONTROL.turned_ns, turned_ns),
    setHandOverTo: (number) => view.setUint32(CONTROL.hand_over_to, number ?? NODE_NOBODY, true),
    setInDoubt: (isInDoubt) => setFlag(CONTROL.is_in_doubt, isInDoubt),
    setMerging: (isMerging) => setFlag(CONTROL.is_merging, isMerging),
  };
}

const KEY_SLOTS = [0, 1].map((slot) => CONTROL.heartbeat_keys + slot * HEARTBEAT_KEY_BYTES);

/** Keys in slots keep theirs; slots with others get those that have none, or the first one. */
function setHeartbeatKeys(bytes: Uint8Array, { key, also }: HeartbeatKeys): void {
  const wanted = also === undefined ? [key] : [key, also];
  if (wanted.some(({ length }) => length !== HEARTBEAT_KEY_BYTES)) {
    throw new RangeError(`a key has ${HEARTBEAT_KEY_BYTES} bytes`);
  }
  const held = (at: number): Buffer => Buffer.from(bytes.subarray(at, at + HEARTBEAT_KEY_BYTES));
  const isHeld = (one: Uint8Array): boolean => KEY_SLOTS.some((at) => held(at).equals(one));
  const missing = wanted.filter((one) => !isHeld(one));
  const free = KEY_SLOTS.filter((at) => !wanted.some((one) => held(at).equals(one)));
  // Both slots with the same key, and another one wanted: the second slot is free, too.
  if (missing.length > free.length) free.push(KEY_SLOTS[1]!);
  for (const at of free) bytes.set(missing.shift() ?? key, at);
}

function readFacts({ buffer }: SharedMapping): NodeFacts {
  const view = new DataView(buffer);
  return {
    hasTable: view.getUint32(CONTROL.has_table, true) !== 0,
    hasPrevious: view.getUint32(CONTROL.has_previous, true) !== 0,
    tableVersion: Number(view.getBigUint64(CONTROL.table_version, true)),
  };
}

function macWriters(
  { buffer }: SharedMapping,
  membersFd: number,
): Pick<InterfaceMaps, "setOwnMac" | "setMembers"> {
  const bytes = new Uint8Array(buffer);
  return {
    setOwnMac: (mac) => bytes.set(mac, CONTROL.mac),
    setMembers: (members) => {
      const filter = memberFilter(members.map(({ mac }) => mac));
      // A bit too many costs a look-up, one too few lets a loop through: so bits go last and come first.
      const words = new BigUint64Array(buffer, CONTROL.member_filter, filter.length);
      filter.forEach((bits, i) => Atomics.or(words, i, bits));
      replaceAll(
        membersFd,
        8,
        members.map(({ mac, number }) => [padded(mac, 8), padded(Uint8Array.of(number), 4)]),
      );
      filter.forEach((bits, i) => Atomics.store(words, i, bits));
    },
  };
}

/** The bits that the program's `is_from_member` looks at first. */
function memberFilter(macs: readonly Uint8Array[]): BigUint64Array {
  const words = new BigUint64Array(MEMBER_FILTER_WORDS);
  for (const mac of macs) {
    const tail = new DataView(mac.buffer, mac.byteOffset, 6).getUint32(2, true);
    const hash = Math.imul(tail, 0x9e3779b1) >>> 22;
    words[hash >> 6]! |= 1n << BigInt(hash & 63);
  }
  return words;
}

const baseOf = (group: number, number: number): number => (group * NODE_COUNT + number) * NODE.size;

function nodeViews(
  { buffer }: SharedMapping,
  control: SharedMapping,
): Pick<InterfaceMaps, "setNode" | "setNodeState" | "readNode"> {
  const bytes = new Uint8Array(buffer);
  const words = new Int32Array(buffer);
  const view = new DataView(buffer);
  return {
    setNode: (group, number, { mac, slot, ...state }) => {
      const base = baseOf(group, number);
      const isSameMac = mac.every((byte, i) => bytes[base + NODE.mac + i] === byte);
      // Nothing is sent to an address that is half written.
      if (!isSameMac) Atomics.store(words, (base + NODE.flags) / 4, 0);
      bytes.set(mac, base + NODE.mac);
      view.setUint16(base + NODE.slot, slot, true);
      Atomics.store(words, (base + NODE.number) / 4, number);
      Atomics.store(words, (base + NODE.flags) / 4, flagsOf(state));
      if (group === 0) writeSearch(control, words);
    },
    setNodeState: (group, number, state) => {
      Atomics.store(words, (baseOf(group, number) + NODE.flags) / 4, flagsOf(state));
      if (group === 0) writeSearch(control, words);
    },
    readNode: (group, number) => {
      const base = baseOf(group, number);
      const mac = bytes.slice(base + NODE.mac, base + NODE.mac + 6);
      const slot = view.getUint16(base + NODE.slot, true);
      return { mac, slot, ...stateOf(Atomics.load(words, (base + NODE.flags) / 4)) };
    },
  };
}

const SEARCHED = NODE_SCATTERED | NODE_REACHABLE;

/** Which nodes are searched: scattered ones that can be reached. */
function writeSearch({ buffer }: SharedMapping, nodes: Int32Array): void {
  const own = new DataView(buffer).getUint16(CONTROL.number, true);
  const words = new Int32Array(buffer);
  const scattered = new Int32Array(NODE_COUNT / 32);
  for (let number = 0; number < NODE_NOBODY; number++) {
    const flags = nodes[(baseOf(0, number) + NODE.flags) / 4]!;
    if ((flags & SEARCHED) === SEARCHED && number !== own) scattered[number >> 5]! |= 1 << (number & 31);
  }
  scattered.forEach((bits, i) => Atomics.store(words, CONTROL.scattered / 4 + i, bits));
  Atomics.store(words, CONTROL.is_searching / 4, Number(scattered.some((bits) => bits !== 0)));
}

/** A node's condition as the program and the other nodes know it: bits of `enum node_flag`. */
export function flagsOf({ isUp, isSelf, isReachable, isDraining, isScattered }: NodeState): number {
  return (
    (isUp ? NODE_UP : 0) |
    (isSelf ? NODE_SELF : 0) |
    (isReachable ? NODE_REACHABLE : 0) |
    (isDraining ? NODE_DRAINING : 0) |
    (isScattered === true ? NODE_SCATTERED : 0)
  );
}

/** The other way round. */
export function stateOf(flags: number): NodeState {
  return {
    isUp: (flags & NODE_UP) !== 0,
    isSelf: (flags & NODE_SELF) !== 0,
    isReachable: (flags & NODE_REACHABLE) !== 0,
    isDraining: (flags & NODE_DRAINING) !== 0,
    isScattered: (flags & NODE_SCATTERED) !== 0,
  };
}
