/** What must never be, and what must be once all is well again. */
import { schedulerIn } from "../../conf/epoch.ts";
import { LEASE_MS, NOBODY } from "../../conf/limits.ts";
import type { ElectorActions } from "../../failover/elector.ts";
import { ownerOf, previousOf } from "../../scheduler/table.ts";
import { BUCKETS, isScheduling } from "./kernel.ts";
import { FIRST_FAULT_MS } from "./plan.ts";
import {
  answersArp,
  disturb,
  fail,
  isLinked,
  localTime,
  machineOf,
  MS,
  note,
  type Client,
  type Connection,
  type Machine,
  type World,
} from "./world.ts";

const MONITOR_EVERY_NS = 10 * MS;
/** A lease, an announcement, and a heartbeat at its slowest pace, lost once. */
const BOTH_NS = (LEASE_MS + 110) * MS;
/** A process that has not turned for so long: its lease has ended. */
const ALONE_NS = (LEASE_MS + 15) * MS;
/** What is well for so long should be known to everybody. */
const WELL_NS = 400 * MS;
/** After so long without a fault the array has one scheduler that all know. */
export const SETTLE_NS = 1000 * MS;

const isCalmNow = ({ loss, plan, delay_ns }: World): boolean => loss <= plan.loss && delay_ns === 0;
const isWell = ({ timeline }: World, { isOn, unwellAt_ns }: Machine): boolean =>
  isOn && timeline.now_ns - unwellAt_ns >= WELL_NS;

function areLinked(world: World, one: Machine, other: Machine): boolean {
  for (let slot = 0; slot < world.plan.slots; slot++) {
    if (!isLinked(world, one, other, slot) || !isLinked(world, other, one, slot)) return false;
  }
  return true;
}

/** A node takes over: it may, and it had a reason. */
export function checkClaim(world: World, machine: Machine, { markDead, events }: ElectorActions): void {
  const { timeline, plan } = world;
  const claim = events.find(({ kind }) => kind === "claims");
  if (plan.isCalm && timeline.now_ns >= FIRST_FAULT_MS * MS) {
    fail(world, "needless", `node ${machine.number} takes over though all is well: ${claim?.reason}`);
  }
  // What was decided before a stall is of that time.
  if (machine.failover === undefined || machine.turned_ns !== timeline.now_ns) return;
  const turned_ns = localTime(world, machine) - machine.kernel.control.turned_ns;
  const isFit = machine.noProgram === 0 && machine.noCarrier.every((count) => count === 0);
  if (!isFit || turned_ns > 1000 * MS || machine.failover.isStopping) {
    fail(world, "claimed-unfit", `node ${machine.number} takes over, but is not fit to`);
  }
  if (markDead !== undefined) checkOpinion(world, machine, machineOf(world, markDead));
}

/** Whoever hears both says so, and is asked. */
function checkOpinion(world: World, machine: Machine, scheduler: Machine): void {
  const { plan, timeline, machines } = world;
  const isStable = plan.loss === 0 && isCalmNow(world) && timeline.now_ns - world.unstableAt_ns >= WELL_NS;
  if (!isStable || !isWell(world, scheduler) || !answersArp(world, scheduler)) return;
  const witness = machines.find(
    (other) =>
      other !== machine &&
      other !== scheduler &&
      isWell(world, other) &&
      other.failover !== undefined &&
      areLinked(world, other, machine) &&
      areLinked(world, other, scheduler),
  );
  if (witness === undefined) return;
  fail(
    world,
    "needless",
    `node ${machine.number} takes over, though node ${witness.number} hears the scheduler`,
  );
}

/** A lease that has ended is not renewed by who does not know what has happened since. */
export function checkRenewal(world: World, machine: Machine, { raise, until_ns }: ElectorActions): void {
  const { page, rows } = machine.kernel;
  const { input } = machine.failover!;
  const hasEnded = page.until_ns > 0 && page.until_ns <= input.now_ns;
  const canAsk = [...rows.values()].some((ofPeer) => ofPeer.some(({ knowsMac }) => knowsMac));
  if (raise === undefined && hasEnded && canAsk) {
    fail(
      world,
      "renewed-blindly",
      `node ${machine.number} renews a lease that had ended before it looked round`,
    );
  }
  if (until_ns > input.now_ns + LEASE_MS * MS)
    fail(world, "lease", `node ${machine.number} takes too long a lease`);
}

interface Watched {
  readonly epochs: Map<number, { readonly life: number; readonly epoch: number }>;
  /** Since when two nodes answer, by their numbers. */
  readonly both: Map<string, number>;
}

/** Looks every few milliseconds at what all nodes do. */
export function startMonitor(world: World): void {
  const watched: Watched = { epochs: new Map(), both: new Map() };
  const look = (): void => {
    // Frames are lost or late: who knows what when is open.
    if (!isCalmNow(world)) disturb(world);
    checkEpochs(world, watched);
    checkAnswers(world, watched);
    world.timeline.in(MONITOR_EVERY_NS, look);
  };
  look();
}

function checkEpochs(world: World, { epochs }: Watched): void {
  for (const { number, life, kernel } of world.machines) {
    const { epoch } = kernel.page;
    const before = epochs.get(number);
    if (before?.life === life && epoch < before.epoch) {
      fail(world, "epoch", `node ${number} goes back from ${before.epoch} to ${epoch}`);
    }
    epochs.set(number, { life, epoch });
  }
}

function checkAnswers(world: World, { both }: Watched): void {
  const { machines, timeline } = world;
  const answering = machines.filter((machine) => answersArp(world, machine));
  for (const { number, turned_ns } of answering) {
    if (timeline.now_ns - turned_ns > ALONE_NS) {
      fail(world, "answers-alone", `node ${number} answers, though its failover process stands still`);
    }
  }
  const now = new Set<string>();
  for (const [i, one] of answering.entries()) {
    for (const other of answering.slice(i + 1)) {
      if (!areLinked(world, one, other)) continue;
      const pair = `${one.number} and ${other.number}`;
      now.add(pair);
      const unwell_ns = Math.max(world.unstableAt_ns, one.unwellAt_ns, other.unwellAt_ns);
      const since_ns = Math.max(both.get(pair) ?? timeline.now_ns, unwell_ns);
      both.set(pair, since_ns);
      if (timeline.now_ns - since_ns > BOTH_NS)
        fail(world, "both-answer", `nodes ${pair} answer for the VIPs`);
    }
  }
  for (const pair of both.keys()) if (!now.has(pair)) both.delete(pair);
}

/** A connection of a living node has been reset: faults of the network excuse that, those of machines and processes don't. */
export function checkBroken(
  world: World,
  client: Client,
  { at, bucket, opened_ns, isOrderly }: Connection,
  by: Machine,
): void {
  note(world, by, `resets a connection to node ${at.number}, client ${client.index}, bucket ${bucket}`);
  world.counts.broken++;
  // Who has just started has no table, and answers for itself what old ARP entries bring it.
  const hasTable = by.noProgram === 0 && (isScheduling(by.kernel) || by.kernel.control.hasTable);
  if (!isOrderly || opened_ns < world.orderlyFrom_ns || !hasTable || !isGentle(world)) return;
  fail(
    world,
    "broken",
    `node ${by.number} resets a connection of bucket ${bucket} to node ${at.number}, which lives`,
  );
}

const ROUGH: ReadonlySet<string> = new Set([
  "cut",
  "one-way",
  "isolate",
  "partition",
  "loss",
  "delay",
  "no-carrier",
  "no-program",
  "stall-machine",
  "stall-receiving",
]);
/** A machine that is back sooner than others find out that it was away may still be sent what it had before. */
const NOTICED_MS = 300;

const isGentle = ({ plan }: World): boolean =>
  plan.loss === 0 &&
  plan.faults.every(({ kind, for_ms }) => {
    return kind === "crash-machine" ? for_ms >= NOTICED_MS : !ROUGH.has(kind);
  });

/** A node without the table has begun to schedule: nobody was there who had it. */
export function checkLoss(world: World, machine: Machine): void {
  const { machines, timeline } = world;
  world.orderlyFrom_ns = timeline.now_ns;
  note(world, machine, "its process schedules without the table");
  const isStable = isCalmNow(world) && timeline.now_ns - world.unstableAt_ns >= WELL_NS;
  const holder = machines.find(
    (other) =>
      other !== machine &&
      isWell(world, other) &&
      other.failover?.isStopping === false &&
      other.kernel.page.stands &&
      other.kernel.control.hasTable &&
      areLinked(world, other, machine),
  );
  if (holder === undefined || !isStable) return;
  fail(
    world,
    "table-lost",
    `node ${machine.number} takes over without the table, which node ${holder.number} has`,
  );
}

/** A node has begun to schedule: nothing that a living node had is gone. */
export function checkTakeover(
  world: World,
  machine: Machine,
  { before, after }: { before: Int32Array; after: Int32Array },
): void {
  for (let bucket = 0; bucket < BUCKETS; bucket++) {
    const owner = ownerOf(before[bucket]!);
    if (owner === NOBODY || (machine.kernel.flags[owner]! & 1) === 0) continue;
    const word = after[bucket]!;
    if (ownerOf(word) === owner || previousOf(word) === owner) continue;
    fail(
      world,
      "moved",
      `node ${machine.number} has taken over, and bucket ${bucket} has left node ${owner}`,
    );
  }
}

/** All has been well for some time: there is one scheduler, all know it, and so do the clients. */
export function checkSettled(world: World): void {
  const { machines } = world;
  const answering = machines.filter((machine) => answersArp(world, machine));
  const [scheduler] = answering;
  if (scheduler === undefined || answering.length !== 1) {
    return fail(world, "unsettled", `${answering.length} nodes answer for the VIPs, not one`);
  }
  const { epoch } = scheduler.kernel.page;
  for (const { number, kernel } of machines) {
    if (kernel.page.epoch !== epoch) {
      fail(
        world,
        "unsettled",
        `node ${number} knows epoch ${kernel.page.epoch}, the scheduler's is ${epoch}`,
      );
    }
  }
  if (schedulerIn(epoch) !== scheduler.number || !isScheduling(scheduler.kernel)) {
    fail(world, "unsettled", "who answers does not schedule");
  }
}

/** No client sends to another node than the one that answers. */
export function checkCaches(world: World): void {
  const { machines, clients } = world;
  const scheduler = machines.find((machine) => answersArp(world, machine));
  for (const { index, arp } of clients) {
    if (scheduler !== undefined && arp !== undefined && arp !== scheduler) {
      fail(world, "stale-cache", `client ${index} sends to node ${arp.number}, not to the scheduler`);
    }
  }
}
