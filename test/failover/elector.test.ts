import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { ANNOUNCE_AGAIN_AT_MS, ANNOUNCE_AT_MS } from "../../conf/limits.ts";
import { counterOf, epochOf, schedulerIn } from "../../conf/epoch.ts";
import {
  deskOf,
  dies,
  EPOCH,
  followingDesk,
  HEARS,
  isClaim,
  LEASED,
  MS,
  peerOf,
  says,
  schedulingDesk,
  STANDS,
  turn,
  turns,
} from "./elector-desk.ts";

/** Three nodes, of which the first has another priority. */
const withPriority = (first: number) =>
  [1, 2, 3].map((number) => ({ number, priority: number === 1 ? first : 100 }));

describe("at the start", () => {
  test("a node alone in its array schedules with its first tick", () => {
    const desk = deskOf({ others: [] });
    const { raise, until_ns, announce } = turn(desk);
    assert.deepEqual(raise, { from: 0, to: epochOf(1, 1), former: 0 });
    assert.equal(until_ns, desk.input.now_ns + 150 * MS);
    assert.ok(announce);
  });

  test("the first of all claims when all others have answered", () => {
    assert.ok(turns(deskOf(), 400, isClaim) <= 20);
  });

  test("another one waits for the first, but not for long", () => {
    const desk = deskOf({ number: 2, others: [1, 3] });
    dies(desk, 1);
    const after_ms = turns(desk, 2000, isClaim);
    assert.ok(after_ms >= 300 && after_ms <= 340, `${after_ms} ms`);
  });

  test("who can't be asked counts as dead after the same time", () => {
    const desk = deskOf();
    for (const { rows } of desk.peers) rows[0]!.knowsMac = false;
    const after_ms = turns(desk, 2000, isClaim);
    assert.ok(after_ms >= 300 && after_ms <= 340, `${after_ms} ms`);
  });

  test("where there is a scheduler, it is followed, whatever this node's disk says", () => {
    const desk = deskOf({ floorCounter: 40 });
    says(desk, 2, { epoch: EPOCH, flags: LEASED });
    turns(desk, 500, isClaim);
    assert.equal(desk.input.page.epoch, EPOCH);
    assert.ok(!desk.kinds.includes("claims"));
  });

  test("no epoch is used again after a restart that has forgotten it", () => {
    const desk = deskOf({ others: [], floorCounter: 40 });
    assert.equal(turn(desk).raise?.to, epochOf(41, 1));
  });

  test("where heartbeats are filtered, a node that answers pings holds a claim for a second, a better one for good", () => {
    for (const [number, other, least_ms, most_ms] of [
      [1, 2, 1000, 1500],
      [2, 1, Infinity, Infinity],
    ] as const) {
      const desk = deskOf({ number, others: [other] });
      dies(desk, other);
      const after_ms = turns(desk, 3000, (actions) => {
        if (actions.wantsEcho.includes(other)) desk.input.echoes = new Map([[other, desk.input.now_ns]]);
        return isClaim(actions);
      });
      assert.ok(after_ms >= least_ms && after_ms <= most_ms, `node ${number} after ${after_ms} ms`);
    }
  });

  test("pings that were answered before a stall of this node's own hold a claim until those after it are, or should be", () => {
    const desk = deskOf({ number: 2, others: [1] });
    dies(desk, 1);
    const echo = (): Map<number, number> => new Map([[1, desk.input.now_ns]]);
    turns(desk, 2000, () => {
      desk.input.echoes = echo();
      return false;
    });
    for (const isAnswered of [true, false]) {
      assert.ok(!isClaim(turn(desk, 300 * MS)), "what has come meanwhile is not taken in yet");
      assert.equal(turns(desk, 50, isClaim), Infinity);
      if (isAnswered) desk.input.echoes = echo();
    }
    assert.ok(turns(desk, 100, isClaim) <= 60);
  });
});

describe("a follower", () => {
  test("takes over from a dead scheduler within dead_after_ms and a tick, and marks it dead", () => {
    const desk = followingDesk();
    dies(desk, 2);
    says(desk, 3, { flags: STANDS });
    const after_ms = turns(desk, 500, isClaim);
    assert.ok(after_ms <= 55, `${after_ms} ms`);
    assert.equal(desk.actions.markDead, 2);
    assert.equal(desk.actions.raise?.to, epochOf(8, 1));
    assert.ok(desk.actions.askNow && desk.actions.announce);
  });

  test("leaves a fresher table, a higher priority and an earlier place first, 30 ms for each", () => {
    for (const [version, priority, number, least_ms] of [
      [501, 100, 1, 70],
      [499, 100, 1, 0],
      [500, 99, 1, 70],
      [500, 101, 1, 0],
    ] as const) {
      const desk = followingDesk({ number, nodes: withPriority(priority) });
      says(desk, 3, { flags: STANDS, table_version: version });
      dies(desk, 2);
      const after_ms = turns(desk, 500, isClaim);
      assert.ok(after_ms >= least_ms && after_ms <= least_ms + 60, `${version}, ${priority}: ${after_ms} ms`);
    }
  });

  test("does not claim while another node hears the scheduler, and does at once when that ends", () => {
    const desk = followingDesk();
    dies(desk, 2);
    assert.equal(turns(desk, 2000, isClaim), Infinity);
    assert.ok(desk.kinds.includes("held"));
    says(desk, 3, { flags: STANDS });
    assert.ok(turns(desk, 200, isClaim) <= 20);
  });

  test("heeds no second opinion of another epoch, nor one that is old", () => {
    for (const words of [{ epoch: EPOCH - 256 }, { isHeard: [false] }]) {
      const desk = followingDesk();
      dies(desk, 2);
      turns(desk, 100);
      says(desk, 3, words);
      assert.ok(turns(desk, 400, isClaim) <= 50);
    }
  });

  test("succeeds a scheduler that answers without a lease for 60 ms, whoever hears its kernel, and leaves it its buckets", () => {
    const desk = followingDesk();
    says(desk, 2, { flags: STANDS | HEARS });
    const after_ms = turns(desk, 500, isClaim);
    assert.ok(after_ms >= 60 && after_ms <= 85, `${after_ms} ms`);
    assert.equal(desk.actions.markDead, undefined);
  });

  test("goes on when the scheduler has its lease again before that", () => {
    const desk = followingDesk();
    for (let i = 0; i < 20; i++) {
      says(desk, 2, { flags: STANDS | HEARS });
      turns(desk, 50);
      says(desk, 2, { flags: LEASED | STANDS });
      turns(desk, 20);
    }
    assert.ok(!desk.kinds.includes("claims"));
  });

  test("waits for the others when it has no table, and a second while the scheduler's kernel forwards", () => {
    const dead = followingDesk();
    dead.input.own.table_version = 0;
    dies(dead, 2);
    says(dead, 3, { flags: STANDS });
    const after_ms = turns(dead, 1000, isClaim);
    assert.ok(after_ms >= 250 && after_ms <= 300, `${after_ms} ms`);
    const stalled = followingDesk();
    stalled.input.own.table_version = 0;
    says(stalled, 2, { flags: STANDS | HEARS });
    const longer_ms = turns(stalled, 2000, isClaim);
    assert.ok(longer_ms >= 1060 && longer_ms <= 1150, `${longer_ms} ms`);
  });

  test("that hears nobody any more waits a moment longer: its own port may be the fault", () => {
    const desk = followingDesk();
    dies(desk, 2);
    dies(desk, 3);
    const after_ms = turns(desk, 2000, isClaim);
    assert.ok(after_ms >= 230 && after_ms <= 270, `${after_ms} ms`);
  });

  test("that claims though it hears nobody asks all before it announces, and does not while somebody is back", () => {
    for (const isBack of [false, true]) {
      const desk = followingDesk();
      for (const number of [2, 3]) dies(desk, number);
      assert.ok(turns(desk, 500, isClaim) < Infinity);
      assert.deepEqual([desk.actions.announce, desk.actions.askNow], [false, true]);
      // The network has healed just now.
      if (isBack) {
        for (const { isHeard } of desk.peers) isHeard.fill(true);
        for (const number of [2, 3]) says(desk, number, { epoch: desk.input.page.epoch, flags: STANDS });
      }
      const after_ms = turns(desk, 2000, ({ announce }) => announce);
      assert.ok(isBack ? after_ms >= 1000 : after_ms <= 15, `${after_ms} ms`);
    }
  });

  test("does not take its own dead segment for a dead scheduler", () => {
    const desk = followingDesk({ slots: 2 });
    for (const { isHeard } of desk.peers) isHeard[1] = false;
    assert.equal(turns(desk, 2000, isClaim), Infinity);
  });

  test("takes over from a scheduler that is silent on one segment where others are heard", () => {
    const desk = followingDesk({ slots: 2 });
    peerOf(desk, 2).isHeard[1] = false;
    says(desk, 3, { flags: STANDS });
    assert.ok(turns(desk, 500, isClaim) <= 60);
  });

  test("of two nodes, does not claim while the scheduler answers on one of their segments", () => {
    const desk = followingDesk({ others: [2], slots: 2 });
    peerOf(desk, 2).isHeard[1] = false;
    assert.equal(turns(desk, 2000, isClaim), Infinity);
  });

  test("that stood still, or has just begun, takes an offer only when it comes again", () => {
    const stalled = followingDesk();
    stalled.input.page.offered = EPOCH;
    assert.equal(turn(stalled, 100 * MS).raise, undefined);
    assert.equal(stalled.input.page.offered, 0, "it is called off here");
    stalled.input.page.offered = EPOCH;
    assert.ok(isClaim(turn(stalled)));
    const fresh = deskOf();
    fresh.input.page.epoch = EPOCH;
    fresh.input.page.offered = EPOCH;
    for (const { number } of fresh.peers) says(fresh, number, { epoch: EPOCH, flags: LEASED | STANDS });
    assert.equal(turns(fresh, 1000, isClaim), Infinity);
    assert.equal(fresh.input.page.offered, 0);
  });

  test("whose cable is in again asks everybody first: it could not hear them", () => {
    const desk = followingDesk();
    desk.input.own.hasCarrier = false;
    for (const { number } of desk.peers) dies(desk, number);
    turns(desk, 1000);
    assert.ok(desk.kinds.includes("contends"));
    desk.input.own.hasCarrier = true;
    for (const { isHeard } of desk.peers) isHeard.fill(true);
    assert.equal(turns(desk, 1000, isClaim), Infinity);
    assert.equal(desk.state.role.kind, "following");
  });

  test("holds a claim for at most a second while the scheduler answers pings", () => {
    const desk = followingDesk({ others: [2] });
    dies(desk, 2);
    const after_ms = turns(desk, 3000, (actions) => {
      if (actions.wantsEcho.includes(2)) desk.input.echoes = new Map([[2, desk.input.now_ns]]);
      return isClaim(actions);
    });
    assert.ok(after_ms >= 1000 && after_ms <= 1100, `${after_ms} ms`);
  });

  test("follows a later scheduler as soon as anybody tells of it", () => {
    const desk = followingDesk();
    const later = epochOf(9, 3);
    says(desk, 3, { epoch: later, flags: LEASED | STANDS });
    turns(desk, 15);
    assert.equal(desk.input.page.epoch, later);
    assert.equal(desk.actions.until_ns, 0);
  });

  test("takes over at once when the scheduler offers, in this epoch only, and marks nobody dead", () => {
    const desk = followingDesk();
    desk.input.page.offered = EPOCH - 256;
    assert.ok(!isClaim(turn(desk)));
    assert.equal(desk.input.page.offered, 0);
    desk.input.page.offered = EPOCH;
    const actions = turn(desk);
    assert.ok(isClaim(actions));
    assert.equal(actions.markDead, undefined);
  });

  test("that does not stand neither claims nor takes an offer", () => {
    for (const unfit of [{ hasCarrier: false }, { hasProgram: false }, { schedulerTurned_ns: 0 }]) {
      const desk = followingDesk();
      Object.assign(desk.input.own, unfit);
      desk.input.page.offered = EPOCH;
      dies(desk, 2);
      says(desk, 3, { flags: STANDS });
      assert.equal(turns(desk, 500, isClaim), Infinity);
      assert.equal(desk.actions.stands, false);
    }
    const never = followingDesk({ nodes: [1, 2, 3].map((number) => ({ number, priority: number - 1 })) });
    dies(never, 2);
    assert.equal(turns(never, 500, isClaim), Infinity);
  });

  test("gives answers a chance after a stall of its own", () => {
    const desk = followingDesk();
    says(desk, 3, { flags: STANDS });
    // The heartbeats went out, and what was answered comes in only now.
    dies(desk, 2);
    for (let at_ns = 10 * MS; at_ns <= 80 * MS; at_ns += 10 * MS) {
      const { sent } = peerOf(desk, 2).rows[0]!;
      sent.sent_ns.copyWithin(0, 1);
      sent.handed_ns.copyWithin(0, 1);
      sent.sent_ns[sent.count - 1] = sent.handed_ns[sent.count - 1] = desk.input.now_ns + at_ns;
    }
    assert.ok(!isClaim(turn(desk, 110 * MS)));
    peerOf(desk, 2).isHeard.fill(true);
    assert.equal(turns(desk, 500, isClaim), Infinity);
  });
});

/** Each is away for 270 of 450 ms, and of three one comes back every 150 ms. */
const isAwayInTurn = (number: number, at_ms: number): boolean => (at_ms + number * 150) % 450 < 270;

describe("a scheduler", () => {
  test("renews at each tick, for as long as a lease is", () => {
    const desk = schedulingDesk();
    for (let i = 0; i < 50; i++) assert.equal(turn(desk).until_ns, desk.input.now_ns + 150 * MS);
  });

  test("does not renew after a stall beyond its lease, looks round, and goes on in its epoch", () => {
    const desk = schedulingDesk();
    const { epoch } = desk.input.page;
    assert.equal(turn(desk, 151 * MS).until_ns, 0);
    assert.ok(turns(desk, 100, ({ until_ns }) => until_ns > 0) <= 15);
    assert.equal(desk.input.page.epoch, epoch);
    assert.equal(desk.kinds.at(-1), "resumes");
  });

  test("finds out in that round that it has been succeeded", () => {
    const desk = schedulingDesk();
    const later = epochOf(counterOf(desk.input.page.epoch) + 1, 3);
    turn(desk, 151 * MS);
    says(desk, 3, { epoch: later, flags: LEASED | STANDS });
    turns(desk, 500, ({ until_ns }) => {
      assert.equal(until_ns, 0);
      return false;
    });
    assert.equal(desk.input.page.epoch, later);
  });

  test("yields when its kernel has heard of a later one, or a peer tells of it", () => {
    const later = epochOf(9, 3);
    const byKernel = schedulingDesk();
    byKernel.input.page.epoch = later;
    assert.equal(turn(byKernel).until_ns, 0);
    const byPeer = schedulingDesk();
    says(byPeer, 2, { epoch: later });
    turns(byPeer, 60);
    assert.equal(byPeer.actions.until_ns, 0);
    assert.equal(byPeer.input.page.epoch, later);
    assert.ok(byPeer.kinds.includes("yields"));
  });

  test("takes an epoch of its own that it has forgotten for no reason to follow itself", () => {
    const desk = schedulingDesk();
    says(desk, 2, { epoch: epochOf(50, 1) });
    turns(desk, 15);
    assert.equal(desk.input.page.epoch, epochOf(51, 1));
    assert.ok(desk.actions.until_ns > 0);
  });

  test("whose claim the kernel was faster than follows what the kernel knows", () => {
    const desk = followingDesk({ others: [0, 2, 3] });
    dies(desk, 2);
    says(desk, 0, { flags: STANDS });
    says(desk, 3, { flags: STANDS });
    turns(desk, 500, isClaim);
    desk.input.page.epoch = epochOf(8, 0);
    desk.input.page.until_ns = 0;
    assert.equal(turn(desk).until_ns, 0);
    assert.equal(schedulerIn(desk.input.page.epoch), 0);
    assert.equal(desk.actions.raise, undefined);
    assert.equal(desk.kinds.at(-2), "yields");
  });

  test("announces as often as it is due, and again when a node is back or has announced the VIPs, too", () => {
    const desk = deskOf();
    let count = 0;
    const counted = (for_ms: number): number => {
      count = 0;
      turns(desk, for_ms, ({ announce }) => {
        count += Number(announce);
        return false;
      });
      return count;
    };
    assert.equal(counted(12_000), ANNOUNCE_AT_MS.length);
    assert.equal(counted(5000), 0);
    desk.input.vipClaims = [{ kind: "member", number: 2 }];
    assert.equal(counted(12_000), ANNOUNCE_AGAIN_AT_MS.length);
    dies(desk, 3);
    assert.equal(counted(1000), 0);
    peerOf(desk, 3).isHeard.fill(true);
    assert.equal(counted(12_000), ANNOUNCE_AGAIN_AT_MS.length);
  });

  test("asks the others before each announcement, and makes none while one says that it schedules, too", () => {
    const desk = schedulingDesk();
    says(desk, 3, { flags: STANDS | LEASED });
    assert.equal(
      turns(desk, 500, ({ announce }) => announce),
      Infinity,
    );
    says(desk, 3, { flags: STANDS });
    assert.ok(turns(desk, 500, ({ announce }) => announce) <= 30);
    assert.equal(desk.actions.soon, false);
  });

  test("keeps quiet after its first announcements while somebody is silent, but not for long", () => {
    const desk = followingDesk();
    dies(desk, 2);
    says(desk, 3, { flags: STANDS });
    turns(desk, 500, isClaim);
    const claimed_ns = desk.input.now_ns;
    const at_ms: number[] = [];
    turns(desk, 12_000, ({ announce }) => {
      if (announce) at_ms.push(Math.round((desk.input.now_ns - claimed_ns) / MS));
      return false;
    });
    assert.deepEqual(
      at_ms.map((ms) => Math.floor(ms / 50)),
      [0, 1, 2, 60, 200],
      `${at_ms.join()} ms`,
    );
  });

  test("announces in quick succession after a hand-over in order: nothing is to be merged", () => {
    for (const table_version of [500, 0]) {
      const desk = followingDesk();
      desk.input.own.table_version = table_version;
      desk.input.page.offered = EPOCH;
      assert.ok(isClaim(turn(desk)));
      const claimed_ns = desk.input.now_ns;
      // Its kernel hears of that, and goes on as a follower's.
      for (const number of [2, 3])
        says(desk, number, { epoch: desk.input.page.epoch, flags: STANDS | HEARS });
      const at_ms: number[] = [];
      turns(desk, 12_000, ({ announce }) => {
        if (announce) at_ms.push(Math.round((desk.input.now_ns - claimed_ns) / MS));
        return false;
      });
      const due = table_version > 0 ? ANNOUNCE_AT_MS.slice(1) : ANNOUNCE_AGAIN_AT_MS.map((at) => 1000 + at);
      assert.equal(at_ms.length, due.length, `${at_ms.join()} ms`);
      for (const [i, at] of at_ms.entries()) assert.ok(at - due[i]! >= 0 && at - due[i]! <= 30, `${at} ms`);
    }
  });

  test("announces again when the node that it has succeeded answers again, however soon", () => {
    const desk = followingDesk();
    dies(desk, 2);
    says(desk, 3, { flags: STANDS });
    turns(desk, 500, isClaim);
    turns(desk, 120);
    assert.equal(
      turns(desk, 100, ({ announce }) => announce),
      Infinity,
    );
    peerOf(desk, 2).isHeard.fill(true);
    says(desk, 2, { epoch: desk.input.page.epoch, flags: STANDS });
    const after_ms = turns(desk, 2000, ({ announce }) => announce);
    // By then its table knows the other one's connections.
    assert.ok(after_ms >= 1000 && after_ms <= 1030, `${after_ms} ms`);
  });

  test("announces at once when the node whose clients it waits for falls silent", () => {
    const desk = schedulingDesk();
    turns(desk, 12_000);
    dies(desk, 3);
    turns(desk, 500);
    peerOf(desk, 3).isHeard.fill(true);
    turns(desk, 100);
    assert.equal(desk.kinds.at(-1), "announces-again");
    desk.input.own.isMerging = true;
    dies(desk, 3);
    const after_ms = turns(desk, 2000, ({ announce }) => announce);
    assert.ok(after_ms <= 130, `${after_ms} ms`);
  });

  test("that is cut off from all announces nothing at once, whoever's clients it waits for", () => {
    const desk = schedulingDesk();
    turns(desk, 12_000);
    dies(desk, 3);
    turns(desk, 500);
    peerOf(desk, 3).isHeard.fill(true);
    turns(desk, 100);
    for (const number of [2, 3]) dies(desk, number);
    // By then its table calls them dead: their clients would be reset if this came to them when the network heals.
    assert.equal(
      turns(desk, 800, ({ announce }) => announce),
      Infinity,
    );
  });

  test("asks again and again before an announcement while somebody is silent", () => {
    for (const isSilent of [false, true]) {
      const desk = schedulingDesk();
      turns(desk, 12_000);
      if (isSilent) dies(desk, 3);
      turns(desk, 500);
      desk.input.vipClaims = [{ kind: "foreign", mac: "02:00:00:00:00:99" }];
      let asked = 0;
      let actions = turn(desk);
      while (!actions.announce) {
        asked += Number(actions.askNow);
        assert.ok(actions.soon);
        actions = turn(desk, MS);
      }
      assert.equal(asked, isSilent ? 5 : 1);
    }
  });

  test("announces at least every five seconds, though nodes come back again and again", () => {
    const desk = schedulingDesk({ others: [2, 3, 4] });
    turns(desk, 12_000);
    const at_ms: number[] = [];
    for (let now_ms = 0; now_ms < 30_000; now_ms += 5) {
      for (const { number, isHeard } of desk.peers) isHeard.fill(!isAwayInTurn(number, now_ms));
      if (turn(desk).announce) at_ms.push(now_ms);
    }
    const gaps_ms = [0, ...at_ms].map((from_ms, i) => (at_ms[i] ?? 30_000) - from_ms);
    assert.ok(Math.max(...gaps_ms) <= 5500, `${at_ms.join()} ms`);
  });

  test("answers a foreign claim at most once a second", () => {
    const desk = schedulingDesk();
    turns(desk, 12_000);
    let count = 0;
    for (let i = 0; i < 600; i++) {
      desk.input.vipClaims = [{ kind: "foreign", mac: "02:00:00:00:00:99" }];
      count += turn(desk).events.filter(({ kind }) => kind === "foreign-claim").length;
    }
    assert.equal(count, 3);
  });

  test("offers to whom an operator wants until that node has claimed, and only where it can", () => {
    const desk = schedulingDesk();
    desk.input.own.handOverTo = 3;
    assert.equal(turn(desk).offerTo, 3);
    turns(desk, 900);
    assert.equal(desk.actions.offerTo, 3);
    turns(desk, 200);
    assert.equal(desk.actions.offerTo, undefined, "given up, and not begun anew");
    assert.ok(desk.actions.until_ns > 0);
    const other = schedulingDesk();
    says(other, 3, { table_version: 0 });
    other.input.own.handOverTo = 3;
    turns(other, 20);
    assert.equal(other.actions.offerTo, undefined);
    assert.ok(other.kinds.includes("offer-ended"));
  });

  test("that stops offers to the best, and may end when that one has claimed or there is nobody", () => {
    const desk = schedulingDesk();
    desk.input.isStopping = true;
    says(desk, 3, { table_version: 501 });
    turns(desk, 10);
    assert.equal(desk.actions.offerTo, 3);
    assert.ok(!desk.actions.canStop && desk.actions.until_ns > 0);
    desk.input.page.epoch = epochOf(9, 3);
    assert.ok(turn(desk).canStop);
    const alone = deskOf({ others: [] });
    turns(alone, 20);
    alone.input.isStopping = true;
    assert.ok(turn(alone).canStop);
  });

  test("that is not fit offers, then gives its lease up; it goes on while nobody could do better", () => {
    const desk = schedulingDesk();
    desk.input.own.hasCarrier = false;
    assert.equal(turn(desk).offerTo, 2);
    const after_ms = turns(desk, 2000, ({ until_ns }) => until_ns === 0);
    assert.ok(after_ms <= 210, `${after_ms} ms`);
    const only = schedulingDesk();
    says(only, 2, { flags: HEARS });
    says(only, 3, { flags: HEARS });
    only.input.own.schedulerTurned_ns = 0;
    assert.equal(
      turns(only, 2000, ({ until_ns }) => until_ns === 0),
      Infinity,
    );
  });

  test("hands over to a higher priority that has been in step for long enough, if that is configured", () => {
    const nodes = [1, 2, 3].map((number) => ({ number, priority: number === 3 ? 200 : 100 }));
    const desk = schedulingDesk({ nodes, preempt: true, preempt_delay_s: 2 });
    desk.input.own.table_version = 500;
    const after_ms = turns(desk, 5000, ({ offerTo }) => offerTo === 3);
    assert.ok(after_ms <= 2000, `${after_ms} ms`);
    const calm = schedulingDesk({ nodes });
    assert.equal(
      turns(calm, 5000, ({ offerTo }) => offerTo !== undefined),
      Infinity,
    );
  });

  test("reserves counters on disk before they are used", () => {
    const desk = schedulingDesk();
    desk.input.reservedCounter = 3;
    assert.equal(turn(desk).reserveCounter, 17);
    desk.input.reservedCounter = 17;
    assert.equal(turn(desk).reserveCounter, undefined);
  });
});
