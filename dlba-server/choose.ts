/**
 * Which web server gets a request. Pure: the pool's state, the request's key and the time decide, so every
 * worker of every node makes the same choice for the same cookie or URL.
 */
import { finish } from "./hash.ts";
import { CHOICE } from "./session-port.ts";
import { ANY, mustWaitBehind, type WaitingRoom } from "./pools/waiting-room.ts";

/** How web servers are balanced: who gets a request that sticks to none yet. */
export type Balance = "round-robin" | "least-connections" | "least-response-time" | "random-of-two" | "first";

/** What a worker knows of one web server. */
export interface ServerState {
  /** 0 while it drains. */
  weight: number;
  /** Seed of the server's place in the URL hash; from its identity, so all nodes agree. */
  readonly seed: number;
  /** Gets requests only while no other web server is up. */
  readonly isBackup: boolean;
  /** An operator has taken it out, or the node's checks say that it is down: it gets nothing. */
  isAway: boolean;
  /** Passed over until then after it could not be connected; 0 when it is up. */
  downUntil_ms: number;
  /** Left out until then because it has answered badly. */
  ejectedUntil_ms: number;
  /** When it was back; -Infinity when it has not been away. */
  upSince_ms: number;
  /** Running value of smooth weighted round robin. */
  roundRobin: number;
  /** Requests under way, and how many there may be. */
  load: number;
  readonly maxLoad: number;
  /** Moving mean of the time to a response's head; 0 before there was one. */
  response_ms: number;
}

/** More than there ever are at a time, and a small integer all the same. */
const NO_BOUND = 0x3fff_ffff;

/** One that is up, with nothing to do yet. */
export const newServerState = (
  weight: number,
  seed: number,
  isBackup = false,
  maxLoad = NO_BOUND,
): ServerState => ({
  weight,
  seed,
  isBackup,
  isAway: false,
  downUntil_ms: 0,
  ejectedUntil_ms: 0,
  upSince_ms: -Infinity,
  roundRobin: 0,
  load: 0,
  maxLoad,
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
  /** Requests that wait; undefined where no web server has a bound. */
  readonly room: Pick<WaitingRoom<unknown>, "count" | "any" | "bound"> | undefined;
}

export const NONE: number = CHOICE.none;
/** The request has to wait: for the web server that `boundTo` says, or for any. */
const FULL: number = CHOICE.full;
/** Whom the request waits for that was last told to wait. */
export let boundTo = ANY;
/** Of its share that a web server gets as soon as it is back. */
const FIRST_SHARE = 0.1;
/** How much the latest response counts in the moving mean. */
const LATEST_SHARE = 0.1;

/**
 * Chooses by the injected cookie when it names a web server that is up, else by the hash of the request's key, else by the pool's balance. Those
 * in `tried` are left out. When all others are passed over they are tried all the same: a stale verdict must
 * not turn into a 503. (That of a health check is not stale, and an operator's is none.) Returns NONE when every web
 * server has been tried, and FULL when the request has to wait. A request whose turn has come waits for nobody.
 */
export function chooseServer(
  pool: PoolState,
  token: string,
  hash: number,
  tried: readonly number[],
  now_ms: number,
  isTurn = false,
): number {
  const named = token === "" ? undefined : pool.tokenIndex.get(token);
  const isByCookie = pool.scheduling === "cookie" && named !== undefined;
  if (isByCookie && isUsable(pool.servers[named]!, named, tried, now_ms)) {
    return pool.room === undefined || hasRoomFor(pool.servers[named]!, pool.room, named, isTurn)
      ? named
      : waitFor(named);
  }
  if (pool.room !== undefined && !isTurn && pool.room.any.count > 0) return waitFor(ANY);
  wish.isAnyFull = false;
  wish.hash = hash;
  wish.tried = tried;
  wish.now_ms = now_ms;
  const choice = CHOICES[hash === 0 ? pool.balance : "hash"];
  wish.isBackup = false;
  const best = choice(pool, wish);
  if (best !== NONE) return best;
  // Who is busy is not gone: backups stay what they are.
  if (wish.isAnyFull) return waitFor(ANY);
  wish.isBackup = true;
  const backup = choice(pool, wish);
  if (backup !== NONE) return backup;
  return wish.isAnyFull ? waitFor(ANY) : firstUntried(pool, tried);
}

function waitFor(server: number): number {
  boundTo = server;
  return FULL;
}

function hasRoomFor(
  { load, maxLoad }: ServerState,
  room: NonNullable<PoolState["room"]>,
  server: number,
  isTurn: boolean,
): boolean {
  return load < maxLoad && (isTurn || !mustWaitBehind(room, server));
}

/** What a choice is made by, among the web servers that are backups or among those that are not. */
interface Wish {
  isBackup: boolean;
  /** Somebody would have been chosen, had he room. */
  isAnyFull: boolean;
  hash: number;
  tried: readonly number[];
  now_ms: number;
}
type Choice = (pool: PoolState, wish: Wish) => number;
/** One record for all: a choice is made for every request. */
const wish: Wish = { isBackup: false, isAnyFull: false, hash: 0, tried: [], now_ms: 0 };

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

/** Whether a web server may be given a request, by a cookie at least. */
export function isUsable(
  server: ServerState,
  index: number,
  tried: readonly number[],
  now_ms: number,
): boolean {
  if (server.isAway || server.downUntil_ms > now_ms || server.ejectedUntil_ms > now_ms) return false;
  return !tried.includes(index);
}

function isCandidate(server: ServerState, index: number, wish: Wish): boolean {
  if (server.weight === 0 || server.isBackup !== wish.isBackup) return false;
  if (!isUsable(server, index, wish.tried, wish.now_ms)) return false;
  if (server.load < server.maxLoad) return true;
  wish.isAnyFull = true;
  return false;
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
    if (server.weight === 0 || server.isAway || tried.includes(index)) continue;
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
