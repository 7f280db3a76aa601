/** Takes in how requests have ended, and leaves out web servers that answer badly. */
import { noteOutcome } from "../pools/outliers.ts";
import type { PoolRuntime, Worker } from "./runtime.ts";

/** How a request to a web server has ended; nothing is done where the pool has no `outliers`. */
export function watchOutcome(worker: Worker, pool: PoolRuntime, index: number, hasFailed: boolean): void {
  const { outliers } = pool;
  if (outliers === undefined) return;
  const reason = noteOutcome(outliers.servers, outliers.settings, index, hasFailed, worker.now_ms);
  if (reason === "") return;
  const { ejectedUntil_ms } = outliers.servers[index]!;
  const state = pool.state.servers[index]!;
  state.ejectedUntil_ms = ejectedUntil_ms;
  // It begins slowly then, if the pool says so.
  state.upSince_ms = ejectedUntil_ms;
  const server = pool.servers[index]!;
  server.failure = reason;
  const for_ms = Math.round(ejectedUntil_ms - worker.now_ms);
  worker.log.warn({ pool: pool.name, web_server: server.id, reason, for_ms }, "web server left out");
}
