/**
 * Tables as an operator, a spreadsheet or a program wants them: aligned text, CSV (RFC 4180), JSON. No answer has
 * an empty line inside: on the monitoring socket that is what ends one.
 */

export const FORMATS = ["text", "json", "csv"] as const;
export type Format = (typeof FORMATS)[number];

export type Cell = string | number | boolean | null;
export interface Column<Row> {
  /** As it stands over the column. */
  readonly title: string;
  /** Its name in JSON. */
  readonly key: string;
  readonly of: (row: Row) => Cell;
  /** How the value reads in text and CSV, when not as it is. */
  readonly show?: (value: NonNullable<Cell>) => string;
}

/** A table in text: titles over as many lines as they need, numbers to the right. */
export function gridText<Row>(columns: readonly Column<Row>[], rows: readonly Row[]): string {
  const cells = rows.map((row) => columns.map((column) => cellText(column, row)));
  const isNumeric = columns.map((column) => rows.some((row) => typeof column.of(row) === "number"));
  const widths = columns.map(({ title }, i) =>
    Math.max(...title.split(" ").map((word) => word.length), ...cells.map((row) => row[i]!.length)),
  );
  const heads = columns.map(({ title }, i) => wrap(title, widths[i]!));
  const height = Math.max(...heads.map((lines) => lines.length));
  const headLines = Array.from({ length: height }, (_, line) =>
    heads.map((lines) => lines[line - (height - lines.length)] ?? ""),
  );
  const rule = widths.map((width) => "-".repeat(width));
  const lay = (row: readonly string[]): string =>
    row
      .map((text, i) => (isNumeric[i] === true ? text.padStart(widths[i]!) : text.padEnd(widths[i]!)))
      .join("  ")
      .trimEnd();
  return [...headLines, rule, ...cells].map((row) => `${lay(row)}\n`).join("");
}

function cellText<Row>({ of, show }: Column<Row>, row: Row): string {
  const value = of(row);
  if (value === null) return "-";
  if (show !== undefined) return show(value);
  if (typeof value === "boolean") return value ? "yes" : "no";
  return String(value);
}

/** Words of a title in lines no wider than `width`. */
function wrap(title: string, width: number): string[] {
  const lines: string[] = [];
  for (const word of title.split(" ")) {
    const last = lines.at(-1);
    if (last !== undefined && last.length + 1 + word.length <= width) lines[lines.length - 1] += ` ${word}`;
    else lines.push(word);
  }
  return lines;
}

/** A table in CSV with one line of titles. What is unknown is an empty field. */
export function gridCsv<Row>(columns: readonly Column<Row>[], rows: readonly Row[]): string {
  const lines = rows.map((row) =>
    columns.map((column) => (column.of(row) === null ? "" : cellText(column, row))),
  );
  return [columns.map(({ title }) => title), ...lines].map(csvLine).join("");
}

/** One line of CSV. */
export function csvLine(fields: readonly string[]): string {
  return `${fields.map((field) => (/[",\r\n]/.test(field) ? `"${field.replaceAll('"', '""')}"` : field)).join(",")}\n`;
}

/** A row as a JSON object. */
export function gridRecord<Row>(columns: readonly Column<Row>[], row: Row): Record<string, Cell> {
  return Object.fromEntries(columns.map(({ key, of }) => [key, of(row)]));
}

/** Microseconds as milliseconds. */
export function showMs(value_us: NonNullable<Cell>): string {
  return `${(Number(value_us) / 1000).toFixed(2)} ms`;
}
