/**
 * The Client IP Hash Table as memory: two 32-bit words per bucket. The first holds owner (bits 0-7), next (bits 8-15)
 * and previous (bits 16-23) and changes by compare-and-swap only, as the program changes it, too; the second is the
 * last access in units of 2^30 ns (0: never). Works on the mapped map and on any other memory alike.
 */
import { NOBODY } from "../conf/limits.ts";

export const WORDS_PER_BUCKET = 2;
const ACCESS_UNIT_NS = 2 ** 30;

export const wordOf = (owner: number, next: number, previous: number = NOBODY): number =>
  owner | (next << 8) | (previous << 16);
export const ownerOf = (word: number): number => word & 0xff;
export const nextOf = (word: number): number => (word >> 8) & 0xff;
export const previousOf = (word: number): number => (word >> 16) & 0xff;

/** Number of buckets of a table. */
export const sizeOf = (table: Int32Array): number => table.length / WORDS_PER_BUCKET;

/** The word of a bucket as it is now. */
export function readWord(table: Int32Array, bucket: number): number {
  return Atomics.load(table, bucket * WORDS_PER_BUCKET);
}

/** Writes a bucket's word if it is still the one that the decision was made on. */
export function swapWord(table: Int32Array, bucket: number, seen: number, word: number): boolean {
  return Atomics.compareExchange(table, bucket * WORDS_PER_BUCKET, seen, word) === seen;
}

/** Last access in units, 0 for never. */
export function lastAccess(table: Int32Array, bucket: number): number {
  return Atomics.load(table, bucket * WORDS_PER_BUCKET + 1) >>> 0;
}

/** A CLOCK_MONOTONIC time in units of last access. */
export const unitsOf = (now_ns: bigint): number => Number(now_ns >> 30n);

/** Seconds as units, rounded up: a bucket is never idle too early. */
export const unitsOfSeconds = (seconds: number): number => Math.ceil((seconds * 1e9) / ACCESS_UNIT_NS);

/** Whole seconds since a bucket's last access; 0xffffffff for never. */
export function idleSeconds(last_units: number, now_units: number): number {
  if (last_units === 0) return 0xffffffff;
  return Math.floor((Math.max(0, now_units - last_units) * ACCESS_UNIT_NS) / 1e9);
}

/** Empties a table: nobody owns anything. */
export function clear(table: Int32Array): void {
  for (let i = 0; i < table.length; i += WORDS_PER_BUCKET) Atomics.store(table, i, wordOf(NOBODY, NOBODY));
}
