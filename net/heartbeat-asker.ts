/**
 * One round of heartbeats: peers are asked on each interface, and it is noted when. What is missing (no data plane
 * yet, an interface that is away) is tried again later; nothing here ends the process.
 */
import { DlbaError } from "../conf/errors.ts";
import { createAskFrame, HEARTBEAT_LEASED, HEARTBEAT_OFFER, type AskFrame } from "./heartbeat.ts";
import { SysError } from "./ffi.ts";
import type { HeartbeatMemory } from "./heartbeat-memory.ts";
import type { HeartbeatNews } from "./heartbeat-orders.ts";
import type { Channel } from "./peers-page.ts";

/** One interface as heartbeats need it. */
export interface HeartbeatLink {
  readonly mac: Uint8Array;
  /** A peer's MAC address on this interface; undefined while it is not known. */
  macOf(peer: number): Uint8Array | undefined;
  /** Throws SysError (ENOBUFS, ENETDOWN…). */
  send(frame: Uint8Array): void;
  close(): void;
}
export interface AskerOptions {
  readonly key: Uint8Array;
  /** This node's number. */
  readonly number: number;
  readonly channel: Channel;
  readonly slots: number;
  readonly peers: readonly number[];
  readonly memory: HeartbeatMemory;
  /** What the questions tell, as it is now. */
  readonly news: () => HeartbeatNews;
  /** Throws DlbaError while there is no such interface, or no data plane on it. */
  readonly openLink: (slot: number) => HeartbeatLink;
  /** CLOCK_MONOTONIC. */
  readonly now_ns: () => number;
}
export interface Asker {
  /** Asks these ones of `peers`, by their places. */
  ask(indexes: readonly number[]): void;
  close(): void;
}

/** How long an interface that could not be opened, or has gone, is left alone. */
const REOPEN_NS = 200_000_000;
const NO_SUCH_DEVICE = new Set(["ENXIO", "ENODEV"]);

interface Slot {
  link: HeartbeatLink | undefined;
  frame: AskFrame | undefined;
  retry_ns: number;
}

/** Links are numbered slot by slot, in the order of `peers`. */
export const linkOf = (peers: number, slot: number, peerIndex: number): number => slot * peers + peerIndex;

export function createAsker(options: AskerOptions): Asker {
  const { peers } = options;
  const slots = Array.from({ length: options.slots }, (): Slot => ({
    link: undefined,
    frame: undefined,
    retry_ns: 0,
  }));
  return {
    ask: (indexes) => {
      slots.forEach((slot, number) => {
        if (slot.link === undefined) tryOpen(options, slot, number);
        for (const i of indexes) askOne(options, slot, i, linkOf(peers.length, number, i));
      });
    },
    close: () => slots.forEach(closeSlot),
  };
}

function tryOpen(options: AskerOptions, slot: Slot, number: number): void {
  const { key, memory, number: own, channel, openLink, now_ns } = options;
  if (now_ns() < slot.retry_ns) return;
  try {
    slot.link = openLink(number);
    slot.frame = createAskFrame(key, slot.link.mac, own, channel);
  } catch (error) {
    if (!(error instanceof DlbaError)) throw error;
    // No data plane yet is the usual start.
    if (error.code !== "NO_DATA_PLANE") memory.countFailed();
    slot.retry_ns = now_ns() + REOPEN_NS;
  }
}

function closeSlot(slot: Slot): void {
  slot.link?.close();
  slot.link = undefined;
  slot.frame = undefined;
}

function askOne(
  { peers, memory, news, now_ns }: AskerOptions,
  slot: Slot,
  index: number,
  link: number,
): void {
  const peer = peers[index]!;
  const mac = slot.link?.macOf(peer);
  if (slot.link === undefined || slot.frame === undefined || mac === undefined) return;
  const { epoch, isLeased, offer } = news();
  const flags = (isLeased ? HEARTBEAT_LEASED : 0) | (offer === peer ? HEARTBEAT_OFFER : 0);
  const sent_ns = now_ns();
  slot.frame.ask(mac, peer, sent_ns, epoch, flags);
  try {
    slot.link.send(slot.frame.bytes);
    // The thread may have stood still between the two: a peer's time to answer counts from the latter.
    memory.note(link, sent_ns, now_ns());
    memory.countSent();
  } catch (error) {
    if (!(error instanceof SysError)) throw error;
    memory.countFailed();
    if (!NO_SUCH_DEVICE.has(error.code)) return;
    closeSlot(slot);
    slot.retry_ns = sent_ns + REOPEN_NS;
  }
}
