/**
 * Typed views of the maps that all interfaces of a node share: the table, the groups, the virtual servers and VIPs,
 * what the program has to tell, and what it has counted.
 */
import { parseIp, type IpAddress } from "../../conf/address.ts";
import { DlbaError } from "../../conf/errors.ts";
import { mapShared, type SharedMapping } from "../../net/ffi.ts";
import { leaseOf, type Lease } from "../../net/lease.ts";
import {
  lookupMap,
  mapInfo,
  mapKeys,
  openRing,
  possibleCpus,
  readArrayMap,
  removeFromMap,
  updateMap,
  type BpfObject,
} from "../../net/libbpf.ts";
import {
  BUCKET,
  DIRECT_BUCKETS,
  EVENT,
  FRAGMENT,
  FRAGMENT_KEY,
  GROUP,
  GROUP_COUNT,
  HELD,
  LEASE,
  NODE_COUNT,
  NO_ROW,
  REASONS,
  TRAFFIC,
  TRAFFIC_ROWS,
  TRAFFIC_SLOTS,
  VIP_KEY,
  VSERVER,
  VSERVER_ADDRESS_ONLY,
  VSERVER_DIRECT,
  VSERVER6_KEY,
  VSERVER_KEY,
} from "../layout.ts";

/** Where the traffic of a virtual server goes. */
export interface VserverEntry {
  /** Comes back in events. */
  readonly index: number;
  /** Its part of the bucket map; the size is a power of two. */
  readonly tableBase: number;
  readonly tableSize: number;
  /** 0: the array's nodes; else a direct pool's. */
  readonly group: number;
  /** Its first row of traffic: a node's is this plus the node's slot. */
  readonly trafficBase: number;
  /** The client's port does not count. */
  readonly isAddressOnly: boolean;
}
/** An address, port and transport of a virtual server. */
export interface Service {
  readonly address: string;
  readonly port: number;
  readonly transport: "tcp" | "udp";
  readonly vserver: VserverEntry;
}
/** A bucket that the program has given to another node. `previous` is 255 when nobody had it. */
export interface BucketEvent {
  readonly bucket: number;
  readonly owner: number;
  readonly previous: number;
  readonly vserver: number;
}
/** A direct pool's part of the bucket map. */
export interface GroupEntry {
  /** Hash of the pool's name; 0n: free. */
  readonly identity: bigint;
  readonly tableBase: number;
  readonly tableSize: number;
}
/** A later fragment that came before its first one, with the interface that it came in by. */
export interface HeldFragment {
  /** What `firstFragment` is asked with. */
  readonly key: Buffer;
  readonly ifindex: number;
  readonly frame: Buffer;
}
/** Where a first fragment went. Rows are those of `nodes`: group * 256 + number. */
export interface FirstFragment {
  /** Undefined: up the own stack, as no virtual server has its port. */
  readonly bucket: number | undefined;
  readonly vserver: number;
  readonly nodeBase: number;
  readonly trafficBase: number;
  /** Row of the node that got it as a second chance. */
  readonly handedOnTo: number | undefined;
}
export interface Traffic {
  readonly packets: number;
  readonly bytes: number;
  /** New TCP connections: SYNs. */
  readonly connections: number;
}
/** Traffic by row. */
export interface TrafficRows {
  readonly packets: Float64Array;
  readonly bytes: Float64Array;
  readonly connections: Float64Array;
}

export interface SharedMaps {
  /** Two 32-bit words per bucket (see table.ts), shared with the kernel: `tableSize` ones, then the direct pools'. */
  readonly buckets: Int32Array;
  /** Buckets of the array's nodes. */
  readonly tableSize: number;
  /** Who schedules, as far as is known. Unmapped with the rest. */
  readonly lease: Omit<Lease, "close">;
  readonly trafficRows: number;
  readGroup(group: number): GroupEntry;
  writeGroup(group: number, entry: GroupEntry): void;
  /** What is not in the list is removed. Throws DlbaError ADDRESS_INVALID. */
  setServices(services: readonly Service[]): void;
  /** Likewise. */
  setVips(addresses: readonly string[]): void;
  /** Frames by reason (the names in `REASONS`). */
  counters(): Record<string, number>;
  /** Traffic of one row; zeros for a row that is none. */
  traffic(row: number): Traffic;
  /** All rows at once, at a few calls. */
  trafficOfAll(): TrafficRows;
  /** Hands over what happened since the last call; returns how many. */
  consumeEvents(onEvent: (event: BucketEvent) => void): number;
  /** Likewise the fragments that wait for their first one. */
  consumeHeld(onFragment: (fragment: HeldFragment) => void): number;
  firstFragment(key: Uint8Array): FirstFragment | undefined;
}

/** The views of an object that is loaded. `close` unmaps; the object stays. */
export function openSharedMaps(object: BpfObject): SharedMaps & { close(): void } {
  const entries = mapInfo(object.mapFd("buckets")).max_entries;
  const table = mapShared(object.mapFd("buckets"), entries * BUCKET.size);
  const groups = mapShared(object.mapFd("groups"), GROUP_COUNT * GROUP.size);
  const lease = leaseOf(mapShared(object.mapFd(".data.lease"), LEASE.size));
  const trafficFd = object.mapFd("traffic");
  const trafficRows = mapInfo(trafficFd).max_entries * TRAFFIC_SLOTS;
  const events = openQueue(object.mapFd("events"), EVENT.size, readEvent);
  const held = openQueue(object.mapFd("held"), HELD.size, readHeld);
  return {
    buckets: new Int32Array(table.buffer, 0, (entries * BUCKET.size) / 4),
    tableSize: entries - DIRECT_BUCKETS,
    lease,
    trafficRows,
    ...groupViews(groups),
    setServices: (services) => {
      const entries = services.map(serviceEntry);
      const ofSize = (size_bytes: number) => entries.filter(([key]) => key.length === size_bytes);
      replaceAll(object.mapFd("vservers"), VSERVER_KEY.size, ofSize(VSERVER_KEY.size));
      replaceAll(object.mapFd("vservers6"), VSERVER6_KEY.size, ofSize(VSERVER6_KEY.size));
    },
    setVips: (addresses) => replaceAll(object.mapFd("vips"), VIP_KEY.size, addresses.map(vipEntry)),
    counters: () => readCounters(object.mapFd("counters")),
    traffic: (row) => readTraffic(trafficFd, row),
    trafficOfAll: () => readAllTraffic(trafficFd, trafficRows),
    consumeEvents: events.consume,
    consumeHeld: held.consume,
    firstFragment: (key) => readFirst(object.mapFd("fragments"), key),
    close: () => {
      for (const part of [lease, events, held]) part.close();
      for (const mapping of [table, groups]) mapping.unmap();
    },
  };
}

function groupViews({ buffer }: SharedMapping): Pick<SharedMaps, "readGroup" | "writeGroup"> {
  const view = new DataView(buffer);
  return {
    readGroup: (group) => ({
      identity: view.getBigUint64(group * GROUP.size + GROUP.identity, true),
      tableBase: view.getUint32(group * GROUP.size + GROUP.table_base, true),
      tableSize: view.getUint32(group * GROUP.size + GROUP.table_size, true),
    }),
    writeGroup: (group, { identity, tableBase, tableSize }) => {
      view.setUint32(group * GROUP.size + GROUP.table_base, tableBase, true);
      view.setUint32(group * GROUP.size + GROUP.table_size, tableSize, true);
      view.setBigUint64(group * GROUP.size + GROUP.identity, identity, true);
    },
  };
}

/** A ring whose receiver may differ from call to call. */
function openQueue<T>(fd: number, record_bytes: number, read: (record: DataView) => T) {
  let receive: ((item: T) => void) | undefined;
  const ring = openRing(fd, record_bytes, (record) => receive?.(read(record)));
  return {
    consume: (onItem: (item: T) => void): number => {
      receive = onItem;
      return ring.consume();
    },
    close: () => ring.close(),
  };
}

type Entry = readonly [key: Buffer, value: Buffer];

/** Makes a hash map hold just these entries; those that stay are never absent. */
export function replaceAll(fd: number, key_bytes: number, entries: readonly Entry[]): void {
  const kept = new Set<string>();
  for (const [key, value] of entries) {
    updateMap(fd, key, value);
    kept.add(key.toString("latin1"));
  }
  for (const key of mapKeys(fd, key_bytes)) if (!kept.has(key.toString("latin1"))) removeFromMap(fd, key);
}

/** A buffer that begins with these bytes, zeros behind. */
export function padded(bytes: Uint8Array, size_bytes: number): Buffer {
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
  const layout = family === 4 ? VSERVER_KEY : VSERVER6_KEY;
  const key = padded(bytes.subarray(0, layout.port), layout.size);
  key.writeUInt16BE(port, layout.port);
  key.writeUInt16LE(transport === "tcp" ? 6 : 17, layout.protocol);
  return [key, vserverValue(vserver)];
}

function vserverValue(entry: VserverEntry): Buffer {
  const value = Buffer.alloc(VSERVER.size);
  const flags = (entry.isAddressOnly ? VSERVER_ADDRESS_ONLY : 0) | (entry.group === 0 ? 0 : VSERVER_DIRECT);
  value.writeUInt32LE(entry.tableBase, VSERVER.table_base);
  value.writeUInt32LE(entry.tableSize - 1, VSERVER.table_mask);
  value.writeUInt32LE(entry.group * NODE_COUNT, VSERVER.node_base);
  value.writeUInt32LE(entry.trafficBase, VSERVER.traffic_base);
  value.writeUInt32LE(flags, VSERVER.flags);
  value.writeUInt32LE(entry.index, VSERVER.index);
  return value;
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

function readHeld(record: DataView): HeldFragment {
  const bytes = Buffer.from(record.buffer, record.byteOffset, record.byteLength);
  const end = HELD.frame + record.getUint32(HELD.length, true);
  return {
    key: Buffer.from(bytes.subarray(HELD.key, HELD.key + FRAGMENT_KEY.size)),
    ifindex: record.getUint32(HELD.ifindex, true),
    frame: Buffer.from(bytes.subarray(HELD.frame, end)),
  };
}

function readFirst(fd: number, key: Uint8Array): FirstFragment | undefined {
  const value = Buffer.alloc(FRAGMENT.size);
  if (!lookupMap(fd, key, value)) return undefined;
  const row = (offset: number): number | undefined => {
    const row = value.readUInt32LE(offset);
    return row === NO_ROW ? undefined : row;
  };
  return {
    bucket: row(FRAGMENT.bucket),
    vserver: value.readUInt32LE(FRAGMENT.vserver_index),
    nodeBase: value.readUInt32LE(FRAGMENT.node_base),
    trafficBase: value.readUInt32LE(FRAGMENT.traffic_base),
    handedOnTo: row(FRAGMENT.handed_on_to),
  };
}

/** A 64-bit counter as a number. */
function counterAt(values: Buffer, offset: number): number {
  return values.readUInt32LE(offset) + values.readUInt32LE(offset + 4) * 2 ** 32;
}

function readCounters(fd: number): Record<string, number> {
  const cpus = possibleCpus();
  const sums = REASONS.map(() => 0);
  readArrayMap(fd, cpus * 8, (values, first, count) => {
    for (let i = 0; i < count * cpus; i++) sums[first + Math.floor(i / cpus)]! += counterAt(values, i * 8);
  });
  return Object.fromEntries(REASONS.map((reason, i) => [reason, sums[i] ?? 0]));
}

function readTraffic(fd: number, row: number): Traffic {
  const key = Buffer.alloc(4);
  key.writeUInt32LE(Math.floor(row / TRAFFIC_SLOTS));
  const values = Buffer.alloc(possibleCpus() * TRAFFIC_ROWS.size);
  const sum = { packets: 0, bytes: 0, connections: 0 };
  if (!lookupMap(fd, key, values)) return sum;
  for (let at = (row % TRAFFIC_SLOTS) * TRAFFIC.size; at < values.length; at += TRAFFIC_ROWS.size) {
    sum.packets += counterAt(values, at + TRAFFIC.packets);
    sum.bytes += counterAt(values, at + TRAFFIC.bytes);
    sum.connections += counterAt(values, at + TRAFFIC.connections);
  }
  return sum;
}

function readAllTraffic(fd: number, rows: number): TrafficRows {
  const all = {
    packets: new Float64Array(rows),
    bytes: new Float64Array(rows),
    connections: new Float64Array(rows),
  };
  const entry_rows = possibleCpus() * TRAFFIC_SLOTS;
  readArrayMap(fd, possibleCpus() * TRAFFIC_ROWS.size, (values, first, count) => {
    for (let i = 0; i < count * entry_rows; i++) {
      const row = (first + Math.floor(i / entry_rows)) * TRAFFIC_SLOTS + (i % TRAFFIC_SLOTS);
      const at = i * TRAFFIC.size;
      all.packets[row]! += counterAt(values, at + TRAFFIC.packets);
      all.bytes[row]! += counterAt(values, at + TRAFFIC.bytes);
      all.connections[row]! += counterAt(values, at + TRAFFIC.connections);
    }
  });
  return all;
}
