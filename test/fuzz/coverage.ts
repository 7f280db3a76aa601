/** Which parts of the proxy's code have run, by V8's own counters: what leads to new ones is worth mutating further. */
import { type Profiler, Session } from "node:inspector";

/** Only the product's code counts. */
const WATCHED = /\/dlba-server\//;
const NOT_WATCHED = /\/test\//;

export interface Coverage {
  /** The pieces of code that have run since the last call, each by a name. */
  readonly take: () => Set<string>;
  readonly stop: () => void;
}

export function startCoverage(): Coverage {
  const session = new Session();
  session.connect();
  session.post("Profiler.enable");
  session.post("Profiler.startPreciseCoverage", { callCount: true, detailed: true });

  function take(): Set<string> {
    const ran = new Set<string>();
    // The answer comes within the call: the inspected thread is this one.
    session.post("Profiler.takePreciseCoverage", (error, { result }) => {
      if (error !== null) throw error;
      for (const script of result) if (isWatched(script)) noteRanges(script, ran);
    });
    return ran;
  }
  return { take, stop: () => session.disconnect() };
}

const isWatched = ({ url }: Profiler.ScriptCoverage): boolean => WATCHED.test(url) && !NOT_WATCHED.test(url);

function noteRanges({ scriptId, functions }: Profiler.ScriptCoverage, ran: Set<string>): void {
  for (const { ranges } of functions) {
    for (const { startOffset, endOffset, count } of ranges)
      if (count > 0) ran.add(`${scriptId}:${startOffset}:${endOffset}`);
  }
}
