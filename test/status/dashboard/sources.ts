/** Nodes that tell of themselves, for the tests of the dashboard. */
import { configSchema } from "../../../conf/schema.ts";
import type { NodeSlice } from "../../../status/dashboard/messages.ts";

export const config = configSchema.parse({
  array: { name: "shop", key_file: "unused" },
  nodes: [1, 2, 3].map((number) => ({
    number,
    name: `node${number}`,
    address: `192.0.2.${number}`,
    interface: "eth0",
  })),
  vservers: [
    { name: "web", vips: ["192.0.2.10"], ports: [80], protocol: "http", pool: "shop" },
    { name: "dns", vips: ["192.0.2.10"], ports: [53], protocol: "udp" },
  ],
  pools: [{ name: "shop", servers: [{ id: "web1", address: "192.0.2.21" }] }],
});

/** What a node says that has served for `seconds`, at ten connections and a hundred requests a second. */
export function slice(number: number, seconds: number, change: Partial<NodeSlice> = {}): NodeSlice {
  const counts = {
    accepted: 10 * seconds,
    requests: 100 * seconds,
    errors: seconds,
    bytes_in: 1000 * seconds,
    bytes_out: 50_000 * seconds,
  };
  return {
    number,
    version: "1.2.3",
    uptime_s: seconds,
    life: `life-${number}`,
    scheduler: 1,
    workers: 2,
    workers_accepting: 2,
    memory_bytes: 1e8,
    open: 7,
    counts,
    time_sum_us: 200_000 * seconds,
    time_count: 100 * seconds,
    vservers: [{ name: "web", open: 7, ...counts }],
    web_servers: [
      {
        pool: "shop",
        id: "web1",
        address: "192.0.2.21",
        port: 80,
        state: "up",
        reason: "",
        is_up: true,
        weight: 1,
        active: 3,
        waiting: 1,
        requests: 100 * seconds,
        errors: seconds,
        failures: 0,
        time_sum_us: 150_000 * seconds,
        time_count: 100 * seconds,
      },
    ],
    left_out: 0,
    events: [],
    array: number === 1 ? array(true, 769) : null,
    ...change,
  };
}

export function array(is_scheduling: boolean, epoch: number): NonNullable<NodeSlice["array"]> {
  return {
    is_scheduling,
    epoch,
    table_version: 9,
    table_size: 65_536,
    balance: "groups",
    sweep_age_ms: 12,
    sweep_took_ms: 3,
    nodes: [1, 2, 3].map((number) => ({
      number,
      state: "up",
      reason: "",
      buckets: 100 * number,
      effective_weight: 1,
      table_version: 9,
    })),
    to_nodes: {},
    to_vservers: { dns: { connections: 5, packets: 50, bytes: 500 } },
  };
}

export const event = (sequence: number, at_ms = sequence): NodeSlice["events"][number] => ({
  sequence,
  at_ms,
  kind: "takeover",
  severity: "warning",
  process: "failover",
  text: `event ${sequence}`,
  facts: {},
});
