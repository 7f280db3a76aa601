/** How fast something grows that a collector of garbage makes jump up and down. Pure. */

export interface Sample {
  readonly at_s: number;
  readonly value: number;
}

/**
 * The slope per second of the lowest values: of each window of `window_s` the lowest, and of all pairs of these the median of
 * their slopes (Theil and Sen), which a few odd ones don't bend.
 */
export function lowerSlope(samples: readonly Sample[], window_s: number): number {
  const lowest = new Map<number, Sample>();
  for (const sample of samples) {
    const window = Math.floor(sample.at_s / window_s);
    const known = lowest.get(window);
    if (known === undefined || sample.value < known.value) lowest.set(window, sample);
  }
  const points = [...lowest.values()];
  const slopes = points
    .flatMap((a, i) => points.slice(i + 1).map((b) => (b.value - a.value) / (b.at_s - a.at_s)))
    .toSorted((a, b) => a - b);
  return slopes.length === 0 ? 0 : slopes[Math.floor(slopes.length / 2)]!;
}

export function percentile(values: readonly number[], part: number): number {
  const sorted = values.toSorted((a, b) => a - b);
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * part))] ?? 0;
}
