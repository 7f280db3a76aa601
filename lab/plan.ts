/**
 * From a configuration to the lab that it needs: which hosts there are and what addresses they have. Pure.
 *
 * Every host is on one segment, whatever the configuration's addresses are: each has its address as a single
 * host address and a default route straight onto the segment, so it asks by ARP for everything.
 */
import { formatMac, parseIp } from "../conf/address.ts";
import { DlbaError } from "../conf/errors.ts";
import type { Config } from "../conf/schema.ts";
import { vipsOf } from "../conf/vips.ts";

export type HostKind = "client" | "node" | "web";

export interface PlannedHost {
  /** `client`, `node<number>`, `web<counted from 1>`; also its port on the switch. */
  readonly name: string;
  /** What the configuration calls it. */
  readonly label: string;
  readonly kind: HostKind;
  readonly interface: string;
  readonly mac: string;
  readonly addresses: readonly string[];
  /** A web server's ports. */
  readonly ports: readonly number[];
}

export interface LabPlan {
  readonly vips: readonly string[];
  readonly hosts: readonly PlannedHost[];
}

const CLIENT_INTERFACE = "eth0";

/** Throws DlbaError LAB_IMPOSSIBLE when an address would be on two hosts. */
export function planLab(config: Pick<Config, "nodes" | "vservers" | "pools">): LabPlan {
  const nodes = config.nodes.map((node): PlannedHost => ({
    name: `node${node.number}`,
    label: node.name,
    kind: "node",
    interface: node.interface,
    mac: node.mac ?? macOf(1, node.number),
    addresses: [canonical(node.address)],
    ports: [],
  }));
  const webs = planWebServers(config.pools);
  const vips = vipsOf(config);
  const taken = [...nodes, ...webs].flatMap(({ addresses }) => addresses).concat(vips);
  const twice = taken.find((address, i) => taken.indexOf(address) !== i);
  if (twice !== undefined) {
    throw new DlbaError("LAB_IMPOSSIBLE", `${twice} would be on two hosts of the lab`, {
      hint: "in a lab, VIPs, nodes and web servers each have addresses of their own",
    });
  }
  return { vips, hosts: [planClient(new Set(taken)), ...nodes, ...webs] };
}

function planClient(taken: ReadonlySet<string>): PlannedHost {
  const addresses = [
    firstFree((i) => `198.18.0.${i}`, taken),
    firstFree((i) => `fd00:198:18::${i.toString(16)}`, taken),
  ];
  const mac = macOf(0, 1);
  return {
    name: "client",
    label: "client",
    kind: "client",
    interface: CLIENT_INTERFACE,
    mac,
    addresses,
    ports: [],
  };
}

function firstFree(address: (i: number) => string, taken: ReadonlySet<string>): string {
  for (let i = 1; i < 255; i++) if (!taken.has(address(i))) return address(i);
  throw new DlbaError("LAB_IMPOSSIBLE", `all of ${address(1)} to ${address(254)} are taken`);
}

/** One host per address, however many pools and ports name it; its label is the first id. */
function planWebServers(pools: Config["pools"]): PlannedHost[] {
  const byAddress = new Map<string, { label: string; ports: Set<number> }>();
  for (const { address, id, port } of pools.flatMap(({ servers }) => servers)) {
    const key = canonical(address);
    const known = byAddress.get(key) ?? { label: id, ports: new Set<number>() };
    known.ports.add(port);
    byAddress.set(key, known);
  }
  return [...byAddress].map(([address, { label, ports }], i) => ({
    name: `web${i + 1}`,
    label,
    kind: "web",
    interface: CLIENT_INTERFACE,
    mac: macOf(2, i + 1),
    addresses: [address],
    ports: [...ports],
  }));
}

const canonical = (address: string): string => parseIp(address)?.text ?? address;

/** A locally administered address: the kind of host, then its number. */
function macOf(kind: number, number: number): string {
  return formatMac(Uint8Array.of(0x02, 0xdb, 0x1a, kind, number >> 8, number & 255));
}

/** The host of that name (`node2`), or that the configuration calls so. Throws DlbaError UNKNOWN_HOST. */
export function hostNamed<H extends { name: string; label: string }>(hosts: readonly H[], name: string): H {
  const host = hosts.find((host) => host.name === name) ?? hosts.find((host) => host.label === name);
  if (host !== undefined) return host;
  const hint = `it has ${hosts.map(({ name }) => name).join(", ")}`;
  throw new DlbaError("UNKNOWN_HOST", `the lab has no host "${name}"`, { hint });
}
