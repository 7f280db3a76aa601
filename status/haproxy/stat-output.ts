/** `show stat` as HAProxy says it: CSV, typed lines, JSON (management guide 9.3). Pure. */
import { csvLine } from "../grid.ts";
import { STAT_COLUMNS, type StatColumn, type StatValue, type StatValues } from "./stat-fields.ts";

export type StatFormat = "csv" | "typed" | "json";

/** A frontend, server or backend. */
export interface StatRow {
  readonly kind: "Frontend" | "Server" | "Backend";
  readonly iid: number;
  readonly sid: number;
  readonly values: StatValues;
}

/** `show stat <iid> <type> <sid>`: -1 for all; the type is a sum of 1 (frontends), 2 (backends), 4 (servers). */
export interface StatFilter {
  /** A number, or a proxy's name. */
  readonly proxy: number | string;
  readonly types: number;
  readonly sid: number;
  /** Without what is down, or taken out of service. */
  readonly isUpOnly: boolean;
  readonly isMaintenanceLeftOut: boolean;
}

export const EVERYTHING: StatFilter = {
  proxy: -1,
  types: -1,
  sid: -1,
  isUpOnly: false,
  isMaintenanceLeftOut: false,
};

const TYPE_BITS = { Frontend: 1, Backend: 2, Server: 4 } as const;

function isWanted(row: StatRow, filter: StatFilter): boolean {
  const { status = "", pxname } = row.values;
  const isProxy = filter.proxy === -1 || filter.proxy === row.iid || filter.proxy === pxname;
  const isType = (filter.types & TYPE_BITS[row.kind]) !== 0;
  const isServer = filter.sid === -1 || filter.sid === row.sid;
  if (filter.isUpOnly && String(status).startsWith("DOWN")) return false;
  if (filter.isMaintenanceLeftOut && String(status).startsWith("MAINT")) return false;
  return isProxy && isType && isServer;
}

/** The rows that are asked for, one piece each; there may be many. */
export function* statPieces(
  rows: readonly StatRow[],
  filter: StatFilter,
  format: StatFormat,
): Generator<string> {
  const wanted = rows.filter((row) => isWanted(row, filter));
  if (format === "csv") {
    yield `# ${STAT_COLUMNS.map(({ name }) => name).join(",")},\n`;
    for (const row of wanted) yield statLine(row);
  } else if (format === "typed") {
    for (const row of wanted)
      yield known(row)
        .map((cell) => typedLine(row, cell))
        .join("");
  } else {
    yield "[";
    for (const [index, row] of wanted.entries()) {
      yield (index === 0 ? "" : ",") + JSON.stringify(known(row).map((cell) => jsonCell(row, cell)));
    }
    yield "]\n";
  }
}

/** Each line ends with a comma, the title line too: collectors count on it. */
function statLine({ values }: StatRow): string {
  return csvLine([...STAT_COLUMNS.map(({ name }) => String(values[name] ?? "")), ""]);
}

type Known = readonly [column: StatColumn, value: StatValue];

function known({ values }: StatRow): Known[] {
  return STAT_COLUMNS.flatMap((column): Known[] => {
    const value = values[column.name];
    return value === undefined ? [] : [[column, value]];
  });
}

/** `S.3.1.17.status.1:SGP:str:UP` */
function typedLine({ kind, iid, sid }: StatRow, [{ name, position, tags, type }, value]: Known): string {
  return `${kind[0]}.${iid}.${sid}.${position}.${name}.1:${tags}:${type}:${value}\n`;
}

const ORIGINS = { M: "Metric", S: "Status", K: "Key", C: "Config", P: "Product" };
const NATURES = {
  A: "Age",
  a: "Avg",
  C: "Counter",
  D: "Duration",
  G: "Gauge",
  L: "Limit",
  M: "Max",
  m: "Min",
  N: "Name",
  O: "Output",
  R: "Rate",
  T: "Time",
};
const SCOPES = { C: "Cluster", P: "Process", S: "Service" };
const wordOf = (words: Readonly<Record<string, string>>, letter = ""): string => words[letter] ?? "";

function jsonCell({ kind, iid, sid }: StatRow, [{ name, position, tags, type }, value]: Known): object {
  const [origin, nature, scope] = tags;
  return {
    objType: kind,
    proxyId: iid,
    id: sid,
    field: { pos: position, name },
    processNum: 1,
    tags: {
      origin: wordOf(ORIGINS, origin),
      nature: wordOf(NATURES, nature),
      scope: wordOf(SCOPES, scope),
    },
    value: { type, value },
  };
}
