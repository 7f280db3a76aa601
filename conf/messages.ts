/**
 * What the processes of a node tell each other, and nodes one another. A daemon publishes: it connects to the
 * status process and answers each question with its rows, so a table is always as fresh as the question.
 * One JSON object per line both ways.
 */

import type { ServerOrder } from "./server-orders.ts";

/** The names of a node's processes. */
export const PROCESS_NAMES = ["scheduler", "failover", "dlba-server", "status", "supervisor"] as const;
export type ProcessName = (typeof PROCESS_NAMES)[number];

/** First line from a publisher. `worker` counts from 0; it is 0 for the processes that exist once. */
export interface Hello {
  readonly process: ProcessName;
  readonly worker: number;
  readonly pid: number;
}

/** What can be asked of a publisher. All but rows are only asked when someone wants the table: they are large. */
export const QUESTION_TOPICS = [
  "rows",
  "buckets",
  "owners",
  "vservers",
  "errors",
  "connections",
  "spans",
  "orders",
] as const;
export type Topic = (typeof QUESTION_TOPICS)[number];
export interface Question {
  readonly id: number;
  readonly topic: Topic;
  /** With "orders": web servers that stand otherwise than configured. With the last part they take effect, and all others stand as configured. */
  readonly orders?: readonly ServerOrder[];
  readonly is_last?: boolean;
}
/** From a worker that was told something. */
export interface Taken {
  readonly kind: "taken";
}
export interface Answer {
  readonly id: number;
  readonly body: PublishedBody;
}
/** What a publisher says unasked: something has happened. */
export interface EventMessage {
  readonly event: NodeEvent;
}

export const EVENT_SEVERITIES = ["info", "warning", "error"] as const;
export type EventSeverity = (typeof EVENT_SEVERITIES)[number];

/** Something that happened on a node, as `status/event-kinds.ts` makes it of a log line. */
export interface NodeEvent {
  /** Unix time. */
  readonly at_ms: number;
  readonly kind: string;
  readonly severity: EventSeverity;
  readonly process: ProcessName;
  readonly worker: number;
  readonly text: string;
  /** To whom and why: names and numbers by what they are. */
  readonly facts: Readonly<Record<string, string | number>>;
}

export type PublishedBody =
  | WorkerReport
  | SchedulerReport
  | FailoverReport
  | BucketsReport
  | OwnersReport
  | VserversReport
  | ErrorsReport
  | ConnectionsReport
  | SpansReport
  | SupervisorReport
  | Taken;

/** From the supervisor: which version of the configuration is in force, and which one the processes run. */
export interface SupervisorReport {
  readonly kind: "supervisor";
  /** 0: the configuration file's, as nothing was ever pushed. */
  readonly config_version: number;
  readonly config_hash: string;
  readonly config_by: string;
  readonly config_comment: string;
  readonly running_version: number;
  readonly running_hash: string;
  /** Why they differ; empty when they don't. */
  readonly config_problem: string;
  /** A version that this node has voted for, and of which it is not known whether it is in force. */
  readonly vote_in_doubt: number | null;
}

/** A client connection of a worker. Times are of the worker's last turn. */
export interface ConnectionRow {
  readonly vserver: string;
  readonly client: string;
  readonly client_port: number;
  readonly is_tls: boolean;
  /** What it waits for: a name of `PHASE` in dlba-server/session-port.ts, or handshake, http2 or closing. */
  readonly phase: string;
  readonly phase_ms: number;
  /** Since something last came on it, or from its web server. */
  readonly silent_ms: number;
  /** Null while no web server has its request. */
  readonly pool: string | null;
  readonly web_server: string | null;
  /** For the client, not taken by the kernel yet. */
  readonly pending_bytes: number;
}
/** From a dlba-server worker: some of its client connections, and how many there are. */
export interface ConnectionsReport {
  readonly kind: "connections";
  readonly total: number;
  readonly connections: readonly ConnectionRow[];
}

/** A request that is over and whose trace is kept. */
export interface RequestSpan {
  readonly trace_id: string;
  readonly span_id: string;
  /** "" when the trace begins here. */
  readonly parent_id: string;
  /** Unix time. */
  readonly began_ms: number;
  readonly total_ms: number;
  /** To the head of the web server's response; null without one. */
  readonly response_ms: number | null;
  readonly vserver: string;
  readonly scheme: "http" | "https";
  readonly client: string;
  readonly method: string;
  readonly path: string;
  /** 0: it has not been answered. */
  readonly status: number;
  readonly web_server: string;
  /** done: answered in full. cut: the response broke off. lost: the client was gone first. */
  readonly end: "done" | "cut" | "lost";
}
/** From a dlba-server worker: what it has kept since it was asked last, and how many had no room. */
export interface SpansReport {
  readonly kind: "spans";
  readonly spans: readonly RequestSpan[];
  readonly dropped: number;
}

/** A request or response that a worker has refused. */
export interface Refusal {
  readonly at_ms: number;
  readonly kind: "request" | "response";
  readonly vserver: string;
  readonly client: string;
  readonly client_port: number;
  /** Null for a request. */
  readonly web_server: string | null;
  /** What the client was answered. */
  readonly status: number;
  /** The byte with which it stopped being good, from its start; null when it is wrong as a whole. */
  readonly bad_at: number | null;
  /** Its beginning, in base64, and how long what was there of it was. */
  readonly bytes: string;
  readonly length: number;
}
/** From a dlba-server worker: what it has refused last. */
export interface ErrorsReport {
  readonly kind: "errors";
  readonly refusals: readonly Refusal[];
}

/**
 * How a web server stands with a worker. up; drain: it gets no new sessions; maint: an operator has taken it out; down: the
 * node's checks say so; ejected: it has answered badly; passed over: it could not be connected.
 */
export const WEB_SERVER_STATES = ["up", "drain", "maint", "down", "ejected", "passed over"] as const;
export type WebServerState = (typeof WEB_SERVER_STATES)[number];

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
  /** Requests that it has now, and the most at once. */
  readonly active_requests: number;
  readonly most_active_requests: number;
  /** Sent to it, and received from it. */
  readonly bytes_in: number;
  readonly bytes_out: number;
  /** Connections made, and requests that took a kept one. */
  readonly connects: number;
  readonly reuses: number;
  /** Requests that came here at a further try, and those that went on to another one from here. */
  readonly retries: number;
  readonly redispatches: number;
  /** Requests that the client, or this web server, broke off. */
  readonly client_aborts: number;
  readonly server_aborts: number;
  /** By status class, 1xx to 5xx at index 1 to 5. */
  readonly responses: readonly number[];
  /** Requests that wait for it. */
  readonly waiting: number;
  readonly weight: number;
  /** See `WEB_SERVER_STATES`, and why; empty when there is nothing to tell. */
  readonly state: WebServerState;
  readonly reason: string;
  /** Whether it gets requests, be it only those of its sessions. */
  readonly is_up: boolean;
}

/** Counters of one vserver whose requests are proxied, as one worker sees it. */
export interface VserverCounts {
  readonly name: string;
  readonly open_connections: number;
  readonly most_open_connections: number;
  readonly accepted: number;
  readonly requests: number;
  /** Received from clients, and sent to them, inside of TLS. */
  readonly bytes_in: number;
  readonly bytes_out: number;
  /** Answers that the proxy made itself, and those of them that blamed the client. */
  readonly own_answers: number;
  readonly refused_requests: number;
  readonly client_aborts: number;
  readonly server_aborts: number;
  /** As a web server's. */
  readonly responses: readonly number[];
}

/** From a dlba-server worker. */
export interface WorkerReport {
  readonly kind: "worker";
  readonly web_servers: readonly WebServerCounters[];
  /** Those that have had a connection here. */
  readonly vservers: readonly VserverCounts[];
  /** Whether it takes new connections: not before it listens, and not while it drains. */
  readonly is_accepting: boolean;
  readonly open_connections: number;
  /** The same by the vserver's name. */
  readonly open_by_vserver: Readonly<Record<string, number>>;
  readonly accepted: number;
  readonly requests: number;
  /** Requests that wait for a web server to have room. */
  readonly requests_waiting: number;
  /** Client-side answers by status class and those that the proxy made itself, by status. */
  readonly responses: Readonly<Record<string, number>>;
  readonly own_answers: Readonly<Record<string, number>>;
  /** Upgrades that were granted (WebSockets), and how many of them go on. */
  readonly tunnels: number;
  readonly open_tunnels: number;
  readonly tls_handshakes: number;
  readonly tls_resumed: number;
  readonly tls_failures: number;
  /** Sum and count of response times over all web servers. */
  readonly response_time_sum_us: number;
  readonly response_time_count: number;
  /** Connections without the PROXY header that was due. */
  readonly proxy_failures: number;
  /** Of the access log: a disk was too slow or full. */
  readonly log_lines_dropped: number;
  readonly memory_bytes: number;
}

/**
 * What a node is to the scheduler. starting: nothing known yet; up: takes traffic; draining: gets no buckets and
 * still has connections; drained: has none left; disabled: so configured; failed: its kernel lives, but its
 * processes don't answer the sweep or accept nothing; down: its kernel is silent.
 */
export const NODE_STATES = ["starting", "up", "draining", "drained", "disabled", "failed", "down"] as const;
export type NodeStateName = (typeof NODE_STATES)[number];

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
  readonly state: NodeStateName;
  /** Why it is not up, for people; empty when there is nothing to tell. */
  readonly reason: string;
  /** Version of the Client IP Hash Table that it has; null when it follows none. */
  readonly table_version: number | null;
  readonly address: string;
  readonly enabled: boolean;
  readonly weight: number;
  /** The weight as corrected by `scheduler.balance`; null on a node that does not schedule. */
  readonly effective_weight: number | null;
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
  /** Buckets that have a previous node: second chance looks at them. */
  readonly buckets_with_previous: number;
  readonly balance: string;
  readonly epoch: number;
  readonly table_version: number;
  /** Counters of the XDP program by reason, and packets sent to each node (by node number). */
  readonly counters: Readonly<Record<string, number>>;
  readonly packets_to_node: Readonly<Record<string, number>>;
  /** Later fragments that waited for their first one: sent on, given up after the time-out, and thrown away. */
  readonly held_fragments: {
    readonly sent: number;
    readonly expired: number;
    readonly dropped: number;
  };
  /** Of the scheduler's watch over the other nodes; 0 on a node that does not schedule. */
  readonly heartbeats_sent: number;
  readonly heartbeats_failed: number;
  /** Buckets of tables that lost after a partition has healed, since this node schedules: connections live on by second chance. */
  readonly merged_buckets: number;
  /** Buckets that have no room to name all nodes with connections of them: those are searched for. */
  readonly crowded_buckets: number;
  /** Nodes that have, or may have, connections of buckets that do not name them: those are searched for there. */
  readonly scattered_nodes: readonly string[];
}

/** Frames given to a node or host for one vserver; totals since the data plane was made, rates of the last second. */
export interface TrafficCount {
  readonly connections: number;
  readonly packets: number;
  readonly bytes: number;
}
/** A node or a direct pool's host, as a vserver's traffic goes to it. */
export interface VserverHostRow {
  readonly number: number;
  readonly name: string;
  readonly address: string;
  /** local: up the scheduler's own stack; route: by MAC address. */
  readonly forward: "local" | "route";
  readonly weight: number;
  readonly state: NodeStateName;
  readonly reason: string;
  readonly buckets: number;
  /** Null where nobody can tell (hosts of a direct pool). */
  readonly open_connections: number | null;
  readonly total: TrafficCount;
  readonly per_second: TrafficCount;
}
export interface VserverRow {
  readonly name: string;
  readonly protocol: "http" | "https" | "tcp" | "udp";
  readonly vips: readonly string[];
  readonly ports: readonly number[];
  readonly hash: "address-and-port" | "address";
  /** The direct pool that its traffic goes to; null for the array's nodes. */
  readonly direct_pool: string | null;
  readonly table_size: number;
  readonly hosts: readonly VserverHostRow[];
}
/** From the scheduler process. */
export interface VserversReport {
  readonly kind: "vservers";
  readonly is_scheduling: boolean;
  readonly vservers: readonly VserverRow[];
}

/** From the failover process. */
export interface FailoverReport {
  readonly kind: "failover";
  /** What this process does: looking, following, contending or scheduling. */
  readonly state: string;
  /** The latest epoch known (see conf/epoch.ts); 0: none. */
  readonly epoch: number;
  /** Whether this node schedules, with a lease that lasts. */
  readonly is_scheduler: boolean;
  /** The node that schedules in the latest epoch; null while none is known. */
  readonly scheduler_number: number | null;
  /** Why this node would not take over; empty when it would. */
  readonly cannot_stand: string;
  readonly lease_renewals: number;
  readonly announcements: number;
  /** How often this node has become the scheduler, and how often it has stopped being it. */
  readonly takeovers: number;
  readonly yields: number;
  /** ARP or neighbour messages of machines outside the array that claimed a VIP; the last one's MAC address. */
  readonly foreign_claims: number;
  readonly foreign_mac: string | null;
  readonly heartbeats_sent: number;
  readonly heartbeats_failed: number;
  /** The longest time this process stood still since it began. */
  readonly longest_stall_ms: number;
}

/** The Client IP Hash Table: base64 of the owners (one byte each, 255 for nobody) and of little-endian u32 seconds since the last access. */
export interface BucketsReport {
  readonly kind: "buckets";
  readonly table_size: number;
  readonly owners: string;
  readonly next: string;
  readonly previous: string;
  /** Seconds since the last access; 0xffffffff for a bucket that was never used. */
  readonly idle_s: string;
}

/** The owners of the Client IP Hash Table alone, as above: asked for again and again while somebody looks at the map. */
export interface OwnersReport {
  readonly kind: "owners";
  readonly owners: string;
}

/** A node's answer to the sweep: what its status process gathered from its workers. */
export interface NodeStatus {
  readonly number: number;
  readonly avg_response_time_us: number | null;
  readonly hits: number;
  readonly open_connections: number;
  readonly open_by_vserver: Readonly<Record<string, number>>;
  readonly workers: number;
  /** Workers that take new connections. */
  readonly workers_accepting: number;
  readonly web_servers: readonly WebServerCounters[];
}
