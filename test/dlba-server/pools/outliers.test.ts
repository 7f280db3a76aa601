import assert from "node:assert/strict";
import { describe, it } from "node:test";
import * as fc from "fast-check";
import {
  createOutlier,
  noteOutcome,
  type Outlier,
  type OutlierSettings,
} from "../../../dlba-server/pools/outliers.ts";

const SETTINGS: OutlierSettings = {
  consecutive: 3,
  percent: 50,
  least_requests: 10,
  window_ms: 10_000,
  eject_ms: 1000,
  eject_most_ms: 2500,
  pool_percent: 50,
};
const pool = (count: number): Outlier[] => Array.from({ length: count }, () => createOutlier(0));

function fail(outliers: readonly Outlier[], index: number, times: number, now_ms: number): string {
  let reason = "";
  for (let i = 0; i < times; i++) reason = noteOutcome(outliers, SETTINGS, index, true, now_ms) || reason;
  return reason;
}

describe("an outlier", () => {
  it("is ejected after so many failures in a row, and not before", () => {
    const outliers = pool(2);
    assert.equal(fail(outliers, 0, 2, 0), "");
    noteOutcome(outliers, SETTINGS, 0, false, 0);
    assert.equal(fail(outliers, 0, 2, 0), "");
    assert.equal(fail(outliers, 0, 1, 0), "3 failures in a row");
    assert.equal(outliers[0]!.ejectedUntil_ms, 1000);
    assert.equal(outliers[1]!.ejectedUntil_ms, 0);
  });

  it("is ejected by the share of its failures when there were enough requests", () => {
    const outliers = pool(2);
    let reason = "";
    for (let i = 0; i < 10; i++) {
      assert.equal(reason, "");
      reason = noteOutcome(outliers, SETTINGS, 0, i % 2 === 1, 0);
    }
    assert.equal(reason, "5 of 10 requests have failed");
  });

  it("is left out longer each time, up to a bound, and less long again when it has behaved", () => {
    const outliers = pool(2);
    const lengths: number[] = [];
    let now_ms = 0;
    for (let i = 0; i < 4; i++) {
      fail(outliers, 0, 3, now_ms);
      lengths.push(outliers[0]!.ejectedUntil_ms - now_ms);
      now_ms = outliers[0]!.ejectedUntil_ms;
    }
    assert.deepEqual(lengths, [1000, 2000, 2500, 2500]);
    // Three good windows take off three of four.
    now_ms += 3 * SETTINGS.window_ms;
    noteOutcome(outliers, SETTINGS, 0, false, now_ms);
    fail(outliers, 0, 3, now_ms);
    assert.equal(outliers[0]!.ejectedUntil_ms - now_ms, 2000);
  });

  it("does not suffer for requests that were under way when it was ejected", () => {
    const outliers = pool(2);
    fail(outliers, 0, 3, 0);
    assert.equal(fail(outliers, 0, 50, 999), "");
    assert.equal(outliers[0]!.ejectedUntil_ms, 1000);
    assert.equal(fail(outliers, 0, 2, 1000), "");
  });

  it("stays when too many are out already, and goes when one of them is back", () => {
    const outliers = pool(4);
    for (const index of [0, 1]) assert.notEqual(fail(outliers, index, 3, 0), "");
    assert.equal(fail(outliers, 2, 5, 0), "");
    assert.equal(noteOutcome(outliers, SETTINGS, 2, true, 1000), "6 failures in a row");
  });

  it("is never the only web server of a pool", () => {
    assert.equal(fail(pool(1), 0, 100, 0), "");
  });

  it("never leaves less than the pool's share, whatever happens", () => {
    const outcome = fc.record({ index: fc.nat(4), hasFailed: fc.boolean(), passed_ms: fc.nat(400) });
    fc.assert(
      fc.property(fc.integer({ min: 0, max: 100 }), fc.array(outcome), (pool_percent, outcomes) => {
        const outliers = pool(5);
        let now_ms = 0;
        for (const { index, hasFailed, passed_ms } of outcomes) {
          now_ms += passed_ms;
          noteOutcome(outliers, { ...SETTINGS, consecutive: 1, pool_percent }, index, hasFailed, now_ms);
          const out = outliers.filter(({ ejectedUntil_ms }) => ejectedUntil_ms > now_ms).length;
          assert.ok(out * 100 <= pool_percent * 5);
        }
      }),
    );
  });
});
