/**
 * How often a pool's requests may be sent a second time: a share of all requests, and a few a second whatever there is.
 * When all web servers fail, retries can so not multiply what they get. Pure.
 *
 * A bucket of tokens, filled when somebody wants one: requests cost nothing.
 */
import { RETRY_BUDGET_MEMORY_S } from "../../conf/limits.ts";

export interface RetryBudget {
  /** Retries per request, and those a second that are always allowed. */
  readonly share: number;
  readonly least_per_second: number;
  tokens: number;
  requests: number;
  filled_ms: number;
}

/** A budget that has saved up nothing but its least. */
export const createRetryBudget = (
  percent: number,
  least_per_second: number,
  now_ms: number,
): RetryBudget => ({
  share: percent / 100,
  least_per_second,
  tokens: least_per_second,
  requests: 0,
  filled_ms: now_ms,
});

/** Takes a retry out of the budget; false when there is none left. `requests` counts the pool's so far. */
export function takeRetry(budget: RetryBudget, requests: number, now_ms: number): boolean {
  const { share, least_per_second } = budget;
  const passed_s = Math.max(0, now_ms - budget.filled_ms) / 1000;
  const came = Math.max(0, requests - budget.requests);
  // What was saved up is forgotten by and by, so that quiet hours don't pay for a storm.
  const kept = Math.max(0, 1 - passed_s / RETRY_BUDGET_MEMORY_S);
  const recent = passed_s <= RETRY_BUDGET_MEMORY_S ? 1 : RETRY_BUDGET_MEMORY_S / passed_s;
  const earned = came * recent * share + Math.min(passed_s, RETRY_BUDGET_MEMORY_S) * least_per_second;
  budget.tokens = budget.tokens * kept + earned;
  budget.requests = requests;
  budget.filled_ms = now_ms;
  if (budget.tokens < 1) return false;
  budget.tokens--;
  return true;
}
