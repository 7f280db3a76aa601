/**
 * SipHash-2-4 (Aumasson and Bernstein 2012): a keyed tag of 64 bits for short messages. It works on halves of 32
 * bits, as BigInt would allocate at every step.
 */

/** "somepseudorandomlygeneratedbytes". */
const START = [
  0x70736575, 0x736f6d65, 0x6e646f6d, 0x646f7261, 0x6e657261, 0x6c796765, 0x79746573, 0x74656462,
] as const;

/** The state v0 to v3, low halves first. One for all calls, as nothing here waits. */
const v = new Int32Array(8);

/** v[a] += v[b], then v[b] = v[b] rotated ^ v[a], in 64 bits. `bits` is below 32. */
function mix(a: number, b: number, bits: number): void {
  const low = v[b]!;
  const high = v[b + 1]!;
  const sum = (v[a]! >>> 0) + (low >>> 0);
  v[a] = sum;
  v[a + 1]! += high + (sum > 0xffffffff ? 1 : 0);
  v[b] = ((low << bits) | (high >>> (32 - bits))) ^ v[a];
  v[b + 1] = ((high << bits) | (low >>> (32 - bits))) ^ v[a + 1]!;
}

/** A rotation by 32 bits. */
function swapHalves(a: number): void {
  const low = v[a]!;
  v[a] = v[a + 1]!;
  v[a + 1] = low;
}

function round(): void {
  mix(0, 2, 13);
  mix(4, 6, 16);
  swapHalves(0);
  mix(4, 2, 17);
  mix(0, 6, 21);
  swapHalves(4);
}

function take(low: number, high: number): void {
  v[6]! ^= low;
  v[7]! ^= high;
  round();
  round();
  v[0]! ^= low;
  v[1]! ^= high;
}

/** The last bytes of a message, seven at most, and its length in the highest byte. */
function takeTail(message: DataView, at: number, length: number): void {
  let low = 0;
  let high = length << 24;
  for (let i = at; i < length; i++) {
    const shift = (i - at) * 8;
    if (shift < 32) low |= message.getUint8(i) << shift;
    else high |= message.getUint8(i) << (shift - 32);
  }
  take(low, high);
}

/**
 * Writes the tag of a message's first `length` bytes, under a key of 16 bytes, behind them: 8 bytes, little-endian,
 * at `tagAt`. Nothing is allocated.
 */
export function sipTag(key: DataView, message: DataView, length: number, tagAt: number): void {
  for (let i = 0; i < 8; i++) v[i] = START[i]! ^ key.getInt32((i & 3) * 4, true);
  let done = 0;
  for (; done + 8 <= length; done += 8) take(message.getInt32(done, true), message.getInt32(done + 4, true));
  takeTail(message, done, length);
  v[4]! ^= 0xff;
  for (let i = 0; i < 4; i++) round();
  message.setInt32(tagAt, v[0]! ^ v[2]! ^ v[4]! ^ v[6]!, true);
  message.setInt32(tagAt + 4, v[1]! ^ v[3]! ^ v[5]! ^ v[7]!, true);
}
