/** An HTTP/2 connection without sockets: frames in, frames and what its user hears out. */
import {
  createConnection,
  createStream,
  type Http2Connection,
  type Http2Port,
  type Http2Stream,
} from "../../../dlba-server/http2/connection.ts";
import { decodeBlock, createDecoder, decoded } from "../../../dlba-server/http2/hpack-decoder.ts";
import { nameOf, valueOf } from "../../../dlba-server/http2/hpack-fields.ts";
import { takeFrames } from "../../../dlba-server/http2/input.ts";
import { giveBack } from "../../../dlba-server/http2/output.ts";
import { laidOut, layOutRequest } from "../../../dlba-server/http2/request-fields.ts";
import { head } from "../../../dlba-server/http/head.ts";
import { COMPLETE } from "../../../dlba-server/http/head.ts";
import { CODE, FLAG, FRAME, PREFACE, write32, writeFrameHead } from "../../../dlba-server/http2/wire.ts";

export interface Frame {
  readonly type: number;
  readonly flags: number;
  readonly stream: number;
  readonly payload: Buffer;
}
type User = { name: string };
export type TestConnection = Http2Connection<string, User>;
export type TestStream = Http2Stream<User>;

export function frame(
  type: number,
  flags: number,
  stream: number,
  payload: Uint8Array | number[] = [],
): Buffer {
  const bytes = Buffer.alloc(9 + payload.length);
  writeFrameHead(bytes, 0, payload.length, type, flags, stream);
  bytes.set(payload, 9);
  return bytes;
}

export const number = (value: number): Buffer => {
  const bytes = Buffer.alloc(4);
  write32(bytes, 0, value);
  return bytes;
};

/** A string of HPACK, uncoded. */
const text = (value: string): Buffer => {
  const bytes = Buffer.from(value, "latin1");
  const length = bytes.length < 127 ? [bytes.length] : [127, ...septets(bytes.length - 127)];
  return Buffer.concat([Buffer.from(length), bytes]);
};

/** A header block in which every field is spelled out. */
export function block(fields: readonly (readonly [string, string])[], first = 0): Buffer {
  return Buffer.concat(
    fields.map(([name, value]) => Buffer.concat([Buffer.from([first]), text(name), text(value)])),
  );
}
const septets = (value: number): number[] =>
  value < 128 ? [value] : [(value & 127) | 128, ...septets(value >>> 7)];

export const GET: readonly (readonly [string, string])[] = [
  [":method", "GET"],
  [":scheme", "http"],
  [":path", "/"],
  [":authority", "a.example"],
];
export const POST: readonly (readonly [string, string])[] = [[":method", "POST"], ...GET.slice(1)];
export const SETTINGS = frame(FRAME.settings, 0, 0);
export const START = Buffer.concat([PREFACE, SETTINGS]);
export const request = (
  stream: number,
  fields: readonly (readonly [string, string])[] = GET,
  flags: number = FLAG.endStream,
): Buffer => frame(FRAME.headers, flags | FLAG.endHeaders, stream, block(fields));

const codeName = (code: number): string =>
  Object.entries(CODE).find(([, value]) => value === code)?.[0] ?? String(code);

/** Plays the user of a connection: keeps all that it hears, and takes data at once unless told otherwise. */
export function createHarness({ takesData = true, streams = 100, maxList = 8192, isServer = true } = {}) {
  const heard: string[] = [];
  const written: Buffer[] = [];
  const gathered = { bytes: Buffer.alloc(131_072), length: 0 };
  const peerDecoder = createDecoder();
  let made = 0;
  const flush = (): void => {
    written.push(Buffer.from(gathered.bytes.subarray(0, gathered.length)));
    gathered.length = 0;
    c.round++;
  };
  const port: Http2Port<string, User> = {
    makeRoom: (conn) => {
      if (conn.out === undefined) conn.out = gathered;
      else flush();
    },
    newStream: () => createStream({ name: `s${++made}` }),
    head: (_c, stream, isEnded) => {
      if (!isServer) {
        heard.push(`${stream.id} head${isEnded ? " end" : ""}`);
        return;
      }
      const verdict = layOutRequest(maxList, 2048);
      const text = laidOut.latin1Slice(0, head.end).replaceAll("\r\n", "|");
      const what = verdict === COMPLETE ? text : `refused ${verdict}`;
      heard.push(`${stream.id} ${what}${isEnded ? " end" : ""}`);
    },
    data: (conn, stream, bytes, start, end) => {
      const before = heard.at(-1) ?? "";
      const text = bytes.latin1Slice(start, end);
      // One piece or many: it is the same data.
      if (before.startsWith(`${stream.id} data `)) heard[heard.length - 1] = before + text;
      else heard.push(`${stream.id} data ${text}`);
      if (takesData) giveBack(conn, stream, end - start);
    },
    end: (_c, stream, trailers) =>
      heard.push(`${stream.id} end ${trailers.replaceAll("\r\n", "|")}`.trimEnd()),
    reset: (_c, stream, code) => heard.push(`${stream.id} reset ${codeName(code)}`),
    drained: (_c, stream) => heard.push(`${stream.id} drained`),
    closed: (_c, stream) => heard.push(`${stream.id} closed`),
    pinged: () => heard.push("pinged"),
    goneAway: (_c, last) => heard.push(`gone away ${last}`),
    failed: (_c, code) => heard.push(`failed ${codeName(code)}`),
  };
  const c: TestConnection = createConnection(port, "test", isServer, streams, maxList);
  let held = Buffer.alloc(0);
  let now_ms = 0;
  return {
    c,
    heard,
    advance(ms: number): void {
      now_ms += ms;
    },
    /** Feeds bytes in pieces of `size`; what is not taken is offered again in front of the next piece. */
    feed(bytes: Buffer, size = bytes.length): void {
      for (let at = 0; at < bytes.length; at += size) {
        held = Buffer.concat([held, bytes.subarray(at, at + size)]);
        const taken = takeFrames(c, held, 0, held.length, now_ms);
        held = Buffer.from(held.subarray(taken));
      }
    },
    /** The frames that have been written since the last look. */
    frames(): Frame[] {
      flush();
      const bytes = Buffer.concat(written.splice(0));
      const found: Frame[] = [];
      for (let at = 0; at < bytes.length;) {
        const length = bytes.readUIntBE(at, 3);
        const payload = bytes.subarray(at + 9, at + 9 + length);
        found.push({
          type: bytes[at + 3]!,
          flags: bytes[at + 4]!,
          stream: bytes.readUInt32BE(at + 5),
          payload,
        });
        at += 9 + length;
      }
      return found;
    },
    /** Those frames in words; settings and what gives windows back are left out. */
    told(): string[] {
      return this.frames().flatMap(({ type, flags, stream, payload }) => {
        const end = (flags & FLAG.endStream) !== 0 ? " end" : "";
        switch (type) {
          case FRAME.data:
            return [`${stream} data ${payload.toString("latin1")}${end}`];
          case FRAME.headers:
            return [`${stream} ${fieldsOf(payload)}${end}`];
          case FRAME.rstStream:
            return [`${stream} reset ${codeName(payload.readUInt32BE(0))}`];
          case FRAME.goaway:
            return [`goaway ${payload.readUInt32BE(0)} ${codeName(payload.readUInt32BE(4))}`];
          case FRAME.ping:
            return [`ping ${payload.toString("hex")}${flags === FLAG.ack ? " ack" : ""}`];
          default:
            return [];
        }
      });
    },
    stream(id: number): TestStream {
      return c.streams.get(id)!;
    },
  };

  function fieldsOf(payload: Buffer): string {
    if (!decodeBlock(peerDecoder, payload, 0, payload.length, 100_000)) return "broken block";
    return decoded.fields
      .slice(0, decoded.count)
      .map((field) => `${nameOf(field)}=${valueOf(field)}`)
      .join(" ");
  }
}
export type Harness = ReturnType<typeof createHarness>;
