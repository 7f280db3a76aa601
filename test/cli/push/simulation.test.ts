/** Whole arrays that push versions while everything fails that can: they always agree in the end. */
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { killNode, latestNumber, simArray, type SimArray, startNode, startPush } from "./world.ts";

const RUNS = 60;
/** From these on a version never comes into force; all else may do. */
const NEVER = new Set(["PUSH_BUSY", "PUSH_NO_MAJORITY", "PUSH_OVERTAKEN", "PUSH_REFUSED"]);

function assertAgreed(array: SimArray, name: string): void {
  assert.deepEqual(array.wrong, [], name);
  const [first] = array.nodes;
  for (const node of array.nodes) {
    assert.ok(node.process !== undefined, name);
    assert.deepEqual(
      node.durable.current,
      first!.durable.current,
      `${name}: ${node.peer.name} is on another version`,
    );
    assert.equal(node.durable.accepted, null, `${name}: ${node.peer.name} is in doubt`);
  }
  for (const { record, outcome } of array.pushes) {
    const isInForce = array.decided.get(record.number)?.comment === record.comment;
    if (outcome === "done") assert.ok(isInForce, `${name}: ${record.comment} was told to be in force`);
    if (NEVER.has(outcome ?? ""))
      assert.ok(!isInForce, `${name}: ${record.comment} is in force after ${outcome}`);
  }
}

async function healed(array: SimArray): Promise<void> {
  Object.assign(array, { loss: 0, twice: 0, deathAtWrite: 0, forgetting: 0, dawdling: 0 });
  array.cuts.clear();
  for (const node of array.nodes) startNode(array, node);
  await array.run(array.now_ms + 45_000);
}

/** Twenty pushes, often two at a time, from places that die and are cut off, among nodes that do. */
async function storm(seed: number): Promise<SimArray> {
  const array = simArray(seed, 2 + (seed % 4));
  const { random, nodes } = array;
  const chance = (most: number): number => random(2) * random(most);
  Object.assign(array, { loss: chance(150), twice: chance(300), deathAtWrite: chance(60) });
  Object.assign(array, { forgetting: chance(1000), dawdling: chance(600) });
  for (const node of nodes) startNode(array, node);
  const places = [...nodes.map(({ peer }) => peer.name), "away1", "away2", "away3"];
  const pick = <T>(list: readonly T[]): T => list[random(list.length)]!;
  for (let i = 0; i < 20; i++) {
    for (let at_once = random(3); at_once >= 0; at_once--) {
      const push = startPush(
        array,
        pick(["away1", "away2", "away3"]),
        `${i}-${at_once}`,
        latestNumber(array) + 1,
      );
      if (random(4) === 0) array.after(random(600), () => void (push.process.isAlive = false));
    }
    for (let cuts = random(6); cuts > 0; cuts--) array.cuts.add(`${pick(places)} ${pick(places)}`);
    if (random(2) === 0) array.cuts.clear();
    if (random(4) === 0) killNode(array, pick(nodes));
    await array.run(array.now_ms + random(random(3) === 0 ? 20_000 : 3000));
    for (const node of nodes) if (random(2) === 0) startNode(array, node);
  }
  await healed(array);
  return array;
}

describe("an array that is pushed to", () => {
  test("comes to one version, whoever dies and whatever is cut, lost, late or comes twice", async () => {
    let inForce = 0;
    const outcomes = new Map<string, number>();
    for (let seed = 1; seed <= RUNS; seed++) {
      const array = await storm(seed);
      assertAgreed(array, `seed ${seed}`);
      inForce += array.decided.size;
      for (const { outcome = "killed" } of array.pushes)
        outcomes.set(outcome, (outcomes.get(outcome) ?? 0) + 1);
    }
    // The storm is one in which something goes through, and everything happens.
    assert.ok(inForce > RUNS, `${inForce} versions came into force`);
    for (const code of ["done", "killed", "PUSH_BUSY", "PUSH_NO_MAJORITY", "PUSH_OVERTAKEN"]) {
      assert.ok((outcomes.get(code) ?? 0) > 0, `${code} has happened: ${JSON.stringify([...outcomes])}`);
    }
  });

  test("whose pushing command dies after each message in turn ends on the old or the new version, all on the same", async () => {
    const seen = new Set<number>();
    for (let at_ms = 0; at_ms < 700; at_ms += 17) {
      const array = simArray(1, 3);
      for (const node of array.nodes) startNode(array, node);
      const push = startPush(array, "away1", "new", 1);
      array.after(at_ms, () => void (push.process.isAlive = false));
      await healed(array);
      assertAgreed(array, `killed after ${at_ms} ms`);
      seen.add(latestNumber(array));
    }
    assert.deepEqual(
      [...seen].toSorted((a, b) => a - b),
      [0, 1],
    );
  });

  test("has one of two pushes at the same time win, and tells the other", async () => {
    for (let seed = 1; seed <= 15; seed++) {
      const array = simArray(seed, 3);
      for (const node of array.nodes) startNode(array, node);
      const pushes = ["a", "b"].map((content, i) => startPush(array, `away${i + 1}`, content, 1));
      await array.run(20_000);
      const outcomes = pushes.map(({ outcome }) => outcome ?? "");
      assert.match(
        outcomes.join(" "),
        /^(?:done PUSH_(?:BUSY|OVERTAKEN)|PUSH_(?:BUSY|OVERTAKEN) done)$/,
        `seed ${seed}`,
      );
    }
  });

  test("gives a node that was away the version when it is back", async () => {
    const array = simArray(7, 4);
    const [first, ...others] = array.nodes;
    for (const node of others) startNode(array, node);
    const push = startPush(array, "away1", "new", 1);
    await array.run(10_000);
    assert.equal(push.outcome, "done");
    startNode(array, first!);
    await array.run(20_000);
    assert.equal(first!.durable.current.comment, "new");
  });

  test("changes nothing when one node refuses, or when fewer than half of the nodes are there", async () => {
    const array = simArray(3, 4);
    for (const node of array.nodes) startNode(array, node);
    const refused = startPush(array, "away1", "bad", 1);
    await array.run(10_000);
    assert.equal(refused.outcome, "PUSH_REFUSED");
    for (const node of array.nodes.slice(0, 2)) killNode(array, node);
    const lonely = startPush(array, "away1", "good", 1);
    await array.run(30_000);
    assert.equal(lonely.outcome, "PUSH_NO_MAJORITY");
    await healed(array);
    assert.equal(latestNumber(array), 0);
    const good = startPush(array, "away1", "good", 1);
    await array.run(array.now_ms + 10_000);
    assert.equal(good.outcome, "done");
  });
});
