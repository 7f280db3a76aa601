import assert from "node:assert/strict";
import { test } from "node:test";
import { concernsScheduler, restartNeeds } from "../../cli/restart-needs.ts";
import { configSchema, type Config } from "../../conf/schema.ts";

const base = {
  array: { name: "a", key_file: "/k" },
  nodes: [{ number: 1, name: "n1", address: "192.0.2.1", interface: "eth0" }],
  vservers: [
    { name: "web", vips: ["192.0.2.10"], ports: [80], protocol: "http", pool: "web" },
    { name: "dns", vips: ["192.0.2.10"], ports: [53], protocol: "udp", pool: "dns" },
  ],
  pools: [
    { name: "web", servers: [{ id: "w1", address: "192.0.2.21" }] },
    { name: "dns", scheduling: "direct", servers: [{ id: "d1", number: 1, address: "192.0.2.31" }] },
  ],
};
const made = (changes: object): Config => configSchema.parse({ ...base, ...changes });
const [web, dns] = base.vservers;
const [webPool, dnsPool] = base.pools;

const rows: [what: string, changes: object, needs: string[], concernsScheduler: boolean][] = [
  ["nothing", {}, [], false],
  ["a proxied pool", { pools: [{ ...webPool, balance: "first" }, dnsPool] }, [], false],
  [
    "time-outs, limits, the log",
    { timeouts: { keep_alive_ms: 5000 }, limits: { workers: 3 }, access_log: { file: "/l" } },
    [],
    false,
  ],
  ["hosts of a vserver", { vservers: [{ ...web, hosts: ["a.org"] }, dns] }, [], false],
  ["a port", { vservers: [{ ...web, ports: [80, 81] }, dns] }, [], true],
  ["a VIP", { vservers: [{ ...web, vips: ["192.0.2.11"] }, dns] }, [], true],
  ["a vserver", { vservers: [web] }, [], true],
  [
    "a host of a direct pool",
    { pools: [webPool, { ...dnsPool, servers: [{ id: "d2", number: 2, address: "192.0.2.32" }] }] },
    [],
    true,
  ],
  ["a node's weight", { nodes: [{ ...base.nodes[0], weight: 3 }] }, [], true],
  ["balance", { scheduler: { balance: "hits" } }, [], true],
  ["the array's name", { array: { name: "b", key_file: "/k" } }, ["array.name"], false],
  ["a node's interface", { nodes: [{ ...base.nodes[0], interface: "eth1" }] }, ["nodes[0].interface"], true],
  [
    "a node more",
    { nodes: [...base.nodes, { number: 2, name: "n2", address: "192.0.2.2", interface: "e" }] },
    ["nodes (their number)"],
    true,
  ],
  ["the table's size", { scheduler: { table_size: 4096 } }, ["scheduler.table_size"], true],
  [
    "failover's times",
    { failover: { heartbeat_ms: 20, dead_after_ms: 100 } },
    ["failover.heartbeat_ms", "failover.dead_after_ms"],
    false,
  ],
  ["the dashboard", { status: { metrics: {}, dashboard: { token_file: "/t" } } }, [], false],
  ["the sweep's port", { status: { port: 99 } }, ["status.port"], false],
  [
    "a direct pool's table",
    { pools: [webPool, { ...dnsPool, table_size: 512 }] },
    ["pools (which are direct, and their table_size)"],
    true,
  ],
];
for (const [what, changes, needs, isSchedulers] of rows) {
  test(`${what}: ${needs.length === 0 ? "a reload will do" : "needs a restart, and says for which key"}`, () => {
    const before = made({});
    const after = made(changes);
    assert.deepEqual(restartNeeds(before, after), needs);
    assert.equal(concernsScheduler(before, after), isSchedulers);
  });
}
