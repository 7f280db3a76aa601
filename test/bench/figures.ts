/** What every benchmark does with its figures: medians, spread, the bars they are held against. */
import { readFileSync } from "node:fs";

export interface Summary {
  readonly median: number;
  readonly least: number;
  readonly most: number;
}

export function summarise(samples: readonly number[]): Summary {
  const sorted = [...samples].sort((a, b) => a - b);
  const middle = sorted.length >> 1;
  const median = sorted.length % 2 === 1 ? sorted[middle]! : (sorted[middle - 1]! + sorted[middle]!) / 2;
  return { median, least: sorted[0]!, most: sorted.at(-1)! };
}

/** `name_min` bars are the least a figure may be, `name_max` the most. */
export type Bars = Readonly<Record<string, number>>;

export function readBars(prefix: string): Bars {
  const all: Record<string, number> = JSON.parse(readFileSync(new URL("bars.json", import.meta.url), "utf8"));
  return Object.fromEntries(Object.entries(all).filter(([name]) => name.startsWith(`${prefix}.`)));
}

/** One line for each bar that is missed, or whose figure was not measured. */
export function missedBars(figures: Readonly<Record<string, number>>, bars: Bars): string[] {
  return Object.entries(bars).flatMap(([bar, limit]) => {
    const isLeast = bar.endsWith("_min");
    const name = bar.replace(/_(min|max)$/, "");
    const figure = figures[name];
    if (figure === undefined)
      return [`${name}: not measured (bar: ${isLeast ? "at least" : "at most"} ${limit})`];
    const isMet = isLeast ? figure >= limit : figure <= limit;
    return isMet
      ? []
      : [`${name}: ${figure.toFixed(2)} falls short of ${isLeast ? "at least" : "at most"} ${limit}`];
  });
}

/** Prints the figures as asked for, checks the bars as asked for, and returns the exit code. */
export function conclude(
  prefix: string,
  result: { readonly figures: Readonly<Record<string, number>> },
  table: () => string,
): number {
  const missed = missedBars(result.figures, readBars(prefix));
  const isCheck = process.argv.includes("--check");
  if (process.argv.includes("--json")) console.log(JSON.stringify({ ...result, missed }, undefined, 2));
  else console.log(table());
  if (!isCheck) return 0;
  for (const line of missed) console.error(`below the bar: ${line}`);
  if (missed.length === 0) console.error("all bars are met");
  return missed.length === 0 ? 0 : 1;
}
