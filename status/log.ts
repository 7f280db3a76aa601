/**
 * Structured logs: one JSON line per event on standard error, with the node, the process and what happened.
 * Key material never goes into a log; the names below are cut out should one ever slip in.
 */
import pino from "pino";
import { LOG_WAITING_BYTES } from "../conf/limits.ts";
import { isRecord } from "../conf/record.ts";

export type Logger = pino.Logger;

type Listener = (sentence: string, line: Readonly<Record<string, unknown>>) => void;
const listeners = new Set<Listener>();

/** Hears every line that this process logs, until the returned function is called. */
export function onLogLine(listener: Listener): () => void {
  listeners.add(listener);
  return () => void listeners.delete(listener);
}

function hear(args: readonly unknown[]): void {
  if (listeners.size === 0) return;
  const [line, sentence] = typeof args[0] === "string" ? [{}, args[0]] : args;
  if (typeof sentence !== "string" || !isRecord(line)) return;
  for (const listener of listeners) listener(sentence, line);
}

/** A process's logger. `bindings` stand in every line, e.g. `{ node: 2, process: "scheduler" }`. */
export function createLogger(bindings: Readonly<Record<string, string | number>>, level = "info"): Logger {
  const log = pino(
    {
      level: process.env["DLBA_LOG_LEVEL"] ?? level,
      base: { ...bindings, pid: process.pid },
      timestamp: pino.stdTimeFunctions.isoTime,
      hooks: {
        logMethod(args, method) {
          method.apply(this, args);
          hear(args);
        },
      },
      formatters: { level: (label) => ({ level: label }) },
      redact: { paths: ["key", "secret", "cookie", "authorization", "*.key", "*.secret"], censor: "[cut]" },
    },
    standardError(logger),
  );
  return log;

  function logger(): Logger {
    return log;
  }
}

/**
 * Standard error, which may be a file on a disk that is full: that costs lines and no process. What comes meanwhile waits, up to
 * a bound, and the same log tells of it, so that it is an event even if nobody can read it.
 */
function standardError(log: () => Logger): pino.DestinationStream {
  const output = pino.destination({ fd: 2, sync: true, maxLength: LOG_WAITING_BYTES });
  let isFailing = false;
  let lost_lines = 0;
  // Told in a turn of its own: this is within the logging of another line.
  output.on("error", (error: Error) => {
    if (!isFailing)
      setImmediate(() =>
        log().error({ reason: error.message }, "the log can't be written: lines wait, then are lost"),
      );
    isFailing = true;
  });
  output.on("drop", () => lost_lines++);
  output.on("write", () => {
    if (!isFailing) return;
    isFailing = false;
    const lost = lost_lines;
    lost_lines = 0;
    setImmediate(() => log().warn({ lost_lines: lost }, "the log is written again"));
  });
  return output;
}
