/**
 * A request for a web server that speaks HTTP/2: the HTTP/1.1 message that a session writes, taken apart into a head and data.
 * Whatever a session says to a web server of one kind it may say to one of the other.
 */
import { CHUNK, type ChunkState, scanFraming, startChunks, takeData } from "../http/chunked.ts";
import { FIELD } from "../http/fields.ts";
import {
  COMPLETE,
  fieldStarts,
  head,
  idOf,
  nameEnds,
  scanRequestHead,
  valueEnds,
  valueStarts,
} from "../http/head.ts";
import type { Http2Connection, Http2Stream } from "./connection.ts";
import { encodeField, encodePseudo } from "./hpack-encoder.ts";
import { beginHead, endHead, endStream, sendData } from "./output.ts";

/** What is left of a request's message. */
export interface MessageOut {
  hasHead: boolean;
  /** Bytes of a body with a length; the chunks of another. */
  left: number;
  chunks: ChunkState | null;
  trailers: string;
}
export const startMessage = (): MessageOut => ({ hasHead: false, left: 0, chunks: null, trailers: "" });

/** Fields of the connection to the web server, which HTTP/2 does without. */
const LEFT_OUT: ReadonlySet<number> = new Set([
  FIELD.host,
  FIELD.connection,
  FIELD.transferEncoding,
  FIELD.keepAlive,
  FIELD.proxyConnection,
  FIELD.upgrade,
  FIELD.http2Settings,
]);
/** Indices of names in HPACK's static table. */
const STATIC = { authority: 1, method: 2, path: 4, http: 0x86, https: 0x87 } as const;
const FIELD_ROOM = 12;

/**
 * Takes the next piece of the message, the first one being the whole head, and says it on the stream. The piece is ours: it
 * can't be anything but a good message.
 */
export function sendMessage<O, X>(
  c: Http2Connection<O, X>,
  stream: Http2Stream<X>,
  message: MessageOut,
  scheme: "http" | "https",
  bytes: Buffer,
  start: number,
  end: number,
): void {
  if (!message.hasHead) sendRequestHead(c, stream, message, scheme, bytes, start, end);
  else if (message.chunks === null) {
    message.left -= end - start;
    sendData(c, stream, bytes, start, end);
    if (message.left === 0) endStream(c, stream, "");
  } else sendChunks(c, stream, message, message.chunks, bytes, start, end);
}

function sendChunks<O, X>(
  c: Http2Connection<O, X>,
  stream: Http2Stream<X>,
  message: MessageOut,
  chunks: ChunkState,
  bytes: Buffer,
  start: number,
  end: number,
): void {
  let at = start;
  while (at < end && chunks.step < CHUNK.done) {
    if (chunks.step === CHUNK.data) {
      const stop = takeData(chunks, at, end);
      sendData(c, stream, bytes, at, stop);
      at = stop;
      continue;
    }
    const before = chunks.trailerBytes;
    at = scanFraming(chunks, bytes, at, end, Number.MAX_SAFE_INTEGER);
    const more = chunks.trailerBytes - before;
    if (more > 0) message.trailers += bytes.latin1Slice(at - more, at);
  }
  // Trailers end with an empty line of theirs; names are in lower case here.
  if (chunks.step === CHUNK.done) endStream(c, stream, message.trailers.slice(0, -2));
}

function sendRequestHead<O, X>(
  c: Http2Connection<O, X>,
  stream: Http2Stream<X>,
  message: MessageOut,
  scheme: "http" | "https",
  bytes: Buffer,
  start: number,
  end: number,
): void {
  if (scanRequestHead(bytes, start, end, end - start) !== COMPLETE)
    throw new Error("a head of ours is no head");
  message.hasHead = true;
  const out = beginHead(c, end - start + (head.fields + 6) * FIELD_ROOM);
  const { encoder } = c;
  let length: number | undefined;
  let isChunked = false;
  let at = encodePseudo(out.bytes, out.length, STATIC.method, bytes, start, head.methodEnd);
  out.bytes[at++] = scheme === "http" ? STATIC.http : STATIC.https;
  at = encodePseudo(out.bytes, at, STATIC.path, bytes, head.targetStart, head.targetEnd);
  for (let field = 0; field < head.fields; field++) {
    if (idOf(field) !== FIELD.host) continue;
    at = encodePseudo(out.bytes, at, STATIC.authority, bytes, valueStarts[field]!, valueEnds[field]!);
  }
  for (let field = 0; field < head.fields; field++) {
    const id = idOf(field);
    if (id === FIELD.transferEncoding) isChunked = true;
    if (LEFT_OUT.has(id)) continue;
    const [from, to] = [valueStarts[field]!, valueEnds[field]!];
    if (id === FIELD.contentLength) length = Number(bytes.latin1Slice(from, to));
    at = encodeField(encoder, out.bytes, at, bytes, fieldStarts[field]!, nameEnds[field]!, from, to, false);
  }
  out.length = at;
  endHead(c, stream, 0);
  message.left = length ?? 0;
  message.chunks = isChunked ? startChunks() : null;
  if (!isChunked && message.left === 0) endStream(c, stream, "");
}
