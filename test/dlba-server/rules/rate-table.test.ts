import assert from "node:assert/strict";
import { describe, it } from "node:test";
import * as fc from "fast-check";
import { parseIp } from "../../../conf/address.ts";
import { createRateTable, takeFromRate } from "../../../dlba-server/rules/rate-table.ts";

const table = (sets = 64) => createRateTable(new ArrayBuffer(sets * 128), Buffer.alloc(16, 3));
const limitOf = (requests: number, period_ms: number, id = 1) => ({ id, requests, period_ms });
const client = (text: string) => parseIp(text)!;
const ONE = client("192.0.2.1");

describe("a client's rate", () => {
  it("may be used up at once, and comes back evenly", () => {
    const rates = table();
    const limit = limitOf(4, 1000);
    const waits = [0, 0, 0, 0, 1, 249, 250, 250.5, 500].map((at) =>
      takeFromRate(rates, limit, ONE, 5000 + at),
    );
    assert.deepEqual(waits, [0, 0, 0, 0, 249, 1, 0, 249.5, 0]);
  });

  it("is whole again after a period", () => {
    const rates = table();
    const limit = limitOf(3, 900);
    for (const start of [0, 900, 100_000]) {
      const waits = Array.from({ length: 4 }, () => takeFromRate(rates, limit, ONE, 1 + start) === 0);
      assert.deepEqual(waits, [true, true, true, false]);
    }
  });

  it("is each client's and each limit's own; of IPv6 a network's", () => {
    const rates = table();
    const [limit, other] = [limitOf(1, 1000, 1), limitOf(1, 1000, 2)];
    const isWithin = (text: string, of = limit): boolean => takeFromRate(rates, of, client(text), 1) === 0;
    assert.deepEqual(
      [isWithin("192.0.2.1"), isWithin("192.0.2.2"), isWithin("192.0.2.1", other), isWithin("192.0.2.1")],
      [true, true, true, false],
    );
    assert.deepEqual(
      [isWithin("2001:db8:0:1::1"), isWithin("2001:db8:0:1:ffff::2"), isWithin("2001:db8:0:2::1")],
      [true, false, true],
    );
  });

  it("is not taken from what the machine's last run has left", () => {
    const rates = table();
    for (let i = 0; i < 3; i++) takeFromRate(rates, limitOf(3, 1000), ONE, 9_000_000);
    assert.equal(takeFromRate(rates, limitOf(3, 1000), ONE, 10), 0);
  });

  it("never exceeds the requests of a period and its even share, whenever they come", () => {
    const steps = fc.array(fc.nat(400), { minLength: 1, maxLength: 200 });
    fc.assert(
      fc.property(
        fc.integer({ min: 1, max: 20 }),
        fc.integer({ min: 1, max: 5000 }),
        steps,
        (requests, period_ms, gaps) => {
          const rates = table();
          const limit = limitOf(requests, period_ms);
          let now_ms = 1;
          const granted: number[] = [];
          for (const gap of gaps) {
            now_ms += gap;
            const wait_ms = takeFromRate(rates, limit, ONE, now_ms);
            assert.ok(wait_ms >= 0 && wait_ms <= period_ms / requests + 1e-6);
            if (wait_ms === 0) granted.push(now_ms);
          }
          for (let i = 0; i < granted.length; i++) {
            const span_ms = granted.at(-1)! - granted[i]!;
            const most = requests + (span_ms * requests) / period_ms + 1e-3;
            assert.ok(granted.length - i <= most, `${granted.length - i} in ${span_ms} ms`);
          }
        },
      ),
    );
  });
});

describe("a full table", () => {
  it("keeps those who have asked most lately", () => {
    const rates = table(1);
    const limit = limitOf(10, 10_000);
    for (let i = 0; i < 10; i++) takeFromRate(rates, limit, ONE, 100);
    for (let i = 2; i < 250; i++) assert.equal(takeFromRate(rates, limit, client(`192.0.2.${i}`), 101), 0);
    assert.ok(takeFromRate(rates, limit, ONE, 102) > 0, "the eager one is still known");
  });

  it("shares nobody's entry in practice", () => {
    const rates = table(1024);
    const limit = limitOf(1, 1000);
    let refused = 0;
    for (let i = 0; i < 4000; i++) {
      if (takeFromRate(rates, limit, client(`10.0.${i >> 8}.${i & 255}`), 1) > 0) refused++;
    }
    assert.equal(refused, 0);
  });
});
