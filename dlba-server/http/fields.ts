/** The header fields that a proxy must know, found by name in one table look-up. */
import { NAME } from "./characters.ts";

export const FIELD = {
  other: 0,
  host: 1,
  connection: 2,
  contentLength: 3,
  transferEncoding: 4,
  te: 5,
  upgrade: 6,
  keepAlive: 7,
  proxyConnection: 8,
  http2Settings: 9,
  cookie: 10,
  expect: 11,
  xForwardedFor: 12,
  xForwardedProto: 13,
  xForwardedHost: 14,
  xForwardedOther: 15,
  forwarded: 16,
  /** A known name written with "_" for "-": a back end may take it for the real one. */
  lookalike: 17,
  referer: 18,
  userAgent: 19,
  xRequestId: 20,
  cacheControl: 21,
  traceparent: 22,
  tracestate: 23,
  maxForwards: 24,
} as const;
export const FIELD_COUNT = 25;

const NAMES: readonly (readonly [string, number])[] = [
  ["host", FIELD.host],
  ["connection", FIELD.connection],
  ["content-length", FIELD.contentLength],
  ["transfer-encoding", FIELD.transferEncoding],
  ["te", FIELD.te],
  ["upgrade", FIELD.upgrade],
  ["keep-alive", FIELD.keepAlive],
  ["proxy-connection", FIELD.proxyConnection],
  ["http2-settings", FIELD.http2Settings],
  ["cookie", FIELD.cookie],
  ["expect", FIELD.expect],
  ["x-forwarded-for", FIELD.xForwardedFor],
  ["x-forwarded-proto", FIELD.xForwardedProto],
  ["x-forwarded-host", FIELD.xForwardedHost],
  ["forwarded", FIELD.forwarded],
  ["referer", FIELD.referer],
  ["user-agent", FIELD.userAgent],
  ["x-request-id", FIELD.xRequestId],
  ["cache-control", FIELD.cacheControl],
  ["traceparent", FIELD.traceparent],
  ["tracestate", FIELD.tracestate],
  ["max-forwards", FIELD.maxForwards],
];
const X_FORWARDED = "x-forwarded-";

/**
 * Names are hashed while they are scanned, so most fields cost one look-up that finds an empty slot. The
 * table holds no two known names in one slot (checked when it is built), so one comparison decides.
 */
const SLOTS = 256;
export function nameHash(hash: number, byte: number): number {
  return (Math.imul(hash, 31) + byte) | 0;
}
const slotOf = (hash: number): number => (hash ^ (hash >>> 8)) & (SLOTS - 1);

const slotIds = new Uint8Array(SLOTS);
const slotNames: string[] = Array.from({ length: SLOTS }, () => "");
for (const [name, id] of NAMES) {
  const slot = slotOf(Buffer.from(name).reduce(nameHash, 0));
  if (slotIds[slot] !== 0) throw new Error(`the slots of ${name} and ${slotNames[slot]} are the same`);
  slotIds[slot] = id;
  slotNames[slot] = name;
}

/** Whether a name starts with `known`, "_" standing for "-"; 2 when it does only so. */
function compareName(bytes: Uint8Array, start: number, known: string): 0 | 1 | 2 {
  let result: 1 | 2 = 1;
  for (let i = 0; i < known.length; i++) {
    const byte = bytes[start + i]!;
    if (NAME[byte] !== known.charCodeAt(i)) return 0;
    if (byte === 95) result = 2;
  }
  return result;
}

/** The field that `bytes[start, end)` names; `hash` is the fold of `nameHash` over its `NAME` bytes. */
export function fieldId(bytes: Uint8Array, start: number, end: number, hash: number): number {
  const slot = slotOf(hash);
  if (slotIds[slot] !== 0) {
    const name = slotNames[slot]!;
    const match = end - start === name.length ? compareName(bytes, start, name) : 0;
    if (match !== 0) return match === 1 ? slotIds[slot]! : FIELD.lookalike;
  }
  if (end - start > X_FORWARDED.length && (bytes[start]! | 32) === 120) {
    const match = compareName(bytes, start, X_FORWARDED);
    if (match !== 0) return match === 1 ? FIELD.xForwardedOther : FIELD.lookalike;
  }
  return FIELD.other;
}

/**
 * Fields that a Connection header may not name: to drop them would change how a message is framed, routed,
 * or who it seems to come from (RFC 9110 7.6.1 forbids it for fields meant for all recipients).
 */
const END_TO_END = new Set([
  "accept",
  "authorization",
  "cache-control",
  "content-encoding",
  "content-length",
  "content-range",
  "content-type",
  "cookie",
  "expect",
  "forwarded",
  "host",
  "location",
  "origin",
  "range",
  "referer",
  "set-cookie",
  "trailer",
  "transfer-encoding",
  "user-agent",
  "via",
  "x-real-ip",
]);
export const isEndToEnd = (lowerCaseName: string): boolean =>
  END_TO_END.has(lowerCaseName) || lowerCaseName.startsWith(X_FORWARDED);

/**
 * Fields that may not come as trailers (RFC 9110 6.5.1): framing, routing, request modifiers,
 * authentication, response control, and how the content is to be processed.
 */
const NOT_TRAILERS = new Set([
  ...NAMES.map(([name]) => name),
  ...END_TO_END,
  "age",
  "content-disposition",
  "content-language",
  "content-location",
  "date",
  "expires",
  "if-match",
  "if-modified-since",
  "if-none-match",
  "if-range",
  "if-unmodified-since",
  "pragma",
  "proxy-authenticate",
  "proxy-authorization",
  "retry-after",
  "vary",
  "warning",
  "www-authenticate",
]);
export const isForbiddenTrailer = (lowerCaseName: string): boolean =>
  NOT_TRAILERS.has(lowerCaseName) || lowerCaseName.startsWith(X_FORWARDED);
/** No forbidden trailer that isn't told by its first characters is longer. */
export const TRAILER_NAME_KEPT = 32;
