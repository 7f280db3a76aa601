import assert from "node:assert/strict";
import { describe, test } from "node:test";
import fc from "fast-check";
import {
  MAX_IDLE_RECORDS,
  MAX_KEY_CHANGES_AT_ONCE,
  MAX_RECORDS_AT_ONCE,
  RECEIVE_BUFFER_BYTES,
  RECORDS_BY_ONE_KEY,
} from "../../../conf/limits.ts";
import {
  createRecords,
  freeRecords,
  keep,
  NO_ANSWER,
  opened,
  openRecords,
  type Records,
  sealAlert,
  sealed,
  sealNext,
  takeOver,
  takePlain,
  unkeep,
  wire,
} from "../../../dlba-server/engine/records.ts";
import { buffered } from "../../../dlba-server/engine/reading.ts";
import { updateKey } from "../../../dlba-server/tls13/direction.ts";
import { ALERT } from "../../../dlba-server/tls13/wire.ts";
import { nativeMemory } from "../../../net/ffi.ts";
import { seal, suiteOf } from "../../../net/openssl-aead.ts";

const SUITES = [0x1301, 0x1302, 0x1303];

/** Both ends of a connection, as the handshake leaves them. */
function pair(id = 0x1301): { client: Records; server: Records } {
  const suite = suiteOf(id)!;
  const length = suite.hash === "SHA384" ? 48 : 32;
  const secret = (fill: number): Buffer => Buffer.alloc(length, fill);
  const [client, server] = [createRecords(0), createRecords(0)];
  client.serverSecret = secret(1);
  server.serverSecret = secret(2);
  takeOver(client, suite, secret(2), 0);
  takeOver(server, suite, secret(1), 0);
  return { client, server };
}

const text = nativeMemory(300_000);
for (let i = 0; i < text.bytes.length; i++) text.bytes[i] = (i * 31 + (i >> 8)) & 255;

/** All that seals so many bytes of `text`. */
function sealText(from: Records, length: number): Buffer {
  const pieces: Buffer[] = [];
  for (let at = 0; at < length;) {
    at += sealNext(from, text.address + at, length - at);
    pieces.push(Buffer.from(sealed.bytes.subarray(0, sealed.length)));
  }
  return Buffer.concat(pieces);
}

/** A record of any inner type and padding. */
function sealRaw(from: Records, type: number, inside: readonly number[], padding_bytes = 0): Buffer {
  const memory = nativeMemory(20_000);
  const outgoing = from.outgoing!;
  memory.bytes.set([23, 3, 3], 0);
  memory.view.setUint16(3, inside.length + 1 + padding_bytes + 16);
  memory.bytes.set(inside, 100);
  memory.bytes[17_000] = type;
  const extra = 1 + padding_bytes;
  const { address } = memory;
  const to = nativeMemory(40_000);
  seal(
    outgoing.key,
    outgoing,
    address,
    5,
    address + 100,
    inside.length,
    address + 17_000,
    extra,
    to.address + 5,
  );
  outgoing.sequence++;
  memory.bytes.copy(to.bytes, 0, 0, 5);
  return Buffer.from(to.bytes.subarray(0, 5 + inside.length + extra + 16));
}

const target = nativeMemory(RECEIVE_BUFFER_BYTES);

/** Receives a piece, and gives all that came out of it so far. */
function receive(to: Records, piece: Buffer, room = RECEIVE_BUFFER_BYTES): Buffer {
  const out: Buffer[] = [];
  const start = unkeep(to);
  piece.copy(wire.bytes, start);
  let end = start + piece.length;
  for (;;) {
    const count = openRecords(to, end, target, 0, room);
    out.push(Buffer.from(target.bytes.subarray(0, count)));
    keep(to, opened.at, end);
    let more = takePlain(to, target, 0, room);
    while (more > 0) {
      out.push(Buffer.from(target.bytes.subarray(0, more)));
      more = takePlain(to, target, 0, room);
    }
    if (to.hasEnded || to.alert !== undefined) break;
    if (count === 0) break;
    end = unkeep(to);
  }
  return Buffer.concat(out);
}

function receiveAll(to: Records, bytes: Buffer, cuts: readonly number[], room?: number): Buffer {
  const out: Buffer[] = [];
  let at = 0;
  for (const cut of [...cuts, bytes.length]) {
    for (; at < cut;) {
      const end = Math.min(cut, at + RECEIVE_BUFFER_BYTES);
      out.push(receive(to, bytes.subarray(at, end), room));
      at = end;
    }
  }
  return Buffer.concat(out);
}

function end(...all: Records[]): void {
  for (const records of all) freeRecords(records);
}

test("what one side seals the other opens, with every suite, wherever it is cut and however little room there is", () => {
  const before = buffered.bytes;
  fc.assert(
    fc.property(
      fc.constantFrom(...SUITES),
      fc.integer({ min: 0, max: 200_000 }),
      fc.array(fc.double({ min: 0, max: 1, noNaN: true }), { maxLength: 12 }),
      fc.constantFrom(RECEIVE_BUFFER_BYTES, 20_000, 9000, 17),
      (suite, length, parts, room) => {
        const { client, server } = pair(suite);
        const bytes = sealText(client, length);
        const cuts = parts.map((part) => Math.floor(part * bytes.length)).sort((a, b) => a - b);
        const got = receiveAll(server, bytes, cuts, room);
        assert.equal(server.alert, undefined);
        assert.ok(got.equals(text.bytes.subarray(0, length)));
        end(client, server);
      },
    ),
    { numRuns: 60 },
  );
  assert.equal(buffered.bytes, before);
});

test("a short message comes out whole from every cut in two", () => {
  const { client, server } = pair();
  const length = 40;
  for (let cut = 0; cut <= length + 22; cut++) {
    const got = receiveAll(server, sealText(client, length), [cut]);
    assert.ok(got.equals(text.bytes.subarray(0, length)), `cut at ${cut}`);
  }
  end(client, server);
});

describe("what is not the peer's next record ends the connection and gives nothing", () => {
  const rows: [string, (client: Records) => Buffer, number][] = [
    [
      "a changed bit",
      (client) => {
        const bytes = sealText(client, 100);
        bytes[50] = bytes[50]! ^ 4;
        return bytes;
      },
      ALERT.badRecordMac,
    ],
    [
      "a record that is left out",
      (client) => {
        sealText(client, 10);
        return sealText(client, 10);
      },
      ALERT.badRecordMac,
    ],
    ["change_cipher_spec", () => Buffer.from([20, 3, 3, 0, 1, 1]), ALERT.unexpectedMessage],
    ["plain text", () => Buffer.from("GET / HTTP/1.1\r\n\r\n"), ALERT.unexpectedMessage],
    ["a record of zeroes alone", (client) => sealRaw(client, 0, [], 30), ALERT.unexpectedMessage],
    ["an inner type that there isn't", (client) => sealRaw(client, 99, [1]), ALERT.unexpectedMessage],
    ["an inner change_cipher_spec", (client) => sealRaw(client, 20, [1]), ALERT.unexpectedMessage],
    ["a ticket from a client", (client) => sealRaw(client, 22, [4, 0, 0, 0]), ALERT.unexpectedMessage],
    ["a KeyUpdate that asks for nonsense", (client) => sealRaw(client, 22, [24, 0, 0, 1, 7]), 47],
    ["half an alert", (client) => sealRaw(client, 21, [1]), ALERT.decodeError],
    [
      "text longer than a record may hold",
      (client) => sealRaw(client, 23, Array<number>(16_385).fill(1)),
      22,
    ],
  ];
  for (const [what, make, alert] of rows) {
    test(what, () => {
      const { client, server } = pair();
      assert.equal(receive(server, make(client)).length, 0);
      assert.equal(server.alert, alert);
      end(client, server);
    });
  }

  test("a record that comes again", () => {
    const { client, server } = pair();
    const bytes = sealText(client, 10);
    assert.equal(receive(server, bytes).length, 10);
    assert.equal(receive(server, bytes).length, 0);
    assert.equal(server.alert, ALERT.badRecordMac);
    end(client, server);
  });

  test("what came before it is given all the same", () => {
    const { client, server } = pair();
    const got = receive(server, Buffer.concat([sealText(client, 33), Buffer.from([21, 3, 3, 0, 2, 2, 40])]));
    assert.equal(got.length, 33);
    assert.equal(server.alert, ALERT.unexpectedMessage);
    end(client, server);
  });
});

test("padding is taken off, up to the longest record", () => {
  const { client, server } = pair();
  assert.deepEqual([...receive(server, sealRaw(client, 23, [1, 0, 2], 300))], [1, 0, 2]);
  assert.deepEqual([...receive(server, sealRaw(client, 23, [5], 2000))], [5]);
  end(client, server);
});

test("empty records are passed over, but not without end", () => {
  const { client, server } = pair();
  for (let i = 0; i < MAX_IDLE_RECORDS; i++) receive(server, sealRaw(client, 23, []));
  assert.equal(receive(server, sealText(client, 5)).length, 5);
  for (let i = 0; i <= MAX_IDLE_RECORDS; i++) {
    assert.equal(server.alert, undefined);
    receive(server, sealRaw(client, 23, [], i));
  }
  assert.equal(server.alert, ALERT.unexpectedMessage);
  end(client, server);
});

test("the peer changes its key, and has ours changed when it wants that", () => {
  const { client, server } = pair();
  const sequences = new Set<string>();
  for (const request of [0, 1, 1, 0]) {
    const key = sealRaw(client, 22, [24, 0, 0, 1, request]);
    receive(server, key);
    assert.equal(server.owesUpdate, request === 1);
    updateKey(client.outgoing!);
    assert.equal(receive(server, sealText(client, 77)).length, 77);
    const answer = sealText(server, 55);
    sequences.add(`${answer.length}`);
    assert.ok(receive(client, answer).equals(text.bytes.subarray(0, 55)));
  }
  assert.deepEqual([...sequences], [`${55 + 22}`, `${55 + 22 + 5 + 22}`]);
  assert.equal(client.alert ?? server.alert, undefined);
  end(client, server);
});

test("keys change a few times at once, but not all the time", () => {
  const { client, server } = pair();
  const change = (): Buffer => {
    const bytes = sealRaw(client, 22, [24, 0, 0, 1, 0]);
    updateKey(client.outgoing!);
    return Buffer.concat([bytes, sealText(client, 1)]);
  };
  const some = Buffer.concat(Array.from({ length: MAX_KEY_CHANGES_AT_ONCE }, change));
  assert.equal(receive(server, some).length, MAX_KEY_CHANGES_AT_ONCE);
  assert.equal(receive(server, Buffer.concat([change(), change()])).length, 2);
  receive(server, Buffer.concat(Array.from({ length: MAX_KEY_CHANGES_AT_ONCE + 1 }, change)));
  assert.equal(server.alert, ALERT.unexpectedMessage);
  end(client, server);
});

test("many short records are opened some at a time", () => {
  const { client, server } = pair();
  const count = MAX_RECORDS_AT_ONCE + 100;
  const bytes = Buffer.concat(Array.from({ length: count }, () => sealText(client, 1)));
  bytes.copy(wire.bytes);
  assert.equal(openRecords(server, bytes.length, target, 0, RECEIVE_BUFFER_BYTES), MAX_RECORDS_AT_ONCE);
  keep(server, opened.at, bytes.length);
  assert.equal(openRecords(server, unkeep(server), target, 0, RECEIVE_BUFFER_BYTES), 100);
  end(client, server);
});

test("a key that has sealed enough gives way to the next one", () => {
  const { client, server } = pair();
  client.outgoing!.sequence = RECORDS_BY_ONE_KEY - 1;
  server.incoming!.sequence = RECORDS_BY_ONE_KEY - 1;
  for (let i = 0; i < 4; i++) assert.equal(receive(server, sealText(client, 12)).length, 12);
  assert.ok(client.outgoing!.sequence < 10);
  assert.equal(server.alert, undefined);
  end(client, server);
});

test("tickets go in front, and are gone then", () => {
  const { client, server } = pair();
  client.tickets = sealText(client, 9);
  const bytes = sealText(client, 30);
  assert.equal(receive(server, bytes).length, 39);
  assert.equal(client.tickets, undefined);
  end(client, server);
});

test("close_notify is the end, an alert is a failure that is not answered, user_canceled is nothing", () => {
  const { client, server } = pair();
  sealAlert(client, ALERT.userCanceled);
  receive(server, Buffer.from(sealed.bytes.subarray(0, sealed.length)));
  assert.equal(server.alert, undefined);
  assert.equal(server.hasEnded, false);
  sealAlert(client, ALERT.closeNotify);
  receive(server, Buffer.from(sealed.bytes.subarray(0, sealed.length)));
  assert.equal(server.hasEnded, true);
  sealAlert(server, ALERT.internalError);
  receive(client, Buffer.from(sealed.bytes.subarray(0, sealed.length)));
  assert.equal(client.alert, NO_ANSWER);
  end(client, server);
});
