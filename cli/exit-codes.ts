/** What the exit codes of `dlba` mean; the help, the man page and docs/operating.md tell it in these words. */
export const EXIT = {
  ok: 0,
  /** What was asked about is not as it should be: a configuration with errors, a node not drained in time. */
  found: 1,
  /** The command line is wrong. */
  usage: 2,
  /** The surroundings are: a file can't be read, nothing runs here, a process does not answer. */
  environment: 3,
} as const;

export const EXIT_MEANINGS: Readonly<Record<(typeof EXIT)[keyof typeof EXIT], string>> = {
  0: "good",
  1: "errors found, a reload, a push or an upgrade refused, or a node not drained in time",
  2: "wrong usage",
  3: "wrong surroundings: nothing runs here, a file can't be read, a process does not answer",
};
