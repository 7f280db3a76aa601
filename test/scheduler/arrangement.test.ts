/** What stands where in the maps: direct pools' tables and vservers' rows of traffic. */
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { parseConfig } from "../../conf/load.ts";
import type { Config } from "../../conf/schema.ts";
import { arrangeTables, placesFor, servicesOf } from "../../scheduler/arrangement.ts";
import { DIRECT_BUCKETS } from "../../scheduler/layout.ts";
import type { GroupEntry, SharedMaps } from "../../scheduler/plane/shared-maps.ts";
import { clear, readWord, wordOf } from "../../scheduler/table.ts";
import { NO_PLACES, ROWS_PER_VSERVER } from "../../scheduler/traffic-rows.ts";

const TABLE_SIZE = 1024;

/** As much of the maps as is needed here. */
function mapsOf(): SharedMaps {
  const groups = new Map<number, GroupEntry>();
  const buckets = new Int32Array((TABLE_SIZE + DIRECT_BUCKETS) * 2);
  clear(buckets);
  const maps: Pick<SharedMaps, "buckets" | "tableSize" | "readGroup" | "writeGroup"> = {
    buckets,
    tableSize: TABLE_SIZE,
    readGroup: (group) => groups.get(group) ?? { identity: 0n, tableBase: 0, tableSize: 0 },
    writeGroup: (group, entry) => void groups.set(group, entry),
  };
  return maps as SharedMaps;
}

function configOf(pools: readonly { name: string; size: number }[]): Config {
  const text = readFileSync(join(import.meta.dirname, "../conf/good.yaml"), "utf8");
  const parsed = parseConfig(text, "good.yaml");
  assert.ok("config" in parsed);
  const [host] = parsed.config.pools[0]!.servers;
  const direct = pools.map(({ name, size }, i): Config["pools"][number] => ({
    ...parsed.config.pools[0]!,
    name,
    scheduling: "direct",
    table_size: size,
    servers: [{ ...host!, number: i }],
  }));
  const vservers = pools.map(({ name }, i): Config["vservers"][number] => ({
    ...parsed.config.vservers[0]!,
    name: `direct-${name}`,
    protocol: i % 2 === 0 ? "udp" : "tcp",
    vips: ["192.0.2.77"],
    ports: [5000 + i],
    hash: i % 2 === 0 ? "address" : "address-and-port",
    pool: name,
  }));
  return {
    ...parsed.config,
    pools: [...parsed.config.pools, ...direct],
    vservers: [...parsed.config.vservers, ...vservers],
  };
}

test("each direct pool has buckets of its own behind the nodes', and keeps them when others come and go", () => {
  const maps = mapsOf();
  const first = arrangeTables(
    configOf([
      { name: "dns", size: 256 },
      { name: "mail", size: 512 },
    ]),
    maps,
  );
  assert.deepEqual(
    first.map(({ name, size, group }) => [name, size, group > 0]),
    [
      ["", TABLE_SIZE, false],
      ["dns", 256, true],
      ["mail", 512, true],
    ],
  );
  const [nodes, dns, mail] = first;
  assert.equal(nodes!.table.length, TABLE_SIZE * 2);
  mail!.table[0] = wordOf(7, 8);
  const second = arrangeTables(
    configOf([
      { name: "new", size: 1024 },
      { name: "mail", size: 512 },
    ]),
    maps,
  );
  const kept = second.find(({ name }) => name === "mail")!;
  assert.deepEqual([kept.base, kept.group, readWord(kept.table, 0)], [mail!.base, mail!.group, wordOf(7, 8)]);
  const fresh = second.find(({ name }) => name === "new")!;
  assert.ok(fresh.base >= TABLE_SIZE);
  assert.ok(fresh.base + fresh.size <= kept.base || fresh.base >= kept.base + kept.size);
  assert.ok(dns!.base >= TABLE_SIZE);
});

test("a pool that takes a former one's place begins with an empty table", () => {
  const maps = mapsOf();
  const [, dns] = arrangeTables(configOf([{ name: "dns", size: 256 }]), maps);
  dns!.table.fill(wordOf(1, 2));
  const [, other] = arrangeTables(configOf([{ name: "other", size: 256 }]), maps);
  assert.equal(other!.base, dns!.base);
  assert.equal(readWord(other!.table, 0), wordOf(255, 255));
});

test("vservers name the table, group and rows that their traffic uses", () => {
  const config = configOf([
    { name: "dns", size: 256 },
    { name: "mail", size: 512 },
  ]);
  const maps = mapsOf();
  const places = placesFor(config, NO_PLACES);
  const areas = arrangeTables(config, maps);
  const services = servicesOf(config, areas, places);
  const count = config.vservers.reduce((sum, { vips, ports }) => sum + vips.length * ports.length, 0);
  assert.equal(services.length, count);
  const entryOf = (port: number) => services.find((service) => service.port === port)!;
  const [, dns, mail] = areas;
  const udp = entryOf(5000);
  assert.equal(udp.transport, "udp");
  assert.deepEqual(
    [udp.vserver.tableBase, udp.vserver.tableSize, udp.vserver.group, udp.vserver.isAddressOnly],
    [dns!.base, 256, dns!.group, true],
  );
  const tcp = entryOf(5001);
  assert.deepEqual(
    [tcp.transport, tcp.vserver.tableBase, tcp.vserver.isAddressOnly],
    ["tcp", mail!.base, false],
  );
  for (const { vserver } of services) assert.equal(vserver.trafficBase, vserver.index * ROWS_PER_VSERVER);
  const proxied = services.filter(({ port }) => port < 5000);
  assert.ok(
    proxied.length > 0 && proxied.every(({ vserver }) => vserver.group === 0 && vserver.tableBase === 0),
  );
});
