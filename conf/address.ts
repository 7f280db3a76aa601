/**
 * Addresses as bytes and as text. An IP address is held as 16 bytes: IPv6 as it is, IPv4 in the first four
 * bytes with twelve zeros behind (the layout of the data plane's keys); `family` tells them apart.
 */
import { isIPv4, isIPv6 } from "node:net";

export type Family = 4 | 6;
export interface IpAddress {
  readonly family: Family;
  /** 16 bytes, see above. */
  readonly bytes: Uint8Array;
  /** Canonical text (RFC 5952 for IPv6). */
  readonly text: string;
}
export interface Cidr {
  readonly address: IpAddress;
  readonly prefix_bits: number;
}

/** Reads an IPv4 or IPv6 address; undefined when it is neither (zone ids are refused). */
export function parseIp(text: string): IpAddress | undefined {
  const bytes = new Uint8Array(16);
  if (isIPv4(text)) {
    text.split(".").forEach((part, i) => (bytes[i] = Number(part)));
    return { family: 4, bytes, text };
  }
  if (!isIPv6(text) || text.includes("%")) return undefined;
  fillIpv6(bytes, text);
  return { family: 6, bytes, text: formatIp(bytes, 6) };
}

function fillIpv6(bytes: Uint8Array, text: string): void {
  const [head = "", tail] = text.split("::");
  const front = ipv6Groups(head);
  const back = tail === undefined ? [] : ipv6Groups(tail);
  front.forEach((group, i) => putGroup(bytes, i, group));
  back.forEach((group, i) => putGroup(bytes, 8 - back.length + i, group));
}

function ipv6Groups(text: string): number[] {
  if (text === "") return [];
  return text.split(":").flatMap((group) => {
    if (!group.includes(".")) return [Number.parseInt(group, 16)];
    const [a = 0, b = 0, c = 0, d = 0] = group.split(".").map(Number);
    return [(a << 8) | b, (c << 8) | d];
  });
}

function putGroup(bytes: Uint8Array, index: number, group: number): void {
  bytes[index * 2] = group >> 8;
  bytes[index * 2 + 1] = group & 255;
}

/** Text of an address held in 16 bytes (RFC 5952 form for IPv6). */
export function formatIp(bytes: Uint8Array, family: Family): string {
  if (family === 4) return `${bytes[0]}.${bytes[1]}.${bytes[2]}.${bytes[3]}`;
  const groups = Array.from({ length: 8 }, (_, i) => ((bytes[i * 2] ?? 0) << 8) | (bytes[i * 2 + 1] ?? 0));
  const { start, length } = longestZeroRun(groups);
  const hex = groups.map((group) => group.toString(16));
  if (length < 2) return hex.join(":");
  return `${hex.slice(0, start).join(":")}::${hex.slice(start + length).join(":")}`;
}

function longestZeroRun(groups: readonly number[]): { start: number; length: number } {
  let best = { start: 0, length: 0 };
  for (let i = 0; i < groups.length; i++) {
    let end = i;
    while (end < groups.length && groups[end] === 0) end++;
    if (end - i > best.length) best = { start: i, length: end - i };
  }
  return best;
}

/** Reads `address/bits`; a bare address counts as one host. Undefined when it is not a CIDR block. */
export function parseCidr(text: string): Cidr | undefined {
  const [ip = "", bits, more] = text.split("/");
  const address = parseIp(ip);
  if (address === undefined || more !== undefined) return undefined;
  const width = address.family === 4 ? 32 : 128;
  if (bits === undefined) return { address, prefix_bits: width };
  if (!/^\d{1,3}$/.test(bits) || Number(bits) > width) return undefined;
  return { address, prefix_bits: Number(bits) };
}

/** Whether an address lies in a block. */
export function cidrContains(block: Cidr, address: IpAddress): boolean {
  if (block.address.family !== address.family) return false;
  const whole = block.prefix_bits >> 3;
  for (let i = 0; i < whole; i++) if (block.address.bytes[i] !== address.bytes[i]) return false;
  const rest = block.prefix_bits & 7;
  const mask = 0xff00 >> rest;
  return rest === 0 || ((block.address.bytes[whole]! ^ address.bytes[whole]!) & mask & 0xff) === 0;
}

/** Reads a unicast Ethernet address `aa:bb:cc:dd:ee:ff` into six bytes; undefined when it is none. */
export function parseMac(text: string): Uint8Array | undefined {
  if (!/^[0-9a-f]{2}(:[0-9a-f]{2}){5}$/i.test(text)) return undefined;
  const bytes = Uint8Array.from(text.split(":"), (part) => Number.parseInt(part, 16));
  const isGroup = (bytes[0]! & 1) === 1;
  return isGroup || bytes.every((byte) => byte === 0) ? undefined : bytes;
}

/** Text of six bytes as an Ethernet address. */
export function formatMac(bytes: Uint8Array): string {
  return Array.from(bytes.subarray(0, 6), (byte) => byte.toString(16).padStart(2, "0")).join(":");
}
