import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { type ArrayKey, arrayKeyOf } from "../../conf/keys.ts";
import { arrangeNames, type NamedCertificate, setFor } from "../../dlba-server/tls.ts";
import {
  createTicketRing,
  otherKeysFor,
  TICKET_NAME_BYTES,
  turnTicketRing,
} from "../../dlba-server/ticket-keys.ts";
import { TICKET_PERIOD_MS } from "../../conf/limits.ts";

const rsa = (...names: string[]): NamedCertificate => ({ keyKind: "rsa", names });
const ec = (...names: string[]): NamedCertificate => ({ keyKind: "ec", names });

/** Places of the certificates that a name gets. */
function got(certificates: readonly NamedCertificate[], name: string): readonly number[] {
  const table = arrangeNames(certificates);
  return table.sets[setFor(table, name)]!;
}

describe("which certificates a client may get", () => {
  const rows: [string, NamedCertificate[], string, number[]][] = [
    ["the only one", [rsa("a.org")], "a.org", [0]],
    ["the default for what no certificate names", [rsa("a.org"), rsa("b.org")], "c.org", [0]],
    ["by name", [rsa("a.org"), rsa("b.org")], "b.org", [1]],
    ["the first one of two alike", [rsa("a.org"), rsa("a.org")], "a.org", [0]],
    ["both kinds of key side by side", [rsa("a.org"), ec("a.org")], "a.org", [0, 1]],
    ["both kinds by default", [rsa("a.org"), ec("a.org")], "else.org", [0, 1]],
    [
      "both kinds by default, whatever the names' order",
      [rsa("a.org", "b.org"), ec("b.org", "a.org")],
      "",
      [0, 1],
    ],
    ["certificates without names are a default pair, too", [rsa(), ec()], "a.org", [0, 1]],
    ["one kind by default, where the other is for more", [rsa("a.org"), ec("a.org", "b.org")], "c.org", [0]],
    ["a name that only one of them has", [rsa("a.org"), ec("a.org", "b.org")], "b.org", [1]],
    ["a level", [rsa("a.org"), ec("*.b.org")], "www.b.org", [1]],
    ["a name before its level", [rsa("*.b.org"), ec("www.b.org")], "www.b.org", [1]],
    ["no more than one level", [rsa("a.org"), ec("*.b.org")], "x.www.b.org", [0]],
    ["not the level's own name", [rsa("a.org"), ec("*.b.org")], "b.org", [0]],
  ];
  for (const [what, certificates, name, expected] of rows) {
    test(what, () => assert.deepEqual(got(certificates, name), expected));
  }
});

describe("ticket keys", () => {
  const key = arrayKeyOf(Buffer.alloc(32, 3));
  const at_ms = 1_000 * TICKET_PERIOD_MS + 5;

  test("all nodes have the same, and other arrays others", () => {
    const [one, two, other] = [key, key, arrayKeyOf(Buffer.alloc(32, 4))].map((key) =>
      createTicketRing(key, at_ms),
    );
    assert.deepEqual(one!.newest.bytes, two!.newest.bytes);
    assert.notDeepEqual(one!.newest.bytes, other!.newest.bytes);
  });

  test("those of the periods before and after read tickets, older ones don't", () => {
    const ring = createTicketRing(key, at_ms);
    const rows: [number, boolean][] = [
      [-2, false],
      [-1, true],
      [1, true],
      [2, false],
    ];
    for (const [periods, isKnown] of rows) {
      const made = createTicketRing(key, at_ms + periods * TICKET_PERIOD_MS).newest.bytes;
      assert.equal(otherKeysFor(ring, made, 0) !== 0, isKnown, `${periods} periods away`);
    }
    assert.equal(otherKeysFor(ring, ring.newest.bytes, 0), 0, "the newest needs nothing");
  });

  test("while the array key is being changed, tickets of both are read, of all three periods", () => {
    const [old, young] = [Buffer.alloc(32, 3), Buffer.alloc(32, 4)];
    const { seed } = key;
    const prepared = { current: old, also: young, isAlsoNext: true, seed };
    const used = { current: young, also: old, isAlsoNext: false, seed };
    const ring = createTicketRing(prepared, at_ms);
    const reads = (other: ArrayKey, periods: number): boolean => {
      const made = createTicketRing(other, at_ms + periods * TICKET_PERIOD_MS).newest.bytes;
      return ring.newest.bytes.equals(made) || otherKeysFor(ring, made, 0) !== 0;
    };
    for (const periods of [-1, 0, 1])
      assert.deepEqual([reads(prepared, periods), reads(used, periods)], [true, true]);
    turnTicketRing(ring, used, at_ms);
    for (const periods of [-1, 0, 1])
      assert.deepEqual([reads(prepared, periods), reads(used, periods)], [true, true]);
    turnTicketRing(ring, { ...used, also: undefined }, at_ms);
    assert.deepEqual([reads(prepared, 0), reads(used, 0)], [false, true]);
    assert.equal(otherKeysFor(ring, Buffer.alloc(TICKET_NAME_BYTES), 0), 0, "nor tickets of no key at all");
  });

  test("the ring turns at its end, in place", () => {
    const ring = createTicketRing(key, at_ms);
    assert.equal(ring.ends_ms, 1_001 * TICKET_PERIOD_MS);
    const { address } = ring.newest;
    const before = Buffer.from(ring.newest.bytes);
    turnTicketRing(ring, key, ring.ends_ms);
    assert.equal(ring.newest.address, address);
    assert.notDeepEqual(ring.newest.bytes, before);
    assert.notEqual(otherKeysFor(ring, before, 0), 0);
  });
});
