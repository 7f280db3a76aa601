/**
 * From a configuration to the lab that it needs: which hosts there are, what addresses they have, where their
 * cables go. Pure.
 *
 * Every host is on one segment, whatever the configuration's addresses are: each has its address as a single
 * host address and a default route straight onto the segment, so it asks by ARP for everything. A far client
 * alone is elsewhere, behind a router.
 */
import { formatMac } from "../conf/address.ts";
import { DlbaError } from "../conf/errors.ts";
import type { Config, NodeConfig } from "../conf/schema.ts";
import { vipsOf } from "../conf/vips.ts";
import { routesOf } from "./plan-routes.ts";
import { nodeServices, type PlannedServer, planServers } from "./plan-servers.ts";
import {
  canonicalIp,
  ETHERNET_MTU_BYTES,
  linksOf,
  type LabPlan,
  type PlannedLink,
  type PlannedService,
  SWITCH,
  type Unrouted,
} from "./planned-host.ts";

const FAR_SWITCH = "switchfar";
const furtherSwitch = (index: number): string => `${SWITCH}${index + 2}`;

const FIRST_INTERFACE = "eth0";
/** IPv6 goes through no smaller one (RFC 8200 5). */
const LEAST_MTU_BYTES = 1280;
const MAX_CLIENTS = 32;
/** First numbers of the lab's own MAC addresses. */
const MACS = { client: 0, node: 1, server: 2, router: 3, far: 4, further: 16 } as const;

/** What most hosts have none of. */
const BARE = { ports: [], vips: [], services: [], further: [] } as const;

type PlanConfig = Pick<Config, "nodes" | "vservers" | "pools">;

export interface PlanWishes {
  /** With a far client: the MTU of its link; null without one. */
  readonly farMtu_bytes?: number | null;
  /** How many clients are on the segment (1 to 32; 1 when left out), so that each side of a cut can have one. */
  readonly clients?: number;
}

/** Plans a lab. Throws DlbaError LAB_IMPOSSIBLE when an address would be on two hosts, or a wish can't be met. */
export function planLab(config: PlanConfig, wishes: PlanWishes = {}): LabPlan {
  const { farMtu_bytes = null, clients: clientCount = 1 } = wishes;
  const machines = planServers(config);
  const services = nodeServices(config);
  const bare = config.nodes.map((node) => planNode(node, [...services, ...asHost(node, machines)]));
  const others = machines.filter((machine) => !config.nodes.some((node) => isNode(node, machine)));
  const servers = others.map(planServer);
  const vips = vipsOf(config);
  const taken = addressesOnce([...bare, ...servers], vips);
  const nodes = bare.map((node) => withBothFamilies(node, taken));
  const segmentCount = Math.max(...config.nodes.map(({ interfaces }) => interfaces.length));
  const clients = planClients(clientCount, taken, segmentCount);
  const far = farMtu_bytes === null ? [] : planFar(taken, farMtu_bytes);
  const unrouted = [...clients, ...nodes, ...servers, ...far];
  const segments = [...new Set(unrouted.flatMap(linksOf).map(({ segment }) => segment))];
  const hosts = unrouted.map((host) => Object.assign(host, { routes: routesOf(host, unrouted) }));
  return { vips, segments, hosts };
}

function planNode(node: NodeConfig, services: readonly PlannedService[]): Unrouted {
  const first = linkOn(SWITCH, node.mac ?? macOf(MACS.node, node.number), [canonicalIp(node.address)]);
  const further = node.interfaces.map((link, i): PlannedLink => {
    const mac = link.mac ?? macOf(MACS.further + i, node.number);
    return { ...linkOn(furtherSwitch(i), mac, [canonicalIp(link.address)]), interface: link.interface };
  });
  const link = { ...first, interface: node.interface };
  return { ...link, ...BARE, name: `node${node.number}`, label: node.name, kind: "node", services, further };
}

/**
 * A node that the configuration gives an address of one family has one of the other, too: else it would ask web servers
 * of that family from a VIP, and their answers would go to the scheduler.
 */
function withBothFamilies(node: Unrouted, taken: Set<string>): Unrouted {
  const hasIpv6 = node.addresses.some((address) => address.includes(":"));
  const other = (i: number): string => (hasIpv6 ? `198.18.32.${i}` : `fd00:198:18:20::${i.toString(16)}`);
  const address = firstFree(other, taken);
  taken.add(address);
  return { ...node, addresses: [...node.addresses, address] };
}

/** A node may be a host of a direct pool as well; a web server of ours it can't be, for want of ports. */
function isNode(node: NodeConfig, { address, ports }: PlannedServer): boolean {
  return canonicalIp(node.address) === address && ports.length === 0;
}

/** What a node serves as such a host. */
function asHost(node: NodeConfig, machines: readonly PlannedServer[]): readonly PlannedService[] {
  return machines.find((machine) => isNode(node, machine))?.services ?? [];
}

function planServer(server: PlannedServer, i: number): Unrouted {
  const { name, label, kind, ports, vips, services } = server;
  const link = linkOn(SWITCH, server.mac ?? macOf(MACS.server, i + 1), [server.address]);
  return { ...link, ...BARE, name, label, kind, ports, vips, services };
}

/** `client`, then `client2` and so on. */
function planClients(count: number, taken: Set<string>, furtherSegments: number): Unrouted[] {
  if (!Number.isInteger(count) || count < 1 || count > MAX_CLIENTS) {
    throw new DlbaError("LAB_IMPOSSIBLE", `a lab can't have ${count} clients`, {
      hint: `it may have 1 to ${MAX_CLIENTS}`,
    });
  }
  return Array.from({ length: count }, (_, i) => {
    const client = planClient(i, taken, furtherSegments);
    for (const { addresses } of linksOf(client)) for (const address of addresses) taken.add(address);
    return client;
  });
}

function planClient(index: number, taken: ReadonlySet<string>, furtherSegments: number): Unrouted {
  const macOfLink = (link: number): string => macOf(MACS.client, (index << 8) + link);
  const name = index === 0 ? "client" : `client${index + 1}`;
  const first = linkOn(SWITCH, macOfLink(1), [
    firstFree((i) => `198.18.0.${i}`, taken),
    firstFree((i) => `fd00:198:18::${i.toString(16)}`, taken),
  ]);
  const further = Array.from({ length: furtherSegments }, (_, i): PlannedLink => {
    const addresses = [
      firstFree((n) => `198.18.${64 + i}.${n}`, taken),
      firstFree((n) => `fd00:198:18:${i + 2}::${n.toString(16)}`, taken),
    ];
    return { ...linkOn(furtherSwitch(i), macOfLink(i + 2), addresses), interface: `eth${i + 1}` };
  });
  return { ...first, ...BARE, name, label: name, kind: "client", further };
}

/** A router on the segment, and the far client behind it, on a link of its own. */
function planFar(taken: ReadonlySet<string>, mtu_bytes: number): Unrouted[] {
  if (mtu_bytes < LEAST_MTU_BYTES || mtu_bytes > ETHERNET_MTU_BYTES) {
    const hint = `it may have ${LEAST_MTU_BYTES} to ${ETHERNET_MTU_BYTES}`;
    const message = `the far client's link can't have an MTU of ${mtu_bytes} bytes`;
    throw new DlbaError("LAB_IMPOSSIBLE", message, { hint });
  }
  const onFarLink = (last: number): string[] => [
    firstFree((i) => `198.18.${127 + i}.${last}`, taken),
    firstFree((i) => `fd00:198:18:${(127 + i).toString(16)}::${last}`, taken),
  ];
  const outer = linkOn(SWITCH, macOf(MACS.router, 1), [
    firstFree((i) => `198.18.0.${255 - i}`, taken),
    firstFree((i) => `fd00:198:18::${(0xff - i).toString(16)}`, taken),
  ]);
  const inner = linkOn(FAR_SWITCH, macOf(MACS.router, 2), onFarLink(1));
  const far = { ...linkOn(FAR_SWITCH, macOf(MACS.far, 1), onFarLink(2)), mtu_bytes };
  const further = [{ ...inner, mtu_bytes, interface: "eth1" }];
  return [
    { ...outer, ...BARE, name: "router", label: "router", kind: "router", further },
    { ...far, ...BARE, name: "far", label: "far", kind: "far" },
  ];
}

function linkOn(segment: string, mac: string, addresses: readonly string[]): PlannedLink {
  return { segment, interface: FIRST_INTERFACE, mac, addresses, mtu_bytes: ETHERNET_MTU_BYTES };
}

/** All addresses that the configuration gives away. */
function addressesOnce(hosts: readonly Unrouted[], vips: readonly string[]): Set<string> {
  const taken = hosts.flatMap(linksOf).flatMap(({ addresses }) => addresses);
  taken.push(...vips);
  const twice = taken.find((address, i) => taken.indexOf(address) !== i);
  if (twice === undefined) return new Set(taken);
  throw new DlbaError("LAB_IMPOSSIBLE", `${twice} would be on two hosts of the lab`, {
    hint: "in a lab, VIPs, nodes, web servers and hosts each have addresses of their own",
  });
}

function firstFree(address: (i: number) => string, taken: ReadonlySet<string>): string {
  for (let i = 1; i < 255; i++) if (!taken.has(address(i))) return address(i);
  throw new DlbaError("LAB_IMPOSSIBLE", `all of ${address(1)} to ${address(254)} are taken`);
}

/** A locally administered address: the kind of host, then its number. */
function macOf(kind: number, number: number): string {
  return formatMac(Uint8Array.of(0x02, 0xdb, 0x1a, kind, number >> 8, number & 255));
}
