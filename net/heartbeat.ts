/**
 * Heartbeats as bytes: an Ethernet frame that asks a node's kernel whether it lives, and how such a frame is read.
 * The kernel's side of it is the XDP program; its layout is `struct heartbeat` in scheduler/bpf/layout.h.
 */
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
  sent_ns: 24,
  tag: 32,
} as const;
export const HEARTBEAT_VERSION = 1;
export const HEARTBEAT_ASK = 1;
export const HEARTBEAT_ANSWER = 2;

const ETHERNET_BYTES = 14;
const TWO_TO_32 = 0x1_0000_0000;
const at = HEARTBEAT_FIELDS;

/** What the asking node tells of itself. `flags` are those of `enum heartbeat_flag`. */
export interface HeartbeatNews {
  readonly epoch: number;
  readonly table_version: number;
  readonly flags: number;
}

/** A frame that is filled again and again: nothing is allocated per heartbeat. */
export interface AskFrame {
  readonly bytes: Uint8Array;
  /** For all frames from now on. */
  tell(news: HeartbeatNews): void;
  /** `sent_ns` is CLOCK_MONOTONIC, a whole number that a double holds exactly; it comes back in the answer. */
  ask(to: Uint8Array, asked: number, sent_ns: number): void;
}

/** Prepares the frame of one interface (`from` is its MAC address) of the node `asker`. */
export function createAskFrame(key: Uint8Array, from: Uint8Array, asker: number): AskFrame {
  const bytes = new Uint8Array(HEARTBEAT_FRAME_BYTES);
  bytes.set(from, 6);
  const keyView = viewOf(key);
  const message = new DataView(bytes.buffer, ETHERNET_BYTES, at.size);
  viewOf(bytes).setUint16(12, ETHERTYPE_HEARTBEAT);
  message.setUint8(at.version, HEARTBEAT_VERSION);
  message.setUint8(at.kind, HEARTBEAT_ASK);
  message.setUint8(at.asker, asker);
  return {
    bytes,
    tell: ({ epoch, table_version, flags }) => {
      message.setUint32(at.epoch, epoch, true);
      setUint64(message, at.table_version, table_version);
      message.setUint32(at.flags, flags, true);
    },
    ask: (to, asked, sent_ns) => {
      bytes.set(to, 0);
      message.setUint8(at.asked, asked);
      setUint64(message, at.sent_ns, sent_ns);
      sipTag(keyView, message, at.tag, at.tag);
    },
  };
}

export interface Heartbeat {
  readonly kind: "ask" | "answer";
  readonly asker: number;
  readonly asked: number;
  readonly epoch: number;
  readonly table_version: bigint;
  readonly flags: number;
  readonly sent_ns: bigint;
}

/** Reads a whole frame; undefined when it is no heartbeat, or none that was made with this key. */
export function readHeartbeat(frame: Uint8Array, key: Uint8Array): Heartbeat | undefined {
  if (frame.length < ETHERNET_BYTES + at.size) return undefined;
  if (viewOf(frame).getUint16(12) !== ETHERTYPE_HEARTBEAT) return undefined;
  // A copy: the tag is reckoned over it.
  const message = viewOf(Uint8Array.from(frame.subarray(ETHERNET_BYTES, ETHERNET_BYTES + at.size)));
  const tag = message.getBigUint64(at.tag, true);
  sipTag(viewOf(key), message, at.tag, at.tag);
  const kind = message.getUint8(at.kind);
  const isKnown = kind === HEARTBEAT_ASK || kind === HEARTBEAT_ANSWER;
  if (!isKnown || message.getUint8(at.version) !== HEARTBEAT_VERSION) return undefined;
  if (message.getBigUint64(at.tag, true) !== tag) return undefined;
  return {
    kind: kind === HEARTBEAT_ASK ? "ask" : "answer",
    asker: message.getUint8(at.asker),
    asked: message.getUint8(at.asked),
    epoch: message.getUint32(at.epoch, true),
    table_version: message.getBigUint64(at.table_version, true),
    flags: message.getUint32(at.flags, true),
    sent_ns: message.getBigUint64(at.sent_ns, true),
  };
}

function viewOf(bytes: Uint8Array): DataView {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
}

function setUint64(view: DataView, offset: number, value: number): void {
  view.setUint32(offset, value % TWO_TO_32, true);
  view.setUint32(offset + 4, Math.floor(value / TWO_TO_32), true);
}
