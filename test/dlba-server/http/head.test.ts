import assert from "node:assert/strict";
import { describe, it } from "node:test";
import * as fc from "fast-check";
import { MAX_HEADER_FIELDS } from "../../../conf/limits.ts";
import {
  COMPLETE,
  head,
  INCOMPLETE,
  joinedValue,
  nameText,
  readText,
  scanRequestHead,
  scanResponseHead,
  valueText,
} from "../../../dlba-server/http/head.ts";
import { advanceRequest, advanceResponse, startHead } from "../../../dlba-server/http/head-progress.ts";
import { FIELD } from "../../../dlba-server/http/fields.ts";

const MAX_HEAD = 600;
const MAX_TARGET = 40;

/** The verdict of the scanner of whole heads, and of the one for pieces fed in pieces of `size`. */
function requestVerdicts(text: string, size: number): [number, number] {
  const bytes = Buffer.from(text, "latin1");
  const whole = scanRequestHead(bytes, 0, Math.min(bytes.length, MAX_HEAD), MAX_TARGET);
  const progress = startHead();
  let verdict = INCOMPLETE;
  for (let end = size; verdict === INCOMPLETE && end < bytes.length + size; end += size) {
    verdict = advanceRequest(progress, bytes, 0, Math.min(end, bytes.length), MAX_HEAD, MAX_TARGET);
  }
  if (verdict === COMPLETE) assert.equal(progress.scanned, head.end);
  return [whole, verdict];
}

function responseVerdicts(text: string, size: number): [number, number] {
  const bytes = Buffer.from(text, "latin1");
  const whole = scanResponseHead(bytes, 0, Math.min(bytes.length, MAX_HEAD));
  const progress = startHead();
  let verdict = INCOMPLETE;
  for (let start = 0; verdict === INCOMPLETE && start < bytes.length; start += size) {
    verdict = advanceResponse(progress, bytes, start, Math.min(start + size, bytes.length), MAX_HEAD);
  }
  if (verdict === COMPLETE) assert.equal(progress.scanned, head.end);
  return [whole, verdict];
}

/** The scanner of whole heads leaves what is incomplete to the other; all else both say alike. */
function agree([whole, pieces]: [number, number]): void {
  if (whole === INCOMPLETE) assert.notEqual(pieces, COMPLETE);
  else assert.equal(pieces, whole);
}

const part = fc.constantFrom(
  ..."GET / HTTP/1.1|HTTP/1.1 200 OK|HTTP/1.0 404|\r\n|\r\n\r\n|\r|\n| |\t|:|A: b|Host: x|;|\0|\x7f|\xff|(|5|abc".split(
    "|",
  ),
  "a".repeat(50),
  "A: b\r\n".repeat(130),
);
const soup = fc.array(part, { maxLength: 12 }).map((parts) => parts.join(""));

describe("both scanners of heads", () => {
  it("agree on requests, and on what only begins like one", () => {
    fc.assert(
      fc.property(soup, fc.integer({ min: 1, max: 50 }), fc.boolean(), (text, size, begins) => {
        agree(requestVerdicts(begins ? `GET / HTTP/1.1\r\n${text}` : text, size));
      }),
      { numRuns: 4000 },
    );
  });

  it("agree on responses, and on what only begins like one", () => {
    fc.assert(
      fc.property(soup, fc.integer({ min: 1, max: 50 }), fc.boolean(), (text, size, begins) => {
        agree(responseVerdicts(begins ? `HTTP/1.1 200 OK\r\n${text}` : text, size));
      }),
      { numRuns: 4000 },
    );
  });

  it("agree on every prefix and every one-byte change of a head", () => {
    const request = "POST /a?b HTTP/1.1\r\nHost: a.test\r\nX: y z\t\r\nE:\r\n\r\n";
    const response = "HTTP/1.1 200 All right\r\nA: b\r\nE:\r\n\r\n";
    for (let at = 0; at <= request.length; at++) {
      agree(requestVerdicts(request.slice(0, at), 1));
      for (let code = 0; code < 256; code++) {
        agree(requestVerdicts(request.slice(0, at) + String.fromCharCode(code) + request.slice(at + 1), 7));
      }
    }
    for (let at = 0; at <= response.length; at++) {
      agree(responseVerdicts(response.slice(0, at), 1));
      for (let code = 0; code < 256; code++) {
        agree(
          responseVerdicts(response.slice(0, at) + String.fromCharCode(code) + response.slice(at + 1), 7),
        );
      }
    }
  });
});

/** A head of `length` bytes, and one of `count` fields. */
function filled(length: number): string {
  const text = "GET / HTTP/1.1\r\nA: \r\n\r\n";
  return text.replace("A: ", `A: ${"x".repeat(length - text.length)}`);
}
const fields = (count: number): Buffer => Buffer.from(`GET / HTTP/1.1\r\n${"A:\r\n".repeat(count)}\r\n`);

describe("bounds of a head", () => {
  const rows: [string, string, number][] = [
    ["a head of just the most bytes", filled(MAX_HEAD), COMPLETE],
    ["a head of one byte more", filled(MAX_HEAD + 1), 431],
    ["a target of just the most bytes", `GET /${"a".repeat(MAX_TARGET - 1)} HTTP/1.1\r\n\r\n`, COMPLETE],
    ["a target of one byte more", `GET /${"a".repeat(MAX_TARGET)} HTTP/1.1\r\n\r\n`, 414],
  ];
  for (const [name, text, expected] of rows) {
    it(name, () => {
      const [whole, pieces] = requestVerdicts(text, 3);
      assert.equal(pieces, expected);
      assert.ok(whole === expected || (whole === INCOMPLETE && expected === 431));
    });
  }

  it("fields: just the most, and one more", () => {
    const most = fields(MAX_HEADER_FIELDS);
    assert.equal(scanRequestHead(most, 0, most.length, 10), COMPLETE);
    assert.equal(head.fields, MAX_HEADER_FIELDS);
    const more = fields(MAX_HEADER_FIELDS + 1);
    assert.equal(scanRequestHead(more, 0, more.length, 10), 431);
    assert.equal(advanceRequest(startHead(), more, 0, more.length, 9999, 10), 431);
  });
});

describe("what a scan finds", () => {
  it("are the parts of the head, without the white space around values", () => {
    const bytes = Buffer.from(
      "??PUT /x?y HTTP/1.0\r\nHoSt: \t a b \t\r\nEmpty: \r\nX-Forwarded-For:1\r\nx-forwarded-for: 2\r\n\r\nrest",
    );
    assert.equal(scanRequestHead(bytes, 2, bytes.length, 100), COMPLETE);
    readText(bytes);
    assert.equal(bytes.latin1Slice(head.start, head.methodEnd), "PUT");
    assert.equal(bytes.latin1Slice(head.targetStart, head.targetEnd), "/x?y");
    assert.equal(head.minor, 0);
    assert.equal(bytes.latin1Slice(head.end), "rest");
    assert.deepEqual(
      [0, 1, 2, 3].map((field) => [nameText(field), valueText(field)]),
      [
        ["host", "a b"],
        ["empty", ""],
        ["x-forwarded-for", "1"],
        ["x-forwarded-for", "2"],
      ],
    );
    assert.equal(joinedValue(FIELD.xForwardedFor), "1, 2");
  });
});
