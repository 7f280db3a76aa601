import assert from "node:assert/strict";
import { test } from "node:test";
import { epochOf } from "../../conf/epoch.ts";
import { HEARTBEAT_STANDS, sideOf } from "../../net/heartbeat.ts";
import { LEASE_LAYOUT as at, leaseOf } from "../../net/lease.ts";
import * as layout from "../../scheduler/layout.ts";

function page() {
  const buffer = new ArrayBuffer(4096);
  let unmapped = 0;
  const lease = leaseOf({ buffer, unmap: () => void unmapped++ });
  return { lease, view: new DataView(buffer), unmapped: () => unmapped };
}
const LAST = epochOf(0xff_ffff, 254);

test("what is written stands where the program reads it", () => {
  const { lease, view, unmapped } = page();
  lease.setUntil(2n ** 63n + 5n);
  lease.tell({ stands: true, side: 0 });
  assert.equal(lease.raiseEpoch(0, 258), true);
  assert.equal(lease.raiseEpoch(258, LAST), true);
  assert.equal(view.getBigUint64(at.until_ns, true), 2n ** 63n + 5n);
  assert.equal(view.getUint32(at.epoch, true), LAST);
  assert.equal(view.getUint32(at.former, true), 258);
  assert.equal(view.getUint32(at.offered, true), 0);
  assert.equal(view.getUint32(at.told, true), HEARTBEAT_STANDS);
  assert.deepEqual([lease.until_ns(), lease.epoch(), lease.former()], [2n ** 63n + 5n, LAST, 258]);
  lease.tell({ stands: false, side: 0 });
  assert.equal(view.getUint32(at.told, true), 0);
  lease.close();
  assert.equal(unmapped(), 1);
});

test("who stands and how many follow are told as flags that peers read, and neither changes the other", () => {
  const { lease, view } = page();
  for (const stands of [true, false]) {
    for (let side = 0; side < 300; side++) {
      lease.tell({ stands, side });
      const told = view.getUint32(at.told, true);
      assert.equal(told & ~layout.HEARTBEAT_SIDE, stands ? HEARTBEAT_STANDS : 0);
      assert.equal(sideOf(told), Math.min(side, 255), "more than there is room for are told as many");
    }
  }
  const others = ~(layout.HEARTBEAT_SIDE | HEARTBEAT_STANDS);
  assert.equal(sideOf(others), 0, "no other flag counts");
});

test("an epoch that the kernel has raised meanwhile is not overwritten", () => {
  const { lease, view } = page();
  lease.raiseEpoch(0, 258);
  view.setUint32(at.epoch, 515, true);
  view.setUint32(at.former, 258, true);
  assert.equal(lease.raiseEpoch(258, 513), false);
  assert.deepEqual([lease.epoch(), lease.former()], [515, 258]);
});

test("the former epoch changes by itself, and keeps nobody from raising the epoch", () => {
  const { lease } = page();
  lease.raiseEpoch(0, 258);
  lease.setFormer(LAST);
  assert.deepEqual([lease.epoch(), lease.former()], [258, LAST]);
  assert.equal(lease.raiseEpoch(258, 515), true);
  assert.deepEqual([lease.epoch(), lease.former()], [515, 258]);
  lease.setFormer(0);
  assert.deepEqual([lease.epoch(), lease.former()], [515, 0]);
});

test("an offer is the kernel's word, and is cleared when it was taken", () => {
  const { lease, view } = page();
  view.setUint32(at.offered, LAST, true);
  lease.tell({ stands: true, side: 1 });
  assert.equal(lease.offered(), LAST);
  lease.clearOffered();
  assert.deepEqual([lease.offered(), view.getUint32(at.told, true)], [0, HEARTBEAT_STANDS + 256]);
});
