/**
 * Which web server gets a request. Pure: the pool's state, the request's key and the time decide, so every
 * worker of every node makes the same choice for the same cookie or URL.
 */

import { finish } from "./hash.ts";

/** What a worker knows of one web server. */
export interface ServerState {
  readonly weight: number;
  /** Seed of the server's place in the URL hash; from its identity, so all nodes agree. */
  readonly seed: number;
  /** Passed over until then after it could not be connected; 0 when it is up. */
  downUntil_ms: number;
  /** Running value of smooth weighted round robin. */
  roundRobin: number;
}

export interface PoolState {
  readonly servers: readonly ServerState[];
  readonly scheduling: "cookie" | "url-hash";
  /** Injected cookie value → web server. */
  readonly tokenIndex: ReadonlyMap<string, number>;
}

export const NONE = -1;

/**
 * Chooses by the injected cookie when it names a web server that is up, else by the pool's scheduling. Those
 * in `tried` are left out. When all others are passed over they are tried all the same: a stale verdict must
 * not turn into a 503. Returns NONE when every web server has been tried.
 */
export function chooseServer(
  pool: PoolState,
  token: string,
  hash: number,
  tried: readonly number[],
  now_ms: number,
): number {
  if (pool.scheduling === "url-hash") return chooseByHash(pool, hash, tried, now_ms);
  const named = token === "" ? undefined : pool.tokenIndex.get(token);
  if (named !== undefined && isUsable(pool.servers[named]!, named, tried, now_ms)) return named;
  return chooseByWeight(pool, tried, now_ms);
}

function isUsable(server: ServerState, index: number, tried: readonly number[], now_ms: number): boolean {
  return server.downUntil_ms <= now_ms && !tried.includes(index);
}

/** Smooth weighted round robin: each choice adds every weight, the highest is taken and pays the total. */
function chooseByWeight(pool: PoolState, tried: readonly number[], now_ms: number): number {
  let best = NONE;
  let total = 0;
  for (let index = 0; index < pool.servers.length; index++) {
    const server = pool.servers[index]!;
    if (server.weight === 0 || !isUsable(server, index, tried, now_ms)) continue;
    total += server.weight;
    server.roundRobin += server.weight;
    if (best === NONE || server.roundRobin > pool.servers[best]!.roundRobin) best = index;
  }
  if (best === NONE) return firstUntried(pool, tried);
  pool.servers[best]!.roundRobin -= total;
  return best;
}

/**
 * Weighted rendezvous hashing (Thaler and Ravishankar 1998, with the logarithmic weights of Schindelhauer and
 * Schomaker 2005): the highest score wins, so when a web server goes, only its own URLs move.
 */
function chooseByHash(pool: PoolState, hash: number, tried: readonly number[], now_ms: number): number {
  let best = NONE;
  let bestScore = -Infinity;
  for (let index = 0; index < pool.servers.length; index++) {
    const server = pool.servers[index]!;
    if (server.weight === 0 || !isUsable(server, index, tried, now_ms)) continue;
    const score = rendezvousScore(server, hash);
    if (score <= bestScore) continue;
    best = index;
    bestScore = score;
  }
  return best === NONE ? firstUntried(pool, tried) : best;
}

function rendezvousScore(server: ServerState, hash: number): number {
  const uniform = (finish(hash ^ server.seed) + 0.5) / 4_294_967_296;
  return -server.weight / Math.log(uniform);
}

/** Of web servers that are passed over, the one whose time is up first. */
function firstUntried(pool: PoolState, tried: readonly number[]): number {
  let best = NONE;
  for (let index = 0; index < pool.servers.length; index++) {
    const server = pool.servers[index]!;
    if (server.weight === 0 || tried.includes(index)) continue;
    if (best === NONE || server.downUntil_ms < pool.servers[best]!.downUntil_ms) best = index;
  }
  return best;
}
