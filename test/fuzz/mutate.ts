/** One input made from another: bytes changed, taken out, put in, doubled, and pieces of others put between. */
import { below, oneOf, type Random } from "./target.ts";

const MOST_MUTATIONS = 4;
/** Longer inputs show little that shorter ones don't, and cost more. */
const MOST_CHARACTERS = 4096;

type Mutation = (input: string, random: Random, words: readonly string[], pool: readonly string[]) => string;

const put = (input: string, at: number, text: string, taken = 0): string =>
  input.slice(0, at) + text + input.slice(at + taken);
const place = (input: string, random: Random): number => below(random, input.length + 1);

const MUTATIONS: readonly Mutation[] = [
  (input, random) => put(input, place(input, random), String.fromCharCode(below(random, 256)), 1),
  (input, random) => put(input, place(input, random), "", 1 + below(random, 4)),
  (input, random) => put(input, place(input, random), "", 1 + below(random, 40)),
  (input, random, words) => put(input, place(input, random), oneOf(random, words)),
  (input, random, words) => put(input, place(input, random), oneOf(random, words)),
  (input, random, words) => put(input, place(input, random), oneOf(random, words), 1 + below(random, 6)),
  (input, random) => {
    const from = place(input, random);
    return put(input, from, input.slice(from, from + 1 + below(random, 60)));
  },
  (input, random) => {
    const at = place(input, random);
    const code = input.charCodeAt(at);
    return code > 255 || at === input.length ? input : put(input, at, String.fromCharCode(code ^ 32), 1);
  },
  (input, random, _words, pool) => {
    const other = oneOf(random, pool);
    const from = place(other, random);
    return put(input, place(input, random), other.slice(from, from + below(random, 200)));
  },
  (input, random, _words, pool) => {
    const other = oneOf(random, pool);
    return input.slice(0, place(input, random)) + other.slice(place(other, random));
  },
  (input, random) => {
    const at = place(input, random);
    return put(input, at, (input[at] ?? "a").repeat(below(random, 300)));
  },
];

/** A new input from `input`. */
export function mutate(
  input: string,
  random: Random,
  words: readonly string[],
  pool: readonly string[],
): string {
  let mutated = input;
  for (let left = 1 + below(random, MOST_MUTATIONS); left > 0; left--)
    mutated = oneOf(random, MUTATIONS)(mutated, random, words, pool);
  return mutated.slice(0, MOST_CHARACTERS);
}
