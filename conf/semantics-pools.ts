/** What must hold within and between pools: web servers that are proxied to, and hosts of direct pools. Pure. */
import type { ConfigPath, Finding } from "./config-error.ts";
import { pathText } from "./config-error.ts";
import { canonicalIp, type ConfigDraft, type Draft, duplicates, entriesOf } from "./draft.ts";
import { DIRECT_BUCKETS, MAX_DIRECT_HOSTS, MAX_DIRECT_POOLS } from "./limits.ts";
import type { PoolConfig } from "./schema.ts";
import { checkDirectHealth, checkProxiedHealth } from "./semantics-health.ts";
import { checkPersistence } from "./semantics-persistence.ts";
import { listOf, suggestion } from "./suggest.ts";

type PoolDraft = Draft<PoolConfig>;
type ServerDraft = Draft<PoolConfig["servers"][number]>;

/** Everything that is wrong with the pools among themselves. */
export function checkPools({ pools }: ConfigDraft): Finding[] {
  const names = entriesOf(pools, ["pools"], "name", (pool) => pool.name);
  const found = duplicates("pool name", names, "give each pool a name of its own");
  for (const [i, pool] of (pools ?? []).entries()) {
    const at = ["pools", i];
    const ids = entriesOf(pool?.servers, [...at, "servers"], "id", (server) => server.id);
    found.push(...duplicates("web server id", ids, "give each web server of a pool an id of its own"));
    if (pool?.scheduling === undefined) continue;
    const isDirect = pool.scheduling === "direct";
    found.push(...(isDirect ? checkDirectPool(pool, at) : checkProxiedPool(pool, at)));
    found.push(...(isDirect ? checkDirectHealth(pool, at) : checkProxiedHealth(pool, at)));
    found.push(...checkBalance(pool, at), ...checkPersistence(pool, at));
  }
  return [...found, ...checkDirectTotals(pools)];
}

/** A pool that is named and isn't there; nothing while the pools' names are in doubt. */
export function unknownPool(named: string, path: ConfigPath, pools: ConfigDraft["pools"]): Finding[] {
  if (pools === undefined || pools.some((pool) => pool?.name === undefined || pool.name === named)) return [];
  const names = pools.flatMap((pool) => pool?.name ?? []);
  const meant = suggestion(named, names);
  const others =
    names.length === 0 ? "add it under pools" : `the pools are ${listOf(names.slice(0, 20), "and")}`;
  const hint = meant === undefined ? others : `did you mean '${meant}'?`;
  return [{ path, message: `there is no pool '${named}'`, hint }];
}

/** The program in the kernel knows a host by its number and its MAC address, and nothing else of it. */
function checkDirectPool({ servers }: PoolDraft, at: ConfigPath): Finding[] {
  const path = [...at, "servers"];
  return [
    ...(servers ?? []).flatMap((server, i) => missingNumber(server, [...path, i])),
    ...tooManyHosts(servers?.length ?? 0, path),
    ...duplicates(
      "host number",
      entriesOf(servers, path, "number", ({ number }) => number),
      ofItsOwn("a number"),
    ),
    ...duplicates(
      "host address",
      entriesOf(servers, path, "address", ({ address }) => canonicalIp(address)),
      ofItsOwn("an address"),
    ),
    ...duplicates(
      "MAC address",
      entriesOf(servers, path, "mac", ({ mac }) => mac?.toLowerCase()),
      ofItsOwn("a MAC address"),
    ),
  ];
}

const ofItsOwn = (what: string): string => `give each host of a direct pool ${what} of its own`;

function missingNumber(server: ServerDraft | undefined, path: ConfigPath): Finding[] {
  if (server === undefined || "number" in server) return [];
  const message = `missing key 'number' in ${pathText(path)}`;
  return [{ path: [...path, "number"], message, hint: "each host of a direct pool needs a number" }];
}

function tooManyHosts(count: number, path: ConfigPath): Finding[] {
  if (count <= MAX_DIRECT_HOSTS) return [];
  const hint = `a direct pool has ${MAX_DIRECT_HOSTS} hosts at most`;
  return [{ path, message: `${pathText(path)} is a list of ${count}`, hint }];
}

/** What only a direct pool can have. (A table_size that was left out can't be told from the default.) */
function checkProxiedPool(pool: PoolDraft, at: ConfigPath): Finding[] {
  const found: Finding[] = [];
  const refuse = (path: ConfigPath): void => {
    const message = `only direct pools have '${path.at(-1)}', and the scheduling of ${pathText(at)} is ${pool.scheduling}`;
    found.push({ path, isAtKey: true, message, hint: "remove it, or set scheduling: direct" });
  };
  for (const [i, server] of (pool.servers ?? []).entries()) {
    const where = [...at, "servers", i];
    if (server?.number !== undefined) refuse([...where, "number"]);
    if (server?.mac !== undefined) refuse([...where, "mac"]);
  }
  return found;
}

/** What the pool's scheduling leaves nothing to do. (Defaults can't be told from what was left out.) */
function checkBalance(
  { scheduling, balance, hash_key, load_factor, send_proxy, protocol, keep_alive, servers }: PoolDraft,
  at: ConfigPath,
): Finding[] {
  const found: Finding[] = [];
  const refuse = (path: ConfigPath, hint: string): void => {
    const message = `'${path.at(-1)}' has no effect: the scheduling of ${pathText(at)} is ${scheduling}`;
    found.push({ path, isAtKey: true, message, hint });
  };
  const isByKey = scheduling !== "cookie" && (hash_key === undefined || hash_key.startsWith("path"));
  if (isByKey && balance !== undefined && balance !== "round-robin")
    refuse([...at, "balance"], "remove it, or set scheduling: cookie");
  if (scheduling !== "url-hash" && load_factor !== undefined)
    refuse([...at, "load_factor"], "remove it, or set scheduling: url-hash");
  if (scheduling === "direct" && send_proxy !== undefined)
    refuse([...at, "send_proxy"], "remove it: the hosts see their clients' addresses");
  if (scheduling === "direct" && protocol === "h2")
    refuse([...at, "protocol"], "remove it: the hosts speak with their clients themselves");
  if (protocol === "h2" && keep_alive === false) {
    const message = "'keep_alive' has no effect: a connection of HTTP/2 serves many requests";
    found.push({
      path: [...at, "keep_alive"],
      isAtKey: true,
      message,
      hint: "remove it, or set protocol: http/1.1",
    });
  }
  if (protocol === "h2" && send_proxy !== undefined) {
    const message = "'send_proxy' can't be: a connection of HTTP/2 serves many clients";
    const hint = "remove it, or set protocol: http/1.1";
    found.push({ path: [...at, "send_proxy"], isAtKey: true, message, hint });
  }
  for (const [i, server] of (servers ?? []).entries()) {
    const hasNoBackups = scheduling === "direct" && server?.backup === true;
    if (hasNoBackups) refuse([...at, "servers", i, "backup"], "remove it: give the host a weight instead");
  }
  return found;
}

/** Direct pools share one part of the kernel's table, and one list of groups. */
function checkDirectTotals(pools: ConfigDraft["pools"]): Finding[] {
  const direct = (pools ?? []).flatMap((pool, i) =>
    pool?.scheduling === "direct" ? [{ table_size: pool.table_size ?? 0, i }] : [],
  );
  const found: Finding[] = [];
  const oneTooMany = direct[MAX_DIRECT_POOLS];
  if (oneTooMany !== undefined) {
    const message = `there are ${direct.length} direct pools`;
    const hint = `expected ${MAX_DIRECT_POOLS} at most`;
    found.push({ path: ["pools", oneTooMany.i, "scheduling"], message, hint });
  }
  let buckets = 0;
  const first = direct.find(({ table_size }) => (buckets += table_size) > DIRECT_BUCKETS);
  if (first !== undefined) {
    const message = `up to here the tables of the direct pools have ${buckets} buckets`;
    const hint = `make some smaller: together they may have ${DIRECT_BUCKETS}`;
    found.push({ path: ["pools", first.i, "table_size"], message, hint });
  }
  return found;
}
