/** HAProxy's timeouts, of which each section may have its own, as the array's. Pure. */
import type { ConfigInput } from "../../conf/schema.ts";
import { within } from "./haproxy-backend.ts";
import { readTime_ms, type Section } from "./haproxy-lines.ts";
import type { Ledger, Line } from "./notes.ts";

type Timeouts = NonNullable<ConfigInput["timeouts"]>;

/** What each is with us, and the range that it may have there. */
const OURS: Readonly<
  Record<string, readonly [keys: readonly (keyof Timeouts)[], least_ms: number, most_ms: number]>
> = {
  client: [["request_body_ms", "client_write_ms"], 100, 3_600_000],
  server: [["response_head_ms", "response_body_ms"], 100, 3_600_000],
  connect: [["connect_ms"], 10, 600_000],
  "http-request": [["request_head_ms"], 100, 600_000],
  "http-keep-alive": [["keep_alive_ms"], 100, 3_600_000],
  tunnel: [["tunnel_ms"], 1000, 604_800_000],
};
/** Those that pools take by themselves. */
const OF_POOLS = new Set(["queue", "check"]);

/** The array's timeouts: of several the longest. */
export function timeoutsOf(sections: readonly Section[], ledger: Ledger): Timeouts {
  const found = new Map<string, { line: Line; time_ms: number }[]>();
  for (const line of sections.flatMap(({ lines }) => lines)) {
    const [keyword, name = "", value] = line.words;
    if (keyword !== "timeout") continue;
    const time_ms = readTime_ms(value);
    if (time_ms === undefined) ledger.note(line, "left-out", `'${value}' is no time such as 5s`);
    else if (Object.hasOwn(OURS, name)) found.set(name, [...(found.get(name) ?? []), { line, time_ms }]);
    else if (OF_POOLS.has(name)) ledger.take(line);
    else ledger.note(line, "left-out", `timeout ${name} has no counterpart`);
  }
  const timeouts: Timeouts = {};
  for (const [name, [keys, least_ms, most_ms]] of Object.entries(OURS)) {
    const longest_ms = longestOf(found.get(name) ?? [], ledger);
    if (longest_ms === undefined) continue;
    for (const key of keys) timeouts[key] = within(longest_ms, least_ms, most_ms);
  }
  // Who says nothing of idle connections means one of these (HAProxy's manual).
  const idle_ms = timeouts.keep_alive_ms ?? timeouts.request_head_ms ?? timeouts.client_write_ms;
  return idle_ms === undefined ? timeouts : { ...timeouts, keep_alive_ms: idle_ms };
}

function longestOf(all: readonly { line: Line; time_ms: number }[], ledger: Ledger): number | undefined {
  const longest_ms = Math.max(0, ...all.map(({ time_ms }) => time_ms));
  for (const { line, time_ms } of all) {
    ledger.take(line);
    if (time_ms !== longest_ms)
      ledger.note(line, "differs", `time-outs are the array's: the longest one counts (${longest_ms} ms)`);
  }
  return all.length === 0 ? undefined : longest_ms;
}
