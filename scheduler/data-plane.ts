/**
 * The edge between the scheduler and its XDP program: loads it, pins it, and gives typed views of its maps.
 * Everything written here is seen by the program at once; nothing here stands in a packet's way.
 */
import { join } from "node:path";
import { parseIp, type IpAddress } from "../conf/address.ts";
import { DlbaError } from "../conf/errors.ts";
import { mapShared } from "../net/ffi.ts";
import {
  lookupMap,
  mapKeys,
  openBpfObject,
  openRing,
  possibleCpus,
  removeFromMap,
  updateMap,
  type BpfObject,
  type XdpMode,
} from "../net/libbpf.ts";
import { attach, type Attachment } from "./attach.ts";
import {
  BUCKET,
  CONTROL,
  EVENT,
  LAYOUT_VERSION,
  NODE,
  NODE_COUNT,
  NODE_SELF,
  NODE_TRAFFIC,
  NODE_UP,
  REASONS,
  VIP_KEY,
  VSERVER,
  VSERVER_KEY,
} from "./layout.ts";
import { preparePins, type Adoption } from "./pins.ts";
import { clear } from "./table.ts";

export { detachDataPlane } from "./pins.ts";

const OBJECT_FILE = join(import.meta.dirname, "bpf", "scheduler.bpf.o");
const PROGRAM = "scheduler";
export const HASH_KEY_BYTES = 48;

export interface DataPlaneOptions {
  readonly interface: string;
  /** A directory of this node's own on a BPF file system. */
  readonly pinDir: string;
  /** Number of buckets, a power of two. */
  readonly tableSize: number;
  readonly mode: XdpMode | "auto";
}

/** A virtual server's address, port and transport. */
export interface Service {
  readonly address: string;
  readonly port: number;
  readonly transport: "tcp" | "udp";
  readonly vserver: number;
}
/** A bucket that the program has given to another node. `previous` is 255 when nobody had it. */
export interface BucketEvent {
  readonly bucket: number;
  readonly owner: number;
  readonly previous: number;
  readonly vserver: number;
}
export interface NodeTraffic {
  readonly packets: number;
  readonly bytes: number;
}

export interface NodeState {
  readonly isUp: boolean;
  readonly isSelf: boolean;
}

/** The maps of the program, without the interface that it runs on. */
export interface DataPlaneMaps {
  /** Two 32-bit words per bucket (see table.ts), shared with the kernel. */
  readonly buckets: Int32Array;
  readonly programFd: number;
  setOwnMac(mac: Uint8Array): void;
  /** `HASH_KEY_BYTES` bytes, the same on all nodes. */
  setHashKey(key: Uint8Array): void;
  /** A node that does not schedule passes every frame up its own stack. */
  setScheduling(isScheduling: boolean): void;
  setNode(number: number, mac: Uint8Array, state: NodeState): void;
  /** What the program knows of a node; the MAC address is all zeros when it was never set. */
  readNode(number: number): NodeState & { readonly mac: Uint8Array };
  /** What is not in the list is removed. */
  setServices(services: readonly Service[]): void;
  setVips(addresses: readonly string[]): void;
  /** MAC addresses whose frames are never scheduled again. */
  setMembers(macs: readonly Uint8Array[]): void;
  /** Frames by reason (the names in `REASONS`). */
  counters(): Record<string, number>;
  trafficOf(node: number): NodeTraffic;
  /** Hands over what happened since the last call; returns how many. */
  consumeEvents(onEvent: (event: BucketEvent) => void): number;
  close(): void;
}

export interface DataPlane extends DataPlaneMaps {
  readonly attachment: Attachment;
  readonly adoption: Adoption;
}

/**
 * Loads the program and puts it on the interface. A table, and a link, that an earlier process left under the
 * pin directory are taken over and the program is replaced in place; `adoption` says when a table had to go.
 * Throws DlbaError (LIBBPF_MISSING, BPF_LOAD_FAILED, PIN_DIR, XDP_BUSY, XDP_NATIVE_UNSUPPORTED, NO_INTERFACE).
 */
export function openDataPlane(options: DataPlaneOptions): DataPlane {
  const object = openBpfObject(OBJECT_FILE, PROGRAM);
  try {
    object.setMaxEntries("buckets", options.tableSize);
    const adoption = preparePins(object, options.pinDir, options.tableSize);
    object.load();
    const maps = mapsOf(object, options.tableSize, adoption.kind !== "adopted");
    const attachment = attach(maps.programFd, options.interface, options.mode, options.pinDir);
    return { ...maps, attachment, adoption };
  } catch (error) {
    object.close();
    throw error;
  }
}

/** Loads the program without pins and interface: for tests and measurements by test runs. */
export function loadUnattached(
  tableSize: number,
  objectFile = OBJECT_FILE,
): DataPlaneMaps & { object: BpfObject } {
  const object = openBpfObject(objectFile, PROGRAM);
  object.setMaxEntries("buckets", tableSize);
  object.load();
  return { ...mapsOf(object, tableSize, true), object };
}

function mapsOf(object: BpfObject, tableSize: number, isNew: boolean): DataPlaneMaps {
  const table = mapShared(object.mapFd("buckets"), tableSize * BUCKET.size);
  const buckets = new Int32Array(table.buffer, 0, tableSize * 2);
  const control = mapShared(object.mapFd(".data.control"), CONTROL.size);
  const nodes = mapShared(object.mapFd("nodes"), NODE_COUNT * NODE.size);
  if (isNew) initialise(buckets, new DataView(control.buffer), tableSize);
  const pending: ((event: BucketEvent) => void)[] = [];
  const ring = openRing(object.mapFd("events"), EVENT.size, (record) => pending[0]?.(readEvent(record)));
  return {
    buckets,
    programFd: object.programFd(PROGRAM),
    ...controlWriters(control.buffer, object.mapFd("members")),
    setNode: nodeWriter(nodes.buffer),
    readNode: (number) => readNode(nodes.buffer, number),
    setServices: (services) =>
      replaceAll(object.mapFd("vservers"), VSERVER_KEY.size, services.map(serviceEntry)),
    setVips: (addresses) => replaceAll(object.mapFd("vips"), VIP_KEY.size, addresses.map(vipEntry)),
    counters: () => readCounters(object.mapFd("counters")),
    trafficOf: (node) => readTraffic(object.mapFd("traffic"), node),
    consumeEvents: (onEvent) => {
      pending[0] = onEvent;
      return ring.consume();
    },
    close: () => {
      ring.close();
      for (const mapping of [table, control, nodes]) mapping.unmap();
      object.close();
    },
  };
}

function initialise(buckets: Int32Array, control: DataView, tableSize: number): void {
  clear(buckets);
  control.setUint32(CONTROL.table_mask, tableSize - 1, true);
  control.setUint32(CONTROL.layout, LAYOUT_VERSION, true);
}

function controlWriters(
  buffer: ArrayBuffer,
  membersFd: number,
): Pick<DataPlaneMaps, "setOwnMac" | "setHashKey" | "setScheduling" | "setMembers"> {
  const view = new DataView(buffer);
  const bytes = new Uint8Array(buffer);
  return {
    setOwnMac: (mac) => bytes.set(mac, CONTROL.mac),
    setHashKey: (key) => {
      if (key.length !== HASH_KEY_BYTES) throw new RangeError(`a hash key has ${HASH_KEY_BYTES} bytes`);
      bytes.set(key, CONTROL.hash_key);
    },
    setScheduling: (isScheduling) => view.setUint32(CONTROL.is_scheduling, Number(isScheduling), true),
    setMembers: (macs) => {
      const filter = memberFilter(macs);
      // A bit too many costs a look-up, one too few lets a loop through: so bits go last and come first.
      const words = new BigUint64Array(buffer, CONTROL.member_filter, filter.length);
      filter.forEach((bits, i) => Atomics.or(words, i, bits));
      replaceAll(
        membersFd,
        8,
        macs.map((mac) => [padded(mac, 8), padded(Uint8Array.of(1), 4)]),
      );
      filter.forEach((bits, i) => Atomics.store(words, i, bits));
    },
  };
}

/** The bits that the program's `is_from_member` looks at first. */
function memberFilter(macs: readonly Uint8Array[]): BigUint64Array {
  const words = new BigUint64Array(16);
  for (const mac of macs) {
    const tail = new DataView(mac.buffer, mac.byteOffset, 6).getUint32(2, true);
    const hash = Math.imul(tail, 0x9e3779b1) >>> 22;
    words[hash >> 6]! |= 1n << BigInt(hash & 63);
  }
  return words;
}

function nodeWriter(buffer: ArrayBuffer): DataPlaneMaps["setNode"] {
  const bytes = new Uint8Array(buffer);
  const words = new Int32Array(buffer);
  return (number, mac, { isUp, isSelf }) => {
    const base = number * NODE.size;
    const flags = (isUp ? NODE_UP : 0) | (isSelf ? NODE_SELF : 0);
    const isSameMac = mac.every((byte, i) => bytes[base + NODE.mac + i] === byte);
    // Nothing is sent to an address that is half written.
    if (!isSameMac) Atomics.store(words, (base + NODE.flags) / 4, 0);
    bytes.set(mac, base + NODE.mac);
    Atomics.store(words, (base + NODE.number) / 4, number);
    Atomics.store(words, (base + NODE.flags) / 4, flags);
  };
}

function readNode(buffer: ArrayBuffer, number: number): NodeState & { mac: Uint8Array } {
  const base = number * NODE.size;
  const flags = new DataView(buffer).getUint32(base + NODE.flags, true);
  const mac = Uint8Array.from(new Uint8Array(buffer, base + NODE.mac, 6));
  return { mac, isUp: (flags & NODE_UP) !== 0, isSelf: (flags & NODE_SELF) !== 0 };
}

type Entry = readonly [key: Buffer, value: Buffer];

/** Makes a hash map hold just these entries; those that stay are never absent. */
function replaceAll(fd: number, key_bytes: number, entries: readonly Entry[]): void {
  const kept = new Set<string>();
  for (const [key, value] of entries) {
    updateMap(fd, key, value);
    kept.add(key.toString("latin1"));
  }
  for (const key of mapKeys(fd, key_bytes)) if (!kept.has(key.toString("latin1"))) removeFromMap(fd, key);
}

function padded(bytes: Uint8Array, size_bytes: number): Buffer {
  const buffer = Buffer.alloc(size_bytes);
  buffer.set(bytes);
  return buffer;
}

function addressOfText(text: string): IpAddress {
  const address = parseIp(text);
  if (address === undefined) throw new DlbaError("ADDRESS_INVALID", `${text} is not an IP address`);
  return address;
}

function serviceEntry({ address, port, transport, vserver }: Service): Entry {
  const { bytes, family } = addressOfText(address);
  const key = padded(bytes, VSERVER_KEY.size);
  key.writeUInt16BE(port, VSERVER_KEY.port);
  key[VSERVER_KEY.protocol] = transport === "tcp" ? 6 : 17;
  key[VSERVER_KEY.family] = family;
  const value = Buffer.alloc(VSERVER.size);
  value.writeUInt32LE(vserver, VSERVER.index);
  return [key, value];
}

function vipEntry(text: string): Entry {
  const { bytes, family } = addressOfText(text);
  const key = padded(bytes, VIP_KEY.size);
  key.writeUInt32LE(family, VIP_KEY.family);
  return [key, padded(Uint8Array.of(1), 4)];
}

function readEvent(record: DataView): BucketEvent {
  return {
    bucket: record.getUint32(EVENT.bucket, true),
    owner: record.getUint8(EVENT.owner),
    previous: record.getUint8(EVENT.previous),
    vserver: record.getUint16(EVENT.vserver, true),
  };
}

function readCounters(fd: number): Record<string, number> {
  return Object.fromEntries(REASONS.map((reason, i) => [reason, sumOverCpus(fd, i, 8, [0])[0] ?? 0]));
}

function readTraffic(fd: number, node: number): NodeTraffic {
  const offsets = [NODE_TRAFFIC.packets, NODE_TRAFFIC.bytes];
  const [packets = 0, bytes = 0] = sumOverCpus(fd, node, NODE_TRAFFIC.size, offsets);
  return { packets, bytes };
}

function sumOverCpus(fd: number, index: number, value_bytes: number, offsets: readonly number[]): number[] {
  const key = Buffer.alloc(4);
  key.writeUInt32LE(index);
  const values = Buffer.alloc(possibleCpus() * value_bytes);
  lookupMap(fd, key, values);
  return offsets.map((offset) => {
    let sum = 0n;
    for (let at = offset; at < values.length; at += value_bytes) sum += values.readBigUInt64LE(at);
    return Number(sum);
  });
}
