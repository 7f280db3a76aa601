/** What becomes of each line of a configuration that is taken over: whatever has no counterpart is said, with what to do instead. */

/** left-out: it is not in the result. differs: it is, but means something else. not-needed: it goes without saying. */
export type NoteKind = "left-out" | "differs" | "not-needed";

export interface Note {
  readonly file: string;
  readonly line: number;
  readonly kind: NoteKind;
  /** The line, as it stands there. */
  readonly text: string;
  /** What became of it, and what to do instead. */
  readonly say: string;
}

/** A line of a configuration, in words. */
export interface Line {
  readonly number: number;
  readonly text: string;
  readonly words: readonly string[];
}

export interface Ledger {
  readonly note: (line: Line, kind: NoteKind, say: string) => void;
  /** The line has been taken over as it is. */
  readonly take: (line: Line) => void;
  /** All notes, each once, in the order of the lines. */
  readonly notes: () => Note[];
  /** Lines of which nothing has been said. */
  readonly forgotten: (lines: readonly Line[]) => Line[];
}

export function openLedger(file: string): Ledger {
  const notes = new Map<string, Note>();
  const seen = new Set<number>();
  return {
    note: ({ number, text }, kind, say) => {
      seen.add(number);
      notes.set(`${number} ${kind} ${say}`, { file, line: number, kind, text, say });
    },
    take: ({ number }) => void seen.add(number),
    notes: () => [...notes.values()].toSorted((a, b) => a.line - b.line),
    forgotten: (lines) => lines.filter(({ number }) => !seen.has(number)),
  };
}

const KINDS: Readonly<Record<NoteKind, string>> = {
  "left-out": "left out",
  differs: "differs",
  "not-needed": "not needed",
};
const TEXT_CHARACTERS = 60;

/** `haproxy.cfg:12: left out: 'stats socket /run/h.sock': …` */
export function noteText({ file, line, kind, text, say }: Note): string {
  const cut = text.length > TEXT_CHARACTERS ? `${text.slice(0, TEXT_CHARACTERS)}…` : text;
  return `${file}:${line}: ${KINDS[kind]}: '${cut}': ${say}`;
}
