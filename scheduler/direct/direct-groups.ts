/**
 * Where in the bucket map each direct pool has its buckets. A pool that stays keeps its place, so that a restart or a
 * new configuration moves no flow of it.
 */
import { DlbaError } from "../../conf/errors.ts";
import { DIRECT_BUCKETS, MAX_DIRECT_POOLS } from "../../conf/limits.ts";

/** A row of the map `groups`; row 0 is the array's nodes and stays unused. */
export interface GroupRow {
  /** Hash of the pool's name; 0: free. */
  readonly identity: bigint;
  /** First bucket, counted from where the direct pools' part begins. */
  readonly base: number;
  /** In buckets. */
  readonly size: number;
}

const FREE: GroupRow = { identity: 0n, base: 0, size: 0 };

/**
 * The rows for exactly the wanted pools (identities that differ from each other and from 0). A pool whose size is
 * another one than before gets a new place; the caller empties the buckets of each row that was not there before.
 * Throws DlbaError DIRECT_BUCKETS_USED_UP or DIRECT_POOLS_TOO_MANY.
 */
export function allocateGroups(
  rows: readonly GroupRow[],
  wanted: readonly Pick<GroupRow, "identity" | "size">[],
): GroupRow[] {
  const sizes = new Map(wanted.map(({ identity, size }) => [identity, size]));
  const after = Array.from({ length: MAX_DIRECT_POOLS + 1 }, (_, i) => {
    const row = rows[i];
    return i > 0 && row !== undefined && sizes.get(row.identity) === row.size ? row : FREE;
  });
  const kept = new Set(after.map(({ identity }) => identity));
  const fresh = wanted.filter(({ identity }) => !kept.has(identity));
  // Large ones first: then small ones don't take the last large gap.
  for (const pool of fresh.toSorted((a, b) => b.size - a.size)) addRow(after, pool);
  return after;
}

function addRow(rows: GroupRow[], { identity, size }: Pick<GroupRow, "identity" | "size">): void {
  const row = rows.findIndex((other, i) => i > 0 && other.size === 0);
  if (row === -1) {
    throw new DlbaError("DIRECT_POOLS_TOO_MANY", `there are more than ${MAX_DIRECT_POOLS} direct pools`);
  }
  rows[row] = { identity, base: firstGap(rows, size), size };
}

/** Where the first gap of at least this size begins. */
function firstGap(rows: readonly GroupRow[], size: number): number {
  let base = 0;
  for (const row of rows.filter((row) => row.size > 0).toSorted((a, b) => a.base - b.base)) {
    if (row.base - base >= size) return base;
    base = row.base + row.size;
  }
  if (base + size <= DIRECT_BUCKETS) return base;
  throw new DlbaError("DIRECT_BUCKETS_USED_UP", `no ${size} of the direct pools' buckets are free in a row`, {
    hint: `all direct pools share ${DIRECT_BUCKETS} buckets: lower a pool's table_size`,
  });
}
