/**
 * Later fragments that came before their first one. The XDP program can't tell where they belong and hands them over;
 * they are kept here until the first one has been seen, and sent after it. Senders repeat what is thrown away.
 */
import { HELD_FRAGMENTS, HELD_FRAGMENTS_BYTES, HELD_FRAGMENT_MS } from "../../conf/limits.ts";
import { SysError } from "../../net/ffi.ts";
import { interfaceIndex } from "../../net/interface.ts";
import { openPacketSocket, SEND_ONLY, type PacketSocket } from "../../net/packet-socket.ts";
import type { HeldFragment } from "../plane/shared-maps.ts";

const LOOK_EVERY_MS = 5;

/** Where a first fragment went: up the own stack, or to a node by its MAC address on that interface. */
export type Destination = { readonly kind: "self" } | { readonly kind: "node"; readonly mac: Uint8Array };
/** Undefined while the first fragment has not been seen. */
export type Lookup = (key: Uint8Array, ifindex: number) => Destination | undefined;
export interface Departure {
  readonly fragment: HeldFragment;
  readonly destination: Destination;
}
export interface FragmentQueue {
  /** False when there is no room. */
  hold(fragment: HeldFragment, now_ms: number): boolean;
  /** Takes out the fragments that can go, in the order in which they came, and those that waited too long. */
  look(lookup: Lookup, now_ms: number): { departures: Departure[]; expired: number };
  isEmpty(): boolean;
}

interface Waiting {
  readonly fragment: HeldFragment;
  readonly until_ms: number;
}

/** The fragments that wait; pure. */
export function createFragmentQueue(): FragmentQueue {
  // One entry for each packet: it is looked for once, however many fragments it has.
  const packets = new Map<string, Waiting[]>();
  let count = 0;
  let bytes = 0;
  const remove = (name: string, waiting: readonly Waiting[], left: Waiting[]): void => {
    for (const { fragment } of waiting) bytes -= fragment.frame.length;
    for (const { fragment } of left) bytes += fragment.frame.length;
    count += left.length - waiting.length;
    if (left.length > 0) packets.set(name, left);
    else packets.delete(name);
  };
  return {
    isEmpty: () => count === 0,
    hold: (fragment, now_ms) => {
      if (count === HELD_FRAGMENTS || bytes + fragment.frame.length > HELD_FRAGMENTS_BYTES) return false;
      count++;
      bytes += fragment.frame.length;
      const name = `${fragment.ifindex} ${fragment.key.toString("latin1")}`;
      packets.set(name, [...(packets.get(name) ?? []), { fragment, until_ms: now_ms + HELD_FRAGMENT_MS }]);
      return true;
    },
    look: (lookup, now_ms) => {
      const departures: Departure[] = [];
      let expired = 0;
      for (const [name, waiting] of packets) {
        const { key, ifindex } = waiting[0]!.fragment;
        const destination = lookup(key, ifindex);
        const left = destination === undefined ? waiting.filter(({ until_ms }) => until_ms > now_ms) : [];
        remove(name, waiting, left);
        if (destination === undefined) expired += waiting.length - left.length;
        else departures.push(...waiting.map(({ fragment }) => ({ fragment, destination })));
      }
      return { departures, expired };
    },
  };
}

const ETHERNET_BYTES = 14;
const TAG_BYTES = 4;
const TAGS = new Set([0x8100, 0x88a8]);

/** The frame as it goes to a node: as if the program had sent it. */
export function frameTo(frame: Uint8Array, mac: Uint8Array, own: Uint8Array): Uint8Array {
  const out = Uint8Array.from(frame);
  out.set(mac, 0);
  out.set(own, 6);
  return out;
}

/**
 * The frame as it goes up the own stack through `lo`: without VLAN tags, from and to the MAC address of `lo`. The kernel
 * puts fragments together whatever interface each came in by, but a strict reverse-path filter on `lo` drops those of
 * IPv4: it must be loose there (net.ipv4.conf.lo.rp_filter = 2) where it is not off.
 */
export function frameToSelf(frame: Uint8Array): Uint8Array {
  const typeAt = (at: number): number => (frame[at]! << 8) | (frame[at + 1] ?? 0);
  let at = ETHERNET_BYTES - 2;
  while (TAGS.has(typeAt(at))) at += TAG_BYTES;
  const rest = frame.subarray(at);
  const out = new Uint8Array(ETHERNET_BYTES - 2 + rest.length);
  out.set(rest, ETHERNET_BYTES - 2);
  return out;
}

export interface FragmentCounts {
  readonly sent: number;
  /** Their first fragment did not come in time. */
  readonly expired: number;
  /** There was no room for them, or the kernel did not take them. */
  readonly dropped: number;
}
export interface HeldFragments {
  /** A fragment from the program. */
  take(fragment: HeldFragment): void;
  counts(): FragmentCounts;
  close(): void;
}
export interface HeldFragmentsOptions {
  readonly lookup: Lookup;
  /** This node's MAC address on an interface. */
  readonly ownMac: (ifindex: number) => Uint8Array;
}

/** Sends what is held as soon as it can go. Its timer runs only while there is something. */
export function createHeldFragments({ lookup, ownMac }: HeldFragmentsOptions): HeldFragments {
  const queue = createFragmentQueue();
  const sockets = createSockets();
  const counts = { sent: 0, expired: 0, dropped: 0 };
  let timer: NodeJS.Timeout | undefined;
  const send = ({ fragment: { frame, ifindex }, destination }: Departure): void => {
    try {
      if (destination.kind === "self") sockets.onLo().send(frameToSelf(frame));
      else sockets.on(ifindex).send(frameTo(frame, destination.mac, ownMac(ifindex)));
      counts.sent++;
    } catch (error) {
      if (!(error instanceof SysError)) throw error;
      counts.dropped++;
    }
  };
  const look = (): void => {
    const { departures, expired } = queue.look(lookup, performance.now());
    counts.expired += expired;
    for (const departure of departures) send(departure);
    timer = queue.isEmpty() ? undefined : setTimeout(look, LOOK_EVERY_MS);
  };
  return {
    take: (fragment) => {
      if (!queue.hold(fragment, performance.now())) counts.dropped++;
      // The first fragment may have come meanwhile.
      timer ??= setTimeout(look, 0);
    },
    counts: () => ({ ...counts }),
    close: () => {
      clearTimeout(timer);
      sockets.close();
    },
  };
}

/** A socket for each interface that one was needed for. */
function createSockets() {
  const sockets = new Map<number, PacketSocket>();
  let lo: number | undefined;
  const on = (ifindex: number): PacketSocket => {
    const socket = sockets.get(ifindex) ?? openPacketSocket(ifindex, SEND_ONLY);
    sockets.set(ifindex, socket);
    return socket;
  };
  return {
    on,
    onLo: () => on((lo ??= interfaceIndex("lo"))),
    close: () => {
      for (const socket of sockets.values()) socket.close();
    },
  };
}
