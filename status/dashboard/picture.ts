/** The array at a moment, from what its nodes have told now and at the moment before. Pure. */
import { epochText } from "../../conf/epoch.ts";
import type { Config, NodeConfig, VserverConfig } from "../../conf/schema.ts";
import type {
  ArrayPicture,
  ArraySlice,
  Counts,
  NodePicture,
  NodeSlice,
  Rates,
  VserverPicture,
  WebServerPicture,
  WebServerSlice,
} from "./messages.ts";

/** What was told at a moment, by node number; of those that did not tell, why. */
export interface Gathered {
  readonly slices: ReadonlyMap<number, NodeSlice>;
  readonly silences: ReadonlyMap<number, string>;
}

/** A node's slice now, and at the moment before if its counters go on from there. */
interface Pair {
  readonly now: NodeSlice;
  readonly before: NodeSlice | undefined;
  readonly elapsed_s: number;
}

/** Makes the picture that node `self` shows. */
export function arrayPicture(
  config: Pick<Config, "array" | "nodes" | "vservers">,
  self: Pick<NodeConfig, "number" | "name">,
  now: Gathered,
  before: Gathered | undefined,
  at_ms: number,
): ArrayPicture {
  const pairs = pairsOf(now, before);
  const known = bestKnown(now, self.number);
  const scheduler = known?.scheduler ?? null;
  const array = known?.array ?? null;
  return {
    array: config.array.name,
    shown_by: self.name,
    at_ms,
    scheduler,
    epoch: array === null ? "" : epochText(array.epoch),
    table_version: array?.table_version ?? 0,
    table_size: array?.table_size ?? 0,
    balance: array?.balance ?? "",
    sweep_age_ms: array?.sweep_age_ms ?? null,
    sweep_took_ms: array?.sweep_took_ms ?? null,
    nodes: config.nodes.map((node) => nodePicture(node, scheduler, array, pairs, now)),
    vservers: config.vservers.map((vserver) => vserverPicture(vserver, array, pairs)),
    web_servers: webServerPictures(pairs),
    left_out: Math.max(0, ...[...now.slices.values()].map(({ left_out }) => left_out)),
  };
}

function pairsOf(now: Gathered, before: Gathered | undefined): Map<number, Pair> {
  return new Map(
    [...now.slices].map(([number, slice]): [number, Pair] => {
      const earlier = before?.slices.get(number);
      const goesOn =
        earlier !== undefined && earlier.life === slice.life && earlier.uptime_s < slice.uptime_s;
      const elapsed_s = goesOn ? slice.uptime_s - earlier.uptime_s : 0;
      return [number, { now: slice, before: goesOn ? earlier : undefined, elapsed_s }];
    }),
  );
}

/** What the scheduler says, the later one's if two think so; else what this node knows. */
function bestKnown({ slices }: Gathered, self: number): NodeSlice | undefined {
  const scheduling = [...slices.values()]
    .filter(({ array }) => array?.is_scheduling === true)
    .toSorted((a, b) => (b.array?.epoch ?? 0) - (a.array?.epoch ?? 0));
  return scheduling[0] ?? slices.get(self);
}

function nodePicture(
  { number, name, address, weight }: NodeConfig,
  scheduler: number | null,
  array: ArraySlice | null,
  pairs: ReadonlyMap<number, Pair>,
  { silences }: Gathered,
): NodePicture {
  const standing = array?.nodes.find((node) => node.number === number);
  const pair = pairs.get(number);
  const slice = pair?.now;
  return {
    number,
    name,
    address,
    is_scheduler: number === scheduler,
    state: standing?.state ?? "unknown",
    reason: standing?.reason ?? "",
    weight,
    effective_weight: standing?.effective_weight ?? null,
    buckets: standing?.buckets ?? null,
    table_version: standing?.table_version ?? null,
    silence: slice === undefined ? (silences.get(number) ?? "not asked yet") : "",
    open: slice?.open ?? null,
    rates: pair === undefined ? null : ratesOf(pair.now.counts, pair.before?.counts, pair.elapsed_s),
    latency_ms: pair === undefined ? null : latency_ms(pair.now, pair.before),
    workers: slice?.workers ?? null,
    workers_accepting: slice?.workers_accepting ?? null,
    memory_bytes: slice?.memory_bytes ?? null,
    version: slice?.version ?? null,
  };
}

/** Null when there is nothing to compare with. A counter that fell was started anew. */
function ratesOf(now: Counts, before: Counts | undefined, elapsed_s: number): Rates | null {
  if (before === undefined) return null;
  const rate = (key: keyof Counts): number =>
    Math.max(0, Math.round(((now[key] - before[key]) / elapsed_s) * 10) / 10);
  return {
    accepted: rate("accepted"),
    requests: rate("requests"),
    errors: rate("errors"),
    bytes_in: rate("bytes_in"),
    bytes_out: rate("bytes_out"),
  };
}

interface Times {
  readonly time_sum_us: number;
  readonly time_count: number;
}

function latency_ms(now: Times, before: Times | undefined): number | null {
  const count = now.time_count - (before?.time_count ?? Infinity);
  if (before === undefined || count <= 0) return null;
  return Math.max(0, Math.round((now.time_sum_us - before.time_sum_us) / count) / 1000);
}

function vserverPicture(
  { name, protocol, vips, ports, pool }: VserverConfig,
  array: ArraySlice | null,
  pairs: ReadonlyMap<number, Pair>,
): VserverPicture {
  const isProxied = protocol === "http" || protocol === "https";
  const told = [...pairs.values()].flatMap((pair) => {
    const now = pair.now.vservers.find((vserver) => vserver.name === name);
    const before = pair.before?.vservers.find((vserver) => vserver.name === name);
    return now === undefined ? [] : [{ now, rates: ratesOf(now, before, pair.elapsed_s) }];
  });
  return {
    name,
    protocol,
    vips,
    ports,
    target: pool ?? "the nodes",
    open: told.reduce((sum, { now }) => sum + now.open, 0),
    rates: isProxied ? sumRates(told.flatMap(({ rates }) => rates ?? [])) : null,
    flows: array?.to_vservers[name] ?? null,
  };
}

function sumRates(all: readonly Rates[]): Rates | null {
  if (all.length === 0) return null;
  const sum = (key: keyof Rates): number =>
    Math.round(all.reduce((total, one) => total + one[key], 0) * 10) / 10;
  return {
    accepted: sum("accepted"),
    requests: sum("requests"),
    errors: sum("errors"),
    bytes_in: sum("bytes_in"),
    bytes_out: sum("bytes_out"),
  };
}

interface Sighting {
  readonly now: WebServerSlice;
  readonly before: WebServerSlice | undefined;
  readonly elapsed_s: number;
}

function webServerPictures(pairs: ReadonlyMap<number, Pair>): WebServerPicture[] {
  const sightings = new Map<string, Sighting[]>();
  for (const { now, before, elapsed_s } of pairs.values()) {
    const earlier = new Map(before?.web_servers.map((server) => [`${server.pool}/${server.id}`, server]));
    for (const server of now.web_servers) {
      const key = `${server.pool}/${server.id}`;
      const sighting = { now: server, before: earlier.get(key), elapsed_s };
      sightings.set(key, [...(sightings.get(key) ?? []), sighting]);
    }
  }
  return [...sightings.entries()]
    .toSorted(([a], [b]) => a.localeCompare(b, "en", { numeric: true }))
    .map(([, seen]) => webServerPicture(seen));
}

function webServerPicture(seen: readonly Sighting[]): WebServerPicture {
  const worst = (seen.find(({ now }) => !now.is_up) ?? seen.find(({ now }) => now.state !== "up") ?? seen[0]!)
    .now;
  const sum = (key: "active" | "waiting"): number => seen.reduce((total, { now }) => total + now[key], 0);
  const rate = (key: "requests" | "errors" | "failures"): number => {
    const total = seen.reduce(
      (total, { now, before, elapsed_s }) =>
        before === undefined ? total : total + Math.max(0, (now[key] - before[key]) / elapsed_s),
      0,
    );
    return Math.round(total * 10) / 10;
  };
  const compared = seen.filter(({ before }) => before !== undefined);
  return {
    pool: worst.pool,
    id: worst.id,
    address: worst.address,
    port: worst.port,
    state: worst.state,
    reason: worst.reason,
    up_for: seen.filter(({ now }) => now.is_up).length,
    seen_by: seen.length,
    weight: worst.weight,
    active: sum("active"),
    waiting: sum("waiting"),
    requests: rate("requests"),
    errors: rate("errors"),
    failures: rate("failures"),
    latency_ms: latency_ms(
      timesOf(compared.map(({ now }) => now)),
      timesOf(compared.map(({ before }) => before!)),
    ),
  };
}

const timesOf = (servers: readonly Times[]): Times => ({
  time_sum_us: servers.reduce((sum, server) => sum + server.time_sum_us, 0),
  time_count: servers.reduce((sum, server) => sum + server.time_count, 0),
});
