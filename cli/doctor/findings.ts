/** What is wrong with a machine, and what to do about it. Pure: judges facts. */
import { listOf } from "../../conf/suggest.ts";
import type { DoctorFacts, MachineFacts, NodeHostFacts } from "./facts.ts";
import { certificateFindings, reachFindings, serviceFindings } from "./findings-services.ts";
import { finding, type Finding, type Level } from "./finding.ts";
import { interfaceFindings } from "./findings-interfaces.ts";

const LEVELS: readonly Level[] = ["error", "warning", "note"];

/** Everything that is found, the worst first. */
export function findings({ machine, host, now_ms }: DoctorFacts): Finding[] {
  const all = [
    ...kernelFindings(machine),
    ...limitFindings(machine, host),
    ...networkFindings(machine, host),
    ...clockFindings(machine),
    ...(host === undefined ? [] : hostFindings(machine, host, now_ms)),
  ];
  return LEVELS.flatMap((level) => all.filter((each) => each.level === level));
}

function hostFindings(machine: MachineFacts, host: NodeHostFacts, now_ms: number): Finding[] {
  return [
    ...host.startProblems.map(({ code, message, hint }) => finding("error", code, message, hint ?? "")),
    ...interfaceFindings(machine, host),
    ...serviceFindings(machine, host),
    ...certificateFindings(host, now_ms),
    ...reachFindings(host),
  ];
}

const NEEDED_OPTIONS = ["BPF_SYSCALL", "BPF_JIT", "INET"];

function kernelFindings({ hasBtf, bpfJit, kernelOptions, lockdown }: MachineFacts): Finding[] {
  const found: Finding[] = [];
  if (!hasBtf) {
    const hint = "use a kernel built with CONFIG_DEBUG_INFO_BTF, as Debian's are";
    found.push(
      finding("error", "NO_BTF", "the kernel has no type information (/sys/kernel/btf/vmlinux)", hint),
    );
  }
  if (bpfJit === 0) {
    const hint = "sysctl -w net.core.bpf_jit_enable=1";
    found.push(finding("warning", "NO_JIT", "BPF programs are interpreted, so each packet costs more", hint));
  }
  const missing = NEEDED_OPTIONS.filter(
    (name) => kernelOptions !== undefined && kernelOptions.get(name) !== "y",
  );
  if (missing.length > 0) {
    const names = listOf(
      missing.map((name) => `CONFIG_${name}`),
      "and",
    );
    found.push(
      finding(
        "error",
        "KERNEL_OPTIONS",
        `the kernel lacks ${names}`,
        "use a kernel that has them, as Debian's do",
      ),
    );
  }
  if (lockdown === "confidentiality") {
    const hint = "boot with lockdown=integrity or none";
    found.push(
      finding(
        "error",
        "LOCKDOWN",
        "the kernel is locked down so far that BPF programs can't read packets",
        hint,
      ),
    );
  }
  return found;
}

/** A worker has a descriptor for each client and each web server's connection, and some of its own. */
const SPARE_FILES = 1000;
const LEAST_SOMAXCONN = 4096;
const LEAST_LOCAL_PORTS = 20_000;

function limitFindings(machine: MachineFacts, host: NodeHostFacts | undefined): Finding[] {
  const { openFiles, somaxconn, localPorts } = machine;
  const found: Finding[] = [];
  const connections = host?.config.limits.connections_per_worker ?? 0;
  const needed = connections * 2 + SPARE_FILES;
  if (openFiles !== undefined && openFiles < needed) {
    const what = `a process may open ${openFiles} files, and a worker with ${connections} connections needs ${needed}`;
    const hint = `raise the hard limit (ulimit -Hn, LimitNOFILE= of its unit), or lower limits.connections_per_worker`;
    found.push(finding("warning", "OPEN_FILES", what, hint));
  }
  if (somaxconn !== undefined && somaxconn < LEAST_SOMAXCONN) {
    const what = `only ${somaxconn} connections may wait to be accepted (net.core.somaxconn)`;
    found.push(finding("warning", "SOMAXCONN", what, `sysctl -w net.core.somaxconn=${LEAST_SOMAXCONN}`));
  }
  if (localPorts !== undefined && localPorts[1] - localPorts[0] < LEAST_LOCAL_PORTS) {
    const what = `only ${localPorts[1] - localPorts[0] + 1} local ports are there for connections to each web server`;
    const hint = 'sysctl -w net.ipv4.ip_local_port_range="10240 65535"';
    found.push(finding("warning", "LOCAL_PORTS", what, hint));
  }
  return found;
}

const LEAST_CONNTRACK = 262_144;

function networkFindings(
  { conntrackMost, isIpv6Off }: MachineFacts,
  host: NodeHostFacts | undefined,
): Finding[] {
  const found: Finding[] = [];
  if (conntrackMost !== undefined) {
    const isSmall = conntrackMost < LEAST_CONNTRACK;
    const what = `the kernel tracks connections (nf_conntrack, ${conntrackMost} at most)`;
    const hint =
      "exempt the VIPs (nft: notrack in prerouting and output), or sysctl -w net.netfilter.nf_conntrack_max=1048576";
    found.push(finding(isSmall ? "warning" : "note", "CONNTRACK", what, hint));
  }
  const hasIpv6 = host?.config.vservers.some(({ vips }) => vips.some((vip) => vip.includes(":"))) ?? false;
  if (isIpv6Off && hasIpv6) {
    const what = "there are IPv6 VIPs, and IPv6 is switched off here";
    found.push(finding("error", "IPV6_OFF", what, "sysctl -w net.ipv6.conf.all.disable_ipv6=0"));
  }
  return found;
}

function clockFindings({ isClockInStep }: MachineFacts): Finding[] {
  if (isClockInStep === true) return [];
  const hint = "run chrony or systemd-timesyncd: certificates, cookies and logs go by the clock";
  if (isClockInStep === undefined) {
    return [finding("note", "CLOCK_UNKNOWN", "nothing tells whether the clock is in step", hint)];
  }
  return [finding("warning", "CLOCK", "the clock is not kept in step", hint)];
}
