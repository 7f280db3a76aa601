/**
 * The edge between the scheduler and its XDP program: loads it once for each interface, pins it, and gives typed views
 * of its maps. Everything written here is seen by the program at once; nothing here stands in a packet's way.
 */
import { join } from "node:path";
import { interfaceIndex } from "../../net/interface.ts";
import { openBpfObject, type BpfObject, type XdpMode } from "../../net/libbpf.ts";
import { attach, type Attachment } from "./attach.ts";
import { DIRECT_BUCKETS, TRAFFIC_SLOTS } from "../layout.ts";
import { openSharedMaps, type SharedMaps } from "./shared-maps.ts";
import { namePins, preparePins, type Adoption, type Prepared } from "./pins.ts";
import { openInterfaceMaps, type InterfaceMaps, type NodeFacts, type NodeWriters } from "./interface-maps.ts";
import { clear } from "../table.ts";

export { detachDataPlane } from "./pins.ts";

const OBJECT_FILE = join(import.meta.dirname, "../bpf/scheduler.bpf.o");
const PROGRAM = "scheduler";

export interface DataPlaneOptions {
  /** The segments that the node is on, in the configuration's order. */
  readonly interfaces: readonly string[];
  /** A directory of this node's own on a BPF file system. */
  readonly pinDir: string;
  /** Number of buckets of the array's nodes, a power of two. A running table keeps its size. */
  readonly tableSize: number;
  /** Rows of traffic that are needed at least. */
  readonly trafficRows: number;
  readonly mode: XdpMode | "auto";
}

export interface InterfacePlane extends InterfaceMaps {
  readonly interface: string;
  readonly attachment: Attachment;
}
export interface DataPlane extends SharedMaps, NodeWriters {
  readonly adoption: Adoption;
  /** In the order of the interfaces. */
  readonly planes: readonly InterfacePlane[];
  facts(): NodeFacts;
  close(): void;
}

/**
 * Loads the program and puts it on the interfaces. A table, and links, that an earlier process left under the
 * pin directory are taken over and the program is replaced in place; `adoption` says when a table had to go, or has
 * another size than was asked for. What is left of interfaces that are no longer named is taken away.
 * Throws DlbaError (LIBBPF_MISSING, BPF_LOAD_FAILED, PIN_DIR, XDP_BUSY, XDP_NATIVE_UNSUPPORTED, NO_INTERFACE).
 */
export function openDataPlane({ interfaces, pinDir, mode, ...sizes }: DataPlaneOptions): DataPlane {
  const prepared = preparePins(pinDir, interfaces.map(interfaceIndex), sizes);
  const objects: BpfObject[] = [];
  try {
    for (const slot of interfaces.keys()) objects.push(loadPinned(pinDir, slot, prepared));
    const loaded = viewsOf(objects, prepared.adoption.kind !== "adopted");
    const planes = interfaces.map((name, slot): InterfacePlane => {
      const attachment = attach(objects[slot]!.programFd(PROGRAM), name, mode, pinDir, slot);
      return { interface: name, attachment, ...loaded.planes[slot]! };
    });
    return { ...loaded, planes, adoption: prepared.adoption };
  } catch (error) {
    for (const object of objects) object.close();
    throw error;
  }
}

function loadPinned(pinDir: string, slot: number, prepared: Prepared): BpfObject {
  const object = openBpfObject(OBJECT_FILE, PROGRAM);
  try {
    namePins(object, pinDir, slot, prepared);
    object.load();
    return object;
  } catch (error) {
    object.close();
    throw error;
  }
}

/** A program without pins and interface: for tests and measurements by test runs. */
export interface Unattached extends SharedMaps, NodeWriters, InterfaceMaps {
  readonly programFd: number;
  readonly object: BpfObject;
  facts(): NodeFacts;
  close(): void;
}

/** Loads the program for test runs. Throws DlbaError LIBBPF_MISSING or BPF_LOAD_FAILED. */
export function loadUnattached(
  tableSize: number,
  { objectFile = OBJECT_FILE, trafficRows = 1024 } = {},
): Unattached {
  const object = openBpfObject(objectFile, PROGRAM);
  object.setMaxEntries("buckets", tableSize + DIRECT_BUCKETS);
  object.setMaxEntries("traffic", Math.ceil(trafficRows / TRAFFIC_SLOTS));
  object.load();
  const { planes, ...views } = viewsOf([object], true);
  return { ...planes[0]!, ...views, programFd: object.programFd(PROGRAM), object };
}

type Views = Omit<DataPlane, "adoption" | "planes"> & { readonly planes: readonly InterfaceMaps[] };

/** All objects share the same maps but for those of an interface. */
function viewsOf(objects: readonly BpfObject[], isNew: boolean): Views {
  const shared = openSharedMaps(objects[0]!);
  // Before the layout's number is written: a table that was not cleared is not adopted.
  if (isNew) clear(shared.buckets);
  const planes = objects.map(openInterfaceMaps);
  return {
    ...shared,
    ...toAll(planes),
    planes,
    facts: () => planes[0]!.facts(),
    close: () => {
      shared.close();
      for (const plane of planes) plane.close();
      for (const object of objects) object.close();
    },
  };
}

function toAll(planes: readonly NodeWriters[]): NodeWriters {
  const each =
    <T>(write: (plane: NodeWriters, value: T) => void) =>
    (value: T): void => {
      for (const plane of planes) write(plane, value);
    };
  return {
    setHashKey: each((plane, key) => plane.setHashKey(key)),
    setHeartbeatKeys: each((plane, keys) => plane.setHeartbeatKeys(keys)),
    setHears: each((plane, hears_ns) => plane.setHears(hears_ns)),
    setNumber: each((plane, number) => plane.setNumber(number)),
    setHasTable: each((plane, hasTable) => plane.setHasTable(hasTable)),
    setHasPrevious: each((plane, hasPrevious) => plane.setHasPrevious(hasPrevious)),
    setTableVersion: each((plane, version) => plane.setTableVersion(version)),
    setTurned: each((plane, turned_ns) => plane.setTurned(turned_ns)),
    setHandOverTo: each((plane, number) => plane.setHandOverTo(number)),
    setInDoubt: each((plane, isInDoubt) => plane.setInDoubt(isInDoubt)),
    setMerging: each((plane, isMerging) => plane.setMerging(isMerging)),
  };
}
