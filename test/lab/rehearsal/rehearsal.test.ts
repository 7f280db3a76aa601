import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, test } from "node:test";
import { parseConfig } from "../../../conf/load.ts";
import type { Config } from "../../../conf/schema.ts";
import { adaptConfig, type ConfigPlaces } from "../../../lab/adapt-config.ts";
import { planLab } from "../../../lab/plan.ts";
import {
  type Asked,
  byPhase,
  failureOf,
  type Phase,
  phaseFigures,
  problemsOf,
  targetFigures,
} from "../../../lab/rehearsal/report.ts";
import { movedServers, planStandIns, webServerNames } from "../../../lab/rehearsal/stand-ins.ts";
import { planTargets, type Target } from "../../../lab/rehearsal/targets.ts";
import { rehearsalText } from "../../../cli/rehearse.ts";

const EXAMPLES = join(import.meta.dirname, "../../../conf/examples");
const CLIENT = ["198.18.0.1", "fd00:198:18::1"];
const places: ConfigPlaces = {
  keyFile: "/made/array.key",
  certificateFiles: (i) => ({ certificate: `/made/${i}.crt`, key: `/made/${i}.key` }),
  caFile: "/made/ca.crt",
  pageFile: "/made/page.html",
  accessLogFile: "/made/access.log",
};

function configOf(yaml: string): Config {
  const parsed = parseConfig(yaml, "test.yaml");
  assert.ok("config" in parsed, JSON.stringify(parsed));
  return parsed.config;
}
const example = (name: string): string => readFileSync(join(EXAMPLES, name), "utf8");

const BASE = `array: { name: a, key_file: /nonexistent/array.key }
nodes:
  - { number: 1, name: n1, address: 10.0.0.1, interface: eth0 }
  - { number: 2, name: n2, address: 10.0.0.2, interface: eth0 }
`;

describe("stand-ins", () => {
  const config = configOf(`${BASE}vservers:
  - { name: v, vips: [10.0.0.100], ports: [80], protocol: http, pool: local }
pools:
  - name: local
    check: { type: http, path: /health, statuses: [204, 200] }
    servers: [{ id: l1, address: 127.0.0.1, port: 8080 }, { id: l2, address: 10.0.0.2 }, { id: l3, address: 10.0.0.9 }]
  - name: grpc
    protocol: h2
    servers: [{ id: g1, address: 10.0.0.9, port: 50051 }, { id: g2, address: "::1", port: 50051 }]
  - name: secure
    cookie: SECURE
    send_proxy: v2
    tls: { server_name: app.internal }
    servers: [{ id: s1, address: 10.0.0.9, port: 443 }, { id: s2, address: 10.0.0.10, port: 443, server_name: two.internal }]
`);

  test("one for each address, with what each of its ports has to speak and its check wants", () => {
    assert.deepEqual(
      planStandIns(config).find(({ address }) => address === "10.0.0.9"),
      {
        address: "10.0.0.9",
        label: "l3",
        listeners: [
          { port: 80, is_tls: false, is_h2: false, has_proxy_header: false },
          { port: 50051, is_tls: false, is_h2: true, has_proxy_header: false },
          { port: 443, is_tls: true, is_h2: false, has_proxy_header: true },
        ],
        statuses: { "/health": 204 },
      },
    );
    assert.deepEqual(webServerNames(config), ["app.internal", "two.internal"]);
  });

  test("those on the nodes themselves get addresses of their own", () => {
    assert.deepEqual(
      movedServers(config).map(({ from, to }) => [from, to]),
      [
        ["127.0.0.1", "198.18.3.1"],
        ["10.0.0.2", "198.18.3.2"],
        ["::1", "fd00:198:18:3::1"],
      ],
    );
  });

  test("one port with and without TLS is refused", () => {
    const [server] = config.pools[0]!.servers;
    const servers = [{ ...server!, address: "10.0.0.9", port: 443 }];
    const pools = config.pools.map((pool) => Object.assign({}, pool, { servers }));
    assert.throws(() => planStandIns({ pools }), {
      code: "LAB_IMPOSSIBLE",
      hint: /local and grpc and secure/,
    });
  });
});

describe("what is not here is replaced, in a copy that can be planned", () => {
  for (const name of ["minimal.yaml", "full.yaml", "direct.yaml", "caches.yaml"]) {
    test(name, () => {
      const text = example(name);
      const adapted = adaptConfig(text, configOf(text), places, true);
      const after = configOf(adapted.yaml);
      assert.equal(after.array.key_file, places.keyFile);
      assert.equal(after.limits.workers, 1);
      assert.ok(planLab(after).hosts.length > 1);
      assert.ok(adapted.changes.length > 0);
    });
  }

  test("pages, logs, authorities and client certificates, too; each is told", () => {
    const text = example("full.yaml");
    const { yaml, needsPage, webCertificate, changes } = adaptConfig(text, configOf(text), places, true);
    const { vservers, pools, access_log } = configOf(yaml);
    assert.equal(needsPage, true);
    assert.equal(vservers[0]?.error_pages[0]?.file, places.pageFile);
    assert.equal(vservers[0]?.rules[0]?.deny?.page, places.pageFile);
    assert.equal(access_log?.file, places.accessLogFile);
    const { tls } = pools[0]!;
    assert.deepEqual([tls?.ca, tls?.certificate], [places.caFile, "/made/2.crt"]);
    assert.deepEqual(webCertificate, places.certificateFiles(3));
    assert.equal(changes.filter((change) => change.includes("page")).length, 2);
  });
});

const rules = (list: string, more = ""): ReturnType<typeof planTargets> =>
  planTargets(
    configOf(`${BASE}vservers:
  - { name: v, vips: [10.0.0.100], ports: [80], protocol: http, pool: web, rules: [${list}]${more} }
pools:
  - { name: web, servers: [{ id: w, address: 10.0.0.9 }] }
  - { name: api, cookie: API, servers: [{ id: a, address: 10.0.0.10 }] }
`),
    CLIENT,
  );

describe("what is asked", () => {
  test("of the full example: every address, and every rule that a made-up request meets, with what has to come", () => {
    const { targets, not_tried } = planTargets(configOf(example("full.yaml")), CLIENT);
    const shown = targets.map(({ vserver, what, address, status, pool }) => [
      vserver,
      what,
      address,
      status,
      pool,
    ]);
    const at = "192.0.2.10";
    assert.deepEqual(shown.slice(4), [
      ["shop-http", "GET /admin/ (rules[0])", at, 403, null],
      ["shop-http", "GET / (rules[1])", at, 301, null],
      ["shop-http", "GET /x.png (rules[4])", at, 200, "assets"],
      ["shop-https", "GET /", at, 200, "shop"],
      ["shop-https", "GET /", "2001:db8::10", 200, "shop"],
      ["mail", "a line", at, 0, null],
      ["names", "a line", at, 0, "names"],
    ]);
    assert.equal(targets[0]?.host, "shop.example.org");
    assert.deepEqual(not_tried, []);
  });

  test("hosts, headers, queries and methods are made up", () => {
    const { targets } =
      rules(`{ when: [{ of: host, suffix: [.example.org] }, { of: header, name: X-A }], pool: api },
      { when: [{ of: query, name: q, exact: ["1 2"] }, { of: method, exact: [POST] }], deny: { status: 410 } }`);
    assert.deepEqual(
      targets.map(({ method, host, path, headers, status }) => [method, host, path, headers, status]),
      [
        ["GET", "10.0.0.100", "/", {}, 200],
        ["GET", "www.example.org", "/", { "x-a": "1" }, 200],
        ["POST", "10.0.0.100", "/?q=1%202", {}, 410],
      ],
    );
  });

  test("a rule that decides always is all there is to ask; one that can't be met is told", () => {
    assert.deepEqual(
      rules('{ redirect: { status: 308, to: "https://{host}{path}" } }').targets.map(({ status }) => status),
      [308],
    );
    const { targets, not_tried } = rules("{ when: [{ of: client, in: [192.0.2.0/24] }], pool: api }");
    assert.equal(targets.length, 1);
    assert.match(not_tried.join(), /vserver v: rules\[0\]/);
  });

  test("where the client is one of the load balancers in front, connections begin with a PROXY header", () => {
    const [target] = rules("", ", proxy_protocol_from: [198.18.0.0/16]").targets;
    assert.equal(target?.begins_with_proxy_header, true);
  });
});

const TARGET: Target = {
  vserver: "v",
  what: "GET /",
  protocol: "http",
  address: "10.0.0.100",
  port: 80,
  begins_with_proxy_header: false,
  method: "GET",
  host: "h",
  path: "/",
  headers: {},
  status: 200,
  pool: "web",
};
const asked = (started_ms: number, ended_ms: number, more: Partial<Asked> = {}): Asked => ({
  target: 0,
  is_kept: false,
  started_ms,
  ended_ms,
  status: 200,
  error: null,
  by: "w",
  ...more,
});

describe("what clients would have noticed", () => {
  const phases: Phase[] = [
    { what: "calm", is_fault: false, begun_ms: 0, ended_ms: 1000 },
    { what: "killed", is_fault: true, begun_ms: 1000, ended_ms: 2000 },
    { what: "calm again", is_fault: false, begun_ms: 2000, ended_ms: 3000 },
  ];

  test("another status than the one that is due is a failure; too many requests are none", () => {
    assert.equal(failureOf(asked(0, 1), TARGET), null);
    assert.equal(failureOf(asked(0, 1, { status: 503 }), TARGET), "status 503 for 200");
    assert.equal(failureOf(asked(0, 1, { status: 429 }), TARGET), null);
    assert.equal(failureOf(asked(0, 1, { status: 503 }), { ...TARGET, status: 503 }), null);
    assert.equal(failureOf(asked(0, 1, { error: "ECONNRESET", status: 0 }), TARGET), "ECONNRESET");
  });

  test("a request that waited in vain counts for the fault that it has seen, not for the calm that it ended in", () => {
    const lost = asked(1200, 2600, { error: "no answer in time", status: 0 });
    const late = asked(1200, 2600);
    const grouped = byPhase([TARGET], [lost, late], phases);
    assert.deepEqual(grouped.get(phases[1]), [lost]);
    assert.deepEqual(grouped.get(phases[2]), [late]);
  });

  test("the longest gap is that of new connections, beyond the pace of asking", () => {
    const own = [
      asked(1040, 1050),
      asked(1690, 1700),
      asked(1300, 1310, { is_kept: true }),
      asked(1880, 1900),
    ];
    const figures = phaseFigures([TARGET], own, phases[1]!, 100);
    assert.deepEqual([figures.longest_gap_ms, figures.gap_of, figures.slowest_ms], [550, "v", 20]);
    assert.deepEqual([figures.requests, figures.failures], [4, 0]);
  });

  test("who never answered and what failed in calm are problems; failures under faults are not", () => {
    const bad = { error: "ECONNRESET", status: 0 };
    const calm = [asked(10, 20, bad), asked(30, 40)];
    const figures = phases.map((phase, i) =>
      phaseFigures([TARGET], i === 0 ? calm : i === 1 ? [asked(1100, 1200, bad)] : [], phase, 100),
    );
    assert.deepEqual(problemsOf(targetFigures([TARGET, { ...TARGET, vserver: "w" }], calm), figures), [
      "vserver w, GET / at 10.0.0.100:80: nobody asked",
      "calm: 1 of 2 requests failed though nothing was done (ECONNRESET: 1)",
    ]);
    assert.match(
      problemsOf(targetFigures([TARGET], calm.slice(0, 1)), [])[0] ?? "",
      /never answered with 200/,
    );
  });

  test("people get tables", () => {
    const calm = [asked(10, 20), asked(30, 50, { status: 429 })];
    const text = rehearsalText({
      file: "f",
      array: "shop",
      ok: true,
      problems: [],
      changes: [],
      not_tried: ["rules[1]"],
      targets: targetFigures([TARGET], calm),
      phases: [phaseFigures([TARGET], calm, phases[0]!, 100)],
      took_s: 3,
    });
    assert.match(text, /v +GET \/ +10\.0\.0\.100:80 +web +200 +2 +0 \(1 limited\) +20 ms +w\n/);
    assert.match(text, /calm +2 +0 +0 +850 ms \(v\) +20 ms/);
    assert.match(text, /Not tried:\n {2}rules\[1\]\n\nGood: array shop, rehearsed in 3 s\./);
  });
});
