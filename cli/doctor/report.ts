/** What `dlba doctor` prints. Pure. */
import type { Finding, Level } from "./finding.ts";

const MARKS: Readonly<Record<Level, string>> = { error: "ERROR  ", warning: "WARNING", note: "note   " };

/** A line for each finding and one with what to do; then the sum. */
export function reportText(found: readonly Finding[], about: string): string {
  const lines = found.map(
    ({ level, what, hint }) => `${MARKS[level]} ${what}\n${hint === "" ? "" : `        → ${hint}\n`}`,
  );
  return `${lines.join("")}${about}: ${sumText(found)}\n`;
}

function sumText(found: readonly Finding[]): string {
  const count = (level: Level, noun: string): string => {
    const number = found.filter((each) => each.level === level).length;
    return `${number} ${noun}${number === 1 ? "" : "s"}`;
  };
  return `${count("error", "error")}, ${count("warning", "warning")}, ${count("note", "note")}`;
}

/** One JSON value; its keys and the codes stay. */
export function reportJson(found: readonly Finding[], about: string): string {
  return `${JSON.stringify({ about, findings: found })}\n`;
}
