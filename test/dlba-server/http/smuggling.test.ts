/**
 * Requests made so that two readers see different ends. Each must be refused before a web server sees it
 * (or, when the body is at fault, leave a web server's connection that is never used again), and what is
 * hidden behind must never be taken for a request.
 */
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { createEngine, fieldsOf, OK, statuses } from "../recorder-port.ts";

const HIDDEN = "GET /hidden HTTP/1.1\r\nHost: h\r\n\r\n";
const TE = "Transfer-Encoding: chunked\r\n";
const CL = "Content-Length: 5\r\n";

/** A request head with these lines between the Host and the end. */
const post = (lines: string): string => `POST / HTTP/1.1\r\nHost: h\r\n${lines}\r\n`;
const get = (lines: string): string => `GET / HTTP/1.1\r\nHost: h\r\n${lines}\r\n`;

/** Feeds the bytes at once and one by one: the verdict is the same. */
function refusals(bytes: string): ReturnType<typeof createEngine>[] {
  const whole = createEngine();
  whole.client(bytes);
  const single = createEngine();
  for (const byte of Buffer.from(bytes, "latin1")) {
    if (single.record.end === "") single.client(Buffer.from([byte]));
  }
  return [whole, single];
}

const heads: [string, string, number][] = [
  // Two framings.
  ["Content-Length and Transfer-Encoding", post(CL + TE), 400],
  ["Transfer-Encoding and Content-Length", post(TE + CL), 400],
  ["Content-Length: 0 and Transfer-Encoding", post(`Content-Length: 0\r\n${TE}`), 400],
  ["Content-Length and an unknown coding", post(`${CL}Transfer-Encoding: xchunked\r\n`), 400],
  [
    "Content-Length and Transfer-Encoding with Connection: close",
    post(`${CL}${TE}Connection: close\r\n`),
    400,
  ],
  // Content-Length.
  ["two different lengths", post(`${CL}Content-Length: 6\r\n`), 400],
  ["two equal lengths", post(CL + CL), 400],
  ["a list of equal lengths", post("Content-Length: 5, 5\r\n"), 400],
  ["a list of different lengths", post("Content-Length: 5, 6\r\n"), 400],
  ["a length with a plus", post("Content-Length: +5\r\n"), 400],
  ["a negative length", post("Content-Length: -5\r\n"), 400],
  ["a length of minus zero", post("Content-Length: -0\r\n"), 400],
  ["a hexadecimal length", post("Content-Length: 0x5\r\n"), 400],
  ["an octal length", post("Content-Length: 0o5\r\n"), 400],
  ["a length with leading zeros", post("Content-Length: 010\r\n"), 400],
  ["a length of two zeros", post("Content-Length: 00\r\n"), 400],
  ["a length with a space inside", post("Content-Length: 5 5\r\n"), 400],
  ["a length with an underscore", post("Content-Length: 1_0\r\n"), 400],
  ["a fractional length", post("Content-Length: 5.0\r\n"), 400],
  ["a length with an exponent", post("Content-Length: 5e1\r\n"), 400],
  ["an empty length", post("Content-Length:\r\n"), 400],
  ["a length of words", post("Content-Length: five\r\n"), 400],
  ["a length beyond what can be counted", post("Content-Length: 9007199254740993\r\n"), 400],
  ["a length that wraps around 64 bits", post("Content-Length: 18446744073709551621\r\n"), 400],
  ["a length in quotes", post('Content-Length: "5"\r\n'), 400],
  ["a length with a semicolon", post("Content-Length: 5;a\r\n"), 400],
  // Transfer-Encoding.
  ["chunked twice in a list", post("Transfer-Encoding: chunked, chunked\r\n"), 400],
  ["chunked twice in two fields", post(TE + TE), 400],
  ["chunked and identity in two fields", post(`${TE}Transfer-Encoding: identity\r\n`), 400],
  ["identity and chunked in two fields", post(`Transfer-Encoding: identity\r\n${TE}`), 400],
  ["chunked not last", post("Transfer-Encoding: chunked, gzip\r\n"), 400],
  ["gzip before chunked", post("Transfer-Encoding: gzip, chunked\r\n"), 400],
  ["identity alone", post("Transfer-Encoding: identity\r\n"), 501],
  ["gzip alone", post("Transfer-Encoding: gzip\r\n"), 501],
  ["xchunked", post("Transfer-Encoding: xchunked\r\n"), 501],
  ["chunked with a comma before", post("Transfer-Encoding: , chunked\r\n"), 400],
  ["chunked with a comma after", post("Transfer-Encoding: chunked,\r\n"), 400],
  ["chunked with a parameter", post("Transfer-Encoding: chunked;a=b\r\n"), 400],
  ["chunked in quotes", post('Transfer-Encoding: "chunked"\r\n'), 400],
  ["an empty coding", post("Transfer-Encoding:\r\n"), 400],
  ["chunked behind a vertical tab", post("Transfer-Encoding: \x0bchunked\r\n"), 400],
  ["chunked behind a form feed", post("Transfer-Encoding: \x0cchunked\r\n"), 400],
  ["chunked before a NUL", post("Transfer-Encoding: chunked\0\r\n"), 400],
  ["chunked behind a no-break space", post("Transfer-Encoding: \xa0chunked\r\n"), 400],
  ["chunked over HTTP/1.0", `POST / HTTP/1.0\r\nHost: h\r\n${TE}\r\n`, 400],
  ["Transfer_Encoding", post("Transfer_Encoding: chunked\r\n"), 400],
  ["Content_Length", post("Content_Length: 5\r\n"), 400],
  ["X_Forwarded_For", get("X_Forwarded_For: 1.1.1.1\r\n"), 400],
  // Field lines.
  ["a folded Transfer-Encoding", post("Transfer-Encoding:\r\n chunked\r\n"), 400],
  ["a folded line", get("A: b\r\n c\r\n"), 400],
  ["a line folded with a tab", get("A: b\r\n\tc\r\n"), 400],
  ["a space before the first field", `GET / HTTP/1.1\r\n Host: h\r\n\r\n`, 400],
  ["a space before the colon", post("Transfer-Encoding : chunked\r\n"), 400],
  ["a tab before the colon", post("Transfer-Encoding\t: chunked\r\n"), 400],
  ["a space inside a name", post("Transfer Encoding: chunked\r\n"), 400],
  ["a field without colon", get("Transfer-Encoding\r\n"), 400],
  ["a field without name", get(": chunked\r\n"), 400],
  ["a NUL in a name", post("Transfer-Encoding\0: chunked\r\n"), 400],
  ["a byte above 127 in a name", post("Transfer-Encod\xefng: chunked\r\n"), 400],
  ["a bracket in a name", get("A(b): c\r\n"), 400],
  ["a NUL in a value", get("A: b\0c\r\n"), 400],
  ["a DEL in a value", get("A: b\x7fc\r\n"), 400],
  ["a bare CR in a value", get("A: b\rTransfer-Encoding: chunked\r\n"), 400],
  ["a bare LF in a value", get("A: b\nTransfer-Encoding: chunked\r\n"), 400],
  ["a bare LF after the request line", "GET / HTTP/1.1\nHost: h\r\n\r\n", 400],
  ["a bare LF as the empty line", "GET / HTTP/1.1\r\nHost: h\r\n\n", 400],
  ["CR CR LF", get("A: b\r\r\n"), 400],
  ["bare LF throughout", "GET / HTTP/1.1\nHost: h\n\n", 400],
  ["bare LF before the request", `\n${get("")}`, 400],
  ["a bare CR before the request", `\r${get("")}`, 400],
  // Request lines.
  ["two spaces after the method", "GET  / HTTP/1.1\r\nHost: h\r\n\r\n", 400],
  ["two spaces before the version", "GET /  HTTP/1.1\r\nHost: h\r\n\r\n", 400],
  ["a space after the version", "GET / HTTP/1.1 \r\nHost: h\r\n\r\n", 400],
  ["a space before the method", " GET / HTTP/1.1\r\nHost: h\r\n\r\n", 400],
  ["a tab for a space", "GET\t/ HTTP/1.1\r\nHost: h\r\n\r\n", 400],
  ["a space in the target", "GET /a b HTTP/1.1\r\nHost: h\r\n\r\n", 400],
  ["a fragment in the target", "GET /a#b HTTP/1.1\r\nHost: h\r\n\r\n", 400],
  ["a byte above 127 in the target", "GET /\xe4 HTTP/1.1\r\nHost: h\r\n\r\n", 400],
  ["a NUL in the target", "GET /\0 HTTP/1.1\r\nHost: h\r\n\r\n", 400],
  ["a relative target", "GET a HTTP/1.1\r\nHost: h\r\n\r\n", 400],
  ["* for GET", "GET * HTTP/1.1\r\nHost: h\r\n\r\n", 400],
  ["no target", "GET HTTP/1.1\r\nHost: h\r\n\r\n", 400],
  ["no version", "GET /\r\n\r\n", 400],
  ["http/1.1 in lower case", "GET / http/1.1\r\nHost: h\r\n\r\n", 400],
  ["a version of three digits", "GET / HTTP/1.10\r\nHost: h\r\n\r\n", 400],
  ["a bracket in the method", "G(T / HTTP/1.1\r\nHost: h\r\n\r\n", 400],
  ["HTTP/1.2", "GET / HTTP/1.2\r\nHost: h\r\n\r\n", 505],
  ["HTTP/2.0", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505],
  ["HTTP/0.9", "GET / HTTP/0.9\r\nHost: h\r\n\r\n", 505],
  ["CONNECT", "CONNECT h:443 HTTP/1.1\r\nHost: h:443\r\n\r\n", 501],
  ["the start of TLS", "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", 400],
  // Hosts.
  ["no Host", "GET / HTTP/1.1\r\n\r\n", 400],
  ["two Hosts", get("Host: other\r\n"), 400],
  ["two equal Hosts", get("Host: h\r\n"), 400],
  ["an empty Host", "GET / HTTP/1.1\r\nHost:\r\n\r\n", 400],
  ["a list as Host", "GET / HTTP/1.1\r\nHost: a, b\r\n\r\n", 400],
  ["a list without space as Host", "GET / HTTP/1.1\r\nHost: a,b\r\n\r\n", 400],
  ["a user in Host", "GET / HTTP/1.1\r\nHost: u@h\r\n\r\n", 400],
  ["a path in Host", "GET / HTTP/1.1\r\nHost: h/p\r\n\r\n", 400],
  ["two ports in Host", "GET / HTTP/1.1\r\nHost: h:1:2\r\n\r\n", 400],
  ["a port of words in Host", "GET / HTTP/1.1\r\nHost: h:a\r\n\r\n", 400],
  ["a port too large in Host", "GET / HTTP/1.1\r\nHost: h:65536\r\n\r\n", 400],
  ["an open bracket in Host", "GET / HTTP/1.1\r\nHost: [::1\r\n\r\n", 400],
  ["a percent sign in Host", "GET / HTTP/1.1\r\nHost: %68\r\n\r\n", 400],
  ["a whole URL without Host", "GET http://h/ HTTP/1.1\r\n\r\n", 400],
  ["a whole URL with a user", "GET http://u@h/ HTTP/1.1\r\nHost: h\r\n\r\n", 400],
  ["a whole URL of another scheme", "GET https://h/ HTTP/1.1\r\nHost: h\r\n\r\n", 400],
  ["a whole URL without authority", "GET http:///p HTTP/1.1\r\nHost: h\r\n\r\n", 400],
  ["a whole URL with an invalid Host beside", "GET http://h/ HTTP/1.1\r\nHost: a b\r\n\r\n", 400],
  // Connection.
  ["Connection: Content-Length", post(`${CL}Connection: Content-Length\r\n`), 400],
  ["Connection: Transfer-Encoding", post(`${TE}Connection: Transfer-Encoding, upgrade\r\n`), 400],
  ["Connection: Host", get("Connection: close, Host\r\n"), 400],
  ["Connection: Cookie", get("Connection: Cookie\r\n"), 400],
  ["Connection: X-Forwarded-For", get("Connection: X-Forwarded-For\r\n"), 400],
  ["Connection: X_Forwarded_For", get("Connection: X_Forwarded_For\r\n"), 400],
  ["Connection: Authorization", get("Connection: authorization\r\n"), 400],
  ["a Connection that is no list of tokens", get("Connection: close keep-alive\r\n"), 400],
  // Bounds and expectations.
  ["a target too long", `GET /${"a".repeat(2048)} HTTP/1.1\r\nHost: h\r\n\r\n`, 414],
  ["a head too large", get(`A: ${"b".repeat(8192)}\r\n`), 431],
  ["a method that never ends", "G".repeat(9000), 431],
  ["too many fields", get("A: b\r\n".repeat(128)), 431],
  ["an unknown expectation", get("Expect: 200-ok\r\n"), 417],
  ["a content too large", post("Content-Length: 1000001\r\n"), 413],
];

describe("a request head that could be read in two ways is refused", () => {
  for (const [name, bytes, status] of heads) {
    it(`${name}: ${status}`, () => {
      for (const engine of refusals(bytes + (status === 417 ? "" : HIDDEN))) {
        assert.deepEqual(statuses(engine.record.toClient), [status]);
        assert.deepEqual(engine.record.exchanges, [], "no web server hears of it");
        assert.deepEqual(engine.record.counts, [`own ${status}`]);
        if (status === 417) continue;
        assert.equal(engine.record.end, "closed", "nothing behind it is taken for a request");
        assert.deepEqual(fieldsOf(engine.record.toClient).get("connection"), ["close"]);
      }
    });
  }
});

const bodies: [string, string][] = [
  ["a size in 0x", "0x5\r\nhello\r\n0\r\n\r\n"],
  ["a size with a plus", "+5\r\nhello\r\n0\r\n\r\n"],
  ["a negative size", "-5\r\nhello\r\n0\r\n\r\n"],
  ["a size with an underscore", "0_5\r\nhello\r\n0\r\n\r\n"],
  ["a space before the size", " 5\r\nhello\r\n0\r\n\r\n"],
  ["a space after the size", "5 \r\nhello\r\n0\r\n\r\n"],
  ["a space before the extension", "5 ;a\r\nhello\r\n0\r\n\r\n"],
  ["no size", "\r\nhello\r\n0\r\n\r\n"],
  ["a size that is none", "xyz\r\nhello\r\n0\r\n\r\n"],
  ["a size beyond what can be counted", "fffffffffffffffff\r\nhello\r\n0\r\n\r\n"],
  ["a size with ever more zeros", `${"0".repeat(20)}5\r\nhello\r\n0\r\n\r\n`],
  ["a size line ended by a bare LF", "5\nhello\r\n0\r\n\r\n"],
  ["a size line ended by a bare CR", "5\rhello\r\n0\r\n\r\n"],
  ["data ended by a bare LF", "5\r\nhello\n0\r\n\r\n"],
  ["data ended by a bare CR", "5\r\nhello\r0\r\n\r\n"],
  ["data ended by CR and another byte", "5\r\nhello\rX0\r\n\r\n"],
  ["data without its CRLF", "5\r\nhello0\r\n\r\n"],
  ["more data than announced", "5\r\nhello!\r\n0\r\n\r\n"],
  ["less data than announced", "6\r\nhello\r\n0\r\n\r\n"],
  ["an extension without name", "5;\r\nhello\r\n0\r\n\r\n"],
  ["an extension that begins with a space", "5; a\r\nhello\r\n0\r\n\r\n"],
  ["an extension with a bare LF", "5;a\nhello\r\n0\r\n\r\n"],
  ["an extension with a bare CR", "5;a\rb\r\nhello\r\n0\r\n\r\n"],
  ["an extension with a NUL", "5;a\0\r\nhello\r\n0\r\n\r\n"],
  ["an extension with a byte above 127", "5;a\xff\r\nhello\r\n0\r\n\r\n"],
  ["an extension in quotes that hides a line", '5;a="\n"\r\nhello\r\n0\r\n\r\n'],
  ["an extension without end", `5;${"a".repeat(300)}\r\nhello\r\n0\r\n\r\n`],
  ["a last chunk ended by a bare LF", "5\r\nhello\r\n0\n\r\n"],
  ["trailers ended by a bare LF", "5\r\nhello\r\n0\r\n\n"],
  ["trailers ended by CR alone", "5\r\nhello\r\n0\r\n\rX"],
  ["a trailer ended by a bare LF", "5\r\nhello\r\n0\r\nA: b\n\r\n"],
  ["a folded trailer", "5\r\nhello\r\n0\r\nA: b\r\n c\r\n\r\n"],
  ["a trailer without colon", "5\r\nhello\r\n0\r\nAb\r\n\r\n"],
  ["a trailer without name", "5\r\nhello\r\n0\r\n: b\r\n\r\n"],
  ["a trailer with a space before its colon", "5\r\nhello\r\n0\r\nA : b\r\n\r\n"],
  ["a trailer with a NUL", "5\r\nhello\r\n0\r\nA: \0\r\n\r\n"],
  ["a Content-Length among the trailers", "5\r\nhello\r\n0\r\nContent-Length: 5\r\n\r\n"],
  ["a CONTENT_LENGTH among the trailers", "5\r\nhello\r\n0\r\nCONTENT_LENGTH: 5\r\n\r\n"],
  ["a Transfer-Encoding among the trailers", "5\r\nhello\r\n0\r\nTransfer-Encoding: chunked\r\n\r\n"],
  ["a Host among the trailers", "5\r\nhello\r\n0\r\nhost: evil\r\n\r\n"],
  ["a Connection among the trailers", "5\r\nhello\r\n0\r\nConnection: close\r\n\r\n"],
  ["an Authorization among the trailers", "5\r\nhello\r\n0\r\nAuthorization: x\r\n\r\n"],
  ["an X-Forwarded-For among the trailers", "5\r\nhello\r\n0\r\nX-Forwarded-For: 1.1.1.1\r\n\r\n"],
  ["trailers without end", `5\r\nhello\r\n0\r\n${"A: b\r\n".repeat(1400)}\r\n`],
];

describe("a chunked request body that could be read in two ways is refused", () => {
  for (const [name, body] of bodies) {
    it(name, () => {
      for (const engine of refusals(post(TE) + body + HIDDEN)) {
        assert.deepEqual(statuses(engine.record.toClient), [400]);
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
