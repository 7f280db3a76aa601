import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { test } from "node:test";
import { bucketOf, clientHash } from "../../../scheduler/hash.ts";
import {
  createPolicy,
  handOver,
  propose,
  setNodes,
  settle,
  wordChanged,
  type Change,
  type Condition,
  type Policy,
} from "../../../scheduler/policy/policy.ts";
import { clear, nextOf, ownerOf, readWord, swapWord, wordOf } from "../../../scheduler/table.ts";
import { randomOf } from "./policy-world.ts";

const SIZE = 65_536;
const WEIGHTS = [1, 2, 3, 4, 5, 6, 7, 8];
const TOTAL = 36;
const FLOWS = 10_000;
const SEEDS = [1, 2, 3, 4];
const STARTS = [0, 1024, 5003, 32_768, 40_001, 50_000];
const CLIENTS = ["10.0.0.1", "10.0.0.2", "192.0.2.77", "198.51.100.254", "203.0.113.9"];
const NO_LIMITS = { timeout_units: 600, fillBudget: Infinity, most: Infinity };

/** A table in which every bucket has been claimed. */
function fullTable(seed: number): Policy {
  const table = new Int32Array(SIZE * 2);
  clear(table);
  const policy = createPolicy(table, { hasSecondChance: true, seed });
  change(policy, undefined, "up");
  for (let bucket = 0; bucket < SIZE; bucket++) {
    const word = readWord(table, bucket);
    swapWord(table, bucket, word, wordOf(nextOf(word), nextOf(word)));
    settleAll(policy, [wordChanged(policy, bucket)!]);
  }
  return policy;
}
function settleAll(policy: Policy, changes: readonly Change[]): void {
  for (const change of changes) assert.equal(settle(policy, change), undefined);
}
/** Another condition of one node, and all that follows from it; connections end before the next one. */
function change(policy: Policy, number: number | undefined, condition: Condition): void {
  setNodes(
    policy,
    WEIGHTS.map((weight) => ({ number: weight, weight, condition: weight === number ? condition : "up" })),
  );
  if (condition === "down") settleAll(policy, handOver(policy, number!));
  for (let changes = propose(policy, 1, NO_LIMITS); changes.length > 0;) {
    settleAll(policy, changes);
    for (let bucket = 0; bucket < SIZE; bucket++) release(policy, bucket);
    changes = propose(policy, 1, NO_LIMITS);
  }
}
/** A bucket without any connection to a previous node. */
function release(policy: Policy, bucket: number): void {
  const word = readWord(policy.plan.table, bucket);
  swapWord(policy.plan.table, bucket, word, wordOf(ownerOf(word), nextOf(word)));
  const told = wordChanged(policy, bucket);
  if (told !== undefined) settleAll(policy, [told]);
}

const keyOf = (seed: number): Uint8Array => createHash("sha384").update(String(seed)).digest();
const addressOf = (text: string): Uint8Array => Uint8Array.from(text.split("."), Number);

/** How many of these buckets each node has. */
function flowsByNode(policy: Policy, buckets: readonly number[]): number[] {
  const counts = WEIGHTS.map(() => 0);
  for (const bucket of buckets) counts[ownerOf(readWord(policy.plan.table, bucket)) - 1]!++;
  return counts;
}
/** Checks each node's flows; `bound` is the deviation allowed, as a part of its share. */
function assertShares(counts: readonly number[], bound: (share: number) => number, text: string): void {
  const flows = counts.reduce((sum, count) => sum + count, 0);
  WEIGHTS.forEach((weight, i) => {
    const share = (flows * weight) / TOTAL;
    const deviation = counts[i]! / share - 1;
    assert.ok(
      Math.abs(deviation) <= bound(share),
      `${text}: node of weight ${weight} deviates by ${deviation}`,
    );
  });
}
const portsOf = (start: number, step: number): number[] =>
  Array.from({ length: FLOWS }, (_, i) => (start + i * step) % 65_536);

/** One client's flows from ports in turn, for every client, start and step. */
function checkSuccessivePorts(policy: Policy, seed: number, bound: number): void {
  for (const client of CLIENTS) {
    const hash = clientHash(keyOf(seed), addressOf(client), 4);
    for (const start of STARTS) {
      for (const step of [1, 2]) {
        const buckets = portsOf(start, step).map((port) => bucketOf(hash, port, SIZE - 1));
        const text = `seed ${seed}, ${client} from port ${start} by ${step}`;
        assertShares(flowsByNode(policy, buckets), () => bound, text);
      }
    }
  }
}

test("a million flows of random clients spread over nodes of unequal weights within 5 %", () => {
  const random = randomOf(99);
  const key = keyOf(1);
  const buckets = Array.from({ length: 1_000_000 }, () => {
    const address = Uint8Array.from({ length: 4 }, () => Math.floor(random() * 256));
    return bucketOf(clientHash(key, address, 4), Math.floor(random() * 65_536), SIZE - 1);
  });
  assertShares(flowsByNode(fullTable(1), buckets), () => 0.05, "random clients");
});

test("10,000 flows of one client from successive ports, or every second one, spread within 5 %", () => {
  for (const seed of SEEDS) checkSuccessivePorts(fullTable(seed), seed, 0.05);
});

// Drawn at random no hash spreads better than chance: a share of n flows deviates by sqrt(n). 4.5 times that is
// exceeded once in 150,000 draws.
test("10,000 flows of one client from random ports spread within what chance allows", () => {
  const policy = fullTable(1);
  for (const client of CLIENTS) {
    const random = randomOf(addressOf(client)[3]!);
    const hash = clientHash(keyOf(1), addressOf(client), 4);
    const ports = Array.from({ length: FLOWS }, () => 1024 + Math.floor(random() * 64_512));
    const buckets = ports.map((port) => bucketOf(hash, port, SIZE - 1));
    assertShares(flowsByNode(policy, buckets), (share) => 4.5 / Math.sqrt(share), client);
  }
});

test("after ten failures and returns the flows still spread within 10 %", () => {
  for (const seed of SEEDS) {
    const policy = fullTable(seed);
    const random = randomOf(seed);
    for (let i = 0; i < 10; i++) {
      const number = 1 + Math.floor(random() * WEIGHTS.length);
      change(policy, number, "down");
      assert.equal(policy.plan.owned[number], 0);
      change(policy, number, "up");
    }
    assertShares(
      WEIGHTS.map((weight) => policy.plan.owned[weight]!),
      () => 0.02,
      `seed ${seed}, buckets`,
    );
    checkSuccessivePorts(policy, seed, 0.1);
  }
});
