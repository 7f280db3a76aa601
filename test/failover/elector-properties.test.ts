/** What the elector never does, whatever it is told and whenever it is asked. */
import assert from "node:assert/strict";
import { test } from "node:test";
import * as fc from "fast-check";
import { epochOf, schedulerIn } from "../../conf/epoch.ts";
import { LEASE_MS } from "../../conf/limits.ts";
import { deskOf, isClaim, MS, peerOf, says, turn, type Desk } from "./elector-desk.ts";

const SELF = 1;
const PEERS = [2, 3];

const happenings = fc.record({
  after_ms: fc.oneof(
    fc.constant(5),
    fc.constant(5),
    fc.integer({ min: 1, max: 60 }),
    fc.integer({ min: 100, max: 2000 }),
  ),
  /** How often nothing more happens afterwards. */
  repeat: fc.integer({ min: 0, max: 40 }),
  peer: fc.constantFrom(...PEERS),
  isHeard: fc.boolean(),
  knowsMac: fc.boolean(),
  words: fc.record({
    epoch: fc.oneof(
      fc.constant(undefined),
      fc
        .tuple(fc.integer({ min: 1, max: 6 }), fc.constantFrom(SELF, ...PEERS))
        .map(([counter, by]) => epochOf(counter, by)),
    ),
    flags: fc.integer({ min: 0, max: 15 }),
    table_version: fc.constantFrom(0, 5, 6),
  }),
  own: fc.record({
    table_version: fc.constantFrom(0, 5, 6),
    hasCarrier: fc.boolean(),
    hasProgram: fc.boolean(),
    handOverTo: fc.constantFrom(undefined, ...PEERS),
    isMerging: fc.boolean(),
  }),
  /** The kernel hears of a scheduler so much later. */
  kernelRaises: fc.option(fc.tuple(fc.integer({ min: 1, max: 3 }), fc.constantFrom(...PEERS)), {
    nil: undefined,
  }),
  isOffered: fc.boolean(),
  isStopping: fc.boolean(),
});
type Happening = typeof happenings extends fc.Arbitrary<infer T> ? T : never;

function befall(desk: Desk, what: Happening): void {
  const { input } = desk;
  const { page } = input;
  const peer = peerOf(desk, what.peer);
  peer.isHeard.fill(what.isHeard);
  for (const row of peer.rows) row.knowsMac = what.knowsMac;
  const { flags, table_version, epoch = page.epoch } = what.words;
  // Nobody forgets an epoch while his kernel lives.
  says(desk, what.peer, { flags, table_version, epoch: Math.max(peer.epoch, epoch) });
  Object.assign(input.own, what.own);
  input.isStopping = what.isStopping;
  if (what.kernelRaises !== undefined) {
    const [later, by] = what.kernelRaises;
    page.epoch = epochOf(Math.floor(page.epoch / 256) + later, by);
  }
  if (what.isOffered) page.offered = page.epoch;
}

function tickAndCheck(desk: Desk, after_ms: number): void {
  const before = { ...desk.input.page };
  const { seen } = desk.state;
  const actions = turn(desk, after_ms * MS);
  const { now_ns } = desk.input;
  const { raise, until_ns } = actions;
  const epoch = raise?.to ?? before.epoch;
  if (raise !== undefined) {
    assert.equal(raise.from, before.epoch);
    assert.ok(raise.to > before.epoch, "epochs only grow");
  }
  if (until_ns > 0) {
    assert.equal(schedulerIn(epoch), SELF, "no lease in another node's epoch");
    assert.deepEqual(desk.state.role, { kind: "scheduling", epoch }, "the lease is that of the page's epoch");
    assert.ok(until_ns <= now_ns + LEASE_MS * MS);
  }
  if (isClaim(actions)) {
    assert.ok(actions.stands, "only who stands claims");
    assert.ok(epoch > seen && epoch > before.epoch, "a claim is later than all that was known");
  }
  const hasEnded = before.until_ns > 0 && before.until_ns <= now_ns;
  const isSame = raise === undefined || !isClaim(actions);
  if (hasEnded && isSame) assert.equal(until_ns, 0, "a lease that has ended is not renewed first");
  if (actions.markDead !== undefined) assert.ok(isClaim(actions) && actions.markDead !== SELF);
  if (actions.offerTo !== undefined) assert.ok(until_ns > 0, "only a scheduler offers");
}

test("epochs only grow, and no lease but that of the page's own epoch is renewed, however late the ticks come", () => {
  fc.assert(
    fc.property(fc.array(happenings, { minLength: 1, maxLength: 40 }), (course) => {
      const desk = deskOf({ number: SELF, others: PEERS });
      for (const what of course) {
        befall(desk, what);
        tickAndCheck(desk, what.after_ms);
        for (let i = 0; i < what.repeat; i++) tickAndCheck(desk, 5);
      }
    }),
    { numRuns: 400 },
  );
});

test("a tick depends on nothing but its facts", () => {
  fc.assert(
    fc.property(fc.array(happenings, { maxLength: 15 }), (course) => {
      const [one, other] = [deskOf(), deskOf()];
      for (const what of course) {
        for (const desk of [one, other]) befall(desk, what);
        assert.deepEqual(turn(one, what.after_ms * MS), turn(other, what.after_ms * MS));
      }
      assert.deepEqual(one.state, other.state);
    }),
    { numRuns: 100 },
  );
});
