/**
 * The PROXY protocol's header, versions 1 and 2: who a connection comes from, as told by the load balancer in front. Pure.
 * Source: "The PROXY protocol, versions 1 & 2" (HAProxy), sections 2.1 and 2.2. Strict: what is not exactly that is refused.
 */
import { type Family, formatIp, type IpAddress, parseIp } from "../conf/address.ts";

/** An address and port, as text and number. */
export interface Endpoint {
  readonly address: string;
  readonly port: number;
}
/** `source` is undefined when the header tells of none: then it is who connected. */
export interface ProxyHeader {
  readonly length: number;
  readonly source: Endpoint | undefined;
}
export type ProxyVersion = "v1" | "v2";

/** The longest header of version 1, its line end included. */
const MOST_V1 = 107;
/** Addresses of version 2 and what may follow them. */
const MOST_V2_REST = 1024;
export const MOST_PROXY_HEADER_BYTES = 16 + MOST_V2_REST;

const SIGNATURE_V1 = "PROXY ";
const SIGNATURE_V2 = "\r\n\r\n\0\r\nQUIT\n";

/**
 * Reads the header that `bytes` begin with. "incomplete": more has to come. "bad": that will never be one; it is known with the
 * first byte that is wrong where version 1 or 2 is told from anything else.
 */
export function readProxyHeader(bytes: Uint8Array): ProxyHeader | "incomplete" | "bad" {
  const length = Math.min(bytes.length, MOST_PROXY_HEADER_BYTES);
  const text = Buffer.from(bytes.buffer, bytes.byteOffset, length).latin1Slice();
  if (startsLike(text, SIGNATURE_V1)) return readV1(text);
  if (startsLike(text, SIGNATURE_V2)) return readV2(text, bytes);
  return "bad";
}

const startsLike = (text: string, signature: string): boolean =>
  text.startsWith(signature) || signature.startsWith(text);

const V1_LINE =
  /^PROXY (?:UNKNOWN(?: [ -~]*)?|(?<family>TCP4|TCP6) (?<from>[0-9A-Fa-f.:]+) (?<to>[0-9A-Fa-f.:]+) (?<port>0|[1-9]\d{0,4}) (?<toPort>0|[1-9]\d{0,4}))$/;

function readV1(text: string): ProxyHeader | "incomplete" | "bad" {
  const end = text.indexOf("\r\n");
  if (end === -1) return text.length < MOST_V1 ? "incomplete" : "bad";
  const length = end + 2;
  const fields = V1_LINE.exec(text.slice(0, end))?.groups;
  if (fields === undefined || length > MOST_V1) return "bad";
  const { family, from = "", to = "", port, toPort } = fields;
  if (family === undefined) return { length, source: undefined };
  const wanted = family === "TCP4" ? 4 : 6;
  const [source, destination] = [parseIp(from), parseIp(to)];
  const areAddresses = source?.family === wanted && destination?.family === wanted;
  if (!areAddresses || Number(port) > 65_535 || Number(toPort) > 65_535) return "bad";
  return { length, source: { address: source.text, port: Number(port) } };
}

/** By the byte that names family and transport: TCP over IPv4 and IPv6; what is local to a machine has no address. */
const FAMILIES_V2: Readonly<Record<number, Family | "none">> = {
  0x00: "none",
  0x11: 4,
  0x21: 6,
  0x31: "none",
};
const ADDRESSES_BYTES = { 4: 12, 6: 36, none: 0 } as const;

function readV2(text: string, bytes: Uint8Array): ProxyHeader | "incomplete" | "bad" {
  if (text.length < 16) return "incomplete";
  const [command, kind, high, low] = bytes.subarray(12, 16);
  const rest = (high! << 8) | low!;
  const family = FAMILIES_V2[kind!];
  if ((command !== 0x20 && command !== 0x21) || rest > MOST_V2_REST) return "bad";
  const length = 16 + rest;
  // LOCAL: the balancer asks on its own behalf, and whatever stands there is passed over.
  if (command === 0x20) return text.length < length ? "incomplete" : { length, source: undefined };
  if (family === undefined || rest < ADDRESSES_BYTES[family]) return "bad";
  if (text.length < length) return "incomplete";
  return { length, source: family === "none" ? undefined : sourceV2(bytes, family) };
}

function sourceV2(bytes: Uint8Array, family: Family): Endpoint {
  const size = family === 4 ? 4 : 16;
  const address = new Uint8Array(16);
  address.set(bytes.subarray(16, 16 + size));
  const at = 16 + 2 * size;
  return { address: formatIp(address, family), port: (bytes[at]! << 8) | bytes[at + 1]! };
}

/** The header that tells a web server who is behind a connection; its char codes are bytes. */
export function writeProxyHeader(version: ProxyVersion, from: Endpoint, to: Endpoint): string {
  const [source, destination] = [parseIp(from.address), parseIp(to.address)];
  const family = source?.family;
  if (source === undefined || destination === undefined || family !== destination.family)
    return version === "v1" ? "PROXY UNKNOWN\r\n" : `${SIGNATURE_V2}\x20\0\0\0`;
  if (version === "v1")
    return `PROXY TCP${family} ${source.text} ${destination.text} ${from.port} ${to.port}\r\n`;
  const kind = family === 4 ? "\x11\0\x0c" : "\x21\0\x24";
  const addresses = addressText(source) + addressText(destination);
  return `${SIGNATURE_V2}\x21${kind}${addresses}${portText(from.port)}${portText(to.port)}`;
}

const addressText = ({ family, bytes }: IpAddress): string =>
  Buffer.from(bytes.subarray(0, family === 4 ? 4 : 16)).toString("latin1");
const portText = (port: number): string => String.fromCharCode(port >> 8, port & 255);
