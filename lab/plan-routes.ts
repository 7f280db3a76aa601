/** The routes of a lab's hosts, as `ip route add` takes them. Pure. */
import { ETHERNET_MTU_BYTES, linksOf, type PlannedLink, type Unrouted } from "./planned-host.ts";

/** The default route of IPv6 has a metric of 1024 when none is given. */
const IPV6_METRIC = 1024;
/** Bytes of IP and TCP headers, by family. */
const HEADERS_BYTES = { 4: 40, 6: 60 } as const;

/**
 * A host's routes. Nobody but the router sits between two hosts of a segment, so the default is the segment itself.
 * On further segments there are routes to the hosts that are there, and a second default for who binds to the interface.
 */
export function routesOf(host: Unrouted, hosts: readonly Unrouted[]): string[] {
  const router = hosts.find(({ kind }) => kind === "router");
  const far = hosts.find(({ kind }) => kind === "far");
  if (host.kind === "far" && router !== undefined) return farRoutes(host, router);
  const routes = [`default dev ${host.interface}`, `::/0 dev ${host.interface}`];
  if (host.kind === "router") return routes.concat(routesTo(host.further, hosts, host));
  routes.push(...routesTo(host.further, hosts, host));
  host.further.forEach(({ interface: name }, i) =>
    routes.push(`default dev ${name} metric ${i + 1}`, `::/0 dev ${name} metric ${IPV6_METRIC + i + 1}`),
  );
  if (far === undefined || router === undefined) return routes;
  return routes.concat(
    far.addresses.map((address) => {
      const gateway = sameFamily(router.addresses, address);
      return `${single(address)} via ${gateway} dev ${host.interface} onlink`;
    }),
  );
}

/** To every other host on these links' segments. */
function routesTo(links: readonly PlannedLink[], hosts: readonly Unrouted[], self: Unrouted): string[] {
  return links.flatMap(({ segment, interface: name }) =>
    hosts
      .filter((other) => other !== self)
      .flatMap(linksOf)
      .filter((link) => link.segment === segment)
      .flatMap(({ addresses }) => addresses.map((address) => `${single(address)} dev ${name}`)),
  );
}

/**
 * The far client says that it takes whole Ethernet frames, as a client does whose own link is not the narrow one: so
 * who answers it has to find out the path's MTU.
 */
function farRoutes(far: Unrouted, router: Unrouted): string[] {
  const gateways = router.further.flatMap(({ addresses }) => addresses);
  return gateways.map((gateway) => {
    const family = gateway.includes(":") ? 6 : 4;
    const all = family === 6 ? "::/0" : "default";
    const advmss = ETHERNET_MTU_BYTES - HEADERS_BYTES[family];
    return `${all} via ${gateway} dev ${far.interface} onlink advmss ${advmss}`;
  });
}

function sameFamily(addresses: readonly string[], address: string): string {
  return addresses.find((other) => other.includes(":") === address.includes(":")) ?? "";
}

/** A single host's address as a destination. */
const single = (address: string): string => `${address}/${address.includes(":") ? 128 : 32}`;
