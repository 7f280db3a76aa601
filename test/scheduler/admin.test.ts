import assert from "node:assert/strict";
import { test } from "node:test";
import type { NodeStateName } from "../../conf/messages.ts";
import { answerAdmin, type AdminDesk } from "../../scheduler/admin.ts";
import { createMember, type Member } from "../../scheduler/nodes/members.ts";

function deskOf(states: readonly NodeStateName[], otherScheduler = ""): AdminDesk {
  const members = states.map((_, i): Member => {
    const number = i + 1;
    const base = { interface: "eth0", interfaces: [], enabled: true, weight: 1, priority: 100 };
    const config = { ...base, number, name: `node${number}`, address: `192.0.2.${number}` };
    return createMember(config, { number: 1, macs: [] }, undefined, 0);
  });
  return {
    members,
    otherScheduler: () => otherScheduler,
    setDraining: (member, isDraining) => void (member.isDraining = isDraining),
    stateOf: (member) => ({ state: states[members.indexOf(member)]!, buckets: 12 }),
    handOver: async (member) => `${member?.config.name ?? "the best"} schedules`,
  };
}

test("a node is drained and undrained by name or number", async () => {
  const desk = deskOf(["up", "up"]);
  assert.equal(await answerAdmin(desk, "drain node2"), "node2 drains");
  assert.equal(desk.members[1]!.isDraining, true);
  assert.equal(await answerAdmin(desk, "undrain 2"), "node2 takes traffic again");
  assert.equal(desk.members[1]!.isDraining, false);
});

test("a node takes over that is named, or the best one", async () => {
  const desk = deskOf(["up", "up"]);
  assert.equal(await answerAdmin(desk, "handover 2"), "node2 schedules");
  assert.equal(await answerAdmin(desk, "handover"), "the best schedules");
  await assert.rejects(answerAdmin(desk, "handover node9"), { code: "NODE_UNKNOWN" });
  await assert.rejects(answerAdmin(desk, "handover node1 node2"), { code: "COMMAND_UNKNOWN" });
});

test("the state of a drain names what is left", async () => {
  const desk = deskOf(["up", "draining"]);
  desk.members[1]!.connectionsLeft = 3;
  const status: unknown = JSON.parse(await answerAdmin(desk, "drain-status node2"));
  assert.deepEqual(status, { node: "node2", state: "draining", connections_left: 3, buckets_left: 12 });
});

test("the last node that is up is not drained", async () => {
  const desk = deskOf(["up", "failed"]);
  await assert.rejects(answerAdmin(desk, "drain node1"), { code: "LAST_NODE" });
  assert.equal(desk.members[0]!.isDraining, false);
});

test("what is not understood is refused with what may be meant", async () => {
  const desk = deskOf(["up", "up"]);
  await assert.rejects(answerAdmin(desk, "drian node1"), /unknown command 'drian'; did you mean 'drain'\?/);
  await assert.rejects(answerAdmin(desk, "drain node9"), /no node 'node9'; the nodes are node1 and node2/);
  await assert.rejects(answerAdmin(desk, "drain node1 node2"), { code: "COMMAND_UNKNOWN" });
  await assert.rejects(answerAdmin(desk, ""), { code: "COMMAND_UNKNOWN" });
});

test("a node that does not schedule names the one that does", async () => {
  const desk = deskOf(["up", "up"], "node7 is the scheduler");
  for (const line of ["drain node1", "handover node2"]) {
    await assert.rejects(answerAdmin(desk, line), /node7 is the scheduler; run it there/);
  }
});
