/** Frames that a client would not send by itself: SYNs from anywhere, UDP datagrams in fragments of any order. Pure. */
import type { IpAddress } from "../conf/address.ts";

const ETHERNET_BYTES = 14;
const IPV4_BYTES = 20;
const IPV6_BYTES = 40;
const UDP_BYTES = 8;
const FRAGMENT_HEADER_BYTES = 8;
/** TCP's header with one option, the maximum segment size. */
const SYN_BYTES = 24;
const TTL = 64;
const TCP = 6;
const UDP = 17;
const FRAGMENT = 44;
const MTU_BYTES = 1500;

export interface FrameAddresses {
  readonly sourceMac: Uint8Array;
  readonly targetMac: Uint8Array;
  readonly source: IpAddress;
  readonly target: IpAddress;
}

/** The ones' complement sum of 16-bit words (RFC 1071), an odd byte padded with zero. */
function sumOf(bytes: Uint8Array): number {
  let sum = 0;
  for (let i = 0; i + 1 < bytes.length; i += 2) sum += (bytes[i]! << 8) | bytes[i + 1]!;
  return bytes.length % 2 === 0 ? sum : sum + (bytes.at(-1)! << 8);
}

/** The checksum of what has this sum. */
function checksumOf(sum: number): number {
  let folded = sum;
  while (folded > 0xffff) folded = (folded & 0xffff) + (folded >>> 16);
  return ~folded & 0xffff;
}

function ethernet({ sourceMac, targetMac, source }: FrameAddresses, payload_bytes: number): Buffer {
  const frame = Buffer.alloc(ETHERNET_BYTES + payload_bytes);
  frame.set(targetMac, 0);
  frame.set(sourceMac, 6);
  frame.writeUInt16BE(source.family === 4 ? 0x0800 : 0x86dd, 12);
  return frame;
}

const addressBytes = ({ family, bytes }: IpAddress): Uint8Array => bytes.subarray(0, family === 4 ? 4 : 16);

interface SynWriter {
  /** One frame that is written anew each time. */
  readonly frame: Buffer;
  /** Makes it the SYN of another connection: source address (IPv4, as a number), source port, sequence number. */
  readonly write: (source: number, port: number, sequence: number) => void;
}

/** SYNs over IPv4 to one port. A frame costs well below a microsecond: only what differs is written and summed. */
export function synWriter(addresses: FrameAddresses, port: number): SynWriter {
  const frame = ethernet(addresses, IPV4_BYTES + SYN_BYTES);
  const ip = frame.subarray(ETHERNET_BYTES);
  ip.writeUInt16BE(0x4500, 0);
  ip.writeUInt16BE(IPV4_BYTES + SYN_BYTES, 2);
  ip.writeUInt16BE(0x4000, 6); // It must not be fragmented.
  ip[8] = TTL;
  ip[9] = TCP;
  ip.set(addressBytes(addresses.target), 16);
  const tcp = ip.subarray(IPV4_BYTES);
  tcp.writeUInt16BE(port, 2);
  tcp[12] = (SYN_BYTES / 4) << 4;
  tcp[13] = 2;
  tcp.writeUInt16BE(65_535, 14);
  tcp.writeUInt32BE(0x020405b4, 20); // 1,460 bytes
  const ipSum = sumOf(ip.subarray(0, IPV4_BYTES));
  const tcpSum = sumOf(tcp) + sumOf(addressBytes(addresses.target)) + TCP + SYN_BYTES;
  return {
    frame,
    write: (source, sourcePort, sequence) => {
      const sourceSum = (source >>> 16) + (source & 0xffff);
      ip.writeUInt32BE(source, 12);
      ip.writeUInt16BE(checksumOf(ipSum + sourceSum), 10);
      tcp.writeUInt16BE(sourcePort, 0);
      tcp.writeUInt32BE(sequence, 4);
      const varying = sourceSum + sourcePort + (sequence >>> 16) + (sequence & 0xffff);
      tcp.writeUInt16BE(checksumOf(tcpSum + varying), 16);
    },
  };
}

export interface Datagram extends FrameAddresses {
  readonly sourcePort: number;
  readonly targetPort: number;
  readonly payload: Uint8Array;
  /** Names the datagram whose fragments belong together; 16 bits for IPv4. */
  readonly id: number;
}

/** The frames of a UDP datagram's fragments, in order. */
export function udpFragments(datagram: Datagram): Buffer[] {
  const whole = udp(datagram);
  const isIpv4 = datagram.source.family === 4;
  const room_bytes = MTU_BYTES - (isIpv4 ? IPV4_BYTES : IPV6_BYTES + FRAGMENT_HEADER_BYTES);
  const step_bytes = room_bytes - (room_bytes % 8);
  const fragment = isIpv4 ? ipv4Fragment : ipv6Fragment;
  const frames = [];
  for (let at = 0; at < whole.length; at += step_bytes) {
    const part = whole.subarray(at, at + step_bytes);
    frames.push(fragment(datagram, part, at, at + step_bytes < whole.length));
  }
  return frames;
}

function udp({ source, target, sourcePort, targetPort, payload }: Datagram): Buffer {
  const whole = Buffer.alloc(UDP_BYTES + payload.length);
  whole.writeUInt16BE(sourcePort, 0);
  whole.writeUInt16BE(targetPort, 2);
  whole.writeUInt16BE(whole.length, 4);
  whole.set(payload, UDP_BYTES);
  const pseudoHeader = sumOf(addressBytes(source)) + sumOf(addressBytes(target)) + UDP + whole.length;
  // Zero would mean that there is none (RFC 768).
  whole.writeUInt16BE(checksumOf(pseudoHeader + sumOf(whole)) || 0xffff, 6);
  return whole;
}

function ipv4Fragment(datagram: Datagram, part: Uint8Array, at_bytes: number, hasMore: boolean): Buffer {
  const frame = ethernet(datagram, IPV4_BYTES + part.length);
  const ip = frame.subarray(ETHERNET_BYTES);
  ip.writeUInt16BE(0x4500, 0);
  ip.writeUInt16BE(ip.length, 2);
  ip.writeUInt16BE(datagram.id, 4);
  ip.writeUInt16BE(at_bytes / 8 + (hasMore ? 0x2000 : 0), 6);
  ip[8] = TTL;
  ip[9] = UDP;
  ip.set(addressBytes(datagram.source), 12);
  ip.set(addressBytes(datagram.target), 16);
  ip.writeUInt16BE(checksumOf(sumOf(ip.subarray(0, IPV4_BYTES))), 10);
  ip.set(part, IPV4_BYTES);
  return frame;
}

function ipv6Fragment(datagram: Datagram, part: Uint8Array, at_bytes: number, hasMore: boolean): Buffer {
  const frame = ethernet(datagram, IPV6_BYTES + FRAGMENT_HEADER_BYTES + part.length);
  const ip = frame.subarray(ETHERNET_BYTES);
  ip[0] = 0x60;
  ip.writeUInt16BE(FRAGMENT_HEADER_BYTES + part.length, 4);
  ip[6] = FRAGMENT;
  ip[7] = TTL;
  ip.set(addressBytes(datagram.source), 8);
  ip.set(addressBytes(datagram.target), 24);
  const header = ip.subarray(IPV6_BYTES);
  header[0] = UDP;
  header.writeUInt16BE(at_bytes + (hasMore ? 1 : 0), 2);
  header.writeUInt32BE(datagram.id, 4);
  header.set(part, FRAGMENT_HEADER_BYTES);
  return frame;
}
