/** What a fuzz target is: something of the proxy that takes bytes, and what must hold for all of them. */

/** Words of 32 bits at random; the same ones again from the same seed. */
export type Random = () => number;
export const below = (random: Random, count: number): number => random() % count;
export const oneOf = <T>(random: Random, things: readonly T[]): T => things[below(random, things.length)]!;

/**
 * An input is text whose char codes are bytes. Where an input is more than bytes (events between them), codes above 255 stand
 * for the rest; such a target has them among its words.
 */
export interface Target {
  readonly name: string;
  /** Inputs between two looks at the coverage, which take a tenth of a second: some tenths' worth. */
  readonly batch: number;
  /** Inputs to begin with. */
  readonly seeds: readonly string[];
  /** What mutations put in, besides bytes at random. */
  readonly words: readonly string[];
  /** A new input, after the grammar. */
  readonly make: (random: Random) => string;
  /** Throws when the input is not treated as it must be. The same input always has the same outcome. */
  readonly check: (input: string) => void;
}
