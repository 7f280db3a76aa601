/**
 * What a node holds to be true of its web servers beyond the configuration: what operators have said, and what the health
 * checks have found. Pure: what is said comes in, the orders for the workers come out.
 */
import { COMPLAINT_CHARACTERS } from "../conf/limits.ts";
import { orderKey, type Override, type ServerCommand, type ServerOrder } from "../conf/server-orders.ts";
import type { Config } from "../conf/schema.ts";

export interface OrderBook {
  readonly overrides: Map<string, Override>;
  /** Why the checks hold a web server to be down, by its key; who is not in it is well, or is not checked. */
  readonly complaints: Map<string, string>;
}

export const createOrderBook = (overrides: readonly Override[]): OrderBook => ({
  overrides: new Map(overrides.map((override) => [orderKey(override), override])),
  complaints: new Map(),
});

/**
 * Takes in what an operator says here, now. What is as configured anyway is noted as null, so that a later
 * configuration counts. A clock that is behind that of another node makes nothing look older than it is.
 */
export function commandOverride(
  book: OrderBook,
  config: Config,
  { pool, id, state, weight }: ServerCommand,
  now_ms: number,
): Override {
  const server = config.pools.find(({ name }) => name === pool)?.servers.find((each) => each.id === id);
  const before = book.overrides.get(orderKey({ pool, id }));
  return {
    pool,
    id,
    state: said(state, before?.state, server?.state ?? "ready"),
    weight: said(weight, before?.weight, server?.weight),
    at_ms: Math.max(now_ms, (before?.at_ms ?? 0) + 1),
  };
}

/** What stands after something was said: what is configured anyway is null. */
function said<T>(value: T | undefined, standing: T | null | undefined, configured: T | undefined): T | null {
  if (value === undefined) return standing ?? null;
  return value === configured ? null : value;
}

/** Takes in what was said somewhere; false when something later is known already. */
export function noteOverride({ overrides }: OrderBook, override: Override): boolean {
  const key = orderKey(override);
  const before = overrides.get(key);
  if (before !== undefined && before.at_ms >= override.at_ms) return false;
  overrides.set(key, override);
  return true;
}

/** Takes in what a health check has found; an empty reason: it is well. */
export function noteHealth({ complaints }: OrderBook, pool: string, id: string, reason: string): void {
  const key = orderKey({ pool, id });
  if (reason === "") complaints.delete(key);
  else complaints.set(key, reason.slice(0, COMPLAINT_CHARACTERS));
}

/** What the workers have to know: the web servers that are not just as configured. */
export function ordersOf({ overrides, complaints }: OrderBook): ServerOrder[] {
  const keys = new Set([...overrides.keys(), ...complaints.keys()]);
  return [...keys].flatMap((key): ServerOrder[] => {
    const [pool = "", id = ""] = key.split("/");
    const { state = null, weight = null } = overrides.get(key) ?? {};
    const complaint = complaints.get(key) ?? null;
    return state === null && weight === null && complaint === null
      ? []
      : [{ pool, id, state, weight, complaint }];
  });
}
