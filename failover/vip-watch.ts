/**
 * Who says that a VIP is at its MAC address: ARP and neighbour messages on every segment, and now and then a question
 * of our own. The scheduler is known by its answers, as the source of the array's design has it; a machine outside the array that
 * claims a VIP is a duplicate address.
 */
import { formatMac, type IpAddress } from "../conf/address.ts";
import { openNeighbourSockets, type NeighbourSockets } from "../net/neighbour-sockets.ts";

/** From one question to the next; each is for another VIP. */
const ASK_EVERY_MS = 1000;

export interface WatchedSegment {
  readonly ifindex: number;
  readonly mac: Uint8Array;
  /** This node's address of either family there, as far as it has one. */
  readonly addresses: readonly IpAddress[];
}
/** A message that says that a VIP is at a MAC address which is not this node's. */
export interface VipClaim {
  readonly slot: number;
  readonly vip: string;
  readonly mac: Uint8Array;
}
export interface VipWatch {
  /** What came since the last turn; asks for the next VIP when that is due. */
  turn(now_ms: number): VipClaim[];
  /** Questions that could not be sent. */
  readonly failures: number;
  close(): void;
}

interface Ear {
  readonly segment: WatchedSegment;
  readonly slot: number;
  readonly sockets: NeighbourSockets;
}

/** Watches until closed. Throws SysError (EPERM without CAP_NET_RAW). */
export function watchVips(segments: readonly WatchedSegment[], vips: readonly IpAddress[]): VipWatch {
  const names = new Set(vips.map(({ text }) => text));
  const ears = segments.map((segment, slot): Ear => ({
    segment,
    slot,
    sockets: openNeighbourSockets(segment),
  }));
  const state = { next: 0, due_ms: 0, failures: 0 };
  return {
    turn: (now_ms) => {
      if (now_ms >= state.due_ms) {
        state.due_ms = now_ms + ASK_EVERY_MS;
        const vip = vips[state.next++ % Math.max(1, vips.length)];
        if (vip !== undefined) for (const ear of ears) state.failures += ask(ear, vip);
      }
      return ears.flatMap((ear) => claimsAt(ear, names));
    },
    get failures() {
      return state.failures;
    },
    close: () => {
      for (const { sockets } of ears) sockets.close();
    },
  };
}

/** Asks who has a VIP; returns how many questions failed. */
function ask({ segment, sockets }: Ear, vip: IpAddress): number {
  const own = segment.addresses.find(({ family }) => family === vip.family);
  try {
    sockets.ask(own, vip);
    return 0;
  } catch {
    // A cable that is out is no reason to end; that is seen elsewhere.
    return 1;
  }
}

function claimsAt({ segment, slot, sockets }: Ear, vips: ReadonlySet<string>): VipClaim[] {
  const own = formatMac(segment.mac);
  return sockets
    .heard()
    .filter(({ address, mac }) => vips.has(address) && formatMac(mac) !== own)
    .map(({ address, mac }) => ({ slot, vip: address, mac }));
}
