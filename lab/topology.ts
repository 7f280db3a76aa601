/**
 * Builds a lab's network: one namespace per host, and one per switch, with a bridge in it that joins the hosts.
 * The switches count the frames of the VIPs by the ports they come in and go out at.
 */
import { readdirSync, statSync } from "node:fs";
import { join } from "node:path";
import { DlbaError } from "../conf/errors.ts";
import { command, tryCommand } from "../net/command.ts";
import { type LabPlaces, NETNS_DIR } from "./places.ts";
import { linksOf, type LabPlan, type PlannedHost, type PlannedLink } from "./planned-host.ts";

const BRIDGE = "br0";

/** No duplicate address detection (addresses are usable at once), no reverse path filter, no bridged iptables. */
const SETTINGS = [
  ["net/ipv6/conf/all/accept_dad", "0"],
  ["net/ipv6/conf/default/accept_dad", "0"],
  ["net/ipv4/conf/all/rp_filter", "0"],
  ["net/ipv4/conf/default/rp_filter", "0"],
  ["net/bridge/bridge-nf-call-iptables", "0"],
  ["net/bridge/bridge-nf-call-ip6tables", "0"],
  ["net/bridge/bridge-nf-call-arptables", "0"],
] as const;
/** A router hands on what is not for itself. */
const ROUTER_SETTINGS = [
  ["net/ipv4/ip_forward", "1"],
  ["net/ipv6/conf/all/forwarding", "1"],
] as const;
/** Who holds a VIP as the host of a direct pool does neither answer ARP for it nor ask with it. */
const VIP_SETTINGS = [
  ["net/ipv4/conf/all/arp_ignore", "1"],
  ["net/ipv4/conf/all/arp_announce", "2"],
] as const;

/**
 * The command line that runs a program in a namespace. `ip netns exec` won't do: it mounts another /sys, which
 * hides the BPF file system.
 */
export function inNamespace(namespace: string, argv: readonly string[]): string[] {
  return ["nsenter", `--net=${join(NETNS_DIR, namespace)}`, "--", ...argv];
}

/** Runs a program in a namespace; throws when it fails. */
export async function runIn(namespace: string, argv: readonly string[], input = ""): Promise<string> {
  const [program = "", ...args] = inNamespace(namespace, argv);
  return command(program, args, input);
}

/** The namespaces that exist and start with a prefix. */
export function namespacesOf(prefix: string): string[] {
  try {
    return readdirSync(NETNS_DIR).filter((name) => name.startsWith(prefix));
  } catch {
    return []; // None was ever made on this machine.
  }
}

/** Makes all namespaces, the switches, and the hosts' interfaces, addresses and routes. */
export async function buildTopology(places: LabPlaces, plan: LabPlan): Promise<void> {
  for (const segment of plan.segments) await makeSwitch(places.namespacePrefix + segment, plan.vips);
  for (const host of plan.hosts) await makeHost(places.namespacePrefix, host);
}

async function makeSwitch(namespace: string, vips: readonly string[]): Promise<void> {
  await makeNamespace(namespace, []);
  await ipBatch(namespace, [
    `link add ${BRIDGE} type bridge mcast_snooping 0 forward_delay 0`,
    `link set dev ${BRIDGE} up`,
  ]);
  await runIn(namespace, ["nft", "-f", "-"], countingRules(vips));
}

async function makeHost(prefix: string, host: PlannedHost): Promise<void> {
  const namespace = prefix + host.name;
  const router = host.kind === "router" ? ROUTER_SETTINGS : [];
  await makeNamespace(namespace, [...router, ...(host.vips.length > 0 ? VIP_SETTINGS : [])]);
  for (const link of linksOf(host)) await connect(prefix, host.name, link);
  await ipBatch(namespace, [
    "link set dev lo up",
    ...host.vips.map((vip) => `addr add ${single(vip)} dev lo${isIpv6(vip) ? " nodad" : ""}`),
    ...linksOf(host).flatMap(linkLines),
    ...host.routes.map((route) => `route add ${route}`),
  ]);
}

async function connect(prefix: string, name: string, link: PlannedLink): Promise<void> {
  const near = `link add ${link.interface} netns ${prefix}${name} address ${link.mac} mtu ${link.mtu_bytes}`;
  const peer = `type veth peer name ${name} netns ${prefix}${link.segment}`;
  await command("ip", ["-batch", "-"], `${near} ${peer}\n`);
  await ipBatch(prefix + link.segment, [`link set dev ${name} master ${BRIDGE} up`]);
}

function linkLines({ interface: name, addresses }: PlannedLink): string[] {
  const own = addresses.map(
    (address) => `addr add ${single(address)} dev ${name}${isIpv6(address) ? " nodad" : ""}`,
  );
  return [`link set dev ${name} up`, ...own];
}

const isIpv6 = (address: string): boolean => address.includes(":");
const single = (address: string): string => `${address}/${isIpv6(address) ? 128 : 32}`;

async function makeNamespace(
  namespace: string,
  further: readonly (readonly [path: string, value: string])[],
): Promise<void> {
  await command("ip", ["netns", "add", namespace]);
  const script = [...SETTINGS, ...further]
    .map(([path, value]) => `[ ! -e /proc/sys/${path} ] || echo ${value} > /proc/sys/${path}`)
    .join("\n");
  await runIn(namespace, ["sh", "-e"], script);
}

async function ipBatch(namespace: string, lines: readonly string[]): Promise<void> {
  await command("ip", ["-n", namespace, "-batch", "-"], `${lines.join("\n")}\n`);
}

/** Counts frames from and to the VIPs, by the ports of the switch they come in and leave at. */
function countingRules(vips: readonly string[]): string {
  const families = [
    { family: "ip", list: vips.filter((vip) => !vip.includes(":")) },
    { family: "ip6", list: vips.filter((vip) => vip.includes(":")) },
  ].filter(({ list }) => list.length > 0);
  const rules = families.flatMap(({ family, list }) => [
    `meta l4proto { tcp, udp } ${family} daddr { ${list.join(", ")} } update @to_vip { iifname . oifname counter }`,
    `meta l4proto { tcp, udp } ${family} saddr { ${list.join(", ")} } update @from_vip { iifname . oifname counter }`,
  ]);
  return `table bridge dlba {
  set to_vip { type ifname . ifname; size 65535; flags dynamic; counter; }
  set from_vip { type ifname . ifname; size 65535; flags dynamic; counter; }
  chain frames {
    type filter hook forward priority 0; policy accept;
    ${rules.join("\n    ")}
  }
}
`;
}

/** Takes a host's cables out of their switches, or puts them back. */
export async function setCable(places: LabPlaces, host: PlannedHost, isIn: boolean): Promise<void> {
  const state = isIn ? "up" : "down";
  for (const { segment } of linksOf(host)) {
    await ipBatch(places.namespacePrefix + segment, [`link set dev ${host.name} ${state}`]);
  }
}

/** The hosts whose cable is out of a switch. */
export async function cutHosts(places: LabPlaces, segments: readonly string[]): Promise<Set<string>> {
  const cut = new Set<string>();
  for (const segment of segments) {
    const listing = ["-n", places.namespacePrefix + segment, "-j", "link", "show", "type", "veth"];
    const links: { ifname: string; flags: string[] }[] = JSON.parse(await command("ip", listing));
    for (const { ifname, flags } of links) if (!flags.includes("UP")) cut.add(ifname);
  }
  return cut;
}

/** Removes all namespaces that start with a prefix, also when someone else does so at the same time. */
export async function removeNamespaces(prefix: string): Promise<void> {
  for (const namespace of namespacesOf(prefix)) {
    const { code, stderr } = await tryCommand("ip", ["netns", "del", namespace]);
    if (code !== 0 && namespacesOf(prefix).includes(namespace)) {
      throw new DlbaError("COMMAND_FAILED", `the namespace ${namespace} can't be removed: ${stderr.trim()}`);
    }
  }
}

/** The namespace's number, as /proc/PID/ns/net shows it. */
export function namespaceInode(namespace: string): number {
  return statSync(join(NETNS_DIR, namespace)).ino;
}
