/** What a scheduling node decides, with facts and times that a test makes up. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { FOLLOW_GRACE_MS, NOBODY, SCATTERED_LEAST_MS } from "../../conf/limits.ts";
import type { NodeStatus } from "../../conf/messages.ts";
import type { Config } from "../../conf/schema.ts";
import { calmTurn } from "../../scheduler/calm-turn.ts";
import {
  createDeciding,
  judge,
  judgementOn,
  setDraining,
  takeHeld,
  takeLiveness,
  takeConnected,
  takeSweep,
  takeTurn,
  type Deciding,
} from "../../scheduler/deciding.ts";
import { bitmapOf } from "../../scheduler/feed/feed-message.ts";
import { createFollow } from "../../scheduler/feed/follow.ts";
import { NODE_SCATTERED } from "../../scheduler/layout.ts";
import { createMember, type Member } from "../../scheduler/nodes/members.ts";
import { bucketsOf } from "../../scheduler/policy/policy.ts";
import { nodesTable } from "../../scheduler/steering.ts";
import { clear, nextOf, ownerOf, previousOf, readWord, swapWord, wordOf } from "../../scheduler/table.ts";
import { takeOver } from "../../scheduler/takeover.ts";

const SIZE = 1024;
const NUMBERS = [1, 2, 3];
const MS = 1_000_000n;

interface World {
  readonly table: Int32Array;
  readonly deciding: Deciding;
  /** What has been done, in words. */
  readonly done: string[];
  now_ns: bigint;
}

function memberOf(number: number): Member {
  const base = { interface: "eth0", interfaces: [], enabled: true, weight: 1, priority: 100 };
  const mac = `02:00:00:00:00:0${number}`;
  const config = { ...base, number, name: `node${number}`, address: `192.0.2.${number}`, mac };
  const former = { macs: [], isUp: true, isReachable: true, isDraining: false };
  return createMember(config, { number: 1, macs: [Uint8Array.of(2, 0, 0, 0, 0, 1)] }, former, 0);
}

/** Node 1 schedules three nodes that were up under the scheduler before; all acknowledge at once. */
function worldOf(balance: Config["scheduler"]["balance"] = "groups"): World {
  const table = new Int32Array(SIZE * 2);
  clear(table);
  const areas = [{ name: "", group: 0, base: 0, size: SIZE, table }];
  const steering = takeOver({
    number: 1,
    epoch: 257,
    history: "aa",
    areas,
    follow: createFollow({ number: 1, groups: areas }),
    toldVersion: 0,
    seed: 7,
    settings: { timeout_units: 1_000_000, fill_s: 1 },
  });
  const done: string[] = [];
  const note = (text: string) => () => void done.push(text);
  const deciding = createDeciding({
    settings: { bucket_timeout_s: 60, balance },
    members: NUMBERS.map(memberOf),
    hosts: [],
    steering,
    eventsLost: 0,
    now_ns: 1_000n * MS,
    effects: {
      writeNode: ({ config }, { isUp, isReachable, isDraining }) =>
        done.push(
          `${config.name} ${[isUp && "up", isReachable && "reachable", isDraining && "draining"].filter(Boolean).join(" ")}`,
        ),
      writeHost: note("host"),
      setHasPrevious: note("previous"),
      setMerging: (isMerging) => done.push(isMerging ? "merging" : "merged"),
      feedChanged: note("feed"),
      hurrySweep: note("hurry"),
      wantMacs: note("macs"),
      log: { info: () => undefined, warn: () => undefined },
    },
  });
  for (const member of deciding.members) member.isInStep = true;
  const world: World = { table, deciding, done, now_ns: 1_000n * MS };
  judge(deciding, world.now_ns);
  // Nobody else is there to acknowledge: what is told is settled with the next turn.
  run(world, 100);
  return world;
}

/** So many turns of 10 ms, with nobody whose acknowledgement counts. */
function run(world: World, turns: number): void {
  const { deciding } = world;
  for (let i = 0; i < turns; i++) {
    world.now_ns += 10n * MS;
    deciding.steering.feed.living = new Set();
    takeTurn(deciding, world.now_ns);
  }
}

/** A first packet for every bucket that nobody has. */
function claimAll({ table }: World): void {
  for (let bucket = 0; bucket < SIZE; bucket++) {
    const word = readWord(table, bucket);
    if (ownerOf(word) === NOBODY) swapWord(table, bucket, word, wordOf(nextOf(word), nextOf(word)));
  }
}

const owned = ({ table }: Pick<World, "table">, number: number): number =>
  Array.from({ length: SIZE }, (_, bucket) => ownerOf(readWord(table, bucket))).filter(
    (owner) => owner === number,
  ).length;

function claimed(balance?: Config["scheduler"]["balance"]): World {
  const world = worldOf(balance);
  claimAll(world);
  calmTurn(world.deciding, { now_ns: world.now_ns, eventsLost: 1, sweep: undefined });
  run(world, 50);
  return world;
}

test("a node whose kernel falls silent is written so, and its buckets are handed over in the same turn", () => {
  const world = claimed();
  const { deciding, done } = world;
  const before = owned(world, 2);
  assert.ok(before > SIZE / 4);
  done.length = 0;
  takeLiveness(deciding, { slot: 0, peer: 2, phase: "silent" });
  judge(deciding, world.now_ns);
  assert.equal(done[0], "node2 ");
  assert.equal(judgementOn(deciding, 2).state, "down");
  assert.equal(owned(world, 2), 0);
  assert.ok(done.includes("feed"));
  takeLiveness(deciding, { slot: 0, peer: 2, phase: "reachable" });
  judge(deciding, world.now_ns);
  assert.equal(judgementOn(deciding, 2).condition, "leaving", "it has to catch up first");
});

test("buckets of nodes that the data plane has as dead are handed over before anything else happens", () => {
  const { table, deciding } = claimed();
  const before = owned({ table }, 3);
  assert.ok(before > SIZE / 4);
  const [one, two, three] = NUMBERS.map((number) => memberOf(number));
  assert.ok(one && two && three);
  three.links[0]!.isReachable = false;
  const areas = [{ name: "", group: 0, base: 0, size: SIZE, table }];
  const follow = createFollow({ number: 1, groups: areas });
  const settings = { timeout_units: 1_000_000, fill_s: 1 };
  const options = { number: 1, epoch: 513, history: "bb", areas, follow, toldVersion: 7, seed: 7, settings };
  const next = createDeciding({
    ...deciding,
    members: [one, two, three],
    steering: takeOver(options),
    eventsLost: 0,
    now_ns: 1n,
  });
  judge(next, 1n);
  assert.equal(owned({ table }, 3), 0);
  assert.equal(judgementOn(next, 3).state, "down", "it has been up");
});

test("a node that does not follow the table within its grace, or fails the sweep, loses its buckets", () => {
  const world = claimed();
  const { deciding } = world;
  takeSweep(deciding, { node: 3, failed: true, reason: "it does not answer" }, world.now_ns);
  assert.deepEqual(judgementOn(deciding, 3).reason, "it does not answer");
  run(world, 200);
  assert.equal(owned(world, 3), 0);
  assert.equal(judgementOn(deciding, 2).state, "up");
  Object.assign(deciding.members[1]!, { isInStep: false, outOfStep_since_ms: Number(world.now_ns / MS) });
  judge(deciding, world.now_ns);
  assert.equal(judgementOn(deciding, 2).state, "up");
  world.now_ns += BigInt(FOLLOW_GRACE_MS) * MS;
  judge(deciding, world.now_ns);
  assert.equal(judgementOn(deciding, 2).reason, "it does not follow the bucket table");
});

test("a node that drains keeps its connections until it tells that none is left", () => {
  const world = claimed();
  const { deciding } = world;
  const member = deciding.members[1]!;
  setDraining(deciding, member, true, world.now_ns);
  assert.ok(world.done.includes("node2 up reachable draining"));
  run(world, 200);
  assert.equal(owned(world, 2), 0);
  calmTurn(deciding, { now_ns: world.now_ns, eventsLost: 1, sweep: undefined });
  const { version } = deciding.steering.feed;
  takeHeld(deciding, 2, { version: version - 9999, bits: bitmapOf(SIZE, []), connections: 0 }, world.now_ns);
  assert.equal(judgementOn(deciding, 2).state, "draining", "that was before it had no buckets");
  takeHeld(deciding, 2, { version, bits: bitmapOf(SIZE, []), connections: 0 }, world.now_ns);
  assert.equal(judgementOn(deciding, 2).state, "drained");
});

test("a node that tells of connections gets their packets by second chance", () => {
  const world = claimed();
  const before = Array.from({ length: SIZE }, (_, bucket) => readWord(world.table, bucket));
  takeConnected(world.deciding, 2, new Uint8Array(SIZE / 8).fill(255), world.now_ns);
  run(world, 10);
  const told = world.done.filter((what) => what.startsWith("merg"));
  assert.deepEqual(told, ["merging", "merged"], "the failover process waits for that");
  before.forEach((word, bucket) => {
    const now = readWord(world.table, bucket);
    assert.deepEqual([ownerOf(now), nextOf(now)], [ownerOf(word), nextOf(word)]);
    assert.equal(previousOf(now), ownerOf(word) === 2 ? NOBODY : 2);
  });
  assert.equal(world.deciding.merging.merged, SIZE - owned(world, 2));
});

test("a failed node that does not tell of its connections is waited for as long as idle buckets are", () => {
  const world = claimed();
  const { deciding } = world;
  takeConnected(deciding, 2, new Uint8Array(SIZE / 8).fill(255), world.now_ns);
  run(world, 10);
  const waiting = (): number =>
    Array.from({ length: SIZE }, (_, bucket) => previousOf(readWord(world.table, bucket))).filter(
      (previous) => previous === 2,
    ).length;
  deciding.members[1]!.isInStep = false;
  // What was complained of long ago, and has been well since, is no reason to hurry.
  takeSweep(deciding, { node: 2, failed: true, reason: "refused" }, world.now_ns);
  deciding.members[1]!.complaint_since_ms = -Infinity;
  const calm = (): void => calmTurn(deciding, { now_ns: world.now_ns, eventsLost: 0, sweep: undefined });
  calm();
  world.now_ns += 59_000n * MS;
  calm();
  run(world, 10);
  assert.equal(waiting(), SIZE, "its own buckets have gone to others, too");
  world.now_ns += 1000n * MS;
  calm();
  run(world, 10);
  assert.equal(waiting(), 0);
});

/** Node 1's clients keep four times as many connections per bucket as those of the others. */
const perBucket = (number: number): number => (number === 1 ? 4 : 1);

test("with balance: connections, sweeps shift weights and then buckets to nodes that have too few", () => {
  const world = claimed("connections");
  const { deciding } = world;
  const sweepOf = (round: number) => ({
    last_sweep_at_ms: round * 10_000,
    answers: new Map(
      NUMBERS.map((number): [number, NodeStatus] => [
        number,
        {
          number,
          avg_response_time_us: null,
          hits: 0,
          open_connections: perBucket(number) * owned(world, number),
          open_by_vserver: {},
          workers: 1,
          workers_accepting: 1,
          web_servers: [],
        },
      ]),
    ),
  });
  const spread = (): number => {
    const open = NUMBERS.map((number) => perBucket(number) * owned(world, number));
    return Math.max(...open) / Math.min(...open);
  };
  const atFirst = spread();
  assert.ok(atFirst > 3.5);
  for (let round = 1; round <= 60; round++) {
    world.now_ns += 10_000n * MS;
    const sweep = sweepOf(round);
    calmTurn(deciding, { now_ns: world.now_ns, eventsLost: 1, sweep });
    const { weights } = deciding;
    calmTurn(deciding, { now_ns: world.now_ns, eventsLost: 1, sweep });
    assert.equal(deciding.weights, weights, "each sweep counts once");
    run(world, 100);
    // Nodes tell that they have no connections of what has moved away.
    const { version } = deciding.steering.feed;
    for (const number of NUMBERS) {
      takeHeld(deciding, number, { version, bits: bitmapOf(SIZE, []), connections: 0 }, world.now_ns);
    }
    run(world, 5);
  }
  const [one = 0, two = 0, three = 0] = NUMBERS.map((number) => deciding.weights.get(number));
  assert.ok(one < 0.8 && two > 1 && three > 1, `${one}, ${two}, ${three}`);
  assert.ok(spread() < atFirst * 0.75, `${spread()} after ${atFirst}`);
  assert.ok(bucketsOf(nodesTable(deciding.steering).policy, 1) < SIZE / 3);
});

test("connections are searched for on all nodes until each has told where it has some, and again after a conflict", () => {
  const world = worldOf();
  const { deciding } = world;
  const { feed } = deciding.steering;
  const scattered = (): number[] =>
    NUMBERS.filter((number) => (feed.groups[0]!.flags[number]! & NODE_SCATTERED) !== 0);
  const tell = (number: number): void => {
    const { version } = feed;
    takeHeld(deciding, number, { version, bits: bitmapOf(SIZE, []), connections: 0 }, world.now_ns);
  };
  assert.deepEqual(scattered(), NUMBERS);
  for (const number of NUMBERS) tell(number);
  assert.deepEqual(scattered(), NUMBERS, "it has just taken over");
  world.now_ns += BigInt(SCATTERED_LEAST_MS) * MS;
  tell(2);
  assert.deepEqual(scattered(), [1, 3]);
  tell(1);
  tell(3);
  assert.deepEqual(scattered(), []);
  takeConnected(deciding, 3, bitmapOf(SIZE, [5]), world.now_ns);
  assert.deepEqual(scattered(), NUMBERS);
});
