/** What is wrong with the interfaces that a node is on. Pure. */
import type { InterfaceFacts, MachineFacts, NodeHostFacts } from "./facts.ts";
import { finding, type Finding } from "./finding.ts";

/** Drivers of Linux 6.1 that run XDP programs by themselves. */
const NATIVE_DRIVERS = new Set([
  "atlantic",
  "bnxt_en",
  "bonding",
  "dpaa2-eth",
  "ena",
  "fec",
  "gve",
  "hv_netvsc",
  "i40e",
  "ice",
  "igb",
  "igc",
  "ixgbe",
  "ixgbevf",
  "lan966x-switch",
  "mana",
  "mlx4_en",
  "mlx5_core",
  "mvneta",
  "mvpp2",
  "nfp",
  "nicvf",
  "qede",
  "sfc",
  "stmmac",
  "tsnep",
  "tun",
  "vmxnet3",
  "virtio_net",
]);
const LEAST_MTU = 1500;

/** Of every segment. */
export function interfaceFindings(machine: MachineFacts, host: NodeHostFacts): Finding[] {
  const all = host.interfaces.flatMap((each) => [
    ...linkFindings(each),
    ...xdpFindings(each, host),
    ...queueFindings(machine, each),
    ...filterFindings(machine, host, each),
    ...(machine.isRunning ? arpFindings(each) : []),
  ]);
  return [...all, ...mtuFindings(host)];
}

function linkFindings({ name, isUp, mtu }: InterfaceFacts): Finding[] {
  const found: Finding[] = [];
  if (isUp === false) {
    const what = `interface ${name} is down, or has no carrier`;
    found.push(finding("error", "LINK_DOWN", what, `ip link set ${name} up, and look at the cable`));
  }
  if (mtu !== undefined && mtu < LEAST_MTU) {
    const what = `the MTU of ${name} is ${mtu}: clients' packets of ${LEAST_MTU} bytes can't be handed on`;
    found.push(
      finding(
        "warning",
        "MTU_SMALL",
        what,
        `ip link set ${name} mtu ${LEAST_MTU}, on every node and the switch`,
      ),
    );
  }
  return found;
}

function mtuFindings({ interfaces }: NodeHostFacts): Finding[] {
  const sizes = new Set(interfaces.flatMap(({ mtu }) => mtu ?? []));
  if (sizes.size < 2) return [];
  const what = `the segments have different MTUs: ${interfaces.map(({ name, mtu }) => `${name} ${mtu ?? "?"}`).join(", ")}`;
  return [finding("note", "MTU_DIFFERS", what, "this is fine where no frame passes from one to the other")];
}

function xdpFindings(facts: InterfaceFacts, { config }: NodeHostFacts): Finding[] {
  const { name, driver, features } = facts;
  const { xdp } = config.scheduler;
  const found: Finding[] = [];
  const isNative = driver !== undefined && NATIVE_DRIVERS.has(driver);
  if (driver !== undefined && !isNative && xdp !== "generic") {
    const what = `the driver of ${name} (${driver}) does not run XDP programs by itself as far as is known`;
    const level = xdp === "native" ? "error" : "note";
    const hint =
      xdp === "native"
        ? "set scheduler.xdp to auto or generic, or use another network card"
        : "generic mode is taken, which costs more per packet";
    found.push(finding(level, "XDP_GENERIC", what, hint));
  }
  if (isNative && xdp !== "generic" && features.get("large-receive-offload") === true) {
    const what = `${name} joins received packets (LRO), which drivers refuse to do with XDP`;
    found.push(finding("warning", "LRO", what, `ethtool -K ${name} lro off`));
  }
  if (xdp === "generic" && features.get("generic-receive-offload") === false) {
    const what = `${name} does not join received packets (GRO), so replies of web servers cost more`;
    found.push(finding("note", "GRO", what, `ethtool -K ${name} gro on`));
  }
  return found;
}

function queueFindings({ cores }: MachineFacts, { name, queues, driver }: InterfaceFacts): Finding[] {
  if (queues !== 1 || cores < 2 || driver === undefined) return [];
  const what = `${name} has one receive queue, so one core of ${cores} takes all packets`;
  const hint = `ethtool -L ${name} combined ${cores} where the card can; else spread them: /sys/class/net/${name}/queues/rx-0/rps_cpus`;
  return [finding("note", "ONE_QUEUE", what, hint)];
}

/** The kernel takes the higher one of `all` and the interface. */
function filterFindings(
  { rpFilterAll }: MachineFacts,
  { interfaces }: NodeHostFacts,
  facts: InterfaceFacts,
): Finding[] {
  const isStrict = Math.max(rpFilterAll ?? 0, facts.rpFilter ?? 0) === 1;
  if (!isStrict || interfaces.length < 2) return [];
  const what = `strict reverse-path filtering on ${facts.name} drops clients whose replies leave by another segment`;
  const hint = `sysctl -w net.ipv4.conf.all.rp_filter=2 net.ipv4.conf.${facts.name}.rp_filter=2`;
  return [finding("warning", "RP_FILTER", what, hint)];
}

/** `dlba run` sets both; another tool may have set them back. */
function arpFindings({ name, arpIgnore, arpAnnounce }: InterfaceFacts): Finding[] {
  if ((arpIgnore ?? 1) >= 1 && (arpAnnounce ?? 2) === 2) return [];
  const what = `a node runs, and the kernel answers or asks for VIPs on ${name} (arp_ignore ${arpIgnore ?? "?"}, arp_announce ${arpAnnounce ?? "?"})`;
  const hint = `something has set them back (sysctl.d, a network manager): sysctl -w net.ipv4.conf.${name}.arp_ignore=1 net.ipv4.conf.${name}.arp_announce=2`;
  return [finding("error", "ARP", what, hint)];
}
