/**
 * The plan of a table: every bucket's word as this process wants it, beside the word that the kernel's table had when
 * it was last looked at. Where the two differ, a change is under way.
 *
 * An unassigned bucket has a holder (its next) and an heir (who would be its next after that) as an owned one has (its
 * owner and its next), so both count alike; only the unassigned one's heir stands in no word. The buckets of a holder
 * and those with a previous node are listed by stretches of the table, so that they can be taken evenly from all of
 * it; those of a holder and an heir in one list. Nothing here goes through the table but `createPlan`.
 */
import { NOBODY } from "../../conf/limits.ts";
import { countIn, createCells, eachIn, putIn, takeOut, widen, type Cells } from "./cells.ts";
import { nextOf, ownerOf, previousOf, readWord, sizeOf, wordOf } from "../table.ts";

export interface Plan {
  /** The kernel's: two words for each bucket (see table.ts). */
  readonly table: Int32Array;
  readonly size: number;
  readonly stretches: number;
  readonly stretch_buckets: number;
  /** By bucket: the planned words, the kernel's as they were last seen, and who inherits. */
  readonly words: Int32Array;
  readonly known: Int32Array;
  readonly heirs: Uint8Array;
  /** 1 for a bucket that had no owner since this plan began, and none before: nobody can have connections of it. */
  readonly isFresh: Uint8Array;
  /** In the kernel's table, by node number: buckets owned and buckets that have it as previous; NOBODY for those without. */
  readonly owned: Int32Array;
  readonly previous: Int32Array;
  /** In the plan, by node number: buckets held, and buckets that it is the heir of. */
  readonly held: Int32Array;
  readonly inherits: Int32Array;
  /** Nodes have columns in the order in which they were met; by node number, -1 for none. */
  readonly columns: Int16Array;
  /** The node number of each column. */
  readonly numbers: number[];
  readonly byHolder: Cells;
  readonly byPrevious: Cells;
  readonly byHeir: Cells;
  /** By node number: whether the heirs of what it holds have changed since they were last found level. */
  readonly isRowChanged: Uint8Array;
  /** How many buckets were looked at, ever. */
  work: number;
}

const ROWS = 256;
const STRETCH_BUCKETS = 256;
const FIRST_COLUMNS = 8;
const GOLDEN_RATIO = 0.618;

/** Takes stock of a table. Its size has to be a power of two. */
export function createPlan(table: Int32Array): Plan {
  const plan = emptyPlan(table);
  columnOf(plan, NOBODY);
  for (let bucket = 0; bucket < plan.size; bucket++) {
    const word = readWord(table, bucket);
    plan.words[bucket] = plan.known[bucket] = word;
    plan.owned[ownerOf(word)]!++;
    plan.previous[previousOf(word)]!++;
    plan.heirs[bucket] = ownerOf(word) === NOBODY ? NOBODY : nextOf(word);
    plan.isFresh[bucket] = Number(word === wordOf(NOBODY, NOBODY));
    list(plan, bucket, holderOf(plan, bucket), heirOf(plan, bucket));
    listPrevious(plan, bucket, previousOf(word));
  }
  return plan;
}

function emptyPlan(table: Int32Array): Plan {
  const size = sizeOf(table);
  const stretch_buckets = Math.min(size, STRETCH_BUCKETS);
  const stretches = size / stretch_buckets;
  const ofStretches = (): Cells => createCells(size, stretch_buckets, stretches, FIRST_COLUMNS);
  return {
    table,
    size,
    stretches,
    stretch_buckets,
    words: new Int32Array(size),
    known: new Int32Array(size),
    heirs: new Uint8Array(size),
    isFresh: new Uint8Array(size),
    owned: new Int32Array(ROWS),
    previous: new Int32Array(ROWS),
    held: new Int32Array(ROWS),
    inherits: new Int32Array(ROWS),
    columns: new Int16Array(ROWS).fill(-1),
    numbers: [],
    byHolder: ofStretches(),
    byPrevious: ofStretches(),
    byHeir: createCells(size, size, FIRST_COLUMNS, FIRST_COLUMNS),
    isRowChanged: new Uint8Array(ROWS),
    work: 0,
  };
}

/** The column of a node; a node that is new gets one. */
export function columnOf(plan: Plan, number: number): number {
  const column = plan.columns[number]!;
  return column === -1 ? addColumn(plan, number) : column;
}

function addColumn(plan: Plan, number: number): number {
  const column = plan.numbers.length;
  if (column === plan.byHolder.columns) {
    widen(plan.byHolder, plan.stretches, column * 2);
    widen(plan.byPrevious, plan.stretches, column * 2);
    widen(plan.byHeir, column * 2, column * 2);
  }
  plan.columns[number] = column;
  plan.numbers.push(number);
  return column;
}

/** Who has a bucket, or gets it with its first packet. */
export function holderOf(plan: Plan, bucket: number): number {
  const word = plan.words[bucket]!;
  const owner = ownerOf(word);
  return owner === NOBODY ? nextOf(word) : owner;
}
/** Who gets a bucket after its holder. */
export const heirOf = (plan: Plan, bucket: number): number => plan.heirs[bucket]!;

/** Whether a bucket's planned word is not yet the kernel's. */
export const isUnderWay = (plan: Plan, bucket: number): boolean => plan.words[bucket] !== plan.known[bucket];

function list(plan: Plan, bucket: number, holder: number, heir: number): void {
  const column = columnOf(plan, holder);
  putIn(plan.byHolder, stretchOf(plan, bucket), column, bucket);
  putIn(plan.byHeir, column, columnOf(plan, heir), bucket);
  plan.held[holder]!++;
  plan.inherits[heir]!++;
  plan.isRowChanged[holder] = 1;
}

function unlist(plan: Plan, bucket: number, holder: number, heir: number): void {
  const column = columnOf(plan, holder);
  takeOut(plan.byHolder, stretchOf(plan, bucket), column, bucket);
  takeOut(plan.byHeir, column, columnOf(plan, heir), bucket);
  plan.held[holder]!--;
  plan.inherits[heir]!--;
  plan.isRowChanged[holder] = 1;
}

const stretchOf = (plan: Plan, bucket: number): number => Math.floor(bucket / plan.stretch_buckets);

function listPrevious(plan: Plan, bucket: number, previous: number): void {
  if (previous === NOBODY) return;
  putIn(plan.byPrevious, stretchOf(plan, bucket), columnOf(plan, previous), bucket);
}

/** Plans a word. `heir` is its next, or for an unassigned bucket who is next after that. */
export function setPlanned(plan: Plan, bucket: number, word: number, heir: number): void {
  const [holder, former] = [holderOf(plan, bucket), heirOf(plan, bucket)];
  const previous = previousOf(plan.words[bucket]!);
  plan.words[bucket] = word;
  plan.heirs[bucket] = heir;
  if (previousOf(word) !== previous) {
    if (previous !== NOBODY) {
      takeOut(plan.byPrevious, stretchOf(plan, bucket), columnOf(plan, previous), bucket);
    }
    listPrevious(plan, bucket, previousOf(word));
  }
  if (holder === holderOf(plan, bucket) && former === heir) return;
  unlist(plan, bucket, holder, former);
  list(plan, bucket, holderOf(plan, bucket), heir);
}

/** Notes the word that the kernel's table has. */
export function setKnown(plan: Plan, bucket: number, word: number): void {
  const before = plan.known[bucket]!;
  plan.known[bucket] = word;
  plan.owned[ownerOf(before)]!--;
  plan.owned[ownerOf(word)]!++;
  plan.previous[previousOf(before)]!--;
  plan.previous[previousOf(word)]!++;
  if (ownerOf(word) !== NOBODY) plan.isFresh[bucket] = 0;
}

/** Buckets that a node holds in a stretch of the table. */
export function heldIn(plan: Plan, stretch: number, number: number): number {
  return countIn(plan.byHolder, stretch, plan.columns[number]!);
}

/** Buckets of a holder that have this heir. */
export function heirsAt(plan: Plan, holder: number, heir: number): number {
  return countIn(plan.byHeir, plan.columns[holder]!, plan.columns[heir]!);
}

/** The stretch to go on with: all of them in turn, far from each other. */
export function nextStretch({ stretches }: Plan, stretch: number): number {
  // Odd, so that it meets every one: there is a power of two of them.
  const stride = Math.floor(stretches * GOLDEN_RATIO) | 1;
  return (stretch + stride) % stretches;
}

/** Calls `visit` for every bucket that a node holds, in the table's order by stretches. */
export function eachHeld(plan: Plan, number: number, visit: (bucket: number) => void): void {
  if (plan.held[number] !== 0) eachInColumn(plan, plan.byHolder, number, visit);
}

/** Calls `visit` for every bucket that has this node as previous in the plan. */
export function eachWithPrevious(plan: Plan, number: number, visit: (bucket: number) => void): void {
  if (plan.columns[number] !== -1) eachInColumn(plan, plan.byPrevious, number, visit);
}

function eachInColumn(plan: Plan, cells: Cells, number: number, visit: (bucket: number) => void): void {
  const column = plan.columns[number]!;
  for (let stretch = 0; stretch < plan.stretches; stretch++) {
    eachIn(cells, stretch, column, stretch * plan.stretch_buckets, counting(plan, visit));
  }
}

/** Calls `visit` for every bucket of a holder that has this heir. */
export function eachOfPair(plan: Plan, holder: number, heir: number, visit: (bucket: number) => void): void {
  eachIn(plan.byHeir, plan.columns[holder]!, plan.columns[heir]!, 0, counting(plan, visit));
}

const counting =
  (plan: Plan, visit: (bucket: number) => void) =>
  (bucket: number): void => {
    plan.work++;
    visit(bucket);
  };
