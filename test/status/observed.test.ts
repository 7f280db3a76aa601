import assert from "node:assert/strict";
import { test } from "node:test";
import { observer } from "../../status/observed.ts";

const look = (now_ms: number, counters: Record<string, number>, isUp: Record<string, boolean> = {}) => ({
  now_ms,
  counters: new Map(Object.entries(counters)),
  isUp: new Map(Object.entries(isUp)),
});

test("rates are of a second at least, and the highest is kept", () => {
  const seen = observer();
  const rates = (): number[] => {
    const { per_second, most_per_second } = seen.rateOf("a");
    return [per_second, most_per_second];
  };
  seen.note(look(0, { a: 100 }));
  assert.deepEqual(rates(), [0, 0]);
  seen.note(look(500, { a: 600 }));
  assert.deepEqual(rates(), [0, 0]);
  seen.note(look(1000, { a: 700 }));
  assert.deepEqual(rates(), [600, 600]);
  seen.note(look(3000, { a: 900 }));
  assert.deepEqual(rates(), [100, 600]);
  // Started anew.
  seen.note(look(4000, { a: 0 }));
  assert.deepEqual(rates(), [0, 600]);
  // What is not there any more is forgotten.
  seen.note(look(5000, {}));
  assert.deepEqual(rates(), [0, 0]);
});

test("since when something is up or down, how often it went down and for how long", () => {
  const seen = observer();
  const at = (now_ms: number) => seen.stateOf("w", now_ms);
  assert.equal(at(0), undefined);
  seen.note(look(0, {}, { w: true }));
  assert.deepEqual(at(9000), { isUp: true, since_s: 9, downs: 0, down_s: 0 });
  seen.note(look(10_000, {}, { w: false }));
  assert.deepEqual(at(14_000), { isUp: false, since_s: 4, downs: 1, down_s: 4 });
  seen.note(look(14_500, {}, { w: true }));
  assert.deepEqual(at(15_500), { isUp: true, since_s: 1, downs: 1, down_s: 4 });
  seen.note(look(20_000, {}, { w: false }));
  assert.deepEqual(at(21_000), { isUp: false, since_s: 1, downs: 2, down_s: 5 });
  seen.note(look(22_000, {}, {}));
  assert.equal(at(22_000), undefined);
});

test("what is down when it is first seen has gone down", () => {
  const seen = observer();
  seen.note(look(0, {}, { w: false }));
  assert.deepEqual(seen.stateOf("w", 2000), { isUp: false, since_s: 2, downs: 1, down_s: 2 });
});
