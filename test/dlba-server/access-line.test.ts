/** The access log's lines: one for each request, whatever a client has sent. */
import assert from "node:assert/strict";
import { test } from "node:test";
import * as fc from "fast-check";
import { type Access, accessLine } from "../../dlba-server/access-line.ts";

const AT_MS = Date.UTC(2026, 10, 5, 9, 3, 7, 250);
const access = (change: Partial<Access> = {}): Access => ({
  at_ms: AT_MS,
  node: "node1",
  vserver: "shop",
  client: "2001:db8::9",
  clientPort: 40_123,
  request: {
    line: "GET /a?b=1 HTTP/1.1",
    host: "example.org",
    referer: "https://e.org/",
    userAgent: "curl/8",
  },
  requestId: "",
  traceparent: "",
  status: 200,
  sent_bytes: 512,
  received_bytes: 0,
  webServer: "web1",
  response_ms: 3.1234,
  total_ms: 7.5,
  end: "done",
  ...change,
});

test("combined is what web servers write", () => {
  assert.equal(
    accessLine("combined", access()),
    '2001:db8::9 - - [05/Nov/2026:09:03:07 +0000] "GET /a?b=1 HTTP/1.1" 200 512 "https://e.org/" "curl/8"\n',
  );
  const bare = { line: "GET / HTTP/1.0", host: "", referer: "", userAgent: "" };
  assert.equal(
    accessLine("combined", access({ client: "192.0.2.1", request: bare, status: 0, sent_bytes: 0 })),
    '192.0.2.1 - - [05/Nov/2026:09:03:07 +0000] "GET / HTTP/1.0" 0 0 "-" "-"\n',
  );
  assert.match(
    accessLine("combined", access({ request: undefined, status: 400 })),
    /\] "-" 400 512 "-" "-"\n$/,
  );
});

test("JSON has everything, and nothing that there was not", () => {
  assert.deepEqual(JSON.parse(accessLine("json", access({ requestId: "r1" }))), {
    time: "2026-11-05T09:03:07.250Z",
    node: "node1",
    vserver: "shop",
    client: "2001:db8::9",
    client_port: 40_123,
    request: "GET /a?b=1 HTTP/1.1",
    host: "example.org",
    referer: "https://e.org/",
    user_agent: "curl/8",
    request_id: "r1",
    status: 200,
    sent_bytes: 512,
    web_server: "web1",
    response_ms: 3.1,
    total_ms: 7.5,
    end: "done",
  });
  const refused = access({ request: undefined, webServer: "", response_ms: undefined, end: "cut" });
  const keys = Object.keys(JSON.parse(accessLine("json", refused)));
  assert.deepEqual(keys, [
    "time",
    "node",
    "vserver",
    "client",
    "client_port",
    "status",
    "sent_bytes",
    "total_ms",
    "end",
  ]);
});

const dateAt = (at_ms: number): string => /\[.*\]/.exec(accessLine("combined", access({ at_ms })))![0];

test("the date follows the second", () => {
  assert.equal(dateAt(AT_MS + 749), "[05/Nov/2026:09:03:07 +0000]");
  assert.equal(dateAt(AT_MS + 750), "[05/Nov/2026:09:03:08 +0000]");
  assert.equal(dateAt(Date.UTC(2027, 0, 1)), "[01/Jan/2027:00:00:00 +0000]");
});

test("no text breaks a line or leaves its quotes", () => {
  const bytes = fc.uint8Array({ maxLength: 40 }).map((all) => Buffer.from(all).toString("latin1"));
  fc.assert(
    fc.property(bytes, bytes, bytes, (line, referer, userAgent) => {
      const request = { line, host: line, referer, userAgent };
      const combined = accessLine("combined", access({ request }));
      assert.match(combined, /^[ -~]+\n$/);
      assert.equal(combined.split('"').length, 7, "three texts in quotes");
      const json = accessLine("json", access({ request }));
      assert.match(json, /^[ -~]+\n$/);
      const parsed: unknown = JSON.parse(json);
      assert.ok(typeof parsed === "object" && parsed !== null && "request" in parsed);
      assert.equal(parsed.request, line);
    }),
  );
});
