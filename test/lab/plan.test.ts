import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { parse } from "yaml";
import { parseConfig } from "../../conf/load.ts";
import type { Config } from "../../conf/schema.ts";
import { adaptConfig, type ConfigPlaces } from "../../lab/adapt-config.ts";
import { DEFAULT_SERVER_NAMES, defaultConfig } from "../../lab/lab-config.ts";
import { labPlaces } from "../../lab/places.ts";
import { planLab } from "../../lab/plan.ts";
import { hostNamed, linksOf } from "../../lab/planned-host.ts";

const places: ConfigPlaces = {
  keyFile: "/made/array.key",
  certificateFiles: (i) => ({ certificate: `/made/${i}.crt`, key: `/made/${i}.key` }),
  caFile: "/made/ca.crt",
  pageFile: "/made/page.html",
  accessLogFile: "/made/access.log",
};

function configOf(yaml: string): Config {
  const parsed = parseConfig(yaml, "test.yaml");
  assert.ok("config" in parsed, JSON.stringify(parsed));
  return parsed.config;
}

describe("the lab's own configuration", () => {
  for (const [nodes, webs] of [
    [1, 1],
    [3, 3],
    [64, 250],
  ] as const) {
    test(`is valid with ${nodes} nodes and ${webs} web servers, and can be planned`, () => {
      const config = configOf(defaultConfig("t", nodes, webs, places));
      const { hosts, vips } = planLab(config);
      assert.equal(hosts.length, 1 + nodes + webs);
      assert.equal(new Set(hosts.map(({ mac }) => mac)).size, hosts.length);
      const addresses = hosts.flatMap((host) => host.addresses).concat(vips);
      assert.equal(new Set(addresses).size, addresses.length);
    });
  }

  test("has http and https by cookie and by URL, with one certificate per name", () => {
    const config = configOf(defaultConfig("t", 3, 3, places));
    assert.deepEqual(
      config.vservers.map(({ protocol, ports, pool }) => [protocol, ports[0], pool]),
      [
        ["http", 80, "web"],
        ["https", 443, "web"],
        ["http", 8080, "web-by-url"],
        ["https", 8443, "web-by-url"],
      ],
    );
    assert.equal(config.vservers[1]?.certificates.length, DEFAULT_SERVER_NAMES.length);
    assert.equal(config.limits.workers, 1);
  });
});

const OPERATORS = `# ours
array: { name: prod, key_file: /nonexistent/array.key }
nodes:
  - { number: 7, name: lb-seven, address: 10.1.0.7, interface: ens3, mac: "02:00:00:00:00:07" }
  - { number: 0, name: lb-zero, address: "2001:db8::0:5", interface: ens4 }
vservers:
  - name: shop
    vips: [198.18.0.1, "2001:DB8::100"]
    ports: [443]
    protocol: https
    hosts: [shop.example.org]
    certificates:
      - { certificate: /nonexistent/shop.crt, key: /nonexistent/shop.key }
    pool: app
pools:
  - name: app
    servers:
      - { id: app1, address: 10.9.9.1, port: 8080 }
      - { id: app1b, address: 10.9.9.1, port: 8081 }
`;

describe("an operator's own configuration", () => {
  const config = configOf(OPERATORS);

  test("gives the hosts its names, interfaces, MACs and addresses; one host per web server address", () => {
    const { hosts, vips } = planLab(config);
    assert.deepEqual(
      hosts.map(({ name, label, interface: nic, addresses, ports }) => [name, label, nic, addresses, ports]),
      [
        ["client", "client", "eth0", ["198.18.0.2", "fd00:198:18::1"], []],
        ["node7", "lb-seven", "ens3", ["10.1.0.7", "fd00:198:18:20::1"], []],
        ["node0", "lb-zero", "ens4", ["2001:db8::5", "198.18.32.1"], []],
        ["web1", "app1", "eth0", ["10.9.9.1"], [8080, 8081]],
      ],
    );
    assert.equal(hosts[1]?.mac, "02:00:00:00:00:07");
    assert.deepEqual(vips, ["198.18.0.1", "2001:db8::100"]);
  });

  test("keeps all but the secrets that can't be read, and the XDP mode", () => {
    const adapted = adaptConfig(OPERATORS, config, places);
    assert.deepEqual(adapted.wanted, [{ index: 0, names: ["shop.example.org"] }]);
    assert.equal(adapted.needsKey, true);
    assert.equal(adapted.changes.length, 3);
    const before: Record<string, object> = parse(OPERATORS);
    const after: Record<string, object> = parse(adapted.yaml);
    assert.deepEqual(after["nodes"], before["nodes"]);
    assert.deepEqual(after["pools"], before["pools"]);
    assert.deepEqual(after["scheduler"], { xdp: "generic" });
    assert.deepEqual(after["array"], { name: "prod", key_file: "/made/array.key" });
    assert.ok(adapted.yaml.startsWith("# ours\n"));
    assert.equal(configOf(adapted.yaml).vservers[0]?.certificates[0]?.key, "/made/0.key");
  });

  test("is refused when a web server has a node's address", () => {
    const pools = [
      { ...config.pools[0]!, servers: [{ ...config.pools[0]!.servers[0]!, address: "10.1.0.7" }] },
    ];
    assert.throws(() => planLab({ ...config, pools }), { code: "LAB_IMPOSSIBLE" });
  });
});

test("further clients have names, MAC addresses and addresses of their own, on the same segments", () => {
  const config = configOf(OPERATORS);
  const { hosts } = planLab(config, { clients: 3 });
  const clients = hosts.filter(({ kind }) => kind === "client");
  assert.deepEqual(
    clients.map(({ name, segment }) => [name, segment]),
    [
      ["client", "switch"],
      ["client2", "switch"],
      ["client3", "switch"],
    ],
  );
  assert.equal(new Set(hosts.map(({ mac }) => mac)).size, hosts.length);
  const addresses = hosts.flatMap((host) => host.addresses);
  assert.equal(new Set(addresses).size, addresses.length);
  for (const clients of [0, 33])
    assert.throws(() => planLab(config, { clients }), { code: "LAB_IMPOSSIBLE" });
});

describe("a far client", () => {
  const config = configOf(defaultConfig("t", 2, 1, places));
  const { hosts, segments } = planLab(config, { farMtu_bytes: 1400 });
  const far = hostNamed(hosts, "far");
  const router = hostNamed(hosts, "router");

  test("is behind a router, which is on both segments, on a link of the MTU that was asked for", () => {
    assert.deepEqual(segments, ["switch", "switchfar"]);
    assert.deepEqual([router.segment, router.mtu_bytes], ["switch", 1500]);
    assert.deepEqual([far.segment, far.mtu_bytes], ["switchfar", 1400]);
    assert.deepEqual(
      router.further.map(({ segment, mtu_bytes }) => [segment, mtu_bytes]),
      [["switchfar", 1400]],
    );
  });

  test("says that it takes whole Ethernet frames, over IPv4 and IPv6", () => {
    assert.deepEqual(far.routes, [
      `default via ${router.further[0]?.addresses[0]} dev eth0 onlink advmss 1460`,
      `::/0 via ${router.further[0]?.addresses[1]} dev eth0 onlink advmss 1440`,
    ]);
  });

  test("is reached by way of the router by all others", () => {
    const to = far.addresses.map((address) => `${address}/${address.includes(":") ? 128 : 32}`);
    for (const host of hosts.filter(({ name }) => name !== "far")) {
      const routes = host.routes.filter((route) => to.some((address) => route.startsWith(`${address} `)));
      assert.equal(routes.length, 2, host.name);
      const next = host.name === "router" ? "dev eth1" : `via ${router.addresses[0]} dev eth0 onlink`;
      assert.equal(routes[0], `${to[0]} ${next}`);
    }
  });

  test("is refused with an MTU that IPv6 or Ethernet doesn't have", () => {
    for (const farMtu_bytes of [1279, 1501]) {
      assert.throws(() => planLab(config, { farMtu_bytes }), { code: "LAB_IMPOSSIBLE" });
    }
  });

  test("is not there unless it was asked for", () => {
    assert.deepEqual(planLab(config).segments, ["switch"]);
  });
});

const DIRECT = `array: { name: direct, key_file: /nonexistent/array.key }
nodes:
  - { number: 1, name: n1, address: 198.18.1.1, interface: eth0, interfaces: [{ interface: eth1, address: 198.19.1.1 }] }
  - { number: 2, name: n2, address: 198.18.1.2, interface: eth0, interfaces: [{ interface: eth1, address: 198.19.1.2, mac: "02:00:00:00:00:22" }] }
vservers:
  - { name: site, vips: [198.18.0.100], ports: [80], protocol: http, pool: web }
  - { name: lines, vips: [198.18.0.100, "fd00:198:18::100"], ports: [7000], protocol: tcp, pool: hosts }
  - { name: names, vips: [198.18.0.101], ports: [53], protocol: udp, pool: hosts }
  - { name: own, vips: [198.18.0.100], ports: [7003], protocol: tcp }
pools:
  - { name: web, servers: [{ id: web1, address: 198.18.2.1 }] }
  - name: hosts
    scheduling: direct
    check: { type: tcp }
    servers:
      - { id: app1, number: 1, address: 198.18.3.1, port: 7000, mac: "02:00:00:00:00:31" }
      - { id: app2, number: 2, address: 198.18.2.1, port: 80 }
      - { id: app3, number: 3, address: 198.18.1.2, port: 7000 }
`;

describe("a configuration with a direct pool and two segments", () => {
  const { hosts, segments } = planLab(configOf(DIRECT));
  const services = (name: string): string[] =>
    hostNamed(hosts, name).services.map(({ protocol, address, port }) => `${protocol} ${address} ${port}`);
  const ofThePool = ["tcp 198.18.0.100 7000", "tcp fd00:198:18::100 7000", "udp 198.18.0.101 53"];

  test("gives the pool's hosts its vservers' VIPs and services, and the port that is checked", () => {
    const app1 = hostNamed(hosts, "app1");
    assert.deepEqual([app1.name, app1.kind, app1.mac], ["host2", "host", "02:00:00:00:00:31"]);
    assert.deepEqual(app1.vips, ["198.18.0.100", "fd00:198:18::100", "198.18.0.101"]);
    assert.deepEqual(services("app1"), [...ofThePool, "tcp 198.18.3.1 7000"]);
  });

  test("a machine that is a web server, too, has nginx on the port that is checked", () => {
    const both = hostNamed(hosts, "web1");
    assert.deepEqual([both.name, both.kind, both.ports], ["host1", "host", [80]]);
    assert.deepEqual(services("web1"), ofThePool);
  });

  test("gives nodes the services of vservers without a pool, and those of pools that they are hosts of", () => {
    assert.deepEqual(services("n1"), ["tcp 198.18.0.100 7003"]);
    assert.deepEqual(services("n2"), ["tcp 198.18.0.100 7003", ...ofThePool, "tcp 198.18.1.2 7000"]);
  });

  test("has a switch for each segment, and the client and all nodes on both", () => {
    assert.deepEqual(segments, ["switch", "switch2"]);
    const second = hosts.flatMap(({ name, further }) =>
      further.map((link) => [name, link.segment, link.interface]),
    );
    assert.deepEqual(second, [
      ["client", "switch2", "eth1"],
      ["node1", "switch2", "eth1"],
      ["node2", "switch2", "eth1"],
    ]);
    assert.equal(hostNamed(hosts, "n2").further[0]?.mac, "02:00:00:00:00:22");
    assert.ok(hostNamed(hosts, "n2").routes.includes("198.19.1.1/32 dev eth1"));
    assert.equal(new Set(hosts.flatMap(linksOf).map(({ mac }) => mac)).size, 4 + 3 + 1);
  });
});

test("a host is found by the lab's name for it and by the configuration's; others are told", () => {
  const { hosts } = planLab(configOf(OPERATORS));
  assert.equal(hostNamed(hosts, "node7").name, "node7");
  assert.equal(hostNamed(hosts, "lb-seven").name, "node7");
  assert.throws(() => hostNamed(hosts, "node1"), { code: "UNKNOWN_HOST", hint: /node7, node0, web1/ });
});

test("no lab's namespaces can be taken for another's", () => {
  assert.equal(labPlaces("a1").namespacePrefix, "dlba-a1-");
  for (const name of ["", "a-b", "../x", "A", "x".repeat(25)]) {
    assert.throws(() => labPlaces(name), { code: "LAB_NAME_INVALID" });
  }
});
