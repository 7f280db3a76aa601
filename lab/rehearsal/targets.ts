/**
 * What a rehearsal asks of each vserver, and what has to come back: one request for what no rule decides, and one for each
 * rule that a made-up request can meet. Pure.
 */
import { cidrContains, parseCidr, parseIp, type IpAddress } from "../../conf/address.ts";
import type { Config, VserverConfig } from "../../conf/schema.ts";
import type { ConditionConfig, RuleConfig } from "../../conf/schema-rules.ts";
import { isServed } from "../../dlba-server/http/host.ts";
import { compileRules, decide, type Rules } from "../../dlba-server/rules/rules.ts";
import { canonicalIp } from "../planned-host.ts";

/** A request, and where it goes. */
export interface Target {
  readonly vserver: string;
  /** For people: what is asked for. */
  readonly what: string;
  readonly protocol: "http" | "https" | "tcp" | "udp";
  readonly address: string;
  readonly port: number;
  readonly begins_with_proxy_header: boolean;
  readonly method: string;
  readonly host: string;
  readonly path: string;
  readonly headers: Readonly<Record<string, string>>;
  /** The status that has to come; 0 for tcp and udp, where any answer will do. */
  readonly status: number;
  /** The pool that it is for, and null where nothing is asked of one. */
  readonly pool: string | null;
}

export interface Targets {
  readonly targets: readonly Target[];
  /** What can't be tried, in sentences. */
  readonly not_tried: readonly string[];
}

type Sample = Pick<Target, "method" | "host" | "path" | "headers">;
type TargetsConfig = Pick<Config, "vservers">;

/** Beyond this a vserver's further rules and addresses are not tried. */
const MOST_OF_A_VSERVER = 12;
const MOST = 240;
const DEFAULT_PATH = "/";

/** All targets of a configuration; `clients` are the client's own addresses. */
export function planTargets({ vservers }: TargetsConfig, clients: readonly string[]): Targets {
  const not_tried: string[] = [];
  const all = vservers.flatMap((vserver) => targetsOf(vserver, clients, not_tried));
  if (all.length > MOST) not_tried.push(`${all.length - MOST} more requests: ${MOST} are tried at most`);
  return { targets: all.slice(0, MOST), not_tried };
}

function targetsOf(vserver: VserverConfig, clients: readonly string[], not_tried: string[]): Target[] {
  const { name, vips, ports } = vserver;
  const places = vips.flatMap((vip) => ports.map((port) => ({ address: canonicalIp(vip), port })));
  const [first] = places;
  if (first === undefined) return [];
  const at = (place: typeof first, sample: Decided): Target => ({
    vserver: name,
    protocol: vserver.protocol,
    ...place,
    begins_with_proxy_header: isBlockOf(vserver.proxy_protocol_from, clientFor(place.address, clients)),
    ...sample,
  });
  if (vserver.protocol === "tcp" || vserver.protocol === "udp") {
    const sample = { what: "a line", ...NO_REQUEST, status: 0, pool: vserver.pool ?? null };
    return most(
      name,
      places.map((place) => at(place, sample)),
      not_tried,
    );
  }
  const samples = samplesOf(vserver, clientFor(first.address, clients), not_tried);
  const [plain, ...others] = samples;
  // Everything at one place, and the first request at all the others.
  const targets = [
    ...(plain === undefined ? [] : places.map((place) => at(place, plain))),
    ...others.map((sample) => at(first, sample)),
  ];
  return most(name, targets, not_tried);
}

const NO_REQUEST: Sample = { method: "", host: "", path: "", headers: {} };

function most(vserver: string, targets: readonly Target[], not_tried: string[]): Target[] {
  const more = targets.length - MOST_OF_A_VSERVER;
  if (more > 0) not_tried.push(`vserver ${vserver}: ${more} more requests and addresses`);
  return targets.slice(0, MOST_OF_A_VSERVER);
}

type Decided = Sample & Pick<Target, "what" | "status" | "pool">;

/** Samples that differ in what becomes of them; the first one is that of no rule, if there is one. */
function samplesOf(vserver: VserverConfig, client: IpAddress | undefined, not_tried: string[]): Decided[] {
  const pools = [vserver.pool, ...vserver.rules.map(({ pool }) => pool)].filter((pool) => pool !== undefined);
  const rules = compileRules(vserver.rules, {
    name: vserver.name,
    poolIndex: (pool) => pools.indexOf(pool),
    readPage: () => "",
  });
  const base: Sample = { method: "GET", host: hostFor(vserver), path: DEFAULT_PATH, headers: {} };
  const found = new Map<number, Decided>();
  const tryOne = (sample: Sample): number => {
    const decided = outcome(vserver, rules, pools, sample, client);
    if (decided === undefined) return -2;
    if (!found.has(decided.rule)) found.set(decided.rule, decided);
    return decided.rule;
  };
  tryOne(base);
  vserver.rules.forEach((rule, i) => {
    if ((rule.deny ?? rule.redirect ?? rule.pool) === undefined || found.has(i)) return;
    if (tryOne(sampleFor(rule, base)) !== i)
      not_tried.push(`vserver ${vserver.name}: rules[${i}], which no request that can be made up here meets`);
  });
  return [...found].toSorted(([a], [b]) => a - b).map(([, sample]) => sample);
}

function outcome(
  vserver: VserverConfig,
  rules: Rules | null,
  pools: readonly string[],
  sample: Sample,
  client: IpAddress | undefined,
): (Decided & { readonly rule: number }) | undefined {
  const { method, host, path, headers } = sample;
  if (!isServed(vserver.hosts, host)) return undefined;
  const pool = { status: 200, pool: vserver.pool ?? null };
  const what = `${method} ${path}`;
  if (rules === null) return { ...sample, what, ...pool, rule: -1 };
  const [normal = "", query] = path.split("?");
  const decision = decide(
    rules,
    {
      method,
      host,
      path: normal,
      query: query === undefined ? "" : `?${query}`,
      client,
      header: (name) => headers[name],
    },
    () => 0,
  );
  const { rule } = decision;
  const decided = vserver.rules[rule];
  if (decided === undefined) return { ...sample, what, ...pool, rule };
  const status = decided.deny?.status ?? decided.redirect?.status ?? 200;
  const named = decided.pool === undefined ? null : (pools[decision.pool] ?? null);
  return { ...sample, what: `${what} (rules[${rule}])`, status, pool: named, rule };
}

/** A name that the vserver serves: in the certificate that it shows, too, for https. */
function hostFor({ hosts, vips }: VserverConfig): string {
  const [host] = hosts;
  if (host !== undefined) return (host.startsWith("*.") ? `www.${host.slice(2)}` : host).toLowerCase();
  const vip = canonicalIp(vips[0] ?? "");
  return vip.includes(":") ? `[${vip}]` : vip;
}

/** A request that may meet a rule: what `decide` makes of it tells. */
function sampleFor({ when }: RuleConfig, base: Sample): Sample {
  return when.filter(({ not }) => !not).reduce(meet, base);
}

function meet(sample: Sample, condition: ConditionConfig): Sample {
  const { of, name = "", exact, prefix, suffix } = condition;
  const plain = exact?.[0] ?? prefix?.[0];
  switch (of) {
    case "host": {
      const host = plain ?? (suffix === undefined ? undefined : `www${suffix[0]}`.replace(/^www(?!\.)/, ""));
      return host === undefined ? sample : { ...sample, host: host.toLowerCase() };
    }
    case "path": {
      const path = plain ?? (suffix === undefined ? undefined : `/x${suffix[0]}`);
      return path === undefined ? sample : { ...sample, path: path + queryOf(sample.path) };
    }
    case "method":
      return plain === undefined ? sample : { ...sample, method: plain };
    case "header":
      return { ...sample, headers: { ...sample.headers, [name.toLowerCase()]: plain ?? suffix?.[0] ?? "1" } };
    case "query": {
      const value = encodeURIComponent(plain ?? suffix?.[0] ?? "1");
      const parameter = `${encodeURIComponent(name)}=${value}`;
      return { ...sample, path: sample.path + (sample.path.includes("?") ? "&" : "?") + parameter };
    }
    case "client":
      return sample;
  }
}

const queryOf = (path: string): string => (path.includes("?") ? path.slice(path.indexOf("?")) : "");

/** The client's address of a VIP's family. */
function clientFor(vip: string, clients: readonly string[]): IpAddress | undefined {
  return parseIp(clients.find((address) => address.includes(":") === vip.includes(":")) ?? "");
}

function isBlockOf(blocks: readonly string[], address: IpAddress | undefined): boolean {
  return blocks.some((block) => {
    const cidr = parseCidr(block);
    return cidr !== undefined && address !== undefined && cidrContains(cidr, address);
  });
}
