import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { CHUNK_LINE_BYTES, CHUNK_SIZE_DIGITS, TRAILER_BYTES } from "../../../conf/limits.ts";
import { CHUNK, scanChunks, startChunks } from "../../../dlba-server/http/chunked.ts";

const MAX = Number.MAX_SAFE_INTEGER;

/** Where the scan stops and in which step, fed whole; the same byte by byte. */
function scan(text: string, maxBytes = MAX): { stop: number; step: number } {
  const bytes = Buffer.from(text, "latin1");
  const whole = startChunks();
  const stop = scanChunks(whole, bytes, 0, bytes.length, maxBytes);
  const single = startChunks();
  let at = 0;
  while (at < bytes.length && scanChunks(single, bytes, at, at + 1, maxBytes) === at + 1) at++;
  assert.deepEqual({ ...single, at }, { ...whole, at: stop });
  return { stop, step: whole.step };
}

describe("chunks", () => {
  const rows: [string, string, number][] = [
    ["none but the last", "0\r\n\r\n", 5],
    ["a last one of several zeros", "000\r\n\r\n", 7],
    ["one, in upper and lower case", "A\r\n0123456789\r\na\r\n0123456789\r\n0\r\n\r\n", 35],
    ["with extensions", '1;a;b=c;d="e"\r\nx\r\n0;z\r\n\r\n', 25],
    ["with trailers", "0\r\nA: b\r\nC:\r\n\r\n", 15],
    ["whose data looks like chunks", "5\r\n0\r\n\r\n\r\n0\r\n\r\n", 15],
  ];
  for (const [name, text, length] of rows) {
    it(name, () => {
      assert.deepEqual(scan(text), { stop: length, step: CHUNK.done });
      assert.deepEqual(scan(`${text}GET`), { stop: length, step: CHUNK.done }, "what follows is not taken");
    });
  }

  it("that are wrong stop the scan before the wrong byte", () => {
    assert.deepEqual(scan("5\r\nhelloX"), { stop: 8, step: CHUNK.bad });
    assert.deepEqual(scan("0\r\nA b: c"), { stop: 4, step: CHUNK.bad });
  });
});

/** A last chunk whose line has `length` bytes, and one whose trailers have. */
const line = (length: number): string => `0;${"e".repeat(length - 2)}\r\n\r\n`;
const trailers = (length: number): string =>
  `0\r\n${"A: b\r\n".repeat(9)}B: ${"x".repeat(length - 54 - 7)}\r\n\r\n`;

describe("bounds of chunks", () => {
  it("digits of a size", () => {
    assert.equal(scan("0".repeat(CHUNK_SIZE_DIGITS) + "\r\n\r\n").step, CHUNK.done);
    assert.equal(scan("0".repeat(CHUNK_SIZE_DIGITS + 1) + "\r\n\r\n").step, CHUNK.bad);
    assert.equal(scan("f".repeat(CHUNK_SIZE_DIGITS) + "\r\n").step, CHUNK.data);
  });

  it("bytes of a size line, each line anew", () => {
    assert.equal(scan(line(CHUNK_LINE_BYTES)).step, CHUNK.done);
    assert.equal(scan(line(CHUNK_LINE_BYTES + 1)).step, CHUNK.bad);
    const chunk = `1;${"e".repeat(CHUNK_LINE_BYTES - 2)}\r\nx\r\n`;
    assert.equal(scan(`${chunk + chunk}0\r\n\r\n`).step, CHUNK.done);
  });

  it("bytes of all trailers together", () => {
    assert.equal(scan(trailers(TRAILER_BYTES)).step, CHUNK.done);
    assert.equal(scan(trailers(TRAILER_BYTES + 1)).step, CHUNK.bad);
  });

  it("bytes of data, as soon as they are announced", () => {
    assert.equal(scan("4\r\nabcd\r\n1\r\n", 5).step, CHUNK.data);
    assert.deepEqual(scan("4\r\nabcd\r\n2\r\nef", 5), { stop: 11, step: CHUNK.tooLarge });
  });
});
