/** Which role follows from the lease page's epoch, and that there is never more than one. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { setImmediate } from "node:timers/promises";
import { epochOf } from "../../conf/epoch.ts";
import { createFollow, type Follow } from "../../scheduler/feed/follow.ts";
import { createRoles, type Left } from "../../scheduler/roles.ts";

interface FakeRole {
  readonly text: string;
  readonly left: Left;
  readonly ended: PromiseWithResolvers<void>;
  isRunning: boolean;
  stop(): Promise<void>;
  giveUp(): Follow;
}

const followOf = (): Follow => createFollow({ number: 2, groups: [{ name: "", table: new Int32Array(8) }] });

function rolesOf() {
  const started: FakeRole[] = [];
  const start = (text: string, left: Left): FakeRole => {
    const running = started.filter(({ isRunning }) => isRunning);
    assert.deepEqual(running, [], `${text} begins while no other role runs`);
    const ended = Promise.withResolvers<void>();
    const role: FakeRole = {
      text,
      left,
      ended,
      isRunning: true,
      stop: () => {
        role.isRunning = false;
        return ended.promise;
      },
      giveUp: () => {
        assert.ok(!role.isRunning, "the tables are given up when nothing is done to them any more");
        return { ...left.follow, seen: left.follow.seen + 1 };
      },
    };
    started.push(role);
    return role;
  };
  const roles = createRoles<FakeRole>(
    {
      number: 2,
      schedule: (epoch, left) => start(`schedules in ${epoch}`, left),
      follow: (epoch, scheduler, left) => start(`follows ${scheduler ?? "nobody"} in ${epoch}`, left),
    },
    followOf(),
  );
  return { roles, started };
}

test("a node follows whom the epoch names, schedules when that is itself, and follows nobody in none", () => {
  const { roles, started } = rolesOf();
  assert.equal(roles.current(), undefined);
  const epochs = [0, epochOf(1, 1), epochOf(2, 2), epochOf(3, 2), epochOf(4, 3)];
  for (const epoch of epochs) {
    assert.ok(roles.turn(epoch));
    assert.ok(!roles.turn(epoch), "it stays until there is another epoch");
  }
  assert.deepEqual(
    started.map(({ text }) => text),
    ["follows nobody in 0", "follows 1 in 257", "schedules in 514", "schedules in 770", "follows 3 in 1027"],
  );
  assert.equal(roles.current(), started.at(-1));
  assert.deepEqual(
    started.map(({ left }) => left.follow.seen),
    [0, 1, 2, 3, 4],
    "each goes on with the tables of the one before",
  );
});

test("a role's port is free when all before it have ended, and stopping waits for all", async () => {
  const { roles, started } = rolesOf();
  for (const epoch of [epochOf(1, 2), epochOf(2, 1), epochOf(3, 2)]) roles.turn(epoch);
  const done: string[] = [];
  void started[2]!.left.ended.then(() => done.push("free"));
  const stopping = roles.stop().then(() => done.push("stopped"));
  started[1]!.ended.resolve();
  started[2]!.ended.resolve();
  await setImmediate();
  assert.deepEqual(done, []);
  started[0]!.ended.resolve();
  await stopping;
  assert.deepEqual(done, ["free", "stopped"]);
  assert.ok(started.every(({ isRunning }) => !isRunning));
});
