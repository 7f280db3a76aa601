/** `show sess`: the client connections of this node's workers, a bounded number of each; HAProxy's form where it has one. Pure. */
import type { ConnectionRow, ConnectionsReport } from "../conf/messages.ts";
import { gridCsv, gridRecord, type Column, type Format } from "./grid.ts";

/** A worker's connections, with whose they are. */
export interface WorkerConnections extends ConnectionsReport {
  readonly worker: number;
  readonly pid: number;
}
interface Row extends ConnectionRow {
  readonly worker: number;
  readonly pid: number;
}

const COLUMNS: readonly Column<Row>[] = [
  { title: "Worker", key: "worker", of: ({ worker }) => worker },
  { title: "Pid", key: "pid", of: ({ pid }) => pid },
  { title: "Vserver", key: "vserver", of: ({ vserver }) => vserver },
  { title: "Client", key: "client", of: ({ client }) => client },
  { title: "Client Port", key: "client_port", of: ({ client_port }) => client_port },
  { title: "TLS", key: "is_tls", of: ({ is_tls }) => is_tls },
  { title: "Phase", key: "phase", of: ({ phase }) => phase },
  { title: "Phase ms", key: "phase_ms", of: ({ phase_ms }) => phase_ms },
  { title: "Silent ms", key: "silent_ms", of: ({ silent_ms }) => silent_ms },
  { title: "Pool", key: "pool", of: ({ pool }) => pool },
  { title: "Web Server", key: "web_server", of: ({ web_server }) => web_server },
  { title: "Bytes Waiting", key: "pending_bytes", of: ({ pending_bytes }) => pending_bytes },
];

/** The connections that the workers have told of, in pieces. */
export function* sessionsTable(reports: readonly WorkerConnections[], format: Format): Generator<string> {
  const total = reports.reduce((sum, report) => sum + report.total, 0);
  if (format === "json") {
    const connections = reports.flatMap(rowsOf).map((row) => gridRecord(COLUMNS, row));
    yield `${JSON.stringify({ total, connections })}\n`;
  } else if (format === "csv") yield gridCsv(COLUMNS, reports.flatMap(rowsOf));
  else {
    for (const report of reports) yield rowsOf(report).map(line).join("");
    const shown = reports.reduce((sum, { connections }) => sum + connections.length, 0);
    yield `# ${shown} of ${total} connections\n`;
  }
}

const rowsOf = ({ worker, pid, connections }: WorkerConnections): Row[] =>
  connections.map((row) => Object.assign({ worker, pid }, row));

/** `1234.7: proto=tcpv4 src=192.0.2.7:40000 fe=shop be=app srv=web1 phase=responseHead age=1s idle=0s tls=1` */
function line(row: Row, index: number): string {
  const family = row.client.includes(":") ? "tcpv6" : "tcpv4";
  const source =
    family === "tcpv6" ? `[${row.client}]:${row.client_port}` : `${row.client}:${row.client_port}`;
  const to = `fe=${row.vserver} be=${row.pool ?? "<NONE>"} srv=${row.web_server ?? "<none>"}`;
  const times = `age=${seconds(row.phase_ms)} idle=${seconds(row.silent_ms)}`;
  const tls = row.is_tls ? " tls=1" : "";
  return `${row.pid}.${index}: proto=${family} src=${source} ${to} phase=${row.phase} ${times} pending=${row.pending_bytes}${tls}\n`;
}

const seconds = (time_ms: number): string => `${Math.floor(time_ms / 1000)}s`;
