/** When a request is given to another web server after the first one had it, and has failed at it. */
import type { PoolConfig } from "../../conf/schema.ts";

/** What a pool does whose configuration says nothing of it. */
export const USUAL_RETRIES = {
  most: 2,
  on: ["closed"] as const,
  budget_percent: 20,
  budget_least_per_second: 10,
};

export interface RetryRules {
  /** For one request. */
  readonly most: number;
  readonly afterClose: boolean;
  readonly afterTimeout: boolean;
  readonly statuses: readonly number[];
}

export function retryRules({ retries }: { readonly retries?: PoolConfig["retries"] }): RetryRules {
  const { most, on } = retries ?? USUAL_RETRIES;
  return {
    most,
    afterClose: on.some((each) => each === "closed"),
    afterTimeout: on.some((each) => each === "timeout"),
    statuses: on.map(Number).filter((status) => !Number.isNaN(status)),
  };
}
