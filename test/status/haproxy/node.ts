/** A node that has served, for the tests of HAProxy's dialect. */
import { configSchema } from "../../../conf/schema.ts";
import type { WorkerReport } from "../../../conf/messages.ts";
import { lookAt, nodeView, type NodeView } from "../../../status/node-view.ts";
import { observer } from "../../../status/observed.ts";
import type { NodeFacts, Published } from "../../../status/info.ts";
import { NOW_MS, vserverCounts, webServer, worker } from "../samples.ts";

const config = configSchema.parse({
  array: { name: "shop", key_file: "unused" },
  nodes: [{ number: 1, name: "node1", address: "192.0.2.1", interface: "eth0" }],
  vservers: [
    { name: "shop-http", vips: ["192.0.2.10"], ports: [80], protocol: "http", pool: "shop" },
    { name: "mail", vips: ["192.0.2.10"], ports: [25], protocol: "tcp" },
    { name: "quiet", vips: ["192.0.2.10"], ports: [81], protocol: "http", pool: "images" },
  ],
  pools: [
    {
      name: "shop",
      balance: "least-connections",
      servers: [
        { id: "web1", address: "192.0.2.21", weight: 3 },
        { id: "web2", address: "2001:db8::22", port: 8080 },
        { id: "spare", address: "192.0.2.23", backup: true },
      ],
    },
    { name: "images", scheduling: "url-hash", servers: [{ id: "img", address: "192.0.2.31" }] },
  ],
});
export const facts: NodeFacts = {
  version: "1.2.3",
  configFile: "/etc/dlba/array.yaml",
  config,
  node: config.nodes[0]!,
  pid: 99,
  uptime_s: 100,
};

const report = (change: Partial<WorkerReport> = {}): WorkerReport =>
  worker({
    web_servers: [
      webServer({ weight: 3 }),
      webServer({ id: "web2", is_up: false, hits: 0, active_requests: 0, open_connections: 0 }),
      webServer({ id: "spare", hits: 1 }),
    ],
    ...change,
  });

export const published = (...bodies: WorkerReport[]): Published[] =>
  bodies.map((body, worker) => ({ hello: { process: "dlba-server", worker, pid: 100 + worker }, body }));

/** Two workers, which differ about web1; it went down for one ten seconds ago, and 50 more requests have come in five seconds. */
export function servedNode(): NodeView {
  const seen = observer();
  const viewOf = (uptime_s: number, reports: Published[]): NodeView =>
    nodeView({ ...facts, uptime_s }, reports, [], seen, NOW_MS);
  seen.note(lookAt(viewOf(90, published(report(), report()))));
  const later = report({ vservers: [vserverCounts({ accepted: 45, requests: 154 })] });
  seen.note(lookAt(viewOf(95, published(later, report()))));
  const down = report({
    vservers: [vserverCounts({ accepted: 45, requests: 154 })],
    web_servers: [webServer({ weight: 3, is_up: false }), ...report().web_servers.slice(1)],
  });
  return viewOf(100, published(down, report()));
}
