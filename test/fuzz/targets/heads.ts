/**
 * Heads: the scanner of whole heads, the one that takes them byte by byte, and a regular expression after RFC 9112 agree on
 * what is a head, where it ends, and what its fields are.
 */
import assert from "node:assert/strict";
import { MAX_HEADER_FIELDS } from "../../../conf/limits.ts";
import {
  COMPLETE,
  head,
  INCOMPLETE,
  nameText,
  readText,
  scanRequestHead,
  scanResponseHead,
  valueText,
} from "../../../dlba-server/http/head.ts";
import { advanceRequest, advanceResponse, startHead } from "../../../dlba-server/http/head-progress.ts";
import { requestRows, responseRows } from "../../dlba-server/corpus/corpus.ts";
import { HTTP_WORDS, makeRequest, makeResponse } from "../grammar.ts";
import type { Target } from "../target.ts";

const MOST_HEAD = 600;
const MOST_TARGET = 200;
const TOKEN = "[!#$%&'*+\\-.^_`|~0-9A-Za-z]+";
const FIELDS = `((?:${TOKEN}:[\\t\\x20-\\x7e\\x80-\\xff]*\\r\\n)*)\\r\\n`;
const REQUEST = new RegExp(`^${TOKEN} [!"$-~]{1,${MOST_TARGET}} HTTP/\\d\\.\\d\\r\\n${FIELDS}`);
const RESPONSE = new RegExp(`^HTTP/\\d\\.\\d [1-5]\\d\\d(?: [\\t\\x20-\\x7e\\x80-\\xff]*)?\\r\\n${FIELDS}`);

interface Scanned {
  readonly verdict: number;
  readonly end: number;
}
type Scan = (bytes: Buffer, end: number) => number;
type Advance = (progress: ReturnType<typeof startHead>, bytes: Buffer, start: number, end: number) => number;

function advanceInOne(advance: Advance, bytes: Buffer): Scanned {
  const progress = startHead();
  return { verdict: advance(progress, bytes, 0, bytes.length), end: progress.scanned };
}

function check(
  input: string,
  grammar: RegExp,
  scan: Scan,
  inOne: () => Scanned,
  bytewise: () => Scanned,
): void {
  const bytes = Buffer.from(input, "latin1");
  const verdict = scan(bytes, Math.min(bytes.length, MOST_HEAD));
  const pieces = bytewise();
  assert.deepEqual(inOne().verdict, pieces.verdict, "at once and byte by byte");
  if (verdict !== INCOMPLETE) assert.equal(verdict, pieces.verdict, "whole and byte by byte");
  else assert.notEqual(pieces.verdict, COMPLETE, "what the scanner finds incomplete is not complete");
  const found = grammar.exec(input);
  const fields = found === null ? [] : fieldsIn(found[1]!);
  const isHead = found !== null && found[0].length <= MOST_HEAD && fields.length <= MAX_HEADER_FIELDS;
  assert.equal(verdict === COMPLETE, isHead, "the scanner and the grammar");
  if (found === null || verdict !== COMPLETE) return;
  assert.equal(head.end, found[0].length);
  assert.equal(pieces.end, found[0].length);
  readText(bytes);
  const scanned = Array.from({ length: head.fields }, (_, field) => [nameText(field), valueText(field)]);
  assert.deepEqual(scanned, fields);
}

const fieldsIn = (lines: string): string[][] =>
  lines
    .split("\r\n")
    .slice(0, -1)
    .map((line) => {
      const colon = line.indexOf(":");
      return [line.slice(0, colon).toLowerCase(), line.slice(colon + 1).replace(/^[\t ]+|[\t ]+$/g, "")];
    });

/** The request scanner is offered all from the head's first byte; the response scanner newer bytes only. */
function requestBytewise(bytes: Buffer): Scanned {
  const progress = startHead();
  for (let end = 1; end <= bytes.length; end++) {
    const verdict = advanceRequest(progress, bytes, 0, end, MOST_HEAD, MOST_TARGET);
    if (verdict !== INCOMPLETE) return { verdict, end: progress.scanned };
  }
  return { verdict: INCOMPLETE, end: progress.scanned };
}

function responseBytewise(bytes: Buffer): Scanned {
  const progress = startHead();
  for (let at = 0; at < bytes.length; at++) {
    const verdict = advanceResponse(progress, bytes, at, at + 1, MOST_HEAD);
    if (verdict !== INCOMPLETE) return { verdict, end: progress.scanned };
  }
  return { verdict: INCOMPLETE, end: progress.scanned };
}

const isShort = (text: string): boolean => text.length < MOST_HEAD * 2;

const scanRequest: Scan = (bytes, end) => scanRequestHead(bytes, 0, end, MOST_TARGET);

export const requestHead: Target = {
  name: "request-head",
  batch: 2000,
  seeds: [...requestRows.values()]
    .flat()
    .map(({ request }) => request)
    .filter(isShort),
  words: HTTP_WORDS,
  make: makeRequest,
  check: (input) => {
    const bytes = Buffer.from(input, "latin1");
    const inOne = (): Scanned =>
      advanceInOne(
        (progress, all, start, end) => advanceRequest(progress, all, start, end, MOST_HEAD, MOST_TARGET),
        bytes,
      );
    check(input, REQUEST, scanRequest, inOne, () => requestBytewise(bytes));
  },
};

export const responseHead: Target = {
  name: "response-head",
  batch: 2000,
  seeds: responseRows.map(({ response }) => response).filter(isShort),
  words: HTTP_WORDS,
  make: makeResponse,
  check: (input) => {
    const bytes = Buffer.from(input, "latin1");
    const inOne = (): Scanned =>
      advanceInOne(
        (progress, all, start, end) => advanceResponse(progress, all, start, end, MOST_HEAD),
        bytes,
      );
    check(
      input,
      RESPONSE,
      (all, end) => scanResponseHead(all, 0, end),
      inOne,
      () => responseBytewise(bytes),
    );
  },
};
