/**
 * Which web server gets a request. Pure: the pool's state, the request's key and the time decide, so every
 * worker of every node makes the same choice for the same cookie or URL.
 */
import { finish } from "./hash.ts";

/** How web servers are balanced: who gets a request that sticks to none yet. */
export type Balance = "round-robin" | "least-connections" | "least-response-time" | "random-of-two" | "first";

/** What a worker knows of one web server. */
export interface ServerState {
  readonly weight: number;
  /** Seed of the server's place in the URL hash; from its identity, so all nodes agree. */
  readonly seed: number;
  /** Gets requests only while no other web server is up. */
  readonly isBackup: boolean;
  /** Passed over until then after it could not be connected; 0 when it is up. */
  downUntil_ms: number;
  /** When it was back; -Infinity when it has not been away. */
  upSince_ms: number;
  /** Running value of smooth weighted round robin. */
  roundRobin: number;
  /** Requests under way. */
  load: number;
  /** Moving mean of the time to a response's head; 0 before there was one. */
  response_ms: number;
}

/** One that is up, with nothing to do yet. */
export const newServerState = (weight: number, seed: number, isBackup = false): ServerState => ({
  weight,
  seed,
  isBackup,
  downUntil_ms: 0,
  upSince_ms: -Infinity,
  roundRobin: 0,
  load: 0,
  response_ms: 0,
});

export interface PoolState {
  readonly servers: readonly ServerState[];
  readonly scheduling: "cookie" | "url-hash";
  readonly balance: Balance;
  /** A web server that is back gets its whole share after this time; 0: at once. */
  readonly slowStart_ms: number;
  /** Times the mean load per weight that a web server may have before a URL goes to its second choice; 0: any. */
  readonly loadFactor: number;
  /** 32 bits at random, for random-of-two. */
  readonly random: () => number;
  /** Injected cookie value → web server. */
  readonly tokenIndex: ReadonlyMap<string, number>;
}

export const NONE = -1;
/** Of its share that a web server gets as soon as it is back. */
const FIRST_SHARE = 0.1;
/** How much the latest response counts in the moving mean. */
const LATEST_SHARE = 0.1;

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
  const named = token === "" ? undefined : pool.tokenIndex.get(token);
  const isByCookie = pool.scheduling === "cookie" && named !== undefined;
  if (isByCookie && isUsable(pool.servers[named]!, named, tried, now_ms)) return named;
  wish.hash = hash;
  wish.tried = tried;
  wish.now_ms = now_ms;
  const choice = CHOICES[pool.scheduling === "url-hash" ? "hash" : pool.balance];
  wish.isBackup = false;
  const best = choice(pool, wish);
  if (best !== NONE) return best;
  wish.isBackup = true;
  const backup = choice(pool, wish);
  return backup === NONE ? firstUntried(pool, tried) : backup;
}

/** What a choice is made by, among the web servers that are backups or among those that are not. */
interface Wish {
  isBackup: boolean;
  hash: number;
  tried: readonly number[];
  now_ms: number;
}
type Choice = (pool: PoolState, wish: Wish) => number;
/** One record for all: a choice is made for every request. */
const wish: Wish = { isBackup: false, hash: 0, tried: [], now_ms: 0 };

const noCost = (): number => 0;
const loadCost = ({ load }: ServerState): number => load + 1;
const timeCost = ({ load, response_ms }: ServerState): number => (load + 1) * response_ms;

const CHOICES: Readonly<Record<Balance | "hash", Choice>> = {
  "round-robin": (pool, wish) => chooseLeast(pool, wish, noCost),
  "least-connections": (pool, wish) => chooseLeast(pool, wish, loadCost),
  "least-response-time": (pool, wish) => chooseLeast(pool, wish, timeCost),
  "random-of-two": chooseOfTwo,
  first: (pool, wish) => pool.servers.findIndex((server, index) => isCandidate(server, index, wish)),
  hash: chooseByHash,
};

function isUsable(server: ServerState, index: number, tried: readonly number[], now_ms: number): boolean {
  return server.downUntil_ms <= now_ms && !tried.includes(index);
}

function isCandidate(server: ServerState, index: number, { isBackup, tried, now_ms }: Wish): boolean {
  return server.weight !== 0 && server.isBackup === isBackup && isUsable(server, index, tried, now_ms);
}

/** A web server's weight now: it grows for a while after the server is back. */
function weightNow({ weight, upSince_ms }: ServerState, { slowStart_ms }: PoolState, now_ms: number): number {
  if (slowStart_ms === 0) return weight;
  return weight * Math.min(1, Math.max(FIRST_SHARE, (now_ms - upSince_ms) / slowStart_ms));
}

/**
 * Who costs least for its weight; among equals smooth weighted round robin: each choice adds every weight, the highest is
 * taken and pays the total.
 */
function chooseLeast(pool: PoolState, wish: Wish, costOf: (server: ServerState) => number): number {
  let best = NONE;
  let least = Infinity;
  let total = 0;
  for (let index = 0; index < pool.servers.length; index++) {
    const server = pool.servers[index]!;
    if (!isCandidate(server, index, wish)) continue;
    const weight = weightNow(server, pool, wish.now_ms);
    total += weight;
    server.roundRobin += weight;
    const cost = costOf(server) / weight;
    const isBest = cost < least || (cost === least && server.roundRobin > pool.servers[best]!.roundRobin);
    if (!isBest) continue;
    best = index;
    least = cost;
  }
  if (best !== NONE) pool.servers[best]!.roundRobin -= total;
  return best;
}

/** The less loaded one of two that are drawn by weight (Mitzenmacher, "The power of two choices", 2001). */
function chooseOfTwo(pool: PoolState, wish: Wish): number {
  const one = draw(pool, wish);
  const other = draw(pool, wish);
  if (one === NONE) return NONE;
  const cost = (index: number): number =>
    (pool.servers[index]!.load + 1) / weightNow(pool.servers[index]!, pool, wish.now_ms);
  return cost(other) < cost(one) ? other : one;
}

function draw(pool: PoolState, wish: Wish): number {
  let total = 0;
  for (let index = 0; index < pool.servers.length; index++) {
    const server = pool.servers[index]!;
    if (isCandidate(server, index, wish)) total += weightNow(server, pool, wish.now_ms);
  }
  let left = (pool.random() / 4_294_967_296) * total;
  let last = NONE;
  for (let index = 0; index < pool.servers.length; index++) {
    const server = pool.servers[index]!;
    if (!isCandidate(server, index, wish)) continue;
    last = index;
    left -= weightNow(server, pool, wish.now_ms);
    if (left < 0) break;
  }
  return last;
}

/**
 * Weighted rendezvous hashing (Thaler and Ravishankar 1998, with the logarithmic weights of Schindelhauer and
 * Schomaker 2005): the highest score wins, so when a web server goes, only its own URLs move. With a load factor those
 * that have too much already are left out ("Consistent hashing with bounded loads", Mirrokni et al. 2018).
 */
function chooseByHash(pool: PoolState, wish: Wish): number {
  const bound = pool.loadFactor === 0 ? Infinity : loadBound(pool, wish);
  let best = NONE;
  let bestScore = -Infinity;
  for (let index = 0; index < pool.servers.length; index++) {
    const server = pool.servers[index]!;
    if (!isCandidate(server, index, wish)) continue;
    const weight = weightNow(server, pool, wish.now_ms);
    // One request more than the bound's fraction is always allowed: somebody has to get it.
    if (server.load >= Math.ceil(bound * weight)) continue;
    const uniform = (finish(wish.hash ^ server.seed) + 0.5) / 4_294_967_296;
    const score = -weight / Math.log(uniform);
    if (score <= bestScore) continue;
    best = index;
    bestScore = score;
  }
  return best;
}

/** How many requests under way a web server may have by unit of weight, the one to come included. */
function loadBound(pool: PoolState, wish: Wish): number {
  let [load, weight] = [1, 0];
  for (let index = 0; index < pool.servers.length; index++) {
    const server = pool.servers[index]!;
    if (!isCandidate(server, index, wish)) continue;
    load += server.load;
    weight += weightNow(server, pool, wish.now_ms);
  }
  return (pool.loadFactor * load) / weight;
}

/** Of web servers that are passed over, the one whose time is up first; backups last. */
function firstUntried(pool: PoolState, tried: readonly number[]): number {
  let best = NONE;
  for (let index = 0; index < pool.servers.length; index++) {
    const server = pool.servers[index]!;
    if (server.weight === 0 || tried.includes(index)) continue;
    if (best === NONE || isSooner(server, pool.servers[best]!)) best = index;
  }
  return best;
}

function isSooner(one: ServerState, other: ServerState): boolean {
  if (one.isBackup !== other.isBackup) return other.isBackup;
  return one.downUntil_ms < other.downUntil_ms;
}

/** A response's head has come after this time. */
export function noteResponse(server: ServerState, took_ms: number): void {
  const before = server.response_ms;
  server.response_ms = before === 0 ? took_ms : before + (took_ms - before) * LATEST_SHARE;
}
