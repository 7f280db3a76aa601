/**
 * A request's decoded fields as the head of an HTTP/1.1 request, laid out and noted as the scanner of heads would have
 * found it (http/head.ts): so the same passes read it and the same rules write what goes on, without a scan.
 */
import { MAX_HEADER_FIELDS } from "../../conf/limits.ts";
import { FIELD, isForbiddenTrailer } from "../http/fields.ts";
import {
  COMPLETE,
  fieldEnds,
  fieldStarts,
  head,
  ids,
  nameEnds,
  valueEnds,
  valueStarts,
} from "../http/head.ts";
import { MALFORMED, request } from "../http/request.ts";
import { decoded } from "./hpack-decoder.ts";
import { type Field, PSEUDO, valueOf } from "./hpack-fields.ts";

/** Where the head stands that was laid out last; what `head` tells of is in here. */
export const laidOut = Buffer.allocUnsafeSlow(262_144);

/** The pseudo-header fields of the request; undefined: not there. */
const pseudo = {
  method: undefined as Field | undefined,
  scheme: undefined as Field | undefined,
  path: undefined as Field | undefined,
  authority: undefined as Field | undefined,
  protocol: undefined as Field | undefined,
};
let text = "";
let cookies = "";

/** Takes one pseudo-header field; false when it may not be there, or is there already. */
function takePseudo(field: Field): boolean {
  switch (field.id) {
    case PSEUDO.method:
      if (pseudo.method !== undefined) return false;
      pseudo.method = field;
      return true;
    case PSEUDO.scheme:
      if (pseudo.scheme !== undefined) return false;
      pseudo.scheme = field;
      return true;
    case PSEUDO.path:
      if (pseudo.path !== undefined) return false;
      pseudo.path = field;
      return true;
    case PSEUDO.authority:
      if (pseudo.authority !== undefined) return false;
      pseudo.authority = field;
      return true;
    case PSEUDO.protocol:
      if (pseudo.protocol !== undefined) return false;
      pseudo.protocol = field;
      return true;
    default:
      return false;
  }
}

/** The pseudo-header fields, which come first. Returns how many there are, or -1 when they make no request. */
function takePseudos(): number {
  const { fields, count } = decoded;
  pseudo.method = undefined;
  pseudo.scheme = undefined;
  pseudo.path = undefined;
  pseudo.authority = undefined;
  pseudo.protocol = undefined;
  let taken = 0;
  for (; taken < count; taken++) {
    const field = fields[taken]!;
    if (field.id < PSEUDO.method) break;
    if (field.isBad || !takePseudo(field)) return -1;
  }
  if (pseudo.method === undefined) return -1;
  // CONNECT names its authority and nothing else (RFC 9113 8.5).
  if (valueOf(pseudo.method) === "CONNECT" && pseudo.protocol === undefined) {
    const isPlain = pseudo.scheme === undefined && pseudo.path === undefined;
    return isPlain && pseudo.authority !== undefined ? taken : -1;
  }
  const hasTarget = pseudo.scheme !== undefined && pseudo.path !== undefined;
  return hasTarget && isProtocolPlaced() ? taken : -1;
}

/** Another protocol is asked for by CONNECT, with an authority (RFC 8441 4); the request is then like a GET that asks for an upgrade. */
const isProtocolPlaced = (): boolean =>
  pseudo.protocol === undefined || (valueOf(pseudo.method!) === "CONNECT" && pseudo.authority !== undefined);

function beginHead(): void {
  const method = pseudo.protocol === undefined ? valueOf(pseudo.method!) : "GET";
  request.protocol = pseudo.protocol === undefined ? "" : valueOf(pseudo.protocol);
  request.scheme = pseudo.scheme === undefined ? "" : valueOf(pseudo.scheme);
  const target = valueOf(pseudo.path ?? pseudo.authority!);
  text = `${method} ${target} HTTP/1.1\r\n`;
  head.start = 0;
  head.methodEnd = method.length;
  head.targetStart = method.length + 1;
  head.targetEnd = head.targetStart + target.length;
  head.major = 1;
  head.minor = 1;
  head.fieldsStart = text.length;
  head.fields = 0;
}

function addLine(id: number, nameLength: number, line: string): void {
  const { fields } = head;
  const start = text.length;
  ids[fields] = id;
  fieldStarts[fields] = start;
  nameEnds[fields] = start + nameLength;
  valueStarts[fields] = start + nameLength + 2;
  valueEnds[fields] = start + line.length - 2;
  fieldEnds[fields] = start + line.length;
  head.fields = fields + 1;
  text += line;
}

/** Whether a Host beside :authority says the same. */
const isSameHost = (field: Field): boolean =>
  pseudo.authority === undefined || valueOf(field).toLowerCase() === valueOf(pseudo.authority).toLowerCase();

/** A field that is no pseudo-header field; false when it may not be there. */
function takeRegular(field: Field): boolean {
  if (field.isBad || field.id >= PSEUDO.method) return false;
  if (field.id === FIELD.cookie) {
    // Crumbs of one field: HTTP/1.1 knows one Cookie field only (RFC 9113 8.2.3).
    cookies += cookies === "" ? valueOf(field) : `; ${valueOf(field)}`;
    return true;
  }
  if (field.id === FIELD.host && pseudo.authority !== undefined) return isSameHost(field);
  addLine(field.id, field.nameLength, field.line);
  return true;
}

/**
 * Lays out the request whose fields were decoded last. Returns COMPLETE, MALFORMED, or the status to refuse it with (414,
 * 431). `maxList` bounds the fields as SETTINGS_MAX_HEADER_LIST_SIZE does, `maxTarget` the target, in bytes.
 */
export function layOutRequest(maxList: number, maxTarget: number): number {
  const isTooLarge = decoded.listBytes > maxList;
  cookies = "";
  const first = takePseudos();
  if (first === -1) {
    clearHead();
    return isTooLarge ? 431 : MALFORMED;
  }
  beginHead();
  if (pseudo.authority !== undefined) addLine(FIELD.host, 4, `host: ${valueOf(pseudo.authority)}\r\n`);
  for (let i = first; i < decoded.count; i++) {
    if (head.fields >= MAX_HEADER_FIELDS - 1) return finish(431);
    if (!takeRegular(decoded.fields[i]!)) return finish(MALFORMED);
  }
  if (cookies !== "") addLine(FIELD.cookie, 6, `cookie: ${cookies}\r\n`);
  if (isTooLarge) return finish(431);
  return finish(head.targetEnd - head.targetStart > maxTarget ? 414 : COMPLETE);
}

/** There is nothing that could be read. */
function clearHead(): void {
  head.start = 0;
  head.methodEnd = 0;
  head.fieldsStart = 0;
  head.fields = 0;
  text = "";
  finish(0);
}

function finish(verdict: number): number {
  head.text = text;
  const length = laidOut.latin1Write(text);
  laidOut[length] = 13;
  laidOut[length + 1] = 10;
  head.end = length + 2;
  text = "";
  return verdict;
}

/** Fields after the body, as the chunked coding has them; undefined when they may not be there. */
export function layOutTrailers(): string | undefined {
  let lines = "";
  for (let i = 0; i < decoded.count; i++) {
    const field = decoded.fields[i]!;
    if (field.isBad || field.id >= PSEUDO.method) return undefined;
    if (isForbiddenTrailer(field.line.slice(0, field.nameLength))) return undefined;
    lines += field.line;
  }
  return lines;
}
