import assert from "node:assert/strict";
import { test } from "node:test";
import type { DoctorFacts, InterfaceFacts, MachineFacts, NodeHostFacts } from "../../../cli/doctor/facts.ts";
import { findings } from "../../../cli/doctor/findings.ts";
import { reportJson, reportText } from "../../../cli/doctor/report.ts";
import { DlbaError } from "../../../conf/errors.ts";
import { configSchema } from "../../../conf/schema.ts";

const NOW_MS = Date.UTC(2026, 0, 10);
const DAY_MS = 86_400_000;
const config = configSchema.parse({
  array: { name: "shop", key_file: "/etc/dlba/array.key" },
  nodes: [
    { number: 1, name: "a", address: "192.0.2.1", interface: "eth0" },
    { number: 2, name: "b", address: "192.0.2.2", interface: "eth0" },
  ],
  vservers: [
    { name: "shop", vips: ["192.0.2.10", "2001:db8::10"], ports: [80], protocol: "http", pool: "p" },
    { name: "mail", vips: ["192.0.2.10"], ports: [25], protocol: "tcp" },
  ],
  pools: [{ name: "p", servers: [{ id: "w", address: "192.0.2.21" }] }],
  status: { metrics: {}, dashboard: { token_file: "/t" } },
});
const machine: MachineFacts = {
  cores: 4,
  hasBtf: true,
  bpfJit: 1,
  kernelOptions: new Map([
    ["BPF_SYSCALL", "y"],
    ["BPF_JIT", "y"],
    ["INET", "y"],
  ]),
  lockdown: "none",
  isClockInStep: true,
  openFiles: 1_048_576,
  somaxconn: 4096,
  localPorts: [32_768, 60_999],
  conntrackMost: undefined,
  isIpv6Off: false,
  rpFilterAll: 0,
  isRunning: false,
};
const eth0: InterfaceFacts = {
  name: "eth0",
  driver: "ixgbe",
  mtu: 1500,
  isUp: true,
  queues: 4,
  features: new Map([
    ["large-receive-offload", false],
    ["generic-receive-offload", true],
  ]),
  rpFilter: 0,
  arpIgnore: 1,
  arpAnnounce: 2,
};
const eth1: InterfaceFacts = { ...eth0, name: "eth1" };
const certificate = {
  vserver: "shop",
  file: "/c.pem",
  keyFile: "/k.pem",
  not_after_ms: NOW_MS + 90 * DAY_MS,
  error: undefined,
  keyError: undefined,
};
const host: NodeHostFacts = {
  config,
  node: config.nodes[0]!,
  startProblems: [],
  interfaces: [eth0],
  listening: [
    { address: "127.0.0.1", port: 80 },
    { address: "0.0.0.0", port: 22 },
    { address: "192.0.2.9", port: 8470 },
  ],
  certificates: [certificate],
  keyMode: 0o100_600,
  nodes: [{ what: "node b", address: "192.0.2.2", port: 8470, error: undefined }],
  webServers: [],
};

function codes(change: Partial<MachineFacts>, hostChange: Partial<NodeHostFacts> = {}): string[] {
  const facts: DoctorFacts = {
    machine: { ...machine, ...change },
    host: { ...host, ...hostChange },
    now_ms: NOW_MS,
  };
  return findings(facts).map(({ level, code }) => `${level} ${code}`);
}

test("a machine that has all of it has no findings, with a configuration and without", () => {
  assert.deepEqual(codes({}), []);
  assert.deepEqual(findings({ machine, host: undefined, now_ms: NOW_MS }), []);
});

const limits = { ...config.limits, connections_per_worker: 1_000_000 };
const xdp = (mode: "native" | "generic"): Partial<NodeHostFacts> => ({
  config: { ...config, scheduler: { ...config.scheduler, xdp: mode } },
});
const listens = (address: string, port: number): Partial<NodeHostFacts> => ({
  listening: [{ address, port }],
});
const cases: readonly [
  name: string,
  code: string,
  machine: Partial<MachineFacts>,
  host?: Partial<NodeHostFacts>,
][] = [
  ["no BTF", "error NO_BTF", { hasBtf: false }],
  ["no JIT", "warning NO_JIT", { bpfJit: 0 }],
  [
    "a kernel option",
    "error KERNEL_OPTIONS",
    {
      kernelOptions: new Map([
        ["BPF_SYSCALL", "y"],
        ["INET", "y"],
      ]),
    },
  ],
  ["lockdown", "error LOCKDOWN", { lockdown: "confidentiality" }],
  ["few files", "warning OPEN_FILES", { openFiles: 1024 }],
  ["many connections", "warning OPEN_FILES", {}, { config: { ...config, limits } }],
  ["a short queue", "warning SOMAXCONN", { somaxconn: 128 }],
  ["few local ports", "warning LOCAL_PORTS", { localPorts: [50_000, 60_000] }],
  ["conntrack", "note CONNTRACK", { conntrackMost: 1_048_576 }],
  ["a small conntrack", "warning CONNTRACK", { conntrackMost: 65_536 }],
  ["IPv6 is off", "error IPV6_OFF", { isIpv6Off: true }],
  ["a clock", "warning CLOCK", { isClockInStep: false }],
  ["an unknown clock", "note CLOCK_UNKNOWN", { isClockInStep: undefined }],
  ["no carrier", "error LINK_DOWN", {}, { interfaces: [{ ...eth0, isUp: false }] }],
  ["a small MTU", "warning MTU_SMALL", {}, { interfaces: [{ ...eth0, mtu: 1400 }] }],
  ["two MTUs", "note MTU_DIFFERS", {}, { interfaces: [eth0, { ...eth1, mtu: 9000 }] }],
  ["an unknown driver", "note XDP_GENERIC", {}, { interfaces: [{ ...eth0, driver: "e1000" }] }],
  [
    "no native mode",
    "error XDP_GENERIC",
    {},
    { ...xdp("native"), interfaces: [{ ...eth0, driver: "e1000" }] },
  ],
  [
    "LRO",
    "warning LRO",
    {},
    { interfaces: [{ ...eth0, features: new Map([["large-receive-offload", true]]) }] },
  ],
  [
    "GRO",
    "note GRO",
    {},
    { ...xdp("generic"), interfaces: [{ ...eth0, features: new Map([["generic-receive-offload", false]]) }] },
  ],
  ["one queue", "note ONE_QUEUE", {}, { interfaces: [{ ...eth0, queues: 1 }] }],
  [
    "strict filtering on two segments",
    "warning RP_FILTER",
    {},
    { interfaces: [eth0, { ...eth1, rpFilter: 1 }] },
  ],
  [
    "ARP settings of a running node",
    "error ARP",
    { isRunning: true },
    { interfaces: [{ ...eth0, arpIgnore: 0 }] },
  ],
  ["a readable key", "warning KEY_MODE", {}, { keyMode: 0o100_644 }],
  [
    "too many workers",
    "note WORKERS",
    {},
    { config: { ...config, limits: { ...config.limits, workers: 5 } } },
  ],
  ["the VIP's port", "error PORT_TAKEN", {}, listens("192.0.2.10", 80)],
  ["the VIP's port in IPv6", "error PORT_TAKEN", {}, listens("2001:db8:0:0:0:0:0:10", 80)],
  ["the sweep's port", "error PORT_TAKEN", {}, listens("0.0.0.0", 8470)],
  ["the feed's port", "error PORT_TAKEN", {}, listens("192.0.2.1", 8471)],
  ["the dashboard's port", "error PORT_TAKEN", {}, listens("0.0.0.0", 9471)],
  ["the metrics' port", "error PORT_TAKEN", {}, listens("0.0.0.0", 9470)],
  ["a certificate", "error CERTIFICATE", {}, { certificates: [{ ...certificate, error: "ENOENT" }] }],
  ["a key", "error CERTIFICATE_KEY", {}, { certificates: [{ ...certificate, keyError: "another's" }] }],
  [
    "one that has ended",
    "error CERTIFICATE_ENDED",
    {},
    { certificates: [{ ...certificate, not_after_ms: NOW_MS }] },
  ],
  [
    "one that ends soon",
    "warning CERTIFICATE_ENDS",
    {},
    { certificates: [{ ...certificate, not_after_ms: NOW_MS + 13 * DAY_MS }] },
  ],
  ["a node", "note NODE_UNREACHED", {}, { nodes: [{ ...host.nodes[0]!, error: "ECONNREFUSED" }] }],
  [
    "a web server",
    "warning WEB_SERVER_UNREACHED",
    {},
    { webServers: [{ ...host.nodes[0]!, error: "ECONNREFUSED" }] },
  ],
  [
    "what a start would refuse",
    "error X",
    {},
    { startProblems: [new DlbaError("X", "no", { hint: "yes" })] },
  ],
];
for (const [name, code, change, hostChange] of cases) {
  test(`found, and nothing else: ${name}`, () => assert.deepEqual(codes(change, hostChange), [code]));
}

test("each finding says what is wrong and what to do", () => {
  for (const [name, , change, hostChange] of cases) {
    const facts = { machine: { ...machine, ...change }, host: { ...host, ...hostChange }, now_ms: NOW_MS };
    for (const { what, hint } of findings(facts)) {
      assert.ok(what.length > 0 && hint.length > 0, name);
      assert.doesNotMatch(`${what} ${hint}`, /undefined|NaN|\[object/, name);
    }
  }
});

test("what could not be read is held against nobody, and any IPv6 address takes IPv4 ports, too", () => {
  const unread = { bpfJit: undefined, kernelOptions: undefined, lockdown: undefined, openFiles: undefined };
  assert.deepEqual(
    codes({ ...unread, somaxconn: undefined, localPorts: undefined, rpFilterAll: undefined }),
    [],
  );
  assert.equal(codes({}, listens("::", 80)).length, 2);
  assert.deepEqual(codes({}, listens("0.0.0.0", 80)), ["error PORT_TAKEN"]);
  assert.deepEqual(codes({}, listens("0.0.0.0", 25)), [], "what a node does not proxy listens there");
  assert.deepEqual(codes({ isRunning: true }, listens("0.0.0.0", 8470)), [], "it is the node itself");
});

test("the worst comes first, in text and as JSON", () => {
  const facts = {
    machine: { ...machine, hasBtf: false, bpfJit: 0, isClockInStep: undefined },
    host,
    now_ms: NOW_MS,
  };
  const found = findings(facts);
  assert.deepEqual(
    found.map(({ level }) => level),
    ["error", "warning", "note"],
  );
  const lines = reportText(found, "this machine").split("\n");
  assert.match(lines[0]!, /^ERROR   the kernel has no type information/);
  assert.match(lines[1]!, /^ {8}→ /);
  assert.equal(lines.at(-2), "this machine: 1 error, 1 warning, 1 note");
  assert.deepEqual(JSON.parse(reportJson(found, "this machine")), { about: "this machine", findings: found });
  assert.equal(reportText([], "this machine"), "this machine: 0 errors, 0 warnings, 0 notes\n");
});
