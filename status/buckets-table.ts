/**
 * The Client IP Hash Table, pure. It has 65,536 rows or more, so text tells who owns how much, how long buckets
 * have been idle and a map of the whole; rows come on request. Rows are made in pieces, so that an answer never
 * stands in memory as a whole.
 */
import { NOBODY } from "../conf/limits.ts";
import type { BucketsReport } from "../conf/messages.ts";
import { csvLine, gridText, type Column, type Format } from "./grid.ts";

export interface BucketTable {
  readonly owners: Uint8Array;
  readonly next: Uint8Array;
  readonly previous: Uint8Array;
  readonly idle_s: Uint32Array;
}

/** First and last bucket, both shown. */
export interface BucketRange {
  readonly first: number;
  readonly last: number;
}

const NEVER = 0xffff_ffff;
const PIECE_ROWS = 1024;

/** Unpacks a report. Undefined when its parts are not of the size that it names. */
export function readBuckets(report: BucketsReport): BucketTable | undefined {
  const owners = Buffer.from(report.owners, "base64");
  const next = Buffer.from(report.next, "base64");
  const previous = Buffer.from(report.previous, "base64");
  const packed = Buffer.from(report.idle_s, "base64");
  const size = report.table_size;
  if ([owners, next, previous].some(({ length }) => length !== size)) return undefined;
  if (packed.length !== size * 4) return undefined;
  const idle_s = Uint32Array.from({ length: size }, (_, i) => packed.readUInt32LE(i * 4));
  return { owners, next, previous, idle_s };
}

/** The table in pieces of text. Without a range, text is the summary alone; JSON and CSV hold all rows. */
export function bucketsTable(
  table: BucketTable,
  range: BucketRange | undefined,
  format: Format,
): Iterable<string> {
  const size = table.owners.length;
  const all = { first: 0, last: size - 1 };
  const rows = { first: (range ?? all).first, last: Math.min((range ?? all).last, size - 1) };
  if (format === "json") return bucketsJson(table, rows);
  if (format === "csv") return bucketsCsv(table, rows);
  return range === undefined ? [summaryText(table)] : rowsText(table, rows);
}

interface OwnerShare {
  readonly number: number;
  readonly buckets: number;
  readonly next: number;
  readonly mark: string;
}

/** One character per node in the map; an array has 64 nodes at most. */
const MARKS = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789@%";

function ownerShares({ owners, next }: BucketTable): OwnerShare[] {
  const owned = histogram(owners);
  const planned = histogram(next);
  const numbers = [...owned.keys()].filter((n) => n !== NOBODY && (owned[n]! > 0 || planned[n]! > 0));
  return numbers.map((number, i) => ({
    number,
    buckets: owned[number]!,
    next: planned[number]!,
    mark: MARKS[i] ?? "?",
  }));
}

/** Buckets that have moved, and whose previous node still has connections of them. */
function countPrevious({ previous }: BucketTable): number {
  return previous.reduce((count, number) => (number === NOBODY ? count : count + 1), 0);
}

function histogram(bytes: Uint8Array): Uint32Array {
  const counts = new Uint32Array(256);
  for (const byte of bytes) counts[byte]!++;
  return counts;
}

const IDLE_STEPS_S = [1, 10, 60, 600, 3600, Infinity];

/** How many assigned buckets were last used how long ago. */
function idleSteps({ idle_s, owners }: BucketTable): { below_s: number; buckets: number }[] {
  const counts = IDLE_STEPS_S.map(() => 0);
  for (let i = 0; i < owners.length; i++) {
    if (owners[i] === NOBODY || idle_s[i] === NEVER) continue;
    counts[IDLE_STEPS_S.findIndex((step) => idle_s[i]! < step)]!++;
  }
  return IDLE_STEPS_S.map((below_s, i) => ({ below_s, buckets: counts[i]! }));
}

function summaryText(table: BucketTable): string {
  const size = table.owners.length;
  const shares = ownerShares(table);
  const assigned = shares.reduce((sum, share) => sum + share.buckets, 0);
  const columns: readonly Column<OwnerShare>[] = [
    { title: "DLBA Server Number", key: "number", of: (row) => row.number },
    { title: "Buckets", key: "buckets", of: (row) => row.buckets },
    { title: "Share", key: "share", of: (row) => row.buckets / size, show: showShare },
    { title: "Next Of", key: "next", of: (row) => row.next },
    { title: "Mark", key: "mark", of: (row) => row.mark },
  ];
  const idle = idleSteps(table).map(({ below_s, buckets }) => `${idleName(below_s)}: ${buckets}`);
  return [
    `Client IP Hash Table\n${size} buckets, ${assigned} assigned, ${size - assigned} unassigned, ${countPrevious(table)} with a previous node\n`,
    gridText(columns, shares),
    `Last access of assigned buckets: ${idle.join(", ")}\n`,
    mapText(table, shares),
  ].join("");
}

const showShare = (share: string | number | boolean): string => `${(Number(share) * 100).toFixed(1)} %`;
const idleName = (below_s: number): string => (below_s === Infinity ? "longer ago" : `< ${below_s} s`);

const MAP_COLUMNS = 64;
const MAP_ROWS = 8;

/** The whole table at a glance: each character is the node that owns most of its stretch of buckets. */
function mapText({ owners }: BucketTable, shares: readonly OwnerShare[]): string {
  const marks = new Map(shares.map(({ number, mark }) => [number, mark]));
  const stretch = Math.max(1, Math.ceil(owners.length / (MAP_COLUMNS * MAP_ROWS)));
  let cells = "";
  for (let start = 0; start < owners.length; start += stretch) {
    const counts = histogram(owners.subarray(start, start + stretch));
    counts[NOBODY] = 0;
    const most = Math.max(...counts);
    cells += most === 0 ? "." : (marks.get(counts.indexOf(most)) ?? "?");
  }
  const lines = cells.match(new RegExp(`.{1,${MAP_COLUMNS}}`, "g")) ?? [];
  const title = `Map: one character for ${stretch} buckets, the mark of the node with most of them, '.' for none\n`;
  return title + lines.map((line) => `  ${line}\n`).join("");
}

type RowText = (row: {
  readonly bucket: number;
  readonly owner: number;
  readonly idle_s: number | null;
  readonly next: number;
  readonly previous: number;
}) => string;

/** The rows of a range, PIECE_ROWS at a time. */
function* pieces(table: BucketTable, { first, last }: BucketRange, rowText: RowText): Generator<string> {
  for (let start = first; start <= last; start += PIECE_ROWS) {
    let piece = "";
    for (let i = start; i <= Math.min(last, start + PIECE_ROWS - 1); i++) {
      piece += rowText({
        bucket: i,
        owner: numberOf(table.owners[i]!),
        idle_s: table.idle_s[i] === NEVER ? null : table.idle_s[i]!,
        next: numberOf(table.next[i]!),
        previous: numberOf(table.previous[i]!),
      });
    }
    yield piece;
  }
}

/** -1 stands for nobody. */
const numberOf = (byte: number): number => (byte === NOBODY ? -1 : byte);

function* rowsText(table: BucketTable, range: BucketRange): Generator<string> {
  yield "Client IP Hash Table\n Bucket  DLBA Server Number  Last Access in Seconds  Next  Previous\n";
  yield* pieces(
    table,
    range,
    ({ bucket, owner, idle_s, next, previous }) =>
      `${String(bucket).padStart(7)}  ${String(owner).padStart(18)}  ${String(idle_s ?? "-").padStart(22)}  ${String(next).padStart(4)}  ${String(previous).padStart(8)}\n`,
  );
}

function* bucketsCsv(table: BucketTable, range: BucketRange): Generator<string> {
  yield csvLine(["Bucket", "DLBA Server Number", "Last Access in Seconds", "Next", "Previous"]);
  yield* pieces(
    table,
    range,
    ({ bucket, owner, idle_s, next, previous }) => `${bucket},${owner},${idle_s ?? ""},${next},${previous}\n`,
  );
}

/** Rows are `[bucket, DLBA server number, last access in seconds or null, next, previous]`. */
function* bucketsJson(table: BucketTable, range: BucketRange): Generator<string> {
  const shares = ownerShares(table);
  const head = {
    table_size: table.owners.length,
    assigned: shares.reduce((sum, share) => sum + share.buckets, 0),
    with_previous: countPrevious(table),
    owners: shares.map(({ number, buckets, next }) => ({ number, buckets, next })),
    idle: idleSteps(table).map(({ below_s, buckets }) => ({
      below_s: Number.isFinite(below_s) ? below_s : null,
      buckets,
    })),
    columns: ["bucket", "dlba_server_number", "last_access_s", "next", "previous"],
  };
  yield `${JSON.stringify(head).slice(0, -1)},"buckets":[`;
  yield* pieces(
    table,
    range,
    ({ bucket, owner, idle_s, next, previous }) =>
      `${bucket === range.first ? "" : ","}[${bucket},${owner},${idle_s ?? "null"},${next},${previous}]`,
  );
  yield "]}\n";
}
