/**
 * What stands where in the maps: each direct pool's part of the bucket map, each virtual server's rows of traffic. What
 * an earlier process has placed stays in its place.
 */
import { createHash } from "node:crypto";
import type { Config, PoolConfig } from "../conf/schema.ts";
import { allocateGroups, type GroupRow } from "./direct/direct-groups.ts";
import { GROUP_COUNT } from "./layout.ts";
import type { Service, SharedMaps, VserverEntry } from "./plane/shared-maps.ts";
import { clear, WORDS_PER_BUCKET } from "./table.ts";
import { allot, ROWS_PER_VSERVER, type TrafficPlaces } from "./traffic-rows.ts";

/** A table of buckets: that of the array's nodes (group 0, no name), or a direct pool's. */
export interface TableArea {
  readonly name: string;
  readonly group: number;
  /** First bucket in the bucket map. */
  readonly base: number;
  /** Its part of the bucket map. */
  readonly table: Int32Array;
  readonly size: number;
}

export const directPoolsOf = (config: Pick<Config, "pools">): PoolConfig[] =>
  config.pools.filter(({ scheduling }) => scheduling === "direct");

/** The places of all virtual servers, nodes and hosts of a configuration; `former` as they were before. */
export function placesFor(config: Config, former: TrafficPlaces): TrafficPlaces {
  const nodes = config.nodes.map(({ number }) => ({ group: "", number }));
  const hosts = directPoolsOf(config).flatMap(({ name, servers }) =>
    servers.flatMap(({ number }) => (number === undefined ? [] : [{ group: name, number }])),
  );
  return allot(
    former,
    config.vservers.map(({ name }) => name),
    [...nodes, ...hosts],
  );
}

/** 64 bits of a pool's name; 0 stands for none. */
function identityOf(name: string): bigint {
  return createHash("sha256").update(name).digest().readBigUInt64LE(0) | 1n;
}

/** The tables, with new direct pools' parts of the bucket map taken and emptied. Throws as `allocateGroups`. */
export function arrangeTables(config: Config, maps: SharedMaps): TableArea[] {
  const pools = directPoolsOf(config);
  const former = Array.from({ length: GROUP_COUNT }, (_, group): GroupRow => {
    const { identity, tableBase, tableSize } = maps.readGroup(group);
    return { identity, base: tableBase - maps.tableSize, size: tableSize };
  });
  const wanted = pools.map(({ name, table_size }) => ({ identity: identityOf(name), size: table_size }));
  const rows = allocateGroups(former, wanted);
  const areas = pools.map(({ name }): TableArea => {
    const group = rows.findIndex(({ identity }) => identity === identityOf(name));
    const { base, size } = rows[group]!;
    return areaOf(maps, name, group, maps.tableSize + base, size);
  });
  for (const { group, table } of areas) {
    const [before, after] = [former[group], rows[group]];
    const isSame = (key: keyof GroupRow): boolean => before?.[key] === after?.[key];
    if (!isSame("identity") || !isSame("base") || !isSame("size")) clear(table);
  }
  rows.forEach(({ identity, base, size }, group) => {
    const tableBase = identity === 0n ? 0 : maps.tableSize + base;
    if (group > 0) maps.writeGroup(group, { identity, tableBase, tableSize: size });
  });
  return [areaOf(maps, "", 0, 0, maps.tableSize), ...areas];
}

function areaOf(maps: SharedMaps, name: string, group: number, base: number, size: number): TableArea {
  const first = base * WORDS_PER_BUCKET;
  return { name, group, base, size, table: maps.buckets.subarray(first, first + size * WORDS_PER_BUCKET) };
}

/** Every address, port and transport that is scheduled. */
export function servicesOf(
  config: Pick<Config, "vservers">,
  areas: readonly TableArea[],
  places: TrafficPlaces,
): Service[] {
  return config.vservers.flatMap(({ name, vips, ports, protocol, pool, hash }) => {
    const transport = protocol === "udp" ? "udp" : "tcp";
    // A pool that is not among the areas is one that dlba-server proxies to.
    const area = areas.find((area) => area.name !== "" && area.name === pool) ?? areas[0]!;
    const index = places.vservers[name] ?? 0;
    const vserver: VserverEntry = {
      index,
      tableBase: area.base,
      tableSize: area.size,
      group: area.group,
      trafficBase: index * ROWS_PER_VSERVER,
      isAddressOnly: hash === "address",
    };
    return vips.flatMap((address) => ports.map((port): Service => ({ address, port, transport, vserver })));
  });
}
