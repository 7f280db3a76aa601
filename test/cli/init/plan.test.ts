import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { parseConfig } from "../../../conf/load.ts";
import { configurationText } from "../../../cli/init/configuration.ts";
import { defaultInterface, type Machine } from "../../../cli/init/machine.ts";
import { planArray, type Wishes } from "../../../cli/init/plan.ts";

const eth = (name: string, ...cidrs: string[]) => ({
  name,
  addresses: cidrs.map((cidr) => ({ address: cidr.split("/")[0]!, cidr })),
});
const MACHINE: Machine = {
  hostname: "lb1.example.org",
  interfaces: [eth("eth0", "192.0.2.11/24", "2001:db8::11/64"), eth("eth1", "198.51.100.11/24")],
  defaultInterface: "eth0",
};
const WISHES: Wishes = {
  name: "array",
  vip: ["192.0.2.10"],
  node: [],
  webServer: ["192.0.2.21"],
  keyFile: "/etc/dlba/array.key",
};
const planned = (wishes: Partial<Wishes> = {}, machine: Partial<Machine> = {}) =>
  planArray({ ...WISHES, ...wishes }, { ...MACHINE, ...machine });

function refused(wishes: Partial<Wishes>, machine: Partial<Machine>, ...texts: RegExp[]): void {
  assert.throws(
    () => planned(wishes, machine),
    (error: Error & { code: string }) => {
      assert.equal(error.code, "USAGE");
      for (const text of texts) assert.match(error.message, text);
      return true;
    },
  );
}

function configOf(wishes: Partial<Wishes> = {}) {
  const text = configurationText(planned(wishes));
  const parsed = parseConfig(text, "dlba.yaml");
  assert.ok("config" in parsed, JSON.stringify(parsed));
  return parsed.config;
}

describe("the plan of a first array", () => {
  test("takes the machine as its node where none is named", () => {
    const { nodes, self } = planned();
    assert.deepEqual(nodes, [{ name: "lb1", address: "192.0.2.11", interface: "eth0" }]);
    assert.equal(self, "lb1");
  });

  test("knows the machine among its nodes, and takes the interface that has the node's address", () => {
    const plan = planned({ node: ["a=198.51.100.12", "b=198.51.100.11"], vip: ["198.51.100.10"] });
    assert.equal(plan.self, "b");
    assert.deepEqual(
      plan.nodes.map((node) => node.interface),
      ["eth1", "eth1"],
    );
  });

  test("an interface that was said counts, for a node or for all", () => {
    const { nodes } = planned({ node: ["a=192.0.2.12", "b=192.0.2.13@bond0"], interface: "eth7" });
    assert.deepEqual(
      nodes.map((node) => node.interface),
      ["eth7", "bond0"],
    );
  });

  test("a host name that is no node name makes node1", () => {
    assert.equal(planned({}, { hostname: "-" }).nodes[0]?.name, "node1");
    assert.equal(planned({}, { hostname: "lb_2" }).nodes[0]?.name, "lb-2");
  });

  test("tells everything that is missing at once, with what would be right", () => {
    refused(
      { vip: [], webServer: [] },
      {},
      /--vip ADDRESS is missing: an address of 192\.0\.2\.11\/24 or 2001:db8::11\/64/,
      /--web-server ADDRESS:PORT is missing/,
    );
  });

  test("refuses what is no address, no node, no web server", () => {
    refused({ vip: ["shop"] }, {}, /--vip shop is not an IPv4 or IPv6 address/);
    refused({ vip: ["192.0.2.11"] }, {}, /this machine's own address on eth0/);
    for (const node of ["node2", "node2=", "=192.0.2.12", "a b=192.0.2.12", "n=192.0.2.300"]) {
      refused({ node: [node] }, {}, /is not NAME=ADDRESS/);
    }
    for (const server of ["", "web", "192.0.2.21:", "192.0.2.21:0", "192.0.2.21:65536", "[2001:db8::1]:x"]) {
      refused({ webServer: [server] }, {}, /is not ADDRESS:PORT/);
    }
    refused({ certificate: "/a.pem" }, {}, /go together/);
  });

  test("refuses to guess an interface where there is nothing to go by", () => {
    const machine = { defaultInterface: undefined };
    refused({}, machine, /--interface NAME is missing, on the array's segment; there is eth0 or eth1/);
    refused({}, { ...machine, interfaces: [] }, /there is none with an address/);
    refused({ interface: "eth9" }, {}, /--interface eth9 has no address on this machine/);
    const { nodes } = planned({ node: ["a=192.0.2.99@e1"] }, machine);
    assert.equal(nodes[0]?.interface, "e1");
  });

  test("says what was guessed and what looks odd", () => {
    const { notes } = planned({ vip: ["203.0.113.10", "2001:db8::10"], node: ["a=192.0.2.99"] });
    assert.deepEqual(notes, [
      "interface eth0 (the one that leads out of here): if it is another one, say --interface",
      "none of the nodes has an address of this machine",
      "an array of one node: name all of them by --node, or add more later",
      "VIP 203.0.113.10 is not on the segment of eth0 (192.0.2.11/24, 2001:db8::11/64)",
    ]);
  });
});

describe("the configuration of a first array", () => {
  test("is valid, and says what was asked for", () => {
    const config = configOf({
      vip: ["192.0.2.10", "2001:db8::10"],
      node: ["node1=192.0.2.11", "node2=192.0.2.12"],
      webServer: ["192.0.2.21", "192.0.2.22:8080", "2001:db8::21", "[2001:db8::22]:8080"],
    });
    assert.deepEqual(
      config.nodes.map(({ number, name, address }) => [number, name, address]),
      [
        [1, "node1", "192.0.2.11"],
        [2, "node2", "192.0.2.12"],
      ],
    );
    assert.deepEqual(config.vservers[0]?.vips, ["192.0.2.10", "2001:db8::10"]);
    assert.deepEqual(
      config.pools[0]?.servers.map(({ address, port }) => [address, port]),
      [
        ["192.0.2.21", 80],
        ["192.0.2.22", 8080],
        ["2001:db8::21", 80],
        ["2001:db8::22", 8080],
      ],
    );
  });

  test("serves HTTPS with a certificate; without one, the lines for it are there as comments", () => {
    const { vservers } = configOf({ certificate: "/etc/dlba/a b.pem", privateKey: "/etc/dlba/a.key" });
    assert.deepEqual(vservers[1]?.certificates, [
      { certificate: "/etc/dlba/a b.pem", key: "/etc/dlba/a.key" },
    ]);
    const text = configurationText(planned());
    const uncommented = text.replaceAll(/^ {2}# (?=- name: https| {2,})/gm, "  ");
    const parsed = parseConfig(uncommented, "dlba.yaml");
    assert.ok("config" in parsed, JSON.stringify(parsed));
    assert.equal(parsed.config.vservers.length, 2);
  });

  test("names that YAML would take for something else stay names", () => {
    assert.equal(configOf({ name: "no" }).array.name, "no");
    const config = configOf({ node: ["12=192.0.2.11", "true=192.0.2.12", "0x1=192.0.2.13"], name: "1e3" });
    assert.deepEqual(
      [config.array.name, ...config.nodes.map(({ name }) => name)],
      ["1e3", "12", "true", "0x1"],
    );
  });
});

test("the interface of the default route is found in the kernel's tables", () => {
  const ipv4 = [
    "Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT",
    "wlan0\t00000000\t0102A8C0\t0003\t0\t0\t600\t00000000\t0\t0\t0",
    "eth0\t00000000\t010200C0\t0003\t0\t0\t100\t00000000\t0\t0\t0",
    "eth1\t00006433\t00000000\t0001\t0\t0\t0\t00FFFFFF\t0\t0\t0",
  ].join("\n");
  const zeros = "0".repeat(32);
  const ipv6 = [
    `${zeros} 00 ${zeros} 00 ${zeros} ffffffff 00000001 00000000 00200200       lo`,
    `${zeros} 00 ${zeros} 00 fe80${"0".repeat(28)} 00000400 00000001 00000000 00000003     eth5`,
    "",
  ].join("\n");
  assert.equal(defaultInterface(ipv4, ipv6), "eth0");
  assert.equal(defaultInterface("", ipv6), "eth5");
  assert.equal(defaultInterface("", ""), undefined);
});
