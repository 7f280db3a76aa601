/** Where rates of clients are counted: in a file that all workers of a node map, so that it goes on over a reload, too. */
import { closeSync, constants, ftruncateSync, openSync } from "node:fs";
import { join } from "node:path";
import { monotonic_ns } from "../../conf/clock.ts";
import { type ArrayKey, deriveKey } from "../../conf/keys.ts";
import { RATE_TABLE_BYTES } from "../../conf/limits.ts";
import { mapShared } from "../../net/ffi.ts";
import { createRateTable, takeFromRate, type RateTable } from "../rules/rate-table.ts";
import type { Exchange, VserverRuntime, Worker } from "./runtime.ts";

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
  const memory = runDir === undefined ? new ArrayBuffer(RATE_TABLE_BYTES) : sharedMemory(runDir);
  return createRateTable(memory, new Uint8Array(deriveKey(arrayKey, "rates", 16)));
}

/** The mapping stays when its file is closed, as long as the process lives. */
function sharedMemory(runDir: string): ArrayBuffer {
  const fd = openSync(join(runDir, "rates"), constants.O_RDWR | constants.O_CREAT, 0o600);
  try {
    ftruncateSync(fd, RATE_TABLE_BYTES);
    return mapShared(fd, RATE_TABLE_BYTES).buffer;
  } finally {
    closeSync(fd);
  }
}

/** This process' clock counts from its start, the workers' common one from the machine's. */
const SHARED_CLOCK_AHEAD_MS = monotonic_ns() / 1e6 - performance.now();

/** Counts a request for the limit of one of its vserver's rules: 0, or the ms until the client may ask again. */
export function takeFromLimit(worker: Worker, { client }: Exchange, rule: number): number {
  const { rules, clientIp } = client.env;
  const limit = rules?.list[rule]?.rateLimit;
  if (limit === undefined || clientIp === undefined || worker.rateTable === undefined) return 0;
  return takeFromRate(worker.rateTable, limit, clientIp, worker.now_ms + SHARED_CLOCK_AHEAD_MS);
}
