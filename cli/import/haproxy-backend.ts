/** A HAProxy backend as a pool. Pure. */
import type { PoolInput } from "../../conf/schema.ts";
import { nameFor, readTime_ms, type Section } from "./haproxy-lines.ts";
import {
  HAPROXY_INTER_MS,
  type Parameters,
  type ServersContext,
  type TakenServer,
  takeServer,
} from "./haproxy-servers.ts";
import type { Ledger, Line } from "./notes.ts";

export interface TakenPool {
  readonly pool: PoolInput;
  readonly section: Section;
  /** The lines of its web servers, in their order. */
  readonly servers: readonly Line[];
}

/** Where a pool's own cookie is taken from. */
export interface CookieNames {
  readonly taken: Set<string>;
  /** Whether several pools may serve one client. */
  readonly areSeveral: boolean;
}

/** A backend's pool; undefined, and said, when none of its servers can be taken over. */
export function poolOf(
  section: Section,
  context: ServersContext,
  cookies: CookieNames,
): TakenPool | undefined {
  const { ledger } = context;
  const lines = [...section.inherited, ...section.lines];
  const defaults = lines.filter(({ words: [keyword] }) => keyword === "default-server");
  for (const line of defaults) ledger.take(line);
  const words = defaults.flatMap(({ words: [, ...rest] }) => rest);
  const servers = section.lines
    .filter(({ words: [keyword] }) => keyword === "server")
    .flatMap((line) => takeServer(line, words, context) ?? []);
  if (servers.length === 0) {
    ledger.note(section.line, "left-out", "it has no server that can be taken over");
    return undefined;
  }
  const name = nameFor(section.name);
  if (name !== section.name)
    ledger.note(section.line, "differs", `its pool is ${name}: letters, digits and hyphens alone`);
  const pool: PoolInput = { name, servers: servers.map(({ server }) => server) };
  takeBalance(pool, lines, ledger);
  takeCookie(pool, lines, section, ledger, cookies);
  takeCheck(pool, lines, servers, ledger);
  takeTogether(pool, servers, ledger);
  takeConnections(pool, lines, ledger);
  return { pool, section, servers: servers.map(({ line }) => line) };
}

/** The last line of a keyword holds. */
export const lastOf = (lines: readonly Line[], ...words: readonly string[]): Line | undefined =>
  lines.findLast((line) => words.every((word, i) => line.words[i] === word));

type Balance = NonNullable<PoolInput["balance"]>;
const BALANCES: Readonly<Record<string, Balance>> = {
  roundrobin: "round-robin",
  "static-rr": "round-robin",
  leastconn: "least-connections",
  random: "random-of-two",
  first: "first",
};

function takeBalance(pool: PoolInput, lines: readonly Line[], ledger: Ledger): void {
  for (const line of lines.filter(({ words }) => words[0] === "hash-type"))
    ledger.note(line, "not-needed", "hashes are consistent, by rendezvous");
  for (const line of lines.filter(({ words }) => words[0] === "balance")) ledger.take(line);
  const line = lastOf(lines, "balance");
  if (line === undefined) return;
  const [, text = "", ...options] = line.words;
  const [, method = "", argument = ""] = /^(\w[\w-]*)(?:\(([^)]*)\))?$/.exec(text) ?? [];
  const balance = BALANCES[method];
  if (balance !== undefined) {
    if (balance !== "round-robin") pool.balance = balance;
    return;
  }
  switch (method) {
    case "uri":
      pool.scheduling = "url-hash";
      pool.hash_key = options.includes("whole") ? "path-and-query" : "path";
      break;
    case "hdr":
      pool.scheduling = "url-hash";
      pool.hash_key = "header";
      pool.hash_key_name = argument;
      break;
    case "source":
      ledger.note(
        line,
        "differs",
        "a client stays with its web server by the injected cookie, not by its address",
      );
      break;
    default:
      ledger.note(line, "left-out", `balance ${text} has no counterpart: web servers take turns`);
  }
}

function takeCookie(
  pool: PoolInput,
  lines: readonly Line[],
  section: Section,
  ledger: Ledger,
  { taken, areSeveral }: CookieNames,
): void {
  const line = lastOf(lines, "cookie");
  if (line !== undefined) ledger.take(line);
  if (pool.scheduling === "url-hash") {
    if (line !== undefined)
      ledger.note(line, "left-out", "a pool goes by the URL's hash or by a cookie, not by both");
    return;
  }
  const [, wanted = areSeveral ? `DLBA-${pool.name}` : "DLBA", ...options] = line?.words ?? [];
  const cookie = taken.has(wanted) ? `${wanted}-${pool.name}`.slice(0, 64) : wanted;
  taken.add(cookie);
  if (cookie !== "DLBA") pool.cookie = cookie;
  if (line === undefined) {
    const say = `DLBA keeps each client with its web server by a cookie that it sets (${cookie}), which HAProxy did not here`;
    return ledger.note(section.line, "differs", say);
  }
  if (cookie !== wanted)
    ledger.note(line, "differs", `another pool has the cookie ${wanted}: this one's is ${cookie}`);
  takeCookieOptions(pool, line, options, ledger);
}

function takeCookieOptions(pool: PoolInput, line: Line, options: readonly string[], ledger: Ledger): void {
  const attributes: NonNullable<PoolInput["cookie_attributes"]> = {};
  for (let i = 0; i < options.length; i++) {
    const option = options[i]!;
    if (option === "secure") attributes.secure = true;
    else if (option === "domain") attributes.domain = (options[++i] ?? "").replace(/^\./, "");
    else if (option === "rewrite" || option === "prefix")
      ledger.note(
        line,
        "differs",
        `the cookie is injected, not made of the application's (${option}): see pools[].session_cookie`,
      );
    else if (option === "maxidle" || option === "maxlife") {
      i++;
      ledger.note(
        line,
        "left-out",
        `${option}: the cookie lasts as long as the browser's session, or as session_cookie`,
      );
    } else if (!["insert", "indirect", "nocache", "httponly", "preserve", "dynamic"].includes(option))
      ledger.note(line, "left-out", `${option} has no counterpart`);
  }
  if (Object.keys(attributes).length > 0) pool.cookie_attributes = attributes;
}

const HAPROXY_CHECK = { inter_ms: HAPROXY_INTER_MS, rise: 2, fall: 3 } as const;
/** What HAProxy takes for good unless told otherwise, of what web servers answer with. */
const GOOD_STATUSES = [200, 201, 202, 203, 204, 206, 301, 302, 303, 304, 307, 308];

function takeCheck(
  pool: PoolInput,
  lines: readonly Line[],
  servers: readonly TakenServer[],
  ledger: Ledger,
): void {
  const httpchk = lastOf(lines, "option", "httpchk");
  const more = lines.filter(({ words }) => words[0] === "http-check");
  for (const line of [...(httpchk === undefined ? [] : [httpchk]), ...more]) ledger.take(line);
  const first = servers.find(({ parameters }) => parameters.isChecked);
  if (first === undefined) return;
  for (const { line, parameters } of servers) {
    if (!parameters.isChecked) ledger.note(line, "differs", "all web servers of a pool are checked, or none");
  }
  const { inter_ms, rise, fall } = { ...HAPROXY_CHECK, ...defined(first.parameters) };
  const connect_ms = readTime_ms(lastOf(lines, "timeout", "connect")?.words[2]) ?? inter_ms;
  const check_ms = readTime_ms(lastOf(lines, "timeout", "check")?.words[2]);
  const check: NonNullable<PoolInput["check"]> = {
    type: httpchk === undefined ? "tcp" : "http",
    interval_ms: within(inter_ms, 50, 600_000),
    timeout_ms: within(check_ms ?? Math.min(connect_ms, inter_ms), 10, 60_000),
    rise,
    fall,
  };
  if (httpchk !== undefined) takeHttpCheck(check, httpchk, more, ledger);
  else
    for (const line of more)
      ledger.note(line, "left-out", "there is no option httpchk: ports are connected alone");
  pool.check = check;
}

const defined = ({ inter_ms, rise, fall }: Parameters): Partial<typeof HAPROXY_CHECK> =>
  Object.fromEntries(Object.entries({ inter_ms, rise, fall }).filter(([, value]) => value !== undefined));

export const within = (value: number, least: number, most: number): number =>
  Math.min(most, Math.max(least, value));

function takeHttpCheck(
  check: NonNullable<PoolInput["check"]>,
  line: Line,
  more: readonly Line[],
  ledger: Ledger,
): void {
  const words = line.words.slice(2);
  const [uri, method] = words.length > 1 ? [words[1], words[0]] : [words[0], undefined];
  if (uri !== undefined) check.path = uri;
  check.statuses = GOOD_STATUSES;
  const sent = more.find(({ words }) => words[1] === "send");
  const asked = method ?? valueOf(sent, "meth") ?? "OPTIONS";
  if (asked !== "GET") ledger.note(line, "differs", `web servers are asked by GET, not by ${asked}`);
  const host = valueOf(sent, "hdr", "Host") ?? /Host:\s*(\S+)/i.exec(line.text.replaceAll("\\", ""))?.[1];
  if (host !== undefined) check.host = host.replace(/["']/g, "");
  const path = valueOf(sent, "uri");
  if (path !== undefined) check.path = path;
  for (const expected of more.filter(({ words }) => words[1] === "expect")) {
    const [, , kind, ...values] = expected.words;
    const statuses = values.join(",").split(",").map(Number);
    if (kind === "status" && statuses.every((status) => Number.isInteger(status))) check.statuses = statuses;
    else ledger.note(expected, "left-out", "checks look at the status alone: use check.statuses");
  }
  for (const other of more.filter(({ words }) => !["send", "expect", "connect"].includes(words[1] ?? "")))
    ledger.note(other, "left-out", "a check is one GET");
}

/** What follows a word, or two. */
function valueOf(line: Line | undefined, ...names: readonly string[]): string | undefined {
  const words = line?.words ?? [];
  const at = words.findIndex((_, i) =>
    names.every((name, j) => words[i + j]?.toLowerCase() === name.toLowerCase()),
  );
  return at === -1 ? undefined : words[at + names.length];
}

/** What is one for a whole pool: of servers that differ the first one counts. */
function takeTogether(pool: PoolInput, servers: readonly TakenServer[], ledger: Ledger): void {
  const { parameters: first } = servers[0]!;
  for (const { line, parameters } of servers) {
    const differing = (
      ["isTls", "send_proxy", "isH2", "slowstart_ms", "inter_ms", "rise", "fall"] as const
    ).filter((key) => parameters[key] !== first[key]);
    if (differing.length > 0)
      ledger.note(line, "differs", `${differing.join(", ")}: all of a pool have what the first one has`);
  }
  if (first.slowstart_ms !== undefined) pool.slow_start_ms = within(first.slowstart_ms, 0, 3_600_000);
  if (first.send_proxy !== undefined) pool.send_proxy = first.send_proxy;
  if (first.isH2) pool.protocol = "h2";
  if (!first.isTls) return;
  pool.tls = {
    ...(first.verifies ? {} : { verify: false }),
    ...(first.verifies && first.ca !== undefined ? { ca: first.ca } : {}),
    ...(first.server_name === undefined ? {} : { server_name: first.server_name }),
    // One file holds both with HAProxy.
    ...(first.certificate === undefined ? {} : { certificate: first.certificate, key: first.certificate }),
  };
  if (first.verifies && first.server_name === undefined)
    ledger.note(
      servers[0]!.line,
      "differs",
      "certificates have to be for the web servers' addresses: set tls.server_name where they are for a name",
    );
  if (first.ca === "@system-ca") delete pool.tls.ca;
}

function takeConnections(pool: PoolInput, lines: readonly Line[], ledger: Ledger): void {
  const closing = lastOf(lines, "option", "http-server-close") ?? lastOf(lines, "option", "httpclose");
  if (closing !== undefined) {
    ledger.take(closing);
    pool.keep_alive = false;
  }
  const queue = lastOf(lines, "timeout", "queue");
  if (queue === undefined) return;
  if (pool.servers.every(({ max_connections }) => max_connections === undefined)) {
    ledger.note(queue, "not-needed", "nothing waits where no server has a maxconn");
    return;
  }
  ledger.take(queue);
  pool.queue = { timeout_ms: within(readTime_ms(queue.words[2]) ?? 5000, 10, 600_000) };
}
