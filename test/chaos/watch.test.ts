import assert from "node:assert/strict";
import { test } from "node:test";
import type { NodeState } from "./rounds.ts";
import { unsettled } from "./watch.ts";

const states = (...list: NodeState[]): Map<string, NodeState> =>
  new Map(list.map((state, i) => [`node${i + 1}`, state]));

const up = (name: string, ip_groups: number) => ({ name, state: "up" as const, ip_groups, waiting: 0 });

test("an array has settled when every node is in its state and IP groups are where they belong", () => {
  const rows = [
    { name: "node1", state: "up", ip_groups: 70, waiting: 0 },
    { name: "node2", state: "up", ip_groups: 50, waiting: 9 },
    { name: "node3", state: "draining", ip_groups: 0, waiting: 0 },
    { name: "node4", state: "down", ip_groups: 0, waiting: 0 },
  ] as const;
  assert.equal(unsettled(rows, states("up", "up", "drained", "killed")), "");
  assert.equal(unsettled(rows, states("up", "up", "up", "killed")), "node3 is draining");
  assert.equal(unsettled(rows, states("up", "up", "drained", "up")), "node4 is down");
});

test("it has not while a node that is up has much too little, or another one has something", () => {
  const drained = { name: "node3", state: "drained" as const, ip_groups: 1, waiting: 0 };
  assert.equal(
    unsettled([up("node1", 90), up("node2", 10)], states("up", "up")),
    "node2 has 10 of 100 IP groups",
  );
  const rows = [up("node1", 50), up("node2", 50), drained];
  assert.equal(unsettled(rows, states("up", "up", "drained")), "node3 still has 1 IP groups");
  const waits = [up("node1", 50), up("node2", 50), { ...drained, waiting: 1 }];
  assert.equal(unsettled(waits, states("up", "up", "drained")), "");
  assert.equal(unsettled(waits, states("up", "up", "killed")), "node3 is drained");
});
