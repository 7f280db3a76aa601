/** Traffic per second, out of totals that are read once a second. */
import type { TrafficCount } from "../conf/messages.ts";
import type { TrafficRows } from "./plane/shared-maps.ts";

export interface TrafficRates {
  take(totals: TrafficRows, now_ms: number): void;
  total(row: number): TrafficCount;
  perSecond(row: number): TrafficCount;
}

function countOf(value: (key: keyof TrafficRows) => number): TrafficCount {
  return { connections: value("connections"), packets: value("packets"), bytes: value("bytes") };
}

/** Nothing is known before the second reading. */
export function createTrafficRates(): TrafficRates {
  let former: TrafficRows | undefined;
  let latest: TrafficRows | undefined;
  let former_ms = 0;
  let latest_ms = 0;
  return {
    take: (totals, now_ms) => {
      [former, former_ms] = [latest, latest_ms];
      [latest, latest_ms] = [totals, now_ms];
    },
    total: (row) => countOf((key) => latest?.[key][row] ?? 0),
    perSecond: (row) =>
      countOf((key) => {
        const passed_s = (latest_ms - former_ms) / 1000;
        if (former === undefined || latest === undefined || passed_s <= 0) return 0;
        return Math.max(0, ((latest[key][row] ?? 0) - (former[key][row] ?? 0)) / passed_s);
      }),
  };
}
