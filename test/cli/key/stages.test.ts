import assert from "node:assert/strict";
import fc from "fast-check";
import { describe, test } from "node:test";
import {
  abandoned,
  afterOrder,
  changeUnderWay,
  nextStep,
  stateOf,
  type Change,
  type KeyOrder,
  type KeyState,
  type SeenNode,
} from "../../../cli/key/stages.ts";
import { orderLine, readKeyAnswer, readOrder, STATE_LINE } from "../../../cli/key/orders.ts";
import { arrayKeyOf, keyId, type ArrayKey } from "../../../conf/keys.ts";

const [OLD, NEW, THIRD] = [1, 2, 3].map((byte) => Buffer.alloc(32, byte)) as [Buffer, Buffer, Buffer];
const [old, young, third] = [OLD, NEW, THIRD].map(keyId) as [string, string, string];
const CHANGE: Change = { from: old, to: young };
const begun = arrayKeyOf(OLD);
const { seed } = begun;
const prepared: ArrayKey = { current: OLD, also: NEW, isAlsoNext: true, seed };
const used: ArrayKey = { current: NEW, also: OLD, isAlsoNext: false, seed };
const done: ArrayKey = { current: NEW, also: undefined, isAlsoNext: false, seed };
const prepare: KeyOrder = { kind: "prepare", from: old, key: NEW };
const use: KeyOrder = { kind: "use", id: young };
const forget: KeyOrder = { kind: "forget", id: young };
const drop: KeyOrder = { kind: "drop", id: young };

describe("an order about the array key", () => {
  test("brings a node from stage to stage, and comes twice without harm", () => {
    const rows: [before: ArrayKey, order: KeyOrder, after: ArrayKey][] = [
      [begun, prepare, prepared],
      [prepared, prepare, prepared],
      [used, prepare, used],
      [done, prepare, done],
      [prepared, use, used],
      [used, use, used],
      [done, use, done],
      [used, forget, done],
      [done, forget, done],
      [prepared, drop, begun],
      [begun, drop, begun],
    ];
    for (const [before, order, after] of rows) {
      assert.deepEqual(afterOrder(before, order), after);
      if (before === after)
        assert.equal(afterOrder(before, order), before, "the same object: nothing to write");
    }
  });

  test("that skips a stage, or belongs to another change, is refused", () => {
    const rows: [before: ArrayKey, order: KeyOrder][] = [
      [begun, use],
      [begun, forget],
      [prepared, forget],
      [prepared, { kind: "prepare", from: old, key: THIRD }],
      [used, { kind: "prepare", from: young, key: THIRD }],
      [begun, { kind: "prepare", from: third, key: NEW }],
      [prepared, { kind: "use", id: third }],
      [used, drop],
      [done, drop],
    ];
    for (const [before, order] of rows) {
      assert.throws(() => afterOrder(before, order), { code: "KEY_REFUSED" });
    }
  });

  test("is the same as a line, and what is none is none", () => {
    for (const order of [prepare, use, forget, drop]) assert.deepEqual(readOrder(orderLine(order)), order);
    assert.equal(readOrder(STATE_LINE), "state");
    const wrong = [
      "key",
      "key use",
      `key use ${young} more`,
      `key use ${young.toUpperCase()}`,
      `key give ${young}`,
      `key prepare ${old}`,
      `key prepare ${old} ${"A".repeat(42)}`,
      `key prepare ${old} ${NEW.toString("base64")} more`,
      `key  use ${young}`,
    ];
    for (const line of wrong) assert.equal(readOrder(line), undefined, line);
  });

  test("is answered with ids alone", () => {
    const line = JSON.stringify(stateOf(prepared, ["status"]));
    assert.deepEqual(readKeyAnswer(line), {
      current: old,
      next: young,
      previous: null,
      seed: keyId(seed),
      lagging: ["status"],
    });
    assert.ok(!line.includes(NEW.toString("base64").slice(0, 8)));
    assert.equal(readKeyAnswer('{"current":1}'), undefined);
    assert.equal(readKeyAnswer("nothing"), undefined);
    assert.deepEqual(readKeyAnswer('{"refused":"why"}'), { refused: "why" });
  });
});

const at = (node: string, held: ArrayKey | undefined, lagging: string[] = []): SeenNode => ({
  node,
  state: held === undefined ? undefined : stateOf(held, lagging),
});

describe("the next step of a change", () => {
  test("prepares this node first, then the others, then goes on with all of them", () => {
    const rows: [seen: SeenNode[], kind: string, nodes: string[]][] = [
      [[at("a", begun), at("b", begun), at("c", begun)], "prepare", ["b"]],
      [[at("a", begun), at("b", prepared), at("c", begun)], "prepare", ["a", "c"]],
      [[at("a", prepared), at("b", prepared), at("c", prepared)], "use", ["a", "b", "c"]],
      [[at("a", used), at("b", prepared), at("c", used)], "use", ["b"]],
      [[at("a", used), at("b", used), at("c", used)], "forget", ["a", "b", "c"]],
      [[at("a", done), at("b", used), at("c", done)], "forget", ["b"]],
    ];
    for (const [seen, kind, nodes] of rows) assert.deepEqual(nextStep(seen, CHANGE, "b"), { kind, nodes });
    assert.deepEqual(nextStep([at("a", done), at("b", done)], CHANGE, "a"), { kind: "done" });
  });

  test("waits for who is away or lags, before a key is used and before one is forgotten", () => {
    const rows: [seen: SeenNode[], stage: string][] = [
      [[at("a", prepared), at("b", undefined)], "use"],
      [[at("a", prepared), at("b", prepared, ["scheduler"])], "use"],
      [[at("a", used), at("b", undefined)], "forget"],
      [[at("a", used), at("b", used, ["failover"])], "forget"],
      [[at("a", done), at("b", undefined)], "forget"],
    ];
    for (const [seen, stage] of rows) {
      assert.deepEqual(nextStep(seen, CHANGE, "a"), { kind: "wait", stage, nodes: ["b"] });
    }
  });

  test("is none while a node holds a third key, or another seed", () => {
    const stranger = arrayKeyOf(THIRD);
    for (const seen of [
      [at("a", prepared), at("b", stranger)],
      [at("a", prepared), at("b", { ...prepared, seed: THIRD })],
    ]) {
      assert.throws(() => nextStep(seen, CHANGE, "a"), { code: "KEY_CONFLICT" });
    }
  });

  test("belongs to the change that is under way, by whatever node holds of it", () => {
    assert.equal(changeUnderWay([at("a", begun), at("b", undefined)]), undefined);
    for (const held of [prepared, used]) {
      assert.deepEqual(changeUnderWay([at("a", begun), at("b", held), at("c", done)]), CHANGE);
    }
    const other: ArrayKey = { ...prepared, also: THIRD };
    assert.throws(() => changeUnderWay([at("a", prepared), at("b", other)]), { code: "KEY_CONFLICT" });
  });

  test("a change is given up only while nobody speaks with the new key", () => {
    assert.deepEqual(abandoned([at("a", prepared), at("b", begun)]), [{ node: "a", id: young }]);
    assert.throws(() => abandoned([at("a", prepared), at("b", undefined)]), { code: "KEY_WAITS" });
    assert.throws(() => abandoned([at("a", prepared), at("b", used)]), { code: "KEY_CONFLICT" });
  });
});

/** Whether a node hears what another one says. */
const hears = (here: ArrayKey, there: ArrayKey): boolean =>
  [here.current, here.also].some((key) => key !== undefined && keyId(key) === keyId(there.current));

test("whoever dies, is cut off, or comes with an old view, all nodes understand each other at every moment", () => {
  const names = ["a", "b", "c", "d"];
  const event = fc.oneof(
    fc.record({ kind: fc.constant("cut" as const), node: fc.constantFrom(...names) }),
    fc.record({ kind: fc.constant("heal" as const), node: fc.constantFrom(...names) }),
    /** A command looks now; what it saw is what it goes by, however late its orders come. */
    fc.record({ kind: fc.constant("look" as const), command: fc.nat(2), self: fc.constantFrom(...names) }),
    /** It gives some of its orders, then it may be killed. */
    fc.record({
      kind: fc.constant("order" as const),
      command: fc.nat(2),
      most: fc.integer({ min: 1, max: 4 }),
    }),
  );
  let finished = 0;
  fc.assert(
    fc.property(fc.array(event, { maxLength: 60 }), (events) => {
      const held = new Map(names.map((name) => [name, begun]));
      const away = new Set<string>();
      const views: { seen: SeenNode[]; self: string }[] = [];
      const look = (): SeenNode[] =>
        names.map((name) => at(name, away.has(name) ? undefined : held.get(name)));
      const give = (node: string, order: KeyOrder): void => {
        if (!away.has(node)) held.set(node, afterOrder(held.get(node)!, order));
        for (const here of held.values()) {
          for (const there of held.values())
            assert.ok(hears(here, there), "two nodes don't understand each other");
        }
      };
      const orders = { prepare, use, forget };
      const carry = ({ seen, self }: { seen: SeenNode[]; self: string }, most: number): boolean => {
        const step = nextStep(seen, CHANGE, self);
        if (step.kind === "wait" || step.kind === "done") return step.kind === "done";
        for (const node of step.nodes.slice(0, most)) give(node, orders[step.kind]);
        return false;
      };
      for (const event of events) {
        if (event.kind === "cut") away.add(event.node);
        else if (event.kind === "heal") away.delete(event.node);
        else if (event.kind === "look") views[event.command] = { seen: look(), self: event.self };
        else if (views[event.command] !== undefined) carry(views[event.command]!, event.most);
      }
      // Once everybody is there, one command brings it to its end, wherever it stood.
      away.clear();
      for (let round = 0; round < 6; round++) {
        if (carry({ seen: look(), self: "a" }, 4)) finished += 1;
      }
      for (const key of held.values()) assert.deepEqual(key, done);
    }),
    { numRuns: 500 },
  );
  assert.ok(finished >= 500);
});

test("a node's word on itself has no key in it", () => {
  const state: KeyState = stateOf(used, []);
  assert.deepEqual(state, { current: young, next: null, previous: old, seed: keyId(seed), lagging: [] });
});
