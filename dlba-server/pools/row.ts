/** How a web server stands with a worker, for the tables. */
import type { WebServerCounters } from "../../conf/messages.ts";
import type { PoolRuntime } from "../engine/runtime.ts";

type Standing = Pick<WebServerCounters, "state" | "reason" | "weight" | "waiting" | "is_up">;

/** An operator's word comes first, then the checks', then what this worker has found out by itself. */
export function standingOf(pool: PoolRuntime, index: number, now_ms: number): Standing {
  const { standing, failure } = pool.servers[index]!;
  const { downUntil_ms, ejectedUntil_ms } = pool.state.servers[index]!;
  const row = (state: WebServerCounters["state"], reason: string, is_up: boolean): Standing => ({
    state,
    reason,
    weight: standing.weight,
    waiting: pool.room?.bound[index]?.count ?? 0,
    is_up,
  });
  if (standing.state === "maint") return row("maint", "", false);
  if (standing.complaint !== null) return row("down", standing.complaint, false);
  if (downUntil_ms !== 0) return row("passed over", failure, false);
  if (ejectedUntil_ms > now_ms) return row("ejected", failure, false);
  return standing.state === "drain" ? row("drain", "", true) : row("up", "", true);
}
