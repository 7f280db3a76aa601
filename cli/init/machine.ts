/** What `dlba init` and `dlba join` know of this machine: its name, and its addresses by interface. Reads only. */
import { readFileSync } from "node:fs";
import { hostname, networkInterfaces } from "node:os";
import { isIPv4 } from "node:net";

export interface LocalAddress {
  readonly address: string;
  /** Its segment, such as 192.0.2.11/24. */
  readonly cidr: string;
}
export interface LocalInterface {
  readonly name: string;
  /** Addresses that others can reach: neither loopback nor link-local ones. IPv4 first. */
  readonly addresses: readonly LocalAddress[];
}
export interface Machine {
  readonly hostname: string;
  /** Those that are up and have an address. */
  readonly interfaces: readonly LocalInterface[];
  /** The interface of the default route. */
  readonly defaultInterface: string | undefined;
}

/** Looks at this machine, in the network namespace that the process is in. */
export function readMachine(): Machine {
  return {
    hostname: hostname(),
    interfaces: localInterfaces(),
    defaultInterface: defaultInterface(text("/proc/net/route"), text("/proc/net/ipv6_route")),
  };
}

function text(path: string): string {
  try {
    return readFileSync(path, "latin1");
  } catch {
    return ""; // A kernel without IPv6.
  }
}

function localInterfaces(): LocalInterface[] {
  const found = Object.entries(networkInterfaces()).map(([name, entries = []]) => ({
    name,
    addresses: entries
      .filter(({ internal, address }) => !internal && !/^(?:fe[89ab]|169\.254\.)/i.test(address))
      .map(({ address, cidr }) => ({ address, cidr: cidr ?? address }))
      .sort((a, b) => Number(isIPv4(b.address)) - Number(isIPv4(a.address))),
  }));
  return found.filter(({ addresses }) => addresses.length > 0);
}

/** The interface of the default route with the smallest metric, by /proc/net/route, else by /proc/net/ipv6_route. */
export function defaultInterface(route: string, ipv6Route: string): string | undefined {
  return best(rowsOf(route).flatMap(ipv4Default)) ?? best(rowsOf(ipv6Route).flatMap(ipv6Default));
}

interface DefaultRoute {
  readonly name: string;
  readonly metric: number;
}

const rowsOf = (table: string): string[][] => table.split("\n").map((line) => line.trim().split(/\s+/));

function ipv4Default([name = "", destination, , , , , metric, mask]: string[]): DefaultRoute[] {
  const isDefault = destination === "00000000" && mask === "00000000";
  return isDefault ? [{ name, metric: Number(metric) }] : [];
}

function ipv6Default(row: string[]): DefaultRoute[] {
  const [destination = "", prefix, name = "lo"] = [row[0], row[1], row[9]];
  const isDefault = /^0{32}$/.test(destination) && prefix === "00" && name !== "lo";
  return isDefault ? [{ name, metric: Number.parseInt(row[5] ?? "", 16) }] : [];
}

const best = (routes: DefaultRoute[]): string | undefined =>
  routes.toSorted((a, b) => a.metric - b.metric)[0]?.name;
