/**
 * The status tables, pure: from rows to text, JSON or CSV. The columns of the DLBA Server Status Table, the Web
 * Server Status Table (one node's) and the Summary Web Server Status Table (the array's) stand here; the Client
 * IP Hash Table is in `buckets-table.ts`.
 */
import type { NodeRow, SchedulerReport } from "../conf/messages.ts";
import { gridCsv, gridRecord, gridText, showMs, type Column, type Format } from "./grid.ts";
import { average_us, sumWebServers, type WebServerSum } from "./sum.ts";

/** The columns of the sources, in their order; what is ours stands behind them. */
const NODE_COLUMNS: readonly Column<NodeRow>[] = [
  { title: "DLBA Server Number", key: "number", of: (row) => row.number },
  { title: "Name", key: "name", of: (row) => row.name },
  { title: "MAC Address", key: "mac", of: (row) => row.mac },
  { title: "# IP Groups Assigned", key: "ip_groups", of: (row) => row.ip_groups },
  {
    title: "Avg. Resp. Time",
    key: "avg_response_time_us",
    of: (row) => row.avg_response_time_us,
    show: showMs,
  },
  { title: "# Hits", key: "hits", of: (row) => row.hits },
  { title: "# Open Connections", key: "open_connections", of: (row) => row.open_connections },
  { title: "Failed", key: "failed", of: (row) => row.failed, show: (failed) => (failed ? "FAILED" : "no") },
  { title: "Physical IP Address", key: "address", of: (row) => row.address },
  { title: "Enabled", key: "enabled", of: (row) => row.enabled },
  { title: "Weight", key: "weight", of: (row) => row.weight },
  { title: "Table Version", key: "table_version", of: (row) => row.table_version },
];
const STATE_COLUMN: Column<NodeRow> = { title: "State", key: "state", of: nodeStateText };
/** Programs get state and reason apart, and what the weight has become by `scheduler.balance`. */
const NODE_DATA_COLUMNS: readonly Column<NodeRow>[] = [
  ...NODE_COLUMNS,
  { title: "Effective Weight", key: "effective_weight", of: (row) => row.effective_weight },
  { title: "State", key: "state", of: (row) => row.state },
  { title: "Reason", key: "reason", of: (row) => row.reason },
];

/** `up`; `draining, 12 connections left`. */
export function nodeStateText({ state, reason }: Pick<NodeRow, "state" | "reason">): string {
  return reason === "" ? state : `${state}, ${reason}`;
}

/** DLBA Server Status Table, with how stale it is. `now_ms` is Unix time. */
export function nodesTable(report: SchedulerReport, now_ms: number, format: Format): string {
  if (format === "csv") return gridCsv(NODE_DATA_COLUMNS, report.nodes);
  if (format === "json") {
    return jsonLine({
      last_sweep_at_ms: report.last_sweep_at_ms,
      last_sweep_took_ms: report.last_sweep_took_ms,
      nodes: report.nodes.map((row) => gridRecord(NODE_DATA_COLUMNS, row)),
    });
  }
  const grid = gridText([...NODE_COLUMNS, STATE_COLUMN], report.nodes);
  return `DLBA Server Status Table\n${sweepLine(report, now_ms)}\n${grid}`;
}

function sweepLine({ last_sweep_at_ms, last_sweep_took_ms }: SchedulerReport, now_ms: number): string {
  if (last_sweep_at_ms === null) return "no sweep yet from this node: only the scheduler sweeps";
  const age_s = Math.max(0, (now_ms - last_sweep_at_ms) / 1000).toFixed(1);
  const took = last_sweep_took_ms === null ? "" : `, took ${last_sweep_took_ms.toFixed(1)} ms`;
  return `last sweep ${age_s} s ago, at ${new Date(last_sweep_at_ms).toISOString()}${took}`;
}

const WEB_COLUMNS: readonly Column<WebServerSum>[] = [
  { title: "Pool", key: "pool", of: (row) => row.pool },
  { title: "Id", key: "id", of: (row) => row.id },
  { title: "Physical IP Address", key: "address", of: (row) => row.address },
  { title: "Port", key: "port", of: (row) => row.port },
  {
    title: "Avg. Resp. Time",
    key: "avg_response_time_us",
    of: (row) => average_us(row.response_time_sum_us, row.response_time_count),
    show: showMs,
  },
  { title: "Number of Hits", key: "hits", of: (row) => row.hits },
  { title: "Number of Open Connections", key: "open_connections", of: (row) => row.open_connections },
  { title: "State", key: "state", of: stateOf },
  { title: "Connect Failures", key: "connect_failures", of: (row) => row.connect_failures },
  { title: "Response Failures", key: "response_failures", of: (row) => row.response_failures },
  { title: "Waiting", key: "waiting", of: (row) => row.waiting },
  { title: "Weight", key: "weight", of: (row) => row.weight },
];

/** Workers find out each by itself that a web server can't be connected, and may differ for a while. */
function stateOf({ up_for, seen_by, state, reason }: WebServerSum): string {
  if (seen_by === 0) return "unknown";
  if (up_for === seen_by) return state;
  const why = reason === "" ? "" : ` (${reason})`;
  return up_for === 0 ? `${state}${why}` : `${state} by ${seen_by - up_for} of ${seen_by}${why}`;
}

/** Web Server Status Table of one node, from the sums of all its workers. */
export function webTable(sums: readonly WebServerSum[], workers: number, format: Format): string {
  if (format === "csv") return gridCsv(WEB_COLUMNS, sums);
  if (format === "json") {
    return jsonLine({ workers, web_servers: sums.map((sum) => gridRecord(WEB_COLUMNS, sum)) });
  }
  const count = `from ${workers} ${workers === 1 ? "worker" : "workers"} of this node`;
  return `Web Server Status Table\n${count}\n${gridText(WEB_COLUMNS, sums)}`;
}

const SUMMARY_COLUMNS: readonly Column<WebServerSum>[] = [
  { title: "Pool", key: "pool", of: (row) => row.pool },
  { title: "Id", key: "id", of: (row) => row.id },
  { title: "Physical IP Address", key: "address", of: (row) => row.address },
  { title: "Port", key: "port", of: (row) => row.port },
  { title: "Number of Cookie Groups Assigned", key: "cookie_groups", of: (row) => row.cookie_groups },
  { title: "Total Number of Hits", key: "hits", of: (row) => row.hits },
  { title: "Total Number of Open Connections", key: "open_connections", of: (row) => row.open_connections },
];

/** Summary Web Server Status Table: all nodes' rows as the last sweep brought them. */
export function summaryTable(report: SchedulerReport, now_ms: number, format: Format): string {
  const byNode = Object.values(report.web_servers_by_node);
  const sums = sumWebServers(byNode.flat());
  if (format === "csv") return gridCsv(SUMMARY_COLUMNS, sums);
  if (format === "json") {
    return jsonLine({
      last_sweep_at_ms: report.last_sweep_at_ms,
      nodes: byNode.length,
      web_servers: sums.map((sum) => gridRecord(SUMMARY_COLUMNS, sum)),
    });
  }
  const count = `from ${byNode.length} ${byNode.length === 1 ? "node" : "nodes"}`;
  return `Summary Web Server Status Table\n${count}; ${sweepLine(report, now_ms)}\n${gridText(SUMMARY_COLUMNS, sums)}`;
}

function jsonLine(value: unknown): string {
  return `${JSON.stringify(value)}\n`;
}
