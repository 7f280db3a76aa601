import assert from "node:assert/strict";
import { test } from "node:test";
import { nodesPin, peersOf, PEERS_LAYOUT, peersPin } from "../../net/peers-page.ts";

const { peer: PEER, node: NODE, rows } = PEERS_LAYOUT;

test("a peer's row is read as the kernel writes it, up to the last one", () => {
  const peers = new ArrayBuffer(rows * PEER.size);
  const view = new DataView(peers, 255 * PEER.size);
  view.setBigUint64(PEER.answered_ns, 2n ** 63n + 1n, true);
  view.setBigUint64(PEER.heard_ns, 2n ** 63n + 2n, true);
  view.setBigUint64(PEER.table_version, 2n ** 40n, true);
  view.setUint32(PEER.epoch, 0xffff_fffe, true);
  view.setUint32(PEER.flags, 3, true);
  const page = peersOf(peers, new ArrayBuffer(rows * NODE.size));
  assert.deepEqual([page.answered_ns(255), page.heard_ns(255)], [2n ** 63n + 1n, 2n ** 63n + 2n]);
  assert.deepEqual([page.table_version(255), page.epoch(255), page.flags(255)], [2 ** 40, 0xffff_fffe, 3]);
  assert.equal(page.answered_ns(254), 0n);
});

test("a MAC address is a copy, and unknown as long as it is all zeros", () => {
  const nodes = new ArrayBuffer(rows * NODE.size);
  const page = peersOf(new ArrayBuffer(rows * PEER.size), nodes);
  assert.equal(page.macOf(3), undefined);
  new Uint8Array(nodes).set([2, 0, 0, 0, 0, 3], 3 * NODE.size + NODE.mac);
  const mac = page.macOf(3);
  assert.deepEqual(mac, Uint8Array.of(2, 0, 0, 0, 0, 3));
  new Uint8Array(nodes).fill(9);
  assert.deepEqual(mac, Uint8Array.of(2, 0, 0, 0, 0, 3));
});

test("each interface has pins of its own", () => {
  assert.deepEqual([peersPin(0), nodesPin(1)], ["peers-0", "nodes-1"]);
});
