import assert from "node:assert/strict";
import { test } from "node:test";
import * as fc from "fast-check";
import { bucketOf, clientHash } from "../../scheduler/hash.ts";

/** As the program has it, in 64-bit arithmetic. */
function reference(key: Uint8Array, address: Uint8Array): number {
  const keys = new BigUint64Array(key.slice().buffer);
  const words = Array.from(new Uint32Array(address.slice().buffer), BigInt);
  const sum =
    words.length === 1
      ? keys[0]! + keys[1]! * words[0]!
      : keys[1]! * words[0]! + keys[2]! * words[1]! + keys[3]! * words[2]! + keys[4]! * words[3]! + keys[5]!;
  let hash = BigInt.asUintN(64, sum);
  hash ^= hash >> 32n;
  return Number(BigInt.asUintN(64, hash * 0x9fb21c651e98df25n) >> 32n);
}
const bytes = (length: number) =>
  fc.oneof(
    fc.uint8Array({ minLength: length, maxLength: length }),
    fc.constant(new Uint8Array(length).fill(255)),
  );

test("the hash of an address is the program's, for both families and with every carry", () => {
  fc.assert(
    fc.property(bytes(48), bytes(4), bytes(16), (key, ipv4, ipv6) => {
      assert.equal(clientHash(key, ipv4, 4), reference(key, ipv4));
      assert.equal(clientHash(key, ipv6, 6), reference(key, ipv6));
    }),
    { numRuns: 2000 },
  );
});

test("as many of a client's ports as a table has buckets meet in none of them", () => {
  for (const size of [256, 4096, 65_536, 1_048_576]) {
    const ports = Math.min(size, 65_536);
    for (const hash of [0, 0xffffffff, 0x80000001]) {
      const met = new Set(Array.from({ length: ports }, (_, port) => bucketOf(hash, port, size - 1)));
      assert.equal(met.size, ports);
      assert.ok([...met].every((bucket) => bucket >= 0 && bucket < size));
    }
  }
});

test("successive ports lie an eighth of the table apart, and every eighth one is the neighbour", () => {
  assert.deepEqual(
    [0, 1, 2, 8, 16].map((port) => bucketOf(0, port, 0xffff)),
    [0, 0x2000, 0x4000, 1, 2],
  );
  assert.equal(bucketOf(0xffffffff, 8, 0xfffff), 0);
});
