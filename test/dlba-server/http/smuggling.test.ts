/**
 * Requests made so that two readers see different ends: those of the corpus that are refused, fed at once and byte by byte.
 * Each must be refused before a web server sees it (or, when the body is at fault, leave a web server's connection that is
 * never used again), and what is hidden behind must never be taken for a request.
 */
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { CORPUS_LIMITS, requestRows } from "../corpus/corpus.ts";
import { createEngine, fieldsOf, OK, statuses, testEnv } from "../recorder-port.ts";

const HIDDEN = "GET /hidden HTTP/1.1\r\nHost: h\r\n\r\n";
const TE = "Transfer-Encoding: chunked\r\n";

/** A request head with these lines between the Host and the end. */
const post = (lines: string): string => `POST / HTTP/1.1\r\nHost: h\r\n${lines}\r\n`;
const get = (lines: string): string => `GET / HTTP/1.1\r\nHost: h\r\n${lines}\r\n`;

/** Feeds the bytes at once and one by one: the verdict is the same. */
function refusals(bytes: string): ReturnType<typeof createEngine>[] {
  const options = { env: testEnv({ limits: CORPUS_LIMITS }) };
  const whole = createEngine(options);
  whole.client(bytes);
  const single = createEngine(options);
  for (const byte of Buffer.from(bytes, "latin1")) {
    if (single.record.end === "") single.client(Buffer.from([byte]));
  }
  return [whole, single];
}

const rows = [...requestRows.values()].flat();
/** Refused for what their head says, so that where the next request begins is unknown. */
const badHeads = rows.filter(
  ({ goes_on, breaks_off, answers }) => goes_on.length === 0 && breaks_off !== true && answers[0] !== 417,
);
/** Refused with the first wrong byte of their chunks; the client has not ended. */
const badBodies = rows.filter(({ breaks_off, request }) => breaks_off === true && request.endsWith(HIDDEN));

describe("a request head that could be read in two ways is refused", () => {
  for (const { name, request, answers } of badHeads.filter(({ request }) => request.endsWith(HIDDEN))) {
    it(`${name}: ${answers[0]}`, () => {
      for (const engine of refusals(request)) {
        assert.deepEqual(statuses(engine.record.toClient), answers);
        assert.deepEqual(engine.record.exchanges, [], "no web server hears of it");
        assert.deepEqual(engine.record.counts, [`own ${answers[0]}`]);
        assert.equal(engine.record.end, "closed", "nothing behind it is taken for a request");
        assert.deepEqual(fieldsOf(engine.record.toClient).get("connection"), ["close"]);
      }
    });
  }
});

describe("a chunked request body that could be read in two ways is refused", () => {
  for (const { name, request, answers } of badBodies) {
    it(name, () => {
      for (const engine of refusals(request)) {
        assert.deepEqual(statuses(engine.record.toClient), answers);
        assert.equal(engine.record.exchanges.length, 1);
        assert.equal(engine.record.exchanges[0]!.isReusable, false, "its connection serves nobody else");
        assert.ok(!engine.lastRequest.includes("/hidden"));
        assert.equal(engine.record.end, "closed");
      }
    });
  }

  it("and cuts the client off when its response has begun", () => {
    const engine = createEngine();
    engine.client(`${post(TE)}5\r\nhello\r\n`);
    engine.server("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n");
    engine.client("x");
    assert.equal(engine.record.end, "aborted");
    assert.deepEqual(statuses(engine.record.toClient), [200]);
  });

  it("refuses what grows past the limit with 413, when it is announced", () => {
    for (const size of ["f4241\r\n", "f4240\r\n"]) {
      const engine = createEngine();
      engine.client(post(TE) + size);
      assert.deepEqual(statuses(engine.record.toClient), size === "f4241\r\n" ? [413] : []);
    }
  });
});

describe("what hides a request in a well-formed one is relayed as its body", () => {
  it("by length", () => {
    const engine = createEngine();
    engine.client(post(`Content-Length: ${HIDDEN.length}\r\n`) + HIDDEN);
    engine.server(OK);
    assert.equal(engine.record.exchanges.length, 1);
    assert.ok(engine.lastRequest.endsWith(`\r\n\r\n${HIDDEN}`));
  });

  it("in a chunk", () => {
    for (const method of ["POST", "GET", "DELETE", "OPTIONS"]) {
      const engine = createEngine();
      const chunk = `${HIDDEN.length.toString(16)}\r\n${HIDDEN}\r\n0\r\n\r\n`;
      engine.client(post(TE).replace("POST", method) + chunk);
      engine.server(OK);
      assert.equal(engine.record.exchanges.length, 1);
      assert.ok(engine.lastRequest.endsWith(`\r\n\r\n${chunk}`));
      assert.deepEqual(fieldsOf(engine.lastRequest).get("transfer-encoding"), ["chunked"]);
    }
  });

  it("in the body of a GET with a length", () => {
    const engine = createEngine();
    engine.client(get(`Content-Length: ${HIDDEN.length}\r\n`) + HIDDEN);
    engine.server(OK);
    assert.equal(engine.record.exchanges.length, 1);
  });

  it("behind Expect: 100-continue that is answered with a final status", () => {
    const engine = createEngine();
    engine.client(post(`Expect: 100-continue\r\nContent-Length: ${HIDDEN.length}\r\n`));
    engine.server(OK);
    engine.client(HIDDEN);
    assert.equal(engine.record.exchanges.length, 1);
    assert.equal(engine.record.end, "closed");
  });

  it("a coding in another case goes on in the usual one", () => {
    const engine = createEngine();
    engine.client(`${post("TRANSFER-ENCODING: Chunked\r\n")}0\r\n\r\n`);
    assert.deepEqual(fieldsOf(engine.lastRequest).get("transfer-encoding"), ["chunked"]);
    assert.ok(!engine.lastRequest.includes("Chunked"));
  });

  it("a response in a response's body is no response", () => {
    const engine = createEngine();
    engine.client(get(""));
    engine.server(`HTTP/1.1 200 OK\r\nContent-Length: ${OK.length}\r\n\r\n${OK}`);
    assert.equal(engine.record.exchanges[0]!.isReusable, true);
    assert.deepEqual(engine.record.counts.at(-1), "response 0 200");
  });
});
