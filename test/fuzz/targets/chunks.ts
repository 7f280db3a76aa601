/** Chunked bodies: the decoder, in pieces and at once, and a slow reader after RFC 9112 7.1 find the same end or the same fault. */
import assert from "node:assert/strict";
import { CHUNK_LINE_BYTES, CHUNK_SIZE_DIGITS, TRAILER_BYTES } from "../../../conf/limits.ts";
import { CHUNK, scanChunks, startChunks } from "../../../dlba-server/http/chunked.ts";
import { isForbiddenTrailer } from "../../../dlba-server/http/fields.ts";
import { requestRows } from "../../dlba-server/corpus/corpus.ts";
import { HTTP_WORDS, makeChunks } from "../grammar.ts";
import type { Target } from "../target.ts";

const MOST_DATA = 2000;
const TOKEN = "[!#$%&'*+\\-.^_`|~0-9A-Za-z]";
const EXTENSION = `;${TOKEN}+(?:=(?:${TOKEN}+|"[!#-\\[\\]-~]*"))?`;
const SIZE_LINE = new RegExp(`^([0-9A-Fa-f]{1,${CHUNK_SIZE_DIGITS}})((?:${EXTENSION})*)\\r\\n`);
const TRAILERS = new RegExp(`^((?:${TOKEN}+:[\\t\\x20-\\x7e\\x80-\\xff]*\\r\\n)*)\\r\\n`);

/** Where the body ends, or -1 when it doesn't, or isn't right. */
function slowEnd(text: string): number {
  let at = 0;
  let total = 0;
  for (;;) {
    const line = SIZE_LINE.exec(text.slice(at));
    if (line === null || line[0].length - 2 > CHUNK_LINE_BYTES) return -1;
    const size = Number.parseInt(line[1]!, 16);
    at += line[0].length;
    if (size === 0) return trailersEnd(text, at);
    total += size;
    if (total > MOST_DATA || text.slice(at + size, at + size + 2) !== "\r\n") return -1;
    at += size + 2;
  }
}

function trailersEnd(text: string, at: number): number {
  const trailers = TRAILERS.exec(text.slice(at));
  if (trailers === null || trailers[0].length > TRAILER_BYTES) return -1;
  const names = trailers[1]!.split("\r\n").map((line) => line.slice(0, line.indexOf(":")));
  const isForbidden = names.some((name) => isForbiddenTrailer(name.toLowerCase().replaceAll("_", "-")));
  return isForbidden ? -1 : at + trailers[0].length;
}

export const chunks: Target = {
  name: "chunks",
  batch: 2000,
  seeds: (requestRows.get("chunks") ?? [])
    .map(({ request }) => request.slice(request.indexOf("\r\n\r\n") + 4))
    .filter(({ length }) => length < 1000),
  words: HTTP_WORDS,
  make: makeChunks,
  check: (input) => {
    const bytes = Buffer.from(input, "latin1");
    const whole = startChunks();
    const end = scanChunks(whole, bytes, 0, bytes.length, MOST_DATA);
    const single = startChunks();
    let at = 0;
    while (at < bytes.length && single.step < CHUNK.done) {
      const next = scanChunks(single, bytes, at, at + 1, MOST_DATA);
      if (next === at) break;
      at = next;
    }
    assert.deepEqual({ ...single, at }, { ...whole, at: end }, "at once and byte by byte");
    assert.equal(whole.step === CHUNK.done ? end : -1, slowEnd(input), "the decoder and the grammar");
  },
};
