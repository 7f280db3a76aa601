/** The PROXY protocol's header: what is one, what never will be, and that we read what we write. */
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import * as fc from "fast-check";
import { formatIp, parseIp } from "../../conf/address.ts";
import { readProxyHeader, writeProxyHeader } from "../../dlba-server/proxy-header.ts";

const read = (text: string) => readProxyHeader(Buffer.from(text, "latin1"));
const SIGNATURE = "\r\n\r\n\0\r\nQUIT\n";
const v2 = (command: number, kind: number, rest: string, length = rest.length): string =>
  SIGNATURE + String.fromCharCode(command, kind, length >> 8, length & 255) + rest;
const IPV4 = "\xc0\0\x02\x07\xc6\x33\x64\x01\x9c\x40\x01\xbb";

describe("good headers", () => {
  for (const [name, text, source] of [
    [
      "TCP over IPv4",
      "PROXY TCP4 192.0.2.7 198.51.100.1 40000 443\r\n",
      { address: "192.0.2.7", port: 40_000 },
    ],
    ["TCP over IPv6", "PROXY TCP6 2001:DB8::7 2001:db8::1 1 65535\r\n", { address: "2001:db8::7", port: 1 }],
    ["an unknown one", "PROXY UNKNOWN\r\n", undefined],
    ["an unknown one with more", "PROXY UNKNOWN ffff:f...f:ffff 65535 65535\r\n", undefined],
    ["version 2, IPv4", v2(0x21, 0x11, IPV4), { address: "192.0.2.7", port: 40_000 }],
    [
      "version 2, IPv4 with more behind",
      v2(0x21, 0x11, `${IPV4}\x04\0\x01x`),
      { address: "192.0.2.7", port: 40_000 },
    ],
    ["version 2, local", v2(0x20, 0x00, ""), undefined],
    ["version 2, local with an address that does not count", v2(0x20, 0x11, IPV4), undefined],
    ["version 2, unspecified", v2(0x21, 0x00, "anything"), undefined],
    ["version 2, a Unix socket", v2(0x21, 0x31, "\0".repeat(216)), undefined],
  ] as const) {
    test(name, () => {
      assert.deepEqual(read(`${text}GET / HTTP/1.1`), { length: text.length, source });
      for (let bytes = 0; bytes < text.length; bytes++)
        assert.equal(read(text.slice(0, bytes)), "incomplete", `${bytes} bytes`);
    });
  }
});

describe("bad headers", () => {
  for (const [name, text] of [
    ["a request", "GET / HTTP/1.1\r\n"],
    ["a TLS hello", "\x16\x03\x01\x02\0"],
    ["another protocol", "PROXY UDP4 192.0.2.7 198.51.100.1 1 2\r\n"],
    ["lower case", "proxy tcp4"],
    ["two spaces", "PROXY TCP4  192.0.2.7 198.51.100.1 1 2\r\n"],
    ["another family's address", "PROXY TCP4 2001:db8::7 198.51.100.1 1 2\r\n"],
    ["another family's destination", "PROXY TCP6 2001:db8::7 198.51.100.1 1 2\r\n"],
    ["no address", "PROXY TCP4 192.0.2.256 198.51.100.1 1 2\r\n"],
    ["a leading zero", "PROXY TCP4 192.0.2.7 198.51.100.1 01 2\r\n"],
    ["a port that is none", "PROXY TCP4 192.0.2.7 198.51.100.1 65536 2\r\n"],
    ["another port that is none", "PROXY TCP4 192.0.2.7 198.51.100.1 1 65536\r\n"],
    ["a missing port", "PROXY TCP4 192.0.2.7 198.51.100.1 1\r\n"],
    ["a bare line feed", "PROXY TCP4 192.0.2.7 198.51.100.1 1 2\nX\r\n"],
    ["a line without end", `PROXY UNKNOWN ${"x".repeat(100)}`],
    ["a line that ends too late", `PROXY UNKNOWN ${"x".repeat(100)}\r\n`],
    ["version 3", v2(0x31, 0x11, IPV4)],
    ["a command that is none", v2(0x22, 0x11, IPV4)],
    ["UDP", v2(0x21, 0x12, IPV4)],
    ["too few bytes for its addresses", v2(0x21, 0x11, IPV4.slice(1))],
    ["too few bytes for IPv6", v2(0x21, 0x21, IPV4)],
    ["more than anybody needs", v2(0x21, 0x11, IPV4, 1025)],
  ] as const) {
    test(name, () => assert.equal(read(text), "bad"));
  }
});

const address = fc.oneof(
  fc.uint8Array({ minLength: 4, maxLength: 4 }).map((bytes) => formatIp(bytes, 4)),
  fc.uint8Array({ minLength: 16, maxLength: 16 }).map((bytes) => formatIp(bytes, 6)),
);
const endpoint = fc.record({ address, port: fc.nat({ max: 65_535 }) });

test("what is written is read again", () => {
  fc.assert(
    fc.property(fc.constantFrom("v1", "v2"), endpoint, endpoint, (version, from, to) => {
      const text = writeProxyHeader(version, from, to);
      const isOne = parseIp(from.address)?.family === parseIp(to.address)?.family;
      assert.deepEqual(read(text), { length: text.length, source: isOne ? { ...from } : undefined });
    }),
  );
});

test("whatever comes is a header, not yet one, or none; and never reaches beyond what there is", () => {
  const start = fc.constantFrom("", "PROXY ", "PROXY TCP4 ", SIGNATURE, `${SIGNATURE}\x21\x11\0`);
  const bytes = fc.uint8Array({ maxLength: 80 }).map((all) => Buffer.from(all).toString("latin1"));
  fc.assert(
    fc.property(start, bytes, (head, tail) => {
      const found = read(head + tail);
      if (typeof found !== "string") assert.ok(found.length <= head.length + tail.length);
    }),
  );
});
