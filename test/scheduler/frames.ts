/**
 * Builds frames for the packet tests, layer by layer. Checksums above IPv6 neighbour discovery are left out where only
 * the program sees them; `checksummed` puts them in.
 */
import assert from "node:assert/strict";
import { parseIp, parseMac } from "../../conf/address.ts";
import { HEARTBEAT_FIELDS as BEAT } from "../../net/heartbeat.ts";
import { sipTag } from "../../net/siphash.ts";

export const VIP = "198.18.0.100";
export const VIP6 = "fd00::100";
export const OTHER = "198.18.0.7";
export const OTHER6 = "fd00::7";
export const CLIENT = "11.0.0.1";
export const CLIENT6 = "2001:db8::c";
export const CLIENT_MAC = "0a:00:00:00:00:99";
export const BROADCAST = "ff:ff:ff:ff:ff:ff";
export const macOfNode = (number: number): string => `02:00:00:00:00:1${number}`;
export const OWN_MAC = macOfNode(1);

export const ARP = 0x0806;
export const IPV4 = 0x0800;
export const IPV6 = 0x86dd;
export const VLAN = 0x8100;
export const QINQ = 0x88a8;

export function mac(text: string): Buffer {
  if (text === BROADCAST) return Buffer.alloc(6, 255);
  if (text.startsWith("33:33")) return Buffer.from(text.replaceAll(":", ""), "hex");
  const bytes = parseMac(text);
  assert.ok(bytes);
  return Buffer.from(bytes);
}
export function ip(text: string): Buffer {
  const address = parseIp(text);
  assert.ok(address);
  return Buffer.from(address.bytes.subarray(0, address.family === 4 ? 4 : 16));
}
export const u16 = (...values: number[]): Buffer => {
  const buffer = Buffer.alloc(values.length * 2);
  values.forEach((value, i) => buffer.writeUInt16BE(value, i * 2));
  return buffer;
};

export function eth(
  type: number,
  payload: Buffer,
  { to = OWN_MAC, from = CLIENT_MAC }: { to?: string; from?: string } = {},
): Buffer {
  return Buffer.concat([mac(to), mac(from), u16(type), payload]);
}
export const vlan = (tci: number, type: number, payload: Buffer): Buffer =>
  Buffer.concat([u16(tci, type), payload]);

interface IpOptions {
  readonly from?: string;
  readonly to?: string;
}
export function ip4(
  protocol: number,
  payload: Buffer,
  {
    from = CLIENT,
    to = VIP,
    offset = 0,
    id = 1,
    options = 0,
  }: IpOptions & { offset?: number; id?: number; options?: number } = {},
): Buffer {
  const header = Buffer.alloc(20 + options * 4);
  header[0] = 0x45 + options;
  header.writeUInt16BE(header.length + payload.length, 2);
  header.writeUInt16BE(id, 4);
  header.writeUInt16BE(offset, 6);
  header[8] = 64;
  header[9] = protocol;
  ip(from).copy(header, 12);
  ip(to).copy(header, 16);
  return Buffer.concat([header, payload]);
}
export function ip6(
  next: number,
  payload: Buffer,
  { from = CLIENT6, to = VIP6, hops = 64 }: IpOptions & { hops?: number } = {},
): Buffer {
  const header = Buffer.alloc(40);
  header[0] = 0x60;
  header.writeUInt16BE(payload.length, 4);
  header[6] = next;
  header[7] = hops;
  ip(from).copy(header, 8);
  ip(to).copy(header, 24);
  return Buffer.concat([header, payload]);
}
/** An IPv6 extension header of 8 + `more` * 8 bytes. */
export const extension = (next: number, payload: Buffer, more = 0): Buffer =>
  Buffer.concat([Buffer.of(next, more, 1, 4), Buffer.alloc(4 + more * 8), payload]);
export function fragment6(next: number, payload: Buffer, offset: number, isMore: boolean, id = 7): Buffer {
  const header = Buffer.alloc(8);
  header[0] = next;
  header.writeUInt16BE(offset * 8 + Number(isMore), 2);
  header.writeUInt32BE(id, 4);
  return Buffer.concat([header, payload]);
}

export function tcp(from: number, to: number, flags = 2, { sequence = 0, acknowledged = 0 } = {}): Buffer {
  const header = Buffer.alloc(20);
  header.writeUInt16BE(from, 0);
  header.writeUInt16BE(to, 2);
  header.writeUInt32BE(sequence, 4);
  header.writeUInt32BE(acknowledged, 8);
  header[12] = 0x50;
  header[13] = flags;
  return header;
}
export function udp(from: number, to: number, size = 8): Buffer {
  return Buffer.concat([u16(from, to, 8 + size, 0), Buffer.alloc(size)]);
}
/** An ICMP or ICMPv6 error with what it quotes. */
export const icmpError = (type: number, quoted: Buffer): Buffer =>
  Buffer.concat([Buffer.of(type, 4, 0, 0, 0, 0, 5, 0), quoted]);

export function arp(
  operation: number,
  sender: string,
  target: string,
  from = CLIENT_MAC,
  protocol = IPV4,
): Buffer {
  const head = [u16(1, protocol), Buffer.of(6, 4), u16(operation)];
  return Buffer.concat([...head, mac(from), ip(sender), Buffer.alloc(6), ip(target)]);
}
/** A neighbour solicitation; without `option` it names no link-layer address. */
export function solicitation(target: string, option: Buffer = sourceOption(), code = 0): Buffer {
  return Buffer.concat([Buffer.of(135, code), Buffer.alloc(6), ip(target), option]);
}
export const sourceOption = (from = CLIENT_MAC): Buffer => Buffer.concat([Buffer.of(1, 1), mac(from)]);

/** Fills in the checksums of a TCP packet over IPv4 without options, or over IPv6 without extension headers. */
export function checksummed(packet: Buffer): Buffer {
  const is4 = packet[0]! >> 4 === 4;
  const [addressesAt, at] = is4 ? [12, 20] : [8, 40];
  const segment = packet.subarray(at);
  if (is4) packet.writeUInt16BE(internetSum(packet.subarray(0, at)), 10);
  const pseudo = Buffer.concat([packet.subarray(addressesAt, at), u16(6, segment.length)]);
  segment.writeUInt16BE(0xfff0, 14); // A window, so that nobody takes it for closed.
  segment.writeUInt16BE(internetSum(Buffer.concat([pseudo, segment])), 16);
  return packet;
}

function internetSum(bytes: Buffer): number {
  let sum = 0;
  for (let i = 0; i < bytes.length; i += 2) sum += bytes.readUInt16BE(i);
  while (sum > 0xffff) sum = (sum & 0xffff) + (sum >>> 16);
  return ~sum & 0xffff;
}

export const HEARTBEAT = 0x88b5;
export const SEARCH = 0x88b6;
export const HEARTBEAT_KEY = Buffer.from(Array.from({ length: 16 }, (_, i) => (i * 37 + 11) & 255));
export interface HeartbeatFields {
  readonly version?: number;
  readonly kind: number;
  readonly asker: number;
  readonly asked: number;
  readonly epoch?: number;
  readonly table_version?: bigint;
  readonly flags?: number;
  readonly channel?: number;
  readonly sent_ns: bigint;
}
/** A heartbeat under a key, padded to the least Ethernet frame. */
export function heartbeat(fields: HeartbeatFields, ends = {}, key = HEARTBEAT_KEY): Buffer {
  const message = Buffer.alloc(46);
  message.writeUInt8(fields.version ?? 1, BEAT.version);
  message.writeUInt8(fields.kind, BEAT.kind);
  message.writeUInt8(fields.asker, BEAT.asker);
  message.writeUInt8(fields.asked, BEAT.asked);
  message.writeUInt32LE(fields.epoch ?? 0, BEAT.epoch);
  message.writeBigUInt64LE(fields.table_version ?? 0n, BEAT.table_version);
  message.writeUInt32LE(fields.flags ?? 0, BEAT.flags);
  message.writeUInt32LE(fields.channel ?? 0, BEAT.channel);
  message.writeBigUInt64LE(fields.sent_ns, BEAT.sent_ns);
  const view = new DataView(message.buffer, message.byteOffset, message.length);
  sipTag(new DataView(key.buffer, key.byteOffset, key.length), view, BEAT.tag, BEAT.tag);
  return eth(HEARTBEAT, message, ends);
}
