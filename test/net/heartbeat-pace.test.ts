import assert from "node:assert/strict";
import { test } from "node:test";
import * as fc from "fast-check";
import { createPace } from "../../net/heartbeat-pace.ts";

const MS = 1e6;
const every = (interval_ms: number) => (): number => interval_ms * MS;

test("all are due at first, and then each at its own interval", () => {
  const pace = createPace(2);
  const intervals = [10, 50];
  const asked: number[][] = [[], []];
  for (let now_ms = 1000; now_ms <= 1100; now_ms += 1) {
    for (const index of pace.take(now_ms * MS, (i) => intervals[i]! * MS, false))
      asked[index]!.push(now_ms - 1000);
  }
  assert.deepEqual(asked, [
    [0, 10, 20, 30, 40, 50, 60, 70, 80, 90, 100],
    [0, 50, 100],
  ]);
  assert.equal(pace.next_ns(), 1110 * MS);
});

test("a question that was late is made up for by the next, but two keep half an interval apart", () => {
  const pace = createPace(1);
  pace.take(0, every(20), false);
  assert.deepEqual(pace.take(23 * MS, every(20), false), [0]);
  assert.equal(pace.next_ns(), 40 * MS);
  assert.deepEqual(pace.take(58 * MS, every(20), false), [0]);
  assert.equal(pace.next_ns(), 68 * MS);
  pace.take(1000 * MS, every(20), false);
  assert.equal(pace.next_ns(), 1010 * MS);
});

test("who is to be asked more often does not wait out the former interval", () => {
  const pace = createPace(1);
  pace.take(0, every(50), false);
  assert.deepEqual(pace.take(5 * MS, every(10), false), []);
  assert.equal(pace.next_ns(), 10 * MS);
  assert.deepEqual(pace.take(12 * MS, every(10), false), [0]);
  assert.deepEqual(pace.take(15 * MS, every(50), false), []);
  assert.deepEqual(pace.take(20 * MS, every(50), false), [0]);
  assert.equal(pace.next_ns(), 70 * MS);
  assert.deepEqual(pace.take(45 * MS, every(10), false), [0], "the last question is long enough ago");
});

test("when all are asked at once, the intervals begin anew", () => {
  const pace = createPace(3);
  pace.take(0, every(10), false);
  assert.deepEqual(pace.take(3 * MS, every(10), true), [0, 1, 2]);
  assert.equal(pace.next_ns(), 13 * MS);
  assert.deepEqual(pace.take(12 * MS, every(10), false), []);
});

test("nobody is asked more often than twice in an interval, nor left out by who looks when it is due", () => {
  const steps = fc.array(
    fc.record({ late_ms: fc.nat({ max: 40 }), interval_ms: fc.constantFrom(10, 20, 50) }),
  );
  fc.assert(
    fc.property(steps, (steps) => {
      const pace = createPace(1);
      pace.take(0, every(20), false);
      let asked_ns = 0;
      for (const { late_ms, interval_ms } of steps) {
        const now_ns = Math.max(pace.next_ns(), asked_ns) + late_ms * MS;
        pace.take(now_ns, every(interval_ms), false);
        assert.ok(pace.next_ns() - now_ns <= interval_ms * MS);
        assert.ok(pace.next_ns() - now_ns >= (interval_ms / 2) * MS);
        asked_ns = now_ns;
      }
    }),
  );
});

test("without peers nothing is ever due", () => {
  const pace = createPace(0);
  assert.deepEqual(pace.take(5, every(1), true), []);
  assert.equal(pace.next_ns(), Infinity);
});
