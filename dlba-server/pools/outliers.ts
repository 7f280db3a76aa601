/**
 * Web servers that can be connected and answer badly: found by what their responses say, and left out for a while, longer
 * each time (as Envoy's outlier detection). Pure: outcomes and times in, verdicts out.
 */
export interface OutlierSettings {
  /** Failures in a row that eject; 0: none do. */
  readonly consecutive: number;
  /** Percent of a window's responses that eject, if there are enough of them; 0: none do. */
  readonly percent: number;
  readonly least_requests: number;
  readonly window_ms: number;
  /** The first ejection's length; each further one is as much longer. */
  readonly eject_ms: number;
  readonly eject_most_ms: number;
  /** Percent of the pool's web servers that may be ejected at a time. */
  readonly pool_percent: number;
}

export interface Outlier {
  /** Left out until then; 0: never was. */
  ejectedUntil_ms: number;
  /** How many times its next ejection is longer than the first, less one. */
  ejections: number;
  /** Failures in a row. */
  row: number;
  windowStart_ms: number;
  responses: number;
  failures: number;
}

export const createOutlier = (now_ms: number): Outlier => ({
  ejectedUntil_ms: 0,
  ejections: 0,
  row: 0,
  windowStart_ms: now_ms,
  responses: 0,
  failures: 0,
});

/**
 * Takes in how a request to web server `index` has ended. Returns why it is ejected now, for people; "" when it isn't.
 * Outcomes of requests that were under way when it was ejected count for nothing.
 */
export function noteOutcome(
  outliers: readonly Outlier[],
  settings: OutlierSettings,
  index: number,
  hasFailed: boolean,
  now_ms: number,
): string {
  const outlier = outliers[index]!;
  if (outlier.ejectedUntil_ms > now_ms) return "";
  if (now_ms - outlier.windowStart_ms >= settings.window_ms) startWindow(outlier, settings, now_ms);
  outlier.responses++;
  if (!hasFailed) {
    outlier.row = 0;
    return "";
  }
  outlier.row++;
  outlier.failures++;
  const reason = complaint(outlier, settings);
  if (reason === "" || !mayEject(outliers, settings, now_ms)) return "";
  eject(outlier, settings, now_ms);
  return reason;
}

function complaint({ row, failures, responses }: Outlier, settings: OutlierSettings): string {
  const { consecutive, percent, least_requests } = settings;
  if (consecutive > 0 && row >= consecutive) return `${row} failures in a row`;
  const isShare = percent > 0 && responses >= least_requests && failures * 100 >= percent * responses;
  return isShare ? `${failures} of ${responses} requests have failed` : "";
}

/** A share of the pool has to stay, whatever it answers. */
function mayEject(outliers: readonly Outlier[], { pool_percent }: OutlierSettings, now_ms: number): boolean {
  let ejected = 1;
  for (const { ejectedUntil_ms } of outliers) if (ejectedUntil_ms > now_ms) ejected++;
  return ejected * 100 <= pool_percent * outliers.length;
}

function eject(outlier: Outlier, { eject_ms, eject_most_ms }: OutlierSettings, now_ms: number): void {
  outlier.ejections++;
  outlier.ejectedUntil_ms = now_ms + Math.min(eject_ms * outlier.ejections, eject_most_ms);
  outlier.windowStart_ms = outlier.ejectedUntil_ms;
  outlier.row = 0;
  outlier.responses = 0;
  outlier.failures = 0;
}

/** Each window in which it was not ejected takes one off the length of its next ejection. */
function startWindow(outlier: Outlier, { window_ms }: OutlierSettings, now_ms: number): void {
  const windows = Math.floor((now_ms - outlier.windowStart_ms) / window_ms);
  outlier.ejections = Math.max(0, outlier.ejections - windows);
  outlier.windowStart_ms = now_ms;
  outlier.responses = 0;
  outlier.failures = 0;
}
