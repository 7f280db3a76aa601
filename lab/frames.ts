/** What the switch counted: frames of the VIPs, by the port they came in and the port they left at. */
import type { LabPlaces } from "./places.ts";
import { SWITCH } from "./planned-host.ts";
import { runIn } from "./topology.ts";

export interface FrameCount {
  readonly from: string;
  readonly to: string;
  readonly frames: number;
  readonly bytes: number;
}
export interface SwitchCounts {
  /** Frames whose destination address is a VIP: requests. */
  readonly to_vip: readonly FrameCount[];
  /** Frames whose source address is a VIP: replies. */
  readonly from_vip: readonly FrameCount[];
}

interface CountedElement {
  readonly elem: {
    readonly val: { readonly concat: readonly [string, string] };
    readonly counter: { readonly packets: number; readonly bytes: number };
  };
}
interface NftObject {
  readonly set?: { readonly name: string; readonly elem?: readonly CountedElement[] };
}

/** Reads the output of `nft -j list table`. */
export function parseCounts(json: string): SwitchCounts {
  const { nftables }: { nftables: readonly NftObject[] } = JSON.parse(json);
  const counts = (name: string): FrameCount[] => {
    const elements = nftables.find(({ set }) => set?.name === name)?.set?.elem ?? [];
    return elements.map(({ elem: { val, counter } }) => {
      const [from, to] = val.concat;
      return { from, to, frames: counter.packets, bytes: counter.bytes };
    });
  };
  return { to_vip: counts("to_vip"), from_vip: counts("from_vip") };
}

/** What was counted between two readings. */
export function countsBetween(before: SwitchCounts, after: SwitchCounts): SwitchCounts {
  return {
    to_vip: growth(before.to_vip, after.to_vip),
    from_vip: growth(before.from_vip, after.from_vip),
  };
}

function growth(before: readonly FrameCount[], after: readonly FrameCount[]): FrameCount[] {
  return after
    .map(({ from, to, frames, bytes }) => {
      const old = before.find((count) => count.from === from && count.to === to);
      return { from, to, frames: frames - (old?.frames ?? 0), bytes: bytes - (old?.bytes ?? 0) };
    })
    .filter(({ frames }) => frames > 0);
}

export async function readCounts(places: LabPlaces): Promise<SwitchCounts> {
  return parseCounts(
    await runIn(places.namespacePrefix + SWITCH, ["nft", "-j", "list", "table", "bridge", "dlba"]),
  );
}
