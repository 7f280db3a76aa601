/**
 * A strict reader of both text formats (Prometheus 0.0.4, OpenMetrics 1.0): what it takes, any scraper takes. It fails with the
 * line that is wrong.
 */
import assert from "node:assert/strict";

export interface ReadFamily {
  readonly name: string;
  readonly type: string;
  readonly help: string;
  /** Values by the sample's whole name, labels sorted: `dlba_x_total{a="1"}`. */
  readonly samples: ReadonlyMap<string, number>;
}

const TYPES = new Set(["counter", "gauge", "summary", "info"]);
const SUFFIXES: Readonly<Record<string, readonly string[]>> = {
  counter: ["_total"],
  gauge: [""],
  summary: ["_sum", "_count"],
  info: ["_info"],
};
const NAME = /^[a-zA-Z_:][a-zA-Z0-9_:]*$/;
const SAMPLE = /^([a-zA-Z_:][a-zA-Z0-9_:]*)(?:\{(.*)\})? (\S+)$/s;
const LABEL = /^([a-zA-Z_][a-zA-Z0-9_]*)="((?:[^"\\\n]|\\["\\n])*)"(,|$)/;

/** Reads an exposition; families by name as the format gives them. */
export function readExposition(text: string, form: "prometheus" | "openmetrics"): Map<string, ReadFamily> {
  assert.ok(text.endsWith("\n"), "the last line is whole");
  const lines = text.slice(0, -1).split("\n");
  if (form === "openmetrics") assert.equal(lines.pop(), "# EOF");
  const families = new Map<string, ReadFamily>();
  let current: { name: string; type: string; help: string; samples: Map<string, number> } | undefined;
  for (let i = 0; i < lines.length; i++) {
    const line = lines[i]!;
    const help = /^# HELP (\S+) (.+)$/.exec(line);
    if (help !== null) {
      const [, name = "", words = ""] = help;
      const type = /^# TYPE (\S+) (\S+)$/.exec(lines[++i] ?? "");
      assert.equal(type?.[1], name, `TYPE follows HELP of ${name}`);
      assert.ok(NAME.test(name) && TYPES.has(type?.[2] ?? ""), line);
      assert.ok(!families.has(name), `${name} comes once`);
      assert.match(words, /^[A-Z].*\.$/, `the help of ${name} is a sentence`);
      current = { name, type: type[2]!, help: words, samples: new Map() };
      families.set(name, current);
      continue;
    }
    assert.ok(current !== undefined && !line.startsWith("#") && line !== "", `line ${i + 1}: ${line}`);
    readSample(line, current, form);
  }
  for (const { name, samples } of families.values()) assert.ok(samples.size > 0, `${name} has samples`);
  return families;
}

function readSample(
  line: string,
  family: { name: string; type: string; samples: Map<string, number> },
  form: "prometheus" | "openmetrics",
): void {
  const [, name = "", labels = "", number = ""] = SAMPLE.exec(line) ?? [];
  const suffixes =
    form === "openmetrics" ? SUFFIXES[family.type]! : family.type === "summary" ? SUFFIXES["summary"]! : [""];
  assert.ok(
    suffixes.some((suffix) => name === family.name + suffix),
    `${line} belongs to ${family.name}`,
  );
  if (form === "prometheus" && family.type === "counter") assert.ok(name.endsWith("_total"), line);
  const value = Number(number);
  assert.ok(number.trim() !== "" && Number.isFinite(value), line);
  if (family.type !== "gauge") assert.ok(value >= 0, line);
  const key = `${name}{${readLabels(labels, line).join(",")}}`;
  assert.ok(!family.samples.has(key), `${key} comes once`);
  family.samples.set(key, value);
}

function readLabels(text: string, line: string): string[] {
  const pairs = new Map<string, string>();
  for (let rest = text; rest !== "";) {
    const found = LABEL.exec(rest);
    assert.ok(found !== null, line);
    assert.ok(!pairs.has(found[1]!), line);
    pairs.set(found[1]!, found[2]!);
    rest = rest.slice(found[0].length);
    assert.ok(found[3] !== "," || rest !== "", line);
  }
  return [...pairs].map(([name, value]) => `${name}="${value}"`).toSorted();
}
