/** Where rates of clients are counted: in a file that all workers of a node map, so that it goes on over a reload, too. */
import { type ArrayKey, deriveKey } from "../../conf/keys.ts";
import { RATE_TABLE_BYTES } from "../../conf/limits.ts";
import { createRateTable, takeFromRate, type RateTable } from "../rules/rate-table.ts";
import type { Exchange, VserverRuntime, Worker } from "./runtime.ts";
import { SHARED_CLOCK_AHEAD_MS, sharedMemory } from "./shared-memory.ts";

/** Opens the table if a vserver has limits; nobody shares it without a directory. */
export function openRateTable(
  vservers: readonly VserverRuntime[],
  arrayKey: ArrayKey,
  runDir: string | undefined,
): RateTable | undefined {
  const isNeeded = vservers.some(({ env }) =>
    env.rules?.list.some(({ rateLimit }) => rateLimit !== undefined),
  );
  if (!isNeeded) return undefined;
  const memory =
    runDir === undefined
      ? new ArrayBuffer(RATE_TABLE_BYTES)
      : sharedMemory(runDir, "rates", RATE_TABLE_BYTES);
  return createRateTable(memory, new Uint8Array(deriveKey(arrayKey, "rates", 16)));
}

/** Counts a request for the limit of one of its vserver's rules: 0, or the ms until the client may ask again. */
export function takeFromLimit(worker: Worker, { client }: Exchange, rule: number): number {
  const { rules, clientIp } = client.env;
  const limit = rules?.list[rule]?.rateLimit;
  if (limit === undefined || clientIp === undefined || worker.rateTable === undefined) return 0;
  return takeFromRate(worker.rateTable, limit, clientIp, worker.now_ms + SHARED_CLOCK_AHEAD_MS);
}
