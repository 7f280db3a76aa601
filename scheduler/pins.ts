/**
 * What the data plane leaves on the BPF file system: its maps and the link that keeps the program on the
 * interface. They outlive every process, so a restarted scheduler finds the table, and traffic goes on meanwhile.
 */
import { existsSync, mkdirSync, readdirSync, rmdirSync, unlinkSync } from "node:fs";
import { join } from "node:path";
import { DlbaError } from "../conf/errors.ts";
import { mapShared, SysError } from "../net/ffi.ts";
import { isOnBpfFileSystem } from "../net/host.ts";
import { LEASE_PIN } from "../net/lease.ts";
import { closeFd, detachLink, mapInfo, openPinned, usePinned, type BpfObject } from "../net/libbpf.ts";
import { BUCKET, CONTROL, LAYOUT_VERSION, LEASE, NODE, NODE_COUNT } from "./layout.ts";

/** Names of maps in the object, and of their pins (which may not contain a dot). */
export const PINNED_MAPS = {
  buckets: "buckets",
  nodes: "nodes",
  vservers: "vservers",
  vips: "vips",
  members: "members",
  fragments: "fragments",
  events: "events",
  counters: "counters",
  traffic: "traffic",
  ".data.control": "control",
  ".data.lease": LEASE_PIN,
} as const;
const LINK_PIN = "link";

/** Pin, bytes of an entry and number of entries of the mapped maps, which must be ours before they are adopted. */
const SHAPES = [
  ["buckets", BUCKET.size, undefined],
  ["nodes", NODE.size, NODE_COUNT],
  ["control", CONTROL.size, 1],
  [LEASE_PIN, LEASE.size, 1],
] as const;

export const linkPin = (pinDir: string): string => join(pinDir, LINK_PIN);

/** Whether pinned maps are taken over; `reason` says why not. */
export type Adoption =
  | { readonly kind: "new" }
  | { readonly kind: "adopted" }
  | { readonly kind: "replaced"; readonly reason: string };

/** Makes the pin directory and names every map's pin in it. Pins that don't fit are taken away first. */
export function preparePins(object: BpfObject, pinDir: string, tableSize: number): Adoption {
  const adoption = judgePins(pinDir, tableSize);
  makePinDir(pinDir);
  if (adoption.kind === "replaced") removeMisfits(pinDir);
  for (const [map, pin] of Object.entries(PINNED_MAPS)) object.setPinPath(map, join(pinDir, pin));
  return adoption;
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

function judgePins(pinDir: string, tableSize: number): Adoption {
  const present = Object.values(PINNED_MAPS).filter((pin) => existsSync(join(pinDir, pin)));
  if (present.length === 0) return { kind: "new" };
  if (present.length < Object.keys(PINNED_MAPS).length) {
    return { kind: "replaced", reason: "some of the pinned maps are missing" };
  }
  const reason = misfit(pinDir, tableSize);
  return reason === undefined ? { kind: "adopted" } : { kind: "replaced", reason };
}

/** Why the pinned maps can't be used, if so. */
function misfit(pinDir: string, tableSize: number): string | undefined {
  for (const [pin, value_bytes, entries] of SHAPES) {
    const info = usePinned(join(pinDir, pin), mapInfo);
    const wanted = entries ?? tableSize;
    if (info.value_bytes !== value_bytes)
      return `${pin} entries have ${info.value_bytes} bytes, not ${value_bytes}`;
    if (info.max_entries !== wanted) return `${pin} has ${info.max_entries} entries, not ${wanted}`;
  }
  const layout = usePinned(join(pinDir, PINNED_MAPS[".data.control"]), readLayout);
  return layout === LAYOUT_VERSION ? undefined : `the pinned layout is ${layout}, not ${LAYOUT_VERSION}`;
}

function readLayout(fd: number): number {
  const mapping = mapShared(fd, CONTROL.size, "read");
  const layout = new DataView(mapping.buffer).getUint32(CONTROL.layout, true);
  mapping.unmap();
  return layout;
}

/** The lease stays when it can: the failover process has it mapped. */
function removeMisfits(pinDir: string): void {
  const lease = join(pinDir, LEASE_PIN);
  const isLeaseFit = existsSync(lease) && usePinned(lease, mapInfo).value_bytes === LEASE.size;
  for (const pin of Object.values(PINNED_MAPS)) {
    if (pin !== LEASE_PIN || !isLeaseFit) removePin(join(pinDir, pin));
  }
}

function removeMapPins(pinDir: string): void {
  for (const pin of Object.values(PINNED_MAPS)) removePin(join(pinDir, pin));
}

function removePin(path: string): void {
  if (existsSync(path)) unlinkSync(path);
}

/** Takes the link's program off the interface and removes its pin; nothing happens when there is none. */
export function removeLink(pinDir: string): void {
  const fd = openPinned(linkPin(pinDir));
  if (fd === undefined) return;
  try {
    detachLink(fd);
  } catch (error) {
    // The interface has gone, and the program with it.
    if (!(error instanceof SysError)) throw error;
  } finally {
    closeFd(fd);
  }
  removePin(linkPin(pinDir));
}

/** Takes the data plane away: program, link, maps and the pin directory. Doing it again is no error. */
export function detachDataPlane(pinDir: string): void {
  if (!existsSync(pinDir)) return;
  removeLink(pinDir);
  removeMapPins(pinDir);
  if (readdirSync(pinDir).length === 0) rmdirSync(pinDir);
}
