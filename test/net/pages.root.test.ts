/**
 * The pages by which a node's failover process and its scheduler process talk: what the one writes the other reads, and
 * the program, too. Needs root.
 */
import assert from "node:assert/strict";
import { before, test, type TestContext } from "node:test";
import { openControlPage } from "../../net/control-page.ts";
import { readInterface } from "../../net/interface.ts";
import { openLease } from "../../net/lease.ts";
import { openNodeFlags } from "../../net/peers-page.ts";
import { detachDataPlane, openDataPlane } from "../../scheduler/plane/data-plane.ts";
import { pinDirectory } from "../scheduler/network.ts";
import { enterOwnNetwork, ip } from "./network-namespace.ts";

before(() => {
  enterOwnNetwork();
  ip("link add name eth0 type veth peer name eth1");
});

function planeOn(t: TestContext, interfaces: readonly string[]) {
  const pinDir = pinDirectory(t);
  const plane = openDataPlane({ interfaces, pinDir, tableSize: 1024, trafficRows: 64, mode: "generic" });
  t.after(() => {
    plane.close();
    detachDataPlane(pinDir);
  });
  return { plane, pinDir };
}

test("before there is a data plane, no page can be opened", () => {
  for (const open of [
    () => openLease("/sys/fs/bpf/none"),
    () => openControlPage("/sys/fs/bpf/none", 0),
    () => openNodeFlags("/sys/fs/bpf/none", 0),
  ]) {
    assert.throws(open, { code: "NO_DATA_PLANE" });
  }
});

test("the failover process reads what the scheduler process says of itself, on any interface", (t) => {
  const { plane, pinDir } = planeOn(t, ["eth0", "eth1"]);
  const pages = [0, 1].map((slot) => openControlPage(pinDir, slot));
  const read = (): unknown[] =>
    pages.map((page) => [page.turned_ns(), page.table_version(), page.handOverTo(), page.isMerging()]);
  assert.deepEqual(read(), [
    [0n, 0, undefined, false],
    [0n, 0, undefined, false],
  ]);
  plane.setTurned(2 ** 53);
  plane.setTableVersion(2 ** 40);
  plane.setHandOverTo(0);
  plane.setMerging(true);
  assert.deepEqual(read(), [
    [2n ** 53n, 2 ** 40, 0, true],
    [2n ** 53n, 2 ** 40, 0, true],
  ]);
  plane.setHandOverTo(undefined);
  assert.deepEqual(
    pages.map((page) => page.handOverTo()),
    [undefined, undefined],
  );
  for (const page of pages) page.close();
});

test("a node that the failover process marks dead is neither up nor reachable on that interface", (t) => {
  const { plane, pinDir } = planeOn(t, ["eth0", "eth1"]);
  const state = { isUp: true, isSelf: false, isReachable: true, isDraining: true, isScattered: true };
  const { mac } = readInterface("eth1");
  for (const one of plane.planes)
    for (const number of [2, 3]) one.setNode(0, number, { mac, slot: 5, ...state });
  const flags = openNodeFlags(pinDir, 1);
  flags.markDead(2);
  flags.close();
  const [first, second] = plane.planes;
  const dead = { mac, slot: 5, ...state, isUp: false, isReachable: false };
  assert.deepEqual(second?.readNode(0, 2), dead);
  for (const alive of [second?.readNode(0, 3), first?.readNode(0, 2)])
    assert.deepEqual(alive, { mac, slot: 5, ...state });
});

test("both processes have the same lease page", (t) => {
  const { plane, pinDir } = planeOn(t, ["eth0"]);
  const lease = openLease(pinDir);
  lease.setUntil(77n);
  assert.equal(lease.raiseEpoch(0, 258), true);
  assert.deepEqual([plane.lease.until_ns(), plane.lease.epoch(), plane.lease.former()], [77n, 258, 0]);
  lease.close();
});
