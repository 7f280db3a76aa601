/** Clients' connections, counted by several workers in memory that they share. */
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import {
  addConnection,
  createClientConnections,
  dropConnection,
  tellAll,
} from "../../../dlba-server/rules/client-connections.ts";
import {
  beat,
  claimPart,
  connectionsElsewhere,
  createNodeConnections,
  leavePart,
  nodeConnections_bytes,
  tellConnections,
} from "../../../dlba-server/rules/node-connections.ts";

const PARTS = 4;
const ENTRIES = 64;
const KEY = Buffer.alloc(32, 3).subarray(0, 16);

function node() {
  const memory = new ArrayBuffer(nodeConnections_bytes(PARTS, ENTRIES));
  const clock = { now_ms: 1000 };
  const worker = (pid: number, most = 3, purpose = 0) => {
    const table = createNodeConnections(memory, PARTS, ENTRIES, KEY);
    const connections = createClientConnections(most, purpose);
    connections.elsewhere = { table, clock_ms: () => clock.now_ms };
    const claimed = claimPart(table, pid, clock.now_ms);
    return {
      table,
      claimed,
      connections,
      add: (client: string) => addConnection(connections, client),
      drop: (client: string) => dropConnection(connections, client),
      beat: () => beat(table, pid, clock.now_ms),
    };
  };
  return { clock, worker };
}

describe("the workers of a node count together", () => {
  test("whoever of them has a client's connections, and whatever else a client has", () => {
    const { worker } = node();
    const [one, two] = [worker(1), worker(2)];
    const other = worker(3, 3, 77);
    assert.deepEqual(
      [one.add("a"), two.add("a"), one.add("a"), two.add("a")],
      ["served", "served", "served", "answered"],
    );
    assert.equal(one.add("b"), "served");
    assert.equal(other.add("a"), "served", "another vserver's are others");
    assert.deepEqual([two.add("a"), one.add("a"), two.add("a")], ["answered", "answered", "refused"]);
    for (let i = 0; i < 4; i++) two.drop("a");
    assert.equal(one.add("a"), "answered");
    for (let i = 0; i < 4; i++) one.drop("a");
    assert.equal(two.add("a"), "served");
  });

  test("a worker that is killed is forgotten when it has been silent, and its part is taken by another", () => {
    const { worker, clock } = node();
    const [dead, alive] = [worker(1), worker(2)];
    for (let i = 0; i < 3; i++) dead.add("a");
    assert.equal(alive.add("a"), "answered");
    alive.drop("a");
    clock.now_ms += 2900;
    assert.ok(alive.beat());
    assert.equal(alive.add("a"), "answered");
    alive.drop("a");
    clock.now_ms += 200;
    assert.equal(alive.add("a"), "served");
    const next = worker(3);
    assert.equal(next.table.part, 2, "it may only have been slow");
    clock.now_ms += 10_000;
    assert.ok(alive.beat() && next.beat());
    assert.equal(worker(4).table.part, 0);
  });

  test("who comes back after its part was given away takes another one, and tells all that it has", () => {
    const { worker, clock } = node();
    const stopped = worker(1);
    stopped.add("a");
    stopped.add("a");
    clock.now_ms += 20_000;
    const other = worker(2);
    assert.equal(other.table.part, 0);
    assert.equal(stopped.beat(), false);
    assert.ok(claimPart(stopped.table, 1, clock.now_ms));
    tellAll(stopped.connections);
    assert.deepEqual([other.add("a"), other.add("a")], ["served", "answered"]);
  });

  test("a part that is given back counts no more; where there is none a worker counts for itself", () => {
    const { worker } = node();
    const all = [worker(1), worker(2), worker(3), worker(4)];
    const fifth = worker(5);
    assert.equal(fifth.claimed, false);
    assert.equal(fifth.beat(), false);
    assert.deepEqual(
      Array.from({ length: 4 }, () => fifth.add("a")),
      ["served", "served", "served", "answered"],
    );
    for (let i = 0; i < 3; i++) all[0]!.add("b");
    assert.equal(all[1]!.add("b"), "answered");
    leavePart(all[0]!.table, 1);
    assert.equal(all[2]!.add("b"), "served");
    assert.ok(worker(6).claimed);
  });

  test("what another run of the machine has left counts for nothing", () => {
    const { worker, clock } = node();
    worker(1).add("a");
    clock.now_ms = -1_000_000;
    const after = worker(2);
    assert.equal(after.table.part, 0);
    assert.equal(connectionsElsewhere(after.table, "a", 0, clock.now_ms), 0);
  });
});

test("more clients than there are entries are counted as far as there is room, and those that go make room", () => {
  const { worker, clock } = node();
  const [one, two] = [worker(1), worker(2)];
  const clients = Array.from({ length: 10 * ENTRIES }, (_, i) => `10.0.${i >> 8}.${i & 255}`);
  for (const client of clients) tellConnections(one.table, client, 0, 1);
  const seen = (): number =>
    clients.reduce((sum, client) => sum + connectionsElsewhere(two.table, client, 0, clock.now_ms), 0);
  assert.equal(seen(), ENTRIES);
  for (const client of clients) tellConnections(one.table, client, 0, 0);
  assert.equal(seen(), 0);
});
