/**
 * A node's vservers and pools as HAProxy would count them: vservers are frontends, pools are backends. The rows stand in the
 * order of the configuration, each pool's web servers before the pool, and numbers follow that order, too. Pure.
 */
import { average_us } from "../sum.ts";
import {
  acceptedKey,
  hitsKey,
  poolKey,
  requestsKey,
  webServerKey,
  type NodeView,
  type PoolView,
  type VserverView,
  type WebServerView,
} from "../node-view.ts";
import type { StatValues } from "./stat-fields.ts";
import type { StatRow } from "./stat-output.ts";

/** HAProxy gives 1 to its own statistics proxy. */
const FIRST_IID = 2;

/** All rows of a node. */
export function statRows(view: NodeView): StatRow[] {
  const { vservers, pools } = view;
  return [
    ...vservers.map((vserver, index) => frontendRow(view, vserver, FIRST_IID + index)),
    ...pools.flatMap((pool, index) => poolRows(view, pool, FIRST_IID + vservers.length + index)),
  ];
}

function classesOf(responses: readonly number[]): StatValues {
  const [other = 0, hrsp_1xx = 0, hrsp_2xx = 0, hrsp_3xx = 0, hrsp_4xx = 0, hrsp_5xx = 0] = responses;
  return { hrsp_1xx, hrsp_2xx, hrsp_3xx, hrsp_4xx, hrsp_5xx, hrsp_other: other };
}

function frontendRow(view: NodeView, { config, counts }: VserverView, iid: number): StatRow {
  const { observed, workers, facts } = view;
  const connections = observed.rateOf(acceptedKey(counts.name));
  const requests = observed.rateOf(requestsKey(counts.name));
  const values: StatValues = {
    pxname: config.name,
    svname: "FRONTEND",
    scur: counts.open_connections,
    smax: counts.most_open_connections,
    slim: facts.config.limits.connections_per_worker * workers.length,
    stot: counts.accepted,
    bin: counts.bytes_in,
    bout: counts.bytes_out,
    dreq: 0,
    dresp: 0,
    ereq: counts.refused_requests,
    status: workers.some(({ is_accepting }) => is_accepting) ? "OPEN" : "STOP",
    pid: 1,
    iid,
    sid: 0,
    type: 0,
    rate: connections.per_second,
    rate_lim: 0,
    rate_max: connections.most_per_second,
    ...classesOf(counts.responses),
    req_rate: requests.per_second,
    req_rate_max: requests.most_per_second,
    req_tot: counts.requests,
    comp_in: 0,
    comp_out: 0,
    comp_byp: 0,
    comp_rsp: 0,
    mode: "http",
    conn_rate: connections.per_second,
    conn_rate_max: connections.most_per_second,
    conn_tot: counts.accepted,
    intercepted: counts.own_answers,
    dcon: 0,
    dses: 0,
    wrew: 0,
    eint: counts.own_answers - counts.refused_requests,
  };
  return { kind: "Frontend", iid, sid: 0, values };
}

function poolRows(view: NodeView, pool: PoolView, iid: number): StatRow[] {
  const servers = pool.servers.map((server, index) => serverRow(view, pool, server, iid, index + 1));
  return [...servers, backendRow(view, pool, iid)];
}

/** What servers and backends have in common, from one row or from the sum of several. */
function trafficOf(servers: readonly WebServerView[]): StatValues {
  const sums = servers.flatMap(({ sum }) => sum ?? []);
  const total = (of: (sum: (typeof sums)[number]) => number): number =>
    sums.reduce((all, sum) => all + of(sum), 0);
  const classes = [0, 1, 2, 3, 4, 5].map((index) => total(({ responses }) => responses[index] ?? 0));
  const hits = total((sum) => sum.hits);
  const mean_us = average_us(
    total((sum) => sum.response_time_sum_us),
    total((sum) => sum.response_time_count),
  );
  const mean_ms = Math.round((mean_us ?? 0) / 1000);
  return {
    qcur: total((sum) => sum.waiting),
    qmax: 0,
    scur: total((sum) => sum.active_requests),
    smax: total((sum) => sum.most_active_requests),
    stot: hits,
    bin: total((sum) => sum.bytes_in),
    bout: total((sum) => sum.bytes_out),
    dresp: 0,
    econ: total((sum) => sum.connect_failures),
    eresp: total((sum) => sum.response_failures),
    wretr: total((sum) => sum.retries),
    wredis: total((sum) => sum.redispatches),
    pid: 1,
    lbtot: hits,
    ...classesOf(classes),
    req_tot: hits,
    cli_abrt: total((sum) => sum.client_aborts),
    srv_abrt: total((sum) => sum.server_aborts),
    qtime: 0,
    ctime: 0,
    rtime: mean_ms,
    ttime: mean_ms,
    mode: "http",
    wrew: 0,
    connect: total((sum) => sum.connects),
    reuse: total((sum) => sum.reuses),
    eint: 0,
  };
}

/** Since when it is up or down, as far as this process has seen it. */
function changesOf({ observed, facts }: NodeView, key: string): StatValues {
  const state = observed.stateOf(key, facts.uptime_s * 1000);
  if (state === undefined) return {};
  return { chkdown: state.downs, lastchg: state.since_s, downtime: state.down_s };
}

const addressText = (address: string, port: number): string =>
  address.includes(":") ? `[${address}]:${port}` : `${address}:${port}`;

/** Some workers may have found out already that it can't be connected: the state between, as HAProxy writes it. */
export function statusOf({ sum }: WebServerView): string {
  if (sum === undefined || sum.seen_by === 0) return "no check";
  // An operator's word is the same for all workers.
  if (sum.state === "maint") return "MAINT";
  if (sum.up_for === 0) return "DOWN";
  if (sum.state === "drain") return "DRAIN";
  return sum.up_for === sum.seen_by ? "UP" : `UP ${sum.up_for}/${sum.seen_by}`;
}

/** As it is now: an operator may have changed it. */
const weightOf = ({ config, sum }: WebServerView): number => sum?.weight ?? config.weight;

function serverRow(view: NodeView, pool: PoolView, server: WebServerView, iid: number, sid: number): StatRow {
  const { config, sum } = server;
  const rate = view.observed.rateOf(hitsKey(pool.config.name, config.id));
  const idle = (sum?.open_connections ?? 0) - (sum?.active_requests ?? 0);
  const values: StatValues = {
    ...trafficOf([server]),
    pxname: pool.config.name,
    svname: config.id,
    status: statusOf(server),
    weight: weightOf(server),
    uweight: weightOf(server),
    act: config.backup ? 0 : 1,
    bck: config.backup ? 1 : 0,
    ...changesOf(view, webServerKey(pool.config.name, config.id)),
    iid,
    sid,
    type: 2,
    rate: rate.per_second,
    rate_max: rate.most_per_second,
    addr: addressText(config.address, config.port),
    srv_icur: Math.max(0, idle),
    idle_conn_cur: Math.max(0, idle),
    used_conn_cur: sum?.active_requests ?? 0,
  };
  return { kind: "Server", iid, sid, values };
}

function backendRow(view: NodeView, pool: PoolView, iid: number): StatRow {
  const { config, servers } = pool;
  const up = servers.filter(({ sum }) => sum?.is_up === true);
  const isSeen = servers.some(({ sum }) => sum !== undefined && sum.seen_by > 0);
  const active = up.filter((server) => !server.config.backup);
  const serving = active.length > 0 ? active : up;
  const weight = serving.reduce((all, server) => all + weightOf(server), 0);
  const rates = servers.map((server) => view.observed.rateOf(hitsKey(config.name, server.config.id)));
  const values: StatValues = {
    ...trafficOf(servers),
    pxname: config.name,
    svname: "BACKEND",
    dreq: 0,
    status: up.length > 0 || !isSeen ? "UP" : "DOWN",
    weight,
    uweight: weight,
    act: active.length,
    bck: up.length - active.length,
    ...changesOf(view, poolKey(config.name)),
    iid,
    sid: 0,
    type: 1,
    rate: rates.reduce((all, rate) => all + rate.per_second, 0),
    rate_max: rates.reduce((all, rate) => all + rate.most_per_second, 0),
    comp_in: 0,
    comp_out: 0,
    comp_byp: 0,
    comp_rsp: 0,
    algo: config.scheduling === "url-hash" ? "uri" : ALGORITHMS[config.balance],
  };
  return { kind: "Backend", iid, sid: 0, values };
}

/** HAProxy's names where it has the like. */
const ALGORITHMS: Readonly<Record<PoolView["config"]["balance"], string>> = {
  "round-robin": "roundrobin",
  "least-connections": "leastconn",
  "least-response-time": "least-response-time",
  "random-of-two": "random",
  first: "first",
};
