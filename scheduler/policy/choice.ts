/**
 * Who should have a bucket, and who should be next: for one bucket at a time, from the plan and the nodes' standing.
 *
 * A holder's heirs are in proportion to their weights, so that its buckets, if it dies, spread over all others, and
 * that is what levels them if they are level now: the heir is who would have the fewest IP groups per weight.
 */
import { NOBODY } from "../../conf/limits.ts";
import type { Dealer } from "./next-order.ts";
import { deal } from "./next-order.ts";
import { heirOf, holderOf, isUnderWay, setPlanned, type Plan } from "./plan.ts";
import { isEligible, type Standing } from "./standing.ts";
import { ownerOf, previousOf, wordOf } from "../table.ts";

/** A bucket's new word. */
export interface Change {
  readonly bucket: number;
  /** The kernel's word that it was decided on. */
  readonly seen: number;
  readonly word: number;
  /** The last access of a bucket that moves only because it is idle: a later one calls the move off. */
  readonly idleSince_units?: number;
}

/** What the choices are made from. */
export interface Choice {
  readonly plan: Plan;
  readonly hasSecondChance: boolean;
  standing: Standing;
  /** Deals buckets that nobody has had; undefined while nobody may get any. */
  dealer: Dealer | undefined;
}

/** Plans who has a bucket, who is next and who was. Returns the change if the word is another one then. */
export function place(
  { plan }: Choice,
  bucket: number,
  holder: number,
  heir: number,
  previous: number,
): Change | undefined {
  const before = plan.words[bucket]!;
  const isOwned = ownerOf(before) !== NOBODY;
  const word = isOwned ? wordOf(holder, heir, previous) : wordOf(NOBODY, holder, previous);
  setPlanned(plan, bucket, word, heir);
  return word === before ? undefined : { bucket, seen: plan.known[bucket]!, word };
}

/** The heir for one more bucket of `holder`: NOBODY when no other node may get buckets. */
export function bestHeir({ plan, standing }: Choice, holder: number): number {
  const { eligible, columns, loads } = standing;
  const { counts, columns: width } = plan.byHeir;
  const row = plan.columns[holder]! * width;
  let best = NOBODY;
  let least = Infinity;
  for (let i = 0; i < eligible.length; i++) {
    const load = (counts[row + columns[i]!]! + 1) * loads[i]!;
    if (load >= least || eligible[i] === holder) continue;
    [least, best] = [load, eligible[i]!];
  }
  return best;
}

/** The present heir where it may stay, else the best one. */
export function heirFor(choice: Choice, bucket: number, holder: number): number {
  const heir = heirOf(choice.plan, bucket);
  return heir !== holder && isEligible(choice.standing, heir) ? heir : bestHeir(choice, holder);
}

/** Who should have one bucket more: who would have the fewest per weight. NOBODY when nobody may. */
function bestHolder({ plan, standing }: Choice): number {
  let best = NOBODY;
  let least = Infinity;
  for (const number of standing.eligible) {
    const load = (plan.held[number]! + 1) / standing.weights[number]!;
    if (load < least) [least, best] = [load, number];
  }
  return best;
}

/**
 * The previous node of a bucket whose connections have to be kept; NOBODY if there is none. A dead node has no
 * connections worth a living one's; a bucket that never had an owner has a previous node only for the case that this
 * process dies.
 */
export function boundPrevious({ plan, standing, hasSecondChance }: Choice, bucket: number): number {
  const previous = previousOf(plan.words[bucket]!);
  const isBound = hasSecondChance && plan.isFresh[bucket] === 0 && standing.conditions[previous] !== "down";
  return isBound ? previous : NOBODY;
}

/** Whether a bucket may go to a node merely to level: nothing is under way, and no third node has connections of it. */
export function mayMoveTo({ plan }: Choice, bucket: number, target: number): boolean {
  if (isUnderWay(plan, bucket)) return false;
  const previous = previousOf(plan.words[bucket]!);
  return previous === NOBODY || previous === target || plan.isFresh[bucket] === 1;
}

/**
 * Moves a bucket. Its holder becomes the previous node, as it may have connections of it; of an unassigned bucket, too,
 * because the kernel may still give it there while the others have been told already. A previous node that has to be
 * kept stays instead: then the holder is dead.
 */
export function move(choice: Choice, bucket: number, target: number): Change | undefined {
  const bound = boundPrevious(choice, bucket);
  const isKept = bound !== NOBODY && bound !== target;
  const previous = isKept ? bound : previousAfter(choice, bucket);
  return place(choice, bucket, target, bestHeir(choice, target), previous);
}

/** The holder that a bucket leaves, as its previous node. */
function previousAfter({ plan, standing, hasSecondChance }: Choice, bucket: number): number {
  const holder = holderOf(plan, bucket);
  const isUnassigned = ownerOf(plan.words[bucket]!) === NOBODY;
  const isGone = isUnassigned && standing.conditions[holder] === "down";
  return hasSecondChance && !isGone ? holder : NOBODY;
}

/** Where a bucket goes whose holder may not keep it; NOBODY: it has to stay for now. */
function refugeOf(choice: Choice, bucket: number): number {
  const { plan, standing, dealer } = choice;
  const holder = holderOf(plan, bucket);
  const heir = heirOf(plan, bucket);
  const isDead = standing.conditions[holder] === "down";
  const isOwned = ownerOf(plan.words[bucket]!) !== NOBODY;
  // The kernel may follow at any moment, so no other way is open.
  if (isOwned && isDead && standing.conditions[heir] !== "down") return heir;
  const bound = boundPrevious(choice, bucket);
  if (isEligible(standing, bound)) return bound;
  if (bound !== NOBODY && !isDead) return NOBODY;
  if (holder === NOBODY) return dealer === undefined ? NOBODY : deal(dealer);
  return isEligible(standing, heir) ? heir : bestHolder(choice);
}

/** The previous node as it may stand in a word. */
function tidyPrevious({ plan, hasSecondChance }: Choice, bucket: number): number {
  const previous = previousOf(plan.words[bucket]!);
  return hasSecondChance && previous !== holderOf(plan, bucket) ? previous : NOBODY;
}

/** Whether something about a bucket should be otherwise. */
export function isWrong(choice: Choice, bucket: number): boolean {
  const { plan, standing } = choice;
  const holder = holderOf(plan, bucket);
  if (standing.eligible.length === 0) return false;
  if (!mayStay(choice, bucket) || heirFor(choice, bucket, holder) !== heirOf(plan, bucket)) return true;
  return tidyPrevious(choice, bucket) !== previousOf(plan.words[bucket]!);
}

/** Whether a bucket may stay with its holder: one without weight keeps what it owns until that is levelled. */
function mayStay({ plan, standing }: Choice, bucket: number): boolean {
  const holder = holderOf(plan, bucket);
  const isOwned = ownerOf(plan.words[bucket]!) !== NOBODY;
  return isOwned ? standing.conditions[holder] === "up" : isEligible(standing, holder);
}

/**
 * Puts right what is wrong about a bucket that is not under way. Returns the change if its word is another one then;
 * nothing, too, when nothing can be done before its previous node has no connections of it any more.
 */
export function putRight(choice: Choice, bucket: number): Change | undefined {
  const { plan, standing } = choice;
  const holder = holderOf(plan, bucket);
  if (standing.eligible.length === 0) return undefined;
  const refuge = mayStay(choice, bucket) ? NOBODY : refugeOf(choice, bucket);
  if (refuge !== NOBODY) return move(choice, bucket, refuge);
  return place(choice, bucket, holder, heirFor(choice, bucket, holder), tidyPrevious(choice, bucket));
}
