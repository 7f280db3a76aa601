import assert from "node:assert/strict";
import { test } from "node:test";
import * as fc from "fast-check";
import { TCP_STATES } from "../../../net/sock-diag.ts";
import { createSocketRounds, type HeldSockets } from "../../../scheduler/held/held-sockets.ts";

const SIZE = 64;
const connection = (bucket: number, service = 0) => ({
  service,
  remote: Uint8Array.of(bucket, ...Array(15).fill(0)),
  family: 4 as const,
  remotePort: 1000,
  state: TCP_STATES.ESTABLISHED as number,
  isOrphan: false,
});
const bucketsIn = ({ bits }: HeldSockets): number[] | undefined =>
  bits && [...Array(SIZE).keys()].filter((bucket) => ((bits[bucket >> 3] ?? 0) >> (bucket & 7)) & 1);

/** Rounds of node whose buckets' numbers stand in the clients' addresses. */
function rounds(isElsewhere: (bucket: number) => boolean) {
  const { take, end } = createSocketRounds({
    tableSize: SIZE,
    hashes: ["address-and-port"],
    bucketOf: (address) => address[0]!,
    isElsewhere,
  });
  return (buckets: readonly number[]): HeldSockets => {
    for (const bucket of buckets) take(connection(bucket));
    return end();
  };
}

test("buckets of which there are connections are told if this node is their previous one", () => {
  const round = rounds((bucket) => bucket !== 9);
  round([1, 9, 63]);
  const second = round([1, 1, 9, 63]);
  assert.deepEqual([second.connections, bucketsIn(second)], [4, [1, 63]]);
});

test("nothing is told of one round alone, and a bucket is given up after two rounds without a connection", () => {
  const round = rounds(() => true);
  assert.equal(round([5, 6]).bits, undefined);
  assert.deepEqual(bucketsIn(round([6])), [5, 6]);
  assert.deepEqual(bucketsIn(round([])), [6]);
  assert.deepEqual(bucketsIn(round([])), []);
});

test("a bucket that has moved away since the first round is held", () => {
  const previous = new Set<number>();
  const round = rounds((bucket) => previous.has(bucket));
  round([3]);
  previous.add(3);
  assert.deepEqual(bucketsIn(round([])), [3]);
});

test("a round that was broken off does not count", () => {
  const { take, end, drop } = createSocketRounds({
    tableSize: SIZE,
    hashes: ["address"],
    bucketOf: (address) => address[0]!,
    isElsewhere: () => true,
  });
  take(connection(1));
  end();
  take(connection(2));
  drop();
  take(connection(3));
  const held = end();
  assert.deepEqual([held.connections, bucketsIn(held)], [1, [1, 3]]);
});

test("connections that are half open or all but over hold their bucket, but no node is waited for because of them", () => {
  const { take, end } = createSocketRounds({
    tableSize: SIZE,
    hashes: ["address"],
    bucketOf: (address) => address[0]!,
    isElsewhere: () => true,
  });
  end();
  take(connection(1));
  take({ ...connection(2), state: TCP_STATES.SYN_RECV, isOrphan: true });
  take({ ...connection(3), state: TCP_STATES.FIN_WAIT2, isOrphan: true });
  take({ ...connection(4), state: TCP_STATES.FIN_WAIT2 });
  take({ ...connection(5), state: TCP_STATES.FIN_WAIT1, isOrphan: true });
  const held = end();
  assert.deepEqual([held.connections, bucketsIn(held)], [3, [1, 2, 3, 4, 5]]);
});

test("what of a client is hashed is the service's", () => {
  const asked: unknown[] = [];
  const { take } = createSocketRounds({
    tableSize: SIZE,
    hashes: ["address", "address-and-port"],
    bucketOf: (address, family, port, hash) => {
      asked.push([address[0], family, port, hash]);
      return 0;
    },
    isElsewhere: () => true,
  });
  take(connection(7, 0));
  take({ ...connection(8, 1), family: 6, remotePort: 4000 });
  assert.deepEqual(asked, [
    [7, 4, 1000, "address"],
    [8, 6, 4000, "address-and-port"],
  ]);
});

test("whatever the connections, the two last rounds tell exactly the buckets of both that count", () => {
  const buckets = fc.array(fc.nat({ max: SIZE - 1 }));
  fc.assert(
    fc.property(buckets, buckets, fc.uniqueArray(fc.nat({ max: SIZE - 1 })), (first, second, previous) => {
      const round = rounds((bucket) => previous.includes(bucket));
      round(first);
      const held = round(second);
      assert.equal(held.connections, second.length);
      const expected = previous.filter((bucket) => first.includes(bucket) || second.includes(bucket));
      assert.deepEqual(
        bucketsIn(held),
        expected.toSorted((a, b) => a - b),
      );
    }),
  );
});
