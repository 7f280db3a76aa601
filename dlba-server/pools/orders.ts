/** Has web servers stand as the node's status process says, and as configured where it says nothing. */
import { orderKey, type ServerOrder } from "../../conf/server-orders.ts";
import type { PoolRuntime, WebServer } from "../engine/runtime.ts";
import type { ServerState } from "../choose.ts";

/** Puts all orders into effect at once. Who is back after having been away begins slowly, if the pool says so. */
export function applyOrders(
  pools: readonly PoolRuntime[],
  orders: readonly ServerOrder[],
  now_ms: number,
): void {
  const byKey = new Map(orders.map((order) => [orderKey(order), order]));
  for (const pool of pools) {
    pool.servers.forEach((server, index) =>
      apply(
        server,
        pool.state.servers[index]!,
        byKey.get(orderKey({ pool: pool.name, id: server.id })),
        now_ms,
      ),
    );
  }
}

function apply(server: WebServer, state: ServerState, order: ServerOrder | undefined, now_ms: number): void {
  const { standing, configured } = server;
  standing.state = order?.state ?? configured.state;
  standing.weight = order?.weight ?? configured.weight;
  standing.complaint = order?.complaint ?? null;
  const wasAway = state.isAway;
  state.isAway = standing.state === "maint" || standing.complaint !== null;
  if (wasAway && !state.isAway) state.upSince_ms = now_ms;
  state.weight = standing.state === "drain" ? 0 : standing.weight;
}

/** Those who checked the web servers are gone: what they last said must not keep anybody away. */
export function forgetComplaints(pools: readonly PoolRuntime[], now_ms: number): void {
  for (const pool of pools) {
    pool.servers.forEach(({ standing }, index) => {
      if (standing.complaint === null) return;
      standing.complaint = null;
      const state = pool.state.servers[index]!;
      state.isAway = standing.state === "maint";
      if (!state.isAway) state.upSince_ms = now_ms;
    });
  }
}
