/** Two schedulers meet: which one goes on. */
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { epochOf, schedulerIn } from "../../conf/epoch.ts";
import { HEARTBEAT_SIDE_SHIFT } from "../../net/heartbeat.ts";
import {
  dies,
  LEASED,
  peerOf,
  says,
  schedulingDesk,
  STANDS,
  turn,
  turns,
  type Desk,
} from "./elector-desk.ts";

const LATER = epochOf(9, 3);
const flagsWith = (side: number): number => LEASED | STANDS | (side << HEARTBEAT_SIDE_SHIFT);

/** Node 1 schedules, and has node 2 on its side; node 3 was cut off, has claimed, and is back with so many on its own. */
function metBy(side: number): Desk {
  const desk = schedulingDesk();
  const epoch = desk.input.page.epoch;
  for (const number of [2, 3]) says(desk, number, { epoch, flags: STANDS });
  turns(desk, 1000);
  dies(desk, 3);
  turns(desk, 500);
  peerOf(desk, 3).isHeard.fill(true);
  says(desk, 3, { epoch: LATER, flags: flagsWith(side) });
  desk.kinds.length = 0;
  return desk;
}

/** The program has heard the other one's question. */
function switched(desk: Desk): Desk {
  desk.input.page.epoch = LATER;
  return desk;
}

describe("a scheduler that meets a later one", () => {
  test("goes on in an epoch that is later still if it has more nodes on its side", () => {
    for (const desk of [metBy(1), switched(metBy(1))]) {
      const before = desk.input.page.epoch;
      const after_ms = turns(desk, 100, ({ raise }) => raise !== undefined);
      assert.ok(after_ms <= 40, `${after_ms} ms`);
      assert.equal(desk.actions.raise?.former, LATER, "its clients' frames come from there");
      assert.ok(desk.input.page.epoch > Math.max(before, LATER));
      assert.equal(schedulerIn(desk.input.page.epoch), 1);
      assert.ok(desk.actions.until_ns > 0);
      assert.deepEqual(
        desk.kinds.filter((kind) => kind === "claims" || kind === "yields"),
        ["claims"],
      );
    }
  });

  test("announces the VIPs to the other one's clients only when its table can know of their connections", () => {
    const desk = metBy(1);
    turns(desk, 100, ({ raise }) => raise !== undefined);
    says(desk, 3, { epoch: desk.input.page.epoch, flags: STANDS });
    const after_ms = turns(desk, 2000, ({ announce }) => announce);
    assert.ok(after_ms >= 990 && after_ms <= 1030, `${after_ms} ms`);
  });

  test("yields to as many nodes as it has, and to more", () => {
    for (const side of [2, 3, 200]) {
      const desk = switched(metBy(side));
      turns(desk, 100);
      assert.equal(desk.input.page.epoch, LATER);
      assert.equal(desk.actions.until_ns, 0);
      assert.ok(desk.kinds.includes("yields"));
    }
  });

  test("yields to one that tells nothing of its side within 40 ms, and does not answer meanwhile", () => {
    const desk = switched(metBy(1));
    dies(desk, 3);
    for (let i = 0; i < 10; i++) assert.equal(turn(desk).until_ns, 0);
    assert.ok(desk.kinds.includes("yields"));
  });

  test("yields when it has stood still, whatever its side", () => {
    const desk = switched(metBy(1));
    turn(desk, 400_000_000);
    turns(desk, 100);
    assert.equal(desk.input.page.epoch, LATER);
  });

  test("yields when it has asked for it", () => {
    const desk = schedulingDesk();
    const epoch = desk.input.page.epoch;
    for (const number of [2, 3]) says(desk, number, { epoch, flags: STANDS, table_version: 500 });
    turns(desk, 1000);
    desk.input.own.handOverTo = 3;
    turns(desk, 100, ({ offerTo }) => offerTo === 3);
    assert.equal(desk.actions.offerTo, 3);
    says(desk, 3, { epoch: LATER, flags: flagsWith(1) });
    switched(desk);
    turns(desk, 100);
    assert.equal(desk.input.page.epoch, LATER);
  });
});

test("a node counts for a side when it has followed for a while, and no more when it is silent", () => {
  const desk = schedulingDesk();
  const epoch = desk.input.page.epoch;
  for (const number of [2, 3]) says(desk, number, { epoch: 0, flags: STANDS });
  turns(desk, 1000);
  assert.equal(desk.actions.side, 1);
  for (const number of [2, 3]) says(desk, number, { epoch });
  turns(desk, 250);
  assert.equal(desk.actions.side, 1);
  turns(desk, 100);
  assert.equal(desk.actions.side, 3);
  dies(desk, 3);
  turns(desk, 200);
  assert.equal(desk.actions.side, 2);
});
