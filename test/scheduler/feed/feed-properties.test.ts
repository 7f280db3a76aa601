/** The bucket table's feed, whatever happens to senders, followers and the bytes between them. */
import { test } from "node:test";
import * as fc from "fast-check";
import {
  answer,
  becomeScheduler,
  change,
  changeFlags,
  connect,
  createWorld,
  cut,
  deliver,
  GROUPS,
  live,
  restart,
  scheduler,
  send,
  settle,
  takeReady,
  type World,
} from "./feed-world.ts";

const NUMBERS = [0, 1, 2, 7];
const number = fc.constantFrom(...NUMBERS);
const group = fc.constantFrom(...GROUPS.map(({ name }) => name));
const bytes = fc.oneof(fc.nat(300), fc.constant(Infinity));
const rows = fc.array(fc.tuple(fc.nat(20), fc.constantFrom(1, 2, 255)), { maxLength: 12 });
/** Mostly the scheduler, sometimes one of before. */
const age = fc.oneof({ weight: 6, arbitrary: fc.constant(0) }, fc.nat(2));

type Step = (world: World) => void;
const step = fc.oneof(
  fc.record({ age, group, rows, isProposal: fc.boolean() }).map(
    ({ age, group, rows, isProposal }): Step =>
      (world) =>
        change(world, age, group, rows, isProposal),
  ),
  fc.tuple(group, fc.nat(300), fc.nat(15)).map(
    ([group, number, flags]): Step =>
      (world) =>
        changeFlags(world, group, number, flags),
  ),
  fc.tuple(number, age).map(
    ([number, age]): Step =>
      (world) =>
        connect(world, number, age),
  ),
  {
    weight: 4,
    arbitrary: fc.tuple(number, fc.integer({ min: 1, max: 9 })).map(
      ([number, messages]): Step =>
        (world) =>
          void send(world, number, messages),
    ),
  },
  {
    weight: 4,
    arbitrary: fc.tuple(number, bytes).map(
      ([number, bytes]): Step =>
        (world) =>
          deliver(world, number, bytes),
    ),
  },
  {
    weight: 3,
    arbitrary: fc.tuple(number, bytes).map(
      ([number, bytes]): Step =>
        (world) =>
          answer(world, number, bytes),
    ),
  },
  number.map(
    (number): Step =>
      (world) =>
        cut(world, number),
  ),
  fc.subarray(NUMBERS).map(
    (numbers): Step =>
      (world) =>
        live(world, numbers),
  ),
);
const rarely = fc.oneof(
  number.map(
    (number): Step =>
      (world) =>
        becomeScheduler(world, number),
  ),
  number.map(
    (number): Step =>
      (world) =>
        restart(world, number),
  ),
);

test("under one scheduler, followers have exactly what was planned at their version, and all of it in the end", () => {
  fc.assert(
    fc.property(fc.array(step, { maxLength: 120 }), (steps) => {
      const world = createWorld(NUMBERS);
      for (const one of steps) {
        one(world);
        takeReady(world);
      }
      settle(world);
    }),
    { numRuns: 300 },
  );
});

test("schedulers change, their memory is lost, and no follower ever goes back", () => {
  const any = fc.oneof({ weight: 12, arbitrary: step }, rarely);
  fc.assert(
    fc.property(fc.array(any, { maxLength: 150 }), (steps) => {
      const world = createWorld(NUMBERS);
      for (const one of steps) {
        one(world);
        takeReady(world);
      }
      settle(world);
    }),
    { numRuns: 300 },
  );
});

test("followers that have all that the next scheduler has go on without a copy", () => {
  fc.assert(
    fc.property(fc.array(rows, { maxLength: 5 }), (batches) => {
      const world = createWorld(NUMBERS);
      for (const rows of batches) change(world, 0, "", rows, true);
      settle(world);
      becomeScheduler(world, 2);
      for (const number of [0, 1, 7]) {
        connect(world, number, 0);
        const isCopied = number === 0;
        // The former scheduler's table need not be what it planned: it gets a copy.
        if ((scheduler(world).feed.followers.get(number)?.opening === "full") !== isCopied) {
          throw new Error(`node ${number} was opened otherwise`);
        }
      }
      settle(world);
    }),
    { numRuns: 20 },
  );
});
