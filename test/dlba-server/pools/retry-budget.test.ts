import assert from "node:assert/strict";
import { describe, it } from "node:test";
import * as fc from "fast-check";
import { createRetryBudget, takeRetry } from "../../../dlba-server/pools/retry-budget.ts";

describe("a retry budget", () => {
  it("grants a share of the requests, and a few a second", () => {
    const budget = createRetryBudget(20, 1, 0);
    let granted = 0;
    // A thousand requests in a second, each of which wants to be sent again.
    for (let i = 1; i <= 1000; i++) if (takeRetry(budget, i, i)) granted++;
    assert.ok(granted >= 180 && granted <= 202, `${granted} of 1000`);
  });

  it("of 0 percent and none a second grants none", () => {
    const budget = createRetryBudget(0, 0, 0);
    for (let i = 1; i <= 100; i++) assert.equal(takeRetry(budget, i, i * 1000), false);
  });

  it("lets the only request of a quiet hour be sent again", () => {
    const budget = createRetryBudget(20, 1, 0);
    assert.equal(takeRetry(budget, 1, 3_600_000), true);
  });

  it("saves up no more than what its memory's time earns", () => {
    const budget = createRetryBudget(10, 1, 0);
    assert.equal(takeRetry(budget, 1_000_000, 3_600_000), true);
    let granted = 0;
    while (takeRetry(budget, 1_000_000, 3_600_000)) granted++;
    // Ten seconds of an hour of a million requests, a tenth of them; and one a second.
    assert.ok(granted >= 280 && granted <= 290, String(granted));
  });

  it("grants in the long run no more than its share, its least and what it had, whatever comes when", () => {
    const step = fc.record({ passed_ms: fc.nat(20_000), came: fc.nat(500), wanted: fc.nat(50) });
    fc.assert(
      fc.property(
        fc.nat(100),
        fc.nat(10),
        fc.array(step, { maxLength: 50 }),
        (percent, least_per_second, steps) => {
          const budget = createRetryBudget(percent, least_per_second, 0);
          let [now_ms, requests, granted] = [0, 0, 0];
          for (const { passed_ms, came, wanted } of steps) {
            now_ms += passed_ms;
            requests += came;
            for (let i = 0; i < wanted; i++) if (takeRetry(budget, requests, now_ms)) granted++;
          }
          const most = (requests * percent) / 100 + (now_ms / 1000 + 1) * least_per_second;
          assert.ok(granted <= most + 1e-6, `${granted} of ${most}`);
        },
      ),
    );
  });
});
