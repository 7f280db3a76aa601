/** From a pool's configuration to what a worker keeps of it. */
import { randomInt } from "node:crypto";
import { parseIp, type IpAddress } from "../../conf/address.ts";
import { DlbaError } from "../../conf/errors.ts";
import { type ArrayKey, cookieToken } from "../../conf/keys.ts";
import { randomWords } from "../../conf/random.ts";
import type { PoolConfig } from "../../conf/schema.ts";
import { newServerState, type ServerState } from "../choose.ts";
import { createServerCounters } from "../engine/counters.ts";
import type { Exchange, PoolRuntime, WebServer } from "../engine/runtime.ts";
import { hashBytes } from "../hash.ts";
import { createOutlier } from "./outliers.ts";
import { createServerTls } from "./server-tls.ts";
import { createRetryBudget } from "./retry-budget.ts";
import { USUAL_RETRIES } from "./retry-rules.ts";
import { createWaitingRoom } from "./waiting-room.ts";

/** A pool that requests are proxied to. Hosts of a direct pool get their clients' packets from the scheduler. */
export type ProxiedPool = PoolConfig & { readonly scheduling: Exclude<PoolConfig["scheduling"], "direct"> };
type ServerConfig = PoolConfig["servers"][number];

/** Which of a node's workers this is, and how many there are: bounds of a node are shared out to them. */
export interface WorkerPlace {
  readonly index: number;
  readonly count: number;
}

/** For a pool whose configuration says nothing of it. */
const USUAL_QUEUE = { most: 1024, timeout_ms: 5000 };

/** An address of a configuration that has been checked. */
export function knownIp(text: string): IpAddress {
  const address = parseIp(text);
  if (address === undefined) throw new DlbaError("ADDRESS_INVALID", `${text} is not an IP address`);
  return address;
}

/** A worker's part of a bound that holds for its node; nobody's is 0, or its requests would wait for ever. */
export function shareOf(bound: number, { index, count }: WorkerPlace): number {
  return Math.max(1, Math.floor(bound / count) + (index % count < bound % count ? 1 : 0));
}

/** Throws DlbaError TLS_CA, TLS_CERTIFICATE or TLS_KEY for what its TLS can't be made of. */
export function createPool(pool: ProxiedPool, arrayKey: ArrayKey, place: WorkerPlace): PoolRuntime {
  const tokens = pool.servers.map((server) => cookieToken(arrayKey, pool.name, server.id));
  const isBounded = pool.servers.some(({ max_connections }) => max_connections !== undefined);
  const { most, timeout_ms } = pool.queue ?? USUAL_QUEUE;
  const room = isBounded ? createWaitingRoom<Exchange>(most) : undefined;
  const { budget_percent, budget_least_per_second } = pool.retries ?? USUAL_RETRIES;
  const now_ms = performance.now();
  return {
    name: pool.name,
    sendProxy: pool.send_proxy,
    isHttp2: pool.protocol === "h2",
    tls: pool.tls === undefined ? 0 : createServerTls(pool.tls, pool.protocol),
    room,
    queueTimeout_ms: timeout_ms,
    retryBudget: createRetryBudget(budget_percent, budget_least_per_second, now_ms),
    outliers:
      pool.outliers === undefined
        ? undefined
        : { settings: pool.outliers, servers: pool.servers.map(() => createOutlier(now_ms)) },
    servers: pool.servers.map((server) => createWebServer(server, pool)),
    state: {
      scheduling: pool.scheduling,
      balance: pool.balance,
      slowStart_ms: pool.slow_start_ms,
      loadFactor: pool.load_factor ?? 0,
      // Workers that draw the same numbers would all send to the same web servers.
      random: randomWords(randomInt(2 ** 32)),
      tokenIndex: new Map(tokens.map((token, index) => [token, index])),
      servers: pool.servers.map((server) => createState(server, place)),
      room,
    },
  };
}

function createWebServer(server: ServerConfig, { tls }: ProxiedPool): WebServer {
  const address = knownIp(server.address);
  return {
    id: server.id,
    address,
    port: server.port,
    expected: { name: server.server_name ?? tls?.server_name, address: address.text },
    session: 0,
    idle: [],
    upstreams: [],
    counters: createServerCounters(),
    configured: { weight: server.weight, state: server.state ?? "ready" },
    standing: { weight: server.weight, state: server.state ?? "ready", complaint: null },
    failure: "",
  };
}

function createState(server: ServerConfig, place: WorkerPlace): ServerState {
  const id = Buffer.from(server.id, "latin1");
  const seed = hashBytes(id, 0, id.length);
  const { max_connections: most, state } = server;
  const made = newServerState(
    state === "drain" ? 0 : server.weight,
    seed,
    server.backup,
    most === undefined ? undefined : shareOf(most, place),
  );
  made.isAway = state === "maint";
  return made;
}
