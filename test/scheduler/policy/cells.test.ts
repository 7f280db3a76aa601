import assert from "node:assert/strict";
import { test } from "node:test";
import * as fc from "fast-check";
import {
  countIn,
  createCells,
  eachIn,
  putIn,
  takeOut,
  turnTo,
  widen,
  type Cells,
} from "../../../scheduler/policy/cells.ts";

const SIZE = 1024;

/** What is in a cell, in the list's order. */
function bucketsIn(cells: Cells, row: number, column: number, base: number): number[] {
  const found: number[] = [];
  eachIn(cells, row, column, base, (bucket) => found.push(bucket));
  return found;
}

test("a cell has what was put in and not taken out, in that order, also after its grid has become larger", () => {
  const step = fc.record({ bucket: fc.nat(SIZE - 1), column: fc.nat(2) });
  fc.assert(
    fc.property(fc.constantFrom(16, 256, SIZE), fc.array(step, { maxLength: 200 }), (span, steps) => {
      const cells = createCells(SIZE, span, SIZE / span, 2);
      widen(cells, SIZE / span, 3);
      const model = new Map<number, number>();
      for (const { bucket, column } of steps) {
        const former = model.get(bucket);
        if (former !== undefined) takeOut(cells, Math.floor(bucket / span), former, bucket);
        model.delete(bucket);
        if (former === column) continue;
        model.set(bucket, column);
        putIn(cells, Math.floor(bucket / span), column, bucket);
      }
      widen(cells, SIZE / span, 6);
      for (let cell = 0; cell < (SIZE / span) * 3; cell++) {
        const [row, column] = [Math.floor(cell / 3), cell % 3];
        const wanted = [...model].filter(
          ([bucket, at]) => at === column && Math.floor(bucket / span) === row,
        );
        assert.equal(countIn(cells, row, column), wanted.length);
        assert.deepEqual(
          bucketsIn(cells, row, column, row * span),
          wanted.map(([bucket]) => bucket),
        );
      }
    }),
  );
});

test("who goes through a cell may take each bucket out, and a cell begins with the bucket that it was turned to", () => {
  const cells = createCells(SIZE, 256, 4, 1);
  for (const bucket of [300, 301, 302]) putIn(cells, 1, 0, bucket);
  turnTo(cells, 1, 0, 301);
  const found: number[] = [];
  eachIn(cells, 1, 0, 256, (bucket) => {
    found.push(bucket);
    takeOut(cells, 1, 0, bucket);
  });
  assert.deepEqual(found, [301, 302, 300]);
  assert.equal(countIn(cells, 1, 0), 0);
});
