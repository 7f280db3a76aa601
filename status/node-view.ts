/** What a node knows of its vservers and web servers, gathered once for everything that shows it. Pure. */
import type { Config, PoolConfig, VserverConfig } from "../conf/schema.ts";
import type { VserverCounts, WorkerReport } from "../conf/messages.ts";
import type { NodeFacts, Published } from "./info.ts";
import type { Look, Observed } from "./observed.ts";
import { nodeWebServers, sumVservers, workerReports, type WebServerSum } from "./sum.ts";

export interface NodeView {
  readonly facts: NodeFacts;
  readonly published: readonly Published[];
  /** Workers that answer, and the last counters of those that don't. */
  readonly workers: readonly WorkerReport[];
  readonly absent: readonly WorkerReport[];
  /** Of vservers that are proxied; all of the configuration, in its order. */
  readonly vservers: readonly VserverView[];
  readonly pools: readonly PoolView[];
  readonly observed: Observed;
  /** Unix time; what is observed goes by `facts.uptime_s`, which no clock change moves. */
  readonly now_ms: number;
}
export interface VserverView {
  readonly config: VserverConfig;
  readonly counts: VserverCounts;
}
export interface PoolView {
  readonly config: PoolConfig;
  readonly servers: readonly WebServerView[];
}
export interface WebServerView {
  readonly config: PoolConfig["servers"][number];
  /** Undefined while no worker has told of it. */
  readonly sum: WebServerSum | undefined;
}

/** Names under which counters are observed. */
export const acceptedKey = (vserver: string): string => `accepted/${vserver}`;
export const requestsKey = (vserver: string): string => `requests/${vserver}`;
export const hitsKey = (pool: string, id: string): string => `hits/${pool}/${id}`;
export const webServerKey = (pool: string, id: string): string => `${pool}/${id}`;
export const poolKey = (pool: string): string => `${pool}/`;

const isProxied = ({ protocol }: VserverConfig): boolean => protocol === "http" || protocol === "https";

/** Gathers the view of a node from what its processes say. */
export function nodeView(
  facts: NodeFacts,
  published: readonly Published[],
  absent: readonly WorkerReport[],
  observed: Observed,
  now_ms: number,
): NodeView {
  const workers = workerReports(published.flatMap(({ body }) => body ?? []));
  return {
    facts,
    published,
    workers,
    absent,
    vservers: vserverViews(facts.config, [...workers, ...absent]),
    pools: poolViews(facts.config, workers, absent),
    observed,
    now_ms,
  };
}

function vserverViews({ vservers }: Config, reports: readonly WorkerReport[]): VserverView[] {
  const sums = sumVservers(reports.flatMap((report) => report.vservers));
  const byName = new Map(sums.map((sum) => [sum.name, sum]));
  return vservers
    .filter(isProxied)
    .map((config) => ({ config, counts: byName.get(config.name) ?? nothingYet(config.name) }));
}

const nothingYet = (name: string): VserverCounts => ({
  name,
  open_connections: 0,
  most_open_connections: 0,
  accepted: 0,
  requests: 0,
  bytes_in: 0,
  bytes_out: 0,
  own_answers: 0,
  refused_requests: 0,
  client_aborts: 0,
  server_aborts: 0,
  responses: [0, 0, 0, 0, 0, 0],
});

function poolViews(
  { pools }: Config,
  workers: readonly WorkerReport[],
  absent: readonly WorkerReport[],
): PoolView[] {
  const sums = nodeWebServers(workers, absent);
  const byKey = new Map(sums.map((sum) => [webServerKey(sum.pool, sum.id), sum]));
  return pools
    .filter(({ scheduling }) => scheduling !== "direct")
    .map((config) => ({
      config,
      servers: config.servers.map((server) => ({
        config: server,
        sum: byKey.get(webServerKey(config.name, server.id)),
      })),
    }));
}

/** What is observed of a view. A pool is up while one of its web servers is. */
export function lookAt({ vservers, pools, facts }: NodeView): Look {
  const counters = new Map<string, number>();
  const isUp = new Map<string, boolean>();
  for (const { counts } of vservers) {
    counters.set(acceptedKey(counts.name), counts.accepted).set(requestsKey(counts.name), counts.requests);
  }
  for (const { config, servers } of pools) {
    const seen = servers.flatMap(({ sum }) => (sum === undefined || sum.seen_by === 0 ? [] : sum));
    for (const sum of seen) {
      counters.set(hitsKey(sum.pool, sum.id), sum.hits);
      isUp.set(webServerKey(sum.pool, sum.id), sum.is_up);
    }
    if (seen.length > 0)
      isUp.set(
        poolKey(config.name),
        seen.some((sum) => sum.is_up),
      );
  }
  return { now_ms: facts.uptime_s * 1000, counters, isUp };
}
