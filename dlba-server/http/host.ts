/** Whom a request is for: authorities, and the host names that a vserver serves. */
import { COLON, DIGIT, HOST, IPV6, ZERO } from "./characters.ts";

/**
 * Where the host in `bytes[start, end)` ends and its port, if any, begins; -1 for what is no host with an
 * optional port. Empty hosts, user names and percent-encoding are none.
 */
export function hostEnd(bytes: Uint8Array, start: number, end: number): number {
  let at = start;
  if (bytes[at] === 91 && at < end) {
    at++;
    const from = at;
    while (at < end && IPV6[bytes[at]!] === 1) at++;
    if (at - from < 2 || at >= end || bytes[at] !== 93) return -1;
    at++;
  } else {
    while (at < end && HOST[bytes[at]!] === 1) at++;
  }
  if (at === start) return -1;
  return at === end || isPort(bytes, at, end) ? at : -1;
}

/** ":" and up to five digits, none being allowed (RFC 3986 3.2.3). */
function isPort(bytes: Uint8Array, start: number, end: number): boolean {
  if (bytes[start] !== COLON || end - start > 6) return false;
  let port = 0;
  for (let at = start + 1; at < end; at++) {
    if (DIGIT[bytes[at]!] === 0) return false;
    port = port * 10 + (bytes[at]! - ZERO);
  }
  return port <= 65_535;
}

interface Served {
  readonly names: ReadonlySet<string>;
  /** What follows the "*." of each wildcard. */
  readonly parents: ReadonlySet<string>;
}

/** A vserver's list is turned into sets once; a list that is no longer used takes its sets along. */
const served = new WeakMap<readonly string[], Served>();

function servedOf(hosts: readonly string[]): Served {
  let sets = served.get(hosts);
  if (sets === undefined) {
    sets = {
      names: new Set(hosts.filter((host) => !host.startsWith("*."))),
      parents: new Set(hosts.filter((host) => host.startsWith("*.")).map((host) => host.slice(2))),
    };
    served.set(hosts, sets);
  }
  return sets;
}

/** Whether a host (without port) is one of `hosts`: "*.x" stands for any name below x. Empty: all are. */
export function isServed(hosts: readonly string[], host: string): boolean {
  if (hosts.length === 0) return true;
  const sets = servedOf(hosts);
  const lower = host.toLowerCase();
  const name = lower.endsWith(".") ? lower.slice(0, -1) : lower;
  if (sets.names.has(name)) return true;
  if (sets.parents.size === 0) return false;
  for (let dot = name.indexOf("."); dot !== -1; dot = name.indexOf(".", dot + 1)) {
    if (dot > 0 && sets.parents.has(name.slice(dot + 1))) return true;
  }
  return false;
}
