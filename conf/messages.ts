/**
 * What the processes of a node tell each other, and nodes one another. A daemon publishes: it connects to the
 * status process and answers each question with its rows, so a table is always as fresh as the question.
 * One JSON object per line both ways.
 */

/** The names of a node's processes. */
export const PROCESS_NAMES = ["scheduler", "failover", "dlba-server", "status"] as const;
export type ProcessName = (typeof PROCESS_NAMES)[number];

/** First line from a publisher. `worker` counts from 0; it is 0 for the processes that exist once. */
export interface Hello {
  readonly process: ProcessName;
  readonly worker: number;
  readonly pid: number;
}

/** What can be asked of a publisher. `buckets` is only asked when someone wants the table: it is large. */
export type Topic = "rows" | "buckets";
export interface Question {
  readonly id: number;
  readonly topic: Topic;
}
export interface Answer {
  readonly id: number;
  readonly body: PublishedBody;
}
export type PublishedBody = WorkerReport | SchedulerReport | FailoverReport | BucketsReport;

/** Counters of one web server as one worker sees it. Times in microseconds. */
export interface WebServerCounters {
  readonly pool: string;
  readonly id: string;
  readonly address: string;
  readonly port: number;
  readonly hits: number;
  readonly open_connections: number;
  readonly cookie_groups: number;
  readonly connect_failures: number;
  readonly response_failures: number;
  /** Sum and count of response times (request sent to response head read). */
  readonly response_time_sum_us: number;
  readonly response_time_count: number;
  /** False while it is passed over because it could not be connected. */
  readonly is_up: boolean;
}

/** From a dlba-server worker. */
export interface WorkerReport {
  readonly kind: "worker";
  readonly web_servers: readonly WebServerCounters[];
  readonly open_connections: number;
  readonly accepted: number;
  readonly requests: number;
  /** Client-side answers by status class and those that the proxy made itself, by status. */
  readonly responses: Readonly<Record<string, number>>;
  readonly own_answers: Readonly<Record<string, number>>;
  readonly tls_handshakes: number;
  readonly tls_resumed: number;
  readonly tls_failures: number;
  /** Sum and count of response times over all web servers. */
  readonly response_time_sum_us: number;
  readonly response_time_count: number;
  readonly memory_bytes: number;
}

/** One row of the DLBA Server Status Table, as the scheduler holds it. */
export interface NodeRow {
  readonly number: number;
  readonly name: string;
  readonly mac: string | null;
  readonly ip_groups: number;
  readonly avg_response_time_us: number | null;
  readonly hits: number | null;
  readonly open_connections: number | null;
  readonly failed: boolean;
  readonly address: string;
  readonly enabled: boolean;
  readonly weight: number;
}

/** From the scheduler process. */
export interface SchedulerReport {
  readonly kind: "scheduler";
  readonly nodes: readonly NodeRow[];
  /** The sweep's last end (Unix time, ms; null before the first or on a node that does not sweep) and length. */
  readonly last_sweep_at_ms: number | null;
  readonly last_sweep_took_ms: number | null;
  /** Every node's web server rows as the last sweep brought them, keyed by node number. */
  readonly web_servers_by_node: Readonly<Record<string, readonly WebServerCounters[]>>;
  readonly xdp_mode: "native" | "generic";
  readonly interface: string;
  readonly table_size: number;
  readonly buckets_assigned: number;
  /** Counters of the XDP program by reason, and packets sent to each node (by node number). */
  readonly counters: Readonly<Record<string, number>>;
  readonly packets_to_node: Readonly<Record<string, number>>;
}

/** From the failover process. */
export interface FailoverReport {
  readonly kind: "failover";
  readonly is_scheduler: boolean;
  readonly scheduler_number: number;
  readonly lease_renewals: number;
  readonly announcements: number;
}

/** The Client IP Hash Table: base64 of the owners (one byte each, 255 for nobody) and of little-endian u32 seconds since the last access. */
export interface BucketsReport {
  readonly kind: "buckets";
  readonly table_size: number;
  readonly owners: string;
  readonly next: string;
  /** Seconds since the last access; 0xffffffff for a bucket that was never used. */
  readonly idle_s: string;
}

/** A node's answer to the sweep: what its status process gathered from its workers. */
export interface NodeStatus {
  readonly number: number;
  readonly avg_response_time_us: number | null;
  readonly hits: number;
  readonly open_connections: number;
  readonly workers: number;
  readonly web_servers: readonly WebServerCounters[];
}
