import assert from "node:assert/strict";
import { test } from "node:test";
import type { NodeStateName } from "../../conf/messages.ts";
import { answerAdmin, type AdminDesk } from "../../scheduler/admin.ts";
import { createMember, type Member } from "../../scheduler/nodes/members.ts";

function deskOf(states: readonly NodeStateName[], otherScheduler = ""): AdminDesk {
  const members = states.map((_, i): Member => {
    const number = i + 1;
    const base = { interface: "eth0", interfaces: [], enabled: true, weight: 1 };
    const config = { ...base, number, name: `node${number}`, address: `192.0.2.${number}` };
    return createMember(config, { number: 1, macs: [] }, undefined, 0);
  });
  return {
    members,
    otherScheduler: () => otherScheduler,
    setDraining: (member, isDraining) => void (member.isDraining = isDraining),
    stateOf: (member) => ({ state: states[members.indexOf(member)]!, buckets: 12 }),
  };
}
const codeOf = (run: () => unknown): string => {
  try {
    run();
    return "none";
  } catch (error) {
    return error instanceof Error && "code" in error ? String(error.code) : String(error);
  }
};

test("a node is drained and undrained by name or number", () => {
  const desk = deskOf(["up", "up"]);
  assert.equal(answerAdmin(desk, "drain node2"), "node2 drains");
  assert.equal(desk.members[1]!.isDraining, true);
  assert.equal(answerAdmin(desk, "undrain 2"), "node2 takes traffic again");
  assert.equal(desk.members[1]!.isDraining, false);
});

test("the state of a drain names what is left", () => {
  const desk = deskOf(["up", "draining"]);
  desk.members[1]!.connectionsLeft = 3;
  const status: unknown = JSON.parse(answerAdmin(desk, "drain-status node2"));
  assert.deepEqual(status, { node: "node2", state: "draining", connections_left: 3, buckets_left: 12 });
});

test("the last node that is up is not drained", () => {
  const desk = deskOf(["up", "failed"]);
  assert.equal(
    codeOf(() => answerAdmin(desk, "drain node1")),
    "LAST_NODE",
  );
  assert.equal(desk.members[0]!.isDraining, false);
});

test("what is not understood is refused with what may be meant", () => {
  const desk = deskOf(["up", "up"]);
  assert.throws(() => answerAdmin(desk, "drian node1"), /unknown command 'drian'; did you mean 'drain'\?/);
  assert.throws(() => answerAdmin(desk, "drain node9"), /no node 'node9'; the nodes are node1 and node2/);
  assert.equal(
    codeOf(() => answerAdmin(desk, "drain node1 node2")),
    "COMMAND_UNKNOWN",
  );
  assert.equal(
    codeOf(() => answerAdmin(desk, "")),
    "COMMAND_UNKNOWN",
  );
});

test("a node that does not schedule names the one that does", () => {
  assert.throws(
    () => answerAdmin(deskOf(["up", "up"], "node7"), "drain node1"),
    /node7 is the scheduler; run it there/,
  );
});
