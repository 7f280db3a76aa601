/** The two sums that the model of the XDP program needs, written plainly from their definitions. */

/** The Internet checksum (RFC 1071) over pieces, of which only the last may be of odd length. */
export function internetChecksum(pieces: readonly Buffer[]): number {
  let sum = 0;
  for (const piece of pieces) {
    for (let i = 0; i < piece.length; i += 2) sum += (piece[i]! << 8) | (piece[i + 1] ?? 0);
  }
  while (sum > 0xffff) sum = (sum & 0xffff) + (sum >> 16);
  return ~sum & 0xffff;
}

const MASK = (1n << 64n) - 1n;
const rotl = (x: bigint, bits: bigint): bigint => ((x << bits) | (x >> (64n - bits))) & MASK;

type State = [bigint, bigint, bigint, bigint];

function sipRound([a, b, c, d]: State): State {
  a = (a + b) & MASK;
  b = rotl(b, 13n) ^ a;
  a = rotl(a, 32n);
  c = (c + d) & MASK;
  d = rotl(d, 16n) ^ c;
  a = (a + d) & MASK;
  d = rotl(d, 21n) ^ a;
  c = (c + b) & MASK;
  b = rotl(b, 17n) ^ c;
  c = rotl(c, 32n);
  return [a, b, c, d];
}

/** SipHash-2-4 (Aumasson and Bernstein 2012) of a whole number of 8-byte words, as 8 bytes in little-endian order. */
export function sipHash(key: Buffer, message: Buffer): Buffer {
  const k0 = key.readBigUInt64LE(0);
  const k1 = key.readBigUInt64LE(8);
  let state: State = [
    k0 ^ 0x736f6d6570736575n,
    k1 ^ 0x646f72616e646f6dn,
    k0 ^ 0x6c7967656e657261n,
    k1 ^ 0x7465646279746573n,
  ];
  const absorb = (word: bigint): void => {
    state = [state[0], state[1], state[2], state[3] ^ word];
    state = sipRound(sipRound(state));
    state = [state[0] ^ word, state[1], state[2], state[3]];
  };
  for (let i = 0; i + 8 <= message.length; i += 8) absorb(message.readBigUInt64LE(i));
  absorb(BigInt(message.length & 255) << 56n);
  state = [state[0], state[1], state[2] ^ 0xffn, state[3]];
  for (let i = 0; i < 4; i++) state = sipRound(state);
  const tag = Buffer.alloc(8);
  tag.writeBigUInt64LE(state[0] ^ state[1] ^ state[2] ^ state[3]);
  return tag;
}
