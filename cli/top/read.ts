/** Makes a look of what the monitoring socket says. Pure. */
import { DlbaError } from "../../conf/errors.ts";
import { isRecord, parseJson } from "../../conf/record.ts";
import type { Look, NodeLine, StatLine } from "./screen.ts";

/** Reads `show stat`: columns by their titles, so that further ones don't matter. Throws DlbaError NO_ANSWER. */
export function readStat(csv: string): StatLine[] {
  const [head = "", ...lines] = csv.trimEnd().split("\n");
  const titles = head.replace(/^# /, "").split(",");
  const places = new Map(titles.map((title, i) => [title, i]));
  if (!places.has("pxname")) throw unreadable();
  return lines.map((line) => {
    const cells = line.split(",");
    const text = (title: string): string => cells[places.get(title) ?? -1] ?? "";
    const number = (title: string): number => Number(text(title));
    return {
      pxname: text("pxname"),
      svname: text("svname"),
      type: number("type"),
      status: text("status"),
      scur: number("scur"),
      stot: number("stot"),
      bin: number("bin"),
      bout: number("bout"),
      req_tot: number("req_tot"),
      hrsp_4xx: number("hrsp_4xx"),
      hrsp_5xx: number("hrsp_5xx"),
      econ: number("econ"),
      eresp: number("eresp"),
      rtime: number("rtime"),
    };
  });
}

/** `show info json` and `show nodes json`. The latter may be an error: only nodes with a scheduler process have the table. */
export function readLook(
  answers: { info: string; stat: string; nodes: string },
  at_ms: number,
  time: string,
): Look {
  const info = parseJson(answers.info);
  const nodes = parseJson(answers.nodes);
  if (!isRecord(info)) throw unreadable();
  const facts = Object.entries(info).flatMap(([name, value]): [string, string | number][] =>
    typeof value === "string" || typeof value === "number" ? [[name, value]] : [],
  );
  const rows: readonly NodeLine[] | undefined =
    isRecord(nodes) && Array.isArray(nodes["nodes"]) ? nodes["nodes"] : undefined;
  return { at_ms, time, info: Object.fromEntries(facts), nodes: rows, stat: readStat(answers.stat) };
}

const unreadable = (): DlbaError => new DlbaError("NO_ANSWER", "the status process' answer can't be read");
