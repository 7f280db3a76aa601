/** What the plan of a lab is made of. */
import { parseIp } from "../conf/address.ts";
import { DlbaError } from "../conf/errors.ts";

/** host: of a direct pool. router and far: only when a far client was asked for. */
export type HostKind = "client" | "node" | "web" | "host" | "router" | "far";

/** A cable: one end is a host's interface, the other a port of a switch that has the host's name. */
export interface PlannedLink {
  /** The switch: `switch` is the array's segment, `switch2`… its further ones, `switchfar` is behind the router. */
  readonly segment: string;
  readonly interface: string;
  readonly mac: string;
  readonly addresses: readonly string[];
  readonly mtu_bytes: number;
}

/** What the lab's own small service (direct-host.ts) answers on. */
export interface PlannedService {
  readonly protocol: "tcp" | "udp";
  readonly address: string;
  readonly port: number;
}

/** A host with its first cable; `further` are the others. */
export interface PlannedHost extends PlannedLink {
  /** `client`, `client2`…, `node<number>`, `web<counted from 1>`, `host<counted from 1>`, `router`, `far`; also its port on a switch. */
  readonly name: string;
  /** What the configuration calls it. */
  readonly label: string;
  readonly kind: HostKind;
  /** A web server's ports. */
  readonly ports: readonly number[];
  /** VIPs that it holds on `lo` as the host of a direct pool; nodes get theirs from `dlba run`. */
  readonly vips: readonly string[];
  readonly services: readonly PlannedService[];
  readonly further: readonly PlannedLink[];
  /** As `ip route add` takes them. */
  readonly routes: readonly string[];
}

export interface LabPlan {
  readonly vips: readonly string[];
  readonly segments: readonly string[];
  readonly hosts: readonly PlannedHost[];
}

/** A host before its routes are known. */
export type Unrouted = Omit<PlannedHost, "routes">;

/** The array's own segment. */
export const SWITCH = "switch";
export const ETHERNET_MTU_BYTES = 1500;

/** All cables of a host. */
export function linksOf(host: Unrouted): PlannedLink[] {
  return [host, ...host.further];
}

/** One text per address, however the configuration writes it. */
export function canonicalIp(address: string): string {
  return parseIp(address)?.text ?? address;
}

/** The host of that name (`node2`), or that the configuration calls so. Throws DlbaError UNKNOWN_HOST. */
export function hostNamed<H extends { name: string; label: string }>(hosts: readonly H[], name: string): H {
  const host = hosts.find((host) => host.name === name) ?? hosts.find((host) => host.label === name);
  if (host !== undefined) return host;
  const hint = `it has ${hosts.map(({ name }) => name).join(", ")}`;
  throw new DlbaError("UNKNOWN_HOST", `the lab has no host "${name}"`, { hint });
}
