import assert from "node:assert/strict";
import { test } from "node:test";
import * as fc from "fast-check";
import { ANNOUNCE_AT_MS, LEASE_MS, LEASE_RENEWAL_MS } from "../../conf/limits.ts";
import { newRole, roleTick } from "../../failover/role.ts";

/** Times at which the VIPs are announced, for ticks at these times. */
function announcedAt(isScheduler: boolean, ticks: readonly number[]): number[] {
  let role = newRole(isScheduler, ticks[0] ?? 0);
  return ticks.filter((now_ms) => {
    const turn = roleTick(role, now_ms);
    role = turn.role;
    return turn.actions.isAnnouncing;
  });
}

test("the scheduler announces at once and again at the set times, then no more", () => {
  const ticks = Array.from({ length: 300 }, (_, i) => 5000 + i * LEASE_RENEWAL_MS);
  assert.deepEqual(
    announcedAt(true, ticks),
    ANNOUNCE_AT_MS.map((at_ms) => 5000 + at_ms),
  );
});

test("a stalled process makes up for missed announcements by one", () => {
  assert.deepEqual(announcedAt(true, [0, 50, 10_000, 10_020, 20_000]), [0, 10_000]);
});

test("a node that does not schedule neither announces nor holds a lease", () => {
  fc.assert(
    fc.property(fc.array(fc.nat()), (ticks) => {
      assert.deepEqual(announcedAt(false, ticks), []);
      for (const now_ms of ticks) {
        assert.equal(roleTick(newRole(false, 0), now_ms).actions.lease_until_ms, 0);
      }
    }),
  );
});

test("the lease always ends a set time after the tick, and outlives several renewals", () => {
  fc.assert(
    fc.property(fc.nat(), (now_ms) => {
      assert.equal(roleTick(newRole(true, 0), now_ms).actions.lease_until_ms, now_ms + LEASE_MS);
    }),
  );
  assert.ok(LEASE_MS >= 4 * LEASE_RENEWAL_MS);
});
