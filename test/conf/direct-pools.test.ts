/** What must fit together when hosts answer the clients themselves, and when nodes are on several segments. */
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { describe, test } from "node:test";
import { formatConfigErrors } from "../../conf/config-error.ts";
import { DIRECT_BUCKETS, MAX_DIRECT_HOSTS, MAX_DIRECT_POOLS } from "../../conf/limits.ts";
import { parseConfig } from "../../conf/load.ts";

const GOOD = readFileSync(new URL("direct.yaml", import.meta.url), "utf8");

function errorsAfter(from: string, to: string): string {
  assert.ok(GOOD.includes(from), `the good file has ${from}`);
  return errorsOf(GOOD.replace(from, to));
}

function errorsOf(text: string): string {
  const parsed = parseConfig(text, "a.yaml");
  return "errors" in parsed ? formatConfigErrors(parsed.errors) : "";
}

const host = (i: number): string => `      - { id: h${i}, number: ${i}, address: 10.0.2.${i} }\n`;
const direct = (i: number, table_size: number): string =>
  `  - { name: p${i}, scheduling: direct, table_size: ${table_size}, servers: [{ id: h, number: 1, address: 10.0.3.1 }] }\n`;
const proxied = (keys: string, server: string): string =>
  `  - { name: web, ${keys}servers: [{ id: w1, address: 10.0.0.41${server} }] }\nscheduler:`;
const only = (key: string): string =>
  `only direct pools have '${key}', and the scheduling of pools[1] is cookie; remove it, or set scheduling: direct`;

/** The good file with so many further direct pools. */
function withPools(count: number, table_size: number): string {
  const pools = Array.from({ length: count }, (_, i) => direct(i, table_size)).join("");
  return GOOD.replace("scheduler:", `${pools}scheduler:`);
}

type Row = readonly [name: string, from: string, to: string, errors: string];
function tell(rows: readonly Row[]): void {
  for (const [name, from, to, errors] of rows) test(name, () => assert.equal(errorsAfter(from, to), errors));
}

test("a direct pool and nodes on two segments have no errors; a host may be a node", () => {
  assert.equal(errorsOf(GOOD), "");
});

describe("a direct pool", () => {
  tell([
    [
      "serves no requests",
      "protocol: udp",
      "protocol: http",
      "a.yaml:21:11: pool 'names' is direct, and a direct pool serves tcp and udp alone; name a pool with scheduling cookie or url-hash, or use tcp or udp",
    ],
    [
      "must be there",
      "pool: names\n",
      "pool: nmaes\n",
      "a.yaml:21:11: there is no pool 'nmaes'; did you mean 'names'?",
    ],
    ["may be left out: then the nodes serve", "    pool: names\n", "", ""],
    [
      "numbers its hosts",
      "n1, number: 1, ",
      "n1, ",
      "a.yaml:28:9: missing key 'number' in pools[0].servers[0]; each host of a direct pool needs a number",
    ],
    [
      "gives no number twice",
      "number: 2, address: 10.0.0.2,",
      "number: 1, address: 10.0.0.2,",
      "a.yaml:29:27: host number 1 is already that of pools[0].servers[0].number; give each host of a direct pool a number of its own",
    ],
    [
      "gives no MAC address twice",
      "00:32 }",
      "00:31 }",
      "a.yaml:29:54: MAC address 02:00:00:00:00:31 is already that of pools[0].servers[0].mac; give each host of a direct pool a MAC address of its own",
    ],
    [
      "has no host twice: the port is the VIP's, so it does not tell them apart",
      "address: 10.0.0.2, mac: 02:00:00:00:00:32",
      "address: 10.0.0.31, port: 81",
      "a.yaml:29:39: host address 10.0.0.31 is already that of pools[0].servers[0].address; give each host of a direct pool an address of its own",
    ],
    [
      "has no host on loopback",
      "10.0.0.31",
      "127.0.0.1",
      "a.yaml:28:39: 127.0.0.1 is a loopback address; use the unicast address of a host",
    ],
    [
      "has no host whose address is a VIP",
      "10.0.0.31",
      "10.0.0.100",
      "a.yaml:18:12: VIP 10.0.0.100 is the physical address of pools[0].servers[0]; use an address that no machine has: every node holds the VIP",
    ],
    [
      "has checks of known kinds",
      "{ type: icmp }",
      "{ type: ping, path: health }",
      [
        'a.yaml:26:20: pools[0].check.type is "ping"; expected tcp, http, grpc or icmp',
        'a.yaml:26:32: pools[0].check.path is "health"; expected a path such as /health',
      ].join("\n"),
    ],
  ]);

  test("has a bounded number of hosts", () => {
    const hosts = Array.from({ length: MAX_DIRECT_HOSTS + 1 }, (_, i) => host(i + 1)).join("");
    const text = GOOD.replace(/servers:\n(?: {6}.*\n)+/, `servers:\n${hosts}`);
    const expected = `a.yaml:28:7: pools[0].servers is a list of 65; a direct pool has ${MAX_DIRECT_HOSTS} hosts at most`;
    assert.equal(errorsOf(text), expected);
    assert.equal(errorsOf(text.replace(host(MAX_DIRECT_HOSTS + 1), "")), "");
  });
});

describe("direct pools together", () => {
  test("share a bounded number of buckets", () => {
    assert.equal(errorsOf(withPools(1, 16_384)), "");
    const expected = `a.yaml:31:49: up to here the tables of the direct pools have 49152 buckets; make some smaller: together they may have ${DIRECT_BUCKETS}`;
    assert.equal(errorsOf(withPools(4, 16_384)), expected);
  });

  test("are of a bounded number", () => {
    assert.equal(errorsOf(withPools(MAX_DIRECT_POOLS - 1, 256)), "");
    const expected = `a.yaml:93:30: there are 65 direct pools; expected ${MAX_DIRECT_POOLS} at most`;
    assert.equal(errorsOf(withPools(MAX_DIRECT_POOLS, 256)), expected);
  });
});

const idle = (key: string, place: string, scheduling: string): string =>
  `'${key}' has no effect: the scheduling of ${place} is ${scheduling}`;

describe("a pool has nothing that its scheduling leaves nothing to do", () => {
  tell([
    [
      "a direct one has no backups",
      "n1, number: 1, ",
      "n1, number: 1, backup: true, ",
      `a.yaml:28:30: ${idle("backup", "pools[0]", "direct")}; remove it: give the host a weight instead`,
    ],
    [
      "one by cookie has no load factor",
      "scheduler:",
      proxied("load_factor: 1.5, ", ""),
      `a.yaml:30:18: ${idle("load_factor", "pools[1]", "cookie")}; remove it, or set scheduling: url-hash`,
    ],
    [
      "one by URL hash has no other balance",
      "scheduler:",
      proxied("scheduling: url-hash, balance: first, ", ""),
      `a.yaml:30:40: ${idle("balance", "pools[1]", "url-hash")}; remove it, or set scheduling: cookie`,
    ],
    [
      "what fits is good",
      "scheduler:",
      proxied("balance: least-connections, slow_start_ms: 5000, ", ", backup: true"),
      "",
    ],
    ["and so is this", "scheduler:", proxied("scheduling: url-hash, load_factor: 1.25, ", ""), ""],
  ]);
});

describe("a pool that is proxied to has nothing of a direct one", () => {
  tell([
    ["no numbers", "scheduler:", proxied("", ", number: 1"), `a.yaml:30:58: ${only("number")}`],
    [
      "no MAC addresses",
      "scheduler:",
      proxied("", ", mac: '02:00:00:00:00:41'"),
      `a.yaml:30:58: ${only("mac")}`,
    ],
  ]);
});

describe("segments", () => {
  const second = "- { interface: eth1, address: 10.0.1.2, mac: 02:00:00:00:00:02 }";
  tell([
    [
      "are as many for every node",
      `    interfaces:\n      ${second}\n`,
      "",
      "a.yaml:9:5: nodes[1] lists 0 further segments, and nodes[0] 1 further segment; every node lists the same segments in the same order",
    ],
    [
      "have an interface each",
      second,
      second.replace("eth1", "eth0"),
      "a.yaml:14:22: interface eth0 is already that of nodes[1].interface; name an interface of its own for each segment",
    ],
    [
      "have an address for each node",
      second,
      second.replace("10.0.1.2", "10.0.0.1"),
      "a.yaml:14:37: node address 10.0.0.1 is already that of nodes[0].address; give each node its own physical address",
    ],
    [
      "have a MAC address for each node",
      second,
      second.replace("00:02 }", "00:01 }"),
      "a.yaml:14:52: MAC address 02:00:00:00:00:01 is already that of nodes[0].interfaces[0].mac; give each node its own MAC address, or leave mac out",
    ],
    [
      "may share the MAC address of a node: VLAN interfaces have that of their parent",
      "interface: eth0\n",
      "interface: eth0\n    mac: 02:00:00:00:00:01\n",
      "",
    ],
    [
      "have no VIP for an address",
      second,
      second.replace("10.0.1.2", "10.0.0.100"),
      "a.yaml:18:12: VIP 10.0.0.100 is the physical address of nodes[1].interfaces[0]; use an address that no machine has: every node holds the VIP",
    ],
    [
      "have addresses that a host can have",
      second,
      second.replace("10.0.1.2", "127.0.0.2"),
      "a.yaml:14:37: 127.0.0.2 is a loopback address; use the unicast address of a host",
    ],
  ]);
});

describe("a node's own services", () => {
  const scheduler = "scheduler: { port: 8472 }";
  const three = "which is less than 3 times heartbeat_ms";
  const lost = "one lost heartbeat must fail nobody";
  tell([
    [
      "wait for three heartbeats, as the file says",
      scheduler,
      "scheduler: { dead_after_ms: 50 }",
      `a.yaml:30:29: dead_after_ms is 50, ${three} (20); expected a dead_after_ms of 60 or more: ${lost}`,
    ],
    [
      "wait for three heartbeats where only these are in the file",
      scheduler,
      "scheduler: { heartbeat_ms: 34 }",
      `a.yaml:30:28: dead_after_ms is 100, ${three} (34); expected a dead_after_ms of 102 or more: ${lost}`,
    ],
    [
      "wait for four heartbeats of the scheduler",
      scheduler,
      "failover: { heartbeat_ms: 20 }",
      "a.yaml:30:27: dead_after_ms is 50, which is less than 4 times heartbeat_ms (20); expected a dead_after_ms of 80 or more: two lost heartbeats must fail nobody",
    ],
    ["three heartbeats are enough", scheduler, "scheduler: { heartbeat_ms: 5, dead_after_ms: 20 }", ""],
    [
      "have ports of their own",
      scheduler,
      "status: { port: 8471 }",
      "a.yaml:30:17: scheduler.port and status.port are both 8471; give each of the two a port of its own",
    ],
    [
      "and the metrics have theirs",
      scheduler,
      "status: { metrics: { port: 8470 } }",
      "a.yaml:30:28: status.metrics.port and status.port are both 8470; give the metrics a port of their own",
    ],
    [
      "and so has the monitoring socket over TCP",
      scheduler,
      "status: { monitor: { port: 8470, certificate: /c, key: /k, token_file: /t } }",
      "a.yaml:30:28: status.monitor.port and status.port are both 8470; give the monitoring socket a port of its own",
    ],
    [
      "traces need a vserver that has any",
      scheduler,
      "status: { traces: { endpoint: 'http://127.0.0.1:4318/v1/traces' } }",
      "a.yaml:30:19: no request would be traced: no vserver has traceparent; add 'traceparent: true' to a vserver",
    ],
    [
      "that somebody can use",
      scheduler,
      "status: { monitor: { certificate: /c, key: /k } }",
      "a.yaml:30:20: nobody could use the monitoring socket: it has neither token_file nor client_ca; name at least one of the two",
    ],
    [
      "the dashboard has a port of its own, too",
      scheduler,
      "status: { dashboard: { token_file: /t }, monitor: { port: 9471, certificate: /c, key: /k, token_file: /t } }",
      "a.yaml:30:59: status.monitor.port and status.dashboard.port are both 9471; give the monitoring socket a port of its own",
    ],
    [
      "and a whole pair of certificate and key or none",
      scheduler,
      "status: { dashboard: { key: /k, token_file: /t } }",
      "a.yaml:30:29: certificate and key belong together, and one of the two is missing; give both, or none for plain HTTP",
    ],
  ]);
});
