/** HAProxy's `server` lines as web servers, and what they say that is a whole pool's with us. Pure. */
import { isIP } from "node:net";
import type { PoolInput } from "../../conf/schema.ts";
import { nameFor, readTime_ms } from "./haproxy-lines.ts";
import type { Ledger, Line } from "./notes.ts";

type Server = PoolInput["servers"][number];

export interface TakenServer {
  readonly server: Server;
  readonly line: Line;
  /** What its parameters say, those of default-server included. */
  readonly parameters: Parameters;
}

/** The parameters of a server that matter to its pool. */
export interface Parameters {
  readonly isChecked: boolean;
  readonly inter_ms?: number;
  readonly rise?: number;
  readonly fall?: number;
  readonly slowstart_ms?: number;
  readonly isTls: boolean;
  readonly verifies: boolean;
  readonly ca?: string;
  readonly certificate?: string;
  readonly server_name?: string;
  readonly send_proxy?: "v1" | "v2";
  readonly isH2: boolean;
}

export interface ServersContext {
  readonly ledger: Ledger;
  /** Addresses of names, as they were found now. */
  readonly resolved: ReadonlyMap<string, string>;
  /** The port of a server that names none. */
  readonly port: number;
  readonly caBase: string;
  readonly crtBase: string;
}

/** The host names that a file's servers have, to be looked up before. */
export function serverNames(lines: readonly Line[]): string[] {
  const names = lines.flatMap(({ words: [keyword, , address = ""] }) => {
    if (keyword !== "server") return [];
    const { host } = splitAddress(address);
    return host !== "" && isIP(host) === 0 && /^[A-Za-z0-9._-]+$/.test(host) ? [host] : [];
  });
  return [...new Set(names)];
}

/** `10.0.0.1:80`, `[::1]:80`, `name`, `:80`. */
export function splitAddress(text: string): { host: string; port: string } {
  const plain = text.replace(/^(ipv4|ipv6|tcp|tcp4|tcp6)@/, "");
  const [, bracketed, bracketedPort] = /^\[([^\]]*)\](?::(.*))?$/.exec(plain) ?? [];
  if (bracketed !== undefined) return { host: bracketed, port: bracketedPort ?? "" };
  if (isIP(plain) === 6 && !/:\d{2,5}$/.test(plain)) return { host: plain, port: "" };
  const at = plain.lastIndexOf(":");
  return at === -1 ? { host: plain, port: "" } : { host: plain.slice(0, at), port: plain.slice(at + 1) };
}

/** A server's line; undefined, and said, when it can't be one of ours. */
export function takeServer(
  line: Line,
  defaults: readonly string[],
  context: ServersContext,
): TakenServer | undefined {
  const { ledger } = context;
  const [, name = "", address = "", ...own] = line.words;
  const place = addressOf(line, address, context);
  if (place === undefined) return undefined;
  const id = nameFor(name);
  if (id !== name) ledger.note(line, "differs", `its id is ${id}: letters, digits and hyphens alone`);
  const server: Server = { id, ...place };
  const parameters: { -readonly [Key in keyof Parameters]: Parameters[Key] } = {
    isChecked: false,
    isTls: false,
    verifies: true,
    isH2: false,
  };
  // What the line says goes before what default-server says.
  const words = [...defaults, ...own];
  for (let i = 0; i < words.length; i++) i += takeParameter(words, i, { server, parameters, line, context });
  ledger.take(line);
  return { server, line, parameters };
}

function addressOf(
  line: Line,
  text: string,
  { ledger, resolved, port }: ServersContext,
): { address: string; port: number } | undefined {
  const { host, port: given } = splitAddress(text);
  if (/^(unix|abns|fd|rhttp|quic\w*)@|^\//.test(text)) {
    ledger.note(line, "left-out", "web servers are reached by TCP alone");
    return undefined;
  }
  if (given.startsWith("+") || given.startsWith("-")) {
    ledger.note(line, "left-out", "ports that depend on the client's: write one pool for each port");
    return undefined;
  }
  const number = given === "" ? port : Number(given);
  if (isIP(host) !== 0) return { address: host, port: number };
  const address = resolved.get(host);
  if (address === undefined) {
    ledger.note(
      line,
      "left-out",
      `web servers have addresses, and ${host} was not found here: add it with its address`,
    );
    return undefined;
  }
  ledger.note(
    line,
    "differs",
    `web servers have addresses: ${host} is ${address} now; reload when that changes`,
  );
  return { address, port: number };
}

/** What HAProxy does when nobody says how often. */
export const HAPROXY_INTER_MS = 2000;

interface Taking {
  readonly server: Server;
  readonly parameters: { -readonly [Key in keyof Parameters]: Parameters[Key] };
  readonly line: Line;
  readonly context: ServersContext;
}

const NOT_NEEDED = new Set([
  "init-addr",
  "resolve-prefer",
  "resolve-opts",
  "no-check",
  "ssl-reuse",
  "no-tls-tickets",
  "stick",
  "enabled",
  "tfo",
]);
/** Parameters with one value that say nothing to us, and why. */
const WITH_VALUE: Readonly<Record<string, string>> = {
  resolvers: "names are looked up once, now",
  fastinter: "checks have one interval",
  downinter: "checks have one interval",
  observe: "use pools[].outliers",
  "error-limit": "use pools[].outliers",
  "on-error": "use pools[].outliers",
  "on-marked-down": "requests under way at it fail by themselves",
  "on-marked-up": "backups get no more new requests then",
  "agent-check": "use dlba server POOL/ID, or dlba weight",
  "agent-port": "use dlba server POOL/ID, or dlba weight",
  "agent-inter": "use dlba server POOL/ID, or dlba weight",
  track: "each pool checks its own web servers",
  port: "checks go to the port that requests go to",
  addr: "checks go to the address that requests go to",
  source: "the system chooses the address",
  minconn: "max_connections does not move",
  maxqueue: "use pools[].queue.most",
  id: "ids are names",
  alpn: "HTTP/1.1 is spoken, or HTTP/2 where the pool has protocol: h2",
  "check-alpn": "checks speak what requests speak",
  "check-sni": "checks ask for the name that requests ask for",
  ciphers: "the proxy's own choice of ciphers is used",
  "pool-max-conn": "use limits.idle_server_connections",
  "pool-purge-delay": "use timeouts.server_idle_ms",
  "pool-low-conn": "use limits.idle_server_connections",
  "max-reuse": "connections are kept until they are idle",
  "ssl-min-ver": "TLS 1.2 and 1.3 are spoken",
  "ssl-max-ver": "TLS 1.2 and 1.3 are spoken",
  cookie: "the injected cookie's value is made of the id",
};

/** Takes one parameter over; returns how many of its values were read. */
function takeParameter(words: readonly string[], at: number, taking: Taking): number {
  const { server, parameters, line, context } = taking;
  const name = words[at]!;
  const value = words[at + 1] ?? "";
  const number = Number(value);
  switch (name) {
    case "weight":
      server.weight = Math.min(256, number);
      return 1;
    case "check":
      parameters.isChecked = true;
      return 0;
    case "check-ssl":
      return 0;
    case "inter":
      parameters.inter_ms = readTime_ms(value) ?? HAPROXY_INTER_MS;
      return 1;
    case "rise":
      parameters.rise = number;
      return 1;
    case "fall":
      parameters.fall = number;
      return 1;
    case "slowstart":
      parameters.slowstart_ms = readTime_ms(value) ?? 0;
      return 1;
    case "maxconn":
      if (number > 0) server.max_connections = number;
      return 1;
    case "backup":
      server.backup = true;
      return 0;
    case "disabled":
      server.state = "maint";
      return 0;
    case "ssl":
      parameters.isTls = true;
      return 0;
    case "verify":
      parameters.verifies = value !== "none";
      return 1;
    case "ca-file":
      parameters.ca = based(context.caBase, value);
      return 1;
    case "crt":
      parameters.certificate = based(context.crtBase, value);
      return 1;
    case "sni":
    case "verifyhost":
      takeServerName(name, value, taking);
      return 1;
    case "send-proxy":
      parameters.send_proxy = "v1";
      return 0;
    case "send-proxy-v2":
    case "send-proxy-v2-ssl":
    case "send-proxy-v2-ssl-cn":
      parameters.send_proxy = "v2";
      return 0;
    case "proto":
      parameters.isH2 = value === "h2";
      return 1;
    default:
      if (NOT_NEEDED.has(name))
        return ["init-addr", "resolve-prefer", "resolve-opts", "stick"].includes(name) ? 1 : 0;
      if (Object.hasOwn(WITH_VALUE, name)) {
        const kind = name === "cookie" || name === "alpn" ? "not-needed" : "left-out";
        context.ledger.note(line, kind, `${name}: ${WITH_VALUE[name]}`);
        return 1;
      }
      context.ledger.note(line, "left-out", `${name} has no counterpart`);
      return 0;
  }
}

export const based = (base: string, file: string): string =>
  base === "" || file.startsWith("/") ? file : `${base.replace(/\/$/, "")}/${file}`;

function takeServerName(parameter: string, value: string, { parameters, line, context }: Taking): void {
  const [, text] = /^str\(([^)]+)\)$/.exec(value) ?? [];
  const name = parameter === "verifyhost" ? value : text;
  if (name === undefined)
    context.ledger.note(
      line,
      "left-out",
      `${parameter} ${value}: the name that web servers are asked for is fixed: set server_name`,
    );
  else parameters.server_name = name;
}
