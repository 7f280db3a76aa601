/** From the configuration to what a worker serves: pools, TLS contexts by server name, session environments. */
import type { ArrayKey } from "../conf/keys.ts";
import { parseCidr, type Cidr } from "../conf/address.ts";
import { describeError, DlbaError } from "../conf/errors.ts";
import { readGivenFile } from "../conf/given-files.ts";
import { MAX_ERROR_PAGE_BYTES, TICKET_PERIOD_MS } from "../conf/limits.ts";
import type { Config, NodeConfig, PoolConfig, VserverConfig } from "../conf/schema.ts";
import { setTicketKeys } from "../net/openssl.ts";
import { createVserverCounters } from "./engine/counters.ts";
import { createClientConnections } from "./rules/client-connections.ts";
import type { Compression } from "./http/content-coding.ts";
import type { PoolRuntime, VserverRuntime } from "./engine/runtime.ts";
import { hashBytes } from "./hash.ts";
import { createPool, type ProxiedPool, type WorkerPlace } from "./pools/create-pool.ts";
import { retryRules } from "./pools/retry-rules.ts";
import { createPersistence, setCookieLines } from "./persistence.ts";
import { compileRules } from "./rules/rules.ts";
import type { PoolEnv, SessionEnv } from "./session-port.ts";
import { createTicketRing, turnTicketRing, type TicketRing } from "./ticket-keys.ts";
import { createTls, freeTls, type Tls } from "./tls.ts";

export { knownIp } from "./pools/create-pool.ts";

function isProxied(pool: PoolConfig): pool is ProxiedPool {
  return pool.scheduling !== "direct";
}

export interface Service {
  readonly config: VserverConfig;
  readonly runtime: VserverRuntime;
  /** Undefined for http. */
  tls: Tls | undefined;
}
export interface Services {
  readonly pools: readonly PoolRuntime[];
  readonly vservers: readonly Service[];
  readonly tickets: TicketRing;
}

/** Everything that a worker of this node serves. Throws a DlbaError for a certificate or key that can't be used. */
export function createServices(
  config: Config,
  node: NodeConfig,
  arrayKey: ArrayKey,
  place: WorkerPlace = { index: 0, count: 1 },
): Services {
  const tickets = createTicketRing(arrayKey, Date.now());
  const proxied = config.pools.filter(isProxied);
  const pools = new Map(proxied.map((pool) => [pool.name, createServedPool(pool, arrayKey, place)]));
  const vservers = config.vservers.flatMap((vserver) => {
    const served = poolNames(vserver).flatMap((name) => pools.get(name) ?? []);
    if (served.length === 0) return [];
    const tls = vserver.protocol === "https" ? createTls(vserver, tickets.newest.address) : undefined;
    return [{ config: vserver, runtime: createVserver(config, node, vserver, served, tls, tickets), tls }];
  });
  return { pools: [...pools.values()].map(({ runtime }) => runtime), vservers, tickets };
}

/**
 * New connections get what the certificate files hold now; those that there are keep what they have. Throws a DlbaError for a
 * certificate or key that can't be used: then all stays as it was.
 */
export function renewCertificates({ vservers, tickets }: Services): void {
  const https = vservers.filter(({ tls }) => tls !== undefined);
  const renewed: Tls[] = [];
  try {
    for (const { config } of https) renewed.push(createTls(config, tickets.newest.address));
  } catch (error) {
    for (const tls of renewed) freeTls(tls);
    throw error;
  }
  https.forEach((service, i) => {
    const before = service.tls!;
    service.tls = renewed[i]!;
    service.runtime.sslContext = renewed[i]!.context;
    freeTls(before);
  });
}

/** New tickets are made with the key of the time (milliseconds since 1970), also when the clock was put back. */
export function turnTickets(services: Services, arrayKey: ArrayKey, at_ms: number): void {
  const { ends_ms } = services.tickets;
  if (at_ms < ends_ms - TICKET_PERIOD_MS || at_ms >= ends_ms) renewTickets(services, arrayKey, at_ms);
}

/** The same at once, as the array key has changed. */
export function renewTickets({ vservers, tickets }: Services, arrayKey: ArrayKey, at_ms: number): void {
  turnTicketRing(tickets, arrayKey, at_ms);
  for (const { tls } of vservers) {
    for (const context of tls?.contexts ?? []) setTicketKeys(context, tickets.newest.address);
  }
}

/** A pool, as the engine and as sessions know it. */
interface ServedPool {
  readonly runtime: PoolRuntime;
  readonly env: Omit<PoolEnv, "otherCookies">;
}

function createServedPool(pool: ProxiedPool, arrayKey: ArrayKey, place: WorkerPlace): ServedPool {
  const runtime = createPool(pool, arrayKey, place);
  const env = {
    scheduling: pool.scheduling,
    cookieName: pool.cookie,
    setCookie: setCookieLines(pool, arrayKey),
    persistence: createPersistence(pool, arrayKey),
    tokenIndex: runtime.state.tokenIndex,
    takesUpgrades: pool.protocol !== "h2",
    // Connections that begin with a PROXY header are each one client's.
    serverKeepAlive: pool.keep_alive && pool.send_proxy === undefined,
    retries: retryRules(pool),
  };
  return { runtime, env };
}

/** Where a vserver's requests may go. */
const poolNames = ({ pool, rules }: VserverConfig): string[] => [
  ...new Set([pool, ...rules.map((rule) => rule.pool)].filter((name) => name !== undefined)),
];

function poolEnv({ env }: ServedPool, all: readonly ServedPool[]): PoolEnv {
  const others = all.filter((other) => other.env !== env && other.env.scheduling === "cookie");
  return { ...env, otherCookies: others.map((other) => other.env.cookieName) };
}

/** Throws DlbaError ERROR_PAGE when there is none, or it is too large to be sent again and again. */
function errorPage(file: string): string {
  const fail = (reason: string): DlbaError =>
    new DlbaError("ERROR_PAGE", `the error page ${file} can't be used: ${reason}`);
  let page: Buffer;
  try {
    page = readGivenFile(file);
  } catch (error) {
    throw fail(describeError(error));
  }
  if (page.length > MAX_ERROR_PAGE_BYTES) throw fail(`it has more than ${MAX_ERROR_PAGE_BYTES} bytes`);
  return page.toString("latin1");
}

/** A vserver's own bounds go before those of all. */
function limitsOf({ limits }: Config, { limits: own }: VserverConfig): SessionEnv["limits"] {
  return {
    request_head_bytes: own?.request_head_bytes ?? limits.request_head_bytes,
    request_target_bytes: own?.request_target_bytes ?? limits.request_target_bytes,
    request_body_bytes: own?.request_body_bytes ?? limits.request_body_bytes,
    response_head_bytes: own?.response_head_bytes ?? limits.response_head_bytes,
  };
}

function compressionOf({ compression }: VserverConfig): Compression | null {
  if (compression === undefined) return null;
  const { algorithms, types, min_bytes } = compression;
  return { codings: algorithms, types: new Set(types), least_bytes: min_bytes };
}

/** Tells a vserver from others, on each worker alike. */
function purposeOf(name: string): number {
  const bytes = Buffer.from(name, "latin1");
  return hashBytes(bytes, 0, bytes.length);
}

const blocksOf = (texts: readonly string[]): Cidr[] => texts.flatMap((text) => parseCidr(text) ?? []);

function createVserver(
  config: Config,
  node: NodeConfig,
  vserver: VserverConfig,
  pools: readonly ServedPool[],
  tls: Tls | undefined,
  tickets: TicketRing,
): VserverRuntime {
  const isLogged = config.access_log !== undefined && vserver.access_log;
  return {
    name: vserver.name,
    pools: pools.map(({ runtime }) => runtime),
    isLogged,
    http2: vserver.http2,
    sslContext: tls?.context ?? 0,
    tickets,
    trustedProxies: blocksOf(vserver.trusted_proxies),
    proxyProtocolFrom: blocksOf(vserver.proxy_protocol_from),
    errorPages: new Map(vserver.error_pages.map(({ status, file }) => [status, errorPage(file)])),
    openConnections: 0,
    clientConnections:
      vserver.max_connections_per_client === undefined
        ? undefined
        : createClientConnections(vserver.max_connections_per_client, purposeOf(vserver.name)),
    counters: createVserverCounters(),
    env: {
      limits: limitsOf(config, vserver),
      scheme: vserver.protocol === "https" ? "https" : "http",
      hosts: vserver.hosts.map((host) => host.toLowerCase()),
      pools: pools.map((pool) => poolEnv(pool, pools)),
      rules: compileRules(vserver.rules, {
        name: vserver.name,
        poolIndex: (name) => pools.findIndex(({ runtime }) => runtime.name === name),
        readPage: errorPage,
      }),
      compression: compressionOf(vserver),
      via: node.name,
      takesWebsockets: vserver.websockets,
      addsRequestId: vserver.request_id,
      addsTraceparent: vserver.traceparent,
      isLogged: isLogged || (config.status.traces !== undefined && vserver.traceparent),
    },
  };
}
