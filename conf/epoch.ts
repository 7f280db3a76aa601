/**
 * Epochs count schedulers. An epoch is a counter and, in its low byte, the number of the node that schedules in it: no
 * two nodes ever have the same one, and whoever knows the epoch knows who schedules. The higher one wins.
 */
import { NOBODY } from "./limits.ts";

/** Counters end here: a takeover each second fills half a year. 0 is "no epoch yet". */
export const MAX_EPOCH_COUNTER = 0xff_ffff;

/** Throws RangeError for a counter out of 1..MAX_EPOCH_COUNTER, or a number out of 0..254. */
export function epochOf(counter: number, number: number): number {
  if (!(counter >= 1 && counter <= MAX_EPOCH_COUNTER)) throw new RangeError(`no epoch counter: ${counter}`);
  if (!(number >= 0 && number < NOBODY)) throw new RangeError(`no node number: ${number}`);
  return counter * 256 + number;
}

/** How many schedulers there have been. */
export const counterOf = (epoch: number): number => Math.floor(epoch / 256);

/** The number of the node that schedules in an epoch; undefined in none (0). */
export const schedulerIn = (epoch: number): number | undefined => (epoch === 0 ? undefined : epoch % 256);

/** The epoch in which a node schedules that takes over when `seen` is the highest that it knows of. */
export const nextEpoch = (seen: number, number: number): number => epochOf(counterOf(seen) + 1, number);

/** For people: the counter and the node, as in `12 by node 3`. */
export const epochText = (epoch: number): string =>
  epoch === 0 ? "none" : `${counterOf(epoch)} by node ${epoch % 256}`;
