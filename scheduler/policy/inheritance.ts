/**
 * Levels who inherits from each node: a holder's heirs are in proportion to their weights. The buckets that get another
 * heir come from all stretches of the table in turn, so that what a dead node leaves goes to all others everywhere.
 */
import { NOBODY } from "../../conf/limits.ts";
import { countIn, firstIn, followingIn, turnTo, type Cells } from "./cells.ts";
import { place, type Change, type Choice } from "./choice.ts";
import { heirOf, heirsAt, isUnderWay, nextStretch } from "./plan.ts";
import { previousOf } from "../table.ts";

/** Where in the table the next bucket comes from. */
export interface Inheritance {
  stretch: number;
}

/** A deviation from the proportion that is left alone; part of what would be right. */
const SLACK = 1 / 4;
/** Buckets of a stretch that are looked at. */
const LOOKS = 8;

/** Levels the heirs of all who may get buckets, as far as `most` allows. */
export function levelHeirs(choice: Choice, inheritance: Inheritance, most: number, changes: Change[]): void {
  const { plan, standing } = choice;
  for (const holder of standing.eligible) {
    if (plan.isRowChanged[holder] === 0 || changes.length >= most) continue;
    const isLevel = levelHeirsOf(choice, inheritance, holder, most, changes);
    if (isLevel) plan.isRowChanged[holder] = 0;
  }
}

/** Levels one holder's heirs, if they are not about level. Returns whether they are then. */
function levelHeirsOf(
  choice: Choice,
  inheritance: Inheritance,
  holder: number,
  most: number,
  changes: Change[],
): boolean {
  const { plan } = choice;
  let extremes = extremesOf(choice, holder);
  if (!extremes.isBeyondSlack) return true;
  while (extremes.most - extremes.least > 1) {
    const bucket = changes.length < most ? bucketToInherit(choice, inheritance, holder, extremes) : -1;
    if (bucket === -1) return false;
    const change = place(choice, bucket, holder, extremes.to, previousOf(plan.words[bucket]!));
    if (change !== undefined) changes.push(change);
    extremes = extremesOf(choice, holder);
  }
  return true;
}

/** Who inherits most too many and who most too few of a holder's buckets. */
interface Extremes {
  readonly from: number;
  readonly most: number;
  readonly to: number;
  readonly least: number;
  readonly isBeyondSlack: boolean;
}

function extremesOf(choice: Choice, holder: number): Extremes {
  let [from, to, most, least, isBeyondSlack] = [NOBODY, NOBODY, -Infinity, Infinity, false];
  for (const number of choice.standing.eligible) {
    if (number === holder) continue;
    const fair = fairInheritance(choice, holder, number);
    const surplus = heirsAt(choice.plan, holder, number) - fair;
    if (surplus > most) [from, most] = [number, surplus];
    if (surplus < least) [to, least] = [number, surplus];
    isBeyondSlack ||= Math.abs(surplus) > Math.max(1, fair * SLACK);
  }
  return { from, most, to, least, isBeyondSlack };
}

/** How many buckets of a holder this node should inherit. */
function fairInheritance({ plan, standing }: Choice, holder: number, number: number): number {
  const others = standing.total - standing.weights[holder]!;
  return (plan.held[holder]! * standing.weights[number]!) / others;
}

/**
 * A bucket of the holder that should get another heir: in one stretch after the other, of anyone who inherits too many;
 * else from all stretches, of who inherits most too many. -1 if all of these are under way.
 */
function bucketToInherit(
  choice: Choice,
  inheritance: Inheritance,
  holder: number,
  extremes: Extremes,
): number {
  const { plan } = choice;
  inheritance.stretch = nextStretch(plan, inheritance.stretch);
  const isGood = (bucket: number): boolean => {
    plan.work++;
    const heir = heirOf(plan, bucket);
    const surplus = heirsAt(plan, holder, heir) - fairInheritance(choice, holder, heir);
    return surplus - extremes.least > 1 && !isUnderWay(plan, bucket);
  };
  const column = plan.columns[holder]!;
  const base = inheritance.stretch * plan.stretch_buckets;
  const nearby = findIn(plan.byHolder, { row: inheritance.stretch, column, base, looks: LOOKS }, isGood);
  if (nearby !== -1) return nearby;
  const heir = plan.columns[extremes.from]!;
  return findIn(plan.byHeir, { row: column, column: heir, base: 0, looks: Infinity }, isGood);
}

/** The first good one among so many of a cell's buckets; -1 if there is none. The next search goes on there. */
function findIn(
  cells: Cells,
  { row, column, base, looks }: { row: number; column: number; base: number; looks: number },
  isGood: (bucket: number) => boolean,
): number {
  let bucket = firstIn(cells, row, column, base);
  for (let left = Math.min(looks, countIn(cells, row, column)); left > 0; left--) {
    turnTo(cells, row, column, bucket);
    if (isGood(bucket)) return bucket;
    bucket = followingIn(cells, bucket);
  }
  return -1;
}
