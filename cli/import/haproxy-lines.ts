/** The text of a haproxy.cfg as sections of lines of words, with what they inherit from `defaults`. Pure. */
import type { Line } from "./notes.ts";

export interface Section {
  readonly kind: string;
  readonly name: string;
  readonly line: Line;
  /** Its own lines. */
  readonly lines: readonly Line[];
  /** Those of its defaults, which hold where it says nothing itself. */
  readonly inherited: readonly Line[];
}

const SECTIONS = new Set([
  "global",
  "defaults",
  "frontend",
  "backend",
  "listen",
  "peers",
  "userlist",
  "mailers",
  "resolvers",
  "cache",
  "program",
  "ring",
  "http-errors",
  "fcgi-app",
  "log-forward",
]);

/** All sections; lines before the first one are one of kind "". */
export function readSections(text: string): Section[] {
  const sections: (Omit<Section, "lines"> & { lines: Line[] })[] = [];
  const defaults = new Map<string, readonly Line[]>();
  let latest: readonly Line[] = [];
  for (const line of linesOf(text)) {
    const [kind = "", name = "", from, ofName = ""] = line.words;
    if (!SECTIONS.has(kind)) {
      const section = sections.at(-1) ?? open("", "", line, []);
      section.lines.push(line);
      continue;
    }
    const isDerived = from === "from" || name === "from";
    const inherited = isDerived ? (defaults.get(from === "from" ? ofName : (from ?? "")) ?? []) : latest;
    const section = open(
      kind,
      name === "from" ? "" : name,
      line,
      isProxy(kind) || isDerived ? inherited : [],
    );
    if (kind !== "defaults") continue;
    latest = section.lines;
    defaults.set(section.name, section.lines);
  }
  return sections;

  function open(
    kind: string,
    name: string,
    line: Line,
    inherited: readonly Line[],
  ): (typeof sections)[number] {
    const section = { kind, name, line, lines: [] as Line[], inherited };
    sections.push(section);
    return section;
  }
}

const isProxy = (kind: string): boolean => kind === "frontend" || kind === "backend" || kind === "listen";

function linesOf(text: string): Line[] {
  return text.split("\n").flatMap((raw, i) => {
    const words = wordsOf(raw);
    return words.length === 0 ? [] : [{ number: i + 1, text: raw.trim(), words }];
  });
}

/** Words of a line: backslashes, quotes of both kinds and comments as HAProxy has them. */
export function wordsOf(text: string): string[] {
  const words: string[] = [];
  let word = "";
  let isOpen = false;
  let quote = "";
  for (let i = 0; i < text.length; i++) {
    const character = text[i]!;
    if (character === "\\" && quote !== "'" && i + 1 < text.length) {
      // Before anything that it can't escape it stands for itself, as in regular expressions.
      const next = text[++i]!;
      word += /[\s\\#"']/.test(next) ? next : `\\${next}`;
      isOpen = true;
    } else if (quote !== "") {
      if (character === quote) quote = "";
      else word += character;
    } else if (character === '"' || character === "'") {
      quote = character;
      isOpen = true;
    } else if (character === "#") break;
    else if (/\s/.test(character)) {
      if (isOpen) words.push(word);
      word = "";
      isOpen = false;
    } else {
      word += character;
      isOpen = true;
    }
  }
  if (isOpen) words.push(word);
  return words;
}

const UNITS_MS: Readonly<Record<string, number>> = {
  us: 0.001,
  ms: 1,
  s: 1000,
  m: 60_000,
  h: 3_600_000,
  d: 86_400_000,
};

/** A time such as `5s` or `500` (milliseconds); undefined when it is none. */
export function readTime_ms(text: string | undefined): number | undefined {
  const [, number, unit = "ms"] = /^(\d+)(us|ms|s|m|h|d)?$/.exec(text ?? "") ?? [];
  return number === undefined ? undefined : Math.ceil(Number(number) * UNITS_MS[unit]!);
}

/** A name of ours for one of HAProxy's: letters, digits and hyphens. */
export function nameFor(name: string): string {
  const plain = name.replaceAll(/[^A-Za-z0-9]+/g, "-").replaceAll(/^-+|-+$/g, "");
  return plain.slice(0, 63).replace(/-+$/, "") || "unnamed";
}
