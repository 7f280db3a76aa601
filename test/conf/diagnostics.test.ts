import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { describe, test } from "node:test";
import { formatConfigErrors } from "../../conf/config-error.ts";
import { parseConfig } from "../../conf/load.ts";

const GOOD = readFileSync(new URL("good.yaml", import.meta.url), "utf8");

/** What `dlba check` would print for the good file with one piece of text exchanged. */
function errorsAfter(from: string, to: string): string {
  assert.ok(GOOD.includes(from), `the good file has ${from}`);
  return errorsOf(GOOD.replace(from, to));
}

function errorsOf(text: string): string {
  const parsed = parseConfig(text, "a.yaml");
  return "errors" in parsed ? formatConfigErrors(parsed.errors) : "";
}

test("the good file has no errors", () => assert.equal(errorsOf(GOOD), ""));

describe("what the schema refuses is told at its place, in an operator's words", () => {
  const KEYS =
    "array, nodes, vservers, pools, scheduler, failover, timeouts, limits, status, push and access_log";
  const rows: [name: string, from: string, to: string, errors: string][] = [
    ["a mistyped key", "weight: 2", "wieght: 2", "a.yaml:9:5: unknown key 'wieght'; did you mean 'weight'?"],
    [
      "a key that resembles none",
      "array:\n",
      "colour: red\narray:\n",
      `a.yaml:1:1: unknown key 'colour'; the keys known here are ${KEYS}`,
    ],
    [
      "a missing key, at its mapping",
      "    interface: eth0\n    weight",
      "    weight",
      "a.yaml:5:5: missing key 'interface' in nodes[0]; expected the name of a network interface such as eth0",
    ],
    [
      "text for a number",
      "ports: [80]",
      "ports: [http]",
      'a.yaml:14:13: vservers[0].ports[0] is "http"; expected a whole number from 1 to 65535',
    ],
    [
      "a number out of its range",
      "ports: [80]",
      "ports: [80, 65536]",
      "a.yaml:14:17: vservers[0].ports[1] is 65536; expected a whole number from 1 to 65535",
    ],
    [
      "a broken number",
      "weight: 2",
      "weight: 1.5",
      "a.yaml:9:13: nodes[0].weight is 1.5; expected a whole number from 0 to 256",
    ],
    [
      "a number as it is written in the file",
      "ports: [80]",
      "ports: [0x1FFFF]",
      "a.yaml:14:13: vservers[0].ports[0] is 0x1FFFF; expected a whole number from 1 to 65535",
    ],
    [
      "a number where text belongs",
      "name: shop\n",
      "name: 007\n",
      "a.yaml:2:9: array.name is 007; expected a name of letters, digits and hyphens (63 at most): put it in quotes",
    ],
    [
      "yes for true",
      "weight: 2",
      "enabled: yes",
      'a.yaml:9:14: nodes[0].enabled is "yes"; expected true or false',
    ],
    [
      "an unknown word",
      "protocol: http\n",
      "protocol: htttp\n",
      'a.yaml:15:15: vservers[0].protocol is "htttp"; expected http, https, tcp or udp',
    ],
    [
      "an address that is none",
      "10.0.0.1\n",
      "10.0.0.256\n",
      'a.yaml:7:14: nodes[0].address is "10.0.0.256"; expected an IPv4 or IPv6 address such as 192.0.2.10 or 2001:db8::10',
    ],
    [
      "an empty value, at its key",
      "ports: [80]",
      "ports:",
      "a.yaml:14:5: vservers[0].ports is empty; expected a list of 1 to 64 entries ('- …')",
    ],
    [
      "an empty list",
      "ports: [80]",
      "ports: []",
      "a.yaml:14:12: vservers[0].ports is a list of 0; expected a list of 1 to 64 entries ('- …')",
    ],
    [
      "a single value for a list",
      "ports: [80]",
      "ports: 80",
      "a.yaml:14:12: vservers[0].ports is 80; expected a list of 1 to 64 entries ('- …'): write [80] for a single one",
    ],
    [
      "a mapping for a value",
      "name: web\n    vips",
      "name: {a: 1}\n    vips",
      "a.yaml:12:11: vservers[0].name is a mapping; expected a name of letters, digits and hyphens (63 at most)",
    ],
    [
      "a table size between two powers of two",
      "pools:",
      "scheduler: {table_size: 1000}\npools:",
      "a.yaml:17:25: scheduler.table_size is 1000; expected a power of two such as 65536",
    ],
    [
      "__proto__ as a key",
      "weight: 2",
      "__proto__: {weight: 2}",
      "a.yaml:9:5: unknown key '__proto__'; the keys known here are number, name, address, interface, mac, interfaces, enabled, weight and priority",
    ],
  ];
  for (const [name, from, to, errors] of rows) {
    test(name, () => assert.equal(errorsAfter(from, to), errors));
  }
});

describe("a file that is not one mapping of the right kind", () => {
  const KEYS =
    "array, nodes, vservers, pools, scheduler, failover, timeouts, limits, status, push and access_log";
  const expected = `expected a mapping with the keys ${KEYS}`;
  const rows: [text: string, errors: string][] = [
    ["", `a.yaml:1:1: the file is empty; ${expected}`],
    ["# nothing\n", `a.yaml:1:1: the file is empty; ${expected}`],
    ["- a\n", `a.yaml:1:1: the file holds a list; ${expected}`],
    ["hello\n", `a.yaml:1:1: the file holds a single value; ${expected}`],
  ];
  for (const [text, errors] of rows) {
    test(JSON.stringify(text), () => assert.equal(errorsOf(text), errors));
  }
});

describe("a text that is not YAML is told as that alone", () => {
  const rows: [name: string, from: string, to: string, errors: RegExp][] = [
    ["an open quote", "name: shop\n", 'name: "shop\n', /^a\.yaml:\d+:\d+: not valid YAML: .*quote/],
    ["a tab", "    weight: 2", "\tweight: 2", /^a\.yaml:9:1: not valid YAML: .*; indent with spaces/],
    [
      "a second document",
      "pools:",
      "---\npools:",
      /^a\.yaml:17:1: not valid YAML here: a second document begins; remove the '---' line/,
    ],
    ["a tag", "weight: 2", "weight: !!python/object 2", /^a\.yaml:9:13: not valid YAML: .*; remove the tag/],
    [
      "a key that stands twice",
      "weight: 2",
      "weight: 2\n    weight: 3",
      /^a\.yaml:10:5: key 'weight' stands twice in the same mapping; keep one of the two$/,
    ],
    [
      "an alias without an anchor",
      "weight: 2",
      "weight: *two",
      /^a\.yaml:9:13: alias '\*two' has no anchor before it; /,
    ],
    [
      "an alias inside of its anchor",
      "ports: [80]",
      "ports: &p [80, *p]",
      /^a\.yaml:14:20: alias '\*p' stands inside of what it stands for; /,
    ],
  ];
  for (const [name, from, to, errors] of rows) {
    test(name, () => {
      const told = errorsAfter(from, to);
      assert.match(told, errors);
      assert.ok(!told.includes("unknown key"), told);
    });
  }
});

describe("what does not fit together is told at its place", () => {
  const second = "  - {number: 2, name: b, address: 10.0.0.2, interface: eth0}\nvservers:";
  const server = "{ id: w1, address: 10.0.0.21 }";
  const rows: [name: string, from: string, to: string, errors: string][] = [
    [
      "a node number twice",
      "vservers:",
      second.replace("number: 2", "number: 1"),
      "a.yaml:10:14: node number 1 is already that of nodes[0].number; give each node a number of its own",
    ],
    [
      "a node name twice, whatever its case",
      "vservers:",
      second.replace("name: b", "name: A"),
      "a.yaml:10:23: node name a is already that of nodes[0].name; give each node a name of its own",
    ],
    [
      "a node address twice",
      "vservers:",
      second.replace("10.0.0.2", "10.0.0.1"),
      "a.yaml:10:35: node address 10.0.0.1 is already that of nodes[0].address; give each node its own physical address",
    ],
    [
      "no node that may get traffic",
      "weight: 2",
      "enabled: false",
      "a.yaml:5:3: no node may get traffic; enable at least one node, with a weight of 1 or more",
    ],
    [
      "a web server id twice in a pool",
      server,
      `${server}\n      - {id: w1, address: 10.0.0.22}`,
      "a.yaml:21:14: web server id w1 is already that of pools[0].servers[0].id; give each web server of a pool an id of its own",
    ],
    [
      "a pool that does not exist",
      "pool: web\n",
      "pool: wbe\n",
      "a.yaml:16:11: there is no pool 'wbe'; did you mean 'web'?",
    ],
    [
      "an http vserver without a pool",
      "    pool: web\n",
      "",
      "a.yaml:12:5: missing key 'pool' in vservers[0]; http requests need a pool to go to",
    ],
    [
      "a tcp vserver with a pool for proxies",
      "protocol: http\n",
      "protocol: tcp\n",
      "a.yaml:16:11: the scheduling of pool 'web' is cookie, and a tcp vserver needs a direct pool; set scheduling: direct there, remove pool (then the nodes serve it), or use http or https",
    ],
    [
      "a tcp vserver with what only proxies have",
      "protocol: http\n    pool: web\n",
      "protocol: tcp\n    hosts: [example.org]\n",
      "a.yaml:16:5: a tcp vserver has no hosts: its traffic goes to what listens on the VIP; remove hosts, or use http or https",
    ],
    [
      "an https vserver without certificates",
      "protocol: http\n",
      "protocol: https\n",
      "a.yaml:12:5: an https vserver needs certificates; give at least one entry with the files of a certificate and its key",
    ],
    [
      "certificates of an http vserver",
      "    pool: web\n",
      "    pool: web\n    certificates: [{certificate: c.pem, key: k.pem}]\n",
      "a.yaml:17:5: only https vservers have certificates, and this one is http; remove certificates, or use https",
    ],
    [
      "a listener twice",
      "pools:",
      "  - {name: web2, vips: [10.0.0.100], ports: [81, 80], protocol: tcp}\npools:",
      "a.yaml:17:50: listener 10.0.0.100 port 80/tcp is already that of vservers[0].ports[0]; give each vserver a VIP or port of its own",
    ],
    [
      "a VIP that is a node's address",
      "[10.0.0.100]",
      "[10.0.0.1]",
      "a.yaml:13:12: VIP 10.0.0.1 is the physical address of nodes[0]; use an address that no machine has: every node holds the VIP",
    ],
    [
      "a VIP that is a web server's address, written otherwise",
      "[10.0.0.100]",
      "['2001:DB8:0::1', 10.0.0.100]",
      "",
    ],
    [
      "a VIP twice in one vserver",
      "[10.0.0.100]",
      "['2001:db8::1', '2001:DB8:0:0::1']",
      "a.yaml:13:27: VIP 2001:db8::1 is already that of vservers[0].vips[0]; name each VIP once in a vserver",
    ],
    [
      "a multicast VIP",
      "[10.0.0.100]",
      "[224.0.0.18]",
      "a.yaml:13:12: 224.0.0.18 is a multicast address; use the unicast address of a host",
    ],
    [
      "an IPv4 address in IPv6 form",
      "10.0.0.21",
      "'::ffff:10.0.0.21'",
      "a.yaml:20:28: ::ffff:10.0.0.21 is an IPv4 address in IPv6 form; use the unicast address of a host",
    ],
  ];
  for (const [name, from, to, errors] of rows) {
    test(name, () => assert.equal(errorsAfter(from, to), errors));
  }

  test("a UDP and a TCP vserver may share VIP and port", () => {
    const udp = "  - {name: names, vips: [10.0.0.100], ports: [80], protocol: udp}\npools:";
    assert.equal(errorsAfter("pools:", udp), "");
  });

  test("a web server may be on the node itself", () => {
    assert.equal(errorsAfter("10.0.0.21", "127.0.0.1"), "");
  });
});

test("all errors come at once, those of the schema and those between its parts, in the file's order", () => {
  const text = GOOD.replace("weight: 2", "wieght: 2")
    .replace("ports: [80]", "ports: [0, 80]")
    .replace("pool: web\n", "pool: wob\n")
    .replace("address: 10.0.0.21", "adress: 10.0.0.21");
  assert.deepEqual(errorsOf(text).split("\n"), [
    "a.yaml:9:5: unknown key 'wieght'; did you mean 'weight'?",
    "a.yaml:14:13: vservers[0].ports[0] is 0; expected a whole number from 1 to 65535",
    "a.yaml:16:11: there is no pool 'wob'; did you mean 'web'?",
    "a.yaml:20:9: missing key 'address' in pools[0].servers[0]; expected an IPv4 or IPv6 address such as 192.0.2.10 or 2001:db8::10",
    "a.yaml:20:19: unknown key 'adress'; did you mean 'address'?",
  ]);
});

test("a pool that is wrong in itself is still known by its name", () => {
  assert.equal(
    errorsAfter("address: 10.0.0.21", "address: nowhere"),
    'a.yaml:20:28: pools[0].servers[0].address is "nowhere"; expected an IPv4 or IPv6 address such as 192.0.2.10 or 2001:db8::10',
  );
});

test("errors behind an alias are told where its anchor stands", () => {
  const text = GOOD.replace("ports: [80]", "ports: &p [80, none]").replace(
    "pools:",
    "  - {name: web2, vips: [10.0.0.101], ports: *p, protocol: tcp}\npools:",
  );
  assert.deepEqual(errorsOf(text).split("\n"), [
    'a.yaml:14:20: vservers[0].ports[1] is "none"; expected a whole number from 1 to 65535',
    'a.yaml:14:20: vservers[1].ports[1] is "none"; expected a whole number from 1 to 65535',
  ]);
});
