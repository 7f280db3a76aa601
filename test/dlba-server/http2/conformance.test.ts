/** What RFC 9113 says of frames and streams, row by row: what a client sends, and what it is told. */
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { HTTP2_CONNECTION_WINDOW_BYTES, HTTP2_STREAM_WINDOW_BYTES } from "../../../conf/limits.ts";
import { FLAG, FRAME, PREFACE } from "../../../dlba-server/http2/wire.ts";
import { block, createHarness, frame, GET, number, POST, request, SETTINGS, START } from "./harness.ts";

const {
  data,
  headers,
  continuation,
  priority,
  rstStream,
  settings,
  ping,
  goaway,
  windowUpdate,
  pushPromise,
} = FRAME;
const { endHeaders, endStream, padded, ack } = FLAG;
const cat = (...parts: readonly Uint8Array[]): Buffer => Buffer.concat(parts);
const setting = (name: number, value: number): Buffer => cat(Buffer.from([0, name]), number(value));
const open = (stream: number): Buffer => request(stream, POST, 0);
const without = (name: string): (readonly [string, string])[] => GET.filter(([one]) => one !== name);

/** Sent after the preface and the settings; answers to settings are not told. */
type Row = readonly [name: string, sent: Buffer, told: readonly string[]];

const failsWith = (code: string, last = 0): string[] => [`goaway ${last} ${code}`];

const FRAMES: readonly Row[] = [
  ["a frame of an unknown type", frame(200, 255, 77, [1, 2, 3]), []],
  ["a frame larger than was allowed", frame(data, 0, 1, Buffer.alloc(16_385)), failsWith("frameSizeError")],
  ["PUSH_PROMISE", frame(pushPromise, endHeaders, 1, number(2)), failsWith("protocolError")],
  ["a PING", frame(ping, 0, 0, Buffer.from("12345678")), ["ping 3132333435363738 ack"]],
  ["an answer to no PING", frame(ping, ack, 0, Buffer.alloc(8)), []],
  ["a PING on a stream", frame(ping, 0, 1, Buffer.alloc(8)), failsWith("protocolError")],
  ["a PING of another length", frame(ping, 0, 0, Buffer.alloc(7)), failsWith("frameSizeError")],
  ["GOAWAY on a stream", frame(goaway, 0, 1, Buffer.alloc(8)), failsWith("protocolError")],
  ["GOAWAY that is too short", frame(goaway, 0, 0, Buffer.alloc(4)), failsWith("frameSizeError")],
];

const SETTING_ROWS: readonly Row[] = [
  ["settings on a stream", frame(settings, 0, 1), failsWith("protocolError")],
  ["an acknowledgement with content", frame(settings, ack, 0, Buffer.alloc(6)), failsWith("frameSizeError")],
  ["settings of a broken length", frame(settings, 0, 0, Buffer.alloc(5)), failsWith("frameSizeError")],
  ["push neither on nor off", frame(settings, 0, 0, setting(2, 2)), failsWith("protocolError")],
  [
    "a window beyond the largest",
    frame(settings, 0, 0, setting(4, 0x80000000)),
    failsWith("flowControlError"),
  ],
  ["frames below the smallest", frame(settings, 0, 0, setting(5, 16_383)), failsWith("protocolError")],
  ["frames beyond the largest", frame(settings, 0, 0, setting(5, 0x1000000)), failsWith("protocolError")],
  ["a setting that nobody knows", frame(settings, 0, 0, setting(99, 1)), []],
  [
    "a window that a later size shifts beyond the largest",
    cat(
      open(1),
      frame(windowUpdate, 0, 1, number(0x7fff0000)),
      frame(settings, 0, 0, setting(4, 0x7fffffff)),
    ),
    failsWith("flowControlError", 1),
  ],
];

const IDLE: readonly Row[] = [
  ["data on an idle stream", frame(data, endStream, 1, [1]), failsWith("protocolError")],
  ["RST_STREAM on an idle stream", frame(rstStream, 0, 1, number(8)), failsWith("protocolError")],
  ["WINDOW_UPDATE on an idle stream", frame(windowUpdate, 0, 1, number(1)), failsWith("protocolError")],
  [
    "CONTINUATION on an idle stream",
    frame(continuation, endHeaders, 1, block(GET)),
    failsWith("protocolError"),
  ],
  ["PRIORITY on an idle stream", frame(priority, 0, 3, cat(number(1), Buffer.from([5]))), []],
  ["PRIORITY of another length", frame(priority, 0, 1, Buffer.alloc(4)), failsWith("frameSizeError")],
  ["PRIORITY of stream 0", frame(priority, 0, 0, Buffer.alloc(5)), failsWith("protocolError")],
  [
    "a stream that depends on itself",
    frame(priority, 0, 1, cat(number(1), Buffer.from([5]))),
    failsWith("protocolError"),
  ],
  ["data on stream 0", frame(data, 0, 0, [1]), failsWith("protocolError")],
  ["a head on stream 0", request(0), failsWith("protocolError")],
  ["a stream with an even number", request(2), failsWith("protocolError")],
  ["RST_STREAM on stream 0", frame(rstStream, 0, 0, number(8)), failsWith("protocolError")],
];

const STREAMS: readonly Row[] = [
  ["a stream with a number below the last one", cat(open(5), request(3)), failsWith("protocolError", 5)],
  ["data after the end", cat(request(1), frame(data, 0, 1, [1])), ["1 reset streamClosed"]],
  ["a head after the end", cat(request(1), request(1)), ["1 reset streamClosed"]],
  ["a second head that does not end", cat(open(1), request(1, [["x", "y"]], 0)), ["1 reset protocolError"]],
  [
    "a pseudo-header field in trailers",
    cat(open(1), request(1, [[":path", "/"]])),
    ["1 reset protocolError"],
  ],
  [
    "a field in trailers that frames",
    cat(open(1), request(1, [["content-length", "1"]])),
    ["1 reset protocolError"],
  ],
  [
    "RST_STREAM of another length",
    cat(open(1), frame(rstStream, 0, 1, [1, 2, 3])),
    failsWith("frameSizeError", 1),
  ],
  [
    "data on a stream that the client has reset",
    cat(open(1), frame(rstStream, 0, 1, number(8)), frame(data, 0, 1, [1])),
    ["1 reset streamClosed"],
  ],
  [
    "a head on a stream that the client has reset",
    cat(open(1), frame(rstStream, 0, 1, number(8)), request(1)),
    ["1 reset streamClosed"],
  ],
  [
    "a window's growth by nothing",
    cat(open(1), frame(windowUpdate, 0, 1, number(0))),
    ["1 reset protocolError"],
  ],
  [
    "the connection's window's growth by nothing",
    frame(windowUpdate, 0, 0, number(0)),
    failsWith("protocolError"),
  ],
  [
    "a stream's window beyond the largest",
    cat(open(1), frame(windowUpdate, 0, 1, number(0x7fffffff))),
    ["1 reset flowControlError"],
  ],
  [
    "the connection's window beyond the largest",
    frame(windowUpdate, 0, 0, number(0x7fffffff)),
    failsWith("flowControlError"),
  ],
  ["WINDOW_UPDATE of another length", frame(windowUpdate, 0, 0, [0, 0, 1]), failsWith("frameSizeError")],
  ["more padding than frame", cat(open(1), frame(data, padded, 1, [5, 1, 2])), failsWith("protocolError", 1)],
  [
    "a head with more padding than frame",
    frame(headers, padded | endHeaders, 1, [200, 1]),
    failsWith("protocolError"),
  ],
];

const BLOCKS: readonly Row[] = [
  ["a broken block", frame(headers, endHeaders | endStream, 1, [0x80]), failsWith("compressionError")],
  [
    "a head interrupted by another stream's",
    cat(frame(headers, endStream, 1, block(GET)), request(3)),
    failsWith("protocolError"),
  ],
  [
    "a head interrupted by a PING",
    cat(frame(headers, endStream, 1, block(GET)), frame(ping, 0, 0, Buffer.alloc(8))),
    failsWith("protocolError"),
  ],
  [
    "a head interrupted by an unknown frame",
    cat(frame(headers, endStream, 1, block(GET)), frame(99, 0, 0)),
    failsWith("protocolError"),
  ],
  [
    "a head continued on another stream",
    cat(frame(headers, endStream, 1, block(GET)), frame(continuation, endHeaders, 3)),
    failsWith("protocolError"),
  ],
  [
    "a continuation after the head's end",
    cat(request(1), frame(continuation, endHeaders, 1)),
    failsWith("protocolError", 1),
  ],
];

for (const [title, rows] of Object.entries({ FRAMES, SETTING_ROWS, IDLE, STREAMS, BLOCKS })) {
  describe(`RFC 9113: ${title.toLowerCase()}`, () => {
    for (const [name, sent, told] of rows) {
      test(name, () => {
        for (const size of [sent.length, 1, 7]) {
          const harness = createHarness();
          harness.feed(cat(START, sent), size);
          assert.deepEqual(harness.told(), told, `in pieces of ${size}`);
        }
      });
    }
  });
}

describe("the beginning", () => {
  test("settings, the connection's window and an acknowledgement are the first that a client gets", () => {
    const harness = createHarness();
    harness.feed(START, 1);
    const [first, second, third, ...rest] = harness.frames();
    assert.equal(first?.type, settings);
    assert.equal(second?.type, windowUpdate);
    assert.equal(second?.payload.readUInt32BE(0), HTTP2_CONNECTION_WINDOW_BYTES - 65_535);
    assert.deepEqual([third?.type, third?.flags], [settings, ack]);
    assert.deepEqual(rest, []);
  });
  test("another preface, or another first frame than settings, is the end", () => {
    for (const bytes of [
      Buffer.from("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\r"),
      cat(PREFACE, frame(ping, 0, 0, Buffer.alloc(8))),
    ]) {
      const harness = createHarness();
      harness.feed(bytes);
      assert.deepEqual(harness.told(), failsWith("protocolError"));
      assert.deepEqual(harness.heard, ["failed protocolError"]);
    }
  });
  test("nothing is taken after the connection has failed", () => {
    const harness = createHarness();
    harness.feed(cat(START, frame(data, 0, 0), request(1)));
    assert.deepEqual(harness.heard, ["failed protocolError"]);
  });
});

const malformed = (name: string, fields: readonly (readonly [string, string])[]): Row => [
  name,
  request(1, fields),
  [],
];
const MALFORMED: readonly Row[] = [
  malformed("no method", without(":method")),
  malformed("no scheme", without(":scheme")),
  malformed("no path", without(":path")),
  malformed("an empty path", [...without(":path"), [":path", ""]]),
  malformed("a path that does not begin with a slash", [...without(":path"), [":path", "a"]]),
  malformed("a path with a space", [...without(":path"), [":path", "/ HTTP/1.1"]]),
  malformed("a path with a line's end", [...without(":path"), [":path", "/\r\nx: y"]]),
  malformed("a path with a fragment", [...without(":path"), [":path", "/#a"]]),
  malformed("a method with a space", [...without(":method"), [":method", "GET /x"]]),
  malformed("a method with a line's end", [...without(":method"), [":method", "GET\r\n"]]),
  malformed("a scheme of another kind", [...without(":scheme"), [":scheme", "ftp"]]),
  malformed("an empty authority", [...without(":authority"), [":authority", ""]]),
  malformed("a method twice", [[":method", "GET"], ...GET]),
  malformed("a path twice", [...GET, [":path", "/"]]),
  malformed("an unknown pseudo-header field", [...GET, [":x", "y"]]),
  malformed("a response's pseudo-header field", [...GET, [":status", "200"]]),
  malformed("a protocol where none was offered", [[":protocol", "websocket"], ...GET]),
  malformed("a pseudo-header field behind another", [...GET.slice(1), ["x", "y"], [":method", "GET"]]),
  malformed("a name in upper case", [...GET, ["X", "y"]]),
  malformed("an empty name", [...GET, ["", "y"]]),
  malformed("a name with a colon", [...GET, ["x:", "y"]]),
  malformed("a name with a line's end", [...GET, ["x\r\ny", "z"]]),
  malformed("a name with a space", [...GET, ["x y", "z"]]),
  malformed("a value with CR LF", [...GET, ["x", "y\r\nz: 1"]]),
  malformed("a value with CR", [...GET, ["x", "y\rz"]]),
  malformed("a value with LF", [...GET, ["x", "y\nz"]]),
  malformed("a value with NUL", [...GET, ["x", "y\0z"]]),
  malformed("a value that begins with white space", [...GET, ["x", " y"]]),
  malformed("a value that ends with white space", [...GET, ["x", "y\t"]]),
  malformed("a cookie with CR LF", [...GET, ["cookie", "a=1\r\nx: y"]]),
  malformed("connection", [...GET, ["connection", "close"]]),
  malformed("proxy-connection", [...GET, ["proxy-connection", "keep-alive"]]),
  malformed("keep-alive", [...GET, ["keep-alive", "1"]]),
  malformed("transfer-encoding", [...GET, ["transfer-encoding", "chunked"]]),
  malformed("upgrade", [...GET, ["upgrade", "h2c"]]),
  malformed("TE with something else than trailers", [...GET, ["te", "gzip"]]),
  malformed("a host that is not the authority", [...GET, ["host", "b.example"]]),
  malformed("CONNECT with a path", [[":method", "CONNECT"], ...GET.slice(1)]),
  malformed("CONNECT without an authority", [[":method", "CONNECT"]]),
];

describe("malformed requests", () => {
  for (const [name, sent] of MALFORMED) {
    test(name, () => {
      const harness = createHarness();
      harness.feed(cat(START, sent));
      assert.deepEqual(harness.heard, ["1 refused 2 end"]);
    });
  }
  test("a field that was malformed when it went into the table is so when it comes by number", () => {
    const harness = createHarness();
    const bad = cat(block(GET), block([["x", "a\nb"]], 64));
    harness.feed(
      cat(START, frame(headers, 5, 1, bad), frame(headers, 5, 3, cat(block(GET), Buffer.from([0xbe])))),
    );
    assert.deepEqual(harness.heard, ["1 refused 2 end", "3 refused 2 end"]);
  });
});

const lines = (
  name: string,
  fields: readonly (readonly [string, string])[],
  head: string,
): readonly [string, Buffer, string] => [name, request(1, fields), head];
const GOOD = [
  lines("a plain request", GET, "GET / HTTP/1.1|host: a.example||"),
  lines(
    "fields in their order",
    [...GET, ["b", "1"], ["a", "2"]],
    "GET / HTTP/1.1|host: a.example|b: 1|a: 2||",
  ),
  lines("a host that is the authority", [...GET, ["host", "A.example"]], "GET / HTTP/1.1|host: a.example||"),
  lines(
    "a host alone",
    [...without(":authority"), ["host", "b.example"]],
    "GET / HTTP/1.1|host: b.example||",
  ),
  lines(
    "crumbs of a cookie",
    [...GET, ["cookie", "a=1"], ["x", "y"], ["cookie", "b=2"]],
    "GET / HTTP/1.1|host: a.example|x: y|cookie: a=1; b=2||",
  ),
  lines("TE", [...GET, ["te", "trailers"]], "GET / HTTP/1.1|host: a.example|te: trailers||"),
  lines(
    "OPTIONS of the server",
    [
      [":method", "OPTIONS"],
      [":scheme", "http"],
      [":path", "*"],
      [":authority", "a"],
    ],
    "OPTIONS * HTTP/1.1|host: a||",
  ),
  lines(
    "CONNECT",
    [
      [":method", "CONNECT"],
      [":authority", "a:1"],
    ],
    "CONNECT a:1 HTTP/1.1|host: a:1||",
  ),
  lines(
    "bytes beyond ASCII",
    [...GET, ["x", "\u00e4\u00ff"]],
    "GET / HTTP/1.1|host: a.example|x: \u00e4\u00ff||",
  ),
];
describe("good requests", () => {
  for (const [name, sent, head] of GOOD) {
    test(name, () => {
      const harness = createHarness();
      harness.feed(cat(START, sent), 3);
      assert.deepEqual(harness.heard, [`1 ${head} end`]);
    });
  }
  test("a head in pieces, padded and with a priority", () => {
    const harness = createHarness();
    const fields = block(GET);
    const first = cat(Buffer.from([2]), number(0), Buffer.from([9]), fields.subarray(0, 10), Buffer.alloc(2));
    const pieces = [
      frame(headers, padded | FLAG.priority | endStream, 1, first),
      frame(continuation, 0, 1, fields.subarray(10, 11)),
      frame(continuation, 0, 1),
      frame(continuation, endHeaders, 1, fields.subarray(11)),
    ];
    harness.feed(cat(START, ...pieces), 1);
    assert.deepEqual(harness.heard, ["1 GET / HTTP/1.1|host: a.example|| end"]);
  });
  test("data, trailers and the end", () => {
    const harness = createHarness();
    const sent = cat(
      open(1),
      frame(data, 0, 1, Buffer.from("ab")),
      frame(data, padded, 1, [1, 99, 0]),
      request(1, [["x-sum", "1"]]),
    );
    harness.feed(cat(START, sent), 1);
    assert.deepEqual(harness.heard, ["1 POST / HTTP/1.1|host: a.example||", "1 data abc", "1 end x-sum: 1|"]);
  });
});

const many = (count: number, length: number): (readonly [string, string])[] =>
  Array.from({ length: count }, (_, index) => [`n${index}`, "v".repeat(length)] as const);

describe("bounds of a head", () => {
  test("too many fields, and too long ones, are refused with 431", () => {
    for (const fields of [many(130, 1), many(2, 5000)]) {
      const harness = createHarness();
      harness.feed(cat(START, request(1, [...GET, ...fields])));
      assert.deepEqual(harness.heard, ["1 refused 431 end"]);
    }
  });
  test("a target that is too long is refused with 414", () => {
    const harness = createHarness();
    harness.feed(cat(START, request(1, [...without(":path"), [":path", `/${"a".repeat(2048)}`]])));
    assert.deepEqual(harness.heard, ["1 refused 414 end"]);
  });
});

describe("flow control, of what comes", () => {
  const piece = frame(data, 0, 1, Buffer.alloc(16_384));
  test("a stream's window is given back in portions of half of it", () => {
    const harness = createHarness();
    harness.feed(cat(START, open(1)));
    harness.frames();
    harness.feed(cat(piece, piece));
    assert.deepEqual(
      harness.frames().map(({ type, stream, payload }) => [type, stream, payload.readUInt32BE(0)]),
      [[windowUpdate, 1, 32_768]],
    );
  });
  test("nothing is given back of what nobody has taken, and who sends more is told", () => {
    const harness = createHarness({ takesData: false });
    harness.feed(cat(START, open(1), piece, piece, piece));
    assert.deepEqual(harness.told(), []);
    assert.equal(harness.stream(1).receiveWindow, HTTP2_STREAM_WINDOW_BYTES - 3 * 16_384);
    harness.feed(piece);
    assert.deepEqual(harness.told(), ["1 reset flowControlError"]);
  });
  test("the connection's window bounds all streams together", () => {
    const harness = createHarness({ takesData: false });
    harness.feed(START);
    const streams = Math.ceil(HTTP2_CONNECTION_WINDOW_BYTES / (3 * 16_384)) + 1;
    for (let index = 0; index < streams; index++) {
      const id = index * 2 + 1;
      const part = frame(data, 0, id, Buffer.alloc(16_384));
      harness.feed(cat(open(id), part, part, part));
    }
    assert.match(harness.told().at(-1)!, /^goaway \d+ flowControlError$/);
  });
});

test("streams beyond the number that was allowed are refused, and the others go on", () => {
  const harness = createHarness({ streams: 2 });
  harness.feed(cat(START, request(1), request(3), request(5), frame(ping, 0, 0, Buffer.alloc(8))));
  assert.deepEqual(harness.told(), ["5 reset refusedStream", "ping 0000000000000000 ack"]);
  assert.equal(harness.heard.length, 2);
});

test("settings come again at any time", () => {
  const harness = createHarness();
  harness.feed(cat(START, SETTINGS, SETTINGS));
  assert.equal(harness.frames().filter(({ type, flags }) => type === settings && flags === ack).length, 3);
});
