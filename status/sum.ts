/** Sums over the workers of a node and over the nodes of the array. */
import type {
  NodeStatus,
  PublishedBody,
  VserverCounts,
  WebServerCounters,
  WorkerReport,
} from "../conf/messages.ts";

/** A web server's counters over several workers or nodes, and by how many of these it is held to be up. */
export interface WebServerSum extends WebServerCounters {
  readonly seen_by: number;
  readonly up_for: number;
}

type Totals = { -readonly [Key in keyof WebServerSum]: WebServerSum[Key] };

/** What of a record is added up over workers. The most at once of each may not have been at one time: their sum is a bound. */
type CountKey<Row> = { [Key in keyof Row]: Row[Key] extends number ? Key : never }[keyof Row];
const WEB_SERVER_COUNTS = [
  "hits",
  "open_connections",
  "cookie_groups",
  "connect_failures",
  "response_failures",
  "response_time_sum_us",
  "response_time_count",
  "active_requests",
  "waiting",
  "most_active_requests",
  "bytes_in",
  "bytes_out",
  "connects",
  "reuses",
  "retries",
  "redispatches",
  "client_aborts",
  "server_aborts",
] as const satisfies readonly CountKey<WebServerCounters>[];
const VSERVER_COUNTS = [
  "open_connections",
  "most_open_connections",
  "accepted",
  "requests",
  "bytes_in",
  "bytes_out",
  "own_answers",
  "refused_requests",
  "client_aborts",
  "server_aborts",
] as const satisfies readonly CountKey<VserverCounts>[];

/**
 * Adds up the counters of equal web servers (pool and id), in the order in which they come first. `absent` are rows
 * of who does not see the web server any more: they count, but say nothing of its state.
 */
export function sumWebServers(
  rows: Iterable<WebServerCounters>,
  absent: Iterable<WebServerCounters> = [],
): WebServerSum[] {
  const sums = new Map<string, Totals>();
  for (const row of rows) addRow(sums, row, 1);
  for (const row of absent) addRow(sums, row, 0);
  return [...sums.values()];
}

function addRow(sums: Map<string, Totals>, row: WebServerCounters, seen_by: 0 | 1): void {
  const key = `${row.pool}/${row.id}`;
  const up_for = row.is_up ? seen_by : 0;
  const sum = sums.get(key);
  if (sum === undefined) return void sums.set(key, { ...row, seen_by, up_for });
  if (seen_by === 1 && (sum.seen_by === 0 || (sum.is_up && !row.is_up))) {
    sum.state = row.state;
    sum.reason = row.reason;
    sum.weight = row.weight;
  }
  for (const key of WEB_SERVER_COUNTS) sum[key] += row[key];
  sum.responses = sumClasses(sum.responses, row.responses);
  sum.seen_by += seen_by;
  sum.up_for += up_for;
  sum.is_up = sum.up_for > 0;
}

const sumClasses = (one: readonly number[], other: readonly number[]): number[] =>
  one.map((count, index) => count + (other[index] ?? 0));

/** Adds up the counters of equal vservers, in the order in which they come first. */
export function sumVservers(rows: Iterable<VserverCounts>): VserverCounts[] {
  const sums = new Map<string, { -readonly [Key in keyof VserverCounts]: VserverCounts[Key] }>();
  for (const row of rows) {
    const sum = sums.get(row.name);
    if (sum === undefined) {
      sums.set(row.name, { ...row });
      continue;
    }
    for (const key of VSERVER_COUNTS) sum[key] += row[key];
    sum.responses = sumClasses(sum.responses, row.responses);
  }
  return [...sums.values()];
}

/** The reports of a node's workers among what was published. */
export function workerReports(bodies: readonly PublishedBody[]): WorkerReport[] {
  return bodies.filter((body) => body.kind === "worker");
}

/** The web servers of a node: its workers' rows, and those of workers that are absent. */
export function nodeWebServers(
  workers: readonly WorkerReport[],
  absent: readonly WorkerReport[],
): WebServerSum[] {
  return sumWebServers(webRows(workers), webRows(absent));
}

const webRows = (reports: readonly WorkerReport[]): WebServerCounters[] =>
  reports.flatMap(({ web_servers }) => web_servers);

/** A node's answer to the sweep: what its workers report, and what absent ones had counted, added up. */
export function nodeStatus(
  number: number,
  workers: readonly WorkerReport[],
  absent: readonly WorkerReport[],
): NodeStatus {
  const all = [...workers, ...absent];
  const web_servers = nodeWebServers(workers, absent);
  return {
    number,
    avg_response_time_us: average_us(sumOf(all, "response_time_sum_us"), sumOf(all, "response_time_count")),
    hits: sumOf(all, "requests"),
    open_connections: sumOf(workers, "open_connections"),
    open_by_vserver: Object.fromEntries(sumRecords(workers.map(({ open_by_vserver }) => open_by_vserver))),
    workers: workers.length,
    workers_accepting: workers.filter(({ is_accepting }) => is_accepting).length,
    web_servers: web_servers.map(({ seen_by: _seen, up_for: _up, ...counters }) => counters),
  };
}

/** One counter over all workers. */
export function sumOf(workers: readonly WorkerReport[], field: CountKey<WorkerReport>): number {
  return workers.reduce((sum, worker) => sum + worker[field], 0);
}

/** Average of response times in whole microseconds; null when there was none. */
export function average_us(sum_us: number, count: number): number | null {
  return count === 0 ? null : Math.round(sum_us / count);
}

/** Counters by name over all workers, in the names' order. */
export function sumRecords(records: readonly Readonly<Record<string, number>>[]): [string, number][] {
  const sums = new Map<string, number>();
  for (const record of records) {
    for (const [name, count] of Object.entries(record)) sums.set(name, (sums.get(name) ?? 0) + count);
  }
  return [...sums].sort(([a], [b]) => a.localeCompare(b, "en", { numeric: true }));
}
