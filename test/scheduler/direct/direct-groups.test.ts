import assert from "node:assert/strict";
import { test } from "node:test";
import * as fc from "fast-check";
import { DlbaError } from "../../../conf/errors.ts";
import { DIRECT_BUCKETS, MAX_DIRECT_POOLS } from "../../../conf/limits.ts";
import { allocateGroups, type GroupRow } from "../../../scheduler/direct/direct-groups.ts";

const FREE: GroupRow = { identity: 0n, base: 0, size: 0 };
const empty = Array.from({ length: MAX_DIRECT_POOLS + 1 }, () => FREE);
const pool = (identity: number, size: number) => ({ identity: BigInt(identity), size });
const is = (code: string) => (error: unknown) => error instanceof DlbaError && error.code === code;
const placed = (rows: readonly GroupRow[]): string[] =>
  rows.flatMap(({ identity, base, size }, row) =>
    size === 0 ? [] : [`${row}: ${identity} ${base}+${size}`],
  );

test("new pools get the first gaps, large ones first; row 0 stays free", () => {
  const rows = allocateGroups(empty, [pool(7, 256), pool(8, 4096)]);
  assert.deepEqual(placed(rows), ["1: 8 0+4096", "2: 7 4096+256"]);
});

test("pools that stay keep row and place, others' are free for new ones", () => {
  const before = allocateGroups(empty, [pool(1, 4096), pool(2, 2048), pool(3, 1024)]);
  const after = allocateGroups(before, [pool(3, 1024), pool(1, 4096), pool(4, 512), pool(5, 2048)]);
  assert.deepEqual(placed(after), ["1: 1 0+4096", "2: 5 4096+2048", "3: 3 6144+1024", "4: 4 7168+512"]);
});

test("a pool of another size than before gets a new place", () => {
  const before = allocateGroups(empty, [pool(1, 4096), pool(2, 2048)]);
  assert.deepEqual(placed(allocateGroups(before, [pool(1, 1024), pool(2, 2048)])), [
    "1: 1 0+1024",
    "2: 2 4096+2048",
  ]);
});

test("what does not fit is refused with what to do about it", () => {
  const whole = pool(1, DIRECT_BUCKETS);
  assert.throws(() => allocateGroups(empty, [whole, pool(2, 256)]), is("DIRECT_BUCKETS_USED_UP"));
  const many = Array.from({ length: MAX_DIRECT_POOLS + 1 }, (_, i) => pool(i + 1, 256));
  assert.throws(() => allocateGroups(empty, many), is("DIRECT_POOLS_TOO_MANY"));
  assert.equal(placed(allocateGroups(empty, many.slice(1))).length, MAX_DIRECT_POOLS);
});

test("whatever comes and goes, each pool has exactly its buckets, and none are another's", () => {
  const wanted = fc.uniqueArray(
    fc.record({ identity: fc.bigInt({ min: 1n, max: 12n }), size: fc.constantFrom(256, 512, 1024, 2048) }),
    { selector: ({ identity }) => identity, maxLength: 12 },
  );
  fc.assert(
    fc.property(fc.array(wanted, { maxLength: 6 }), (rounds) => {
      let rows: readonly GroupRow[] = empty;
      for (const round of rounds) {
        const before = new Map(rows.map((row) => [row.identity, row]));
        rows = allocateGroups(rows, round);
        const used = rows.filter(({ size }) => size > 0).toSorted((a, b) => a.base - b.base);
        assert.deepEqual(new Set(used.map(({ identity, size }) => `${identity} ${size}`)).size, round.length);
        used.forEach(({ identity, base, size }, i) => {
          assert.ok(base + size <= (used[i + 1]?.base ?? DIRECT_BUCKETS));
          assert.equal(round.find((pool) => pool.identity === identity)?.size, size);
          if (before.get(identity)?.size === size) assert.equal(base, before.get(identity)?.base);
        });
      }
    }),
  );
});
