/** Frames that go: windows, ends and heads of every size. */
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import * as fc from "fast-check";
import {
  announceGoaway,
  endStream,
  resetStream,
  sendData,
  sendGoaway,
} from "../../../dlba-server/http2/output.ts";
import { sendResponseHead } from "../../../dlba-server/http2/response-fields.ts";
import { scanResponseHead } from "../../../dlba-server/http/head.ts";
import { readResponse } from "../../../dlba-server/http/response.ts";
import { CODE, FLAG, FRAME } from "../../../dlba-server/http2/wire.ts";
import { createHarness, frame, type Harness, number, POST, request, START } from "./harness.ts";

function sendHead(harness: Harness, id: number, text: string, added = ""): void {
  const bytes = Buffer.from(text.replaceAll("\n", "\r\n"), "latin1");
  scanResponseHead(bytes, 0, bytes.length);
  readResponse(bytes, false);
  sendResponseHead(harness.c, harness.stream(id), bytes, "node", null, added);
}
const say = (harness: Harness, id: number, text: string): void =>
  sendData(harness.c, harness.stream(id), Buffer.from(text), 0, text.length);
const started = (...frames: Buffer[]): Harness => {
  const harness = createHarness();
  harness.feed(Buffer.concat([START, ...frames]));
  harness.frames();
  return harness;
};

describe("responses", () => {
  test("the end is marked on the last frame that is still there", () => {
    const harness = started(request(1), request(3), request(5), request(7));
    sendHead(harness, 1, "HTTP/1.1 200 OK\nX-A: b\n\n");
    say(harness, 1, "body");
    endStream(harness.c, harness.stream(1), "");
    sendHead(harness, 3, "HTTP/1.1 204 No Content\n\n");
    endStream(harness.c, harness.stream(3), "");
    sendHead(
      harness,
      5,
      "HTTP/1.1 499 Odd\nContent-Length: 1\n\n",
      "Set-Cookie: a=b\r\nCache-Control: private\r\n",
    );
    assert.deepEqual(harness.told(), [
      "1 :status=200 x-a=b via=1.1 node",
      "1 data body end",
      "3 :status=204 via=1.1 node end",
      "5 :status=499 content-length=1 via=1.1 node set-cookie=a=b cache-control=private",
    ]);
    endStream(harness.c, harness.stream(5), "");
    sendHead(harness, 7, "HTTP/1.1 200 OK\n\n");
    say(harness, 7, "x");
    endStream(harness.c, harness.stream(7), "Grpc-Status: 0\r\nX:  y \r\n");
    assert.deepEqual(harness.told(), [
      "5 data  end",
      "7 :status=200 via=1.1 node",
      "7 data x",
      "7 grpc-status=0 x=y end",
    ]);
    assert.deepEqual(harness.heard.slice(-4), ["1 closed", "3 closed", "5 closed", "7 closed"]);
  });
  test("fields of the web server's connection stay behind", () => {
    const harness = started(request(1));
    const hop =
      "Connection: x-hop, keep-alive\nX-Hop: 1\nKeep-Alive: 5\nTransfer-Encoding: chunked\nUpgrade: h2c\n";
    sendHead(harness, 1, `HTTP/1.1 200 OK\n${hop}X: 1\n\n`);
    assert.deepEqual(harness.told(), ["1 :status=200 x=1 via=1.1 node"]);
  });
  test("a head that is larger than a frame goes on in others", () => {
    const harness = started(request(1));
    const fields = Array.from({ length: 60 }, (_, index) => `n${index}: ${"v".repeat(800)}\n`).join("");
    sendHead(harness, 1, `HTTP/1.1 200 OK\n${fields}\n`);
    endStream(harness.c, harness.stream(1), "");
    const frames = harness.frames();
    assert.deepEqual(
      frames.map(({ type }) => type),
      [FRAME.headers, FRAME.continuation, FRAME.continuation],
    );
    assert.deepEqual(
      frames.map(({ flags }) => flags),
      [FLAG.endStream, 0, FLAG.endHeaders],
    );
    assert.ok(frames.every(({ payload }) => payload.length <= 16_384));
  });
  test("an answer before the whole request has come ends the stream both ways", () => {
    const harness = started(request(1, POST, 0));
    sendHead(harness, 1, "HTTP/1.1 413 Large\n\n");
    endStream(harness.c, harness.stream(1), "");
    assert.deepEqual(harness.told(), ["1 :status=413 via=1.1 node end", "1 reset noError"]);
    harness.feed(frame(FRAME.data, FLAG.endStream, 1, [1]));
    assert.deepEqual(harness.told(), []);
  });
});

describe("windows", () => {
  test("data waits for its stream's window, and its end with it", () => {
    const harness = started(frame(FRAME.settings, 0, 0, [0, 4, 0, 0, 0, 3]), request(1));
    say(harness, 1, "abcdefgh");
    endStream(harness.c, harness.stream(1), "X-Last: 1\r\n");
    assert.deepEqual(harness.told(), ["1 data abc"]);
    harness.feed(frame(FRAME.windowUpdate, 0, 1, number(4)));
    assert.deepEqual(harness.told(), ["1 data defg"]);
    harness.feed(frame(FRAME.windowUpdate, 0, 1, number(4)));
    assert.deepEqual(harness.told(), ["1 data h", "1 x-last=1 end"]);
  });
  test("a larger first window counts for streams that wait, a smaller one may take windows below nothing", () => {
    const harness = started(frame(FRAME.settings, 0, 0, [0, 4, 0, 0, 0, 3]), request(1));
    say(harness, 1, "abcdef");
    harness.feed(frame(FRAME.settings, 0, 0, [0, 4, 0, 0, 0, 1]));
    assert.equal(harness.stream(1).sendWindow, -2);
    harness.feed(frame(FRAME.settings, 0, 0, [0, 4, 0, 0, 0, 5]));
    assert.deepEqual(harness.told(), ["1 data abc", "1 data de"]);
  });
  test("streams take turns at the connection's window", () => {
    const harness = started(request(1), request(3));
    sendData(harness.c, harness.stream(1), Buffer.alloc(65_000), 0, 65_000);
    say(harness, 3, "x".repeat(1000));
    harness.frames();
    assert.equal(harness.c.sendWindow, 0);
    say(harness, 1, "y".repeat(535));
    harness.feed(frame(FRAME.windowUpdate, 0, 0, number(1000)));
    const sizes = harness.frames().map(({ stream, payload }) => [stream, payload.length]);
    assert.deepEqual(sizes, [
      [3, 465],
      [1, 535],
    ]);
    assert.deepEqual(harness.heard.slice(-2), ["3 drained", "1 drained"]);
  });
  test("whatever the windows, all data arrives once, in order, and never more than they allow", () => {
    const step = fc.oneof(
      fc.record({ say: fc.integer({ min: 1, max: 30_000 }), stream: fc.constantFrom(1, 3) }),
      fc.record({ grow: fc.integer({ min: 1, max: 50_000 }), stream: fc.constantFrom(0, 1, 3) }),
    );
    fc.assert(
      fc.property(fc.array(step, { maxLength: 40 }), (steps) => {
        const harness = started(request(1), request(3));
        const sent = new Map([
          [1, Buffer.alloc(0)],
          [3, Buffer.alloc(0)],
        ]);
        const got = new Map(sent);
        const windows = new Map([
          [0, 65_535],
          [1, 65_535],
          [3, 65_535],
        ]);
        let next = 0;
        const collect = (): void => {
          for (const { stream, payload, type } of harness.frames()) {
            if (type !== FRAME.data) continue;
            got.set(stream, Buffer.concat([got.get(stream)!, payload]));
            for (const id of [0, stream]) windows.set(id, windows.get(id)! - payload.length);
            assert.ok(windows.get(0)! >= 0 && windows.get(stream)! >= 0);
          }
        };
        for (const one of steps) {
          if ("say" in one) {
            const bytes = Buffer.alloc(one.say, next++ & 255);
            sent.set(one.stream, Buffer.concat([sent.get(one.stream)!, bytes]));
            sendData(harness.c, harness.stream(one.stream), bytes, 0, bytes.length);
          } else {
            windows.set(one.stream, windows.get(one.stream)! + one.grow);
            harness.feed(frame(FRAME.windowUpdate, 0, one.stream, number(one.grow)));
          }
          collect();
        }
        for (const id of [0, 1, 3]) {
          windows.set(id, windows.get(id)! + 5_000_000);
          harness.feed(frame(FRAME.windowUpdate, 0, id, number(5_000_000)));
        }
        collect();
        assert.deepEqual(got, sent);
      }),
      { numRuns: 40 },
    );
  });
});

describe("farewells", () => {
  test("the first tells of the second, which comes when the client has heard of it", () => {
    const harness = started(request(1));
    announceGoaway(harness.c);
    assert.deepEqual(harness.told(), ["goaway 2147483647 noError", "ping 0000000000000000"]);
    harness.feed(Buffer.concat([request(3), frame(FRAME.ping, FLAG.ack, 0, Buffer.alloc(8))]));
    assert.equal(harness.heard.at(-1), "pinged");
    sendGoaway(harness.c, harness.c.lastStream, CODE.noError);
    assert.deepEqual(harness.told(), ["goaway 3 noError"]);
    harness.feed(request(5));
    assert.equal(harness.heard.at(-1), "pinged", "a request behind it is nobody's");
    harness.feed(frame(FRAME.ping, 0, 0, Buffer.alloc(8)));
    assert.deepEqual(harness.told(), ["ping 0000000000000000 ack"]);
  });
  test("a stream that is reset sends nothing of what was waiting", () => {
    const harness = started(frame(FRAME.settings, 0, 0, [0, 4, 0, 0, 0, 1]), request(1));
    const stream = harness.stream(1);
    say(harness, 1, "abc");
    resetStream(harness.c, stream, CODE.cancel);
    harness.feed(frame(FRAME.windowUpdate, 0, 1, number(10)));
    assert.deepEqual(harness.told(), ["1 data a", "1 reset cancel"]);
    assert.equal(stream.pending_bytes, 0);
  });
});
