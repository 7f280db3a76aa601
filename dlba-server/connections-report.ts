/** A worker's client connections for `show sess`: a bounded number of them, the oldest first. */
import { SESSIONS_PER_WORKER } from "../conf/limits.ts";
import type { ConnectionRow, ConnectionsReport } from "../conf/messages.ts";
import type { ClientConnection, Worker } from "./engine/runtime.ts";
import { PHASE } from "./session-port.ts";

const PHASE_NAMES = Object.keys(PHASE);

/** Walks no further than the bound, however many connections there are. */
export function connectionsReport(worker: Worker): ConnectionsReport {
  const connections: ConnectionRow[] = [];
  for (const client of worker.clients) {
    if (connections.length === SESSIONS_PER_WORKER) break;
    connections.push(rowOf(client, worker.now_ms));
  }
  return { kind: "connections", total: worker.clients.size, connections };
}

function rowOf(
  { vserver, env, stream, isHandshaking, isClosing, exchange, mux }: ClientConnection,
  now_ms: number,
) {
  const { server, session, phaseStart_ms, lastInput_ms } = exchange;
  // Each stream of HTTP/2 has an exchange of its own.
  const spoken = mux === undefined ? PHASE_NAMES[session.phase]! : "http2";
  const phase = isHandshaking ? "handshake" : isClosing ? "closing" : spoken;
  return {
    vserver: vserver.name,
    client: env.clientAddress,
    client_port: env.clientPort,
    is_tls: stream.isTls,
    phase,
    phase_ms: Math.round(now_ms - phaseStart_ms),
    silent_ms: Math.round(now_ms - lastInput_ms),
    pool: server?.pool.name ?? null,
    web_server: server?.pool.servers[server.index]?.id ?? null,
    pending_bytes: stream.pending_bytes,
  };
}
