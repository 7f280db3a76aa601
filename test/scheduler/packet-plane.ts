/** A loaded program with a small world in its maps, and how one row of the packet table is held against it. */
import assert from "node:assert/strict";
import { epochOf } from "../../conf/epoch.ts";
import { NOBODY } from "../../conf/limits.ts";
import type { Lease } from "../../net/lease.ts";
import { testRun } from "../../net/libbpf.ts";
import { loadUnattached } from "../../scheduler/plane/data-plane.ts";
import { TRAFFIC_SLOTS } from "../../scheduler/layout.ts";
import type { Service, TrafficRows, VserverEntry } from "../../scheduler/plane/shared-maps.ts";
import type { InterfaceMaps, NodeState } from "../../scheduler/plane/interface-maps.ts";
import { wordOf } from "../../scheduler/table.ts";
import * as f from "./frames.ts";
import { forwarded, macOfHost, PORTS, syn, TX, VSERVERS, type Row, type Word } from "./packet-rows.ts";

export const SIZE = 1024;
const DIRECT_SIZE = 256;
const TRAFFIC_ROWS = 1024;
/** Slots of the direct pool's hosts in the traffic rows; a node's is its number. */
const HOST_SLOT = 10;

const DEAD: NodeState = { isUp: false, isSelf: false, isReachable: false, isDraining: false };
const UP: NodeState = { ...DEAD, isUp: true, isReachable: true };
/** By number. Node 1 is this one. */
const NODES: Readonly<Record<number, NodeState>> = {
  1: { ...UP, isSelf: true },
  2: UP,
  3: UP,
  4: DEAD,
  5: { ...DEAD, isReachable: true },
};

/** Node 1 schedules, or node 2; before that it was node 5. */
export const OWN_EPOCH = epochOf(7, 1);
export const OTHER_EPOCH = epochOf(7, 2);
const FORMER_EPOCH = epochOf(6, 5);

/** Makes a lease page know these epochs, whatever it knew. */
export function setEpochs(lease: Omit<Lease, "close">, epoch: number, former: number): void {
  assert.ok(lease.raiseEpoch(lease.epoch(), epoch));
  lease.setFormer(former);
}

/** For so long an answer of the scheduler counts. */
export const HEARS_NS = 30_000_000;

export type PacketPlane = ReturnType<typeof loadPacketPlane>;

/** Loads a program and fills its maps. Sockets are looked for in the network namespace of who runs it. */
export function loadPacketPlane(objectFile: string) {
  const plane = loadUnattached(SIZE, { objectFile, trafficRows: TRAFFIC_ROWS });
  plane.setOwnMac(f.mac(f.OWN_MAC));
  plane.setNumber(1);
  plane.setHashKey(Buffer.from(Array.from({ length: 48 }, (_, i) => (i * 73 + 41) & 255)));
  plane.setHeartbeatKeys({ key: f.HEARTBEAT_KEY, also: undefined });
  plane.setHears(HEARS_NS);
  plane.setVips([f.VIP, f.VIP6]);
  plane.setServices(services());
  setMembers(plane);
  setNodes(plane, []);
  for (const number of [1, 2, 3]) {
    plane.setNode(1, number, { mac: f.mac(macOfHost(number)), slot: HOST_SLOT + number, ...UP });
  }
  return {
    ...plane,
    setScheduling: (isScheduling: boolean) =>
      setEpochs(plane.lease, isScheduling ? OWN_EPOCH : OTHER_EPOCH, FORMER_EPOCH),
    setLease: (isHeld: boolean) =>
      plane.lease.setUntil(isHeld ? process.hrtime.bigint() + 3_600_000_000_000n : 0n),
  };
}

/** The members that there are in most tests. */
export function setMembers(plane: Pick<InterfaceMaps, "setMembers">): void {
  const numbers = Object.keys(NODES).map(Number);
  plane.setMembers(numbers.map((number) => ({ number, mac: f.mac(f.macOfNode(number)) })));
}

function setNodes({ setNode }: Pick<InterfaceMaps, "setNode">, scattered: readonly number[]): void {
  for (const [key, state] of Object.entries(NODES)) {
    const number = Number(key);
    const isScattered = scattered.includes(number);
    setNode(0, number, { mac: f.mac(f.macOfNode(number)), slot: number, ...state, isScattered });
  }
}

function services(): Service[] {
  const entry = (index: number, change: Partial<VserverEntry> = {}): VserverEntry => ({
    index,
    tableBase: 0,
    tableSize: SIZE,
    group: 0,
    trafficBase: index * TRAFFIC_SLOTS,
    isAddressOnly: false,
    ...change,
  });
  const direct = { group: 1, tableBase: SIZE + 64, tableSize: DIRECT_SIZE };
  return [f.VIP, f.VIP6].flatMap((address): Service[] => [
    { address, port: PORTS.http, transport: "tcp", vserver: entry(VSERVERS.http) },
    { address, port: PORTS.dns, transport: "udp", vserver: entry(VSERVERS.dns) },
    {
      address,
      port: PORTS.addressOnly,
      transport: "tcp",
      vserver: entry(VSERVERS.addressOnly, { isAddressOnly: true }),
    },
    { address, port: PORTS.direct, transport: "tcp", vserver: entry(VSERVERS.direct, direct) },
    { address, port: PORTS.deaf, transport: "tcp", vserver: entry(VSERVERS.deaf) },
    {
      address,
      port: PORTS.uncounted,
      transport: "tcp",
      vserver: entry(VSERVERS.uncounted, { trafficBase: TRAFFIC_ROWS }),
    },
  ]);
}

const toWord = ([owner, next, previous = NOBODY]: Word): number => wordOf(owner, next, previous);

/** Gives all buckets the same word. */
export function fill(plane: PacketPlane, word: Word): void {
  const value = toWord(word);
  for (let i = 0; i < (SIZE + 64 + DIRECT_SIZE) * 2; i += 2) plane.buckets[i] = value;
}

/** The words of buckets that no longer have this one. */
export function changedWords(plane: PacketPlane, word: Word): number[] {
  const value = toWord(word);
  const words = Array.from({ length: SIZE + 64 + DIRECT_SIZE }, (_, i) => plane.buckets[i * 2] ?? 0);
  return words.filter((word) => word !== value);
}

/** The bucket of a packet's flow. */
export function bucketOf(plane: PacketPlane, packet: Buffer): number {
  fill(plane, [NOBODY, 1]);
  testRun(plane.programFd, packet);
  const claimed = toWord([1, 1]);
  const bucket = plane.buckets.findIndex((word, i) => i % 2 === 0 && word === claimed) / 2;
  assert.ok(bucket >= 0, "no bucket was claimed");
  return bucket;
}

const wordBefore = (row: Row): Word => row.bucket ?? [2, 3];

/** Makes the world as a row wants it. */
export function prepare(plane: PacketPlane, row: Row): void {
  fill(plane, wordBefore(row));
  plane.setScheduling(row.isScheduling ?? true);
  plane.setHasTable(row.hasTable ?? true);
  plane.setHasPrevious(row.hasPrevious ?? true);
  plane.setLease(row.hasLease ?? true);
  setNodes(plane, row.scattered ?? []);
  plane.setInDoubt(row.isInDoubt ?? false);
  plane.consumeHeld(() => undefined);
  plane.consumeEvents(() => undefined);
  if (row.isRefilled === true) fill(plane, [2, 3]);
  for (const packet of row.before ?? []) testRun(plane.programFd, packet);
  if (row.isRefilled === true) fill(plane, wordBefore(row));
}

function expectedFrame(row: Row): Buffer {
  if (row.out !== undefined) return row.out;
  return row.verdict === TX ? forwarded(row.packet, row.node ?? 0, row.isDirect) : row.packet;
}

function expectedTraffic(row: Row): object[] {
  if (row.node === undefined) return [];
  const slot = row.isDirect === true ? HOST_SLOT + row.node : row.node;
  const isNew = row.packet.includes(syn.subarray(4)) && !isError(row);
  const counts = { packets: 1, bytes: row.packet.length, connections: Number(isNew) };
  return [{ row: (row.vserver ?? VSERVERS.http) * TRAFFIC_SLOTS + slot, ...counts }];
}

const isError = ({ counts = [] }: Row): boolean => counts.includes("icmp_error");

function grownRows(before: TrafficRows, after: TrafficRows): object[] {
  const grown = (column: keyof TrafficRows, row: number): number =>
    after[column][row]! - before[column][row]!;
  return Array.from({ length: TRAFFIC_ROWS }, (_, row) => ({
    row,
    packets: grown("packets", row),
    bytes: grown("bytes", row),
    connections: grown("connections", row),
  })).filter(({ packets, bytes, connections }) => packets !== 0 || bytes !== 0 || connections !== 0);
}

function grownCounters(before: Record<string, number>, after: Record<string, number>): string[] {
  return Object.keys(after).flatMap((name) =>
    Array.from({ length: (after[name] ?? 0) - (before[name] ?? 0) }, () => name),
  );
}

/** Runs a row's packet, and compares all that may have changed. */
export function check(plane: PacketPlane, row: Row): void {
  prepare(plane, row);
  const counters = plane.counters();
  const traffic = plane.trafficOfAll();
  const { verdict, out } = testRun(plane.programFd, row.packet);
  assert.deepEqual(grownCounters(counters, plane.counters()), row.counts ?? []);
  assert.equal(verdict, row.verdict);
  assert.equal(out.toString("hex"), expectedFrame(row).toString("hex"));
  assert.deepEqual(grownRows(traffic, plane.trafficOfAll()), expectedTraffic(row));
  const changed = row.after === undefined ? [] : [toWord(row.after)];
  assert.deepEqual(changedWords(plane, wordBefore(row)), changed);
}
