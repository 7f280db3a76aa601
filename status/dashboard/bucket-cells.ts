/** The Client IP Hash Table as cells of a picture, and what has changed between two of them. Pure. */
import { MAP_CELLS, MAP_CHANGES, NOBODY } from "../../conf/limits.ts";
import type { MapChanges } from "./messages.ts";

export interface BucketCells {
  /** Buckets of one cell. */
  readonly stretch: number;
  /** The number of the node that owns it, or the most of its stretch. */
  readonly cells: Uint8Array;
}

/** A cell for each bucket or, of a table with more than `most`, for each stretch of equal length. */
export function bucketCells(owners: Uint8Array, most = MAP_CELLS): BucketCells {
  const stretch = Math.max(1, Math.ceil(owners.length / most));
  if (stretch === 1) return { stretch, cells: owners };
  const cells = new Uint8Array(Math.ceil(owners.length / stretch));
  for (let cell = 0; cell < cells.length; cell++) {
    cells[cell] = mostOf(owners.subarray(cell * stretch, (cell + 1) * stretch));
  }
  return { stretch, cells };
}

/** Nobody has it only when nobody has any of it. */
function mostOf(owners: Uint8Array): number {
  const counts = new Uint16Array(256);
  let most = NOBODY;
  for (const owner of owners) {
    if (owner === NOBODY) continue;
    counts[owner]!++;
    if (most === NOBODY || counts[owner]! > counts[most]!) most = owner;
  }
  return most;
}

/** Cell, node, cell, node, …; undefined when the whole map is shorter. */
export function mapChanges(before: BucketCells, after: BucketCells): MapChanges | undefined {
  if (before.cells.length !== after.cells.length || before.stretch !== after.stretch) return undefined;
  const changes: number[] = [];
  for (let cell = 0; cell < after.cells.length; cell++) {
    if (before.cells[cell] === after.cells[cell]) continue;
    if (changes.length >= 2 * MAP_CHANGES) return undefined;
    changes.push(cell, after.cells[cell]!);
  }
  return changes;
}
