/** The array that a chaos run has, and the load on it. */
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import type { FlowGroup, FlowPlan } from "../../lab/flow-report.ts";

export const VIPS = ["198.18.0.100", "fd00:198:18::100"] as const;
const WEBS = 3;
const BUCKET_TIMEOUT_S = 2;
export const NODES = [1, 2, 3, 4] as const;
/** Not started at first. */
export const IDLE_NODE = 4;

/** Time-outs so short, and a table so small, that buckets move all the time. Returns the file's path. */
export function writeConfig(dir: string, nodes: readonly number[] = NODES): string {
  const file = join(dir, "chaos.yaml");
  const servers = Array.from({ length: WEBS }, (_, i) => ({
    id: `web${i + 1}`,
    address: `198.18.2.${i + 1}`,
  }));
  // JSON is YAML.
  const config = {
    array: { name: "chaos", key_file: join(dir, "made-by-the-lab.key") },
    nodes: nodes.map((number) => ({
      number,
      name: `node${number}`,
      address: `198.18.1.${number}`,
      interface: "eth0",
    })),
    vservers: [{ name: "http", vips: VIPS, ports: [80], protocol: "http", pool: "web" }],
    pools: [{ name: "web", servers }],
    scheduler: { xdp: "generic", table_size: 4096, bucket_timeout_s: BUCKET_TIMEOUT_S, fill_s: 4 },
    limits: { workers: 1 },
  };
  writeFileSync(file, JSON.stringify(config, null, 2));
  return file;
}

const target = { port: 80, path: "/id" };

/**
 * Over IPv4 and IPv6: busy connections that last for some seconds, so that each node has some soon after it came; 200
 * that last for the whole run and are idle for longer than the bucket time-out each time; and new ones.
 */
export function loadPlan(most_s: number): FlowPlan {
  const idle_ms = [BUCKET_TIMEOUT_S * 2000, BUCKET_TIMEOUT_S * 4500] as const;
  const groups = VIPS.flatMap((host): FlowGroup[] => {
    const family = host.includes(":") ? "IPv6" : "IPv4";
    const at = { ...target, host };
    return [
      {
        kind: "held",
        name: `busy ${family}`,
        connections: 40,
        pause_ms: [200, 1000],
        most_answers: 20,
        ...at,
      },
      { kind: "held", name: `idle ${family}`, connections: 100, pause_ms: idle_ms, ...at },
      { kind: "fresh", name: `new ${family}`, per_second: 25, ...at },
    ];
  });
  return { groups, answer_within_ms: 10_000, most_s };
}

/** Over IPv4 and IPv6: connections that are busy all the time, some that are idle for a while, and new ones. */
export function takeoverPlan(most_s: number): FlowPlan {
  const groups = VIPS.flatMap((host): FlowGroup[] => {
    const family = host.includes(":") ? "IPv6" : "IPv4";
    const at = { ...target, host };
    return [
      { kind: "held", name: `busy ${family}`, connections: 30, pause_ms: [50, 300], ...at },
      { kind: "held", name: `idle ${family}`, connections: 30, pause_ms: [3000, 9000], ...at },
      { kind: "fresh", name: `new ${family}`, per_second: 20, ...at },
    ];
  });
  return { groups, answer_within_ms: 10_000, most_s };
}
