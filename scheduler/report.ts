/** The scheduler's tables for the status process: from the mapped table, the counters and the last sweep. */
import { formatMac } from "../conf/address.ts";
import type { BucketsReport, NodeRow, NodeStatus, SchedulerReport } from "../conf/messages.ts";
import type { Attachment } from "./attach.ts";
import type { DataPlaneMaps } from "./data-plane.ts";
import type { Member } from "./members.ts";
import type { Policy } from "./policy.ts";
import { idleSeconds, lastAccess, nextOf, ownerOf, readWord, sizeOf } from "./table.ts";

export interface ReportSources {
  readonly maps: DataPlaneMaps;
  readonly attachment: Attachment;
  readonly interface: string;
  readonly members: readonly Member[];
  readonly policy: Policy;
  readonly sweep:
    | {
        readonly last_sweep_at_ms: number | null;
        readonly last_sweep_took_ms: number | null;
        readonly answers: ReadonlyMap<number, NodeStatus>;
      }
    | undefined;
}

/** The DLBA Server Status Table and what belongs to it. */
export function schedulerReport(sources: ReportSources): SchedulerReport {
  const { maps, members, policy, sweep } = sources;
  const answers = sweep?.answers ?? new Map<number, NodeStatus>();
  const rows = members.map((member) => nodeRow(member, policy, answers.get(member.config.number)));
  return {
    kind: "scheduler",
    nodes: rows,
    last_sweep_at_ms: sweep?.last_sweep_at_ms ?? null,
    last_sweep_took_ms: sweep?.last_sweep_took_ms ?? null,
    web_servers_by_node: Object.fromEntries(
      [...answers].map(([number, status]) => [String(number), status.web_servers]),
    ),
    xdp_mode: sources.attachment.mode,
    interface: sources.interface,
    table_size: sizeOf(maps.buckets),
    buckets_assigned: rows.reduce((sum, row) => sum + row.ip_groups, 0),
    counters: maps.counters(),
    packets_to_node: Object.fromEntries(
      members.map(({ config }) => [String(config.number), maps.trafficOf(config.number).packets]),
    ),
  };
}

function nodeRow(member: Member, policy: Policy, status: NodeStatus | undefined): NodeRow {
  const { number, name, address, enabled, weight } = member.config;
  return {
    number,
    name,
    mac: member.mac === undefined ? null : formatMac(member.mac),
    ip_groups: policy.groups[number] ?? 0,
    avg_response_time_us: status?.avg_response_time_us ?? null,
    hits: status?.hits ?? null,
    open_connections: status?.open_connections ?? null,
    failed: member.isFailed,
    address,
    enabled,
    weight,
  };
}

/** The Client IP Hash Table. `now_units` as in table.ts. */
export function bucketsReport(table: Int32Array, now_units: number): BucketsReport {
  const size = sizeOf(table);
  const owners = Buffer.alloc(size);
  const next = Buffer.alloc(size);
  const idle_s = Buffer.alloc(size * 4);
  for (let bucket = 0; bucket < size; bucket++) {
    const word = readWord(table, bucket);
    owners[bucket] = ownerOf(word);
    next[bucket] = nextOf(word);
    idle_s.writeUInt32LE(idleSeconds(lastAccess(table, bucket), now_units), bucket * 4);
  }
  return {
    kind: "buckets",
    table_size: size,
    owners: owners.toString("base64"),
    next: next.toString("base64"),
    idle_s: idle_s.toString("base64"),
  };
}
