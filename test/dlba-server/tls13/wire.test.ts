import assert from "node:assert/strict";
import { test } from "node:test";
import {
  ALERT,
  alertBytes,
  alertOf,
  MESSAGE,
  MORE_NEEDED,
  readAlert,
  readMessage,
  SAID,
  sealedLength,
  typeIndex,
} from "../../../dlba-server/tls13/wire.ts";

const lengthOf = (...bytes: number[]): number => sealedLength(Uint8Array.from(bytes), 0, bytes.length);
const record = (type: number, length: number): number =>
  lengthOf(type, 3, 3, length >> 8, length & 255, ...Array<number>(length).fill(0));

const message = (...bytes: number[]): number => readMessage(Uint8Array.from(bytes), 0, bytes.length);
const alert = (...bytes: number[]): number => readAlert(Uint8Array.from(bytes), 0, bytes.length);

test("a record is as long as it says, once it is whole", () => {
  assert.equal(record(23, 17), 17);
  assert.equal(record(23, 16_640), 16_640);
  assert.equal(lengthOf(), MORE_NEEDED);
  assert.equal(lengthOf(23, 3, 3, 0), MORE_NEEDED);
  assert.equal(lengthOf(23, 3, 3, 0, 20, 1, 2), MORE_NEEDED);
  assert.equal(lengthOf(23, 9, 9, 0, 17, ...Array<number>(17).fill(1)), 17, "its version says nothing");
});

test("what can't be a record is refused as soon as that shows", () => {
  const rows: [string, number, number][] = [
    ["longer than any", lengthOf(23, 3, 3, 0x41, 0x01), ALERT.recordOverflow],
    ["too short for a type and a tag", lengthOf(23, 3, 3, 0, 16), ALERT.decodeError],
    ["change_cipher_spec after the handshake", lengthOf(20), ALERT.unexpectedMessage],
    ["an alert in the clear", lengthOf(21, 3, 3, 0, 2, 1, 0), ALERT.unexpectedMessage],
    ["a handshake in the clear", lengthOf(22, 3, 1), ALERT.unexpectedMessage],
    ["a request of HTTP", lengthOf(71), ALERT.unexpectedMessage],
  ];
  for (const [what, result, alert] of rows) assert.equal(alertOf(result), alert, what);
  assert.equal(alertOf(MORE_NEEDED), undefined);
  assert.equal(alertOf(17), undefined);
});

test("a record's type stands behind its text and before the padding", () => {
  assert.equal(typeIndex(Uint8Array.of(1, 2, 23), 0, 3), 2);
  assert.equal(typeIndex(Uint8Array.of(1, 2, 23, 0, 0), 0, 5), 2);
  assert.equal(typeIndex(Uint8Array.of(9, 0, 23, 0, 0), 1, 5), 2);
  assert.equal(typeIndex(Uint8Array.of(9, 0, 0), 1, 3), 0, "none: below the start");
});

test("of messages a whole KeyUpdate is taken", () => {
  assert.equal(message(24, 0, 0, 1, 0), MESSAGE.update);
  assert.equal(message(24, 0, 0, 1, 1), MESSAGE.updateBoth);
  assert.equal(alertOf(message(24, 0, 0, 1, 2)), ALERT.illegalParameter);
  assert.equal(alertOf(message(24, 0, 0, 1)), ALERT.decodeError);
  assert.equal(alertOf(message(24, 0, 0, 1, 0, 24)), ALERT.decodeError);
  assert.equal(alertOf(message(24, 0, 1, 1, 0)), ALERT.decodeError);
  assert.equal(alertOf(message(4, 0, 0, 1, 0)), ALERT.unexpectedMessage, "a ticket from a client");
  assert.equal(alertOf(message(11, 0, 0, 0)), ALERT.unexpectedMessage, "a certificate nobody asked for");
  assert.equal(alertOf(message()), ALERT.unexpectedMessage);
});

test("alerts", () => {
  assert.equal(alert(1, 0), SAID.end);
  assert.equal(alert(1, 90), SAID.nothing);
  assert.equal(alert(2, 40), SAID.failure);
  assert.equal(alert(1, 40), SAID.failure, "whatever its level");
  assert.equal(alertOf(alert(1)), ALERT.decodeError);
  assert.equal(alertOf(alert(1, 0, 1)), ALERT.decodeError);
  assert.deepEqual(alertBytes(ALERT.closeNotify), [1, 0]);
  assert.deepEqual(alertBytes(ALERT.badRecordMac), [2, 20]);
});
