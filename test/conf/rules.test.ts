/** Rules of a vserver that can't be meant, each told at its place. */
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { describe, test } from "node:test";
import { formatConfigErrors } from "../../conf/config-error.ts";
import { parseConfig } from "../../conf/load.ts";

const GOOD = readFileSync(new URL("good.yaml", import.meta.url), "utf8");
const OTHER_POOLS = [
  "  - { name: api, cookie: API, servers: [{ id: a1, address: 10.0.0.31 }] }",
  "  - { name: like, servers: [{ id: l1, address: 10.0.0.41 }] }",
  "  - { name: hosts, scheduling: direct, servers: [{ id: h1, number: 1, address: 10.0.0.51 }] }",
  "",
].join("\n");

/** What `dlba check` would print for the good file with these lines under rules, the first of them on line 18. */
function errorsOf(...rules: readonly string[]): string {
  const lines = rules.map((rule) => `      ${rule}\n`).join("");
  const text = GOOD.replace("pool: web\n", () => `pool: web\n    rules:\n${lines}`) + OTHER_POOLS;
  const parsed = parseConfig(text, "a.yaml");
  return "errors" in parsed ? formatConfigErrors(parsed.errors) : "";
}

test("rules of every kind have no errors", () => {
  const told = errorsOf(
    "- when: [{ of: client, in: [10.0.0.0/8], not: true }, { of: path, prefix: [/admin/] }]",
    "  deny: { status: 404, page: /etc/dlba/404.html }",
    "- { when: [{ of: host, exact: [old.test] }], redirect: { status: 301, to: 'https://new.test{path}{query}' } }",
    "- { when: [{ of: host, exact: ['[2001:db8::1]'] }], redirect: { to: 'https://{host}:8443/x' } }",
    "- { when: [{ of: header, name: X-A }, { of: query, name: q, exact: [''] }], redirect: { to: /x } }",
    "- { rate_limit: { requests: 10, per_s: 1 } }",
    "- { when: [{ of: path, regex: ['^/api/'] }], rewrite: { regex: '^/api/(.*)$', to: /$1, host: in.test:81 } }",
    "- { request_headers: { remove: [X_User], set: [{ name: A, value: b }] }, pool: api }",
  );
  assert.equal(told, "");
});

describe("a rule that can't be meant is told at its place", () => {
  const rows: [name: string, rule: string, errors: string][] = [
    [
      "nothing to do",
      "- { when: [{ of: method, exact: [GET] }] }",
      "a.yaml:18:9: vservers[0].rules[0] does nothing; add deny, redirect, pool, rewrite, request_headers, response_headers or rate_limit",
    ],
    [
      "two decisions",
      "- { pool: api, deny: {} }",
      "a.yaml:18:11: a rule with 'deny' has no 'pool': the first one ends the rules; use two rules",
    ],
    [
      "a change of a request that nobody gets",
      "- { deny: {}, rewrite: { host: a.test } }",
      "a.yaml:18:21: 'rewrite' has no effect in a rule with 'deny': no web server is asked; remove it",
    ],
    ["an unknown pool", "- { pool: apy }", "a.yaml:18:17: there is no pool 'apy'; did you mean 'api'?"],
    [
      "a direct pool",
      "- { pool: hosts }",
      "a.yaml:18:17: pool 'hosts' is direct, and a direct pool serves tcp and udp alone; name a pool with scheduling cookie or url-hash",
    ],
    [
      "a pool with the same cookie",
      "- { pool: like }",
      "a.yaml:18:17: pools 'web' and 'like' of one vserver have the same cookie 'DLBA'; give each of them a cookie of its own",
    ],
    [
      "a condition that asks nothing",
      "- { when: [{ of: path }], deny: {} }",
      "a.yaml:18:18: vservers[0].rules[0].when[0] asks nothing; add exact, prefix, suffix or regex",
    ],
    [
      "a header without a name",
      "- { when: [{ of: header, exact: [a] }], deny: {} }",
      "a.yaml:18:18: missing key 'name' in vservers[0].rules[0].when[0]; say which header",
    ],
    [
      "a path with a name",
      "- { when: [{ of: path, name: x, exact: [/a] }], deny: {} }",
      "a.yaml:18:30: a condition of path has no name; remove it, or use of: header or of: query",
    ],
    [
      "a client by its text",
      "- { when: [{ of: client, prefix: ['10.'] }], deny: {} }",
      "a.yaml:18:18: missing key 'in' in vservers[0].rules[0].when[0]; give the address blocks of the clients\n" +
        "a.yaml:18:32: a condition of client has no prefix; use in, with address blocks",
    ],
    [
      "a path in a block",
      "- { when: [{ of: path, exact: [/a], in: [10.0.0.0/8] }], deny: {} }",
      "a.yaml:18:43: a condition of path has no in; use of: client",
    ],
    [
      "a path that doesn't begin with a slash",
      "- { when: [{ of: path, prefix: [admin] }], deny: {} }",
      'a.yaml:18:39: "admin" doesn\'t begin with /; paths do; regex finds things inside of them',
    ],
    [
      "a path that is encoded",
      "- { when: [{ of: path, exact: [/a%20b] }], deny: {} }",
      'a.yaml:18:38: "/a%20b" is percent-encoded; write the characters themselves: paths are compared decoded',
    ],
    [
      "a path that no request has",
      "- { when: [{ of: path, exact: [/a/../b] }], deny: {} }",
      "a.yaml:18:38: \"/a/../b\" is not in normal form; leave out empty, '.' and '..' segments",
    ],
    [
      "a query in a path",
      "- { when: [{ of: path, suffix: ['?x'] }], deny: {} }",
      'a.yaml:18:39: "?x" is no part of a path; use of: query for what follows the question mark',
    ],
    [
      "a host with a port",
      "- { when: [{ of: host, exact: ['a.test:80'] }], deny: {} }",
      'a.yaml:18:38: "a.test:80" is no part of a host; leave the port out; for all hosts of a level use suffix',
    ],
    [
      "a method that is none",
      "- { when: [{ of: method, exact: ['GET /'] }], deny: {} }",
      'a.yaml:18:40: "GET /" is no method; use a method such as GET',
    ],
    [
      "a regex that can take for ever",
      "- { when: [{ of: path, regex: ['(a)\\1'] }], deny: {} }",
      "a.yaml:18:38: the regular expression \"(a)\\\\1\" can't be used: it can't be matched in linear time (back-references, look-around and counts above 16 can't); use one without that",
    ],
    [
      "a regex that is none",
      "- { rewrite: { regex: '(', to: /x } }",
      'a.yaml:18:29: the regular expression "(" can\'t be used: Unterminated group; use one without that',
    ],
    [
      "a group that the regex hasn't",
      "- { rewrite: { regex: '^/(a)', to: /$2 } }",
      'a.yaml:18:42: "/$2" names group 2, and the regex has 1; use ( ) in the regex for each group',
    ],
    [
      "half of a rewrite",
      "- { rewrite: { prefix: /a/ } }",
      "a.yaml:18:20: missing key 'to' in vservers[0].rules[0].rewrite; a path is rewritten from prefix or regex to to",
    ],
    [
      "a rewrite to what is no path",
      "- { rewrite: { prefix: /a/, to: /b//c } }",
      "a.yaml:18:39: \"/b//c\" is no path in normal form; leave out empty, '.' and '..' segments, '?', '#' and '\\', and write '%' as %25",
    ],
    [
      "a redirect where the client wants",
      "- { redirect: { to: 'https://{path}' } }",
      'a.yaml:18:27: a client could choose the host that "https://{path}" leads to, or there is none; begin with https://{host}, with http:// or https:// and a host, or with a path',
    ],
    [
      "a redirect to another host by two slashes",
      "- { redirect: { to: '//evil.test' } }",
      'a.yaml:18:27: a client could choose the host that "//evil.test" leads to, or there is none; begin with https://{host}, with http:// or https:// and a host, or with a path',
    ],
    [
      "a redirect with an unknown part",
      "- { redirect: { to: 'https://{host}/{uri}' } }",
      "a.yaml:18:27: {uri} is nothing known; there are {host}, {path} and {query}",
    ],
    [
      "the framing",
      "- { request_headers: { remove: [Transfer_Encoding] } }",
      "a.yaml:18:39: rules can't change the header Transfer_Encoding; the proxy writes it, and must",
    ],
    [
      "the host as a header",
      "- { request_headers: { set: [{ name: Host, value: a }] } }",
      "a.yaml:18:44: rules can't change the header Host; use rewrite with host",
    ],
    [
      "who asked",
      "- { request_headers: { add: [{ name: X-Forwarded-For, value: a }] } }",
      "a.yaml:18:44: rules can't change the header X-Forwarded-For; trusted_proxies says whose word on it is kept",
    ],
    [
      "the response's connection",
      "- { response_headers: { add: [{ name: connection, value: close }] } }",
      "a.yaml:18:45: rules can't change the header connection; the proxy writes it, and must",
    ],
    [
      "a value with a line break",
      '- { response_headers: { set: [{ name: A, value: "b\\r\\nC: d" }] } }',
      'a.yaml:18:55: vservers[0].rules[0].response_headers.set[0].value is "b\\r\\nC: d"; expected a header\'s value of visible ASCII, spaces and tabs (1024 characters at most)',
    ],
    [
      "edits of nothing",
      "- { response_headers: {} }",
      "a.yaml:18:29: vservers[0].rules[0].response_headers changes nothing; add remove, set or add",
    ],
  ];
  for (const [name, rule, errors] of rows) test(name, () => assert.equal(errorsOf(rule), errors));
});

test("a rule that no request gets to is told", () => {
  assert.equal(
    errorsOf("- { pool: api }", "- { deny: {} }"),
    "a.yaml:19:9: no request gets to this rule: vservers[0].rules[0] decides always; give that one a condition, or put it last",
  );
});

test("what all rules together add to a head, and their expressions, are bounded", () => {
  const value = "x".repeat(1000);
  const add = (key: string): string[] =>
    Array.from({ length: 9 }, () => `- { ${key}: { add: [{ name: A, value: ${value} }] } }`);
  assert.match(
    errorsOf(...add("request_headers")),
    /^a\.yaml:26:9: up to here the request_headers .* 9045 bytes; expected 8192/,
  );
  assert.match(
    errorsOf(...add("response_headers")),
    /^a\.yaml:26:9: up to here the response_headers of all rules/,
  );
  const regexes = Array.from({ length: 17 }, () => `- { rewrite: { regex: ${"a".repeat(250)}, to: /x } }`);
  assert.match(
    errorsOf(...regexes),
    /^a\.yaml:34:9: up to here the regular expressions of all rules have 4250 characters/,
  );
});

test("a tcp vserver has no rules", () => {
  const text = GOOD.replace("protocol: http\n    pool: web\n", "protocol: tcp\n    rules: [{ deny: {} }]\n");
  const parsed = parseConfig(text, "a.yaml");
  assert.ok("errors" in parsed);
  assert.match(formatConfigErrors(parsed.errors), /^a\.yaml:16:5: a tcp vserver has no rules: /);
});
