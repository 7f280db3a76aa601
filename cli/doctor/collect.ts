/** Reads what `dlba doctor` judges. Nothing here changes anything; what can't be read is left undefined. */
import { execFileSync } from "node:child_process";
import { createPrivateKey, X509Certificate } from "node:crypto";
import { existsSync, readdirSync, readFileSync, readlinkSync, statSync } from "node:fs";
import { connect } from "node:net";
import { availableParallelism, release } from "node:os";
import { basename } from "node:path";
import { gunzipSync } from "node:zlib";
import { describeError } from "../../conf/errors.ts";
import { DOCTOR_CONNECT_MS, DOCTOR_PROBES } from "../../conf/limits.ts";
import type { Config, NodeConfig } from "../../conf/schema.ts";
import { hostFacts, startProblems } from "../start-checks.ts";
import type {
  CertificateState,
  InterfaceFacts,
  ListeningSocket,
  MachineFacts,
  NodeHostFacts,
  Reached,
} from "./facts.ts";
import { listeningSockets, parseFeatures, parseKernelOptions } from "./proc-files.ts";

function text(path: string): string | undefined {
  try {
    return readFileSync(path, "latin1").trim();
  } catch {
    return undefined;
  }
}

function number(path: string): number | undefined {
  const value = Number.parseInt(text(path) ?? "", 10);
  return Number.isNaN(value) ? undefined : value;
}

/** The output of a program that may not be there. */
function output(program: string, args: readonly string[]): string | undefined {
  try {
    return execFileSync(program, args, {
      encoding: "utf8",
      stdio: ["ignore", "pipe", "ignore"],
      timeout: 5000,
    });
  } catch {
    return undefined;
  }
}

/** Facts of the machine alone. */
export function machineFacts(isRunning: boolean): MachineFacts {
  const ports = text("/proc/sys/net/ipv4/ip_local_port_range")?.split(/\s+/).map(Number);
  const limit = /^Max open files\s+\S+\s+(\S+)/m.exec(text("/proc/self/limits") ?? "")?.[1];
  return {
    cores: availableParallelism(),
    hasBtf: existsSync("/sys/kernel/btf/vmlinux"),
    bpfJit: number("/proc/sys/net/core/bpf_jit_enable"),
    kernelOptions: kernelOptions(),
    lockdown: /\[(\w+)\]/.exec(text("/sys/kernel/security/lockdown") ?? "")?.[1],
    isClockInStep: clockState(),
    openFiles: limit === undefined ? undefined : limit === "unlimited" ? Infinity : Number(limit),
    somaxconn: number("/proc/sys/net/core/somaxconn"),
    localPorts: ports?.length === 2 ? [ports[0]!, ports[1]!] : undefined,
    conntrackMost: number("/proc/sys/net/netfilter/nf_conntrack_max"),
    isIpv6Off: number("/proc/sys/net/ipv6/conf/all/disable_ipv6") !== 0,
    rpFilterAll: number("/proc/sys/net/ipv4/conf/all/rp_filter"),
    isRunning,
  };
}

function kernelOptions(): ReadonlyMap<string, string> | undefined {
  const plain = text(`/boot/config-${release()}`);
  if (plain !== undefined) return parseKernelOptions(plain);
  try {
    return parseKernelOptions(gunzipSync(readFileSync("/proc/config.gz")).toString("latin1"));
  } catch {
    return undefined;
  }
}

/** systemd knows of its own service and of others; chrony tells for itself. */
function clockState(): boolean | undefined {
  const answer = output("timedatectl", ["show", "--property=NTPSynchronized", "--value"])?.trim();
  if (answer === "yes" || answer === "no") return answer === "yes";
  const tracking = output("chronyc", ["-n", "tracking"]);
  return tracking === undefined ? undefined : /^Leap status\s*:\s*Normal$/m.test(tracking);
}

/** Facts that the configuration asks for. */
export async function nodeHostFacts(
  config: Config,
  node: NodeConfig,
  pinDir: string,
): Promise<NodeHostFacts> {
  const names = [...new Set([node, ...node.interfaces].map((segment) => segment.interface))];
  return {
    config,
    node,
    startProblems: startProblems(node, pinDir, hostFacts(config, node, pinDir)),
    interfaces: names.map(interfaceFacts),
    listening: listening(),
    certificates: certificateStates(config),
    keyMode: statSync(config.array.key_file, { throwIfNoEntry: false })?.mode,
    nodes: await reachAll(otherNodes(config, node)),
    webServers: await reachAll(webServers(config)),
  };
}

function interfaceFacts(name: string): InterfaceFacts {
  const path = `/sys/class/net/${name}`;
  const setting = (key: string): number | undefined => number(`/proc/sys/net/ipv4/conf/${name}/${key}`);
  const carrier = number(`${path}/carrier`);
  return {
    name,
    driver: driverOf(path),
    mtu: number(`${path}/mtu`),
    // The file can't be read while the interface is down.
    isUp: existsSync(path) ? carrier === 1 : undefined,
    queues: existsSync(`${path}/queues`)
      ? readdirSync(`${path}/queues`).filter((queue) => queue.startsWith("rx-")).length
      : 0,
    features: parseFeatures(output("ethtool", ["-k", name]) ?? ""),
    rpFilter: setting("rp_filter"),
    arpIgnore: setting("arp_ignore"),
    arpAnnounce: setting("arp_announce"),
  };
}

function driverOf(path: string): string | undefined {
  if (existsSync(`${path}/bonding`)) return "bonding";
  try {
    return basename(readlinkSync(`${path}/device/driver`));
  } catch {
    return undefined;
  }
}

function listening(): ListeningSocket[] {
  return ["/proc/self/net/tcp", "/proc/self/net/tcp6"].flatMap((path) => listeningSockets(text(path) ?? ""));
}

function certificateStates({ vservers }: Config): CertificateState[] {
  return vservers.flatMap(({ name, certificates }) =>
    certificates.map(({ certificate, key }) => certificateState(name, certificate, key)),
  );
}

function certificateState(vserver: string, file: string, keyFile: string): CertificateState {
  const about = { vserver, file, keyFile };
  try {
    const certificate = new X509Certificate(readFileSync(file));
    const not_after_ms = Date.parse(certificate.validTo);
    return { ...about, not_after_ms, error: undefined, keyError: keyErrorOf(certificate, keyFile) };
  } catch (error) {
    return { ...about, not_after_ms: undefined, error: describeError(error), keyError: undefined };
  }
}

function keyErrorOf(certificate: X509Certificate, keyFile: string): string | undefined {
  try {
    const key = createPrivateKey(readFileSync(keyFile));
    return certificate.checkPrivateKey(key) ? undefined : "it belongs to another certificate";
  } catch (error) {
    return describeError(error);
  }
}

type Target = Omit<Reached, "error">;

const otherNodes = ({ nodes, status }: Config, { number: own }: NodeConfig): Target[] =>
  nodes
    .filter((node) => node.number !== own && node.enabled)
    .map(({ name, address }) => ({ what: `node ${name}`, address, port: status.port }));

const webServers = ({ pools }: Config): Target[] =>
  pools
    .filter(({ scheduling }) => scheduling !== "direct")
    .flatMap(({ name, servers }) =>
      servers.map(({ id, address, port }) => ({ what: `web server ${id} of pool ${name}`, address, port })),
    );

/** A bounded number, at once. */
function reachAll(targets: readonly Target[]): Promise<Reached[]> {
  return Promise.all(targets.slice(0, DOCTOR_PROBES).map(reach));
}

function reach(target: Target): Promise<Reached> {
  return new Promise((resolve) => {
    const socket = connect({ host: target.address, port: target.port, timeout: DOCTOR_CONNECT_MS });
    const settle = (error: string | undefined): void => {
      socket.destroy();
      resolve({ ...target, error });
    };
    socket.once("connect", () => settle(undefined));
    socket.once("timeout", () => settle(`no answer within ${DOCTOR_CONNECT_MS} ms`));
    socket.once("error", (error) => settle("code" in error ? String(error.code) : error.message));
  });
}
