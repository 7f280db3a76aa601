/** The machines behind the array: web servers, and the hosts of direct pools with the services on them. Pure. */
import type { Config, PoolConfig, VserverConfig } from "../conf/schema.ts";
import { canonicalIp, type PlannedService } from "./planned-host.ts";

/** A web server, or a host of a direct pool. */
export interface PlannedServer {
  readonly name: string;
  readonly label: string;
  readonly kind: "web" | "host";
  /** As the configuration gives it. */
  readonly mac: string | undefined;
  readonly address: string;
  readonly ports: readonly number[];
  readonly vips: readonly string[];
  readonly services: readonly PlannedService[];
}

interface Machine {
  readonly label: string;
  readonly address: string;
  mac: string | undefined;
  readonly ports: Set<number>;
  readonly services: Map<string, PlannedService>;
  readonly vips: Set<string>;
}

type ServersConfig = Pick<Config, "vservers" | "pools">;

/** One machine per address, however many pools and ports name it; its label is the first id. */
export function planServers(config: ServersConfig): PlannedServer[] {
  const machines = new Map<string, Machine>();
  for (const pool of config.pools) {
    const services = servicesOf(config.vservers.filter((vserver) => vserver.pool === pool.name));
    for (const server of pool.servers) {
      const machine = machineAt(machines, canonicalIp(server.address), server.id);
      if (pool.scheduling === "direct") addDirect(machine, pool, server, services);
      else machine.ports.add(server.port);
    }
  }
  const counts = { web: 0, host: 0 };
  return [...machines.values()].map((machine) => {
    const kind = machine.vips.size > 0 ? "host" : "web";
    const { label, mac, address } = machine;
    const ports = [...machine.ports];
    // Where the web server listens, the service does not.
    const services = [...machine.services.values()].filter(
      (service) => service.address !== address || !machine.ports.has(service.port),
    );
    const name = `${kind}${++counts[kind]}`;
    return { name, label, kind, mac, address, ports, vips: [...machine.vips], services };
  });
}

function machineAt(machines: Map<string, Machine>, address: string, label: string): Machine {
  const known = machines.get(address);
  if (known !== undefined) return known;
  const machine = {
    label,
    address,
    mac: undefined,
    ports: new Set<number>(),
    services: new Map<string, PlannedService>(),
    vips: new Set<string>(),
  };
  machines.set(address, machine);
  return machine;
}

function addDirect(
  machine: Machine,
  pool: PoolConfig,
  server: PoolConfig["servers"][number],
  services: readonly PlannedService[],
): void {
  machine.mac ??= server.mac;
  for (const service of services) {
    machine.services.set(serviceKey(service), service);
    machine.vips.add(service.address);
  }
  if (pool.check === undefined || pool.check.type === "icmp") return;
  const checked: PlannedService = { protocol: "tcp", address: machine.address, port: server.port };
  machine.services.set(serviceKey(checked), checked);
}

/** What the nodes serve themselves beside the proxy: tcp and udp without a pool. */
export function nodeServices({ vservers }: Pick<Config, "vservers">): PlannedService[] {
  return servicesOf(vservers.filter(({ pool }) => pool === undefined));
}

/** The addresses, ports and protocols of tcp and udp vservers. */
function servicesOf(vservers: readonly VserverConfig[]): PlannedService[] {
  return vservers.flatMap(({ protocol, vips, ports }) =>
    protocol === "tcp" || protocol === "udp"
      ? vips.flatMap((vip) => ports.map((port) => ({ protocol, address: canonicalIp(vip), port })))
      : [],
  );
}

const serviceKey = ({ protocol, address, port }: PlannedService): string => `${protocol}/${address}/${port}`;
