/**
 * The bucket of a client, as the program finds it (`hash_address` and `bucket_of` in bpf/scheduler.bpf.c): a node
 * tells with it for which buckets it has connections. The sums modulo 2^64 are made of 32-bit halves.
 */

/** The factor of the program's last step, in halves. */
const MIX_HIGH = 0x9fb21c65;
const MIX_LOW = 0x1e98df25;

/** The 32 bits of key or address that begin at this byte, little-endian. */
const wordAt = (bytes: Uint8Array, at: number): number =>
  bytes[at]! | (bytes[at + 1]! << 8) | (bytes[at + 2]! << 16) | (bytes[at + 3]! << 24);

/** The upper half of the product of two unsigned 32-bit numbers. */
function highProduct(a: number, b: number): number {
  const [aLow, aHigh, bLow, bHigh] = [a & 0xffff, a >>> 16, b & 0xffff, b >>> 16];
  const middle = aHigh * bLow + ((aLow * bLow) >>> 16);
  const upper = aLow * bHigh + (middle & 0xffff);
  return (aHigh * bHigh + Math.floor(middle / 0x10000) + Math.floor(upper / 0x10000)) | 0;
}

/**
 * The keyed hash of a client's address: 32 bits, unsigned. `key` is the 48 bytes of the array's hash seed, `address`
 * 4 or 16 bytes as they stand in a packet.
 */
export function clientHash(key: Uint8Array, address: Uint8Array, family: 4 | 6): number {
  const words = family === 4 ? 1 : 4;
  const constant = family === 4 ? 0 : 40;
  let low = wordAt(key, constant) >>> 0;
  let high = wordAt(key, constant + 4);
  for (let i = 0; i < words; i++) {
    const word = wordAt(address, i * 4);
    const keyLow = wordAt(key, 8 + i * 8);
    low += Math.imul(keyLow, word) >>> 0;
    high += highProduct(keyLow, word) + Math.imul(wordAt(key, 12 + i * 8), word);
    // The carry of the lower half.
    if (low >= 2 ** 32) {
      low -= 2 ** 32;
      high++;
    }
  }
  return mixed(low | 0, high | 0);
}

/** The upper half after the program's last step. */
function mixed(low: number, high: number): number {
  const folded = low ^ high;
  return (highProduct(folded, MIX_LOW) + Math.imul(folded, MIX_HIGH) + Math.imul(high, MIX_LOW)) >>> 0;
}

/**
 * The bucket of a client's port (in host order), counted from the start of its group's table, whose size less 1 is
 * `mask`. Where the address alone decides it is `clientHash(…) & mask`.
 */
export function bucketOf(hash: number, port: number, mask: number): number {
  return (hash + ((port & mask) >>> 3) + (port & 7) * ((mask + 1) >>> 3)) & mask;
}
