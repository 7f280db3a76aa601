import assert from "node:assert/strict";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import * as fc from "fast-check";
import {
  allot,
  hostKey,
  NO_PLACES,
  readPlaces,
  rowsFor,
  ROWS_PER_VSERVER,
  writePlaces,
} from "../../scheduler/traffic-rows.ts";
import { createTrafficRates } from "../../scheduler/traffic-rates.ts";

const nodes = (...numbers: number[]) => numbers.map((number) => ({ group: "", number }));

test("names keep their places whatever the order becomes, and new ones get places that nobody has had", () => {
  const first = allot(NO_PLACES, ["a", "b", "c"], nodes(1, 2));
  assert.deepEqual(first.vservers, { a: 0, b: 1, c: 2 });
  const second = allot(first, ["c", "d", "a"], nodes(2, 9));
  assert.deepEqual(second.vservers, { c: 2, d: 3, a: 0 });
  assert.deepEqual(second.slots, { [hostKey("", 2)]: 1, [hostKey("", 9)]: 2 });
});

test("each pool's hosts have slots of their own", () => {
  const hosts = [...nodes(1, 2), { group: "dns", number: 1 }, { group: "dns", number: 7 }];
  const { slots } = allot(NO_PLACES, ["a"], hosts);
  assert.deepEqual(slots, { "/1": 0, "/2": 1, "dns/1": 0, "dns/7": 1 });
});

test("slots that were used before are taken again when no others are left, and no two share one", () => {
  let places = NO_PLACES;
  fc.assert(
    fc.property(fc.uniqueArray(fc.nat(254), { minLength: 1, maxLength: 64 }), (numbers) => {
      const before = places;
      places = allot(before, ["a"], nodes(...numbers));
      const slots = numbers.map((number) => places.slots[hostKey("", number)]!);
      assert.equal(new Set(slots).size, numbers.length);
      assert.ok(slots.every((slot) => slot >= 0 && slot < ROWS_PER_VSERVER));
      for (const number of numbers) {
        const former = before.slots[hostKey("", number)];
        if (former !== undefined) assert.equal(places.slots[hostKey("", number)], former);
      }
    }),
  );
});

test("there are rows for every vserver, in a power of two", () => {
  assert.equal(rowsFor(NO_PLACES), 16 * ROWS_PER_VSERVER);
  assert.equal(rowsFor({ vservers: { a: 15 }, slots: {} }), 16 * ROWS_PER_VSERVER);
  assert.equal(rowsFor({ vservers: { a: 16 }, slots: {} }), 32 * ROWS_PER_VSERVER);
});

test("the note of places survives, names a former place until it is taken, and may be missing or broken", (t) => {
  const folder = mkdtempSync(join(tmpdir(), "dlba-places-"));
  t.after(() => rmSync(folder, { recursive: true }));
  const file = join(folder, "traffic.json");
  assert.deepEqual(readPlaces(file), NO_PLACES);
  const first = allot(NO_PLACES, ["a", "b"], nodes(1));
  writePlaces(file, NO_PLACES, first);
  const second = allot(readPlaces(file), ["b"], nodes(1));
  writePlaces(file, readPlaces(file), second);
  assert.deepEqual(readPlaces(file).vservers, { a: 0, b: 1 });
  assert.deepEqual(allot(readPlaces(file), ["new"], nodes(1)).vservers, { new: 2 });
  writeFileSync(file, '{"vservers":{"a":');
  assert.deepEqual(readPlaces(file), NO_PLACES);
  writeFileSync(file, '{"vservers":{"a":-1,"b":"x","c":3},"slots":7}');
  assert.deepEqual(readPlaces(file), { vservers: { c: 3 }, slots: {} });
});

const totals = (n: number) => ({
  packets: Float64Array.of(n),
  bytes: Float64Array.of(n * 100),
  connections: Float64Array.of(n / 10),
});

test("rates are those between the last two readings", () => {
  const rates = createTrafficRates();
  rates.take(totals(100), 1000);
  assert.deepEqual(rates.perSecond(0), { connections: 0, packets: 0, bytes: 0 });
  assert.deepEqual(rates.total(0), { connections: 10, packets: 100, bytes: 10_000 });
  rates.take(totals(300), 3000);
  assert.deepEqual(rates.perSecond(0), { connections: 10, packets: 100, bytes: 10_000 });
  assert.deepEqual(rates.total(5), { connections: 0, packets: 0, bytes: 0 });
  // A map that was made anew begins at zero.
  rates.take(totals(0), 4000);
  assert.deepEqual(rates.perSecond(0), { connections: 0, packets: 0, bytes: 0 });
});
