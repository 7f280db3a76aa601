import assert from "node:assert/strict";
import { test } from "node:test";
import type { NodeStateName } from "../../conf/messages.ts";
import { HEARTBEAT_STANDS } from "../../net/heartbeat.ts";
import {
  beginHandOver,
  chooseSuccessor,
  stepHandOver,
  type Candidate,
} from "../../scheduler/handing-over.ts";

interface Facts {
  readonly state?: NodeStateName;
  readonly priority?: number;
  readonly isInStep?: boolean;
  readonly flags?: readonly number[];
}
function candidate(number: number, facts: Facts = {}): Candidate {
  const { state = "up", priority = 100, isInStep = true, flags = [HEARTBEAT_STANDS] } = facts;
  const base = { interface: "eth0", interfaces: [], enabled: true, weight: 1 };
  const config = { ...base, number, name: `node${number}`, address: `192.0.2.${number}`, priority };
  return { member: { config, isSelf: number === 1, isInStep }, judgement: { state }, flags };
}

test("the best successor has the highest priority, and of equals stands first in the configuration", () => {
  const nodes = [candidate(1, { priority: 200 }), candidate(3), candidate(2), candidate(5, { priority: 9 })];
  assert.equal(chooseSuccessor(nodes, undefined), 3);
  assert.equal(chooseSuccessor([...nodes, candidate(4, { priority: 101 })], undefined), 4);
});

test("only a node that is up, in step and stands is chosen; one that drains may be asked for", () => {
  const unfit: Facts[] = [
    { state: "down" },
    { state: "failed" },
    { state: "starting" },
    { state: "disabled" },
    { isInStep: false },
    { priority: 0 },
    { flags: [HEARTBEAT_STANDS, 0] },
  ];
  for (const facts of unfit) {
    const nodes = [candidate(1), candidate(2, facts), candidate(3, { priority: 1 })];
    assert.equal(chooseSuccessor(nodes, undefined), 3, JSON.stringify(facts));
    assert.throws(() => chooseSuccessor(nodes, 2), { code: "HANDOVER_REFUSED" }, JSON.stringify(facts));
  }
  const draining = [candidate(1), candidate(2, { state: "draining" })];
  assert.equal(chooseSuccessor(draining, 2), 2);
  assert.throws(() => chooseSuccessor(draining, undefined), {
    code: "HANDOVER_REFUSED",
    message: "no other node can take over now",
  });
  assert.throws(() => chooseSuccessor(draining, 1), /node1 can't take over: it is the scheduler already/);
});

const MS = 1_000_000n;

test("a node is asked when it has all there is and nothing is under way, and has a second from then", () => {
  const handOver = beginHandOver(2, 0n);
  const facts = { version: 7, targetVersion: 7, waiting: 0 };
  assert.equal(stepHandOver(handOver, { ...facts, now_ns: 0n, waiting: 1 }), "wait");
  assert.equal(stepHandOver(handOver, { ...facts, now_ns: 10n * MS, targetVersion: 6 }), "wait");
  assert.equal(stepHandOver(handOver, { ...facts, now_ns: 400n * MS }), "offer");
  assert.equal(stepHandOver(handOver, { ...facts, now_ns: 1399n * MS, version: 9 }), "wait");
  assert.equal(stepHandOver(handOver, { ...facts, now_ns: 1400n * MS }), "give up");
});

test("a node that does not acknowledge the table within two seconds is not asked", () => {
  const handOver = beginHandOver(2, 0n);
  const facts = { version: 7, targetVersion: null, waiting: 0 };
  assert.equal(stepHandOver(handOver, { ...facts, now_ns: 1999n * MS }), "wait");
  assert.equal(stepHandOver(handOver, { ...facts, now_ns: 2000n * MS }), "give up");
});
