/**
 * Pseudo-random words of 32 bits (xorshift, Marsaglia 2003): a seed makes the same ones again, and each costs a few
 * nanoseconds. The seed is mixed first (MurmurHash3's last step), so that small seeds don't begin alike.
 */
export function randomWords(seed: number): () => number {
  let state = Math.imul(seed ^ (seed >>> 16), 0x85ebca6b);
  state = Math.imul(state ^ (state >>> 13), 0xc2b2ae35);
  state = state ^ (state >>> 16) || 1;
  return () => {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    return state >>> 0;
  };
}
