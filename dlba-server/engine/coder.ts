/**
 * Compressing responses: zlib, brotli and zstd of the Node binary, called in the worker's own turn, a read at a time. Levels and
 * windows are chosen for speed and little memory: see CODER_BYTES in conf/limits.ts.
 */
import {
  constants,
  createBrotliCompress,
  createGzip,
  createZstdCompress,
  type BrotliCompress,
  type Gzip,
  type ZstdCompress,
} from "node:zlib";
import { DlbaError } from "../../conf/errors.ts";
import type { Coding, Step } from "../http/content-coding.ts";

/** Node's binding below its streams: it compresses at once, without a thread and without a copy. */
interface Handle {
  writeSync(
    flush: number,
    from: Uint8Array,
    fromStart: number,
    length: number,
    to: Uint8Array,
    toStart: number,
    room: number,
  ): void;
  onerror: (message: string, code: number) => void;
}
type Compressor = (Gzip | BrotliCompress | ZstdCompress) & {
  readonly _handle: Handle;
  /** Room that is left, and bytes that were not taken, after a call. */
  readonly _writeState: Uint32Array;
};

export interface Coder {
  readonly coding: Coding;
  readonly compressor: Compressor;
  /** What the binding is told for each of `STEP`. */
  readonly flushes: readonly [number, number, number];
}

const GZIP_FLUSHES = [constants.Z_NO_FLUSH, constants.Z_SYNC_FLUSH, constants.Z_FINISH] as const;
const BROTLI_FLUSHES = [
  constants.BROTLI_OPERATION_PROCESS,
  constants.BROTLI_OPERATION_FLUSH,
  constants.BROTLI_OPERATION_FINISH,
] as const;
const ZSTD_FLUSHES = [constants.ZSTD_e_continue, constants.ZSTD_e_flush, constants.ZSTD_e_end] as const;
const GZIP_LEVEL = 4;
const BROTLI_QUALITY = 3;
const ZSTD_LEVEL = 3;
/** 256 KB, for brotli and zstd. */
const WINDOW_BITS = 18;

function compressorOf(coding: Coding): Gzip | BrotliCompress | ZstdCompress {
  switch (coding) {
    case "gzip":
      return createGzip({ level: GZIP_LEVEL });
    case "br":
      return createBrotliCompress({
        params: {
          [constants.BROTLI_PARAM_QUALITY]: BROTLI_QUALITY,
          [constants.BROTLI_PARAM_LGWIN]: WINDOW_BITS,
        },
      });
    case "zstd":
      return createZstdCompress({
        params: {
          [constants.ZSTD_c_compressionLevel]: ZSTD_LEVEL,
          [constants.ZSTD_c_windowLog]: WINDOW_BITS,
        },
      });
  }
}

const FLUSHES = { gzip: GZIP_FLUSHES, br: BROTLI_FLUSHES, zstd: ZSTD_FLUSHES } as const;

/** A coder for one response. It must be closed. */
export function createCoder(coding: Coding): Coder {
  // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- what the pinned Node's streams are made of
  const compressor = compressorOf(coding) as Compressor;
  // oxlint-disable-next-line unicorn/prefer-add-event-listener -- a binding has no other way
  compressor._handle.onerror = (message, code) => {
    throw new DlbaError("CODER", `${coding} failed: ${message} (${code})`);
  };
  return { coding, compressor, flushes: FLUSHES[coding] };
}

export function closeCoder({ compressor }: Coder): void {
  compressor.close();
}

const out = Buffer.allocUnsafeSlow(65_536);

/** Compresses `bytes[start, end)`; `take` gets what comes of it, piece by piece, and must not keep it. */
export function code(
  { compressor, flushes }: Coder,
  bytes: Buffer,
  start: number,
  end: number,
  step: Step,
  take: (bytes: Buffer, start: number, end: number) => void,
): void {
  const { _handle: handle, _writeState: state } = compressor;
  let at = start;
  for (;;) {
    handle.writeSync(flushes[step], bytes, at, end - at, out, 0, out.length);
    const [room = 0, left = 0] = state;
    at = end - left;
    if (room < out.length) take(out, 0, out.length - room);
    // A full buffer may have cut short what was to come out.
    if (room > 0 && left === 0) return;
  }
}
