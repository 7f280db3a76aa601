/** Changes of header fields by rules: what is taken out, and the lines that are put in. Plain data, made at load. */
import type { HeaderEditsConfig } from "../../conf/schema-rules.ts";

export interface HeaderEdits {
  /** Names, as `editedName` has them, of the fields that don't go on. */
  readonly removed: readonly string[];
  readonly lines: readonly { readonly name: string; readonly text: string }[];
  /** The lines in one, each with its CRLF. */
  readonly text: string;
}

/** A field's name as changes compare it: gateways to CGI and WSGI take "_" for "-". */
export const editedName = (name: string): string => name.toLowerCase().replaceAll("_", "-");

const editsOf = (removed: readonly string[], lines: HeaderEdits["lines"]): HeaderEdits => ({
  removed,
  lines,
  text: lines.map(({ text }) => text).join(""),
});

/** First remove, then set, then add. Undefined when nothing is changed. */
export function headerEdits({ remove, set, add }: HeaderEditsConfig): HeaderEdits | undefined {
  const removed = [...new Set([...remove, ...set.map(({ name }) => name)].map(editedName))];
  const last = new Map(set.map((line) => [editedName(line.name), line]));
  const lines = [...last.values(), ...add].map(({ name, value }) => ({
    name: editedName(name),
    text: `${name}: ${value}\r\n`,
  }));
  return removed.length + lines.length === 0 ? undefined : editsOf(removed, lines);
}

/** One change after another. */
export function both(
  first: HeaderEdits | undefined,
  second: HeaderEdits | undefined,
): HeaderEdits | undefined {
  if (first === undefined || second === undefined) return first ?? second;
  const kept = first.lines.filter(({ name }) => !second.removed.includes(name));
  return editsOf([...new Set([...first.removed, ...second.removed])], [...kept, ...second.lines]);
}
