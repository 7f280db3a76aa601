import assert from "node:assert/strict";
import { test } from "node:test";
import * as fc from "fast-check";
import {
  counterOf,
  epochOf,
  epochText,
  MAX_EPOCH_COUNTER,
  nextEpoch,
  schedulerIn,
} from "../../conf/epoch.ts";

const counters = fc.integer({ min: 1, max: MAX_EPOCH_COUNTER - 1 });
const numbers = fc.integer({ min: 0, max: 254 });

test("an epoch tells its counter and who schedules in it, and fits into 32 bits", () => {
  fc.assert(
    fc.property(counters, numbers, (counter, number) => {
      const epoch = epochOf(counter, number);
      assert.deepEqual([counterOf(epoch), schedulerIn(epoch)], [counter, number]);
      assert.ok(epoch > 0 && epoch <= 0xffff_ffff);
    }),
  );
});

test("whoever takes over has a higher epoch than all before, and no two nodes have the same", () => {
  fc.assert(
    fc.property(counters, numbers, numbers, numbers, (counter, last, one, other) => {
      const before = epochOf(counter, last);
      assert.ok(nextEpoch(before, one) > before);
      assert.equal(nextEpoch(before, one) === nextEpoch(before, other), one === other);
    }),
  );
});

test("before the first scheduler there is none, and the first epoch counts from 1", () => {
  assert.equal(schedulerIn(0), undefined);
  assert.equal(nextEpoch(0, 0), 256);
  assert.deepEqual([0, 256, 3079].map(epochText), ["none", "1 by node 0", "12 by node 7"]);
});

test("what is no counter or no node's number is refused", () => {
  const wrong: readonly [number, number][] = [
    [0, 1],
    [MAX_EPOCH_COUNTER + 1, 1],
    [1, 255],
    [1, -1],
  ];
  for (const [counter, number] of wrong) assert.throws(() => epochOf(counter, number), RangeError);
});
