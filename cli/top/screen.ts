/** What `dlba top` shows, as lines of a terminal. Pure: a state in, lines out. */

export const VIEWS = ["nodes", "vservers", "web"] as const;
export type View = (typeof VIEWS)[number];

/** A row of HAProxy's statistics, as far as it is shown. */
export interface StatLine {
  readonly pxname: string;
  readonly svname: string;
  readonly type: number;
  readonly status: string;
  readonly scur: number;
  readonly stot: number;
  readonly bin: number;
  readonly bout: number;
  readonly req_tot: number;
  readonly hrsp_4xx: number;
  readonly hrsp_5xx: number;
  readonly econ: number;
  readonly eresp: number;
  readonly rtime: number;
}
export interface NodeLine {
  readonly name: string;
  readonly number: number;
  readonly state: string;
  readonly reason: string;
  readonly ip_groups: number;
  readonly open_connections: number | null;
  readonly hits: number | null;
  readonly avg_response_time_us: number | null;
}

/** Everything that one look has brought; `nodes` is undefined where no scheduler process answers. */
export interface Look {
  /** Monotonic. */
  readonly at_ms: number;
  readonly time: string;
  readonly info: Readonly<Record<string, string | number>>;
  readonly nodes: readonly NodeLine[] | undefined;
  readonly stat: readonly StatLine[];
}

export interface TopState {
  readonly view: View;
  /** Rows by their traffic, the busiest first; else as configured. */
  readonly isByTraffic: boolean;
  readonly look: Look | undefined;
  readonly before: Look | undefined;
  /** Why there is no fresh look; empty when there is one. */
  readonly trouble: string;
}
export interface Size {
  readonly columns: number;
  readonly rows: number;
}

type Align = "left" | "right";
interface Table {
  readonly titles: readonly string[];
  readonly aligns: readonly Align[];
  readonly rows: readonly (readonly string[])[];
}

const KEYS = "q quit   1 nodes   2 vservers   3 web servers   s sort by traffic";

/** Exactly as many lines as the terminal has, none wider than it. */
export function screenLines(state: TopState, { columns, rows }: Size): string[] {
  const { look, trouble } = state;
  const head = look === undefined ? ["dlba top"] : headLines(state, look);
  const body = look === undefined ? [] : tableLines(tableOf(state, look));
  const room = Math.max(0, rows - head.length - 2);
  const shown =
    body.length <= room
      ? body
      : [...body.slice(0, Math.max(0, room - 1)), `… ${body.length - room + 1} more`];
  const foot = trouble === "" ? KEYS : `${trouble}   q quit`;
  const lines = [...head, "", ...shown.slice(0, room)];
  while (lines.length < rows - 1) lines.push("");
  return [...lines.slice(0, Math.max(0, rows - 1)), foot].slice(0, rows).map((line) => cut(line, columns));
}

/** All letters that stand here are one cell wide, and one unit of a string. */
const cut = (line: string, columns: number): string => line.slice(0, columns);

function headLines(state: TopState, { info, time, stat }: Look): string[] {
  const fact = (name: string): string => String(info[name] ?? "-");
  const fronts = stat.filter(({ type }) => type === 0);
  const requests = rateText(state, fronts, ({ req_tot }) => req_tot);
  const bytes = bytesText(rateOf(state, fronts, ({ bout }) => bout));
  return [
    `dlba ${fact("Version")}  array ${fact("Array")}  node ${fact("Node")} (${fact("Role")})  scheduler ${fact("Scheduler")}  ${time}`,
    `connections ${fact("CurrConns")}   requests ${requests}/s   to clients ${bytes}/s   workers ${fact("Workers_accepting")} of ${fact("Workers")}`,
  ];
}

type Count = (line: StatLine) => number;
const keyOf = ({ pxname, svname }: StatLine): string => `${pxname}/${svname}`;

/** Per second since the look before; undefined while there is none. */
function rateOf({ look, before }: TopState, lines: readonly StatLine[], count: Count): number | undefined {
  if (look === undefined || before === undefined || look.at_ms <= before.at_ms) return undefined;
  const former = new Map(before.stat.map((line) => [keyOf(line), count(line)]));
  const grown = lines.reduce(
    (sum, line) => sum + Math.max(0, count(line) - (former.get(keyOf(line)) ?? count(line))),
    0,
  );
  return (grown * 1000) / (look.at_ms - before.at_ms);
}

const rateText = (state: TopState, lines: readonly StatLine[], count: Count): string => {
  const rate = rateOf(state, lines, count);
  return rate === undefined ? "-" : rate < 10 ? rate.toFixed(1) : String(Math.round(rate));
};

const UNITS = ["B", "KiB", "MiB", "GiB", "TiB"];

/** `1.5 MiB` */
export function bytesText(bytes: number | undefined): string {
  if (bytes === undefined) return "-";
  let value = bytes;
  let unit = 0;
  for (; value >= 1024 && unit < UNITS.length - 1; unit++) value /= 1024;
  return `${unit === 0 ? Math.round(value) : value.toFixed(1)} ${UNITS[unit]}`;
}

function tableOf(state: TopState, look: Look): Table {
  switch (state.view) {
    case "nodes":
      return nodesTable(look);
    case "vservers":
      return statTable(state, look, 0);
    case "web":
      return statTable(state, look, 2);
  }
}

function nodesTable({ nodes }: Look): Table {
  const rows = (nodes ?? []).map((node) => [
    node.name,
    node.reason === "" ? node.state : `${node.state}, ${node.reason}`,
    String(node.ip_groups),
    String(node.open_connections ?? "-"),
    String(node.hits ?? "-"),
    node.avg_response_time_us === null ? "-" : (node.avg_response_time_us / 1000).toFixed(1),
  ]);
  const none = [["no table: the scheduler process of this node does not answer", "", "", "", "", ""]];
  return {
    titles: ["NODE", "STATE", "BUCKETS", "CONNS", "HITS", "MS"],
    aligns: ["left", "left", "right", "right", "right", "right"],
    rows: nodes === undefined ? none : rows,
  };
}

function statTable(state: TopState, { stat }: Look, type: 0 | 2): Table {
  const lines = stat.filter((line) => line.type === type);
  const traffic = (line: StatLine): number => rateOf(state, [line], ({ req_tot }) => req_tot) ?? line.req_tot;
  const sorted = state.isByTraffic ? lines.toSorted((one, other) => traffic(other) - traffic(one)) : lines;
  const isFront = type === 0;
  return {
    titles: [
      isFront ? "VSERVER" : "WEB SERVER",
      "STATUS",
      "NOW",
      "REQ/S",
      "OUT/S",
      "REQUESTS",
      "4XX",
      "5XX",
      isFront ? "" : "FAILED",
      isFront ? "" : "MS",
    ],
    aligns: ["left", "left", ...Array.from({ length: 8 }, (): Align => "right")],
    rows: sorted.map((line) => [
      isFront ? line.pxname : keyOf(line),
      line.status,
      String(line.scur),
      rateText(state, [line], ({ req_tot }) => req_tot),
      bytesText(rateOf(state, [line], ({ bout }) => bout)),
      String(line.req_tot),
      String(line.hrsp_4xx),
      String(line.hrsp_5xx),
      isFront ? "" : String(line.econ + line.eresp),
      isFront ? "" : String(line.rtime),
    ]),
  };
}

function tableLines({ titles, aligns, rows }: Table): string[] {
  const widths = titles.map((title, i) => Math.max(title.length, ...rows.map((row) => row[i]!.length)));
  const lay = (cells: readonly string[]): string =>
    cells
      .map((cell, i) => (aligns[i] === "right" ? cell.padStart(widths[i]!) : cell.padEnd(widths[i]!)))
      .join("  ")
      .trimEnd();
  return [titles, ...rows].map(lay);
}
