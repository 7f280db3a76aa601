/**
 * Rules about paths and hosts, through a whole session: however a request spells one and the same URL, it gets one verdict, or is
 * refused because web servers could read it in different ways. No spelling takes long.
 *
 * An input is a path; its bytes above 127 are marks that say how the path is spelled a second time from there on.
 */
import assert from "node:assert/strict";
import { parseIp } from "../../../conf/address.ts";
import { normalPath } from "../../../dlba-server/http/path.ts";
import { createEngine, testEnv, testPool, TOKENS } from "../../dlba-server/recorder-port.ts";
import { POOLS, rulesOf } from "../../dlba-server/rules/asked.ts";
import { below, oneOf, type Random, type Target } from "../target.ts";

const RULES = rulesOf(
  { when: [{ of: "path", exact: ["/secret", "/"] }], deny: { status: 410 } },
  { when: [{ of: "path", prefix: ["/admin/", "/a.b/"] }], deny: {} },
  { when: [{ of: "path", regex: ["^/v[0-9]+/(x+x+)+y", "\\.git(/|$)"] }], deny: { status: 404 } },
  { when: [{ of: "path", suffix: [".php", "~"] }], deny: { status: 451 } },
  {
    when: [
      { of: "host", exact: ["a.test"] },
      { of: "path", prefix: ["/h/"] },
    ],
    redirect: { to: "/" },
  },
  { rewrite: { prefix: "/old/", to: "/new/" } },
  { when: [{ of: "path", prefix: ["/r/"] }], rewrite: { regex: "^/r/([a-z]*)", to: "/$1/x" } },
  { when: [{ of: "path", prefix: ["/static"], not: true }], pool: "api" },
);
const pools = POOLS.map((name) =>
  testPool({ cookieName: name, setCookie: TOKENS.map((token) => `Set-Cookie: ${name}=${token}\r\n`) }),
);
const env = testEnv({ rules: RULES, pools, clientIp: parseIp("192.0.2.1") });

/** Too long, or to be read in two ways: whoever asks so gets nothing. */
const REFUSED: ReadonlySet<string> = new Set(["own 400", "own 414", "own 431"]);
/** Far longer than the slowest machine takes; a rule that takes exponential time takes longer than that. */
const MOST_MS = 10_000;

/** What a request gets: "" when it is refused, the status of an answer of ours, or the pool and the path that is asked for. */
function verdictOn(target: string, host: string): string {
  const engine = createEngine({ env });
  const from_ms = performance.now();
  engine.client(`GET ${target} HTTP/1.1\r\nHost: ${host}\r\n\r\n`);
  assert.ok(performance.now() - from_ms < MOST_MS, "it takes too long");
  const own = engine.record.counts.find((count) => count.startsWith("own "));
  if (own !== undefined) return REFUSED.has(own) ? "" : own;
  const asked = /^GET (\/[^ ?]*) HTTP\/1\.1\r\n/.exec(engine.lastRequest)?.[1];
  assert.ok(asked !== undefined, engine.lastRequest);
  const path = normalPath(asked);
  assert.ok(path !== undefined, "what a web server gets can be read in one way");
  return `${POOLS[engine.state.pool]} ${path.decoded}`;
}

const hex = (char: string): string => char.charCodeAt(0).toString(16).padStart(2, "0");
/** Second spellings of what follows `before`; `next` is the next byte. Those of segments stand behind a slash alone. */
const SPELLINGS: readonly ((before: string, next: string) => string)[] = [
  (_, next) => (next === "%" ? next : `%${hex(next)}`),
  (_, next) => (next === "%" ? next : `%${hex(next).toUpperCase()}`),
  (before, next) => (before.endsWith("/") ? `./${next}` : next),
  (before, next) => (before.endsWith("/") ? `/${next}` : next),
  (before, next) => (before.endsWith("/") ? `zz/../${next}` : next),
  (before, next) => (before.endsWith("/") ? `%2e/${next}` : next),
];

/** The path without its marks, and spelled as they say. */
function bothOf(input: string): { plain: string; other: string } {
  let plain = "/";
  let other = "/";
  let mark = -1;
  // A path ends where the query begins; an escape is one byte, which nothing can come into.
  for (const [part = ""] of input.matchAll(/%[0-9A-Fa-f]{2}|[!-"$->@-~]|[\x80-\xff]/g)) {
    if (part > "\x7f") mark = part.charCodeAt(0);
    else {
      plain += part;
      other += mark === -1 || part.length > 1 ? part : SPELLINGS[mark % SPELLINGS.length]!(other, part);
      mark = -1;
    }
  }
  return { plain, other };
}

function check(input: string): void {
  const { plain, other } = bothOf(input);
  const verdict = verdictOn(plain, "a.test");
  for (const [target, host] of [
    [other, "a.test"],
    [other, "A.TEST.:80"],
    [`http://A.test${other}`, "elsewhere"],
  ] as const) {
    const second = verdictOn(target, host);
    if (verdict !== "" && second !== "") assert.equal(second, verdict, `${plain} and ${target}`);
  }
}

const PARTS = [
  "admin",
  "a.b",
  "secret",
  "static",
  "old",
  "r",
  "h",
  "v1",
  "xxxy",
  ".git",
  "x.php",
  "..",
  ".",
  "",
];
const marked = (random: Random, text: string): string =>
  text
    .split("")
    .map((char) => (below(random, 4) === 0 ? String.fromCharCode(128 + below(random, 128)) : "") + char)
    .join("");
const make = (random: Random): string =>
  Array.from({ length: 1 + below(random, 4) }, () => marked(random, `${oneOf(random, PARTS)}/`)).join("");

export const rules: Target = {
  name: "rules",
  batch: 500,
  seeds: [
    "\x80admin/",
    "admin\x81/x",
    "\x82secret",
    "\x83v1/xxxxxxxxxxxxxx",
    "old/\x84..",
    "r/abc",
    "..;/admin/",
    "h/\x80a",
  ],
  words: [
    "/",
    "..",
    ".",
    "%2e",
    "%2f",
    "%5c",
    "\\",
    ";",
    "//",
    "%25",
    "\x80",
    "\x82",
    "\x83",
    "\x84",
    "admin/",
  ],
  make,
  check,
};
