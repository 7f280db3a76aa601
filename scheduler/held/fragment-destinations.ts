/** Later fragments that came before their first one: they wait in held-fragments.ts until the maps say where it went. */
import { createHeldFragments, type Destination, type HeldFragments } from "./held-fragments.ts";
import type { Machine } from "../machine.ts";
import { NODE_COUNT } from "../layout.ts";
import { ownerOf, readWord } from "../table.ts";

/** Sends held fragments on, with this node's MAC addresses. */
export function holdFragments(machine: Machine): HeldFragments {
  const slotOf = (ifindex: number): number =>
    machine.segments.findIndex((segment) => segment.ifindex === ifindex);
  return createHeldFragments({
    lookup: (key, ifindex) => destinationOf(machine, key, slotOf(ifindex)),
    ownMac: (ifindex) => machine.segments[slotOf(ifindex)]?.mac ?? new Uint8Array(6),
  });
}

/** Where the first fragment went, and so where the others go; undefined before it has been seen. */
function destinationOf({ plane }: Machine, key: Uint8Array, slot: number): Destination | undefined {
  const first = plane.firstFragment(key);
  if (first === undefined) return undefined;
  if (first.bucket === undefined) return { kind: "self" };
  const row = first.handedOnTo ?? first.nodeBase + ownerOf(readWord(plane.buckets, first.bucket));
  const node = plane.planes[slot]?.readNode(Math.floor(row / NODE_COUNT), row % NODE_COUNT);
  if (node === undefined || node.isSelf) return { kind: "self" };
  return { kind: "node", mac: node.mac };
}
