/** `show info`: the state of a node in `Name: value` lines, the form that HAProxy's users know. Pure. */
import { epochText } from "../conf/epoch.ts";
import type { Config, NodeConfig } from "../conf/schema.ts";
import type {
  FailoverReport,
  Hello,
  PublishedBody,
  SchedulerReport,
  SupervisorReport,
  WorkerReport,
} from "../conf/messages.ts";
import { csvLine, type Format } from "./grid.ts";
import { haproxyLines, type InfoLine } from "./haproxy/info-lines.ts";
import type { NodeView } from "./node-view.ts";
import { sumOf, sumRecords } from "./sum.ts";
import { nodeStateText } from "./tables.ts";

/** A connected process and its answer; null when it gave none in time. */
export interface Published {
  readonly hello: Hello;
  readonly body: PublishedBody | null;
}

export interface NodeFacts {
  readonly version: string;
  readonly configFile: string;
  readonly config: Config;
  readonly node: NodeConfig;
  readonly pid: number;
  readonly uptime_s: number;
}

type Line = InfoLine;

/** What is known of this node: versions, role, processes, counters (those of absent workers count on). */
export function infoTable(view: NodeView, format: Format): string {
  const lines = infoLines(view);
  if (format === "json") return `${JSON.stringify(Object.fromEntries(lines))}\n`;
  if (format === "csv") return lines.map(([name, value]) => csvLine([name, String(value)])).join("");
  return lines.map(([name, value]) => `${name}: ${value}\n`).join("");
}

function infoLines(view: NodeView): Line[] {
  const { facts, published, workers, absent } = view;
  const scheduler = latestReport(published, "scheduler");
  const failover = latestReport(published, "failover");
  return [
    ...haproxyLines(view),
    ...nodeLines(facts, failover),
    ...versionLines(latestReport(published, "supervisor")),
    ...processLines(facts.pid, published),
    ...(scheduler === undefined ? [] : dataPlaneLines(scheduler)),
    ...(failover === undefined ? [] : leaseLines(failover)),
    ...trafficLines(workers, absent),
  ];
}

/** The last connected process' report of a kind: while one process takes over from another, there are two. */
export function latestReport<Kind extends PublishedBody["kind"]>(
  published: readonly Published[],
  kind: Kind,
): Extract<PublishedBody, { kind: Kind }> | undefined {
  const bodies = published.flatMap(({ body }) => (body === null ? [] : [body]));
  return bodies.findLast((body): body is Extract<PublishedBody, { kind: Kind }> => body.kind === kind);
}

/** The node that owns the VIPs, as the failover process knows; null while nobody does. */
export function schedulerNumber(failover: FailoverReport | undefined): number | null {
  return failover?.scheduler_number ?? null;
}

function nodeLines(facts: NodeFacts, failover: FailoverReport | undefined): Line[] {
  const scheduler = schedulerNumber(failover);
  const { nodes } = facts.config;
  return [
    ["Array", facts.config.array.name],
    ["Node", facts.node.name],
    ["Node_number", facts.node.number],
    ["Role", scheduler === facts.node.number ? "scheduler" : "node"],
    ["Scheduler_number", scheduler ?? "none"],
    ["Scheduler", nodes.find(({ number }) => number === scheduler)?.name ?? "none"],
    ["Config_file", facts.configFile],
  ];
}

/** Which configuration is in force, and which one runs; nothing from a supervisor that does not answer. */
function versionLines(report: SupervisorReport | undefined): Line[] {
  if (report === undefined) return [];
  return [
    ["Config_version", report.config_version],
    ["Config_hash", report.config_hash.slice(0, 12)],
    ["Config_pushed_by", report.config_by || "nobody"],
    ["Config_running_version", report.running_version],
    ["Config_problem", report.config_problem.replaceAll(/\s*\n\s*/g, "; ") || "none"],
    ["Config_vote_in_doubt", report.vote_in_doubt ?? "none"],
  ];
}

function processLines(statusPid: number, published: readonly Published[]): Line[] {
  const workers = published.filter(({ hello }) => hello.process === "dlba-server");
  const answering = workers.flatMap(({ body }) => (body?.kind === "worker" ? [body] : []));
  const accepting = answering.filter(({ is_accepting }) => is_accepting);
  return [
    ["Process_status", `pid ${statusPid}`],
    ["Process_scheduler", processState(published, "scheduler")],
    ["Process_failover", processState(published, "failover")],
    ...workers.map((worker): Line => [
      `Process_dlba-server_${worker.hello.worker}_${worker.hello.pid}`,
      stateOf(worker),
    ]),
    ["Workers", workers.length],
    ["Workers_answering", answering.length],
    ["Workers_accepting", accepting.length],
  ];
}

function processState(published: readonly Published[], process: Hello["process"]): string {
  const latest = published.findLast(({ hello }) => hello.process === process);
  return latest === undefined ? "not running" : stateOf(latest);
}

function stateOf({ hello, body }: Published): string {
  return body === null ? `pid ${hello.pid}, does not answer` : `pid ${hello.pid}`;
}

function dataPlaneLines(report: SchedulerReport): Line[] {
  const sweep: Line[] =
    report.last_sweep_at_ms === null
      ? []
      : [
          ["Last_sweep", new Date(report.last_sweep_at_ms).toISOString()],
          ["Last_sweep_ms", report.last_sweep_took_ms ?? 0],
        ];
  return [
    ["Xdp_mode", report.xdp_mode],
    ["Xdp_interface", report.interface],
    ["Table_size", report.table_size],
    ["Table_version", report.table_version],
    ["Buckets_assigned", report.buckets_assigned],
    ["Buckets_with_previous", report.buckets_with_previous],
    ["Balance", report.balance],
    ["Epoch", epochText(report.epoch)],
    ["Merged_buckets", report.merged_buckets],
    ["Crowded_buckets", report.crowded_buckets],
    ["Scattered_nodes", report.scattered_nodes.join(", ") || "none"],
    ["Held_fragments_sent", report.held_fragments.sent],
    ["Held_fragments_expired", report.held_fragments.expired],
    ["Held_fragments_dropped", report.held_fragments.dropped],
    ["Watch_heartbeats_sent", report.heartbeats_sent],
    ["Watch_heartbeats_failed", report.heartbeats_failed],
    ...sweep,
    ...report.nodes.map((row): Line => [`Node_${row.number}_state`, nodeStateText(row)]),
    ...prefixed("Packets_to_node", sumRecords([report.packets_to_node])),
    ...prefixed("Packets", sumRecords([report.counters])),
  ];
}

function leaseLines(report: FailoverReport): Line[] {
  return [
    ["Failover_state", report.state],
    ["Failover_epoch", epochText(report.epoch)],
    ["Failover_leased", report.is_scheduler ? "yes" : "no"],
    ["Failover_stands", report.cannot_stand === "" ? "yes" : `no: ${report.cannot_stand}`],
    ["Lease_renewals", report.lease_renewals],
    ["Announcements", report.announcements],
    ["Takeovers", report.takeovers],
    ["Yields", report.yields],
    ["Vip_foreign_claims", report.foreign_claims],
    ["Vip_foreign_mac", report.foreign_mac ?? "none"],
    ["Heartbeats_sent", report.heartbeats_sent],
    ["Heartbeats_failed", report.heartbeats_failed],
    ["Longest_stall_ms", report.longest_stall_ms],
  ];
}

function trafficLines(workers: readonly WorkerReport[], absent: readonly WorkerReport[]): Line[] {
  const all = [...workers, ...absent];
  return [
    ["Connections_open", sumOf(workers, "open_connections")],
    ["Connections_accepted", sumOf(all, "accepted")],
    ["Requests", sumOf(all, "requests")],
    ["Requests_waiting", sumOf(workers, "requests_waiting")],
    ...prefixed("Responses", sumRecords(all.map((worker) => worker.responses))),
    ...prefixed("Own_answers", sumRecords(all.map((worker) => worker.own_answers))),
    ["Tunnels_open", sumOf(workers, "open_tunnels")],
    ["Tunnels", sumOf(all, "tunnels")],
    ["Tls_handshakes", sumOf(all, "tls_handshakes")],
    ["Tls_resumed", sumOf(all, "tls_resumed")],
    ["Tls_failures", sumOf(all, "tls_failures")],
    ["Proxy_header_failures", sumOf(workers, "proxy_failures")],
    ["Log_lines_dropped", sumOf(workers, "log_lines_dropped")],
    ["Memory_bytes", sumOf(workers, "memory_bytes")],
  ];
}

function prefixed(prefix: string, counts: readonly (readonly [string, number])[]): Line[] {
  return counts.map(([name, count]) => [`${prefix}_${name}`, count]);
}
