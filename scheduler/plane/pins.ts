/**
 * What the data plane leaves on the BPF file system: its maps and the links that keep the program on the
 * interfaces. They outlive every process, so a restarted scheduler finds the table, and traffic goes on meanwhile.
 * An interface's maps and link have its slot (its place in the node's list) in their names.
 */
import { existsSync, mkdirSync, readdirSync, rmdirSync, unlinkSync } from "node:fs";
import { join } from "node:path";
import { DlbaError } from "../../conf/errors.ts";
import { controlPin } from "../../net/control-page.ts";
import { mapShared, SysError } from "../../net/ffi.ts";
import { isOnBpfFileSystem } from "../../net/host.ts";
import { LEASE_PIN } from "../../net/lease.ts";
import {
  closeFd,
  detachLink,
  mapInfo,
  openPinned,
  usePinned,
  xdpLinkIfindex,
  type BpfObject,
} from "../../net/libbpf.ts";
import { nodesPin, peersPin } from "../../net/peers-page.ts";
import {
  BUCKET,
  CONTROL,
  DIRECT_BUCKETS,
  GROUP,
  GROUP_COUNT,
  CHANNEL_COUNT,
  LAYOUT_VERSION,
  LEASE,
  NODE,
  NODE_COUNT,
  PEER,
  TRAFFIC_ROWS,
  TRAFFIC_SLOTS,
} from "../layout.ts";

/** Names of maps in the object, and of their pins (which may not contain a dot). */
const SHARED_PINS = {
  buckets: "buckets",
  groups: "groups",
  vservers: "vservers",
  vservers6: "vservers6",
  vips: "vips",
  fragments: "fragments",
  held: "held",
  events: "events",
  counters: "counters",
  traffic: "traffic",
  ".data.lease": LEASE_PIN,
} as const;
const interfacePins = (slot: number) => ({
  ".data.control": controlPin(slot),
  nodes: nodesPin(slot),
  members: `members-${slot}`,
  peers: peersPin(slot),
});
const linkName = (slot: number): string => `link-${slot}`;
export const linkPin = (pinDir: string, slot: number): string => join(pinDir, linkName(slot));

/** Pins of ours under a pin directory, of any number of interfaces (earlier layouts had one, without a slot). */
function ownPins(pinDir: string): string[] {
  const shared: readonly string[] = Object.values(SHARED_PINS);
  const pattern = /^(?:control|nodes|members|peers|link)(?:-\d+)?$/;
  return readdirSync(pinDir).filter((pin) => shared.includes(pin) || pattern.test(pin));
}

/** Whether pinned maps are taken over. */
export type Adoption =
  | { readonly kind: "new" }
  /** `keptTableSize` is there when another size was asked for: the table's size is fixed while the array runs. */
  | { readonly kind: "adopted"; readonly keptTableSize?: number }
  | { readonly kind: "replaced"; readonly reason: string };

/** What `preparePins` has found and settled. */
export interface Prepared {
  readonly adoption: Adoption;
  /** Buckets of the array's nodes, and rows of traffic, that the maps have or will have. */
  readonly tableSize: number;
  readonly trafficRows: number;
}

/** Makes the pin directory. Pins that don't fit, and those of interfaces that are no longer wanted, are taken away. */
export function preparePins(
  pinDir: string,
  ifindexes: readonly number[],
  wanted: { readonly tableSize: number; readonly trafficRows: number },
): Prepared {
  makePinDir(pinDir);
  const adoption = judgePins(pinDir, ifindexes.length, wanted.tableSize);
  removeStrangers(pinDir, ifindexes.length, adoption.kind === "adopted");
  ifindexes.forEach((ifindex, slot) => forgetOtherInterface(pinDir, slot, ifindex));
  if (adoption.kind !== "adopted") return { adoption, ...wanted };
  const tableSize = adoption.keptTableSize ?? wanted.tableSize;
  return { adoption, tableSize, trafficRows: prepareTraffic(pinDir, wanted.trafficRows) };
}

/** Names every map's pin in an object that is not loaded yet, and gives its maps their sizes. */
export function namePins(object: BpfObject, pinDir: string, slot: number, prepared: Prepared): void {
  object.setMaxEntries("buckets", prepared.tableSize + DIRECT_BUCKETS);
  object.setMaxEntries("traffic", Math.ceil(prepared.trafficRows / TRAFFIC_SLOTS));
  for (const [map, pin] of Object.entries({ ...SHARED_PINS, ...interfacePins(slot) })) {
    object.setPinPath(map, join(pinDir, pin));
  }
}

function makePinDir(pinDir: string): void {
  const hint = "it must lie on a BPF file system: mount -t bpf bpf /sys/fs/bpf";
  if (!isOnBpfFileSystem(pinDir)) throw new DlbaError("PIN_DIR", `${pinDir} can't hold pins`, { hint });
  try {
    mkdirSync(pinDir, { recursive: true, mode: 0o700 });
  } catch (cause) {
    throw new DlbaError("PIN_DIR", `the pin directory ${pinDir} can't be made`, { cause, hint });
  }
}

function judgePins(pinDir: string, interfaces: number, tableSize: number): Adoption {
  const present = new Set(ownPins(pinDir));
  if ([...present].every((pin) => pin === LEASE_PIN)) return { kind: "new" };
  const missing = missingPin(present, interfaces);
  if (missing !== undefined) return { kind: "replaced", reason: `the pinned map ${missing} is missing` };
  const slots = Array.from({ length: interfaces }, (_, i) => i).filter((i) => present.has(controlPin(i)));
  const reason = misfit(pinDir, slots);
  if (reason !== undefined) return { kind: "replaced", reason };
  const kept = usePinned(join(pinDir, SHARED_PINS.buckets), mapInfo).max_entries - DIRECT_BUCKETS;
  return kept === tableSize ? { kind: "adopted" } : { kind: "adopted", keptTableSize: kept };
}

/** Interfaces other than the first may be new: then all of their maps are missing. */
function missingPin(present: ReadonlySet<string>, interfaces: number): string | undefined {
  const sets = [{ ...SHARED_PINS, ...interfacePins(0) }];
  for (let slot = 1; slot < interfaces; slot++) sets.push({ ...SHARED_PINS, ...interfacePins(slot) });
  for (const [slot, set] of sets.entries()) {
    const isNew = slot > 0 && !Object.values(interfacePins(slot)).some((pin) => present.has(pin));
    const missing = Object.values(set).find((pin) => !present.has(pin));
    if (missing !== undefined && !isNew) return missing;
  }
  return undefined;
}

/** Why the pinned maps can't be used, if so. Only what is mapped must be ours to the byte. */
function misfit(pinDir: string, slots: readonly number[]): string | undefined {
  const shapes = [
    ["groups", GROUP.size, GROUP_COUNT],
    ["buckets", BUCKET.size, undefined],
    ["traffic", TRAFFIC_ROWS.size, undefined],
    [LEASE_PIN, LEASE.size, 1],
    ...slots.flatMap((slot) => [
      [controlPin(slot), CONTROL.size, 1] as const,
      [nodesPin(slot), NODE.size, NODE_COUNT * GROUP_COUNT] as const,
      [peersPin(slot), PEER.size, NODE_COUNT * CHANNEL_COUNT] as const,
    ]),
  ] as const;
  for (const [pin, value_bytes, entries] of shapes) {
    const info = usePinned(join(pinDir, pin), mapInfo);
    if (info.value_bytes !== value_bytes)
      return `${pin} entries have ${info.value_bytes} bytes, not ${value_bytes}`;
    if (entries !== undefined && info.max_entries !== entries)
      return `${pin} has ${info.max_entries} entries, not ${entries}`;
  }
  const layouts = slots.map((slot) => usePinned(join(pinDir, controlPin(slot)), readLayout));
  const other = layouts.find((layout) => layout !== LAYOUT_VERSION);
  return other === undefined ? undefined : `the pinned layout is ${other}, not ${LAYOUT_VERSION}`;
}

function readLayout(fd: number): number {
  const mapping = mapShared(fd, CONTROL.size, "read");
  const layout = new DataView(mapping.buffer).getUint32(CONTROL.layout, true);
  mapping.unmap();
  return layout;
}

/**
 * Takes away all that a data plane on so many interfaces has no use for, and all maps unless they are adopted. Links
 * stay: the program in them is replaced. So does the lease when it can: the failover process has it mapped.
 */
function removeStrangers(pinDir: string, interfaces: number, isAdopted: boolean): void {
  const known = new Set<string>();
  for (let slot = 0; slot < interfaces; slot++) {
    known.add(linkName(slot));
    if (isAdopted) for (const pin of Object.values(interfacePins(slot))) known.add(pin);
  }
  if (isAdopted) for (const pin of Object.values(SHARED_PINS)) known.add(pin);
  const lease = join(pinDir, LEASE_PIN);
  if (existsSync(lease) && usePinned(lease, mapInfo).value_bytes === LEASE.size) known.add(LEASE_PIN);
  for (const pin of ownPins(pinDir)) if (!known.has(pin)) removePin(pinDir, pin);
}

/** When a slot's link is on another interface that is still there, what is known of its nodes is of another segment. */
function forgetOtherInterface(pinDir: string, slot: number, ifindex: number): void {
  const fd = openPinned(linkPin(pinDir, slot));
  if (fd === undefined) return;
  const attached = xdpLinkIfindex(fd);
  closeFd(fd);
  if (attached === 0 || attached === ifindex) return;
  for (const pin of [linkName(slot), ...Object.values(interfacePins(slot))]) removePin(pinDir, pin);
}

/** Rows that the traffic map will have: one that is too small is replaced, without touching the rest. */
function prepareTraffic(pinDir: string, wanted: number): number {
  const { max_entries } = usePinned(join(pinDir, SHARED_PINS.traffic), mapInfo);
  if (max_entries * TRAFFIC_SLOTS >= wanted) return max_entries * TRAFFIC_SLOTS;
  removePin(pinDir, SHARED_PINS.traffic);
  return wanted;
}

/** Takes a pin away; a link's program leaves its interface. Nothing happens when there is none. */
function removePin(pinDir: string, pin: string): void {
  if (pin.startsWith("link")) detach(join(pinDir, pin));
  if (existsSync(join(pinDir, pin))) unlinkSync(join(pinDir, pin));
}

/** Takes the program of an interface off it, and the link's pin away. */
export function removeLink(pinDir: string, slot: number): void {
  removePin(pinDir, linkName(slot));
}

function detach(path: string): void {
  const fd = openPinned(path);
  if (fd === undefined) return;
  try {
    detachLink(fd);
  } catch (error) {
    // The interface has gone, and the program with it.
    if (!(error instanceof SysError)) throw error;
  } finally {
    closeFd(fd);
  }
}

/** Takes the data plane away: programs, links, maps and the pin directory. Doing it again is no error. */
export function detachDataPlane(pinDir: string): void {
  if (!existsSync(pinDir)) return;
  for (const pin of ownPins(pinDir)) removePin(pinDir, pin);
  if (readdirSync(pinDir).length === 0) rmdirSync(pinDir);
}
