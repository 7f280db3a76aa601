/** How a node does, for who watches what a pushed version makes of it; and whether it does worse than before. */
import { join } from "node:path";
import { isRecord, parseJson } from "../../conf/record.ts";
import { ask } from "../show.ts";
import type { Health } from "./messages.ts";

/** Asks the node's own status process; null when that has no answer. */
export async function readHealth(runDir: string): Promise<Health | null> {
  const show = async (topic: string): Promise<unknown> => {
    const pieces: string[] = [];
    await ask(join(runDir, "monitor.sock"), `show ${topic} json`, (text) => pieces.push(text));
    return parseJson(pieces.join(""));
  };
  try {
    return healthOf(await show("info"), await show("web"));
  } catch {
    return null;
  }
}

/** What `show info` and `show web` say of it; null when they can't be read. Pure. */
export function healthOf(info: unknown, web: unknown): Health | null {
  if (!isRecord(info) || !isRecord(web) || !Array.isArray(web["web_servers"])) return null;
  const count = (name: string): number => (typeof info[name] === "number" ? info[name] : 0);
  const own = Object.keys(info).filter((name) => /^Own_answers_5\d\d$/.test(name));
  const failures = ["Responses_5xx", ...own].reduce((sum, name) => sum + count(name), 0);
  const rows = web["web_servers"].filter(isRecord);
  return {
    requests: count("Requests"),
    failures,
    workers_accepting: count("Workers_accepting"),
    web_servers: Object.fromEntries(
      rows.map(({ pool, id, state }) => [
        `${String(pool)}/${String(id)}`,
        /^(?:up|drain|maint)\b/.test(String(state)),
      ]),
    ),
  };
}

/** What is known of a node at one moment. */
export type Looked = ReadonlyMap<string, Health | null>;

/** From so many requests on a share of failures means something. */
const LEAST_REQUESTS = 20;
/** Failures may double, and be this much more of all requests, before they count. */
const MORE = 0.02;

interface Share {
  readonly requests: number;
  readonly failures: number;
}

const NOTHING: Share = { requests: 0, failures: 0 };

/** What happened on all nodes between two looks. A node whose counters fell began anew. */
function between(before: Looked, after: Looked): Share {
  let [requests, failures] = [0, 0];
  for (const [node, now] of after) {
    const then = before.get(node);
    if (now === null || then === undefined || then === null) continue;
    const from = now.requests < then.requests ? NOTHING : then;
    requests += now.requests - from.requests;
    failures += now.failures - from.failures;
  }
  return { requests, failures };
}

/**
 * Why the array does worse after a version than before, in sentences; empty when it does not. `earlier` and `before` are looks from
 * before it, `after` one since.
 */
export function worsened(earlier: Looked, before: Looked, after: Looked): string[] {
  return [...fewerServe(before, after), ...moreFailures(between(earlier, before), between(before, after))];
}

function fewerServe(before: Looked, after: Looked): string[] {
  const found: string[] = [];
  for (const [node, now] of after) {
    const then = before.get(node);
    if (then === undefined || then === null || now === null) continue;
    if (then.workers_accepting > 0 && now.workers_accepting === 0)
      found.push(`${node} accepts no connections any more`);
    const fallen = Object.entries(now.web_servers).filter(
      ([name, isUp]) => !isUp && then.web_servers[name] !== false,
    );
    for (const [name] of fallen) {
      const was = then.web_servers[name] === undefined ? "is not up" : "is up no longer";
      found.push(`${node}: web server ${name} ${was}`);
    }
  }
  return found;
}

function moreFailures(before: Share, after: Share): string[] {
  if (after.requests < LEAST_REQUESTS) return [];
  const [was, is] = [shareOf(before), shareOf(after)];
  if (is <= 2 * was + MORE) return [];
  return [`${percent(is)} of ${after.requests} requests ended in a 5xx, and ${percent(was)} before`];
}

const shareOf = ({ requests, failures }: Share): number => failures / Math.max(1, requests);
const percent = (share: number): string => `${(share * 100).toFixed(1)} %`;
