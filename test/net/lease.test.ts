import assert from "node:assert/strict";
import { test } from "node:test";
import { epochOf } from "../../conf/epoch.ts";
import { LEASE_LAYOUT as at, leaseOf } from "../../net/lease.ts";

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
  lease.setStands(true);
  assert.equal(lease.raiseEpoch(0, 258), true);
  assert.equal(lease.raiseEpoch(258, LAST), true);
  assert.equal(view.getBigUint64(at.until_ns, true), 2n ** 63n + 5n);
  assert.equal(view.getUint32(at.epoch, true), LAST);
  assert.equal(view.getUint32(at.former, true), 258);
  assert.equal(view.getUint32(at.offered, true), 0);
  assert.equal(view.getUint32(at.stands, true), 1);
  assert.deepEqual([lease.until_ns(), lease.epoch(), lease.former()], [2n ** 63n + 5n, LAST, 258]);
  lease.setStands(false);
  assert.equal(view.getUint32(at.stands, true), 0);
  lease.close();
  assert.equal(unmapped(), 1);
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
  view.setUint32(at.stands, 1, true);
  assert.equal(lease.offered(), LAST);
  lease.clearOffered();
  assert.deepEqual([lease.offered(), view.getUint32(at.stands, true)], [0, 1]);
});
