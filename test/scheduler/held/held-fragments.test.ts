import assert from "node:assert/strict";
import { test } from "node:test";
import * as fc from "fast-check";
import {
  createFragmentQueue,
  frameTo,
  frameToSelf,
  type Destination,
  type Lookup,
} from "../../../scheduler/held/held-fragments.ts";
import type { HeldFragment } from "../../../scheduler/plane/shared-maps.ts";

const SELF: Destination = { kind: "self" };
const fragment = (packet: number, mark = 0, bytes = 100): HeldFragment => ({
  key: Buffer.alloc(40, packet),
  ifindex: 2,
  frame: Buffer.alloc(bytes, mark),
});
/** Knows the first fragments of these packets. */
const knows =
  (...packets: readonly number[]): Lookup =>
  (key) =>
    packets.includes(key[0]!) ? SELF : undefined;
const marks = (queue: ReturnType<typeof createFragmentQueue>, lookup: Lookup, now_ms: number): number[] =>
  queue.look(lookup, now_ms).departures.map(({ fragment }) => fragment.frame[0]!);

test("fragments go when their first one has been seen, in the order in which they came", () => {
  const queue = createFragmentQueue();
  queue.hold(fragment(1, 11), 0);
  queue.hold(fragment(2, 21), 1);
  queue.hold(fragment(1, 12), 2);
  assert.deepEqual(marks(queue, knows(), 5), []);
  assert.deepEqual(marks(queue, knows(1), 10), [11, 12]);
  assert.deepEqual(marks(queue, knows(1), 15), []);
  assert.equal(queue.isEmpty(), false);
  assert.deepEqual(marks(queue, knows(1, 2), 20), [21]);
  assert.equal(queue.isEmpty(), true);
});

test("a fragment is thrown away after 200 ms, and not before", () => {
  const queue = createFragmentQueue();
  queue.hold(fragment(1, 11), 1000);
  queue.hold(fragment(1, 12), 1100);
  assert.equal(queue.look(knows(), 1199).expired, 0);
  assert.equal(queue.look(knows(), 1200).expired, 1);
  assert.deepEqual(marks(queue, knows(1), 1201), [12]);
});

test("packets are told apart by the interface, too, and each is looked for once", () => {
  const queue = createFragmentQueue();
  const asked: number[] = [];
  const lookup: Lookup = (_, ifindex) => {
    asked.push(ifindex);
    return ifindex === 3 ? SELF : undefined;
  };
  queue.hold(fragment(1, 11), 0);
  queue.hold(fragment(1, 12), 0);
  queue.hold({ ...fragment(1, 13), ifindex: 3 }, 0);
  assert.deepEqual(marks(queue, lookup, 1), [13]);
  assert.deepEqual(
    asked.toSorted((a, b) => a - b),
    [2, 3],
  );
});

test("neither more than 512 fragments nor more than 512 KiB are held, and room comes back", () => {
  const many = createFragmentQueue();
  for (let i = 0; i < 512; i++) assert.ok(many.hold(fragment(i % 256, 1), 0));
  assert.equal(many.hold(fragment(1), 0), false);
  many.look(knows(1), 1);
  assert.ok(many.hold(fragment(1), 2));

  const large = createFragmentQueue();
  for (let i = 0; i < 256; i++) assert.ok(large.hold(fragment(i, 1, 2048), 0));
  assert.equal(large.hold(fragment(1, 1, 1), 0), false);
  large.look(knows(), 200);
  assert.ok(large.isEmpty());
  assert.ok(large.hold(fragment(1, 1, 2048), 201));
});

test("whatever comes and is looked for, each fragment goes once, expires once, or is held still", () => {
  const step = fc.oneof(
    fc.record({ hold: fc.nat({ max: 5 }), seen: fc.constant(0), wait: fc.nat({ max: 150 }) }),
    fc.record({ hold: fc.constant(-1), seen: fc.nat({ max: 63 }), wait: fc.nat({ max: 150 }) }),
  );
  fc.assert(
    fc.property(fc.array(step, { maxLength: 100 }), (steps) => {
      const queue = createFragmentQueue();
      const waiting = new Map<number, { packet: number; at: number }>();
      let now = 0;
      steps.forEach(({ hold, seen, wait }, mark) => {
        now += wait;
        if (hold >= 0) {
          assert.ok(queue.hold(fragment(hold, mark), now));
          waiting.set(mark, { packet: hold, at: now });
          return;
        }
        const isSeen = (packet: number): boolean => ((seen >> packet) & 1) === 1;
        const went = queue.look((key) => (isSeen(key[0]!) ? SELF : undefined), now);
        const gone = [...waiting].filter(([, { packet }]) => isSeen(packet)).map(([mark]) => mark);
        assert.deepEqual(
          went.departures.map(({ fragment }) => fragment.frame[0]!).toSorted((a, b) => a - b),
          gone.toSorted((a, b) => a - b),
        );
        for (const mark of gone) waiting.delete(mark);
        const late = [...waiting].filter(([, { at }]) => at + 200 <= now);
        assert.equal(went.expired, late.length);
        for (const [mark] of late) waiting.delete(mark);
      });
      assert.equal(queue.isEmpty(), waiting.size === 0);
    }),
  );
});

test("a frame to a node differs in its MAC addresses alone", () => {
  const frame = Buffer.from("020000000001aaaaaaaaaaaa8100000508004500", "hex");
  const [mac, own] = [Buffer.from("020000000007", "hex"), Buffer.from("020000000001", "hex")];
  assert.equal(
    Buffer.from(frameTo(frame, mac, own)).toString("hex"),
    "0200000000070200000000018100000508004500",
  );
  assert.equal(frame.toString("hex"), "020000000001aaaaaaaaaaaa8100000508004500");
});

const self = (hex: string): string => Buffer.from(frameToSelf(Buffer.from(hex, "hex"))).toString("hex");

test("a frame to the own stack has no VLAN tags and no MAC addresses", () => {
  const macs = "020000000001aaaaaaaaaaaa";
  const none = "0".repeat(24);
  assert.equal(self(`${macs}080045`), `${none}080045`);
  assert.equal(self(`${macs}8100000586dd60`), `${none}86dd60`);
  assert.equal(self(`${macs}88a800058100000608004500`), `${none}08004500`);
  // Cut off in a tag: nothing is read behind the end.
  assert.equal(self(`${macs}8100`), none);
});
