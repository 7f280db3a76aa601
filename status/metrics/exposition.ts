/**
 * Metrics as text, in Prometheus' format 0.0.4 and in OpenMetrics 1.0: they differ in the type line of counters and in the end.
 * Pure, and in pieces, so that a slow reader costs no memory.
 */

export type MetricType = "counter" | "gauge" | "summary" | "info";
export type Labels = Readonly<Record<string, string | number>>;

export interface Sample {
  readonly labels: Labels;
  readonly value: number;
  /** Of a summary: `_sum` or `_count`. */
  readonly suffix?: "_sum" | "_count";
}

/** A metric with its samples. Names have neither `_total` nor `_info` at their end: the format adds them. */
export interface Family {
  readonly name: string;
  readonly type: MetricType;
  readonly help: string;
  readonly samples: readonly Sample[];
}

export type Exposition = "prometheus" | "openmetrics";

export const CONTENT_TYPES: Readonly<Record<Exposition, string>> = {
  prometheus: "text/plain; version=0.0.4; charset=utf-8",
  openmetrics: "application/openmetrics-text; version=1.0.0; charset=utf-8",
};

const SUFFIXES: Readonly<Record<MetricType, string>> = {
  counter: "_total",
  gauge: "",
  summary: "",
  info: "_info",
};
/** Prometheus knows no type `info`. */
const PROMETHEUS_TYPES: Readonly<Record<MetricType, string>> = {
  counter: "counter",
  gauge: "gauge",
  summary: "summary",
  info: "gauge",
};

/** One piece for each family; those without samples are left out. */
export function* expositionPieces(families: readonly Family[], form: Exposition): Generator<string> {
  for (const family of families) if (family.samples.length > 0) yield familyText(family, form);
  if (form === "openmetrics") yield "# EOF\n";
}

function familyText({ name, type, help, samples }: Family, form: Exposition): string {
  const full = name + SUFFIXES[type];
  // OpenMetrics names the family, Prometheus the samples.
  const named = form === "openmetrics" ? name : full;
  const typed = form === "openmetrics" ? type : PROMETHEUS_TYPES[type];
  const head = `# HELP ${named} ${escapeHelp(help, form)}\n# TYPE ${named} ${typed}\n`;
  return head + samples.map((sample) => sampleLine(full, sample)).join("");
}

function sampleLine(name: string, { labels, value, suffix }: Sample): string {
  const pairs = Object.entries(labels).map(([label, text]) => `${label}="${escapeLabel(String(text))}"`);
  return `${name}${suffix ?? ""}${pairs.length === 0 ? "" : `{${pairs.join(",")}}`} ${value}\n`;
}

const escapeLabel = (text: string): string =>
  text.replaceAll("\\", "\\\\").replaceAll("\n", "\\n").replaceAll('"', '\\"');

function escapeHelp(text: string, form: Exposition): string {
  const escaped = text.replaceAll("\\", "\\\\").replaceAll("\n", "\\n");
  return form === "openmetrics" ? escaped.replaceAll('"', '\\"') : escaped;
}

/** What a scraper's Accept header asks for. */
export function expositionFor(accept: string | undefined): Exposition {
  return accept !== undefined && /application\/openmetrics-text/i.test(accept) ? "openmetrics" : "prometheus";
}
