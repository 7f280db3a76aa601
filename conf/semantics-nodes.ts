/** What must hold between the nodes of an array, and between the scheduler's own settings. Pure. */
import type { ConfigPath, Finding } from "./config-error.ts";
import { canonicalIp, type ConfigDraft, type Draft, duplicates, entriesOf, type Named } from "./draft.ts";
import { configJsonSchema } from "./json-schema.ts";
import type { NodeConfig } from "./schema.ts";

type Nodes = ConfigDraft["nodes"];

/** Everything that is wrong between the nodes. */
export function checkNodes({ nodes }: ConfigDraft): Finding[] {
  const at = ["nodes"];
  return [
    ...duplicates(
      "node number",
      entriesOf(nodes, at, "number", (node) => node.number),
      "give each node a number of its own",
    ),
    ...duplicates(
      "node name",
      entriesOf(nodes, at, "name", (node) => node.name?.toLowerCase()),
      "give each node a name of its own",
    ),
    ...duplicates("node address", addresses(nodes), "give each node its own physical address"),
    ...checkMacs(nodes),
    ...checkInterfaces(nodes),
    ...checkSegmentCounts(nodes),
    ...checkSomeoneServes(nodes),
  ];
}

/** A node on a segment: what is said of its interface there. */
interface Place {
  readonly segment: number;
  readonly path: ConfigPath;
  readonly interface: string | undefined;
  readonly address: string | undefined;
  readonly mac: string | undefined;
}

/** Where a node is: its own segment, then the further ones. */
function placesOf(node: Draft<NodeConfig> | undefined, path: ConfigPath): Place[] {
  const further = node?.interfaces ?? [];
  return [node, ...further].map((part, segment) => ({
    segment,
    path: segment === 0 ? path : [...path, "interfaces", segment - 1],
    interface: part?.interface,
    address: part?.address,
    mac: part?.mac,
  }));
}

function places(nodes: Nodes): Place[] {
  return (nodes ?? []).flatMap((node, i) => placesOf(node, ["nodes", i]));
}

/** The physical addresses of all nodes, with their places. */
export function addresses(nodes: Nodes): Named[] {
  return places(nodes).map(({ address, path }) => ({
    key: canonicalIp(address),
    path: [...path, "address"],
  }));
}

/** On one segment no two nodes have the same; VLAN interfaces of one node all have that of their parent. */
function checkMacs(nodes: Nodes): Finding[] {
  const all = places(nodes);
  const segments = [...new Set(all.map(({ segment }) => segment))];
  return segments.flatMap((segment) =>
    duplicates(
      "MAC address",
      all
        .filter((place) => place.segment === segment)
        .map(({ mac, path }) => ({ key: mac?.toLowerCase(), path: [...path, "mac"] })),
      "give each node its own MAC address, or leave mac out",
    ),
  );
}

function checkInterfaces(nodes: Nodes): Finding[] {
  return (nodes ?? []).flatMap((node, i) =>
    duplicates(
      "interface",
      placesOf(node, ["nodes", i]).map((place) => ({
        key: place.interface,
        path: [...place.path, "interface"],
      })),
      "name an interface of its own for each segment",
    ),
  );
}

function checkSegmentCounts(nodes: Nodes): Finding[] {
  const first = nodes?.find((node) => node?.interfaces !== undefined);
  const expected = first?.interfaces?.length;
  return (nodes ?? []).flatMap((node, i): Finding[] => {
    const count = node?.interfaces?.length;
    if (count === undefined || expected === undefined || count === expected) return [];
    const message = `nodes[${i}] lists ${segmentsText(count)}, and nodes[${nodes?.indexOf(first)}] ${segmentsText(expected)}`;
    const hint = "every node lists the same segments in the same order";
    return [{ path: ["nodes", i, "interfaces"], message, hint }];
  });
}

const segmentsText = (count: number): string => `${count} further segment${count === 1 ? "" : "s"}`;

function checkSomeoneServes(nodes: Nodes): Finding[] {
  const mayServe = (node: NonNullable<Nodes>[number]): boolean =>
    node === undefined || (node.enabled !== false && node.weight !== 0);
  if (nodes === undefined || nodes.length === 0 || nodes.some(mayServe)) return [];
  const hint = "enable at least one node, with a weight of 1 or more";
  return [{ path: ["nodes"], message: "no node may get traffic", hint }];
}

/** Heartbeats that may be lost before a node counts as dead, and one or two. */
const LEAST_HEARTBEATS = { scheduler: 3, failover: 4 };
const LEAST_TEXT = {
  scheduler: "one lost heartbeat must fail nobody",
  failover: "two lost heartbeats must fail nobody",
};

/** What must hold between the settings of a node's own services. */
export function checkServices({
  nodes,
  vservers,
  scheduler,
  failover,
  status,
  push,
}: ConfigDraft): Finding[] {
  return [
    ...checkPatience("scheduler", scheduler),
    ...checkPatience("failover", failover),
    ...checkSomeoneStands(nodes),
    ...checkPorts(scheduler?.port, status, push?.port),
    ...checkAccess(status),
    ...checkTraces(status, vservers),
  ];
}

const OWNERS = {
  metrics: "the metrics a port of their own",
  dashboard: "the dashboard a port of its own",
  monitor: "the monitoring socket a port of its own",
} as const;
type StatusDraft = ConfigDraft["status"];

/** Every service of a node has a port of its own. */
function checkPorts(scheduler: number | undefined, status: StatusDraft, push: number | undefined): Finding[] {
  const port = status?.port;
  const found: Finding[] = [];
  if (scheduler !== undefined && scheduler === port) {
    const path = chosen({ scheduler: { port }, status: { port } });
    const message = `scheduler.port and status.port are both ${port}`;
    found.push({ path, message, hint: "give each of the two a port of its own" });
  }
  found.push(...checkPushPort({ scheduler, status: port }, push));
  const taken = [
    { name: "scheduler.port", port: scheduler },
    { name: "status.port", port },
    { name: "push.port", port: push },
  ];
  for (const [name, own] of [
    ["metrics", status?.metrics?.port],
    ["dashboard", status?.dashboard?.port],
    ["monitor", status?.monitor?.port],
  ] as const) {
    const other = own === undefined ? undefined : taken.find((each) => each.port === own);
    taken.push({ name: `status.${name}.port`, port: own });
    if (other === undefined) continue;
    const message = `status.${name}.port and ${other.name} are both ${own}`;
    const hint = `give ${OWNERS[name]}`;
    found.push({ path: ["status", name, "port"], message, hint });
  }
  return found;
}

/** Traces are kept where the proxy looks after traceparent. */
function checkTraces(status: StatusDraft, vservers: ConfigDraft["vservers"]): Finding[] {
  if (status?.traces === undefined || vservers === undefined) return [];
  if (vservers.some((vserver) => vserver?.traceparent === true)) return [];
  const message = "no request would be traced: no vserver has traceparent";
  return [{ path: ["status", "traces"], message, hint: "add 'traceparent: true' to a vserver" }];
}

/** Who may look: nobody by accident. */
function checkAccess(status: StatusDraft): Finding[] {
  const found: Finding[] = [];
  const { monitor, dashboard } = status ?? {};
  if (monitor !== undefined && monitor.token_file === undefined && monitor.client_ca === undefined) {
    const message = "nobody could use the monitoring socket: it has neither token_file nor client_ca";
    found.push({ path: ["status", "monitor"], message, hint: "name at least one of the two" });
  }
  const { certificate, key } = dashboard ?? {};
  if ((certificate === undefined) !== (key === undefined)) {
    const has = certificate === undefined ? "key" : "certificate";
    const message = "certificate and key belong together, and one of the two is missing";
    found.push({ path: ["status", "dashboard", has], message, hint: "give both, or none for plain HTTP" });
  }
  return found;
}

function checkPushPort(
  others: Readonly<Record<"scheduler" | "status", number | undefined>>,
  port: number | undefined,
): Finding[] {
  return (["scheduler", "status"] as const)
    .filter((section) => port !== undefined && others[section] === port)
    .map((section) => ({
      path: chosen({ push: { port }, [section]: { port } }),
      message: `push.port and ${section}.port are both ${port}`,
      hint: "give each of the two a port of its own",
    }));
}

/** How many heartbeats it takes to judge a node. */
function checkPatience(
  section: keyof typeof LEAST_HEARTBEATS,
  times: Pick<NonNullable<ConfigDraft["failover"]>, "heartbeat_ms" | "dead_after_ms"> | undefined,
): Finding[] {
  const { heartbeat_ms, dead_after_ms } = times ?? {};
  if (heartbeat_ms === undefined || dead_after_ms === undefined) return [];
  const least = LEAST_HEARTBEATS[section];
  const least_ms = least * heartbeat_ms;
  if (dead_after_ms >= least_ms) return [];
  const path = chosen({ [section]: { dead_after_ms, heartbeat_ms } });
  const message = `dead_after_ms is ${dead_after_ms}, which is less than ${least} times heartbeat_ms (${heartbeat_ms})`;
  return [{ path, message, hint: `expected a dead_after_ms of ${least_ms} or more: ${LEAST_TEXT[section]}` }];
}

function checkSomeoneStands(nodes: Nodes): Finding[] {
  if (nodes === undefined || nodes.length === 0 || nodes.some((node) => node?.priority !== 0)) return [];
  const hint = "give at least one node a priority of 1 or more";
  return [{ path: ["nodes"], message: "no node may become the scheduler", hint }];
}

/** The first of some settings that has another value than its default: the one that stands in the file. */
function chosen(settings: Readonly<Record<string, Readonly<Record<string, unknown>>>>): ConfigPath {
  const known = configJsonSchema().properties;
  const all = Object.entries(settings).flatMap(([section, values]) =>
    Object.entries(values).map(([key, value]) => ({
      path: [section, key],
      isDefault: known?.[section]?.properties?.[key]?.default === value,
    })),
  );
  return (all.find(({ isDefault }) => !isDefault) ?? all[0])?.path ?? [];
}
