/** `show events`: the last things that happened to a node. Pure. */
import type { RingEvent } from "./event-ring.ts";
import { gridCsv, type Column, type Format } from "./grid.ts";

const COLUMNS: readonly Column<RingEvent>[] = [
  { title: "Sequence", key: "sequence", of: ({ sequence }) => sequence },
  { title: "Time", key: "time", of: ({ at_ms }) => timeText(at_ms) },
  { title: "Severity", key: "severity", of: ({ severity }) => severity },
  { title: "Kind", key: "kind", of: ({ kind }) => kind },
  { title: "Process", key: "process", of: ({ process }) => process },
  { title: "Worker", key: "worker", of: ({ worker }) => worker },
  { title: "Count", key: "count", of: ({ count }) => count },
  { title: "Text", key: "text", of: ({ text }) => text },
  { title: "Facts", key: "facts", of: ({ facts }) => factsText(facts) },
];

const timeText = (at_ms: number): string => new Date(at_ms).toISOString();

const factsText = (facts: RingEvent["facts"]): string =>
  Object.entries(facts)
    .map(
      ([key, value]) =>
        `${key}=${typeof value === "string" && /[\s="]/.test(value) ? JSON.stringify(value) : value}`,
    )
    .join(" ");

/** `life` names this life of the status process: sequence numbers begin anew with each. */
export function eventsTable(events: readonly RingEvent[], life: string, format: Format): string {
  if (format === "csv") return gridCsv(COLUMNS, events);
  if (format === "json") {
    const rows = events.map(({ at_ms, last_at_ms, ...rest }) =>
      Object.assign({ time: timeText(at_ms), last_time: timeText(last_at_ms) }, rest),
    );
    return `${JSON.stringify({ life, events: rows })}\n`;
  }
  return events.length === 0 ? "Nothing has happened yet.\n" : events.map(eventLine).join("");
}

/** `2026-01-02T03:04:05.678Z warning web-server-down    pool=shop web_server=web1 (2 times)` */
export function eventLine(
  event: Pick<RingEvent, "at_ms" | "severity" | "kind" | "facts" | "count" | "process">,
): string {
  const { at_ms, severity, kind, facts, count, process } = event;
  const times = count === 1 ? "" : ` (${count} times)`;
  const about = factsText(facts);
  const start = `${timeText(at_ms)} ${severity.padEnd(7)} ${kind.padEnd(18)} ${process.padEnd(11)}`;
  return `${`${start} ${about}`.trimEnd()}${times}\n`;
}
