import assert from "node:assert/strict";
import { test } from "node:test";
import { type HostFacts, startProblems } from "../../cli/start-checks.ts";
import { DlbaError } from "../../conf/errors.ts";
import type { NodeConfig } from "../../conf/schema.ts";

const node: NodeConfig = {
  number: 1,
  name: "a",
  address: "192.0.2.1",
  interface: "eth0",
  interfaces: [{ interface: "eth1", address: "2001:db8:1::1" }],
  enabled: true,
  weight: 1,
  priority: 100,
};
/** Interfaces that have the node's first and its further address. */
function addressOn(first: string[], further: string[]): HostFacts["addressInterfaces"] {
  return new Map([
    ["192.0.2.1", first],
    ["2001:db8:1::1", further],
  ]);
}
const good: HostFacts = {
  kernelRelease: "6.1.0-18-amd64",
  capabilities: new Set([10, 12, 13, 38, 39]),
  isLibbpfPresent: true,
  isIpPresent: true,
  isPinDirOnBpfFs: true,
  interfaces: ["lo", "eth0", "eth1"],
  addressInterfaces: addressOn(["eth0"], ["eth1"]),
  strayVips: [],
  ownFamilies: new Set([4, 6]),
  webFamilies: new Set([4]),
  arrayKeyError: undefined,
};

test("a machine that has all of it is fit", () => {
  assert.deepEqual(startProblems(node, "/sys/fs/bpf/dlba", good), []);
  assert.deepEqual(startProblems(node, "/sys/fs/bpf/dlba", { ...good, kernelRelease: "10.0" }), []);
});

test("web servers on this machine need no address to be asked from", () => {
  const facts: HostFacts = { ...good, ownFamilies: new Set([6]), webFamilies: new Set() };
  assert.deepEqual(startProblems(node, "/sys/fs/bpf/dlba", facts), []);
});

const cases: readonly { name: string; facts: Partial<HostFacts>; code: string; says: RegExp }[] = [
  { name: "old kernel", facts: { kernelRelease: "6.0.19" }, code: "KERNEL_TOO_OLD", says: /6\.0\.19 .*6\.1/ },
  { name: "older kernel", facts: { kernelRelease: "5.15.0" }, code: "KERNEL_TOO_OLD", says: /5\.15/ },
  {
    name: "not root",
    facts: { capabilities: new Set([10]) },
    code: "PRIVILEGES_MISSING",
    says: /CAP_NET_ADMIN.*CAP_BPF.*root/,
  },
  { name: "no libbpf", facts: { isLibbpfPresent: false }, code: "PACKAGE_MISSING", says: /install libbpf1/ },
  {
    name: "no IPv6 for IPv6 web servers",
    facts: { ownFamilies: new Set([4]), webFamilies: new Set([4, 6]) },
    code: "FAMILY_MISSING",
    says: /IPv6 address to ask IPv6 web servers.*VIP won't do/,
  },
  { name: "no ip", facts: { isIpPresent: false }, code: "PACKAGE_MISSING", says: /install iproute2/ },
  { name: "no bpffs", facts: { isPinDirOnBpfFs: false }, code: "NO_BPF_FS", says: /mount -t bpf/ },
  {
    name: "no interface",
    facts: { interfaces: ["lo", "ens3", "eth1"] },
    code: "INTERFACE_MISSING",
    says: /eth0 .*lo, ens3/,
  },
  {
    name: "no interface on a further segment",
    facts: { interfaces: ["lo", "eth0"] },
    code: "INTERFACE_MISSING",
    says: /interface eth1 .*lo, eth0/,
  },
  {
    name: "no address",
    facts: { addressInterfaces: addressOn([], ["eth1"]) },
    code: "ADDRESS_MISSING",
    says: /no interface/,
  },
  {
    name: "wrong node",
    facts: { addressInterfaces: addressOn(["eth1"], ["eth1"]) },
    code: "ADDRESS_MISSING",
    says: /eth0 .*192\.0\.2\.1: eth1 has it/,
  },
  {
    name: "no address on a further segment",
    facts: { addressInterfaces: addressOn(["eth0"], ["eth0"]) },
    code: "ADDRESS_MISSING",
    says: /eth1 .*2001:db8:1::1: eth0 has it/,
  },
  {
    name: "a VIP on an interface",
    facts: { strayVips: [{ vip: "192.0.2.9", interface: "eth0" }] },
    code: "VIP_ON_INTERFACE",
    says: /192\.0\.2\.9.*ip addr del/,
  },
  {
    name: "no key",
    facts: { arrayKeyError: new DlbaError("ARRAY_KEY_UNREADABLE", "the array key can't be read") },
    code: "ARRAY_KEY_UNREADABLE",
    says: /array key/,
  },
];
for (const { name, facts, code, says } of cases) {
  test(`one clear sentence and what to do: ${name}`, () => {
    const problems = startProblems(node, "/sys/fs/bpf/dlba", { ...good, ...facts });
    assert.deepEqual(
      problems.map((problem) => problem.code),
      [code],
    );
    assert.match(`${problems[0]?.message} ${problems[0]?.hint ?? ""}`, says);
  });
}

test("everything that is wrong is told at once", () => {
  const facts = { ...good, kernelRelease: "5.10.0", isLibbpfPresent: false, isPinDirOnBpfFs: false };
  assert.equal(startProblems(node, "/tmp", facts).length, 3);
});
