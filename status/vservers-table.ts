/**
 * `show vservers`, pure: what each virtual server's traffic goes to, in the manner of `ipvsadm -Ln`, which operators
 * of virtual servers have in their fingers. Replies leave the nodes directly, so there are no counts of what goes out.
 */
import type {
  NodeStateName,
  TrafficCount,
  VserverHostRow,
  VserverRow,
  VserversReport,
} from "../conf/messages.ts";
import { gridCsv, type Column, type Format } from "./grid.ts";
import { nodeStateText } from "./tables.ts";

/** What text shows of each host: where its traffic goes, all of it so far, or that of the last second. */
export type TrafficView = "stats" | "rate" | undefined;

export interface VserversFacts {
  readonly version: string;
  /** Buckets of the array's own table. */
  readonly table_size: number;
  readonly balance: string;
}

/** The table of virtual servers. JSON and CSV hold everything, whatever the view. */
export function vserversTable(
  report: VserversReport,
  facts: VserversFacts,
  view: TrafficView,
  format: Format,
): string {
  if (format === "json") return `${JSON.stringify(jsonOf(report, facts))}\n`;
  if (format === "csv") return gridCsv(csvColumns(facts), csvRows(report));
  const title = `DLBA ${facts.version} (size=${facts.table_size})`;
  const note = report.is_scheduling ? "" : ", not scheduling: this node's counts stand still";
  const lines = view === undefined ? listLines(report, facts) : trafficLines(report, view);
  return [`${title}${note}`, ...lines].map((line) => `${line}\n`).join("");
}

function jsonOf({ is_scheduling, vservers }: VserversReport, facts: VserversFacts): object {
  return { ...facts, is_scheduling, vservers };
}

const protText = ({ protocol }: VserverRow): string => (protocol === "udp" ? "UDP" : "TCP");

/** One per VIP, with all its ports: the counts below them belong to all of them together. */
function listeners({ vips, ports }: VserverRow): string[] {
  return vips.map((vip) => `${vip.includes(":") ? `[${vip}]` : vip}:${ports.join(",")}`);
}

/** Hosts of a direct pool are levelled by weight alone: no sweep tells of them. */
const schedulerOf = ({ direct_pool }: VserverRow, { balance }: VserversFacts): string =>
  direct_pool === null ? balance : "groups";

function flagsOf({ name, protocol, hash, direct_pool }: VserverRow): string {
  const flags = [`vserver=${name}`];
  if (protocol === "http" || protocol === "https") flags.push(`protocol=${protocol}`);
  if (hash === "address") flags.push("hash=address");
  if (direct_pool !== null) flags.push(`pool=${direct_pool}`);
  return flags.join(" ");
}

const hostText = ({ address, name }: VserverHostRow): string => `${address} (${name})`;
const forwardText = ({ forward }: VserverHostRow): string => (forward === "local" ? "Local" : "Route");
/** Nothing for a host that takes traffic; else why it does not. */
const stateNote = (host: VserverHostRow): string => (host.state === "up" ? "" : nodeStateText(host));

const LEAST_REMOTE_CHARACTERS = 28;

function listLines({ vservers }: VserversReport, facts: VserversFacts): string[] {
  const remotes = vservers.flatMap(({ hosts }) => hosts.map((host) => hostText(host).length));
  const width = Math.max(LEAST_REMOTE_CHARACTERS, ...remotes);
  const lay = (cells: readonly string[]): string =>
    cells
      .map((cell, i) => cell.padEnd([width, 7, 6, 10, 7][i] ?? 0))
      .join(" ")
      .trimEnd();
  const hostLine = (host: VserverHostRow): string => {
    const { weight, open_connections, buckets } = host;
    const numbers = [String(weight), String(open_connections ?? "-"), String(buckets)];
    return `  -> ${lay([hostText(host), forwardText(host), ...numbers, stateNote(host)])}`;
  };
  return [
    "Prot LocalAddress:Port Scheduler Flags",
    `  -> ${lay(["RemoteAddress:Port", "Forward", "Weight", "ActiveConn", "Buckets"])}`,
    ...vservers.flatMap((vserver) => [
      ...listeners(vserver).map(
        (listener) => `${protText(vserver)}  ${listener} ${schedulerOf(vserver, facts)} ${flagsOf(vserver)}`,
      ),
      ...vserver.hosts.map(hostLine),
    ]),
  ];
}

const COUNT_TITLES = {
  stats: ["Conns", "InPkts", "InBytes"],
  rate: ["CPS", "InPPS", "InBPS"],
} as const;

interface TrafficLine {
  readonly head: string;
  readonly counts: readonly string[];
  readonly note: string;
}

/** A vserver's own counts, those of all its hosts, stand on the line of its first VIP. */
function trafficLines({ vservers }: VserversReport, view: NonNullable<TrafficView>): string[] {
  const lines: TrafficLine[] = [
    { head: "Prot LocalAddress:Port", counts: COUNT_TITLES[view], note: "" },
    { head: "  -> RemoteAddress:Port", counts: [], note: "" },
    ...vservers.flatMap((vserver) => trafficOf(vserver, view)),
  ];
  const width = Math.max(...lines.map(({ head }) => head.length));
  const widths = COUNT_TITLES[view].map((_, i) =>
    Math.max(8, ...lines.map(({ counts }) => counts[i]?.length ?? 0)),
  );
  return lines.map(({ head, counts, note }) => {
    const cells = widths.map((width, i) => (counts[i] ?? "").padStart(width));
    return [head.padEnd(width), ...cells, note].join(" ").trimEnd();
  });
}

function trafficOf(vserver: VserverRow, view: NonNullable<TrafficView>): TrafficLine[] {
  const countOf = (host: VserverHostRow): TrafficCount => (view === "stats" ? host.total : host.per_second);
  const sum = sumTraffic(vserver.hosts.map(countOf));
  return [
    ...listeners(vserver).map((listener, i) => ({
      head: `${protText(vserver)}  ${listener}`,
      counts: i === 0 ? countTexts(sum) : [],
      note: i === 0 ? flagsOf(vserver) : "",
    })),
    ...vserver.hosts.map((host) => ({
      head: `  -> ${hostText(host)}`,
      counts: countTexts(countOf(host)),
      note: stateNote(host),
    })),
  ];
}

function sumTraffic(counts: readonly TrafficCount[]): TrafficCount {
  const sum = { connections: 0, packets: 0, bytes: 0 };
  for (const { connections, packets, bytes } of counts) {
    sum.connections += connections;
    sum.packets += packets;
    sum.bytes += bytes;
  }
  return sum;
}

/** Rates may be fractions. */
function countTexts({ connections, packets, bytes }: TrafficCount): string[] {
  return [connections, packets, bytes].map((count) => String(Math.round(count)));
}

interface CsvRow {
  readonly vserver: VserverRow;
  readonly host: VserverHostRow;
}

function csvRows({ vservers }: VserversReport): CsvRow[] {
  return vservers.flatMap((vserver) => vserver.hosts.map((host) => ({ vserver, host })));
}

function csvColumns(facts: VserversFacts): Column<CsvRow>[] {
  const column = (title: string, of: Column<CsvRow>["of"]): Column<CsvRow> => ({ title, key: title, of });
  return [
    column("Vserver", ({ vserver }) => vserver.name),
    column("Protocol", ({ vserver }) => vserver.protocol),
    column("VIPs", ({ vserver }) => vserver.vips.join(" ")),
    column("Ports", ({ vserver }) => vserver.ports.join(" ")),
    column("Scheduler", ({ vserver }) => schedulerOf(vserver, facts)),
    column("Hash", ({ vserver }) => vserver.hash),
    column("Direct Pool", ({ vserver }) => vserver.direct_pool),
    column("Number", ({ host }) => host.number),
    column("Name", ({ host }) => host.name),
    column("Physical IP Address", ({ host }) => host.address),
    column("Forward", ({ host }) => forwardText(host)),
    column("Weight", ({ host }) => host.weight),
    column("State", ({ host }): NodeStateName => host.state),
    column("Reason", ({ host }) => host.reason),
    column("ActiveConn", ({ host }) => host.open_connections),
    column("Buckets", ({ host }) => host.buckets),
    column("Conns", ({ host }) => host.total.connections),
    column("InPkts", ({ host }) => host.total.packets),
    column("InBytes", ({ host }) => host.total.bytes),
    column("CPS", ({ host }) => host.per_second.connections),
    column("InPPS", ({ host }) => host.per_second.packets),
    column("InBPS", ({ host }) => host.per_second.bytes),
  ];
}
