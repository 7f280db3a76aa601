/** A worker's rows for the tables. */
import type { VserverCounts, WebServerCounters, WorkerReport } from "../conf/messages.ts";
import type { PoolRuntime, Worker } from "./engine/runtime.ts";
import { standingOf } from "./pools/row.ts";

/** All of a worker's rows. A worker publishes only after it listens, so it accepts until it drains. */
export function workerReport(worker: Worker): WorkerReport {
  const { counters } = worker;
  return {
    kind: "worker",
    web_servers: worker.pools.flatMap((pool) => webServerRows(pool, worker.now_ms)),
    vservers: vserverRows(worker),
    is_accepting: !worker.isDraining,
    open_connections: worker.clients.size,
    open_by_vserver: openByVserver(worker),
    accepted: counters.accepted,
    requests: counters.requests,
    requests_waiting: worker.waitingPools.reduce((sum, { room }) => sum + (room?.count ?? 0), 0),
    responses: Object.fromEntries(counters.responses.map((count, index) => [`${index}xx`, count]).slice(1)),
    own_answers: Object.fromEntries(counters.own_answers),
    tunnels: counters.tunnels,
    open_tunnels: counters.open_tunnels,
    tls_handshakes: counters.tls_handshakes,
    tls_resumed: counters.tls_resumed,
    tls_failures: counters.tls_failures,
    proxy_failures: counters.proxy_failures,
    response_time_sum_us: Math.round(counters.response_time_sum_us),
    response_time_count: counters.response_time_count,
    log_lines_dropped: worker.accessLog?.dropped() ?? 0,
    memory_bytes: process.memoryUsage.rss(),
  };
}

/** Vservers without a connection are left out: there may be a thousand. */
function openByVserver({ vservers }: Worker): Record<string, number> {
  const open = [...vservers].filter(({ openConnections }) => openConnections > 0);
  return Object.fromEntries(open.map(({ name, openConnections }) => [name, openConnections]));
}

/** The like: who has never had a client is left out. */
function vserverRows({ vservers }: Worker): VserverCounts[] {
  const used = [...vservers].filter(({ counters }) => counters.accepted > 0);
  return used.map(({ name, openConnections, counters }) =>
    Object.assign({ name, open_connections: openConnections }, counters),
  );
}

function webServerRows(pool: PoolRuntime, now_ms: number): WebServerCounters[] {
  return pool.servers.map((server, index) => ({
    pool: pool.name,
    id: server.id,
    address: server.address.text,
    port: server.port,
    ...server.counters,
    response_time_sum_us: Math.round(server.counters.response_time_sum_us),
    active_requests: pool.state.servers[index]!.load,
    ...standingOf(pool, index, now_ms),
  }));
}
