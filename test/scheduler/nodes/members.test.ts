import assert from "node:assert/strict";
import { test } from "node:test";
import { FAILED_KEEPS_UP_MS, FOLLOW_GRACE_MS } from "../../../conf/limits.ts";
import type { NodeStateName } from "../../../conf/messages.ts";
import type { NodeConfig } from "../../../conf/schema.ts";
import {
  createMember,
  judgeMember,
  learnMac,
  livingNumbers,
  noteStep,
  wantedAddresses,
  type FormerNode,
  type Member,
} from "../../../scheduler/nodes/members.ts";

const OWN_MAC = Uint8Array.of(2, 0, 0, 0, 0, 1);
const MAC = Uint8Array.of(2, 0, 0, 0, 0, 2);
const NOW_MS = 10_000;

function config(number: number, change: Partial<NodeConfig> = {}): NodeConfig {
  return {
    number,
    name: `node${number}`,
    address: `192.0.2.${number}`,
    interface: "eth0",
    interfaces: [],
    enabled: true,
    weight: 1,
    priority: 100,
    ...change,
  };
}
const own = { number: 1, macs: [OWN_MAC] };
const memberOf = (change: Partial<NodeConfig> = {}, former?: FormerNode): Member =>
  createMember(config(2, change), own, former, NOW_MS);

/** One that serves, as it is after its start. */
function serving(change: Partial<NodeConfig> = {}): Member {
  const member = memberOf(change);
  Object.assign(member.links[0]!, { mac: MAC, isReachable: true });
  return Object.assign(member, { isServing: true, isInStep: true, isBehind: false, hasBeenUp: true });
}

test("a node starts step by step, and is up when all of it is there", () => {
  const member = memberOf();
  const reasons: string[] = [];
  const look = (): string => {
    const { state, condition, isUp, reason } = judgeMember(member, 0, NOW_MS);
    reasons.push(reason);
    return `${state} ${condition} ${isUp}`;
  };
  assert.equal(look(), "starting down false");
  member.links[0]!.mac = MAC;
  assert.equal(look(), "starting down false");
  member.links[0]!.isReachable = true;
  assert.equal(look(), "starting leaving false");
  member.isServing = true;
  assert.equal(look(), "starting leaving false");
  Object.assign(member, { isInStep: true, isBehind: false });
  assert.equal(look(), "up up true");
  assert.deepEqual(reasons, [
    "the MAC address of 192.0.2.2 is not known",
    "its kernel at 192.0.2.2 is silent",
    "it has not answered the sweep yet",
    "it does not have the bucket table yet",
    "",
  ]);
});

test("a silent kernel means down at once, whatever else is known", () => {
  const member = serving();
  member.links[0]!.isReachable = false;
  const judgement = judgeMember(member, 5, NOW_MS);
  assert.deepEqual(
    [judgement.condition, judgement.isUp, judgement.isReachable, judgement.state],
    ["down", false, false, "down"],
  );
});

test("a node that is silent on one of its segments is down", () => {
  const further = [{ interface: "eth1", address: "198.51.100.2" }];
  const member = serving({ interfaces: further });
  Object.assign(member.links[1]!, { mac: MAC, isReachable: false });
  assert.equal(judgeMember(member, 0, NOW_MS).reason, "its kernel at 198.51.100.2 is silent");
});

test("a failed node whose kernel lives is sent its frames while its buckets move, and stays reachable", () => {
  const member = serving();
  Object.assign(member, { isServing: false, complaint: "no answer", complaint_since_ms: NOW_MS });
  const isUp = (buckets: number, now_ms: number): boolean => judgeMember(member, buckets, now_ms).isUp;
  assert.equal(isUp(3, NOW_MS + FAILED_KEEPS_UP_MS - 1), true);
  assert.equal(isUp(0, NOW_MS + 1), false);
  assert.equal(isUp(3, NOW_MS + FAILED_KEEPS_UP_MS), false);
  const judgement = judgeMember(member, 0, NOW_MS);
  assert.deepEqual(
    [judgement.condition, judgement.isReachable, judgement.state, judgement.reason],
    ["leaving", true, "failed", "no answer"],
  );
});

test("a node out of step keeps its buckets for a while, then counts as failed", () => {
  const member = serving();
  Object.assign(member, { isInStep: false, outOfStep_since_ms: NOW_MS });
  assert.equal(judgeMember(member, 1, NOW_MS + FOLLOW_GRACE_MS - 1).state, "up");
  assert.equal(judgeMember(member, 1, NOW_MS + FOLLOW_GRACE_MS).state, "failed");
});

test("a draining node takes frames and gets no buckets; it is drained when nothing is left", () => {
  const member = serving();
  member.isDraining = true;
  const look = (buckets: number): string => {
    const { state, condition, isUp, reason } = judgeMember(member, buckets, NOW_MS);
    return `${state} ${condition} ${isUp}: ${reason}`;
  };
  assert.equal(look(7), "draining leaving true: 7 buckets and connections not counted yet left");
  assert.equal(look(0), "draining leaving true: 0 buckets and connections not counted yet left");
  member.connectionsLeft = 1;
  assert.equal(look(0), "draining leaving true: 0 buckets and 1 connection left");
  member.connectionsLeft = 0;
  assert.equal(look(0), "drained leaving true: ");
});

test("a node that is not enabled gets no buckets", () => {
  const { state, condition } = judgeMember(serving({ enabled: false }), 0, NOW_MS);
  assert.deepEqual([state, condition], ["disabled", "leaving"]);
});

test("this node serves until its own sweep says otherwise, and is sent its frames even then", () => {
  const self = createMember(config(1), own, undefined, NOW_MS);
  assert.equal(judgeMember(self, 0, NOW_MS).state, "up");
  Object.assign(self, { isServing: false, complaint: "no worker accepts", complaint_since_ms: 0 });
  const { state, isUp, condition } = judgeMember(self, 0, NOW_MS);
  assert.deepEqual([state, isUp, condition], ["failed", true, "leaving"]);
});

test("what a running data plane knows of a node is kept", () => {
  const former = { macs: [MAC], isUp: true, isReachable: true, isDraining: true };
  const member = memberOf({}, former);
  assert.deepEqual(
    [
      member.links[0]!.mac,
      member.links[0]!.isReachable,
      member.isServing,
      member.isDraining,
      member.hasBeenUp,
    ],
    [MAC, true, true, true, true],
  );
  assert.equal(judgeMember(member, 3, NOW_MS).isUp, true);
  const failed = memberOf({}, { ...former, isUp: false, isDraining: false });
  assert.equal(judgeMember(failed, 3, NOW_MS).isUp, false);
});

test("a configured MAC address counts, whatever was known, and is not asked for", () => {
  const former = { macs: [MAC], isUp: true, isReachable: true, isDraining: false };
  const member = memberOf({ mac: "02:00:00:00:00:77" }, former);
  assert.deepEqual(member.links[0]!.mac, Uint8Array.of(2, 0, 0, 0, 0, 0x77));
  assert.deepEqual(wantedAddresses([member], 0), []);
  assert.equal(learnMac([member], 0, "192.0.2.2", MAC), undefined);
});

test("MAC addresses are asked for while they are unknown or their node is silent, and taken when they are news", () => {
  const self = createMember(config(1), own, undefined, NOW_MS);
  const member = memberOf();
  const members = [self, member];
  assert.deepEqual(wantedAddresses(members, 0), ["192.0.2.2"]);
  assert.equal(learnMac(members, 0, "192.0.2.9", MAC), undefined);
  assert.equal(learnMac(members, 0, "192.0.2.2", MAC), member);
  assert.equal(learnMac(members, 0, "192.0.2.2", MAC), undefined);
  assert.deepEqual(wantedAddresses(members, 0), ["192.0.2.2"]);
  member.links[0]!.isReachable = true;
  assert.deepEqual(wantedAddresses(members, 0), []);
});

test("changes of the table wait for the nodes that are up or draining", () => {
  const [up, failed, fresh] = [serving(), serving(), memberOf()];
  Object.assign(failed, { isServing: false, complaint: "no answer" });
  const self = createMember(config(1), own, undefined, NOW_MS);
  for (const member of [up, failed, fresh]) {
    const members = [self, member];
    const judgements = members.map((member) => judgeMember(member, 0, NOW_MS));
    assert.deepEqual([...livingNumbers(members, judgements)], member === up ? [2] : []);
  }
});

test("a node that the table's changes have not waited for is up again when it has what there was at its return", () => {
  const member = serving();
  const state = (): NodeStateName => judgeMember(member, 0, NOW_MS).state;
  const look = (has_version: number | null, version: number): string => {
    noteStep(member, { state: state() }, has_version, version);
    return state();
  };
  assert.equal(look(5, 5), "up");
  member.links[0]!.isReachable = false;
  assert.equal(look(5, 6), "down");
  assert.equal(member.isBehind, true);
  assert.equal(look(6, 9), "down");
  member.links[0]!.isReachable = true;
  assert.equal(look(6, 12), "failed");
  assert.equal(look(11, 15), "failed");
  assert.equal(look(12, 20), "up");
});

test("a node that loses the feed while it catches up begins anew", () => {
  const member = serving();
  member.isBehind = true;
  const look = (has_version: number | null, version: number): boolean => {
    noteStep(member, judgeMember(member, 0, NOW_MS), has_version, version);
    return member.isBehind;
  };
  assert.equal(look(3, 10), true);
  assert.equal(look(null, 20), true);
  assert.equal(look(10, 30), true);
  assert.equal(look(30, 40), false);
});
