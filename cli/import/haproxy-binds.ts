/** HAProxy's `bind` lines as listeners: on which VIPs and ports, with which certificates. Pure. */
import { isIP } from "node:net";
import type { VserverInput } from "../../conf/schema.ts";
import { based, splitAddress } from "./haproxy-servers.ts";
import type { Section } from "./haproxy-lines.ts";
import type { Ledger, Line } from "./notes.ts";

/** Listeners that are one vserver: the same on each of its VIPs. */
export interface Listener {
  readonly line: Line;
  readonly vips: readonly string[];
  readonly ports: readonly number[];
  readonly isTls: boolean;
  readonly certificates: NonNullable<VserverInput["certificates"]>;
  readonly takesProxyHeader: boolean;
  readonly isHttp2: boolean;
}

export interface BindContext {
  readonly ledger: Ledger;
  readonly crtBase: string;
  /** Those that wildcards stand for. */
  readonly vips: readonly string[];
  /** Whether they are made up, as nobody has named any. */
  readonly arePlaceholders: boolean;
  /** The PEM files of a directory; undefined for what is no directory that can be read here. */
  readonly listPem: (directory: string) => readonly string[] | undefined;
  readonly exists: (file: string) => boolean;
}

interface Bind extends Omit<Listener, "vips" | "ports"> {
  readonly vip: string;
  readonly port: number;
}

const MOST_PORTS = 64;

const kindOf = ({ isTls, takesProxyHeader, isHttp2, certificates }: Bind): string =>
  JSON.stringify([isTls, takesProxyHeader, isHttp2, certificates]);

/** The listeners of a frontend, those that can be one vserver together. */
export function listenersOf({ lines }: Section, context: BindContext): Listener[] {
  const binds = lines
    .filter(({ words: [keyword] }) => keyword === "bind")
    .flatMap((line) => bindsOf(line, context));
  return [...Map.groupBy(binds, kindOf).values()].flatMap((alike) => {
    // VIPs that have the same ports are one vserver.
    const portsOf = new Map<string, number[]>();
    for (const { vip, port } of alike) portsOf.set(vip, [...new Set([...(portsOf.get(vip) ?? []), port])]);
    const groups = Map.groupBy(portsOf, ([, ports]) => ports.toSorted((a, b) => a - b).join());
    return [...groups.values()].map((group): Listener => {
      const { line, isTls, certificates, takesProxyHeader, isHttp2 } = alike[0]!;
      const vips = group.map(([vip]) => vip);
      return { line, vips, ports: group[0]![1], isTls, certificates, takesProxyHeader, isHttp2 };
    });
  });
}

function bindsOf(line: Line, context: BindContext): Bind[] {
  const { ledger } = context;
  const [, addresses = "", ...options] = line.words;
  const taken = optionsOf(line, options, context);
  const places = addresses.split(",").flatMap((address) => placesOf(line, address, options, context));
  if (places.length > 0) ledger.take(line);
  if (taken.isTls && taken.certificates.length === 0) {
    ledger.note(line, "left-out", "it names no certificate that can be found here: add certificates");
    return [];
  }
  return places.map((place) => Object.assign({ line }, place, taken));
}

type Place = Pick<Bind, "vip" | "port">;

function placesOf(line: Line, text: string, options: readonly string[], context: BindContext): Place[] {
  const { ledger } = context;
  if (/^(unix|abns|fd|sockpair|quic\w*)@|^\//.test(text)) {
    ledger.note(line, "left-out", "vservers listen by TCP on VIPs alone");
    return [];
  }
  const { host, port } = splitAddress(text);
  const ports = portsOf(port);
  if (ports === undefined || ports.length > MOST_PORTS) {
    ledger.note(line, "left-out", `its ports can't be taken over: a vserver has 1 to ${MOST_PORTS}`);
    return [];
  }
  const vips = vipsOf(line, host, options, context);
  return vips.flatMap((vip) => ports.map((port) => ({ vip, port })));
}

function portsOf(text: string): number[] | undefined {
  const [, from, to = from] = /^(\d{1,5})(?:-(\d{1,5}))?$/.exec(text) ?? [];
  if (from === undefined || Number(to) < Number(from)) return undefined;
  return Array.from({ length: Number(to) - Number(from) + 1 }, (_, i) => Number(from) + i);
}

const LOOPBACK = /^(127\.|::1$|localhost$)/;

function vipsOf(
  line: Line,
  host: string,
  options: readonly string[],
  context: BindContext,
): readonly string[] {
  const { ledger, vips, arePlaceholders } = context;
  if (LOOPBACK.test(host)) {
    ledger.note(
      line,
      "left-out",
      "it is for this machine alone: web servers may be reached directly from there",
    );
    return [];
  }
  const isWild = ["", "*", "0.0.0.0", "::", "*6"].includes(host);
  if (isWild) {
    const isBoth = options.includes("v4v6");
    const wanted = vips.filter((vip) => isBoth || (isIP(vip) === 6) === (host === "::" || host === "*6"));
    const found = wanted.length > 0 ? wanted : vips;
    if (arePlaceholders)
      ledger.note(
        line,
        "differs",
        `every address is meant, and VIPs are needed: ${found.join(", ")} is a placeholder (--vip)`,
      );
    return found;
  }
  if (isIP(host) === 0) {
    ledger.note(line, "left-out", `${host} is no address`);
    return [];
  }
  if (!arePlaceholders && !vips.includes(host))
    ledger.note(
      line,
      "differs",
      `${host} becomes a VIP, which every node holds: no machine may have it as its own`,
    );
  return [host];
}

type Options = Pick<Bind, "isTls" | "certificates" | "takesProxyHeader" | "isHttp2">;

/** Parameters of a bind line that say nothing to us, and how many values they have. */
const SILENT: Readonly<Record<string, number>> = {
  transparent: 0,
  v4v6: 0,
  v6only: 0,
  "defer-accept": 0,
  tfo: 0,
  "no-sslv3": 0,
  "no-tlsv10": 0,
  "no-tlsv11": 0,
  "no-tls-tickets": 0,
  "prefer-client-ciphers": 0,
  backlog: 1,
  maxconn: 1,
  name: 1,
  nice: 1,
  process: 1,
  thread: 1,
  shards: 1,
  interface: 1,
  mss: 1,
  id: 1,
  proto: 1,
  ciphers: 1,
  ciphersuites: 1,
  curves: 1,
  ecdhe: 1,
  "ssl-min-ver": 1,
  "ssl-max-ver": 1,
};
const WITH_ADVICE: Readonly<Record<string, string>> = {
  "ca-file": "clients are not asked for certificates",
  verify: "clients are not asked for certificates",
  "crl-file": "clients are not asked for certificates",
  "crt-list": "list its certificates under certificates",
  "ca-verify-file": "clients are not asked for certificates",
  "tls-ticket-keys": "ticket keys come from the array key and turn by themselves",
};

function optionsOf(line: Line, words: readonly string[], context: BindContext): Options {
  const taken = { isTls: false, takesProxyHeader: false, isHttp2: true, files: [] as string[] };
  for (let i = 0; i < words.length; i++) {
    const word = words[i]!;
    if (word === "ssl") taken.isTls = true;
    else if (word === "accept-proxy") {
      taken.takesProxyHeader = true;
      context.ledger.note(
        line,
        "differs",
        "connections from anywhere have to begin with a PROXY header: name your load balancers in proxy_protocol_from",
      );
    } else if (word === "crt") taken.files.push(based(context.crtBase, words[++i] ?? ""));
    else if (word === "alpn") taken.isHttp2 = (words[++i] ?? "").split(",").includes("h2");
    else if (Object.hasOwn(SILENT, word)) i += SILENT[word]!;
    else if (Object.hasOwn(WITH_ADVICE, word)) {
      i++;
      context.ledger.note(line, "left-out", `${word}: ${WITH_ADVICE[word]}`);
    } else context.ledger.note(line, "left-out", `${word} has no counterpart`);
  }
  const { files, ...rest } = taken;
  return { ...rest, certificates: taken.isTls ? files.flatMap((file) => certificatesAt(file, context)) : [] };
}

/** HAProxy's files hold certificate and key; the key may also be beside it, with ".key" behind. */
function certificatesAt(file: string, { listPem, exists }: BindContext): Listener["certificates"] {
  const files = listPem(file) ?? [file];
  return files.map((certificate) => ({
    certificate,
    key: exists(`${certificate}.key`) ? `${certificate}.key` : certificate,
  }));
}
