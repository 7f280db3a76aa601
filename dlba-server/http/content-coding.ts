/**
 * Which responses are compressed, and how (RFC 9110 8.4, 12.5.3). Works on the heads that were scanned and read last.
 */
import { FIELD } from "./fields.ts";
import { FRAMING } from "./framing.ts";
import { head, idOf, joinedNamed, joinedValue, nameText, valueText } from "./head.ts";
import { response } from "./response.ts";

export const CODINGS = ["zstd", "br", "gzip"] as const;
export type Coding = (typeof CODINGS)[number];

/** Of a piece of content: more is to come; all that was said must come out now; this was all. */
export const STEP = { more: 0, flush: 1, finish: 2 } as const;
export type Step = (typeof STEP)[keyof typeof STEP];

export interface Compression {
  /** In the order in which they are taken when a client likes them alike. */
  readonly codings: readonly Coding[];
  /** Media types in lower case, "text/*" for all of a kind. */
  readonly types: ReadonlySet<string>;
  readonly least_bytes: number;
}

/** A weight in thousandths; -1 for what is none. */
function weightOf(parameters: string): number {
  const text = /^[ \t]*;[ \t]*[qQ]=([01](?:\.\d{0,3})?)[ \t]*$/.exec(parameters)?.[1];
  if (text === undefined) return parameters.trim() === "" ? 1000 : -1;
  const weight = Math.round(Number(text) * 1000);
  return weight <= 1000 ? weight : -1;
}

/** Weights by coding. What can't be read as one counts for nothing. */
function weightsOf(accepted: string): Map<string, number> {
  const weights = new Map<string, number>();
  for (const part of accepted.split(",")) {
    const semicolon = part.indexOf(";");
    const name = (semicolon === -1 ? part : part.slice(0, semicolon)).trim().toLowerCase();
    const weight = weightOf(semicolon === -1 ? "" : part.slice(semicolon));
    const coding = name === "x-gzip" ? "gzip" : name;
    if (coding !== "" && weight >= 0 && !weights.has(coding)) weights.set(coding, weight);
  }
  return weights;
}

/** The coding that a value of Accept-Encoding likes best, the first one of equals; "" when it likes none better than no coding. */
export function bestCoding(accepted: string, codings: readonly Coding[]): Coding | "" {
  const weights = weightsOf(accepted);
  const any = weights.get("*");
  let best: Coding | "" = "";
  let most = Math.max(1, weights.get("identity") ?? 0);
  for (const coding of codings) {
    const weight = weights.get(coding) ?? any ?? 0;
    if (weight > most || (weight === most && best === "")) [best, most] = [coding, weight];
  }
  return best;
}

/** The coding for the response to the request that was read last. Clients of HTTP/1.0 get none. */
export function acceptedCoding({ codings }: Compression): Coding | "" {
  if (head.minor === 0) return "";
  const accepted = joinedNamed("accept-encoding");
  return accepted === undefined ? "" : bestCoding(accepted, codings);
}

/** Digests of the content as it is sent: they would be wrong of what a coding makes of it. */
const DIGESTS = ["content-md5", "content-digest", "digest"];

function isOfType({ types }: Compression): boolean {
  const value = joinedNamed("content-type") ?? "";
  const semicolon = value.indexOf(";");
  const type = (semicolon === -1 ? value : value.slice(0, semicolon)).trim().toLowerCase();
  return types.has(type) || types.has(`${type.slice(0, type.indexOf("/") + 1)}*`);
}

const hasContent = (status: number): boolean =>
  status >= 200 && status !== 204 && status !== 205 && status !== 206 && status !== 304;

/**
 * Whether the response that was read last may be compressed for a client that wants that. `isAnswerToHead`: it has no content, but
 * the head that it would have with some.
 */
export function isCompressible(compression: Compression, isAnswerToHead: boolean): boolean {
  if (!hasContent(response.status)) return false;
  if (response.framing === FRAMING.none && !isAnswerToHead) return false;
  if (response.length > 0 && response.length < compression.least_bytes) return false;
  if (!isOfType(compression)) return false;
  const coding = joinedNamed("content-encoding");
  if (coding !== undefined && coding.toLowerCase() !== "identity") return false;
  if (joinedNamed("content-range") !== undefined) return false;
  if (/(?:^|[\s,])no-transform(?:$|[\s,])/i.test(joinedValue(FIELD.cacheControl))) return false;
  return DIGESTS.every((name) => joinedNamed(name) === undefined);
}

/** A line that says that responses differ by Accept-Encoding; "" when the response that was read last says so. */
export function varyLine(): string {
  const vary = joinedNamed("vary") ?? "";
  return /(?:^|[\s,])(?:\*|accept-encoding)(?:$|[\s,])/i.test(vary) ? "" : "Vary: Accept-Encoding\r\n";
}

/** Whether a field says of the content what is no longer true once it is compressed. */
export function isOfPlainContent(field: number): boolean {
  const id = idOf(field);
  if (id === FIELD.contentLength || id === FIELD.transferEncoding) return true;
  const name = nameText(field);
  return name === "etag" || name === "accept-ranges" || name === "content-encoding";
}

/** The lines that take their place: a strong validator becomes a weak one, as the bytes are others. */
export function codedLines(coding: Coding): string {
  let lines = `Content-Encoding: ${coding}\r\n`;
  for (let field = 0; field < head.fields; field++) {
    if (idOf(field) !== FIELD.other || nameText(field) !== "etag") continue;
    const tag = valueText(field);
    lines += `ETag: ${tag.startsWith("W/") ? tag : `W/${tag}`}\r\n`;
  }
  return lines;
}
