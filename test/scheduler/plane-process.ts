/**
 * A process that opens a data plane, does what its arguments say, says what it found as a line of JSON, and stays until
 * it is killed. Arguments: the interfaces with commas between, the pin directory, and an Order as JSON.
 */
import { readdirSync, readFileSync } from "node:fs";
import { parseMac } from "../../conf/address.ts";
import { epochOf } from "../../conf/epoch.ts";
import { DlbaError, describeError } from "../../conf/errors.ts";
import { readInterface } from "../../net/interface.ts";
import { openDataPlane, type DataPlane } from "../../scheduler/plane/data-plane.ts";
import { wordOf } from "../../scheduler/table.ts";

export interface Order {
  readonly size?: number;
  readonly trafficRows?: number;
  readonly mode?: "auto" | "native" | "generic";
  /** Written into the first bucket's word. */
  readonly mark?: number;
  /** Written into the lease page. */
  readonly epoch?: number;
  /** Written as the MAC address of node 9 on each interface. */
  readonly macs?: readonly string[];
  /** Schedules UDP to this VIP's port 53 to this node; node 1 is this one, node 2 has that MAC address. */
  readonly serve?: { readonly vip: string; readonly owner: number; readonly mac: string };
}
export interface Said {
  readonly planes?: readonly { readonly interface: string; readonly mode: string; readonly reason: string }[];
  readonly adoption?: { readonly kind: string; readonly reason?: string; readonly keptTableSize?: number };
  /** As they were found. */
  readonly first?: number;
  readonly epoch?: number;
  readonly macs?: readonly string[];
  readonly size?: number;
  readonly trafficRows?: number;
  readonly locked_bytes?: number;
  /** From the start of opening to a frame that was scheduled. */
  readonly scheduled_ms?: number;
  readonly code?: string;
  readonly text?: string;
}

const STATE = { isUp: true, isReachable: true, isDraining: false };
const [interfaces = "", pinDir = "", orderText = "{}"] = process.argv.slice(2);
const order: Order = JSON.parse(orderText);
const say = (said: Said): void => console.log(JSON.stringify(said));
const hex = (mac: Uint8Array): string => Buffer.from(mac).toString("hex");

/** Bytes that the kernel has locked for the maps that this process has open, each counted once. */
function lockedBytes(): number {
  const byMap = new Map<string, number>();
  for (const fd of readdirSync("/proc/self/fdinfo")) {
    const text = fdinfo(fd);
    const map = /^map_id:\s*(\d+)/m.exec(text)?.[1];
    if (map !== undefined) byMap.set(map, Number(/^memlock:\s*(\d+)/m.exec(text)?.[1] ?? 0));
  }
  return [...byMap.values()].reduce((sum, bytes) => sum + bytes, 0);
}

/** The descriptor of the directory's listing has gone by then. */
function fdinfo(fd: string): string {
  try {
    return readFileSync(`/proc/self/fdinfo/${fd}`, "utf8");
  } catch {
    return "";
  }
}

function obey(plane: DataPlane): void {
  if (order.mark !== undefined) plane.buckets[0] = order.mark;
  if (order.epoch !== undefined) plane.lease.raiseEpoch(plane.lease.epoch(), order.epoch);
  order.macs?.forEach((text, i) => {
    plane.planes[i]?.setNode(0, 9, { mac: parseMac(text)!, slot: 9, isSelf: false, ...STATE });
  });
  if (order.serve !== undefined) serve(plane, order.serve);
}

function serve(plane: DataPlane, { vip, owner, mac }: NonNullable<Order["serve"]>): void {
  const [first] = plane.planes;
  if (first === undefined) return;
  const own = readInterface(first.interface).mac;
  first.setOwnMac(own);
  first.setNode(0, 1, { mac: own, slot: 1, isSelf: true, ...STATE });
  first.setNode(0, 2, { mac: parseMac(mac)!, slot: 2, isSelf: false, ...STATE });
  for (let i = 0; i < plane.tableSize; i++) plane.buckets[i * 2] = wordOf(owner, owner);
  const place = { index: 0, tableBase: 0, tableSize: plane.tableSize, group: 0, trafficBase: 0 };
  const vserver = { ...place, isAddressOnly: false };
  plane.setVips([vip]);
  plane.setServices([{ address: vip, port: 53, transport: "udp", vserver }]);
  plane.setNumber(1);
  plane.lease.raiseEpoch(plane.lease.epoch(), epochOf(1, 1));
}

function run(): void {
  const started_ms = performance.now();
  const plane = openDataPlane({
    interfaces: interfaces.split(","),
    pinDir,
    tableSize: order.size ?? 1024,
    trafficRows: order.trafficRows ?? 1024,
    mode: order.mode ?? "auto",
  });
  const first = plane.buckets[0] ?? 0;
  const epoch = plane.lease.epoch();
  const macs = plane.planes.map((one) => hex(one.readNode(0, 9).mac));
  obey(plane);
  say({
    planes: plane.planes.map(({ interface: name, attachment }) => ({ interface: name, ...attachment })),
    adoption: plane.adoption,
    first,
    epoch,
    macs,
    size: plane.tableSize,
    trafficRows: plane.trafficRows,
    locked_bytes: lockedBytes(),
  });
  const timer = setInterval(() => {
    plane.consumeEvents(() => undefined);
    const { owner } = order.serve ?? {};
    if (owner === undefined || plane.traffic(owner).packets === 0) return;
    say({ scheduled_ms: performance.now() - started_ms });
    clearInterval(timer);
    setInterval(() => plane.consumeEvents(() => undefined), 50);
  }, 1);
}

try {
  run();
} catch (error) {
  say({ code: error instanceof DlbaError ? error.code : "?", text: describeError(error) });
}
