/**
 * What a node tells Prometheus. Every name begins with `dlba_`, units are seconds and bytes. Labels are names of the
 * configuration, states and reasons of ours, never anything that a client sends; of web servers a bounded number is told. Pure.
 */
import { METRICS_WEB_SERVERS } from "../../conf/limits.ts";
import {
  NODE_STATES,
  type FailoverReport,
  type ProcessName,
  type SchedulerReport,
  type SupervisorReport,
} from "../../conf/messages.ts";
import type { CertificateFact } from "../certificates.ts";
import { latestReport, schedulerNumber } from "../info.ts";
import type { NodeView, VserverView } from "../node-view.ts";
import { sumOf, sumRecords, type WebServerSum } from "../sum.ts";
import type { Family, Labels, MetricType, Sample } from "./exposition.ts";

const family = (type: MetricType, name: string, help: string, samples: readonly Sample[]): Family => ({
  name: `dlba_${name}`,
  type,
  help,
  samples,
});
const one = (value: number, labels: Labels = {}): Sample => ({ labels, value });
const gauge = (name: string, help: string, ...samples: readonly Sample[]): Family =>
  family("gauge", name, help, samples);
const counter = (name: string, help: string, ...samples: readonly Sample[]): Family =>
  family("counter", name, help, samples);

/** All metrics of a node. */
export function metricFamilies(view: NodeView, certificates: readonly CertificateFact[]): Family[] {
  const scheduler = latestReport(view.published, "scheduler");
  const failover = latestReport(view.published, "failover");
  const supervisor = latestReport(view.published, "supervisor");
  return [
    ...nodeFamilies(view),
    ...(supervisor === undefined ? [] : versionFamilies(supervisor)),
    ...workerFamilies(view),
    ...vserverFamilies(view.vservers),
    ...webServerFamilies(view),
    ...(failover === undefined ? [] : failoverFamilies(view, failover)),
    ...(scheduler === undefined ? [] : schedulerFamilies(view, scheduler)),
    gauge(
      "certificate_not_after_timestamp_seconds",
      "When a certificate ends (Unix time).",
      ...certificates.map(({ file, not_after_ms }) => one(not_after_ms / 1000, { file })),
    ),
  ];
}

function nodeFamilies({ facts, published }: NodeView): Family[] {
  const { version, config, node, uptime_s } = facts;
  const processes: readonly ProcessName[] = ["scheduler", "failover"];
  const answers = (name: ProcessName): boolean =>
    published.some(({ hello, body }) => hello.process === name && body !== null);
  return [
    family("info", "build", "What runs here.", [
      one(1, { version, array: config.array.name, node: node.name }),
    ]),
    gauge("uptime_seconds", "Since the status process began.", one(uptime_s)),
    gauge(
      "process_up",
      "Whether a process that a node has once answers.",
      ...processes.map((process) => one(answers(process) ? 1 : 0, { process })),
    ),
  ];
}

function versionFamilies({ config_version, running_version }: SupervisorReport): Family[] {
  return [
    gauge(
      "config_version",
      "The version of the configuration that is in force; 0: that of a file, nothing was ever pushed.",
      one(config_version),
    ),
    gauge("config_running_version", "The version that the node's processes run.", one(running_version)),
  ];
}

function workerFamilies({ workers, absent }: NodeView): Family[] {
  const all = [...workers, ...absent];
  const total = (name: string, help: string, field: Parameters<typeof sumOf>[1]): Family =>
    counter(name, help, one(sumOf(all, field)));
  return [
    gauge("workers", "Workers that answer.", one(workers.length)),
    gauge(
      "workers_accepting",
      "Workers that take new connections.",
      one(workers.filter(({ is_accepting }) => is_accepting).length),
    ),
    gauge("workers_memory_bytes", "Resident memory of all workers.", one(sumOf(workers, "memory_bytes"))),
    gauge("connections", "Client connections that are open.", one(sumOf(workers, "open_connections"))),
    total("connections_accepted", "Client connections that were accepted.", "accepted"),
    total("tls_handshakes", "TLS handshakes that succeeded, resumed ones included.", "tls_handshakes"),
    total("tls_resumed", "TLS handshakes that resumed a session.", "tls_resumed"),
    total("tls_failures", "TLS handshakes that failed.", "tls_failures"),
    total("proxy_header_failures", "Connections without the PROXY header that was due.", "proxy_failures"),
    total("access_log_dropped_lines", "Lines of the access log that were lost.", "log_lines_dropped"),
    counter(
      "own_answers",
      "Answers that the proxy made itself, by status.",
      ...sumRecords(all.map(({ own_answers }) => own_answers)).map(([status, count]) =>
        one(count, { status }),
      ),
    ),
  ];
}

const CLASSES = ["other", "1xx", "2xx", "3xx", "4xx", "5xx"];
const byClass = (labels: Labels, responses: readonly number[]): Sample[] =>
  responses.map((count, index) => one(count, { ...labels, class: CLASSES[index] ?? "other" }));
const byWhom = (labels: Labels, row: { client_aborts: number; server_aborts: number }): Sample[] => [
  one(row.client_aborts, { ...labels, by: "client" }),
  one(row.server_aborts, { ...labels, by: "web_server" }),
];

function vserverFamilies(vservers: readonly VserverView[]): Family[] {
  const each = (of: (counts: VserverView["counts"]) => number): Sample[] =>
    vservers.map(({ counts }) => one(of(counts), { vserver: counts.name }));
  return [
    gauge("vserver_connections", "Client connections that are open.", ...each((row) => row.open_connections)),
    counter(
      "vserver_connections_accepted",
      "Client connections that were accepted.",
      ...each((row) => row.accepted),
    ),
    counter("vserver_requests", "Requests that began.", ...each((row) => row.requests)),
    counter(
      "vserver_received_bytes",
      "Received from clients, inside of TLS.",
      ...each((row) => row.bytes_in),
    ),
    counter("vserver_sent_bytes", "Sent to clients, inside of TLS.", ...each((row) => row.bytes_out)),
    counter("vserver_own_answers", "Answers that the proxy made itself.", ...each((row) => row.own_answers)),
    counter(
      "vserver_refused_requests",
      "Requests that were answered with a 4xx of the proxy's own.",
      ...each((row) => row.refused_requests),
    ),
    counter(
      "vserver_responses",
      "Responses to clients by status class.",
      ...vservers.flatMap(({ counts }) => byClass({ vserver: counts.name }, counts.responses)),
    ),
    counter(
      "vserver_aborts",
      "Requests that were broken off, by whom.",
      ...vservers.flatMap(({ counts }) => byWhom({ vserver: counts.name }, counts)),
    ),
  ];
}

const labelsOf = ({ pool, id }: WebServerSum): Labels => ({ pool, web_server: id });

function webServerFamilies({ pools }: NodeView): Family[] {
  const all = pools.flatMap(({ servers }) => servers.flatMap(({ sum }) => sum ?? []));
  const told = all.slice(0, METRICS_WEB_SERVERS);
  const each = (of: (sum: WebServerSum) => number): Sample[] =>
    told.map((sum) => one(of(sum), labelsOf(sum)));
  return [
    gauge(
      "web_servers_left_out",
      "Web servers that have no metrics, because there are too many.",
      one(all.length - told.length),
    ),
    gauge(
      "web_server_up_ratio",
      "The part of the workers that hold it to be up.",
      ...told.flatMap((sum) => (sum.seen_by === 0 ? [] : one(sum.up_for / sum.seen_by, labelsOf(sum)))),
    ),
    gauge("web_server_active_requests", "Requests that it has now.", ...each((sum) => sum.active_requests)),
    gauge(
      "web_server_connections",
      "Connections to it, idle ones included.",
      ...each((sum) => sum.open_connections),
    ),
    gauge(
      "web_server_waiting_requests",
      "Requests that wait for it to have room.",
      ...each((sum) => sum.waiting),
    ),
    gauge("web_server_weight", "Its weight as it is now.", ...each((sum) => sum.weight)),
    gauge(
      "web_server_state",
      "Always 1: how it stands is a label.",
      ...told.flatMap((sum) => (sum.seen_by === 0 ? [] : one(1, { ...labelsOf(sum), state: sum.state }))),
    ),
    counter("web_server_requests", "Requests that were given to it.", ...each((sum) => sum.hits)),
    counter("web_server_sent_bytes", "Sent to it.", ...each((sum) => sum.bytes_in)),
    counter("web_server_received_bytes", "Received from it.", ...each((sum) => sum.bytes_out)),
    counter("web_server_connects", "Connections that were made to it.", ...each((sum) => sum.connects)),
    counter("web_server_reuses", "Requests that took a kept connection.", ...each((sum) => sum.reuses)),
    counter("web_server_connect_failures", "Connects that failed.", ...each((sum) => sum.connect_failures)),
    counter(
      "web_server_response_failures",
      "Responses that failed.",
      ...each((sum) => sum.response_failures),
    ),
    counter("web_server_retries", "Requests that came here at a further try.", ...each((sum) => sum.retries)),
    counter(
      "web_server_redispatches",
      "Requests that went on to another web server from here.",
      ...each((sum) => sum.redispatches),
    ),
    counter(
      "web_server_responses",
      "Responses of it by status class.",
      ...told.flatMap((sum) => byClass(labelsOf(sum), sum.responses)),
    ),
    counter(
      "web_server_aborts",
      "Requests to it that were broken off, by whom.",
      ...told.flatMap((sum) => byWhom(labelsOf(sum), sum)),
    ),
    family(
      "summary",
      "web_server_response_seconds",
      "From a request to the head of its response.",
      told.flatMap((sum) => [
        { labels: labelsOf(sum), value: sum.response_time_sum_us / 1e6, suffix: "_sum" as const },
        { labels: labelsOf(sum), value: sum.response_time_count, suffix: "_count" as const },
      ]),
    ),
  ];
}

function failoverFamilies({ facts }: NodeView, report: FailoverReport): Family[] {
  return [
    gauge(
      "is_scheduler",
      "Whether this node schedules, with a lease that lasts.",
      one(report.is_scheduler ? 1 : 0),
    ),
    gauge(
      "scheduler_known",
      "Whether this node knows who schedules.",
      one(schedulerNumber(report) === null ? 0 : 1),
    ),
    gauge("failover_epoch", "How many schedulers there have been.", one(Math.floor(report.epoch / 256))),
    gauge(
      "failover_stands",
      "Whether this node would take over.",
      one(report.cannot_stand === "" ? 1 : 0, { node: facts.node.name }),
    ),
    counter("failover_takeovers", "How often this node has become the scheduler.", one(report.takeovers)),
    counter("failover_yields", "How often it has stopped being it.", one(report.yields)),
    counter("failover_lease_renewals", "Renewals of the lease.", one(report.lease_renewals)),
    counter("failover_announcements", "Announcements of the VIPs.", one(report.announcements)),
    counter(
      "failover_foreign_claims",
      "Claims of a VIP by machines outside the array.",
      one(report.foreign_claims),
    ),
    counter("failover_heartbeats_sent", "Questions to other nodes' kernels.", one(report.heartbeats_sent)),
    counter("failover_heartbeats_failed", "Of those, what could not be sent.", one(report.heartbeats_failed)),
    gauge(
      "failover_longest_stall_seconds",
      "The longest time that the failover process stood still.",
      one(report.longest_stall_ms / 1000),
    ),
  ];
}

function schedulerFamilies({ facts, now_ms }: NodeView, report: SchedulerReport): Family[] {
  const names = new Map(facts.config.nodes.map(({ number, name }) => [number, name]));
  const nameOf = (number: number): string => names.get(number) ?? String(number);
  const sweeps = report.last_sweep_at_ms;
  return [
    gauge("buckets_assigned", "Buckets that a node owns.", one(report.buckets_assigned)),
    gauge("buckets_with_previous", "Buckets that have a previous node.", one(report.buckets_with_previous)),
    gauge("table_buckets", "Buckets of the Client IP Hash Table.", one(report.table_size)),
    gauge("table_version", "Version of the Client IP Hash Table.", one(report.table_version)),
    gauge("scattered_nodes", "Nodes that are searched for connections.", one(report.scattered_nodes.length)),
    gauge(
      "node_buckets",
      "Buckets of each node.",
      ...report.nodes.map((row) => one(row.ip_groups, { node: row.name })),
    ),
    gauge(
      "node_state",
      "Whether a node is in a state.",
      ...report.nodes.flatMap((row) =>
        NODE_STATES.map((state) => one(row.state === state ? 1 : 0, { node: row.name, state })),
      ),
    ),
    counter(
      "packets",
      "Packets by what the data plane did with them.",
      ...sumRecords([report.counters]).map(([reason, count]) => one(count, { reason })),
    ),
    counter(
      "packets_to_node",
      "Packets that were given to a node.",
      ...sumRecords([report.packets_to_node]).map(([number, count]) =>
        one(count, { node: nameOf(Number(number)) }),
      ),
    ),
    counter(
      "held_fragments",
      "Fragments that came before their first one, by what became of them.",
      ...Object.entries(report.held_fragments).map(([outcome, count]) => one(count, { outcome })),
    ),
    counter("watch_heartbeats_sent", "Questions to other nodes' kernels.", one(report.heartbeats_sent)),
    counter("watch_heartbeats_failed", "Of those, what could not be sent.", one(report.heartbeats_failed)),
    gauge(
      "sweep_age_seconds",
      "Since the last sweep; on the scheduler alone.",
      ...(sweeps === null ? [] : [one(Math.max(0, (now_ms - sweeps) / 1000))]),
    ),
    gauge(
      "sweep_duration_seconds",
      "What the last sweep took; on the scheduler alone.",
      ...(report.last_sweep_took_ms === null ? [] : [one(report.last_sweep_took_ms / 1000)]),
    ),
  ];
}
