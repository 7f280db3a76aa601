/** What stands in for an operator's web servers: what each of them has to listen on, speak and answer. Pure. */
import { parseIp } from "../../conf/address.ts";
import { DlbaError } from "../../conf/errors.ts";
import type { Config, PoolConfig } from "../../conf/schema.ts";
import { canonicalIp } from "../planned-host.ts";

export interface StandInListener {
  readonly port: number;
  readonly is_tls: boolean;
  /** HTTP/2, beside HTTP/1.1. */
  readonly is_h2: boolean;
  /** Connections may begin with a PROXY header. */
  readonly has_proxy_header: boolean;
}

/** The program stand-in.ts is started with this, as JSON. */
export interface StandIn {
  readonly address: string;
  /** What it calls itself: the id of its first web server. */
  readonly label: string;
  readonly listeners: readonly StandInListener[];
  /** By path: the status that the pool's check wants. All else is answered with 200. */
  readonly statuses: Readonly<Record<string, number>>;
}

type PoolsConfig = Pick<Config, "pools">;

/** One for each address of the pools that are proxied to. Throws DlbaError LAB_IMPOSSIBLE when two pools want different things of one port. */
export function planStandIns({ pools }: PoolsConfig): StandIn[] {
  const byAddress = Map.groupBy(
    pools
      .filter(({ scheduling }) => scheduling !== "direct")
      .flatMap((pool) => pool.servers.map((server) => ({ pool, server }))),
    ({ server }) => canonicalIp(server.address),
  );
  return [...byAddress].map(([address, served]) => ({
    address,
    label: served[0]!.server.id,
    listeners: [...Map.groupBy(served, ({ server }) => server.port)].map(([port, pools]) =>
      listenerOf(
        address,
        port,
        pools.map(({ pool }) => pool),
      ),
    ),
    statuses: Object.fromEntries(served.flatMap(({ pool }) => checkedStatus(pool))),
  }));
}

function listenerOf(address: string, port: number, pools: readonly PoolConfig[]): StandInListener {
  const isTls = pools.map(({ tls }) => tls !== undefined);
  if (new Set(isTls).size > 1) {
    const names = pools.map(({ name }) => name).join(" and ");
    throw new DlbaError("LAB_IMPOSSIBLE", `${address} port ${port} is asked both with and without TLS`, {
      hint: `the pools are ${names}: no web server can do both on one port`,
    });
  }
  return {
    port,
    is_tls: isTls[0] === true,
    is_h2: pools.some(({ protocol }) => protocol === "h2"),
    has_proxy_header: pools.some(({ send_proxy }) => send_proxy !== undefined),
  };
}

function checkedStatus({ check }: PoolConfig): [string, number][] {
  return check?.type === "http" ? [[check.path, check.statuses[0] ?? 200]] : [];
}

/** Names and addresses that the web servers' certificate has to be for; empty when none speaks TLS. */
export function webServerNames({ pools }: PoolsConfig): string[] {
  const names = pools.flatMap(({ tls, servers }) =>
    tls === undefined
      ? []
      : servers.map(({ server_name, address }) => server_name ?? tls.server_name ?? canonicalIp(address)),
  );
  return [...new Set(names)];
}

const FREE = { 4: (i: number) => `198.18.3.${i}`, 6: (i: number) => `fd00:198:18:3::${i.toString(16)}` };
const MOST_MOVED = 254;

export interface Moved {
  readonly pool: number;
  readonly server: number;
  readonly from: string;
  readonly to: string;
}

/**
 * Web servers on the nodes themselves (on a loopback address or a node's own) get an address of their own: in a lab each is
 * a machine by itself.
 */
export function movedServers({ nodes, pools }: Pick<Config, "nodes" | "pools">): Moved[] {
  const ofNodes = new Set(nodes.map(({ address }) => canonicalIp(address)));
  const taken = new Set(pools.flatMap(({ servers }) => servers.map(({ address }) => canonicalIp(address))));
  const places = new Map<string, string>();
  const placeOf = (address: string): string => {
    const known = places.get(address);
    if (known !== undefined) return known;
    const free = FREE[address.includes(":") ? 6 : 4];
    for (let i = 1; i <= MOST_MOVED; i++) {
      if (taken.has(free(i))) continue;
      taken.add(free(i));
      places.set(address, free(i));
      return free(i);
    }
    throw new DlbaError("LAB_IMPOSSIBLE", `all of ${free(1)} to ${free(MOST_MOVED)} are taken`);
  };
  return pools.flatMap(({ scheduling, servers }, pool) =>
    scheduling === "direct"
      ? []
      : servers.flatMap(({ address }, server) => {
          const from = canonicalIp(address);
          return isLoopback(from) || ofNodes.has(from) ? [{ pool, server, from, to: placeOf(from) }] : [];
        }),
  );
}

function isLoopback(address: string): boolean {
  return parseIp(address)?.family === 4 ? address.startsWith("127.") : address === "::1";
}
