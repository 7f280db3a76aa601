/** The search: inputs by grammar and by mutation, those that reach new code kept and mutated further. */
import { describeError } from "../../conf/errors.ts";
import { randomWords } from "../../conf/random.ts";
import type { Coverage } from "./coverage.ts";
import { mutate } from "./mutate.ts";
import { shrink } from "./shrink.ts";
import { below, oneOf, type Random, type Target } from "./target.ts";

/** To find out which inputs of a batch reached new code takes a tenth of a second for each half that is looked at. */
const MOST_KEPT_OF_BATCH = 3;

export interface Finding {
  readonly target: string;
  readonly input: string;
  readonly reason: string;
}

/** The search for one target, which goes on from batch to batch. */
export interface Search {
  readonly target: Target;
  readonly random: Random;
  /** Inputs worth mutating: the seeds, and those that reached new code. */
  readonly pool: string[];
  /** The pieces of code that have run. */
  readonly known: Set<string>;
  runs: number;
}

export function startSearch(target: Target, seed: number): Search {
  // Targets draw different inputs from one seed.
  const own = Buffer.from(target.name).reduce((sum, byte) => Math.imul(sum, 31) + byte, seed);
  return { target, random: randomWords(own), pool: [...target.seeds], known: new Set(), runs: 0 };
}

/** Why an input fails, or undefined. */
export function failureOf(target: Target, input: string): string | undefined {
  try {
    target.check(input);
    return undefined;
  } catch (error) {
    return describeError(error);
  }
}

/** The seeds themselves: those that come first, once. */
function nextInput(search: Search): string {
  const { target, random, pool, runs } = search;
  if (runs < target.seeds.length) return target.seeds[runs]!;
  if (below(random, 6) === 0) return target.make(random);
  const base = below(random, 6) === 0 ? target.make(random) : oneOf(random, pool);
  return mutate(base, random, target.words, pool);
}

/** Tries a batch of inputs. The first that fails ends it, and is made as short as can be. */
export function searchOn(search: Search, coverage: Coverage | undefined): Finding | undefined {
  const { target } = search;
  const isFirst = search.runs === 0;
  const inputs = Array.from({ length: isFirst ? target.seeds.length : target.batch }, () => {
    const input = nextInput(search);
    search.runs++;
    return input;
  });
  const failing = inputs.find((input) => failureOf(target, input) !== undefined);
  if (failing !== undefined) {
    const smallest = shrink(failing, (candidate) => failureOf(target, candidate) !== undefined);
    return { target: target.name, input: smallest, reason: failureOf(target, smallest)! };
  }
  if (coverage !== undefined) learn(search, isFirst ? [] : inputs, coverage);
  return undefined;
}

/** Keeps some of the inputs that reached new code. */
function learn(search: Search, inputs: readonly string[], coverage: Coverage): void {
  const ran = coverage.take();
  if (ran.isSubsetOf(search.known)) return;
  keepNew(search, inputs, coverage, search.pool.length + MOST_KEPT_OF_BATCH);
  for (const piece of ran) search.known.add(piece);
}

/** Runs inputs again, half by half, to see which of them reach new code; those are kept. */
function keepNew(search: Search, inputs: readonly string[], coverage: Coverage, most: number): void {
  const { target, known, pool } = search;
  if (inputs.length === 0 || pool.length >= most) return;
  for (const input of inputs) failureOf(target, input);
  const ran = coverage.take();
  if (ran.isSubsetOf(known)) return;
  if (inputs.length > 1) {
    const half = inputs.length >> 1;
    keepNew(search, inputs.slice(0, half), coverage, most);
    keepNew(search, inputs.slice(half), coverage, most);
    return;
  }
  for (const piece of ran) known.add(piece);
  pool.push(inputs[0]!);
}

/** The finding as a line for the table of fuzz.test.ts. */
export const asTest = ({ target, input }: Finding): string =>
  `  ["${target}", ${JSON.stringify(input).replaceAll(
    /[\u007f-\uffff]/g,
    (letter) => `\\u${letter.charCodeAt(0).toString(16).padStart(4, "0")}`,
  )}],`;
