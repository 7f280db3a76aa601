import assert from "node:assert/strict";
import { once } from "node:events";
import { createServer, type Socket } from "node:net";
import { connect as tlsConnect } from "node:tls";
import { test } from "node:test";
import fc from "fast-check";
import { findTicket, MORE_NEEDED, MOST_HELLO_BYTES, NO_TICKET } from "../../dlba-server/client-hello.ts";

/** A ClientHello of so many extensions, as RFC 8446 4.1.2 lays it out. */
function hello(extensions: readonly { readonly kind: number; readonly body: Buffer }[]): Buffer {
  const list = Buffer.concat(
    extensions.map(({ kind, body }) => Buffer.concat([word(kind), word(body.length), body])),
  );
  const session = Buffer.alloc(32, 9);
  const suites = Buffer.from([0x13, 0x01, 0xc0, 0x2b]);
  const inside = Buffer.concat([
    Buffer.from([3, 3]),
    Buffer.alloc(32, 5),
    Buffer.from([session.length]),
    session,
    word(suites.length),
    suites,
    Buffer.from([1, 0]),
    word(list.length),
    list,
  ]);
  const message = Buffer.concat([Buffer.from([1, 0]), word(inside.length), inside]);
  return Buffer.concat([Buffer.from([22, 3, 1]), word(message.length), message]);
}

const word = (value: number): Buffer => Buffer.from([value >> 8, value & 255]);
const ticket = Buffer.from("0123456789abcdef and what is sealed");
const identity = Buffer.concat([word(ticket.length + 6), word(ticket.length), ticket, Buffer.alloc(4)]);
const binders = Buffer.concat([word(33), Buffer.from([32]), Buffer.alloc(32)]);
const named = { kind: 0, body: Buffer.from("\0\x0e\0\0\x0bexample.org", "latin1") };

test("the ticket is found in either extension, and told by its place", () => {
  const rows = [
    { what: "TLS 1.2", extensions: [named, { kind: 35, body: ticket }] },
    { what: "TLS 1.3", extensions: [named, { kind: 41, body: Buffer.concat([identity, binders]) }] },
    {
      what: "both: the pre-shared key counts",
      extensions: [
        { kind: 35, body: Buffer.alloc(40, 1) },
        { kind: 41, body: Buffer.concat([identity, binders]) },
      ],
    },
  ];
  for (const { what, extensions } of rows) {
    const bytes = hello(extensions);
    const at = findTicket(bytes, bytes.length, 16);
    assert.equal(bytes.toString("latin1", at, at + 16), "0123456789abcdef", what);
  }
});

test("where there is none that can be told of, OpenSSL sees to it", () => {
  const tooLong = hello([named]);
  tooLong.writeUInt16BE(MOST_HELLO_BYTES, 3);
  const spread = hello([{ kind: 35, body: ticket }]);
  spread.writeUInt16BE(spread.length, 7);
  const rows: [string, Buffer][] = [
    ["no extension of that kind", hello([named])],
    ["no extensions", hello([])],
    ["an empty ticket", hello([{ kind: 35, body: Buffer.alloc(0) }])],
    ["a short ticket", hello([{ kind: 35, body: Buffer.alloc(15) }])],
    [
      "an identity that is longer than its extension",
      hello([{ kind: 41, body: Buffer.from([0, 9, 0, 99, 1]) }]),
    ],
    ["plain HTTP", Buffer.from("GET / HTTP/1.1\r\n\r\n")],
    ["an alert", Buffer.from([21, 3, 1, 0, 2, 1, 0])],
    ["another handshake message", Buffer.from([22, 3, 1, 0, 4, 2, 0, 0, 0])],
    ["a record that is too long", tooLong],
    ["a message that is spread over records", spread],
  ];
  for (const [what, bytes] of rows) assert.equal(findTicket(bytes, bytes.length, 16), NO_TICKET, what);
});

test("every beginning of a ClientHello asks for more", () => {
  const bytes = hello([named, { kind: 35, body: ticket }]);
  for (let end = 0; end < bytes.length; end++) {
    assert.equal(findTicket(bytes.subarray(0, end), end, 16), MORE_NEEDED, `${end} bytes`);
  }
});

test("whatever comes, a ticket that is found lies within what has come", () => {
  const base = hello([named, { kind: 41, body: Buffer.concat([identity, binders]) }]);
  fc.assert(
    fc.property(
      fc.array(fc.tuple(fc.nat(base.length - 1), fc.nat(255)), { maxLength: 6 }),
      fc.nat(base.length),
      (changes, end) => {
        const bytes = Buffer.from(base);
        for (const [at, value] of changes) bytes[at] = value;
        const at = findTicket(bytes, end, 16);
        assert.ok(at === NO_TICKET || at === MORE_NEEDED || (at > 0 && at + 16 <= end));
      },
    ),
    { numRuns: 3000 },
  );
});

test("what Node's own client says is whole, and has no ticket the first time", async () => {
  const server = createServer().listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address() as { port: number };
  const client = tlsConnect({ host: "127.0.0.1", port });
  client.on("error", () => {});
  const [socket] = (await once(server, "connection")) as [Socket];
  let bytes = Buffer.alloc(0);
  while (findTicket(bytes, bytes.length, 16) === MORE_NEEDED) {
    const [piece] = (await once(socket, "data")) as [Buffer];
    bytes = Buffer.concat([bytes, piece]);
  }
  assert.equal(findTicket(bytes, bytes.length, 16), NO_TICKET);
  client.destroy();
  socket.destroy();
  server.close();
});
