/**
 * The Huffman code of HPACK (RFC 7541 5.2 and appendix B), decoded four bits at a time by a table.
 *
 * The code is canonical: its lengths are all that need be known. No code is shorter than five bits, so four bits end at
 * most one symbol, and a step is one look-up.
 */

/** Bits of each byte's code; the last one is the end-of-string mark, which may not occur. */
const LENGTHS = [
  13, 23, 28, 28, 28, 28, 28, 28, 28, 24, 30, 28, 28, 30, 28, 28, 28, 28, 28, 28, 28, 28, 30, 28, 28, 28, 28,
  28, 28, 28, 28, 28, 6, 10, 10, 12, 13, 6, 8, 11, 10, 10, 8, 11, 8, 6, 6, 6, 5, 5, 5, 6, 6, 6, 6, 6, 6, 6, 7,
  8, 15, 6, 12, 10, 13, 6, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 8, 7, 8, 13, 19,
  13, 14, 6, 15, 5, 6, 5, 6, 5, 6, 6, 6, 5, 7, 7, 6, 6, 6, 5, 6, 7, 6, 5, 5, 6, 7, 7, 7, 7, 7, 15, 11, 14, 13,
  28, 20, 22, 20, 20, 22, 22, 22, 23, 22, 23, 23, 23, 23, 23, 24, 23, 24, 24, 22, 23, 24, 23, 23, 23, 23, 21,
  22, 23, 22, 23, 23, 24, 22, 21, 20, 22, 22, 23, 23, 21, 23, 22, 22, 24, 21, 22, 23, 23, 21, 21, 22, 21, 23,
  22, 23, 23, 20, 22, 22, 22, 23, 22, 22, 23, 26, 26, 20, 19, 22, 23, 22, 25, 26, 26, 26, 27, 27, 26, 24, 25,
  19, 21, 26, 27, 27, 26, 27, 24, 21, 21, 26, 26, 28, 27, 27, 27, 20, 24, 20, 21, 22, 21, 21, 23, 22, 22, 25,
  25, 24, 24, 26, 23, 26, 27, 26, 26, 27, 27, 27, 27, 27, 28, 27, 27, 27, 27, 27, 26, 30,
];
const END_OF_STRING = 256;
const LONGEST = 30;

function assignCodes(): Uint32Array {
  const codes = new Uint32Array(LENGTHS.length);
  let code = 0;
  for (let length = 1; length <= LONGEST; length++) {
    LENGTHS.forEach((bits, symbol) => {
      if (bits === length) codes[symbol] = code++;
    });
    code *= 2;
  }
  return codes;
}
const CODES = assignCodes();

/** The tree's inner nodes: two entries each, a node's number or -1 - symbol for a leaf. */
function growTree(): number[] {
  const tree = [0, 0];
  LENGTHS.forEach((length, symbol) => {
    let node = 0;
    for (let bit = length - 1; bit >= 0; bit--) {
      const at = node * 2 + ((CODES[symbol]! >>> bit) & 1);
      if (bit === 0) tree[at] = -1 - symbol;
      else if (tree[at] === 0) {
        tree[at] = tree.length / 2;
        tree.push(0, 0);
      }
      node = tree[at]!;
    }
  });
  return tree;
}
const TREE = growTree();

const BAD = 0x8000;
const EMITS = 0x4000;
/** By node and four bits: the node after them, whether a symbol ended, and whether they can't be. */
const steps = new Uint16Array((TREE.length / 2) * 16);
const symbols = new Uint8Array(steps.length);
for (let node = 0; node < TREE.length / 2; node++) {
  for (let bits = 0; bits < 16; bits++) {
    let at = node;
    let step = 0;
    for (let bit = 3; bit >= 0; bit--) {
      at = TREE[at * 2 + ((bits >> bit) & 1)]!;
      if (at >= 0) continue;
      const symbol = -1 - at;
      if (symbol === END_OF_STRING) step |= BAD;
      else symbols[node * 16 + bits] = symbol;
      step |= EMITS;
      at = 0;
    }
    steps[node * 16 + bits] = step | at;
  }
}

/** Nodes at which a string may end: up to seven ones after the last symbol (the mark's beginning). */
const mayEnd = new Uint8Array(TREE.length / 2);
for (let node = 0, ones = 0; ones < 8; ones++) {
  mayEnd[node] = 1;
  node = TREE[node * 2 + 1]!;
}

/** Decodes `bytes[start, end)` into `to` from `at` on. Returns the index after the text, or -1 if it is no such text. */
export function decodeHuffman(
  bytes: Uint8Array,
  start: number,
  end: number,
  to: Uint8Array,
  at: number,
): number {
  let out = at;
  let node = 0;
  for (let i = start; i < end; i++) {
    const byte = bytes[i]!;
    let slot = node * 16 + (byte >> 4);
    let step = steps[slot]!;
    if ((step & EMITS) !== 0) {
      if ((step & BAD) !== 0) return -1;
      to[out++] = symbols[slot]!;
    }
    slot = (step & 0x1ff) * 16 + (byte & 15);
    step = steps[slot]!;
    if ((step & EMITS) !== 0) {
      if ((step & BAD) !== 0) return -1;
      to[out++] = symbols[slot]!;
    }
    node = step & 0x1ff;
  }
  return mayEnd[node] === 1 ? out : -1;
}
