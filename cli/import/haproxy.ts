/** A haproxy.cfg, and a keepalived.conf beside it, as an array's configuration. Pure. */
import { isIP } from "node:net";
import type { ConfigInput, PoolInput, VserverInput } from "../../conf/schema.ts";
import { type CookieNames, lastOf, poolOf, type TakenPool } from "./haproxy-backend.ts";
import { type BindContext, type Listener, listenersOf } from "./haproxy-binds.ts";
import { sayTheRest } from "./haproxy-keywords.ts";
import { nameFor, readSections, type Section } from "./haproxy-lines.ts";
import { rulesOf, type SourcedRule } from "./haproxy-rules.ts";
import type { ServersContext } from "./haproxy-servers.ts";
import { timeoutsOf } from "./haproxy-timeouts.ts";
import type { Keepalived } from "./keepalived.ts";
import { type Ledger, openLedger } from "./notes.ts";

export interface Surroundings extends Pick<BindContext, "listPem" | "exists"> {
  readonly keepalived: Keepalived | undefined;
  /** Of the command line: VIPs, and nodes as `name=address`. */
  readonly vips: readonly string[];
  readonly nodes: readonly { readonly name: string; readonly address: string }[];
  /** Addresses of the names that servers have. */
  readonly resolved: ReadonlyMap<string, string>;
}

export interface TakenVserver {
  readonly vserver: VserverInput;
  readonly section: Section;
  readonly rules: readonly SourcedRule[];
}

/** What was made, part by part, with where it comes from. */
export interface Draft {
  readonly vservers: readonly TakenVserver[];
  readonly pools: readonly TakenPool[];
  readonly nodes: ConfigInput["nodes"];
  readonly timeouts: NonNullable<ConfigInput["timeouts"]>;
  readonly isLogged: boolean;
  readonly ledger: Ledger;
  /** What has to be filled in, in sentences. */
  readonly missing: readonly string[];
}

const PLACEHOLDER_VIP = "192.0.2.10";
const PLACEHOLDER_NODES = ["192.0.2.11", "192.0.2.12"];

export function importHaproxy(text: string, file: string, around: Surroundings): Draft {
  const ledger = openLedger(file);
  const sections = readSections(text);
  for (const { line, kind } of sections) if (kind !== "") ledger.take(line);
  const missing: string[] = [];
  const vips = vipsOf(around, missing);
  const context = contextOf(sections, ledger, around, vips);
  const backends = new Map(
    sections
      .filter(({ kind }) => kind === "backend" || kind === "listen")
      .map((section) => [section.name, section]),
  );
  const cookies: CookieNames = {
    taken: new Set(),
    areSeveral: [...backends.values()].filter(isHttp).length > 1,
  };
  const pools = [...backends.values()]
    .filter((section) => isHttp(section) && !isForStats(section))
    .flatMap((section) => {
      takeModes(section, ledger);
      return poolOf(section, context, cookies) ?? [];
    });
  const http = new Map(pools.map(({ section }) => [section.name, section]));
  const frontends = sections.filter(({ kind }) => kind === "frontend" || kind === "listen");
  const vservers: TakenVserver[] = [];
  for (const frontend of frontends) {
    if (isForStats(frontend)) {
      ledger.note(frontend.line, "left-out", STATS_SECTION);
      frontend.lines.forEach(ledger.take);
    } else if (isHttp(frontend)) vservers.push(...httpVservers(frontend, http, context));
    else {
      const direct = tcpVservers(frontend, backends, context);
      vservers.push(...direct.vservers);
      pools.push(...direct.pools);
    }
  }
  const timeouts = timeoutsOf(sections, ledger);
  const isLogged = takeLogging(sections, ledger);
  sayTheRest(sections, ledger);
  return {
    vservers: named(vservers),
    pools,
    nodes: nodesOf(around, missing),
    timeouts,
    isLogged,
    ledger,
    missing,
  };
}

const STATS_SECTION =
  "the monitoring socket speaks the same dialect ('bin/dlba show stat', hatop); for a page see status.dashboard and docs/monitoring.md";

type Context = ServersContext & BindContext;

function contextOf(
  sections: readonly Section[],
  ledger: Ledger,
  around: Surroundings,
  vips: readonly string[],
): Context {
  const baseOf = (keyword: string): string => {
    const line = lastOf(
      sections.filter(({ kind }) => kind === "global").flatMap(({ lines }) => lines),
      keyword,
    );
    if (line !== undefined) ledger.take(line);
    return line?.words[1] ?? "";
  };
  return {
    ledger,
    resolved: around.resolved,
    port: 80,
    caBase: baseOf("ca-base"),
    crtBase: baseOf("crt-base"),
    vips: vips.length > 0 ? vips : [PLACEHOLDER_VIP],
    arePlaceholders: vips.length === 0,
    listPem: around.listPem,
    exists: around.exists,
  };
}

function vipsOf({ vips, keepalived }: Surroundings, missing: string[]): readonly string[] {
  const known = [...new Set([...vips, ...(keepalived?.vips ?? [])])];
  if (known.length === 0)
    missing.push(
      `VIPs, where a bind line names no address: ${PLACEHOLDER_VIP} stands for them (--vip, or --keepalived)`,
    );
  return known;
}

function nodesOf({ nodes, keepalived }: Surroundings, missing: string[]): ConfigInput["nodes"] {
  const network = keepalived?.interface ?? "eth0";
  const named =
    nodes.length > 0
      ? nodes
      : (keepalived?.addresses ?? []).map((address, i) => ({ name: `lb${i + 1}`, address }));
  const known = named.filter(({ address }) => isIP(address) !== 0);
  if (known.length === 0)
    missing.push(
      `the nodes' own addresses: ${PLACEHOLDER_NODES.join(" and ")} stand for them (--node, or --keepalived with unicast_peer)`,
    );
  if (keepalived?.interface === undefined) missing.push("the nodes' interface: eth0 stands for it");
  const all =
    known.length > 0 ? known : PLACEHOLDER_NODES.map((address, i) => ({ name: `lb${i + 1}`, address }));
  return all.map(({ name, address }, i) => ({ number: i + 1, name, address, interface: network }));
}

/** HAProxy's own default is tcp. */
function isHttp({ inherited, lines }: Section): boolean {
  return lastOf([...inherited, ...lines], "mode")?.words[1] === "http";
}

const isForStats = ({ lines }: Section): boolean =>
  lines.some(({ words }) => words[0] === "stats" && ["enable", "uri"].includes(words[1] ?? "")) &&
  !lines.some(({ words: [keyword] }) => ["server", "default_backend", "use_backend"].includes(keyword ?? ""));

function takeModes({ inherited, lines }: Section, ledger: Ledger): void {
  for (const line of [...inherited, ...lines]) if (line.words[0] === "mode") ledger.take(line);
}

function httpVservers(
  frontend: Section,
  http: ReadonlyMap<string, Section>,
  context: Context,
): TakenVserver[] {
  const { ledger } = context;
  takeModes(frontend, ledger);
  const listeners = listenersOf(frontend, context);
  const fallback = fallbackOf(frontend, http, ledger);
  return listeners.flatMap((listener) => {
    const place = { isTls: listener.isTls, ports: listener.ports };
    const rules = rulesOf(frontend, fallback, { place, ledger, backends: http });
    // Without a default HAProxy answers 503; a vserver has a pool.
    const pool = fallback?.name ?? [...http.keys()][0];
    if (pool === undefined) {
      ledger.note(frontend.line, "left-out", "it leads to no backend that can be taken over");
      return [];
    }
    const isDecided = rules.some(
      ({ rule }) => (rule.when ?? []).length === 0 && (rule.redirect ?? rule.deny) !== undefined,
    );
    if (fallback === undefined && !isDecided)
      rules.push({ rule: { deny: { status: 503 } }, line: frontend.line });
    return [{ vserver: vserverOf(frontend, listener, nameFor(pool), ledger), section: frontend, rules }];
  });
}

function fallbackOf(
  frontend: Section,
  http: ReadonlyMap<string, Section>,
  ledger: Ledger,
): Section | undefined {
  const line = lastOf([...frontend.inherited, ...frontend.lines], "default_backend");
  if (line === undefined) return http.get(frontend.kind === "listen" ? frontend.name : "");
  const backend = http.get(line.words[1] ?? "");
  if (backend === undefined)
    ledger.note(line, "left-out", `there is no backend '${line.words[1]}', or none that can be taken over`);
  else ledger.take(line);
  return backend;
}

function vserverOf(section: Section, listener: Listener, pool: string, ledger: Ledger): VserverInput {
  const { vips, ports, isTls, certificates, takesProxyHeader, isHttp2 } = listener;
  const vserver: VserverInput = {
    name: nameFor(section.name),
    vips: [...vips],
    ports: [...ports],
    protocol: isTls ? "https" : "http",
    pool,
  };
  if (isTls) vserver.certificates = certificates;
  if (!isHttp2) vserver.http2 = false;
  if (takesProxyHeader) vserver.proxy_protocol_from = ["0.0.0.0/0", "::/0"];
  takeCompression(section, vserver, ledger);
  takeHeaders(section, vserver, ledger);
  return vserver;
}

const CODINGS = new Set(["gzip"]);

function takeCompression({ inherited, lines }: Section, vserver: VserverInput, ledger: Ledger): void {
  const all = [...inherited, ...lines].filter(({ words }) => words[0] === "compression");
  const valuesOf = (keyword: string): string[] => lastOf(all, "compression", keyword)?.words.slice(2) ?? [];
  if (valuesOf("algo").length === 0) return;
  const unknown = valuesOf("algo").filter((algorithm) => !CODINGS.has(algorithm));
  for (const line of all) {
    if (["algo", "type", "algo-res", "type-res"].includes(line.words[1] ?? "")) ledger.take(line);
    else ledger.note(line, "left-out", "web servers that compress by themselves spare the nodes that work");
  }
  const algo = lastOf(all, "compression", "algo");
  if (unknown.length > 0 && algo !== undefined)
    ledger.note(algo, "differs", `${unknown.join(", ")}: gzip, brotli and zstd are spoken`);
  const types = valuesOf("type").filter((type) => /^[a-z0-9.+-]+\/[a-z0-9.+*-]+$/.test(type));
  vserver.compression = { algorithms: ["gzip"], ...(types.length > 0 ? { types } : {}) };
}

function takeHeaders({ inherited, lines }: Section, vserver: VserverInput, ledger: Ledger): void {
  const all = [...inherited, ...lines];
  const forwardfor = lastOf(all, "option", "forwardfor");
  if (forwardfor !== undefined) {
    const isPlain = forwardfor.words.length === 2;
    ledger.note(
      forwardfor,
      isPlain ? "not-needed" : "differs",
      "web servers always have the client in X-Forwarded-For and Forwarded; trusted_proxies says whose word on it is kept",
    );
  }
  const id = lastOf(all, "unique-id-header");
  if (id === undefined) return;
  vserver.request_id = true;
  ledger.note(id, "differs", "the header is X-Request-Id");
}

/** A tcp frontend's connections go to the hosts themselves: they hold the VIP, and its port is theirs. */
function tcpVservers(
  frontend: Section,
  backends: ReadonlyMap<string, Section>,
  context: Context,
): { vservers: TakenVserver[]; pools: TakenPool[] } {
  const { ledger } = context;
  const nothing = { vservers: [], pools: [] };
  takeModes(frontend, ledger);
  const line = lastOf([...frontend.inherited, ...frontend.lines], "default_backend");
  const backend = line === undefined ? frontend : backends.get(line.words[1] ?? "");
  if (line !== undefined) ledger.take(line);
  if (backend === undefined) return nothing;
  takeModes(backend, ledger);
  const listeners = listenersOf(frontend, context);
  const ports = [...new Set(listeners.flatMap(({ ports }) => ports))];
  const [port] = ports;
  if (listeners.some(({ isTls }) => isTls)) {
    ledger.note(
      frontend.line,
      "left-out",
      "TLS is ended for HTTP alone: let the hosts end it (a tcp vserver with a direct pool)",
    );
    return nothing;
  }
  if (port === undefined) return nothing;
  const taken = poolOf(backend, { ...context, port }, { taken: new Set(), areSeveral: false });
  if (taken === undefined) return nothing;
  const others = taken.pool.servers.filter((server) => server.port !== port);
  if (ports.length > 1 || others.length > 0) {
    ledger.note(
      frontend.line,
      "left-out",
      "connections are not copied from one port to another: have the hosts listen on the VIP's port (a tcp vserver with a direct pool)",
    );
    return nothing;
  }
  ledger.note(
    frontend.line,
    "differs",
    "connections go to the hosts themselves: each has to hold the VIP on lo, listen on it and be on the nodes' segment (docs/operating.md, 'Hosts without a proxy')",
  );
  const pool = directPool(taken.pool);
  const vservers = listeners.map(({ vips }) => ({
    vserver: {
      name: nameFor(frontend.name),
      vips: [...vips],
      ports: [port],
      protocol: "tcp" as const,
      pool: pool.name,
    },
    section: frontend,
    rules: [],
  }));
  return { vservers, pools: [{ ...taken, pool }] };
}

/** What a pool of hosts can have: numbers, addresses, weights and a check. */
function directPool({ name, servers, check }: PoolInput): PoolInput {
  return {
    name,
    scheduling: "direct",
    ...(check === undefined ? {} : { check: { ...check, type: "tcp" } }),
    servers: servers.map(({ id, address, port, weight }, i) => ({
      id,
      number: i + 1,
      address,
      ...(port === undefined ? {} : { port }),
      ...(weight === undefined ? {} : { weight }),
    })),
  };
}

/** Vservers of one frontend are told apart by their protocol, then by number. */
function named(vservers: readonly TakenVserver[]): TakenVserver[] {
  const taken = new Set<string>();
  return vservers.map(({ vserver, ...rest }) => {
    const siblings = vservers.filter((other) => other.vserver.name === vserver.name).length;
    let name = siblings > 1 ? `${vserver.name.slice(0, 55)}-${vserver.protocol}` : vserver.name;
    for (let i = 2; taken.has(name.toLowerCase()); i++)
      name = `${vserver.name.slice(0, 50)}-${vserver.protocol}-${i}`;
    taken.add(name.toLowerCase());
    return Object.assign({}, rest, { vserver: { ...vserver, name } });
  });
}

function takeLogging(sections: readonly Section[], ledger: Ledger): boolean {
  const lines = sections
    .flatMap((section) => section.lines)
    .filter(({ words }) => words[0] === "option" && ["httplog", "tcplog"].includes(words[1] ?? ""));
  for (const line of lines)
    ledger.note(line, "differs", "lines go to a file on each node (access_log), not to syslog");
  return lines.length > 0;
}
