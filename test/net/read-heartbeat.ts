/** Reads heartbeats as a node's kernel does, for the tests of those who send them. */
import { sipTag } from "../../net/siphash.ts";
import {
  ETHERTYPE_HEARTBEAT,
  HEARTBEAT_ANSWER,
  HEARTBEAT_ASK,
  HEARTBEAT_FIELDS as at,
  HEARTBEAT_VERSION,
} from "../../net/heartbeat.ts";

const ETHERNET_BYTES = 14;

export interface Heartbeat {
  readonly kind: "ask" | "answer";
  readonly asker: number;
  readonly asked: number;
  readonly epoch: number;
  readonly table_version: bigint;
  readonly flags: number;
  readonly channel: number;
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
    channel: message.getUint32(at.channel, true),
    sent_ns: message.getBigUint64(at.sent_ns, true),
  };
}

const viewOf = (bytes: Uint8Array): DataView => new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
