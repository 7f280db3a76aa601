/**
 * Structured logs: one JSON line per event on standard error, with the node, the process and what happened.
 * Key material never goes into a log; the names below are cut out should one ever slip in.
 */
import pino from "pino";

export type Logger = pino.Logger;

/** A process's logger. `bindings` stand in every line, e.g. `{ node: 2, process: "scheduler" }`. */
export function createLogger(bindings: Readonly<Record<string, string | number>>, level = "info"): Logger {
  return pino(
    {
      level: process.env["DLBA_LOG_LEVEL"] ?? level,
      base: { ...bindings, pid: process.pid },
      timestamp: pino.stdTimeFunctions.isoTime,
      formatters: { level: (label) => ({ level: label }) },
      redact: { paths: ["key", "secret", "cookie", "authorization", "*.key", "*.secret"], censor: "[cut]" },
    },
    pino.destination({ fd: 2, sync: true }),
  );
}
