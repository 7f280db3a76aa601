/** The beginning of `show info`: the lines of HAProxy's own that mean something here, in its order and under its names. Pure. */
import { sumOf } from "../sum.ts";
import { acceptedKey, type NodeView } from "../node-view.ts";

export type InfoLine = readonly [name: string, value: string | number];

const MIB = 1 << 20;

/**
 * What collectors of HAProxy look for. One "process" stands for all workers, which count as its threads; limits that we don't
 * have are 0, which means none there, too.
 */
export function haproxyLines(view: NodeView): InfoLine[] {
  const { facts, workers, absent, vservers, now_ms } = view;
  const { config, uptime_s } = facts;
  const all = [...workers, ...absent];
  const open = sumOf(workers, "open_connections");
  const most = config.limits.connections_per_worker * workers.length;
  const memory_bytes = sumOf(workers, "memory_bytes");
  const connections = totalRate(view);
  const handshakes = sumOf(all, "tls_handshakes");
  const resumed = sumOf(all, "tls_resumed");
  return [
    ["Name", "DLBA"],
    ["Version", facts.version],
    ["Release_date", "unreleased"],
    ["Nbthread", workers.length],
    ["Nbproc", 1],
    ["Process_num", 1],
    ["Pid", facts.pid],
    ["Uptime", uptimeText(uptime_s)],
    ["Uptime_sec", Math.floor(uptime_s)],
    ["Memmax_MB", 0],
    ["PoolAlloc_MB", Math.round(memory_bytes / MIB)],
    ["PoolUsed_MB", Math.round(memory_bytes / MIB)],
    ["PoolFailed", 0],
    ["Maxconn", most],
    ["Hard_maxconn", most],
    ["CurrConns", open],
    ["CumConns", sumOf(all, "accepted")],
    ["CumReq", vservers.reduce((sum, { counts }) => sum + counts.requests, 0)],
    ["CumSslConns", handshakes],
    ["Maxpipes", 0],
    ["PipesUsed", 0],
    ["PipesFree", 0],
    ["ConnRate", connections],
    ["ConnRateLimit", 0],
    ["SessRate", connections],
    ["SessRateLimit", 0],
    ["SslFrontendSessionReuse_pct", handshakes === 0 ? 0 : Math.round((resumed / handshakes) * 100)],
    ["Tasks", open],
    ["Run_queue", 0],
    ["node", facts.node.name],
    ["Stopping", workers.length > 0 && workers.every(({ is_accepting }) => !is_accepting) ? 1 : 0],
    ["Jobs", open],
    ["Listeners", vservers.reduce((sum, { config: { vips, ports } }) => sum + vips.length * ports.length, 0)],
    ["DroppedLogs", sumOf(all, "log_lines_dropped")],
    ["TotalBytesOut", vservers.reduce((sum, { counts }) => sum + counts.bytes_out, 0)],
    ["Start_time_sec", Math.floor(now_ms / 1000 - uptime_s)],
  ];
}

function totalRate({ vservers, observed }: NodeView): number {
  return vservers.reduce((sum, { counts }) => sum + observed.rateOf(acceptedKey(counts.name)).per_second, 0);
}

const two = (value: number): string => String(value).padStart(2, "0");

/** `2d 3h04m05s` */
function uptimeText(uptime_s: number): string {
  const whole = Math.floor(uptime_s);
  const [days, hours] = [Math.floor(whole / 86_400), Math.floor(whole / 3600) % 24];
  return `${days}d ${hours}h${two(Math.floor(whole / 60) % 60)}m${two(whole % 60)}s`;
}
