/** The shortest input that can be found which still fails: pieces are taken out, halves first, then bytes made plain. */
const PLAIN = ["a", "0", " "];
const MOST_TRIES = 1500;

/** `fails` says whether an input still shows the fault. */
export function shrink(input: string, fails: (input: string) => boolean): string {
  let left = MOST_TRIES;
  const stillFails = (candidate: string): boolean => left-- > 0 && fails(candidate);
  let smallest = input;
  for (;;) {
    const before = smallest;
    smallest = plainer(shorter(smallest, stillFails), stillFails);
    if (smallest === before) return smallest;
  }
}

function shorter(input: string, fails: (input: string) => boolean): string {
  let smallest = input;
  for (let size = Math.ceil(smallest.length / 2); size >= 1; size = size === 1 ? 0 : Math.ceil(size / 2)) {
    for (let at = 0; at < smallest.length;) {
      const candidate = smallest.slice(0, at) + smallest.slice(at + size);
      if (fails(candidate)) smallest = candidate;
      else at += size;
    }
  }
  return smallest;
}

function plainer(input: string, fails: (input: string) => boolean): string {
  let plain = input;
  for (let at = 0; at < plain.length; at++) {
    if (PLAIN.includes(plain[at]!)) continue;
    for (const letter of PLAIN) {
      const candidate = plain.slice(0, at) + letter + plain.slice(at + 1);
      if (!fails(candidate)) continue;
      plain = candidate;
      break;
    }
  }
  return plain;
}
