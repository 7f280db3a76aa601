/**
 * Requests over HTTP/2 with the treatment that each must get, in http2.yaml: fields and data as frames can carry them, whatever
 * HTTP/1.1 would make of them; and what of that reaches a raw web server of HTTP/1.1.
 */
import { readFileSync } from "node:fs";
import { connect } from "node:net";
import { join } from "node:path";
import { parse } from "yaml";
import * as z from "zod";
import { createDecoder, decodeBlock, decoded } from "../../../dlba-server/http2/hpack-decoder.ts";
import { valueOf } from "../../../dlba-server/http2/hpack-fields.ts";
import { CODE, FLAG, FRAME } from "../../../dlba-server/http2/wire.ts";
import { block, frame, START } from "../http2/harness.ts";

const fields = z.array(z.tuple([z.string(), z.string()]));
const http2Row = z.strictObject({
  name: z.string(),
  source: z.string(),
  /** In their order; char codes are bytes. */
  fields,
  /** Left out: the head is all there is. */
  data: z.string().optional(),
  trailers: fields.optional(),
  /** The status that the client gets, or the code that its stream is reset with. */
  answer: z.union([z.int(), z.string()]),
  /** The request that the web server gets, without the fields that the proxy adds. Left out: none. */
  goes_on: z.string().optional(),
  /** A request begins at the web server and breaks off there. */
  breaks_off: z.literal(true).optional(),
});
export type Http2Row = z.output<typeof http2Row>;

export const http2Rows: readonly Http2Row[] = z
  .array(http2Row)
  .parse(parse(readFileSync(join(import.meta.dirname, "http2.yaml"), "utf8")));

const end = (isLast: boolean): number => (isLast ? FLAG.endStream : 0);

/** What a row's client sends, on stream 1. */
function framesOf({ fields: head, data, trailers }: Http2Row): Buffer {
  const frames = [
    frame(FRAME.headers, FLAG.endHeaders | end(data === undefined && trailers === undefined), 1, block(head)),
  ];
  if (data !== undefined)
    frames.push(frame(FRAME.data, end(trailers === undefined), 1, Buffer.from(data, "latin1")));
  if (trailers !== undefined)
    frames.push(frame(FRAME.headers, FLAG.endHeaders | FLAG.endStream, 1, block(trailers)));
  return Buffer.concat([START, ...frames]);
}

const codeName = (code: number): string =>
  Object.entries(CODE).find(([, value]) => value === code)?.[0] ?? String(code);

/** Sends a row's frames to a port that knows HTTP/2 by its preface; the status of stream 1, or the code of its end. */
export async function askOverHttp2(port: number, row: Http2Row): Promise<number | string> {
  const socket = connect(port, "127.0.0.1");
  const decoder = createDecoder();
  let rest = Buffer.alloc(0);
  let status: number | undefined;
  socket.write(framesOf(row));
  try {
    for await (const piece of socket) {
      rest = Buffer.concat([rest, piece as Buffer]);
      while (rest.length >= 9 && rest.length >= 9 + rest.readUIntBE(0, 3)) {
        const after = 9 + rest.readUIntBE(0, 3);
        const [type, flags, id] = [rest[3], rest[4]!, rest.readUInt32BE(5)];
        const payload = rest.subarray(9, after);
        rest = rest.subarray(after);
        if (type === FRAME.goaway) return `GOAWAY ${codeName(payload.readUInt32BE(4))}`;
        if (id !== 1) continue;
        if (type === FRAME.rstStream) return status ?? codeName(payload.readUInt32BE(0));
        if (type === FRAME.headers) status ??= statusIn(decoder, payload);
        if ((flags & FLAG.endStream) !== 0 && status !== undefined) return status;
      }
    }
  } finally {
    socket.destroy();
  }
  return "closed";
}

/** Undefined for an interim response. */
function statusIn(decoder: ReturnType<typeof createDecoder>, payload: Buffer): number | undefined {
  decodeBlock(decoder, payload, 0, payload.length, 65_536);
  const status = Number(valueOf(decoded.fields[0]!));
  return status < 200 ? undefined : status;
}
