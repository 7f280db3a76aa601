/** Rows for the tests of the tables. */
import { pino } from "pino";
import type {
  FailoverReport,
  NodeRow,
  SchedulerReport,
  SupervisorReport,
  VserverCounts,
  VserverHostRow,
  VserverRow,
  VserversReport,
  WebServerCounters,
  WorkerReport,
} from "../../conf/messages.ts";

/** A logger that says nothing. */
export const quiet = pino({ level: "silent" });

export function webServer(change: Partial<WebServerCounters> = {}): WebServerCounters {
  return {
    pool: "shop",
    id: "web1",
    address: "10.0.0.21",
    port: 80,
    hits: 100,
    open_connections: 3,
    cookie_groups: 7,
    connect_failures: 0,
    response_failures: 0,
    response_time_sum_us: 250_000,
    response_time_count: 100,
    active_requests: 2,
    most_active_requests: 9,
    bytes_in: 20_000,
    bytes_out: 400_000,
    connects: 30,
    reuses: 70,
    retries: 4,
    redispatches: 3,
    client_aborts: 2,
    server_aborts: 1,
    responses: [0, 0, 90, 5, 3, 2],
    waiting: 0,
    weight: 1,
    state: "up",
    reason: "",
    is_up: true,
    ...change,
  };
}

export function vserverCounts(change: Partial<VserverCounts> = {}): VserverCounts {
  return {
    name: "shop-http",
    open_connections: 5,
    most_open_connections: 11,
    accepted: 20,
    requests: 104,
    bytes_in: 21_000,
    bytes_out: 410_000,
    own_answers: 4,
    refused_requests: 1,
    client_aborts: 2,
    server_aborts: 1,
    responses: [0, 0, 90, 5, 4, 5],
    ...change,
  };
}

export function worker(change: Partial<WorkerReport> = {}): WorkerReport {
  return {
    kind: "worker",
    web_servers: [webServer()],
    vservers: [vserverCounts()],
    is_accepting: true,
    open_connections: 5,
    open_by_vserver: { "shop-http": 5 },
    accepted: 20,
    requests: 100,
    requests_waiting: 4,
    responses: { "2xx": 98, "5xx": 2 },
    own_answers: { "502": 2 },
    tunnels: 0,
    open_tunnels: 0,
    tls_handshakes: 4,
    tls_resumed: 1,
    tls_failures: 0,
    response_time_sum_us: 250_000,
    response_time_count: 100,
    proxy_failures: 3,
    log_lines_dropped: 2,
    memory_bytes: 50_000_000,
    ...change,
  };
}

export function node(change: Partial<NodeRow> = {}): NodeRow {
  return {
    number: 1,
    name: "node1",
    mac: "02:00:00:00:00:01",
    ip_groups: 21_845,
    avg_response_time_us: 2500,
    hits: 12_345,
    open_connections: 64,
    failed: false,
    state: "up",
    reason: "",
    table_version: 77,
    address: "10.0.0.1",
    enabled: true,
    weight: 1,
    effective_weight: 1.5,
    ...change,
  };
}

/** Two seconds before NOW_MS the sweep ended. */
export const NOW_MS = Date.UTC(2026, 0, 2, 3, 4, 7);

export function scheduler(change: Partial<SchedulerReport> = {}): SchedulerReport {
  return {
    kind: "scheduler",
    nodes: [
      node(),
      node({
        number: 12,
        name: "node12",
        mac: null,
        ip_groups: 0,
        avg_response_time_us: null,
        hits: null,
        open_connections: null,
        failed: true,
        state: "down",
        reason: "its kernel is silent",
        table_version: null,
        address: "2001:db8::12",
        enabled: false,
        weight: 10,
        effective_weight: 10,
      }),
    ],
    last_sweep_at_ms: NOW_MS - 2000,
    last_sweep_took_ms: 12.34,
    web_servers_by_node: { "1": [webServer()], "12": [webServer({ hits: 50, cookie_groups: 1 })] },
    xdp_mode: "generic",
    interface: "eth0",
    table_size: 65_536,
    buckets_assigned: 21_845,
    buckets_with_previous: 9,
    balance: "groups",
    epoch: 3 * 256 + 1,
    table_version: 77,
    held_fragments: { sent: 7, expired: 2, dropped: 1 },
    heartbeats_sent: 400,
    heartbeats_failed: 3,
    merged_buckets: 12,
    crowded_buckets: 5,
    scattered_nodes: ["node1", "node12"],
    counters: { passed: 10, arp: 2 },
    packets_to_node: { "1": 1000, "12": 0 },
    ...change,
  };
}

export function host(change: Partial<VserverHostRow> = {}): VserverHostRow {
  return {
    number: 1,
    name: "node1",
    address: "198.18.1.1",
    forward: "local",
    weight: 1,
    state: "up",
    reason: "",
    buckets: 21_845,
    open_connections: 12,
    total: { connections: 100, packets: 2000, bytes: 1_234_567 },
    per_second: { connections: 1.4, packets: 20, bytes: 12_345 },
    ...change,
  };
}

export function vserver(change: Partial<VserverRow> = {}): VserverRow {
  return {
    name: "shop-http",
    protocol: "http",
    vips: ["198.18.0.100", "2001:db8::100"],
    ports: [80, 8080],
    hash: "address-and-port",
    direct_pool: null,
    table_size: 65_536,
    hosts: [
      host(),
      host({
        number: 2,
        name: "node2",
        address: "198.18.1.2",
        forward: "route",
        weight: 10,
        state: "draining",
        reason: "12 connections left",
        buckets: 0,
      }),
    ],
    ...change,
  };
}

/** The nodes serve one virtual server, a direct pool another. */
export function vservers(change: Partial<VserversReport> = {}): VserversReport {
  const dns = vserver({
    name: "dns",
    protocol: "udp",
    vips: ["198.18.0.53"],
    ports: [53],
    hash: "address",
    direct_pool: "resolvers",
    table_size: 4096,
    hosts: [
      host({
        name: "dns1",
        address: "2001:db8::31",
        forward: "route",
        buckets: 4096,
        open_connections: null,
      }),
    ],
  });
  return { kind: "vservers", is_scheduling: true, vservers: [vserver(), dns], ...change };
}

export function supervisor(change: Partial<SupervisorReport> = {}): SupervisorReport {
  return {
    kind: "supervisor",
    config_version: 7,
    config_hash: "ab".repeat(32),
    config_by: "anna@box",
    config_comment: "",
    running_version: 6,
    running_hash: "cd".repeat(32),
    config_problem: "no such certificate",
    vote_in_doubt: null,
    ...change,
  };
}

export function failover(change: Partial<FailoverReport> = {}): FailoverReport {
  return {
    kind: "failover",
    state: "scheduling",
    epoch: 3 * 256 + 1,
    is_scheduler: true,
    scheduler_number: 1,
    cannot_stand: "",
    lease_renewals: 55,
    announcements: 4,
    takeovers: 2,
    yields: 1,
    foreign_claims: 6,
    foreign_mac: "02:00:00:00:00:99",
    heartbeats_sent: 900,
    heartbeats_failed: 8,
    longest_stall_ms: 21,
    ...change,
  };
}
