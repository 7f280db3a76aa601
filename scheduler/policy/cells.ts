/**
 * Which buckets belong together: one list of buckets per cell of a grid, kept inside typed arrays. Every bucket is in
 * at most one cell of a grid. A list is a ring, and its links count from the start of the bucket's span (a power of
 * two of neighbouring buckets, of which a cell never holds others): they take one byte where a span has 256 buckets.
 *
 * Putting in, taking out and finding the first one take the same time whatever the sizes.
 */

export interface Cells {
  /** Buckets whose lists may be linked. */
  readonly span: number;
  columns: number;
  readonly after: Links;
  readonly before: Links;
  /** By cell: row * columns + column. */
  heads: Links;
  counts: Counts;
}
type Links = Uint8Array | Int32Array;
type Counts = Uint16Array | Int32Array;

const SHORT_SPAN = 256;

/** An empty grid for `size` buckets. */
export function createCells(size: number, span: number, rows: number, columns: number): Cells {
  const isShort = span <= SHORT_SPAN;
  const links = (length: number): Links => (isShort ? new Uint8Array(length) : new Int32Array(length));
  return {
    span,
    columns,
    after: links(size),
    before: links(size),
    heads: links(rows * columns),
    counts: isShort ? new Uint16Array(rows * columns) : new Int32Array(rows * columns),
  };
}

/** Makes a grid larger; what is in it stays in its row and column. */
export function widen(cells: Cells, rows: number, columns: number): void {
  const { heads, counts, columns: formerly } = cells;
  const wider = createCells(0, cells.span, rows, columns);
  for (let row = 0; row * formerly < heads.length; row++) {
    wider.heads.set(heads.subarray(row * formerly, (row + 1) * formerly), row * columns);
    wider.counts.set(counts.subarray(row * formerly, (row + 1) * formerly), row * columns);
  }
  cells.heads = wider.heads;
  cells.counts = wider.counts;
  cells.columns = columns;
}

/** How many buckets are in a cell. */
export function countIn(cells: Cells, row: number, column: number): number {
  return cells.counts[row * cells.columns + column]!;
}

/** Puts a bucket at the end of a cell's list. */
export function putIn(cells: Cells, row: number, column: number, bucket: number): void {
  const { after, before, heads, counts } = cells;
  const cell = row * cells.columns + column;
  const place = bucket & (cells.span - 1);
  const base = bucket - place;
  if (counts[cell]!++ === 0) {
    heads[cell] = after[bucket] = before[bucket] = place;
    return;
  }
  const first = heads[cell]!;
  const last = before[base + first]!;
  after[base + last] = before[base + first] = place;
  after[bucket] = first;
  before[bucket] = last;
}

/** Takes a bucket out of its cell. */
export function takeOut(cells: Cells, row: number, column: number, bucket: number): void {
  const { after, before, heads, counts } = cells;
  const cell = row * cells.columns + column;
  if (--counts[cell]! === 0) return;
  const place = bucket & (cells.span - 1);
  const base = bucket - place;
  after[base + before[bucket]!] = after[bucket]!;
  before[base + after[bucket]!] = before[bucket]!;
  if (heads[cell] === place) heads[cell] = after[bucket]!;
}

/** The first bucket of a cell that is not empty; `base` is where its span begins. */
export function firstIn(cells: Cells, row: number, column: number, base: number): number {
  return base + cells.heads[row * cells.columns + column]!;
}

/** The bucket behind this one in its cell; behind the last comes the first. */
export function followingIn(cells: Cells, bucket: number): number {
  return bucket - (bucket & (cells.span - 1)) + cells.after[bucket]!;
}

/** Makes a bucket of a cell its first one: what was before it goes behind the last. */
export function turnTo(cells: Cells, row: number, column: number, bucket: number): void {
  cells.heads[row * cells.columns + column] = bucket & (cells.span - 1);
}

/** Calls `visit` for every bucket of a cell, in the list's order; it may take that bucket out. */
export function eachIn(
  cells: Cells,
  row: number,
  column: number,
  base: number,
  visit: (bucket: number) => void,
): void {
  let bucket = firstIn(cells, row, column, base);
  for (let left = countIn(cells, row, column); left > 0; left--) {
    const following = followingIn(cells, bucket);
    visit(bucket);
    bucket = following;
  }
}
