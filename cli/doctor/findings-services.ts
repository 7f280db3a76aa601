/** What is wrong with ports, files and the way to others. Pure. */
import { parseIp } from "../../conf/address.ts";
import type { CertificateState, ListeningSocket, MachineFacts, NodeHostFacts, Reached } from "./facts.ts";
import { finding, type Finding } from "./finding.ts";

/** Ports that a node listens on, and files that nobody else should read. */
export function serviceFindings({ cores, isRunning }: MachineFacts, host: NodeHostFacts): Finding[] {
  const { config, keyMode } = host;
  const found = isRunning ? [] : portFindings(host);
  if (keyMode !== undefined && (keyMode & 0o077) !== 0) {
    const { key_file } = config.array;
    const what = `others than its owner may read the array key ${key_file} (mode ${(keyMode & 0o777).toString(8)})`;
    found.push(finding("warning", "KEY_MODE", what, `chmod 600 ${key_file}`));
  }
  if (config.limits.workers > cores) {
    const what = `${config.limits.workers} workers share ${cores} ${cores === 1 ? "core" : "cores"}`;
    found.push(finding("note", "WORKERS", what, "leave limits.workers out: then there is one for each core"));
  }
  return found;
}

interface Wanted {
  readonly what: string;
  readonly address: string;
  readonly port: number;
}

function wantedPorts({ config, node }: NodeHostFacts): Wanted[] {
  const { status, scheduler, push, vservers } = config;
  const proxied = vservers.filter(({ protocol }) => protocol === "http" || protocol === "https");
  return [
    { what: "status.port", address: node.address, port: status.port },
    { what: "scheduler.port", address: node.address, port: scheduler.port },
    { what: "push.port", address: node.address, port: push.port },
    ...(["metrics", "dashboard", "monitor"] as const).flatMap((name) => {
      const service = status[name];
      const { address = node.address, port } = service ?? {};
      return port === undefined ? [] : [{ what: `status.${name}.port`, address, port }];
    }),
    ...proxied.flatMap(({ name, vips, ports }) =>
      vips.flatMap((address) => ports.map((port) => ({ what: `vserver ${name}`, address, port }))),
    ),
  ];
}

const isAny = (address: string): boolean => address === "0.0.0.0" || address === "::";

/** A socket of any IPv6 address takes IPv4 connections, too, as Linux has it. */
function isInTheWay(socket: ListeningSocket, { address, port }: Wanted): boolean {
  if (socket.port !== port) return false;
  if (isAny(address) || socket.address === "::") return true;
  if (socket.address === "0.0.0.0") return parseIp(address)?.family === 4;
  return parseIp(socket.address)?.text === parseIp(address)?.text;
}

function portFindings(host: NodeHostFacts): Finding[] {
  return wantedPorts(host).flatMap((wanted) => {
    const other = host.listening.find((socket) => isInTheWay(socket, wanted));
    if (other === undefined) return [];
    const what = `${wanted.what} needs port ${wanted.port} on ${wanted.address}, and something listens on ${other.address} port ${other.port}`;
    const hint = `find it with: ss -ltnp 'sport = :${wanted.port}'; stop it, or bind it to another address`;
    return [finding("error", "PORT_TAKEN", what, hint)];
  });
}

const DAY_MS = 86_400_000;
const SOON_DAYS = 14;

/** Certificates that can't be used, or not for long. */
export function certificateFindings({ certificates }: NodeHostFacts, now_ms: number): Finding[] {
  return certificates.flatMap((certificate) => judgeCertificate(certificate, now_ms));
}

function judgeCertificate(certificate: CertificateState, now_ms: number): Finding[] {
  const { vserver, file, keyFile, not_after_ms, error, keyError } = certificate;
  if (error !== undefined || not_after_ms === undefined) {
    const what = `the certificate ${file} of vserver ${vserver} can't be used: ${error ?? "it has no end"}`;
    return [
      finding("error", "CERTIFICATE", what, "put a PEM certificate with its chain there, on every node"),
    ];
  }
  const found: Finding[] = [];
  if (keyError !== undefined) {
    const what = `the key ${keyFile} can't be used with ${file}: ${keyError}`;
    found.push(
      finding(
        "error",
        "CERTIFICATE_KEY",
        what,
        "put the certificate's own private key there, without a pass phrase",
      ),
    );
  }
  const days = Math.floor((not_after_ms - now_ms) / DAY_MS);
  const hint = "renew it, on every node";
  if (not_after_ms <= now_ms) {
    const what = `the certificate ${file} of vserver ${vserver} has ended on ${dateText(not_after_ms)}`;
    found.push(finding("error", "CERTIFICATE_ENDED", what, hint));
  } else if (days < SOON_DAYS) {
    const what = `the certificate ${file} of vserver ${vserver} ends on ${dateText(not_after_ms)}, in ${days} days`;
    found.push(finding("warning", "CERTIFICATE_ENDS", what, hint));
  }
  return found;
}

const dateText = (time_ms: number): string => new Date(time_ms).toISOString().slice(0, 10);

/** Whom this machine can't reach. Nodes may not run yet, and web servers may be down: neither stops a node. */
export function reachFindings({ nodes, webServers }: NodeHostFacts): Finding[] {
  return [
    ...nodes.flatMap((reached) => {
      const hint = "does it run? else look at the way to it, and at packet filters";
      return unreached("note", "NODE_UNREACHED", reached, hint);
    }),
    ...webServers.flatMap((reached) => {
      const hint = "start it, or look at the way to it: routes, packet filters";
      return unreached("warning", "WEB_SERVER_UNREACHED", reached, hint);
    }),
  ];
}

function unreached(
  level: "note" | "warning",
  code: string,
  { what, address, port, error }: Reached,
  hint: string,
): Finding[] {
  if (error === undefined) return [];
  return [finding(level, code, `${what} can't be reached on ${address} port ${port}: ${error}`, hint)];
}
