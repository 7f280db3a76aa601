import assert from "node:assert/strict";
import { test } from "node:test";
import * as fc from "fast-check";
import { heartbeatOrders } from "../../net/heartbeat-orders.ts";

const NOTHING = { epoch: 0, isLeased: false, offer: undefined };

test("news and offers reach the other side's view of the memory, each without touching the other", () => {
  const own = heartbeatOrders(2);
  const other = heartbeatOrders(2, own.shared);
  assert.deepEqual(other.news(), NOTHING);
  const news = fc.record({ epoch: fc.nat({ max: 0xffff_ffff }), isLeased: fc.boolean() });
  const offers = fc.option(fc.nat({ max: 254 }), { nil: undefined });
  fc.assert(
    fc.property(news, offers, news, (first, offer, second) => {
      own.setNews(first);
      own.setOffer(offer);
      assert.deepEqual(other.news(), { ...first, offer });
      own.setNews(second);
      assert.deepEqual(other.news(), { ...second, offer });
    }),
  );
});

test("a key reaches the other side once, and whole", () => {
  const own = heartbeatOrders(2);
  const other = heartbeatOrders(2, own.shared);
  const held = new Uint8Array(16).fill(9);
  other.takeKey(held);
  assert.deepEqual(held, new Uint8Array(16).fill(9), "none was said yet");
  for (const byte of [1, 2]) {
    own.setKey(new Uint8Array(16).fill(byte));
    other.takeKey(held);
    assert.deepEqual(held, new Uint8Array(16).fill(byte));
    held.fill(9);
    other.takeKey(held);
    assert.deepEqual(held, new Uint8Array(16).fill(9), "it is taken once");
  }
});

test("to look again at the memory forgets no orders", () => {
  const own = heartbeatOrders(1);
  own.setNews({ epoch: 7, isLeased: true });
  own.setPace(0, 10);
  heartbeatOrders(1, own.shared);
  assert.deepEqual([own.news().epoch, own.interval_ns(0)], [7, 10_000_000]);
});

test("orders that don't wait for the next question keep the thread from sleeping on", () => {
  const orders = heartbeatOrders(3);
  const sleepsFor_ms = (order: () => void, wanted_ms: number): number => {
    const seen = orders.orders();
    order();
    const from_ms = performance.now();
    orders.sleep(seen, wanted_ms * 1e6);
    return performance.now() - from_ms;
  };
  const isAwake = (order: () => void): boolean => sleepsFor_ms(order, 20_000) < 10_000;
  const sleepsOn = (order: () => void): boolean => sleepsFor_ms(order, 20) >= 15;
  assert.ok(sleepsOn(() => orders.setNews({ epoch: 1, isLeased: true })));
  assert.ok(isAwake(() => orders.setPace(2, 50)));
  assert.ok(
    sleepsOn(() => orders.setPace(2, 50)),
    "the pace was this one before",
  );
  assert.deepEqual([orders.interval_ns(1), orders.interval_ns(2)], [0, 50_000_000]);
  orders.setPace(0, Infinity);
  assert.ok(orders.interval_ns(0) > 1e12);
  const asked = orders.asked();
  assert.equal(isAwake(orders.askNow), true);
  assert.equal(orders.asked(), asked + 1);
  assert.equal(orders.isStopped(), false);
  assert.equal(isAwake(orders.stop), true);
  assert.equal(orders.isStopped(), true);
});
