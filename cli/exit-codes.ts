/** What the exit codes of `dlba` mean; docs/configuration.md tells operators. */
export const EXIT = {
  ok: 0,
  /** What was asked about is not as it should be: a configuration with errors, a node not drained in time. */
  found: 1,
  /** The command line is wrong. */
  usage: 2,
  /** The surroundings are: a file can't be read, nothing runs here, a process does not answer. */
  environment: 3,
} as const;
