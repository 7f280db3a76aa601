/** What is found on a machine, and what to do about it. */

/** error: a node won't run, or won't serve; warning: it will, and not as well as it should; note: good to know. */
export type Level = "error" | "warning" | "note";

export interface Finding {
  readonly level: Level;
  /** Stays the same from version to version. */
  readonly code: string;
  readonly what: string;
  readonly hint: string;
}

export const finding = (level: Level, code: string, what: string, hint: string): Finding => ({
  level,
  code,
  what,
  hint,
});
