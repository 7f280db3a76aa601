import assert from "node:assert/strict";
import { execFileSync, spawnSync, type SpawnSyncReturns } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, describe, test } from "node:test";
import * as fc from "fast-check";
import { parse } from "yaml";
import type { ConfigInput } from "../../../conf/schema.ts";
import { compose, type Composed } from "../../../cli/import/compose.ts";
import { readTime_ms, wordsOf } from "../../../cli/import/haproxy-lines.ts";
import { importHaproxy, type Surroundings } from "../../../cli/import/haproxy.ts";
import { readKeepalived } from "../../../cli/import/keepalived.ts";

const ROOT = join(import.meta.dirname, "../../..");
const MOVING = join(ROOT, "docs/moving");
const EXAMPLE = readFileSync(join(MOVING, "haproxy.cfg"), "utf8");
const directory = mkdtempSync(join(tmpdir(), "dlba-import-"));
after(() => rmSync(directory, { recursive: true }));

const AROUND: Surroundings = {
  keepalived: undefined,
  vips: ["10.0.0.100"],
  nodes: [{ name: "lb1", address: "10.0.0.1" }],
  resolved: new Map([["app.example", "10.0.0.50"]]),
  listPem: (path) => (path === "/certs/" ? ["/certs/a.pem", "/certs/b.pem"] : undefined),
  exists: (path) => path === "/certs/b.pem.key",
};

function imported(
  text: string,
  around: Partial<Surroundings> = {},
): Composed & { config: ConfigInput; said: string[] } {
  const composed = compose(importHaproxy(text, "h.cfg", { ...AROUND, ...around }), [], {
    file: "h.cfg",
    arrayName: "a",
  });
  const said = composed.notes.map(({ line, kind, say }) => `${line} ${kind}: ${say}`);
  return { ...composed, config: parse(composed.yaml) as ConfigInput, said };
}

/** An http frontend with lines of its own, and two backends. */
const frontend = (...lines: string[]): string =>
  `frontend f
  mode http
  bind :80
${lines.map((line) => `  ${line}\n`).join("")}  default_backend app
backend app
  mode http
  cookie SRV insert
  server a1 10.0.0.21:8080
backend api
  mode http
  cookie API insert
  server b1 10.0.0.31:8080
`;
/** Those lines stand on the fourth line and the following ones. */
const rulesOf = (...lines: string[]): unknown => imported(frontend(...lines)).config.vservers[0]?.rules ?? [];

test("words are split as HAProxy does it", () => {
  assert.deepEqual(wordsOf(String.raw`  a b\ c "d e" 'f \ g' h\"i \. # j`), [
    "a",
    "b c",
    "d e",
    String.raw`f \ g`,
    'h"i',
    String.raw`\.`,
  ]);
  assert.deepEqual(wordsOf(`# nothing`), []);
  assert.deepEqual(wordsOf(`a ""`), ["a", ""]);
  assert.deepEqual(["5s", "10m", "1h", "500", "1d", "20us", "x", undefined].map(readTime_ms), [
    5000,
    600_000,
    3_600_000,
    500,
    86_400_000,
    1,
    undefined,
    undefined,
  ]);
});

describe("conditions", () => {
  const rows: [condition: string, when: unknown][] = [
    ["{ path_beg /a /b }", [{ of: "path", prefix: ["/a", "/b"] }]],
    ["{ path /a }", [{ of: "path", exact: ["/a"] }]],
    ["{ path -m end .css }", [{ of: "path", suffix: [".css"] }]],
    ["{ path_sub a.b }", [{ of: "path", regex: [String.raw`a\.b`] }]],
    ["{ path_dir x }", [{ of: "path", regex: ["(^|/)x($|/)"] }]],
    ["{ path_reg ^/a[0-9]+ }", [{ of: "path", regex: ["^/a[0-9]+"] }]],
    ["{ hdr(host) -i a.example:80 }", [{ of: "host", exact: ["a.example"] }]],
    ["{ req.hdr(Host) -m beg a. }", [{ of: "host", prefix: ["a."] }]],
    ["{ hdr_end(host) -i .example }", [{ of: "host", suffix: [".example"] }]],
    ["{ hdr(X-A) b }", [{ of: "header", name: "X-A", exact: ["b"] }]],
    ["{ hdr(X-A) -m found }", [{ of: "header", name: "X-A" }]],
    ["!{ hdr_cnt(X-A) gt 0 }", [{ of: "header", name: "X-A", not: true }]],
    ["{ method PUT POST }", [{ of: "method", exact: ["PUT", "POST"] }]],
    ["METH_GET", [{ of: "method", exact: ["GET", "HEAD"] }]],
    ["{ src 10.0.0.0/8 192.0.2.1 }", [{ of: "client", in: ["10.0.0.0/8", "192.0.2.1"] }]],
    ["{ url_param(q) 1 }", [{ of: "query", name: "q", exact: ["1"] }]],
    ["{ req.cook(sid) x }", [{ of: "header", name: "Cookie", regex: [String.raw`(^|;\s*)sid=x(;|$)`] }]],
    [
      "{ path_beg /a } { method GET }",
      [
        { of: "path", prefix: ["/a"] },
        { of: "method", exact: ["GET"] },
      ],
    ],
    [
      "{ path_beg /a } !{ src 10.0.0.0/8 }",
      [
        { of: "path", prefix: ["/a"] },
        { of: "client", in: ["10.0.0.0/8"], not: true },
      ],
    ],
    ["{ path_beg /a } !{ ssl_fc }", [{ of: "path", prefix: ["/a"] }]],
    ["{ path_beg /a } { dst_port 80 }", [{ of: "path", prefix: ["/a"] }]],
  ];
  for (const [condition, when] of rows) {
    test(`if ${condition}`, () =>
      assert.deepEqual(rulesOf(`http-request deny if ${condition}`), [{ when, deny: { status: 403 } }]));
  }

  test("alternatives are rules of their own; acls of one name are alternatives, too; about one thing they are one condition", () => {
    assert.deepEqual(
      rulesOf(
        "acl x path_beg /a",
        "acl x path_end .b",
        "acl x method PUT",
        "use_backend api if x or { hdr(X-A) 1 }",
      ),
      [
        { when: [{ of: "path", prefix: ["/a"], suffix: [".b"] }], pool: "api" },
        { when: [{ of: "method", exact: ["PUT"] }], pool: "api" },
        { when: [{ of: "header", name: "X-A", exact: ["1"] }], pool: "api" },
      ],
    );
  });

  test("unless is turned round", () => {
    assert.deepEqual(
      rulesOf("acl x path_beg /a", "http-request deny unless x { method GET } or { src 10.0.0.0/8 }"),
      [
        {
          when: [
            { of: "path", prefix: ["/a"], not: true },
            { of: "client", in: ["10.0.0.0/8"], not: true },
          ],
          deny: { status: 403 },
        },
        {
          when: [
            { of: "method", exact: ["GET"], not: true },
            { of: "client", in: ["10.0.0.0/8"], not: true },
          ],
          deny: { status: 403 },
        },
      ],
    );
  });

  test("what is never so makes no rule, what is always so one without conditions, and nothing stands behind it", () => {
    assert.deepEqual(rulesOf("http-request deny if { ssl_fc }", "http-request deny if FALSE"), []);
    assert.deepEqual(rulesOf("redirect scheme https if !{ ssl_fc }", "use_backend api if { path_beg /a }"), [
      { redirect: { status: 302, to: "https://{host}{path}{query}" } },
    ]);
  });

  const unsupported: [condition: string, why: RegExp][] = [
    ["{ nbsrv(app) lt 1 }", /rules can't ask for 'nbsrv\(app\)'/],
    ["{ path_beg -f /etc/paths }", /its values are in a file/],
    ["nowhere", /there is no acl 'nowhere'/],
    ["{ src 10.0.0.0/255.0.0.0 }", /blocks such as/],
    ["{ path_beg /a", /a '{' that nothing closes/],
    ["{ path_reg (?=a) }", /regular expression/],
    ["{ path_beg a }", /doesn't begin with \//],
  ];
  for (const [condition, why] of unsupported) {
    test(`${condition} is left out, and said`, () => {
      const { config, said, errors } = imported(frontend(`use_backend api if ${condition}`));
      assert.deepEqual([config.vservers[0]?.rules, errors], [undefined, []]);
      assert.match(said.find((each) => each.startsWith("4 ")) ?? "", why);
    });
  }
});

describe("what rules do", () => {
  const rows: [line: string, rule: object][] = [
    ["http-request deny deny_status 429", { deny: { status: 429 } }],
    ["http-request deny status 404", { deny: { status: 404 } }],
    [
      "redirect prefix https://w.example code 301",
      { redirect: { status: 301, to: "https://w.example{path}{query}" } },
    ],
    [
      "redirect prefix https://w.example drop-query",
      { redirect: { status: 302, to: "https://w.example{path}" } },
    ],
    ["redirect location /new code 308", { redirect: { status: 308, to: "/new" } }],
    [
      "http-request redirect location https://%[hdr(host)]%[capture.req.uri]",
      { redirect: { status: 302, to: "https://{host}{path}{query}" } },
    ],
    ["http-request set-header X-A b%%c", { request_headers: { set: [{ name: "X-A", value: "b%c" }] } }],
    ["http-request add-header X-A b", { request_headers: { add: [{ name: "X-A", value: "b" }] } }],
    ["http-request del-header X-A", { request_headers: { remove: ["X-A"] } }],
    ["http-request set-header Host w.example", { rewrite: { host: "w.example" } }],
  ];
  for (const [line, rule] of rows) {
    test(line, () =>
      assert.deepEqual(rulesOf(`${line} if { path_beg /a }`), [
        { when: [{ of: "path", prefix: ["/a"] }], ...rule },
      ]),
    );
  }

  test("headers of all responses", () => {
    assert.deepEqual(rulesOf('http-response set-header X-A "b c"', "http-response del-header Server"), [
      { response_headers: { set: [{ name: "X-A", value: "b c" }], remove: ["Server"] } },
    ]);
  });

  const said: [line: string, why: RegExp][] = [
    ["http-request set-header X-Real-IP %[src]", /left-out: .*X-Forwarded-For/],
    ["http-request set-header X-Forwarded-Proto https", /not-needed/],
    ["http-request set-header X-Forwarded-Port 443", /left-out: headers named X-Forwarded/],
    ["http-response set-header X-A b if { status 404 }", /left-out: /],
    ["http-request return status 200 content-type text/plain string ok", /left-out: rules answer with deny/],
    ["http-request track-sc0 src", /rate_limit/],
    ["http-request auth unless { path /a }", /left-out: passwords/],
    ["http-request deny deny_status 500", /differs: it is answered with 403/],
    ["redirect location %[src]", /left-out: its target/],
    [
      "http-request add-header X-A b if { path_beg /a } or { method PUT }",
      /left-out: it would be added once for each/,
    ],
    ["use_backend %[req.hdr(host),lower]", /left-out: backends that are chosen by an expression/],
    ["reqadd X-A:\\ b", /left-out: write a rule/],
    ["stick-table type ip size 1m", /rate_limit/],
    ["option httplog", /differs: lines go to a file/],
    ["maxconn 2000", /limits.connections_per_worker/],
    ["errorfile 503 /x.http", /error_pages/],
    ["frobnicate 3", /left-out: it has no counterpart/],
  ];
  for (const [line, why] of said) {
    test(`${line} is told`, () => {
      const { said, errors } = imported(frontend(line));
      assert.deepEqual(errors, []);
      assert.match(said.find((each) => each.startsWith("4 ")) ?? "", why);
    });
  }

  test("a backend's own rules hold where it is chosen, before it is", () => {
    const text = `${frontend("use_backend api if { path_beg /api/ }")}  http-request deny if { method PUT }
  http-request set-header X-Api yes
  http-response del-header X-Powered-By
`;
    const when = [{ of: "path", prefix: ["/api/"] }];
    assert.deepEqual(imported(text).config.vservers[0]?.rules, [
      { when: [...when, { of: "method", exact: ["PUT"] }], deny: { status: 403 } },
      {
        when,
        pool: "api",
        request_headers: { set: [{ name: "X-Api", value: "yes" }] },
        response_headers: { remove: ["X-Powered-By"] },
      },
    ]);
  });
});

const pool = (...lines: string[]): NonNullable<ConfigInput["pools"]>[number] => {
  const text = `frontend f\n mode http\n bind :80\n default_backend b\nbackend b\n mode http\n${lines.map((line) => ` ${line}\n`).join("")}`;
  const { config, errors } = imported(text);
  assert.deepEqual(errors, []);
  return config.pools![0]!;
};

describe("backends", () => {
  const SERVER = "server s1 10.0.0.21:8080";

  const balances: [line: string, part: object][] = [
    ["balance roundrobin", {}],
    ["balance leastconn", { balance: "least-connections" }],
    ["balance random(2)", { balance: "random-of-two" }],
    ["balance first", { balance: "first" }],
    ["balance uri", { scheduling: "url-hash", hash_key: "path" }],
    ["balance uri whole", { scheduling: "url-hash", hash_key: "path-and-query" }],
    ["balance hdr(X-Tenant)", { scheduling: "url-hash", hash_key: "header", hash_key_name: "X-Tenant" }],
    ["balance source", {}],
    [
      "cookie SRV insert secure domain .a.example",
      { cookie: "SRV", cookie_attributes: { secure: true, domain: "a.example" } },
    ],
    ["option http-server-close", { keep_alive: false }],
  ];
  for (const [line, part] of balances) {
    test(line, () => {
      assert.deepEqual(pool(line, SERVER), {
        name: "b",
        ...part,
        servers: [{ id: "s1", address: "10.0.0.21", port: 8080 }],
      });
    });
  }

  test("servers: weights, bounds, states, names, defaults; what is the pool's is the pool's", () => {
    const { servers, ...rest } = pool(
      "default-server inter 3s fall 5 maxconn 50",
      "timeout queue 3s",
      "server web_1.x app.example:8080 check weight 10",
      "server s2 [2001:db8::1]:8080 check inter 3s fall 5 backup disabled",
      "server gone.example gone.example:80 check",
      "server s4 unix@/run/x.sock",
    );
    assert.deepEqual(servers, [
      { id: "web-1-x", address: "10.0.0.50", port: 8080, max_connections: 50, weight: 10 },
      { id: "s2", address: "2001:db8::1", port: 8080, max_connections: 50, backup: true, state: "maint" },
    ]);
    assert.deepEqual(rest, {
      name: "b",
      check: { type: "tcp", interval_ms: 3000, timeout_ms: 3000, rise: 2, fall: 5 },
      queue: { timeout_ms: 3000 },
    });
  });

  test("TLS, PROXY headers, HTTP/2, slow start", () => {
    const { tls, send_proxy, slow_start_ms } = pool(
      `${SERVER} ssl verify required ca-file /ca.pem sni str(a.internal) crt /c.pem send-proxy-v2 slowstart 10s`,
    );
    assert.deepEqual(
      [tls, send_proxy, slow_start_ms],
      [{ ca: "/ca.pem", server_name: "a.internal", certificate: "/c.pem", key: "/c.pem" }, "v2", 10_000],
    );
    assert.deepEqual(pool(`${SERVER} ssl verify none`).tls, { verify: false });
    assert.equal(pool(`${SERVER} proto h2`).protocol, "h2");
  });

  test("what a pool can't have together is left out, and said", () => {
    const text = `frontend f\n mode http\n bind :80\n default_backend b\nbackend b\n mode http\n option http-server-close\n ${SERVER} proto h2\n`;
    const { config, errors, said } = imported(text);
    assert.deepEqual(
      [errors, config.pools?.[0]?.keep_alive, config.pools?.[0]?.protocol],
      [[], undefined, "h2"],
    );
    assert.ok(
      said.some((each) => /^5 left-out: .*keep_alive/.test(each)),
      said.join("\n"),
    );
  });

  test("checks by HTTP, old and new", () => {
    const { check } = pool("option httpchk HEAD /h HTTP/1.1\\r\\nHost:\\ w.example", `${SERVER} check`);
    assert.deepEqual([check?.path, check?.host, check?.statuses?.includes(302)], ["/h", "w.example", true]);
    const { check: sent } = pool(
      "option httpchk",
      "http-check send meth GET uri /up hdr Host w.example",
      "http-check expect status 200,204",
      `${SERVER} check`,
    );
    assert.deepEqual([sent?.path, sent?.host, sent?.statuses], ["/up", "w.example", [200, 204]]);
  });

  test("pools that share a cookie's name get names of their own", () => {
    const text = frontend("use_backend api if { path_beg /a }").replace("cookie API", "cookie SRV");
    const { config, said } = imported(text);
    assert.deepEqual(
      config.pools?.map(({ cookie }) => cookie),
      ["SRV", "SRV-api"],
    );
    assert.ok(said.some((each) => each.includes("another pool has the cookie SRV")));
  });
});

const vservers = (binds: readonly string[], around: Partial<Surroundings> = {}): unknown[] => {
  const text = `global\n crt-base /certs\nlisten l\n mode http\n${binds.map((bind) => ` bind ${bind}\n`).join("")} server s 10.0.0.21:80\n`;
  return imported(text, around).config.vservers.map(
    ({ name, vips, ports, protocol, certificates, http2, proxy_protocol_from }) => [
      name,
      vips.join(),
      ports.join(),
      protocol,
      certificates?.map(({ certificate, key }) => `${certificate} ${key}`).join(),
      http2,
      proxy_protocol_from?.length,
    ],
  );
};

describe("listeners", () => {
  const u = undefined;
  const rows: [binds: string[], vservers: unknown[]][] = [
    [["*:80"], [["l", "10.0.0.100", "80", "http", u, u, u]]],
    [
      ["10.0.0.7:80,10.0.0.8:80", "10.0.0.7:8080"],
      [
        ["l-http", "10.0.0.7", "80,8080", "http", u, u, u],
        ["l-http-2", "10.0.0.8", "80", "http", u, u, u],
      ],
    ],
    [[":80-82"], [["l", "10.0.0.100", "80,81,82", "http", u, u, u]]],
    [
      [":80", ":443 ssl crt a.pem"],
      [
        ["l-http", "10.0.0.100", "80", "http", u, u, u],
        ["l-https", "10.0.0.100", "443", "https", "/certs/a.pem /certs/a.pem", u, u],
      ],
    ],
    [
      [":443 ssl crt /certs/ alpn http/1.1"],
      [
        [
          "l",
          "10.0.0.100",
          "443",
          "https",
          "/certs/a.pem /certs/a.pem,/certs/b.pem /certs/b.pem.key",
          false,
          u,
        ],
      ],
    ],
    [[":80 accept-proxy"], [["l", "10.0.0.100", "80", "http", u, u, 2]]],
  ];
  for (const [binds, expected] of rows)
    test(binds.join(" | "), () => assert.deepEqual(vservers(binds), expected));

  test("a wildcard of both families stands for all VIPs", () => {
    const vips = ["10.0.0.100", "2001:db8::1"];
    assert.deepEqual(vservers([":::80 v4v6"], { vips }), [["l", vips.join(), "80", "http", u, u, u]]);
    assert.deepEqual(vservers(["*:80"], { vips }), [["l", "10.0.0.100", "80", "http", u, u, u]]);
  });

  test("without VIPs a placeholder is said, and the result is still without errors", () => {
    const { yaml, errors, said } = imported(frontend(), { vips: [], nodes: [] });
    assert.deepEqual(errors, []);
    assert.match(yaml, /FILL IN VIPs.*192\.0\.2\.10[\s\S]*FILL IN the nodes' own addresses/);
    assert.ok(said.some((each) => each.includes("is a placeholder")));
  });
});

const tcp = (server: string, bind = ":5432"): ReturnType<typeof imported> =>
  imported(
    `${frontend()}listen db\n  bind ${bind}\n  mode tcp\n  balance leastconn\n  server p1 10.0.0.61:${server} check\n  server p2 10.0.0.62:${server} check\n`,
  );

describe("tcp", () => {
  test("goes to the hosts themselves, where they listen on the VIP's port", () => {
    const { config, said, errors } = tcp("5432");
    assert.deepEqual(errors, []);
    assert.deepEqual(config.vservers[1], {
      name: "db",
      vips: ["10.0.0.100"],
      ports: [5432],
      protocol: "tcp",
      pool: "db",
    });
    assert.deepEqual(
      config.pools?.[2]?.servers.map(({ number }) => number),
      [1, 2],
    );
    assert.ok(said.some((each) => /differs: connections go to the hosts themselves/.test(each)));
  });

  test("is left out where it is not so, and said", () => {
    const other = tcp("5433");
    assert.equal(other.config.vservers.length, 1);
    assert.ok(other.said.some((each) => /left-out: connections are not copied/.test(each)));
    assert.ok(
      tcp("5432", ":5432 ssl crt /c.pem").said.some((each) =>
        /left-out: TLS is ended for HTTP alone/.test(each),
      ),
    );
  });
});

test("time-outs are the array's: the longest counts, within what we allow", () => {
  const { config, said } = imported(
    `defaults\n mode http\n timeout client 2h\n timeout server 5s\n timeout connect 1ms\n${frontend()}  timeout server 30s\n`,
  );
  assert.deepEqual(config.timeouts, {
    request_body_ms: 3_600_000,
    client_write_ms: 3_600_000,
    response_head_ms: 30_000,
    response_body_ms: 30_000,
    connect_ms: 10,
    keep_alive_ms: 3_600_000,
  });
  assert.ok(said.includes("4 differs: time-outs are the array's: the longest one counts (30000 ms)"));
});

test("defaults are inherited, by name, too", () => {
  const text = `defaults web\n mode http\n cookie SRV insert\ndefaults other\n mode tcp\nlisten a from web\n bind :80\n server s 10.0.0.21:80\n`;
  const { config } = imported(text);
  assert.deepEqual([config.vservers[0]?.protocol, config.pools?.[0]?.cookie], ["http", "SRV"]);
});

test("keepalived: VIPs, interface, machines; the rest is said", () => {
  const text = readFileSync(join(MOVING, "keepalived.conf"), "utf8");
  const { vips, interface: network, addresses, name, ledger } = readKeepalived(text, "k.conf");
  assert.deepEqual(
    [vips, network, addresses, name],
    [["10.0.0.10"], "ens18", ["10.0.0.11", "10.0.0.12"], "lb1"],
  );
  assert.ok(ledger.notes().some(({ line, kind }) => line === 16 && kind === "differs"));
  const one = readKeepalived(
    "vrrp_instance a { interface e0\n virtual_ipaddress { 2001:DB8::1/64 dev e0 } unicast_peer { 10.0.0.2 } }\nvirtual_server 10.0.0.1 80 { delay_loop 6 }",
    "k",
  );
  assert.deepEqual([one.vips, one.addresses, one.interface], [["2001:db8::1"], ["10.0.0.2"], "e0"]);
  assert.deepEqual(
    one.ledger.notes().map(({ line, kind }) => [line, kind]),
    [[3, "left-out"]],
  );
});

test("whatever the file holds, something is said of every line, and nothing is thrown", () => {
  const lines = EXAMPLE.split("\n");
  fc.assert(
    fc.property(
      fc.array(
        fc.tuple(
          fc.nat(lines.length - 1),
          fc.nat(lines.length - 1),
          fc.constantFrom("", '"', "{", "if", "!", "0"),
        ),
        { maxLength: 12 },
      ),
      (edits) => {
        const changed = lines.slice();
        for (const [from, to, more] of edits) changed[to] = `${lines[from]} ${more}`;
        const { errors } = imported(changed.join("\n"));
        for (const { message } of errors) assert.ok(message.length > 0);
      },
    ),
    { numRuns: 25 },
  );
});

const dlba = (...args: string[]): SpawnSyncReturns<string> =>
  spawnSync(join(ROOT, "bin/dlba"), ["import", ...args], { encoding: "utf8" });

describe("the command", () => {
  test("the worked example makes the committed configuration, of which check finds no errors", () => {
    const output = join(directory, "dlba.yaml");
    const { status, stderr } = dlba(
      join(MOVING, "haproxy.cfg"),
      "--keepalived",
      join(MOVING, "keepalived.conf"),
      "--name",
      "shop",
      "--output",
      output,
    );
    assert.equal(status, 0, stderr);
    assert.equal(readFileSync(output, "utf8"), readFileSync(join(MOVING, "dlba.yaml"), "utf8"));
    assert.match(
      execFileSync(join(ROOT, "bin/dlba"), ["check", output], { encoding: "utf8" }),
      /no errors; array shop/,
    );
    assert.match(stderr, /^haproxy\.cfg:28: left out: 'errorfile 503/m);
    const again = dlba(join(MOVING, "haproxy.cfg"), "--output", output);
    assert.deepEqual([again.status, again.stderr.includes("name a file that is not there yet")], [3, true]);
  });

  test("--strict is for those who want nothing left out, --json for programs", () => {
    const plain = join(directory, "plain.cfg");
    writeFileSync(plain, frontend());
    assert.equal(dlba(plain, "--vip", "10.0.0.100", "--node", "n=10.0.0.1", "--strict").status, 0);
    const { status, stdout } = dlba(join(MOVING, "haproxy.cfg"), "--strict", "--json");
    const { config, notes, errors } = JSON.parse(stdout) as {
      config: string;
      notes: { kind: string }[];
      errors: unknown[];
    };
    assert.deepEqual([status, errors, parse(config).array.name], [1, [], "imported"]);
    assert.ok(notes.some(({ kind }) => kind === "left-out"));
  });

  test("what can't be read, and options that are none, are refused", () => {
    assert.equal(dlba(join(directory, "none.cfg")).status, 3);
    assert.equal(dlba(join(MOVING, "haproxy.cfg"), "--vip", "shop.example").status, 2);
    assert.equal(dlba(join(MOVING, "haproxy.cfg"), "--node", "lb1").status, 2);
  });
});
