import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import {
  advance,
  arm,
  createTimerWheel,
  disarm,
  TICK_MS,
  untilNext_ms,
  type Timed,
} from "../../../dlba-server/engine/timer-wheel.ts";

interface Entry extends Timed<Entry> {
  readonly id: number;
}
const entry = (id: number): Entry => ({
  id,
  deadline_ms: Infinity,
  slotTick: -1,
  wheelNext: undefined,
  wheelPrevious: undefined,
});

test("an entry fires once, at the first look after its deadline", () => {
  const wheel = createTimerWheel<Entry>(1000);
  const fired: number[] = [];
  arm(wheel, entry(1), 1055);
  advance(wheel, 1054, ({ id }) => fired.push(id));
  assert.equal(fired.length, 0);
  advance(wheel, 1060, ({ id }) => fired.push(id));
  advance(wheel, 9000, ({ id }) => fired.push(id));
  assert.deepEqual(fired, [1]);
  assert.equal(wheel.count, 0);
  assert.equal(untilNext_ms(wheel, 9000), Infinity);
});

test("a deadline that is pushed back again and again never fires early", () => {
  const wheel = createTimerWheel<Entry>(0);
  const one = entry(1);
  for (let now_ms = 0; now_ms < 60_000; now_ms += 7) {
    arm(wheel, one, now_ms + 100);
    advance(wheel, now_ms, () => assert.fail(`fired at ${now_ms}`));
  }
});

test("a deadline beyond the wheel's horizon is kept", () => {
  const wheel = createTimerWheel<Entry>(0);
  const fired: number[] = [];
  arm(wheel, entry(1), 3_600_000);
  for (let now_ms = 0; now_ms < 3_600_000; now_ms += 500)
    advance(wheel, now_ms, () => assert.fail("too early"));
  advance(wheel, 3_600_000 + TICK_MS, ({ id }) => fired.push(id));
  assert.deepEqual(fired, [1]);
});

test("an entry's handler may take out any other entry", () => {
  const wheel = createTimerWheel<Entry>(0);
  const entries = [0, 1, 2].map(entry);
  for (const one of entries) arm(wheel, one, 50);
  let fired = 0;
  advance(wheel, 100, () => {
    fired++;
    for (const one of entries) disarm(wheel, one);
  });
  assert.equal(fired, 1);
  assert.equal(wheel.count, 0);
});

test("whatever is armed, changed and taken out, each deadline fires in its tick and none is lost", () => {
  const step = fc.record({
    id: fc.nat({ max: 19 }),
    action: fc.constantFrom("arm", "disarm", "wait", "stall"),
    amount: fc.nat({ max: 30_000 }),
  });
  fc.assert(
    fc.property(fc.array(step, { maxLength: 200 }), (steps) => {
      const wheel = createTimerWheel<Entry>(0);
      const entries = Array.from({ length: 20 }, (_, id) => entry(id));
      const expected = new Map<number, number>();
      let now_ms = 0;
      const look = (): void => {
        advance(wheel, now_ms, ({ id }) => {
          assert.ok((expected.get(id) ?? Infinity) <= now_ms, `entry ${id} fired too early`);
          expected.delete(id);
        });
        for (const [id, deadline_ms] of expected) {
          assert.ok(deadline_ms > now_ms - TICK_MS, `entry ${id} of ${deadline_ms} is late at ${now_ms}`);
        }
        const next = Math.min(...expected.values());
        assert.ok(
          untilNext_ms(wheel, now_ms) <= Math.max(0, next - now_ms) + TICK_MS,
          "the wait is too long",
        );
      };
      for (const { id, action, amount } of steps) {
        if (action === "arm") {
          arm(wheel, entries[id]!, now_ms + amount);
          expected.set(id, now_ms + amount);
        } else if (action === "disarm") {
          disarm(wheel, entries[id]!);
          expected.delete(id);
        } else {
          now_ms += action === "stall" ? amount * 10 : amount / 100;
          look();
        }
      }
    }),
  );
});
