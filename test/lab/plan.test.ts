import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { parse } from "yaml";
import { parseConfig } from "../../conf/load.ts";
import type { Config } from "../../conf/schema.ts";
import { adaptConfig, type ConfigPlaces, DEFAULT_SERVER_NAMES, defaultConfig } from "../../lab/lab-config.ts";
import { labPlaces } from "../../lab/places.ts";
import { hostNamed, planLab } from "../../lab/plan.ts";

const places: ConfigPlaces = {
  keyFile: "/made/array.key",
  certificateFiles: (i) => ({ certificate: `/made/${i}.crt`, key: `/made/${i}.key` }),
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
        ["node7", "lb-seven", "ens3", ["10.1.0.7"], []],
        ["node0", "lb-zero", "ens4", ["2001:db8::5"], []],
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
