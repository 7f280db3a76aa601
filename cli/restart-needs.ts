/** What of a new configuration a running node can't take: pure comparisons, told by the names of the keys. */
import type { Config } from "../conf/schema.ts";

/** Keys of the scheduler section that are only read when a node starts; the others a new scheduler process takes. */
const FIXED_SCHEDULER = ["table_size", "port", "heartbeat_ms", "xdp"] as const;
/** Of a node what may change while it runs. */
const LIVE_NODE = new Set(["weight", "enabled"]);

const isSame = (a: unknown, b: unknown): boolean => JSON.stringify(a) === JSON.stringify(b);

/** Names of the keys that differ and need `dlba run` to be started again; empty when a reload will do. */
export function restartNeeds(before: Config, after: Config): string[] {
  return [
    ...differing("array", before.array, after.array),
    ...nodeNeeds(before, after),
    ...differing("scheduler", before.scheduler, after.scheduler).filter((key) =>
      FIXED_SCHEDULER.some((fixed) => key === `scheduler.${fixed}`),
    ),
    ...differing("failover", before.failover, after.failover),
    // What it serves besides, the status process opens and closes while it runs.
    ...differing("status", before.status, after.status).filter((key) => key === "status.port"),
    ...differing("push", before.push, after.push),
    ...directNeeds(before, after),
  ];
}

function differing(section: string, before: object, after: object): string[] {
  const [a, b] = [Object.entries(before), Object.entries(after)].map((entries) => new Map(entries));
  const keys = new Set([...a!.keys(), ...b!.keys()]);
  return [...keys].filter((key) => !isSame(a!.get(key), b!.get(key))).map((key) => `${section}.${key}`);
}

function nodeNeeds(before: Config, after: Config): string[] {
  if (before.nodes.length !== after.nodes.length) return ["nodes (their number)"];
  return before.nodes.flatMap((node, i) =>
    differing(`nodes[${i}]`, node, after.nodes[i]!).filter((key) => !LIVE_NODE.has(key.split(".").at(-1)!)),
  );
}

/** The tables of direct pools have their places in the kernel, by their order and sizes. */
const directNeeds = (before: Config, after: Config): string[] =>
  isSame(directTables(before), directTables(after)) ? [] : ["pools (which are direct, and their table_size)"];

const directTables = ({ pools }: Config): unknown =>
  pools.flatMap(({ name, scheduling, table_size }) => (scheduling === "direct" ? [[name, table_size]] : []));

/** Whether the scheduler process has to be started anew to take it: what it schedules, and how. */
export function concernsScheduler(before: Config, after: Config): boolean {
  return !isSame(scheduled(before), scheduled(after));
}

function scheduled({ nodes, vservers, pools, scheduler }: Config): unknown {
  const direct = pools.filter(({ scheduling }) => scheduling === "direct");
  const names = new Set(direct.map(({ name }) => name));
  const services = vservers.map(({ name, vips, ports, protocol, hash, pool }) => [
    name,
    vips,
    ports,
    protocol,
    hash,
    pool !== undefined && names.has(pool) ? pool : "",
  ]);
  return [nodes, services, direct, scheduler];
}
