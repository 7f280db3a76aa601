/** The scheduler's tables for the status process: from the mapped table, the counters and the last sweep. */
import { formatMac } from "../conf/address.ts";
import type {
  BucketsReport,
  NodeRow,
  NodeStateName,
  NodeStatus,
  OwnersReport,
  SchedulerReport,
  VserverHostRow,
  VserverRow,
  VserversReport,
} from "../conf/messages.ts";
import { NOBODY } from "../conf/limits.ts";
import type { HeartbeatCounts } from "../net/heartbeat-memory.ts";
import type { TableArea } from "./arrangement.ts";
import { isHostUp } from "./deciding.ts";
import { versionOf } from "./feed/feed.ts";
import type { Following } from "./following.ts";
import type { FragmentCounts } from "./held/held-fragments.ts";
import type { DirectHost, Machine } from "./machine.ts";
import type { Member } from "./nodes/members.ts";
import type { Scheduling, SweepFacts } from "./scheduling.ts";
import { idleSeconds, lastAccess, nextOf, ownerOf, previousOf, readWord, sizeOf } from "./table.ts";
import type { TrafficRates } from "./traffic-rates.ts";
import { hostKey, ROWS_PER_VSERVER } from "./traffic-rows.ts";

interface ReportSources {
  readonly machine: Machine;
  readonly isScheduling: boolean;
  readonly stateOf: (number: number) => { readonly state: NodeStateName; readonly reason: string };
  readonly epoch: number;
  readonly tableVersion: number;
  /** What another node has acknowledged; null when it doesn't follow, or this node doesn't schedule. */
  readonly versionOf: (number: number) => number | null;
  readonly rates: TrafficRates;
  readonly sweep: SweepFacts | undefined;
  readonly fragments: FragmentCounts;
  readonly heartbeats: HeartbeatCounts;
  /** Buckets of tables that lost; see merging.ts. */
  readonly merged: number;
  /** Buckets that can't name a node which has connections of them. */
  readonly crowded: number;
  /** By node number; undefined where this node doesn't schedule. */
  readonly weights: ReadonlyMap<number, number> | undefined;
}

type Common = Pick<ReportSources, "machine" | "rates" | "fragments">;

/** What there is to report in a role; undefined before there is one. */
export function sourcesOf(common: Common, role: Scheduling | Following | undefined): ReportSources {
  const nothing = { heartbeats: { sent: 0, failed: 0 }, merged: 0, crowded: 0 };
  if (role?.kind === "scheduling") return schedulingSources(common, role);
  const { epoch, version } = role?.follow.position ?? { epoch: 0, version: 0 };
  return {
    ...common,
    ...nothing,
    isScheduling: false,
    stateOf: (number) => role?.stateOf(number) ?? { state: "starting", reason: "" },
    sweep: undefined,
    epoch,
    tableVersion: version,
    versionOf: () => null,
    weights: undefined,
  };
}

function schedulingSources(common: Common, role: Scheduling): ReportSources {
  const { feed } = role.steering;
  const { merging, scattering } = role.deciding;
  return {
    ...common,
    isScheduling: true,
    stateOf: (number) => role.stateOf(number),
    sweep: role.sweep(),
    epoch: feed.epoch,
    tableVersion: feed.version,
    versionOf: (number) => versionOf(feed, number),
    heartbeats: role.heartbeats(),
    merged: merging.merged,
    crowded: scattering.crowded.values().reduce((sum, buckets) => sum + buckets, 0),
    weights: role.deciding.weights,
  };
}

/** How many buckets of a table each number has, and how many have a previous node. */
interface Shares {
  readonly owned: Uint32Array;
  readonly withPrevious: number;
}

function sharesOf({ table, size }: TableArea): Shares {
  const owned = new Uint32Array(256);
  let withPrevious = 0;
  for (let bucket = 0; bucket < size; bucket++) {
    const word = readWord(table, bucket);
    owned[ownerOf(word)]!++;
    if (previousOf(word) !== NOBODY) withPrevious++;
  }
  return { owned, withPrevious };
}

/** The DLBA Server Status Table and what belongs to it. */
export function schedulerReport(sources: ReportSources): SchedulerReport {
  const { machine, sweep } = sources;
  const { plane, members, config, segments } = machine;
  const answers = sweep?.answers ?? new Map<number, NodeStatus>();
  const shares = sharesOf(machine.areas[0]!);
  const rows = members.map((member) => nodeRow(sources, member, shares, answers.get(member.config.number)));
  return {
    kind: "scheduler",
    nodes: rows,
    last_sweep_at_ms: sweep?.last_sweep_at_ms ?? null,
    last_sweep_took_ms: sweep?.last_sweep_took_ms ?? null,
    web_servers_by_node: Object.fromEntries(
      [...answers].map(([number, status]) => [String(number), status.web_servers]),
    ),
    xdp_mode: plane.planes.some(({ attachment }) => attachment.mode === "generic") ? "generic" : "native",
    interface: segments.map((segment) => segment.interface).join(", "),
    table_size: plane.tableSize,
    buckets_assigned: plane.tableSize - shares.owned[NOBODY]!,
    buckets_with_previous: shares.withPrevious,
    balance: config.scheduler.balance,
    epoch: sources.epoch,
    table_version: sources.tableVersion,
    counters: plane.counters(),
    packets_to_node: Object.fromEntries(
      members.map(({ config }) => [String(config.number), packetsTo(sources, config.number)]),
    ),
    held_fragments: sources.fragments,
    heartbeats_sent: sources.heartbeats.sent,
    heartbeats_failed: sources.heartbeats.failed,
    merged_buckets: sources.merged,
    crowded_buckets: sources.crowded,
    scattered_nodes: scatteredNodes(machine),
  };
}

function scatteredNodes({ members, plane }: Machine): string[] {
  const isScattered = ({ config }: Member): boolean =>
    plane.planes.some((one) => {
      const { isScattered, isReachable } = one.readNode(0, config.number);
      return isScattered === true && isReachable;
    });
  return members.filter(isScattered).map(({ config }) => config.name);
}

/** Of all vservers that the nodes themselves serve. */
function packetsTo({ machine, rates }: ReportSources, number: number): number {
  const slot = machine.places.slots[hostKey("", number)] ?? 0;
  const rows = machine.config.vservers
    .filter(({ pool }) => areaOf(machine, pool).name === "")
    .map(({ name }) => (machine.places.vservers[name] ?? 0) * ROWS_PER_VSERVER + slot);
  return rows.reduce((sum, row) => sum + rates.total(row).packets, 0);
}

function areaOf({ areas }: Machine, pool: string | undefined): TableArea {
  return areas.find(({ name }) => name !== "" && name === pool) ?? areas[0]!;
}

function nodeRow(
  { stateOf, versionOf, tableVersion, weights }: ReportSources,
  member: Member,
  { owned }: Shares,
  status: NodeStatus | undefined,
): NodeRow {
  const { number, name, address, enabled, weight } = member.config;
  const { state, reason } = stateOf(number);
  const mac = member.links[0]?.mac;
  return {
    number,
    name,
    mac: mac === undefined ? null : formatMac(mac),
    ip_groups: owned[number] ?? 0,
    avg_response_time_us: status?.avg_response_time_us ?? null,
    hits: status?.hits ?? null,
    open_connections: status?.open_connections ?? null,
    failed: state === "failed" || state === "down",
    state,
    reason,
    table_version: member.isSelf ? tableVersion : versionOf(number),
    address,
    enabled,
    weight,
    effective_weight: weights?.get(number) ?? null,
  };
}

/** All virtual servers, with what went to each node or host. */
export function vserversReport(sources: ReportSources): VserversReport {
  const { machine, isScheduling } = sources;
  const shares = new Map(machine.areas.map((area) => [area.name, sharesOf(area)]));
  const vservers = machine.config.vservers.map((vserver): VserverRow => {
    const { name, protocol, vips, ports, hash, pool } = vserver;
    const area = areaOf(machine, pool);
    const firstRow = (machine.places.vservers[name] ?? 0) * ROWS_PER_VSERVER;
    const owned = shares.get(area.name)!.owned;
    const hosts =
      area.name === ""
        ? machine.members.map((member) => nodeHost(sources, member, name, owned, firstRow))
        : machine.hosts
            .filter((host) => host.area === area)
            .map((host) => directHost(sources, host, owned, firstRow));
    const direct_pool = area.name === "" ? null : area.name;
    return { name, protocol, vips, ports, hash, direct_pool, table_size: area.size, hosts };
  });
  return { kind: "vservers", is_scheduling: isScheduling, vservers };
}

function trafficAt({ rates, machine }: ReportSources, area: string, number: number, firstRow: number) {
  const row = firstRow + (machine.places.slots[hostKey(area, number)] ?? 0);
  return { total: rates.total(row), per_second: rates.perSecond(row) };
}

function nodeHost(
  sources: ReportSources,
  { config, isSelf }: Member,
  vserver: string,
  owned: Uint32Array,
  firstRow: number,
): VserverHostRow {
  const { number, name, address, weight } = config;
  const status = sources.sweep?.answers.get(number);
  return {
    number,
    name,
    address,
    forward: isSelf ? "local" : "route",
    weight,
    ...sources.stateOf(number),
    buckets: owned[number] ?? 0,
    open_connections: status === undefined ? null : (status.open_by_vserver[vserver] ?? 0),
    ...trafficAt(sources, "", number, firstRow),
  };
}

function directHost(
  sources: ReportSources,
  host: DirectHost,
  owned: Uint32Array,
  firstRow: number,
): VserverHostRow {
  const { number, id, address, weight, isSelf, area } = host;
  return {
    number,
    name: id,
    address,
    forward: isSelf ? "local" : "route",
    weight,
    ...hostState(host),
    buckets: owned[number] ?? 0,
    open_connections: null,
    ...trafficAt(sources, area.name, number, firstRow),
  };
}

function hostState(host: DirectHost): { state: NodeStateName; reason: string } {
  if (isHostUp(host)) return { state: "up", reason: "" };
  if (host.macs.every((mac) => mac === undefined))
    return { state: "starting", reason: "its MAC address is not known" };
  if (host.isGood === undefined) return { state: "starting", reason: "it has not been checked yet" };
  return { state: "failed", reason: host.complaint };
}

/** The Client IP Hash Table. `now_units` as in table.ts. */
export function bucketsReport(table: Int32Array, now_units: number): BucketsReport {
  const size = sizeOf(table);
  const owners = Buffer.alloc(size);
  const next = Buffer.alloc(size);
  const previous = Buffer.alloc(size);
  const idle_s = Buffer.alloc(size * 4);
  for (let bucket = 0; bucket < size; bucket++) {
    const word = readWord(table, bucket);
    owners[bucket] = ownerOf(word);
    next[bucket] = nextOf(word);
    previous[bucket] = previousOf(word);
    idle_s.writeUInt32LE(idleSeconds(lastAccess(table, bucket), now_units), bucket * 4);
  }
  return {
    kind: "buckets",
    table_size: size,
    owners: owners.toString("base64"),
    next: next.toString("base64"),
    previous: previous.toString("base64"),
    idle_s: idle_s.toString("base64"),
  };
}

/** Who owns which bucket, and nothing else. */
export function ownersReport(table: Int32Array): OwnersReport {
  const owners = Buffer.alloc(sizeOf(table));
  for (let bucket = 0; bucket < owners.length; bucket++) owners[bucket] = ownerOf(readWord(table, bucket));
  return { kind: "owners", owners: owners.toString("base64") };
}
