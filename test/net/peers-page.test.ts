import assert from "node:assert/strict";
import { test } from "node:test";
import { markDeadIn, nodesPin, peersOf, PEERS_LAYOUT, peersPin } from "../../net/peers-page.ts";

const { peer: PEER, node: NODE, rows, channels } = PEERS_LAYOUT;

test("a peer's row is read as the kernel writes it, up to the last one", () => {
  const peers = new ArrayBuffer(channels * rows * PEER.size);
  const view = new DataView(peers, 255 * PEER.size);
  view.setBigUint64(PEER.answered_ns, 2n ** 63n + 1n, true);
  view.setBigUint64(PEER.heard_ns, 2n ** 63n + 2n, true);
  view.setBigUint64(PEER.table_version, 2n ** 40n, true);
  view.setUint32(PEER.epoch, 0xffff_fffe, true);
  view.setUint32(PEER.flags, 3, true);
  const page = peersOf(peers, new ArrayBuffer(rows * NODE.size), 0);
  assert.deepEqual([page.answered_ns(255), page.heard_ns(255)], [2n ** 63n + 1n, 2n ** 63n + 2n]);
  assert.deepEqual([page.table_version(255), page.epoch(255), page.flags(255)], [2 ** 40, 0xffff_fffe, 3]);
  assert.equal(page.answered_ns(254), 0n);
});

test("each process has rows of its own for the answers to its questions", () => {
  const peers = new ArrayBuffer(channels * rows * PEER.size);
  const nodes = new ArrayBuffer(rows * NODE.size);
  new DataView(peers).setBigUint64((rows + 3) * PEER.size + PEER.answered_ns, 5n, true);
  assert.deepEqual(
    ([0, 1] as const).map((channel) => peersOf(peers, nodes, channel).answered_ns(3)),
    [0n, 5n],
  );
});

test("a node that is marked dead loses what makes the program send to it, and nothing else", () => {
  const nodes = new ArrayBuffer(rows * NODE.size);
  const flags = new Uint32Array(nodes);
  const at = (number: number): number => (number * NODE.size + NODE.flags) / 4;
  flags.fill(0xffff_ffff);
  markDeadIn(nodes)(254);
  assert.equal(flags[at(254)], ~(NODE.up | NODE.reachable) >>> 0);
  assert.equal(flags.filter((word) => word !== 0xffff_ffff).length, 1);
});

test("a MAC address is a copy, and unknown as long as it is all zeros", () => {
  const nodes = new ArrayBuffer(rows * NODE.size);
  const page = peersOf(new ArrayBuffer(channels * rows * PEER.size), nodes, 0);
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
