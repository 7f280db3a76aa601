/**
 * Ethernet frames that find neighbours and announce addresses: ARP (RFC 826, 5227) and neighbour discovery
 * (RFC 4861). Pure: addresses in, bytes out, and back.
 */
import { formatIp, type IpAddress } from "../conf/address.ts";

export const ETHERTYPE_ARP = 0x0806;
export const ETHERTYPE_IPV6 = 0x86dd;
const ETHERTYPE_IPV4 = 0x0800;

const ETHERNET_BYTES = 14;
const ARP_BYTES = 28;
const ARP_REQUEST = 1;
const ARP_REPLY = 2;
const IPV6_BYTES = 40;
const ICMPV6 = 58;
/** Neighbour messages must not have crossed a router (RFC 4861 7.1). */
const HOP_LIMIT = 255;
const SOLICITATION = 135;
const ADVERTISEMENT = 136;
const OVERRIDE = 0x20000000;
const SOURCE_LINK_ADDRESS = 1;
const TARGET_LINK_ADDRESS = 2;
const NEIGHBOUR_BYTES = 32;
const OPTION_AT = 24;

const BROADCAST = Uint8Array.of(255, 255, 255, 255, 255, 255);
const NO_MAC = new Uint8Array(6);
const ALL_NODES_MAC = Uint8Array.of(0x33, 0x33, 0, 0, 0, 1);
const ALL_NODES = Uint8Array.of(0xff, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1);

/** A neighbour's address and MAC, as it told them. */
export interface Neighbour {
  readonly address: string;
  readonly mac: Uint8Array;
}

function ethernet(to: Uint8Array, from: Uint8Array, type: number, payload_bytes: number): Buffer {
  const frame = Buffer.alloc(ETHERNET_BYTES + payload_bytes);
  frame.set(to, 0);
  frame.set(from, 6);
  frame.writeUInt16BE(type, 12);
  return frame;
}

interface ArpFields {
  readonly operation: number;
  readonly senderMac: Uint8Array;
  readonly sender: Uint8Array;
  readonly targetMac: Uint8Array;
  readonly target: Uint8Array;
}
function arp({ operation, senderMac, sender, targetMac, target }: ArpFields): Buffer {
  const frame = ethernet(BROADCAST, senderMac, ETHERTYPE_ARP, ARP_BYTES);
  frame.writeUInt16BE(1, 14); // Ethernet
  frame.writeUInt16BE(ETHERTYPE_IPV4, 16);
  frame.writeUInt8(6, 18);
  frame.writeUInt8(4, 19);
  frame.writeUInt16BE(operation, 20);
  frame.set(senderMac, 22);
  frame.set(sender.subarray(0, 4), 28);
  frame.set(targetMac, 32);
  frame.set(target.subarray(0, 4), 38);
  return frame;
}

function neighbourFrame(
  mac: { from: Uint8Array; to: Uint8Array },
  ip: { from: Uint8Array; to: Uint8Array },
  message: { type: number; flags: number; target: Uint8Array; option: number },
): Buffer {
  const frame = ethernet(mac.to, mac.from, ETHERTYPE_IPV6, IPV6_BYTES + NEIGHBOUR_BYTES);
  frame.writeUInt8(0x60, 14);
  frame.writeUInt16BE(NEIGHBOUR_BYTES, 18);
  frame.writeUInt8(ICMPV6, 20);
  frame.writeUInt8(HOP_LIMIT, 21);
  frame.set(ip.from, 22);
  frame.set(ip.to, 38);
  const at = ETHERNET_BYTES + IPV6_BYTES;
  frame.writeUInt8(message.type, at);
  frame.writeUInt32BE(message.flags, at + 4);
  frame.set(message.target, at + 8);
  frame.writeUInt8(message.option, at + OPTION_AT);
  frame.writeUInt8(1, at + OPTION_AT + 1);
  frame.set(mac.from, at + OPTION_AT + 2);
  frame.writeUInt16BE(icmp6Checksum(frame.subarray(ETHERNET_BYTES)), at + 2);
  return frame;
}

/**
 * The ICMPv6 checksum of an IPv6 packet without extension headers (RFC 4443 2.3); 0 when it is one that holds a
 * right checksum already.
 */
export function icmp6Checksum(packet: Buffer): number {
  const length = packet.readUInt16BE(4);
  let sum = length + ICMPV6;
  for (let i = 8; i < IPV6_BYTES + length; i += 2) sum += packet.readUInt16BE(i);
  while (sum > 0xffff) sum = (sum & 0xffff) + (sum >>> 16);
  return ~sum & 0xffff;
}

/**
 * Asks who has `target`. `own` is the asker's address of the same family; for IPv4 it may be left out (then it is
 * a probe, RFC 5227 2.1.1), for IPv6 it may not: undefined comes back.
 */
export function neighbourQuestion(
  mac: Uint8Array,
  own: IpAddress | undefined,
  target: IpAddress,
): Buffer | undefined {
  if (target.family === 4) {
    const sender = own?.bytes ?? new Uint8Array(4);
    return arp({ operation: ARP_REQUEST, senderMac: mac, sender, targetMac: NO_MAC, target: target.bytes });
  }
  if (own === undefined) return undefined;
  const tail = target.bytes.subarray(13);
  // The solicited-node multicast address (RFC 4291 2.7.1).
  const group = Uint8Array.of(0xff, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0xff, ...tail);
  return neighbourFrame(
    { from: mac, to: Uint8Array.of(0x33, 0x33, 0xff, ...tail) },
    { from: own.bytes, to: group },
    { type: SOLICITATION, flags: 0, target: target.bytes, option: SOURCE_LINK_ADDRESS },
  );
}

/**
 * Tells all neighbours that an address is at this MAC: for IPv4 gratuitous ARP in both forms, as some hosts heed
 * only the one or the other; for IPv6 an unsolicited neighbour advertisement that overrides.
 */
export function announcements(mac: Uint8Array, address: IpAddress): Buffer[] {
  if (address.family === 6) {
    const message = {
      type: ADVERTISEMENT,
      flags: OVERRIDE,
      target: address.bytes,
      option: TARGET_LINK_ADDRESS,
    };
    const ip = { from: address.bytes, to: ALL_NODES };
    return [neighbourFrame({ from: mac, to: ALL_NODES_MAC }, ip, message)];
  }
  const own = { senderMac: mac, sender: address.bytes, target: address.bytes };
  return [
    arp({ operation: ARP_REQUEST, targetMac: NO_MAC, ...own }),
    arp({ operation: ARP_REPLY, targetMac: BROADCAST, ...own }),
  ];
}

/** What a frame tells about its sender: an ARP request or reply, or a neighbour advertisement; else undefined. */
export function readNeighbour(frame: Buffer): Neighbour | undefined {
  if (frame.length < ETHERNET_BYTES + ARP_BYTES) return undefined;
  const type = frame.readUInt16BE(12);
  if (type === ETHERTYPE_ARP) return readArp(frame.subarray(ETHERNET_BYTES));
  return type === ETHERTYPE_IPV6 ? readAdvertisement(frame.subarray(ETHERNET_BYTES)) : undefined;
}

function readArp(message: Buffer): Neighbour | undefined {
  const operation = message.readUInt16BE(6);
  if (message.readUInt16BE(2) !== ETHERTYPE_IPV4 || message[4] !== 6 || message[5] !== 4) return undefined;
  if (operation !== ARP_REQUEST && operation !== ARP_REPLY) return undefined;
  return neighbour(formatIp(message.subarray(14, 18), 4), message.subarray(8, 14));
}

function readAdvertisement(packet: Buffer): Neighbour | undefined {
  if (packet.length < IPV6_BYTES + NEIGHBOUR_BYTES || packet[6] !== ICMPV6 || packet[7] !== HOP_LIMIT) {
    return undefined;
  }
  const length = packet.readUInt16BE(4);
  if (length < NEIGHBOUR_BYTES || length % 2 !== 0 || packet.length < IPV6_BYTES + length) return undefined;
  const message = packet.subarray(IPV6_BYTES, IPV6_BYTES + length);
  if (message[0] !== ADVERTISEMENT || message[1] !== 0 || icmp6Checksum(packet) !== 0) return undefined;
  if (message[OPTION_AT] !== TARGET_LINK_ADDRESS || message[OPTION_AT + 1] !== 1) return undefined;
  return neighbour(formatIp(message.subarray(8, 24), 6), message.subarray(OPTION_AT + 2, OPTION_AT + 8));
}

/** Undefined for a group address, which nobody can have as his own. */
function neighbour(address: string, mac: Buffer): Neighbour | undefined {
  const isGroup = (mac[0]! & 1) === 1;
  return isGroup || mac.every((byte) => byte === 0) ? undefined : { address, mac: Uint8Array.from(mac) };
}
