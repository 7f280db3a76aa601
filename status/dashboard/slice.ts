/** What a node tells of itself for the dashboard, and how another one's is read. Pure. */
import { SLICE_EVENTS, SLICE_VSERVERS, SLICE_WEB_SERVERS } from "../../conf/limits.ts";
import type { SchedulerReport, TrafficCount, VserverRow, VserversReport } from "../../conf/messages.ts";
import { isRecord, parseJson } from "../../conf/record.ts";
import type { RingEvent } from "../event-ring.ts";
import { latestReport, schedulerNumber } from "../info.ts";
import type { NodeView } from "../node-view.ts";
import { nodeWebServers, sumOf, type WebServerSum } from "../sum.ts";
import type { ArraySlice, EventSlice, NodeSlice, Traffic, VserverSlice, WebServerSlice } from "./messages.ts";

export interface SliceSources {
  readonly view: NodeView;
  /** Of this node's scheduler process; undefined when it is away. */
  readonly vservers: VserversReport | undefined;
  readonly life: string;
  readonly events: readonly RingEvent[];
  /** Whether what this node knows of the array is told although it does not schedule. */
  readonly isOwn: boolean;
}

/** Tells of a node. */
export function nodeSlice({ view, vservers, life, events, isOwn }: SliceSources): NodeSlice {
  const { facts, published, workers, absent } = view;
  const all = [...workers, ...absent];
  const proxied = view.vservers.map(vserverSlice);
  const webServers = nodeWebServers(workers, absent);
  // What is wrong is told first, so that it has room.
  const web = webServers.toSorted((a, b) => Number(a.is_up) - Number(b.is_up)).map(webServerSlice);
  const report = latestReport(published, "scheduler");
  const isScheduling = vservers?.is_scheduling === true;
  const sum = (key: "accepted" | "requests" | "errors" | "bytes_in" | "bytes_out"): number =>
    proxied.reduce((total, one) => total + one[key], 0);
  return {
    number: facts.node.number,
    version: facts.version,
    uptime_s: facts.uptime_s,
    life,
    scheduler: schedulerNumber(latestReport(published, "failover")),
    workers: workers.length,
    workers_accepting: workers.filter(({ is_accepting }) => is_accepting).length,
    memory_bytes: sumOf(workers, "memory_bytes"),
    open: sumOf(workers, "open_connections"),
    counts: {
      accepted: sumOf(all, "accepted"),
      requests: sumOf(all, "requests"),
      errors: sum("errors"),
      bytes_in: sum("bytes_in"),
      bytes_out: sum("bytes_out"),
    },
    time_sum_us: sumOf(all, "response_time_sum_us"),
    time_count: sumOf(all, "response_time_count"),
    vservers: proxied.slice(0, SLICE_VSERVERS),
    web_servers: web.slice(0, SLICE_WEB_SERVERS),
    left_out: Math.max(0, proxied.length - SLICE_VSERVERS) + Math.max(0, web.length - SLICE_WEB_SERVERS),
    events: events.slice(-SLICE_EVENTS).map(eventSlice),
    array:
      report === undefined || !(isOwn || isScheduling) ? null : arraySlice(report, vservers, view.now_ms),
  };
}

function vserverSlice({ counts }: NodeView["vservers"][number]): VserverSlice {
  const { name, open_connections, accepted, requests, responses, bytes_in, bytes_out } = counts;
  return { name, open: open_connections, accepted, requests, errors: responses[5] ?? 0, bytes_in, bytes_out };
}

function webServerSlice(sum: WebServerSum): WebServerSlice {
  const { pool, id, address, port, state, reason, is_up, weight, waiting } = sum;
  return {
    pool,
    id,
    address,
    port,
    state,
    reason,
    is_up,
    weight,
    active: sum.active_requests,
    waiting,
    requests: sum.hits,
    errors: sum.responses[5] ?? 0,
    failures: sum.connect_failures + sum.response_failures,
    time_sum_us: sum.response_time_sum_us,
    time_count: sum.response_time_count,
  };
}

const eventSlice = ({ sequence, at_ms, kind, severity, process, text, facts }: RingEvent): EventSlice => ({
  sequence,
  at_ms,
  kind,
  severity,
  process,
  text,
  facts,
});

function arraySlice(
  report: SchedulerReport,
  vservers: VserversReport | undefined,
  now_ms: number,
): ArraySlice {
  const { last_sweep_at_ms } = report;
  const isScheduling = vservers?.is_scheduling === true;
  const told = isScheduling ? vservers.vservers.slice(0, SLICE_VSERVERS) : [];
  return {
    is_scheduling: isScheduling,
    epoch: report.epoch,
    table_version: report.table_version,
    table_size: report.table_size,
    balance: report.balance,
    sweep_age_ms: last_sweep_at_ms === null ? null : Math.max(0, now_ms - last_sweep_at_ms),
    sweep_took_ms: report.last_sweep_took_ms,
    nodes: report.nodes.map(({ number, state, reason, ip_groups, effective_weight, table_version }) => ({
      number,
      state,
      reason,
      buckets: ip_groups,
      effective_weight,
      table_version,
    })),
    // A direct pool's hosts are no nodes: their traffic is told by vserver alone.
    to_nodes: trafficBy(
      told.filter(({ direct_pool }) => direct_pool === null),
      (_, host) => String(host),
    ),
    to_vservers: trafficBy(told, (vserver) => vserver),
  };
}

function trafficBy(
  vservers: readonly VserverRow[],
  keyOf: (vserver: string, host: number) => string,
): Record<string, Traffic> {
  const sums = new Map<string, Traffic>();
  for (const { name, hosts } of vservers) {
    for (const { number, per_second } of hosts) {
      const key = keyOf(name, number);
      sums.set(key, added(sums.get(key), per_second));
    }
  }
  return Object.fromEntries(sums);
}

const added = (sum: Traffic | undefined, { connections, packets, bytes }: TrafficCount): Traffic => ({
  connections: Math.round((sum?.connections ?? 0) + connections),
  packets: Math.round((sum?.packets ?? 0) + packets),
  bytes: Math.round((sum?.bytes ?? 0) + bytes),
});

/**
 * Reads what another node told. Only one that holds the array key can have, so its shape is looked at as far as one of another
 * version might differ; undefined when it can't be used.
 */
export function readSlice(text: string, number: number): NodeSlice | undefined {
  const value = parseJson(text);
  return isRecord(value) && value["number"] === number && isSlice(value) ? value : undefined;
}

const LISTS = ["vservers", "web_servers", "events"] as const;
const NUMBERS = ["uptime_s", "open", "workers", "time_sum_us", "time_count", "left_out"] as const;

function isSlice(value: object): value is NodeSlice {
  const entries = new Map<string, unknown>(Object.entries(value));
  return (
    LISTS.every((key) => Array.isArray(entries.get(key))) &&
    NUMBERS.every((key) => typeof entries.get(key) === "number") &&
    isRecord(entries.get("counts")) &&
    typeof entries.get("life") === "string"
  );
}
