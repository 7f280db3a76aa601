import assert from "node:assert/strict";
import { describe, it } from "node:test";
import * as fc from "fast-check";
import {
  createFairQueue,
  dequeue,
  enqueue,
  leave,
  peek,
  type FairQueue,
  type Waiting,
} from "../../../dlba-server/pools/fair-queue.ts";

function all(queue: FairQueue<string>): string[] {
  const served: string[] = [];
  for (let entry = dequeue(queue); entry !== undefined; entry = dequeue(queue)) served.push(entry.value);
  return served;
}

describe("a fair queue", () => {
  it("serves one client after the other, and each client's requests in their order", () => {
    const queue = createFairQueue<string>();
    for (const value of ["a1", "a2", "a3", "b1", "b2", "c1"]) enqueue(queue, value[0]!, value, 0);
    assert.equal(peek(queue)?.value, "a1");
    assert.deepEqual(all(queue), ["a1", "b1", "c1", "a2", "b2", "a3"]);
    assert.deepEqual([queue.count, queue.lines.size, peek(queue)], [0, 0, undefined]);
  });

  it("lets a client that comes late wait for one request of each other client at most", () => {
    const queue = createFairQueue<string>();
    for (let i = 0; i < 100; i++) enqueue(queue, "greedy", `g${i}`, 0);
    assert.equal(dequeue(queue)?.value, "g0");
    enqueue(queue, "late", "l", 1);
    assert.equal(dequeue(queue)?.value, "g1");
    assert.equal(dequeue(queue)?.value, "l");
  });

  it("forgets who leaves, from any place, and once", () => {
    const queue = createFairQueue<string>();
    const entries = ["a1", "a2", "a3", "b1"].map((value) => enqueue(queue, value[0]!, value, 0));
    leave(queue, entries[1]!);
    leave(queue, entries[1]!);
    leave(queue, entries[3]!);
    assert.equal(queue.count, 2);
    assert.deepEqual(all(queue), ["a1", "a3"]);
    leave(queue, entries[0]!);
    assert.equal(queue.count, 0);
  });

  it("behaves as a plain model does, whatever comes, goes and is served", () => {
    const step = fc.oneof(
      fc.record({ kind: fc.constant("come" as const), client: fc.constantFrom("a", "b", "c", "d") }),
      fc.record({ kind: fc.constant("serve" as const) }),
      fc.record({ kind: fc.constant("go" as const), which: fc.nat(30) }),
    );
    fc.assert(
      fc.property(fc.array(step, { maxLength: 120 }), (steps) => {
        const queue = createFairQueue<number>();
        /** Clients in turn, each with its requests. */
        let model: { client: string; waiting: Waiting<number>[] }[] = [];
        let number = 0;
        for (const each of steps) {
          if (each.kind === "come") {
            const entry = enqueue(queue, each.client, number++, 0);
            const line = model.find(({ client }) => client === each.client);
            if (line === undefined) model.push({ client: each.client, waiting: [entry] });
            else line.waiting.push(entry);
          } else if (each.kind === "serve") {
            const line = model.shift();
            const expected = line?.waiting.shift();
            assert.equal(dequeue(queue)?.value, expected?.value);
            if (line !== undefined && line.waiting.length > 0) model.push(line);
          } else {
            const waiting = model.flatMap((line) => line.waiting);
            const gone = waiting[each.which % Math.max(1, waiting.length)];
            if (gone === undefined) continue;
            leave(queue, gone);
            model = model
              .map((line) => ({ ...line, waiting: line.waiting.filter((entry) => entry !== gone) }))
              .filter((line) => line.waiting.length > 0);
          }
          const count = model.reduce((sum, line) => sum + line.waiting.length, 0);
          assert.deepEqual([queue.count, queue.lines.size], [count, model.length]);
        }
      }),
    );
  });
});
