/**
 * Levels what the nodes hold towards their fair shares.
 *
 * It begins when someone is further from its share than a small slack, and ends when no single move would make it
 * better; every move brings giver and taker nearer to their shares, so it ends, and a level array is left alone. The
 * buckets come from all stretches of the table in turn, in each from who has most too many there, so that every stretch
 * stays level, too: a client's connections use only some of them.
 */
import { NOBODY } from "../../conf/limits.ts";
import { countIn, firstIn, followingIn, turnTo } from "./cells.ts";
import { mayMoveTo, move, type Change, type Choice } from "./choice.ts";
import { heldIn, nextStretch, type Plan } from "./plan.ts";
import { isEligible } from "./standing.ts";
import { lastAccess, ownerOf } from "../table.ts";

export interface Limits {
  /** A bucket that had no packet for this long is idle, and may move at any time. */
  readonly timeout_units: number;
  /** How many busy buckets may move now; they do only with second chance. */
  readonly fillBudget: number;
  /** How many changes there may be now. */
  readonly most: number;
}

/** Where levelling stands. */
export interface Levelling {
  isUnderWay: boolean;
  stretch: number;
  /** The search for idle buckets, and that in which busy ones are as good. */
  readonly idle: Search;
  readonly busy: Search;
  readonly seed: number;
  /** By node number: in which visit it was found to have nothing to give, and which was the last that it gave in. */
  readonly passedOver: Int32Array;
  readonly gaveIn: Int32Array;
  visit: number;
}

/** A search goes round all stretches. When it finds nothing it rests until the next unit of time. */
interface Search {
  /** How uneven a move may leave its stretch: 0, and more after each round in which only that stood against one. */
  tolerance: number;
  /** Stretches tried in vain since the last move; whether evenness was in the way, and whether some could give nothing. */
  vain: number;
  isUneven: boolean;
  isStuck: boolean;
  endedAt_units: number;
}

/** One call's work. */
interface Round {
  readonly choice: Choice;
  readonly levelling: Levelling;
  readonly now_units: number;
  readonly limits: Limits;
  readonly changes: Change[];
  /** How many of these are moves of busy buckets. */
  busyMoves: number;
}

/** Deviations from fair shares that are left alone; parts of the share. */
const SLACK = 1 / 50;
const GOLDEN = (3 - Math.sqrt(5)) / 2;
/** Buckets that are looked at for an idle one when a busy one may move, too. */
const IDLE_LOOKS = 8;
/** Buckets that are looked at in one call, when few of them may move. */
const LOOKS_AT_ONCE = 16_384;

/** Levelling that has not begun; `seed` decides where in the table it will. */
export function createLevelling(plan: Plan, seed: number): Levelling {
  return {
    isUnderWay: false,
    stretch: (seed >>> 0) % plan.stretches,
    idle: newSearch(),
    busy: newSearch(),
    seed,
    passedOver: new Int32Array(256),
    gaveIn: new Int32Array(256),
    visit: 0,
  };
}

const newSearch = (): Search => ({
  tolerance: 0,
  vain: 0,
  isUneven: false,
  isStuck: false,
  endedAt_units: -1,
});

/** How many more buckets than its fair share a node holds. What one without weight holds is all too much. */
export function surplusOf({ plan, standing }: Choice, number: number): number {
  const held = plan.held[number]!;
  if (isEligible(standing, number)) return held - standing.fair[number]!;
  return held === 0 ? 0 : held + 1;
}

/** The nodes have changed: what was searched for in vain may be there now. */
export function levelAnew({ idle, busy }: Levelling): void {
  Object.assign(idle, newSearch());
  Object.assign(busy, newSearch());
}

/** Moves buckets from nodes with too many to those with too few, as far as the limits allow. */
export function levelHolders(
  choice: Choice,
  levelling: Levelling,
  now_units: number,
  limits: Limits,
  changes: Change[],
): void {
  const { plan } = choice;
  const round: Round = { choice, levelling, now_units, limits, changes, busyMoves: 0 };
  const looks = plan.work + LOOKS_AT_ONCE;
  for (let visits = 0; visits < plan.stretches && plan.work < looks; visits++) {
    if (changes.length >= limits.most || !mustLevel(choice, levelling)) return;
    const search = mayBeBusy(round) ? levelling.busy : levelling.idle;
    if (search.endedAt_units === now_units) return;
    const visit = levelStretch(round, search.tolerance);
    if (visit.idleMoves > 0) beginRound(levelling.idle);
    if (visit.idleMoves + visit.busyMoves > 0) beginRound(levelling.busy);
    else noteVain(round, search, visit);
    levelling.stretch = nextStretch(plan, levelling.stretch);
  }
}

/** Whether a busy bucket is as good as an idle one now. */
const mayBeBusy = ({ choice, limits, busyMoves }: Round): boolean =>
  choice.hasSecondChance && busyMoves < limits.fillBudget;

function beginRound(search: Search): void {
  search.vain = 0;
  search.isUneven = search.isStuck = false;
}

/** A stretch has been tried in vain. Where there was no busy bucket to be had there is no idle one either. */
function noteVain({ levelling, choice, now_units }: Round, search: Search, visit: Visit): void {
  if (search === levelling.busy) noteVainFor(levelling.busy, visit, choice.plan.stretches, now_units);
  noteVainFor(levelling.idle, visit, choice.plan.stretches, now_units);
}

function noteVainFor(search: Search, visit: Visit, stretches: number, now_units: number): void {
  search.vain++;
  search.isUneven ||= visit.isUneven;
  search.isStuck ||= visit.isStuck;
  if (search.vain < stretches) return;
  if (search.isUneven) search.tolerance += search.isStuck ? search.tolerance + 1 : 1;
  if (!search.isUneven || search.isStuck) search.endedAt_units = now_units;
  beginRound(search);
}

function mustLevel(choice: Choice, levelling: Levelling): boolean {
  const { standing } = choice;
  let [most, least, isBeyondSlack] = [0, 0, false];
  for (const number of standing.up) {
    const surplus = surplusOf(choice, number);
    most = Math.max(most, surplus);
    least = Math.min(least, surplus);
    isBeyondSlack ||= Math.abs(surplus) > Math.max(1, standing.fair[number]! * SLACK);
  }
  if (!levelling.isUnderWay) levelling.idle.tolerance = levelling.busy.tolerance = 0;
  levelling.isUnderWay = most > 0 && most - least > 1 && (levelling.isUnderWay || isBeyondSlack);
  return levelling.isUnderWay;
}

/** How it went with a stretch: whether evenness stood against a move, and whether someone could give nothing. */
interface Visit {
  readonly idleMoves: number;
  readonly busyMoves: number;
  readonly isUneven: boolean;
  readonly isStuck: boolean;
}

/** Moves buckets of the present stretch, as long as that levels the stretch as well as the whole. */
function levelStretch(round: Round, tolerance: number): Visit {
  const { choice, levelling, limits, changes } = round;
  const before = { moves: changes.length, busyMoves: round.busyMoves };
  let [isUneven, isStuck] = [false, false];
  levelling.visit++;
  while (changes.length < limits.most && !isUneven) {
    const giver = giverIn(choice, levelling);
    if (giver === NOBODY) break;
    const taker = takerIn(choice, levelling, giver, tolerance);
    if (taker === NOBODY) isUneven = true;
    else if (!moveOne(round, giver, taker)) {
      isStuck = true;
      levelling.passedOver[giver] = levelling.visit;
    }
  }
  const busyMoves = round.busyMoves - before.busyMoves;
  return { idleMoves: changes.length - before.moves - busyMoves, busyMoves, isUneven, isStuck };
}

/** Moves a bucket from the giver to the taker. Returns false if there is none that may move now. */
function moveOne(round: Round, giver: number, taker: number): boolean {
  const { choice, changes } = round;
  const bucket = bucketFor(round, giver, taker);
  if (bucket === -1) return false;
  const change = move(choice, bucket, taker);
  if (change === undefined) return true;
  const idleSince_units = lastAccess(choice.plan.table, bucket);
  changes.push(choice.hasSecondChance ? change : { ...change, idleSince_units });
  return true;
}

/** How many more buckets than its fair share a node holds in the present stretch. */
function surplusIn({ plan, standing }: Choice, { stretch }: Levelling, number: number): number {
  return heldIn(plan, stretch, number) - standing.fair[number]! / plan.stretches;
}

const leastSurplus = (choice: Choice): number =>
  choice.standing.eligible.reduce((least, number) => Math.min(least, surplusOf(choice, number)), Infinity);

/** Who has most too many here, among those for whom giving one levels the whole; NOBODY if there is none. */
function giverIn(choice: Choice, levelling: Levelling): number {
  const bound = Math.max(0, leastSurplus(choice) + 1);
  let [giver, most] = [NOBODY, -Infinity];
  for (const number of choice.standing.up) {
    if (surplusOf(choice, number) <= bound || levelling.passedOver[number] === levelling.visit) continue;
    if (heldIn(choice.plan, levelling.stretch, number) === 0) continue;
    const surplus = surplusIn(choice, levelling, number);
    if (surplus > most) [giver, most] = [number, surplus];
  }
  return giver;
}

/**
 * Who has fewest here, among those whom a bucket of the giver brings nearer to a fair share; NOBODY if there is none,
 * or if it would not level this stretch.
 */
function takerIn(choice: Choice, levelling: Levelling, giver: number, tolerance: number): number {
  const bound = Math.min(0, surplusOf(choice, giver) - 1);
  let [taker, least] = [NOBODY, Infinity];
  for (const number of choice.standing.eligible) {
    if (surplusOf(choice, number) >= bound) continue;
    const surplus = surplusIn(choice, levelling, number);
    if (surplus < least) [taker, least] = [number, surplus];
  }
  return surplusIn(choice, levelling, giver) - least < 1 - tolerance ? NOBODY : taker;
}

/**
 * A bucket of the giver in this stretch that may move to the taker now, idle rather than busy; -1 if there is none.
 * The next search goes on where this one ends.
 */
function bucketFor(round: Round, giver: number, taker: number): number {
  const { choice, levelling } = round;
  const { byHolder, columns, stretch_buckets } = choice.plan;
  const { stretch } = levelling;
  if (levelling.gaveIn[giver] !== levelling.visit) {
    levelling.gaveIn[giver] = levelling.visit;
    // From another place in each stretch, which only the seed tells: no two look alike.
    goAhead(choice.plan, stretch, giver, partOf(levelling.seed, stretch));
  }
  let bucket = firstIn(byHolder, stretch, columns[giver]!, stretch * stretch_buckets);
  let busy = -1;
  for (let left = heldIn(choice.plan, stretch, giver), looks = 0; left > 0; left--, looks++) {
    if (busy !== -1 && looks >= IDLE_LOOKS) break;
    const state = stateOf(round, bucket, taker);
    turnTo(byHolder, stretch, columns[giver]!, bucket);
    if (state === "idle") {
      goAhead(choice.plan, stretch, giver, GOLDEN);
      return bucket;
    }
    if (state === "busy" && busy === -1) busy = bucket;
    bucket = followingIn(byHolder, bucket);
  }
  if (busy !== -1) round.busyMoves++;
  return busy;
}

/**
 * The next search begins this part of the giver's list further on. With the golden section what is taken one after the
 * other lies evenly over the stretch: a client's connections use only some of its buckets in a row.
 */
function goAhead(
  { byHolder, columns, stretch_buckets }: Plan,
  stretch: number,
  giver: number,
  part: number,
): void {
  const column = columns[giver]!;
  let bucket = firstIn(byHolder, stretch, column, stretch * stretch_buckets);
  for (let steps = Math.floor(countIn(byHolder, stretch, column) * part); steps > 0; steps--)
    bucket = followingIn(byHolder, bucket);
  turnTo(byHolder, stretch, column, bucket);
}

/** A part from 0 to 1 that depends on seed and stretch (a finaliser of MurmurHash3). */
function partOf(seed: number, stretch: number): number {
  let mixed = Math.imul(seed ^ Math.imul(stretch + 1, 0x9e3779b1), 0x85ebca6b);
  mixed = Math.imul(mixed ^ (mixed >>> 13), 0xc2b2ae35);
  return ((mixed ^ (mixed >>> 16)) >>> 0) / 2 ** 32;
}

/** Whether a bucket may move to the taker now; idle ones cost nothing. */
function stateOf(round: Round, bucket: number, taker: number): "idle" | "busy" | "fixed" {
  round.choice.plan.work++;
  if (!mayMoveTo(round.choice, bucket, taker)) return "fixed";
  if (isIdle(round, bucket)) return "idle";
  return mayBeBusy(round) ? "busy" : "fixed";
}

/** Whether no connection is under way in a bucket, as far as its packets tell. */
function isIdle({ choice, now_units, limits }: Round, bucket: number): boolean {
  const { plan } = choice;
  if (ownerOf(plan.words[bucket]!) === NOBODY) return true;
  return now_units - lastAccess(plan.table, bucket) >= limits.timeout_units;
}
