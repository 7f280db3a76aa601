/**
 * Sees when certificate files change, by looking: they may be links into other directories, on other machines' disks, and be
 * replaced one after the other. What has changed is told when it is the same at the next look, and whoever is told may find that it
 * is no good; then the next change is told again.
 */

export interface Watch {
  /** What the files looked like when they were last told of. */
  told: string;
  /** What they looked like at the last look. */
  seen: string;
}

export const startWatch = (looks: string): Watch => ({ told: looks, seen: looks });

/** Whether there is something to be told: it differs from what was told, and has not changed since the last look. */
export function look(watch: Watch, looks: string): boolean {
  const isSettled = watch.seen === looks;
  watch.seen = looks;
  if (!isSettled || watch.told === looks) return false;
  watch.told = looks;
  return true;
}
