/**
 * MurmurHash3 (x86, 32 bits) by Austin Appleby, public domain: short keys such as URLs mix well in few
 * multiplications, and every node gets the same value.
 */
const C1 = 0xcc9e2d51;
const C2 = 0x1b873593;

function mix(hash: number, word: number): number {
  let k = Math.imul(word, C1);
  k = (k << 15) | (k >>> 17);
  const h = hash ^ Math.imul(k, C2);
  return (Math.imul((h << 13) | (h >>> 19), 5) + 0xe6546b64) | 0;
}

/** The last one to three bytes, without the rotation of whole words. */
function mixTail(hash: number, tail: number): number {
  const k = Math.imul(tail, C1);
  return hash ^ Math.imul((k << 15) | (k >>> 17), C2);
}

/** The last step: every input bit moves every output bit. An unsigned 32-bit number. */
export function finish(hash: number): number {
  let h = hash ^ (hash >>> 16);
  h = Math.imul(h, 0x85ebca6b);
  h ^= h >>> 13;
  h = Math.imul(h, 0xc2b2ae35);
  return (h ^ (h >>> 16)) >>> 0;
}

/** Hash of `bytes[start, end)` as an unsigned 32-bit number. */
export function hashBytes(bytes: Uint8Array, start: number, end: number, seed = 0): number {
  let h = seed | 0;
  let i = start;
  for (; i + 4 <= end; i += 4) {
    h = mix(h, bytes[i]! | (bytes[i + 1]! << 8) | (bytes[i + 2]! << 16) | (bytes[i + 3]! << 24));
  }
  if (i < end) {
    const second = i + 1 < end ? bytes[i + 1]! : 0;
    const third = i + 2 < end ? bytes[i + 2]! : 0;
    h = mixTail(h, bytes[i]! | (second << 8) | (third << 16));
  }
  return finish(h ^ (end - start));
}
