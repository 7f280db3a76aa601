/** `show errors`: what an operator sees of refused requests and responses. */
import assert from "node:assert/strict";
import { test } from "node:test";
import * as fc from "fast-check";
import type { Refusal } from "../../conf/messages.ts";
import { errorsTable } from "../../status/errors-table.ts";

const refusal = (text: string, change: Partial<Refusal> = {}): Refusal => ({
  at_ms: Date.UTC(2026, 10, 21, 3, 4, 5, 6),
  kind: "request",
  vserver: "shop",
  client: "192.0.2.1",
  client_port: 4000,
  web_server: null,
  status: 400,
  bad_at: null,
  bytes: Buffer.from(text, "latin1").toString("base64"),
  length: text.length,
  ...change,
});

test("the bad byte is marked in its line, whatever it looks like", () => {
  const text = "GET / HTTP/1.1\r\nHost: a\r\nX:\ty\0z\r\n\r\n";
  const shown = errorsTable([refusal(text, { bad_at: text.indexOf("\0") })], "text");
  assert.equal(
    shown,
    [
      "[2026-11-21T03:04:05.006Z] vserver shop: a request of client 192.0.2.1:4000 was refused with 400; 35 bytes, byte 29 is wrong",
      "      0  GET / HTTP/1.1\\r\\n",
      "     16  Host: a\\r\\n",
      "     25  X:\\ty\\x00z\\r\\n",
      "              ^^^^",
      "     33  \\r\\n",
      "",
    ].join("\n"),
  );
});

test("responses tell their web server, newest first, and long ones are cut", () => {
  const late = refusal("HTTP/9.9 abc\r\n", {
    kind: "response",
    web_server: "web1",
    status: 502,
    at_ms: Date.UTC(2026, 10, 22),
    length: 5000,
  });
  const lines = errorsTable([refusal("x"), late], "text").split("\n");
  assert.match(
    lines[0]!,
    /a response of web server web1 was refused with 502; 5000 bytes, no byte by itself/,
  );
  assert.equal(lines[2], "         … 4986 more");
  assert.match(lines[3]!, /a request of client/);
  assert.equal(errorsTable([], "text"), "No request or response has been refused yet.\n");
});

test("JSON and CSV have the bytes in base64", () => {
  const parsed: unknown = JSON.parse(errorsTable([refusal("\0")], "json"));
  assert.deepEqual(parsed, {
    errors: [
      {
        time: "2026-11-21T03:04:05.006Z",
        kind: "request",
        vserver: "shop",
        client: "192.0.2.1",
        client_port: 4000,
        web_server: null,
        status: 400,
        bad_at: null,
        length: 1,
        bytes: "AA==",
      },
    ],
  });
  assert.match(
    errorsTable([refusal("a")], "csv"),
    /^Time,Kind,.*\n2026.*,request,shop,192\.0\.2\.1,4000,,400,,1,YQ==\n$/,
  );
});

test("no answer has an empty line or a control character, whatever was sent", () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 300 }), fc.nat(299), (bytes, bad_at) => {
      const text = Buffer.from(bytes).toString("latin1");
      const shown = errorsTable([refusal(text, { bad_at: bad_at < bytes.length ? bad_at : null })], "text");
      assert.match(shown, /^(?:[ -~…]+\n)+$/);
    }),
  );
});
