/** The words after `show stat`, `show servers` and `show sess`, as HAProxy's users write them. Pure. */
import { FORMATS, type Format } from "../grid.ts";
import { unknownWord } from "../unknown-word.ts";
import { EVERYTHING, type StatFilter, type StatFormat } from "./stat-output.ts";

export interface StatCommand {
  readonly topic: "stat";
  readonly format: StatFormat;
  readonly filter: StatFilter;
}
export interface ServersCommand {
  readonly topic: "servers";
  readonly format: Format;
  /** A pool's name or number; undefined for all. */
  readonly pool: string | undefined;
}
export interface SessCommand {
  readonly topic: "sess";
  readonly format: Format;
}

const STAT_FORMATS: Readonly<Record<string, StatFormat>> = { csv: "csv", typed: "typed", json: "json" };
const STAT_WORDS = ["text", "json", "typed", "csv", "up", "no-maint", "domain"];
const WHOLE = /^(?:-1|\d{1,9})$/;
const NAME = /^[A-Za-z0-9-]{1,63}$/;

/** `[domain proxy] [{iid|name} type sid] [typed|json|csv] [up] [no-maint]`. Throws DlbaError COMMAND_UNKNOWN. */
export function statCommand(words: readonly string[]): StatCommand {
  const [domain, proxy] = words;
  const rest = domain === "domain" && proxy === "proxy" ? words.slice(2) : words;
  const [name = "", types = "", sid = ""] = rest;
  const hasFilter = (WHOLE.test(name) || NAME.test(name)) && WHOLE.test(types) && WHOLE.test(sid);
  const options = hasFilter ? rest.slice(3) : rest;
  const odd = options.find((word) => !STAT_WORDS.includes(word) || word === "domain");
  if (odd !== undefined) throw unknownWord("word", odd, STAT_WORDS);
  const format = options.findLast((word) => word in STAT_FORMATS) ?? "csv";
  const filter = hasFilter
    ? { proxy: WHOLE.test(name) ? Number(name) : name, types: Number(types), sid: Number(sid) }
    : {};
  return {
    topic: "stat",
    format: STAT_FORMATS[format]!,
    filter: {
      ...EVERYTHING,
      ...filter,
      isUpOnly: options.includes("up"),
      isMaintenanceLeftOut: options.includes("no-maint"),
    },
  };
}

/** `state [pool]`. Throws DlbaError COMMAND_UNKNOWN. */
export function serversCommand(words: readonly string[]): ServersCommand {
  const format = formatOf(words);
  const rest = words.at(-1) === format ? words.slice(0, -1) : words;
  const [pool, odd] = rest[0] === "state" ? rest.slice(1) : rest;
  if (odd !== undefined) throw unknownWord("word", odd, FORMATS);
  if (rest[0] !== "state" && pool !== undefined) throw unknownWord("word", pool, ["state", ...FORMATS]);
  return { topic: "servers", format, pool };
}

/** Throws DlbaError COMMAND_UNKNOWN. */
export function sessCommand(words: readonly string[]): SessCommand {
  const format = formatOf(words);
  const odd = words.at(-1) === format ? words.at(-2) : words.at(-1);
  if (odd !== undefined) throw unknownWord("word", odd, FORMATS);
  return { topic: "sess", format };
}

const formatOf = (words: readonly string[]): Format =>
  FORMATS.find((name) => name === words.at(-1)) ?? "text";
