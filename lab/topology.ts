/**
 * Builds a lab's network: one namespace per host, joined by a bridge in a namespace of its own, the switch.
 * The switch counts the frames of the VIPs by the ports they come in and go out at.
 */
import { readdirSync, statSync } from "node:fs";
import { join } from "node:path";
import { DlbaError } from "../conf/errors.ts";
import { command, tryCommand } from "../net/command.ts";
import type { LabPlan, PlannedHost } from "./plan.ts";
import { type LabPlaces, NETNS_DIR } from "./places.ts";

export const SWITCH = "switch";
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

/** Makes all namespaces, the switch, and the hosts' interfaces and addresses. */
export async function buildTopology(places: LabPlaces, plan: LabPlan): Promise<void> {
  const switchNamespace = places.namespacePrefix + SWITCH;
  await makeNamespace(switchNamespace);
  await ipBatch(switchNamespace, [
    `link add ${BRIDGE} type bridge mcast_snooping 0 forward_delay 0`,
    `link set dev ${BRIDGE} up`,
  ]);
  for (const host of plan.hosts) await connectHost(places.namespacePrefix, host);
  await runIn(switchNamespace, ["nft", "-f", "-"], countingRules(plan.vips));
}

async function connectHost(prefix: string, host: PlannedHost): Promise<void> {
  const namespace = prefix + host.name;
  await makeNamespace(namespace);
  const peer = `type veth peer name ${host.name} netns ${prefix}${SWITCH}`;
  await command(
    "ip",
    ["-batch", "-"],
    `link add ${host.interface} netns ${namespace} address ${host.mac} ${peer}\n`,
  );
  await ipBatch(prefix + SWITCH, [`link set dev ${host.name} master ${BRIDGE} up`]);
  await ipBatch(namespace, hostLines(host));
}

function hostLines({ interface: name, addresses }: PlannedHost): string[] {
  const own = addresses.map((address) =>
    address.includes(":")
      ? `addr add ${address}/128 dev ${name} nodad`
      : `addr add ${address}/32 dev ${name}`,
  );
  return [
    "link set dev lo up",
    `link set dev ${name} up`,
    ...own,
    `route add default dev ${name}`,
    `route add ::/0 dev ${name}`,
  ];
}

async function makeNamespace(namespace: string): Promise<void> {
  await command("ip", ["netns", "add", namespace]);
  const script = SETTINGS.map(
    ([path, value]) => `[ ! -e /proc/sys/${path} ] || echo ${value} > /proc/sys/${path}`,
  ).join("\n");
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

/** Takes a host's cable out of the switch, or puts it back. */
export async function setCable(places: LabPlaces, host: string, isIn: boolean): Promise<void> {
  const state = isIn ? "up" : "down";
  await command("ip", ["-n", places.namespacePrefix + SWITCH, "link", "set", "dev", host, state]);
}

/** The hosts whose cable is out of the switch. */
export async function cutHosts(places: LabPlaces): Promise<Set<string>> {
  const text = await command("ip", [
    "-n",
    places.namespacePrefix + SWITCH,
    "-j",
    "link",
    "show",
    "type",
    "veth",
  ]);
  const links: { ifname: string; flags: string[] }[] = JSON.parse(text);
  return new Set(links.filter(({ flags }) => !flags.includes("UP")).map(({ ifname }) => ifname));
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
