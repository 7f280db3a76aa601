/**
 * What workers had counted that answer no more: they ended, or are silent just now. Without it the sums of a node
 * would fall whenever a worker is started again, and a balance by hits would see fewer hits than before. Bounded:
 * some reports for each worker number (after reloads several generations live for a while) and one sum of all
 * older ones.
 */
import { MAX_RETIRING } from "../conf/limits.ts";
import type { Hello, WebServerCounters, WorkerReport } from "../conf/messages.ts";
import type { Published } from "./info.ts";
import { sumOf, sumRecords, sumVservers, sumWebServers } from "./sum.ts";

export interface WorkerHistory {
  /** Takes in what a worker answered. */
  readonly note: (hello: Hello, report: WorkerReport) => void;
  /** The last counters of all who are not among these answers; gauges are 0, nobody accepts. */
  readonly absent: (published: readonly Published[]) => WorkerReport[];
}

interface Generation {
  readonly pid: number;
  /** Without its gauges. */
  readonly counted: WorkerReport;
}
const GENERATIONS = MAX_RETIRING + 2;

/** A history that knows of nobody yet. */
export function workerHistory(): WorkerHistory {
  const known = new Map<number, readonly Generation[]>();
  let older: WorkerReport | undefined;
  return {
    note: ({ worker, pid }, report) => {
      const counted = withoutGauges(report);
      const others = (known.get(worker) ?? []).filter((generation) => generation.pid !== pid);
      // Who has not answered for the longest time is in front.
      const forgotten = others.length < GENERATIONS ? undefined : others[0];
      if (forgotten !== undefined) older = addOlder(older, forgotten.counted, counted.web_servers);
      known.set(worker, [...others.slice(forgotten === undefined ? 0 : 1), { pid, counted }]);
    },
    absent: (published) => {
      const answered = new Set(published.flatMap(({ hello, body }) => (body === null ? [] : hello.pid)));
      const all = [...known.values()].flat().filter(({ pid }) => !answered.has(pid));
      return [...all.map(({ counted }) => counted), ...(older === undefined ? [] : [older])];
    },
  };
}

function withoutGauges(report: WorkerReport): WorkerReport {
  return {
    ...report,
    web_servers: report.web_servers.map((row) =>
      Object.assign({}, row, { open_connections: 0, active_requests: 0, waiting: 0, is_up: false }),
    ),
    vservers: report.vservers.map((row) => Object.assign({}, row, { open_connections: 0 })),
    is_accepting: false,
    open_connections: 0,
    open_tunnels: 0,
    requests_waiting: 0,
    open_by_vserver: {},
    memory_bytes: 0,
  };
}

/** Web servers that workers no longer have are left out, so that the sum stays as small as one report. */
function addOlder(
  older: WorkerReport | undefined,
  report: WorkerReport,
  current: readonly WebServerCounters[],
): WorkerReport {
  const both = older === undefined ? [report] : [older, report];
  const isCurrent = new Set(current.map(({ pool, id }) => `${pool}/${id}`));
  const rows = both.flatMap(({ web_servers }) => web_servers);
  return {
    ...report,
    web_servers: sumWebServers(rows.filter(({ pool, id }) => isCurrent.has(`${pool}/${id}`))),
    vservers: sumVservers(both.flatMap(({ vservers }) => vservers)),
    accepted: sumOf(both, "accepted"),
    requests: sumOf(both, "requests"),
    proxy_failures: sumOf(both, "proxy_failures"),
    log_lines_dropped: sumOf(both, "log_lines_dropped"),
    responses: Object.fromEntries(sumRecords(both.map(({ responses }) => responses))),
    own_answers: Object.fromEntries(sumRecords(both.map(({ own_answers }) => own_answers))),
    tunnels: sumOf(both, "tunnels"),
    tls_handshakes: sumOf(both, "tls_handshakes"),
    tls_resumed: sumOf(both, "tls_resumed"),
    tls_failures: sumOf(both, "tls_failures"),
    response_time_sum_us: sumOf(both, "response_time_sum_us"),
    response_time_count: sumOf(both, "response_time_count"),
  };
}
