/** What must fit together about how clients and keys stay with a web server. */
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { formatConfigErrors } from "../../conf/config-error.ts";
import { parseConfig } from "../../conf/load.ts";

const config = (pool: string, server = ""): string => `array: { name: a, key_file: /etc/dlba/array.key }
nodes: [{ number: 1, name: n1, address: 10.0.0.1, interface: eth0 }]
vservers: [{ name: v, vips: [10.0.0.100], ports: [80], protocol: http, pool: p }]
pools:
  - name: p
${pool
  .split("\n")
  .map((line) => `    ${line}\n`)
  .join("")}    servers: [{ id: w1, address: 10.0.0.41${server} }, { id: w2, address: 10.0.0.42 }]
`;
function errorsOf(text: string): string {
  const parsed = parseConfig(text, "a.yaml");
  return "errors" in parsed ? formatConfigErrors(parsed.errors).trim() : "";
}

const good: [string, string, string?][] = [
  ["a session cookie", "session_cookie: JSESSIONID"],
  [
    "a session id in all places, and a route",
    "session_id: { cookie: SID, path_parameter: sid, query: sid }",
    ", route: one",
  ],
  [
    "attributes",
    "cookie_attributes: { secure: true, same_site: none, path: /shop, domain: example.org, http_only: false }",
  ],
  ["a cookie for this host alone", "cookie: __Host-DLBA\ncookie_attributes: { secure: true }"],
  ["a path as key", "scheduling: url-hash\nhash_key: path"],
  [
    "a header as key, and a balance for those without",
    "scheduling: url-hash\nhash_key: header\nhash_key_name: X-Tenant\nbalance: first",
  ],
  ["a cookie as key", "scheduling: url-hash\nhash_key: cookie\nhash_key_name: user"],
];
describe("good", () => {
  for (const [name, pool, server] of good) test(name, () => assert.equal(errorsOf(config(pool, server)), ""));
});

const bad: [string, string, RegExp, string?][] = [
  [
    "a session cookie with url-hash",
    "scheduling: url-hash\nsession_cookie: S",
    /^a\.yaml:7:5: 'session_cookie' has no effect.*set scheduling: cookie$/,
  ],
  [
    "a session id with url-hash",
    "scheduling: url-hash\nsession_id: { query: s }",
    /^a\.yaml:7:5: 'session_id' has no effect/,
  ],
  [
    "a hash key with cookie",
    "hash_key: path",
    /^a\.yaml:6:5: 'hash_key' has no effect.*set scheduling: url-hash$/,
  ],
  [
    "a key without name",
    "scheduling: url-hash\nhash_key: header",
    /missing key 'hash_key_name' in pools\[0\]; name the header that is hashed$/,
  ],
  [
    "a name without key",
    "scheduling: url-hash\nhash_key_name: a",
    /^a\.yaml:7:5: 'hash_key_name' has no effect: the hash_key of pools\[0\] is path-and-query/,
  ],
  [
    "same_site none without secure",
    "cookie_attributes: { same_site: none }",
    /^a\.yaml:6:37: .*; browsers take it only with secure: true$/,
  ],
  ["__Host- without secure", "cookie: __Host-DLBA", /^a\.yaml:6:13: no browser takes the cookie __Host-DLBA/],
  [
    "__Secure- without secure",
    "cookie: __Secure-DLBA",
    /^a\.yaml:6:13: no browser takes the cookie __Secure-DLBA/,
  ],
  [
    "the injected cookie as session cookie",
    "session_cookie: DLBA",
    /^a\.yaml:6:21: .* is the injected cookie/,
  ],
  [
    "a session id nowhere",
    "session_id: {}",
    /^a\.yaml:6:17: .* says nothing; name a cookie, a path_parameter or a query$/,
  ],
  ["two equal routes", "session_id: { query: s }", /route/, ", route: w2"],
  [
    "a route for nothing",
    "keep_alive: true",
    /'route' has no effect: pools\[0\] has no session_id/,
    ", route: one",
  ],
  [
    "a path with an attribute behind it",
    'cookie_attributes: { path: "/; Secure" }',
    /^a\.yaml:6:32: .*expected a path such as \/$/,
  ],
];
describe("refused, with the place and what would be right", () => {
  for (const [name, pool, error, server] of bad) {
    test(name, () => assert.match(errorsOf(config(pool, server)), error));
  }
});
