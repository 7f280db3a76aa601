/**
 * Heartbeats as bytes: an Ethernet frame that asks a node's kernel whether it lives, and tells it who schedules as far
 * as the asker knows.
 * The kernel's side of it is the XDP program; its layout is `struct heartbeat` in scheduler/bpf/layout.h.
 */
import { deriveAlso, deriveKey, type ArrayKey } from "../conf/keys.ts";
import type { Channel } from "./peers-page.ts";
import { sipTag } from "./siphash.ts";

/** For local experiments (IEEE 802); never leaves the segment. */
export const ETHERTYPE_HEARTBEAT = 0x88b5;
/** The least Ethernet frame without its checksum. */
export const HEARTBEAT_FRAME_BYTES = 60;
export const HEARTBEAT_KEY_BYTES = 16;
/** Offsets of `struct heartbeat`. */
export const HEARTBEAT_FIELDS = {
  size: 40,
  version: 0,
  kind: 1,
  asker: 2,
  asked: 3,
  epoch: 4,
  table_version: 8,
  flags: 16,
  channel: 20,
  sent_ns: 24,
  tag: 32,
} as const;
export const HEARTBEAT_VERSION = 1;
export const HEARTBEAT_ASK = 1;
export const HEARTBEAT_ANSWER = 2;
/** Who tells it schedules. */
export const HEARTBEAT_SCHEDULING = 1;
/** It schedules, and its lease lasts. */
export const HEARTBEAT_LEASED = 2;
/** It schedules, or the scheduler of its epoch has just answered it. */
export const HEARTBEAT_HEARS = 4;
/** An answer of the scheduler is that young: three heartbeats of the failover process, and no busy machine's delay. */
export const hearsFor_ns = (heartbeat_ms: number): number => Math.max(30, 3 * heartbeat_ms) * 1_000_000;
/** It would take over. */
export const HEARTBEAT_STANDS = 8;
/** In questions only: the asked is to take over. */
export const HEARTBEAT_OFFER = 16;
/** From this bit on, in answers: how many nodes follow who tells it, itself included; 0 when it doesn't schedule. */
export const HEARTBEAT_SIDE_SHIFT = 8;
/** The highest such number that there is room for: more are told as that many. */
export const MAX_SIDE = 0xff;

/** Questions are asked under `key`; questions and answers are heard under both. */
export interface HeartbeatKeys {
  readonly key: Uint8Array;
  readonly also: Uint8Array | undefined;
}
export const heartbeatKeys = (arrayKey: ArrayKey): HeartbeatKeys => ({
  key: deriveKey(arrayKey, "heartbeat", HEARTBEAT_KEY_BYTES),
  also: deriveAlso(arrayKey, "heartbeat", HEARTBEAT_KEY_BYTES),
});

const ETHERNET_BYTES = 14;
const TWO_TO_32 = 0x1_0000_0000;
const at = HEARTBEAT_FIELDS;

/** How many nodes follow who answered with these flags, itself included; 0: it doesn't schedule. */
export const sideOf = (flags: number): number => (flags >>> HEARTBEAT_SIDE_SHIFT) & MAX_SIDE;

/** A frame that is filled again and again: nothing is allocated per heartbeat. */
export interface AskFrame {
  readonly bytes: Uint8Array;
  /**
   * `sent_ns` is CLOCK_MONOTONIC, a whole number that a double holds exactly; it comes back in the answer. `epoch` and
   * `flags` are what the asker tells of itself.
   */
  ask(to: Uint8Array, asked: number, sent_ns: number, epoch: number, flags: number): void;
}

/**
 * Prepares the frame of one interface (`from` is its MAC address) of a process of the node `asker`. What is written to `key`
 * later is what further questions are asked under.
 */
export function createAskFrame(key: Uint8Array, from: Uint8Array, asker: number, channel: Channel): AskFrame {
  const bytes = new Uint8Array(HEARTBEAT_FRAME_BYTES);
  bytes.set(from, 6);
  const keyView = viewOf(key);
  const message = new DataView(bytes.buffer, ETHERNET_BYTES, at.size);
  viewOf(bytes).setUint16(12, ETHERTYPE_HEARTBEAT);
  message.setUint8(at.version, HEARTBEAT_VERSION);
  message.setUint8(at.kind, HEARTBEAT_ASK);
  message.setUint8(at.asker, asker);
  message.setUint32(at.channel, channel, true);
  return {
    bytes,
    ask: (to, asked, sent_ns, epoch, flags) => {
      bytes.set(to, 0);
      message.setUint8(at.asked, asked);
      message.setUint32(at.epoch, epoch, true);
      message.setUint32(at.flags, flags, true);
      setUint64(message, at.sent_ns, sent_ns);
      sipTag(keyView, message, at.tag, at.tag);
    },
  };
}

function viewOf(bytes: Uint8Array): DataView {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
}

function setUint64(view: DataView, offset: number, value: number): void {
  view.setUint32(offset, value % TWO_TO_32, true);
  view.setUint32(offset + 4, Math.floor(value / TWO_TO_32), true);
}
