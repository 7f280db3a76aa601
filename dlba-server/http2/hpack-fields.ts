/**
 * Fields as HPACK's tables hold them. What there is to know of a field is found out once, when it is decoded or put into
 * a table; a request that refers to it by number pays nothing for it.
 */
import { NAME, SPACE, TAB, TARGET, TOKEN, VALUE } from "../http/characters.ts";
import { FIELD, fieldId, nameHash } from "../http/fields.ts";

/** Ids of pseudo-header fields, above those of FIELD. */
export const PSEUDO = {
  method: 64,
  scheme: 65,
  path: 66,
  authority: 67,
  status: 68,
  protocol: 69,
  unknown: 70,
} as const;

export interface Field {
  /** "name: value\r\n"; char codes are bytes. */
  readonly line: string;
  readonly nameLength: number;
  /** One of FIELD or PSEUDO. */
  readonly id: number;
  /** It may not stand in any message (RFC 9113 8.2 and 8.3). */
  readonly isBad: boolean;
}

export const nameOf = (field: Field): string => field.line.slice(0, field.nameLength);
export const valueOf = (field: Field): string => field.line.slice(field.nameLength + 2, -2);
/** As a table counts it (RFC 7541 4.1). */
export const sizeOf = (field: Field): number => field.line.length - 4 + 32;

const PSEUDO_IDS: ReadonlyMap<string, number> = new Map([
  [":method", PSEUDO.method],
  [":scheme", PSEUDO.scheme],
  [":path", PSEUDO.path],
  [":authority", PSEUDO.authority],
  [":status", PSEUDO.status],
  [":protocol", PSEUDO.protocol],
]);

const COLON = 58;

function hasAll(table: Uint8Array, bytes: Uint8Array, start: number, end: number): boolean {
  for (let at = start; at < end; at++) if (table[bytes[at]!] === 0) return false;
  return true;
}

/** Names are tokens in lower case. */
function isName(bytes: Uint8Array, start: number, end: number): boolean {
  if (start === end) return false;
  for (let at = start; at < end; at++) {
    const byte = bytes[at]!;
    if (TOKEN[byte] === 0 || (byte >= 65 && byte <= 90)) return false;
  }
  return true;
}

/** Values hold no control characters, and no white space around them (RFC 9113 8.2.1). */
function isValue(bytes: Uint8Array, start: number, end: number): boolean {
  if (start === end) return true;
  const [first, last] = [bytes[start]!, bytes[end - 1]!];
  if (first === SPACE || first === TAB || last === SPACE || last === TAB) return false;
  return hasAll(VALUE, bytes, start, end);
}

function isGoodPseudo(id: number, bytes: Buffer, start: number, end: number): boolean {
  switch (id) {
    case PSEUDO.method:
      return start < end && hasAll(TOKEN, bytes, start, end);
    case PSEUDO.path: {
      const isRooted = bytes[start] === 47 || (bytes[start] === 42 && end - start === 1);
      return start < end && isRooted && hasAll(TARGET, bytes, start, end);
    }
    case PSEUDO.scheme: {
      const scheme = bytes.latin1Slice(start, end);
      return scheme === "http" || scheme === "https";
    }
    case PSEUDO.status:
      return /^[1-5][0-9][0-9]$/.test(bytes.latin1Slice(start, end));
    case PSEUDO.authority:
    case PSEUDO.protocol:
      return start < end && isValue(bytes, start, end);
    default:
      return false;
  }
}

/** Fields of the connection belong to HTTP/1.1; TE says one thing only (RFC 9113 8.2.2). */
function isGoodRegular(id: number, bytes: Buffer, start: number, end: number): boolean {
  switch (id) {
    case FIELD.connection:
    case FIELD.keepAlive:
    case FIELD.proxyConnection:
    case FIELD.transferEncoding:
    case FIELD.upgrade:
      return false;
    case FIELD.te:
      return bytes.latin1Slice(start, end) === "trailers";
    default:
      return true;
  }
}

function regularId(bytes: Uint8Array, start: number, end: number): number {
  let hash = 0;
  for (let at = start; at < end; at++) hash = nameHash(hash, NAME[bytes[at]!]!);
  return fieldId(bytes, start, end, hash);
}

/** The field that `bytes[start, end)` spells as "name: value\r\n"; the name has `nameLength` bytes. */
export function readField(bytes: Buffer, start: number, nameLength: number, end: number): Field {
  const line = bytes.latin1Slice(start, end);
  const nameEnd = start + nameLength;
  const valueStart = nameEnd + 2;
  const valueEnd = end - 2;
  if (bytes[start] === COLON) {
    const id = PSEUDO_IDS.get(line.slice(0, nameLength)) ?? PSEUDO.unknown;
    return { line, nameLength, id, isBad: !isGoodPseudo(id, bytes, valueStart, valueEnd) };
  }
  if (!isName(bytes, start, nameEnd)) return { line, nameLength, id: FIELD.other, isBad: true };
  const id = regularId(bytes, start, nameEnd);
  const isGood = isValue(bytes, valueStart, valueEnd) && isGoodRegular(id, bytes, valueStart, valueEnd);
  return { line, nameLength, id, isBad: !isGood };
}

const STATIC: readonly (readonly [string, string?])[] = [
  [":authority"],
  [":method", "GET"],
  [":method", "POST"],
  [":path", "/"],
  [":path", "/index.html"],
  [":scheme", "http"],
  [":scheme", "https"],
  [":status", "200"],
  [":status", "204"],
  [":status", "206"],
  [":status", "304"],
  [":status", "400"],
  [":status", "404"],
  [":status", "500"],
  ["accept-charset"],
  ["accept-encoding", "gzip, deflate"],
  ["accept-language"],
  ["accept-ranges"],
  ["accept"],
  ["access-control-allow-origin"],
  ["age"],
  ["allow"],
  ["authorization"],
  ["cache-control"],
  ["content-disposition"],
  ["content-encoding"],
  ["content-language"],
  ["content-length"],
  ["content-location"],
  ["content-range"],
  ["content-type"],
  ["cookie"],
  ["date"],
  ["etag"],
  ["expect"],
  ["expires"],
  ["from"],
  ["host"],
  ["if-match"],
  ["if-modified-since"],
  ["if-none-match"],
  ["if-range"],
  ["if-unmodified-since"],
  ["last-modified"],
  ["link"],
  ["location"],
  ["max-forwards"],
  ["proxy-authenticate"],
  ["proxy-authorization"],
  ["range"],
  ["referer"],
  ["refresh"],
  ["retry-after"],
  ["server"],
  ["set-cookie"],
  ["strict-transport-security"],
  ["transfer-encoding"],
  ["user-agent"],
  ["vary"],
  ["via"],
  ["www-authenticate"],
];

/** The static table (RFC 7541 appendix A); entry 1 stands at index 1. */
export const staticFields: readonly Field[] = [[":authority", ""] as const, ...STATIC].map(
  ([name, value]) => {
    const bytes = Buffer.from(`${name}: ${value ?? ""}\r\n`, "latin1");
    return readField(bytes, 0, name.length, bytes.length);
  },
);
export const STATIC_FIELDS = STATIC.length;
