/**
 * What must be true of a machine before a node starts on it. Facts are read in one place, judged in another;
 * everything that is wrong is told at once, each with what to do.
 */
import { existsSync } from "node:fs";
import { release } from "node:os";
import { parseIp, type Family, type IpAddress } from "../conf/address.ts";
import { DlbaError } from "../conf/errors.ts";
import { readArrayKey } from "../conf/keys.ts";
import type { Config, NodeConfig } from "../conf/schema.ts";
import { vipsOf } from "../conf/vips.ts";
import {
  effectiveCapabilities,
  interfaceNames,
  interfacesWith,
  isLibraryPresent,
  isOnBpfFileSystem,
  ownFamilies,
} from "../net/host.ts";

const LEAST_KERNEL = [6, 1] as const;
/** capability.h; what each is needed for. */
const CAPABILITIES = [
  { number: 12, name: "CAP_NET_ADMIN", need: "to attach XDP and set addresses" },
  { number: 13, name: "CAP_NET_RAW", need: "to send ARP" },
  { number: 10, name: "CAP_NET_BIND_SERVICE", need: "to listen on ports below 1024" },
  { number: 39, name: "CAP_BPF", need: "to load BPF programs" },
  { number: 38, name: "CAP_PERFMON", need: "to load BPF programs" },
] as const;

export interface HostFacts {
  readonly kernelRelease: string;
  readonly capabilities: ReadonlySet<number>;
  readonly isLibbpfPresent: boolean;
  readonly isIpPresent: boolean;
  readonly isPinDirOnBpfFs: boolean;
  readonly interfaces: readonly string[];
  /** Which interfaces that are up have each of the node's own addresses. */
  readonly addressInterfaces: ReadonlyMap<string, readonly string[]>;
  /** VIPs that another interface than `lo` has. */
  readonly strayVips: readonly { readonly vip: string; readonly interface: string }[];
  /** Of the addresses of this machine's own, not on `lo` and usable beyond a link; and of the web servers elsewhere. */
  readonly ownFamilies: ReadonlySet<Family>;
  readonly webFamilies: ReadonlySet<Family>;
  /** Undefined when the array key can be read. */
  readonly arrayKeyError: DlbaError | undefined;
}

/** Reads what `startProblems` judges. */
export function hostFacts(config: Config, node: NodeConfig, pinDir: string): HostFacts {
  return {
    kernelRelease: release(),
    capabilities: effectiveCapabilities(),
    isLibbpfPresent: isLibraryPresent("libbpf.so.1"),
    isIpPresent: ["/sbin/ip", "/usr/sbin/ip", "/bin/ip", "/usr/bin/ip"].some((path) => existsSync(path)),
    isPinDirOnBpfFs: isOnBpfFileSystem(pinDir),
    interfaces: interfaceNames(),
    addressInterfaces: new Map(
      [node, ...node.interfaces].map(({ address }) => [address, interfacesWith(address)]),
    ),
    strayVips: strayVips(config),
    ownFamilies: ownFamilies(),
    webFamilies: webFamilies(config),
    arrayKeyError: arrayKeyError(config.array.key_file),
  };
}

function strayVips(config: Config): { vip: string; interface: string }[] {
  return vipsOf(config).flatMap((vip) =>
    interfacesWith(vip).flatMap((name) => (name === "lo" ? [] : [{ vip, interface: name }])),
  );
}

const isElsewhere = ({ text, family }: IpAddress): boolean =>
  family === 4 ? !text.startsWith("127.") : text !== "::1";

function webFamilies({ pools }: Config): Set<Family> {
  const addresses = pools
    .filter(({ scheduling }) => scheduling !== "direct")
    .flatMap(({ servers }) => servers.flatMap(({ address }) => parseIp(address) ?? []));
  return new Set(addresses.filter(isElsewhere).map(({ family }) => family));
}

function arrayKeyError(path: string): DlbaError | undefined {
  try {
    readArrayKey(path);
    return undefined;
  } catch (error) {
    if (error instanceof DlbaError) return error;
    throw error;
  }
}

/** Everything that keeps a node from running on a machine; empty when nothing does. */
export function startProblems(node: NodeConfig, pinDir: string, facts: HostFacts): DlbaError[] {
  return [
    ...kernelProblems(facts),
    ...privilegeProblems(facts),
    ...softwareProblems(pinDir, facts),
    ...interfaceProblems(node, facts),
    ...familyProblems(facts),
    ...(facts.arrayKeyError === undefined ? [] : [facts.arrayKeyError]),
  ];
}

function kernelProblems({ kernelRelease }: HostFacts): DlbaError[] {
  const [major = 0, minor = 0] = kernelRelease.split(".").map((part) => Number.parseInt(part, 10));
  const [leastMajor, leastMinor] = LEAST_KERNEL;
  if (major > leastMajor || (major === leastMajor && minor >= leastMinor)) return [];
  const hint = `Linux ${LEAST_KERNEL.join(".")} or newer is needed (Debian 12 has it)`;
  return [new DlbaError("KERNEL_TOO_OLD", `the kernel ${kernelRelease} is too old`, { hint })];
}

function privilegeProblems({ capabilities }: HostFacts): DlbaError[] {
  const missing = CAPABILITIES.filter(({ number }) => !capabilities.has(number));
  if (missing.length === 0) return [];
  const list = missing.map(({ name, need }) => `${name} ${need}`).join(", ");
  return [new DlbaError("PRIVILEGES_MISSING", `privileges are missing: ${list}`, { hint: "run it as root" })];
}

function softwareProblems(pinDir: string, facts: HostFacts): DlbaError[] {
  const problems: DlbaError[] = [];
  if (!facts.isLibbpfPresent) problems.push(missingPackage("libbpf.so.1", "libbpf1"));
  if (!facts.isIpPresent) problems.push(missingPackage("the program ip", "iproute2"));
  if (!facts.isPinDirOnBpfFs) {
    const hint = "mount one with: mount -t bpf bpf /sys/fs/bpf";
    problems.push(new DlbaError("NO_BPF_FS", `${pinDir} is not on a BPF file system`, { hint }));
  }
  return problems;
}

function missingPackage(what: string, name: string): DlbaError {
  return new DlbaError("PACKAGE_MISSING", `${what} is missing`, {
    hint: `install it with: apt-get install ${name}`,
  });
}

function interfaceProblems(node: NodeConfig, facts: HostFacts): DlbaError[] {
  const strays = facts.strayVips.map(
    ({ vip, interface: name }) =>
      new DlbaError("VIP_ON_INTERFACE", `the VIP ${vip} is on ${name}, so the kernel would answer for it`, {
        hint: `remove it with: ip addr del ${vip} dev ${name} (dlba puts VIPs on lo)`,
      }),
  );
  const own = [node, ...node.interfaces].flatMap((segment) => segmentProblems(node.name, segment, facts));
  return [...own, ...strays];
}

/** Without an address of its own the kernel would ask with a VIP, and the answers would go to the scheduler. */
function familyProblems({ ownFamilies, webFamilies }: HostFacts): DlbaError[] {
  return [...webFamilies.difference(ownFamilies)].map(
    (family) =>
      new DlbaError(
        "FAMILY_MISSING",
        `this machine has no IPv${family} address to ask IPv${family} web servers from`,
        {
          hint: `give one of its interfaces an IPv${family} address (a VIP won't do: answers to it go to the scheduler)`,
        },
      ),
  );
}

type Segment = NodeConfig["interfaces"][number];

/** What keeps a node from being on one of its segments. */
function segmentProblems(node: string, segment: Segment, facts: HostFacts): DlbaError[] {
  const called = `node ${node}'s interface ${segment.interface}`;
  if (!facts.interfaces.includes(segment.interface)) {
    const hint = `this machine has ${facts.interfaces.join(", ")}`;
    return [new DlbaError("INTERFACE_MISSING", `${called} does not exist here`, { hint })];
  }
  const holders = facts.addressInterfaces.get(segment.address) ?? [];
  if (holders.includes(segment.interface)) return [];
  const owners = holders.join(", ");
  const where = owners === "" ? "no interface that is up has it" : `${owners} has it`;
  const message = `${called} does not have its address ${segment.address}: ${where}`;
  return [new DlbaError("ADDRESS_MISSING", message, { hint: "is --node the right one?" })];
}
