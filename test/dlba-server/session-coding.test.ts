/** Which responses are compressed on their way through a session, and what their clients get. */
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { brotliDecompressSync, gunzipSync, zstdDecompressSync } from "node:zlib";
import * as fc from "fast-check";
import { CODINGS, type Compression } from "../../dlba-server/http/content-coding.ts";
import {
  createEngine,
  type Engine,
  type EngineOptions,
  fieldsOf,
  statuses,
  testEnv,
} from "./recorder-port.ts";
import { rulesOf } from "./rules/asked.ts";

const COMPRESSION: Compression = {
  codings: CODINGS,
  types: new Set(["text/*", "application/json"]),
  least_bytes: 10,
};
const TEXT = "All happy families are alike. ".repeat(20);
const DECODERS = { gzip: gunzipSync, br: brotliDecompressSync, zstd: zstdDecompressSync };

function engineOf(options: Omit<EngineOptions, "env"> = {}): Engine {
  return createEngine({ ...options, env: testEnv({ compression: COMPRESSION }) });
}

function ask(engine: Engine, accepted: string | undefined, line = "GET / HTTP/1.1"): void {
  engine.client(
    `${line}\r\nHost: a\r\n${accepted === undefined ? "" : `Accept-Encoding: ${accepted}\r\n`}\r\n`,
  );
}

/** The data of a chunked body. */
function unchunked(body: string): Buffer {
  let data = "";
  let at = 0;
  for (;;) {
    const end = body.indexOf("\r\n", at);
    const size = Number.parseInt(body.slice(at, end), 16);
    if (size === 0) {
      assert.equal(body.slice(end), "\r\n\r\n");
      return Buffer.from(data, "latin1");
    }
    data += body.slice(end + 2, end + 2 + size);
    at = end + 2 + size + 2;
    assert.equal(body.slice(at - 2, at), "\r\n");
  }
}

/** Head fields and decoded content of the only response. */
function got(engine: Engine): { fields: Map<string, string[]>; content: string } {
  const text = engine.record.toClient;
  const fields = fieldsOf(text);
  const body = text.slice(text.indexOf("\r\n\r\n") + 4);
  const coding = fields.get("content-encoding")?.[0] as keyof typeof DECODERS | undefined;
  if (coding === undefined || fields.has("content-length")) return { fields, content: body };
  assert.deepEqual(fields.get("transfer-encoding"), ["chunked"]);
  return { fields, content: DECODERS[coding](unchunked(body)).toString("latin1") };
}

const response = (fields: string, body = TEXT, status = "200 OK"): string =>
  `HTTP/1.1 ${status}\r\n${fields}Content-Length: ${body.length}\r\n\r\n${body}`;

describe("a response is compressed with what its client likes best", () => {
  for (const coding of CODINGS) {
    it(coding, () => {
      const engine = engineOf();
      ask(engine, coding);
      engine.server(
        response(
          'Content-Type: text/html; charset=utf-8\r\nETag: "a"\r\nAccept-Ranges: bytes\r\nVary: Origin\r\n',
        ),
      );
      const { fields, content } = got(engine);
      assert.equal(content, TEXT);
      assert.deepEqual(fields.get("content-encoding"), [coding]);
      assert.deepEqual(fields.get("etag"), ['W/"a"']);
      assert.deepEqual(fields.get("vary"), ["Origin", "Accept-Encoding"]);
      assert.equal(fields.has("accept-ranges"), false);
      assert.ok(engine.record.toClient.length < TEXT.length);
      assert.equal(engine.record.exchanges[0]!.isReusable, true);
    });
  }

  it("one after the other on a connection, each as its own request says", () => {
    const engine = engineOf();
    for (const accepted of ["gzip", undefined, "br"]) {
      ask(engine, accepted);
      engine.server(response("Content-Type: text/plain\r\n"));
    }
    assert.deepEqual(statuses(engine.record.toClient), [200, 200, 200]);
    assert.deepEqual(engine.record.toClient.match(/Content-Encoding: \w+/g), [
      "Content-Encoding: gzip",
      "Content-Encoding: br",
    ]);
    assert.equal(engine.record.end, "");
  });

  it("whether its end is told by chunks or by the close, and the connection goes on", () => {
    const chunked = `HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nTransfer-Encoding: chunked\r\n\r\n${TEXT.length.toString(16)}\r\n${TEXT}\r\n0\r\nX-Sum: 1\r\n\r\n`;
    const closed = `HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n\r\n${TEXT}`;
    for (const text of [chunked, closed]) {
      const engine = engineOf();
      ask(engine, "gzip");
      engine.server(text);
      if (text === closed) engine.serverEnd();
      assert.equal(got(engine).content, TEXT);
      assert.equal(engine.record.end, "");
    }
  });

  it("with the changes of rules", () => {
    const set = [{ name: "X-A", value: "1" }];
    const rules = rulesOf({ response_headers: { set, remove: ["Server"] } });
    const engine = createEngine({ env: testEnv({ compression: COMPRESSION, rules }) });
    ask(engine, "gzip");
    engine.server(response("Content-Type: text/plain\r\nServer: x\r\n"));
    const { fields, content } = got(engine);
    assert.deepEqual([content, fields.get("x-a"), fields.has("server")], [TEXT, ["1"], false]);
  });
});

describe("a response goes as it is", () => {
  const type = "Content-Type: text/plain\r\n";
  const rows: [name: string, accepted: string | undefined, text: string, hasVary: boolean][] = [
    ["to a client that accepts nothing", undefined, response(type), true],
    ["to a client that refuses codings", "gzip;q=0", response(type), true],
    ["of another type", "gzip", response("Content-Type: image/png\r\n"), false],
    ["without a type", "gzip", response(""), false],
    ["that is coded already", "gzip", response(`${type}Content-Encoding: br\r\n`), false],
    [
      "that must not be transformed",
      "gzip",
      response(`${type}Cache-Control: max-age=1, no-transform\r\n`),
      false,
    ],
    ["that is small", "gzip", response(type, "short"), false],
    ["that is empty", "gzip", response(type, ""), false],
    [
      "that is a part",
      "gzip",
      response(`${type}Content-Range: bytes 0-9/99\r\n`, TEXT, "206 Partial Content"),
      false,
    ],
    ["with a digest of its bytes", "gzip", response(`${type}Content-Digest: sha-256=:x:\r\n`), false],
    ["204", "gzip", "HTTP/1.1 204 No Content\r\nContent-Type: text/plain\r\n\r\n", false],
    ["304, but for Vary", "gzip", 'HTTP/1.1 304 Not Modified\r\nETag: "a"\r\n\r\n', true],
  ];
  for (const [name, accepted, text, hasVary] of rows) {
    it(name, () => {
      const engine = engineOf();
      ask(engine, accepted);
      engine.server(text);
      const { fields, content } = got(engine);
      assert.equal(fields.get("content-encoding")?.includes("gzip") ?? false, false);
      assert.equal(content, text.slice(text.indexOf("\r\n\r\n") + 4));
      assert.equal(fields.has("vary"), hasVary);
      assert.deepEqual(fields.get("etag"), fieldsOf(text).get("etag"));
    });
  }

  it("while too many are being compressed", () => {
    const engine = engineOf({ isCodingFull: true });
    ask(engine, "gzip");
    engine.server(response(type));
    const { fields, content } = got(engine);
    assert.deepEqual([content, fields.get("vary")], [TEXT, ["Accept-Encoding"]]);
  });

  it("to HTTP/1.0", () => {
    const engine = engineOf();
    ask(engine, "gzip", "GET / HTTP/1.0");
    engine.server(response(type));
    assert.equal(got(engine).content, TEXT);
  });

  it("with a Vary of its own that says enough", () => {
    for (const vary of ["*", "Origin, accept-encoding"]) {
      const engine = engineOf();
      ask(engine, undefined);
      engine.server(response(`${type}Vary: ${vary}\r\n`));
      assert.deepEqual(got(engine).fields.get("vary"), [vary]);
    }
  });
});

it("HEAD gets the head that GET would get, and no content", () => {
  const engine = engineOf();
  ask(engine, "gzip", "HEAD / HTTP/1.1");
  engine.server(
    `HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nETag: W/"b"\r\nContent-Length: ${TEXT.length}\r\n\r\n`,
  );
  const fields = fieldsOf(engine.record.toClient);
  assert.deepEqual(fields.get("content-encoding"), ["gzip"]);
  assert.deepEqual(fields.get("etag"), ['W/"b"']);
  assert.equal(fields.has("content-length"), false);
  assert.match(engine.record.toClient, /\r\n\r\n$/);
  assert.equal(engine.record.end, "");
});

it("events are not held back, and a response that breaks off is cut", () => {
  for (const coding of CODINGS) {
    const engine = engineOf();
    ask(engine, coding);
    engine.server("HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n");
    for (const event of ["data: one\n\n", "data: two\n\n"]) {
      const before = engine.record.toClient.length;
      engine.server(`${event.length.toString(16)}\r\n${event}\r\n`);
      assert.ok(engine.record.toClient.length > before, `${coding} has sent ${event}`);
    }
    const body = engine.record.toClient.slice(engine.record.toClient.indexOf("\r\n\r\n") + 4);
    const sent = unchunked(`${body}0\r\n\r\n`);
    if (coding === "gzip") {
      // 2: what is there so far is enough, the end is missing.
      assert.equal(gunzipSync(sent, { finishFlush: 2 }).toString(), "data: one\n\ndata: two\n\n");
    }
    engine.serverEnd();
    assert.equal(engine.record.end, "aborted");
  }
});

it("content arrives whole, however it comes", () => {
  fc.assert(
    fc.property(
      fc.constantFrom(...CODINGS),
      fc.array(fc.uint8Array({ minLength: 1, maxLength: 3000 }), { minLength: 1, maxLength: 6 }),
      fc.constantFrom("length", "chunked", "close"),
      (coding, pieces, framing) => {
        const engine = engineOf();
        ask(engine, coding);
        const texts = pieces.map((piece) => Buffer.from(piece).toString("latin1"));
        const length = texts.join("").length;
        const line =
          framing === "length"
            ? `Content-Length: ${length}\r\n`
            : framing === "chunked"
              ? "Transfer-Encoding: chunked\r\n"
              : "";
        engine.server(`HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n${line}\r\n`);
        for (const text of texts) {
          engine.server(framing === "chunked" ? `${text.length.toString(16)}\r\n${text}\r\n` : text);
        }
        if (framing === "chunked") engine.server("0\r\n\r\n");
        if (framing === "close") engine.serverEnd();
        const isSmall = framing === "length" && length < COMPRESSION.least_bytes;
        const { fields, content } = got(engine);
        assert.equal(content, texts.join(""));
        assert.equal(fields.has("content-encoding"), !isSmall);
      },
    ),
    { numRuns: 60 },
  );
});
