/** What rules make of requests and responses on their way through a session. */
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { parseIp } from "../../conf/address.ts";
import {
  createEngine,
  type EngineOptions,
  fieldsOf,
  OK,
  statuses,
  testEnv,
  testPool,
  TOKENS,
} from "./recorder-port.ts";
import { POOLS, rulesOf } from "./rules/asked.ts";

function engineWith(rules: readonly unknown[], options: Omit<EngineOptions, "env"> = {}) {
  const pools = POOLS.map((name) =>
    testPool({
      cookieName: name,
      setCookie: TOKENS.map((token) => `Set-Cookie: ${name}=${token}\r\n`),
      otherCookies: POOLS.filter((other) => other !== name),
    }),
  );
  const env = testEnv({ rules: rulesOf(...rules), pools, clientIp: parseIp("192.0.2.1") });
  return createEngine({ ...options, env });
}

const get = (target: string, fields = ""): string =>
  `GET ${target} HTTP/1.1\r\nHost: a.test\r\n${fields}\r\n`;
const lineOf = (head: string): string => head.slice(0, head.indexOf("\r\n"));

describe("content switching", () => {
  const rules = [
    { when: [{ of: "path", prefix: ["/api/"] }], pool: "api" },
    { when: [{ of: "host", exact: ["static.test"] }], pool: "static" },
  ];

  it("gives each request of a connection to its own pool, with that pool's cookie", () => {
    const engine = engineWith(rules);
    engine.client(get("/api/x", "Cookie: api=t2; main=t1; k=v\r\n"));
    assert.equal(engine.state.pool, 1);
    assert.deepEqual(fieldsOf(engine.lastRequest).get("cookie"), ["k=v"]);
    assert.equal(engine.record.exchanges.at(-1)!.server, 2, "named by the pool's own cookie");
    engine.server(OK);
    assert.equal(fieldsOf(engine.record.toClient).has("set-cookie"), false);
    engine.client(get("http://static.test:80/x"));
    assert.equal(engine.state.pool, 2);
    engine.server(OK);
    assert.match(engine.record.toClient, /Set-Cookie: static=t0\r\n/);
    engine.client(get("/"));
    assert.equal(engine.state.pool, 0);
    engine.server(OK);
    assert.deepEqual(statuses(engine.record.toClient), [200, 200, 200]);
  });

  it("goes by the path's normal form, and sends the path on as it came", () => {
    for (const path of ["/%61pi/x", "//api//x", "/x/../api/x", "/api%2Fx"]) {
      const engine = engineWith(rules);
      engine.client(get(path));
      assert.equal(engine.state.pool, 1, path);
      assert.equal(lineOf(engine.lastRequest), `GET ${path} HTTP/1.1`);
    }
  });

  it("refuses a path that can be read in two ways, and notes it", () => {
    const engine = engineWith(rules);
    engine.client(get("/x/..;/api/y") + get("/"));
    assert.deepEqual(statuses(engine.record.toClient), [400]);
    assert.equal(engine.record.end, "closed");
    assert.deepEqual(
      engine.record.refused.map(([kind, status, text, isWhole]) => [kind, status, lineOf(text), isWhole]),
      [["request", 400, "GET /x/..;/api/y HTTP/1.1", true]],
    );
  });

  it("leaves such a path to web servers when no rule is about paths", () => {
    const engine = engineWith([{ when: [{ of: "method", exact: ["POST"] }], deny: {} }]);
    engine.client(get("/x/..;/y"));
    assert.equal(lineOf(engine.lastRequest), "GET /x/..;/y HTTP/1.1");
  });

  it("takes OPTIONS * as no path at all", () => {
    const engine = engineWith([{ when: [{ of: "path", prefix: ["/"] }], deny: {} }]);
    engine.client("OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n");
    assert.equal(lineOf(engine.lastRequest), "OPTIONS * HTTP/1.1");
  });

  it("compares hosts without port, case and final dot", () => {
    for (const host of ["Static.TEST", "static.test:8080", "static.test.", "STATIC.test.:1"]) {
      const engine = engineWith(rules);
      engine.client(`GET / HTTP/1.1\r\nHost: ${host}\r\n\r\n`);
      assert.equal(engine.state.pool, 2, host);
    }
  });

  it("asks other web servers of the same pool when one can't be connected", () => {
    const engine = engineWith(rules, { refusing: [0] });
    engine.client(get("/api/x"));
    assert.deepEqual([engine.state.pool, engine.state.server], [1, 1]);
  });
});

describe("answers by rules", () => {
  it("deny, keeping the connection of a whole request", () => {
    const engine = engineWith([{ when: [{ of: "path", exact: ["/no"] }], deny: {} }]);
    engine.client(get("/no") + get("/yes"));
    engine.server(OK);
    assert.deepEqual(statuses(engine.record.toClient), [403, 200]);
    assert.deepEqual(engine.record.counts.slice(0, 1), ["own 403"]);
    assert.deepEqual(engine.record.ends[0], { end: "done", line: "GET /no HTTP/1.1" });
  });

  it("deny with a page of the rule's own, or else the vserver's", () => {
    const pages = new Map([[410, "<p>gone</p>"]]);
    const engine = engineWith(
      [
        { when: [{ of: "path", exact: ["/a"] }], deny: { status: 410, page: "a.html" } },
        { deny: { status: 410 } },
      ],
      { pages },
    );
    engine.client(get("/a"));
    assert.match(engine.record.toClient, /410 Gone[^]*<p>a\.html<\/p>$/);
    engine.client(get("/b"));
    assert.match(engine.record.toClient, /<p>gone<\/p>$/);
  });

  it("close the connection when the request's body is still to come", () => {
    const engine = engineWith([{ deny: {} }]);
    engine.client("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\n");
    assert.deepEqual(fieldsOf(engine.record.toClient).get("connection"), ["close"]);
    assert.equal(engine.record.end, "closed");
    assert.equal(engine.record.lingers, true);
  });

  it("redirect with the request's own path and query as they came", () => {
    const engine = engineWith([{ redirect: { status: 301, to: "https://{host}{path}{query}" } }]);
    for (const [target, url] of [
      ["/a%2fb/../c?x=%20&y", "https://a.test/a%2fb/../c?x=%20&y"],
      ["http://a.test:80?q", "https://a.test/?q"],
    ] as const) {
      const before = engine.record.toClient.length;
      engine.client(get(target));
      const fields = fieldsOf(engine.record.toClient.slice(before));
      assert.deepEqual(fields.get("location"), [url]);
    }
    assert.deepEqual(statuses(engine.record.toClient), [301, 301]);
  });

  it("HEAD gets no body", () => {
    const engine = engineWith([{ redirect: { to: "/x" } }]);
    engine.client("HEAD / HTTP/1.1\r\nHost: a\r\n\r\n");
    assert.match(engine.record.toClient, /\r\n\r\n$/);
  });

  it("429 says when to come again, and counts nothing else", () => {
    const waits = [0, 1500, 200];
    const engine = engineWith([{ rate_limit: { requests: 1, per_s: 2 } }, { deny: {} }], {
      limits: () => waits.shift()!,
    });
    engine.client(get("/"));
    engine.client(get("/"));
    assert.deepEqual(
      fieldsOf(engine.record.toClient.slice(engine.record.toClient.indexOf("HTTP/1.1 429"))).get(
        "retry-after",
      ),
      ["2"],
    );
    engine.client(get("/"));
    assert.deepEqual(statuses(engine.record.toClient), [403, 429, 429]);
    assert.match(engine.record.toClient, /429[^]*Retry-After: 1\r\n/);
  });

  it("carry the changes of response headers", () => {
    const set = [
      { name: "Content-Type", value: "text/x" },
      { name: "X-A", value: "b" },
    ];
    const engine = engineWith([{ response_headers: { set } }, { deny: {} }]);
    engine.client(get("/"));
    const fields = fieldsOf(engine.record.toClient);
    assert.deepEqual([fields.get("content-type"), fields.get("x-a")], [["text/x"], ["b"]]);
    engine.client("nonsense\r\n\r\n");
    const last = engine.record.toClient.slice(engine.record.toClient.lastIndexOf("HTTP/1.1"));
    assert.equal(fieldsOf(last).has("x-a"), false, "what is no request passes no rules");
  });
});

describe("changes of requests", () => {
  it("rewrite the path, and leave the query and the rest of the head", () => {
    const engine = engineWith([{ rewrite: { prefix: "/api/", to: "/" } }]);
    engine.client(get("/api/a%2Fb?c=/api/", "Accept: */*\r\n"));
    assert.match(
      engine.lastRequest,
      /^GET \/a%2Fb\?c=\/api\/ HTTP\/1\.1\r\nHost: a\.test\r\nAccept: \*\/\*\r\n/,
    );
    engine.server(OK);
    engine.client(get("/other"));
    assert.equal(lineOf(engine.lastRequest), "GET /other HTTP/1.1", "nothing of the last request stays");
  });

  it("rewrite one after the other", () => {
    const engine = engineWith([
      { rewrite: { prefix: "/a/", to: "/b/" } },
      { when: [{ of: "path", prefix: ["/b/"] }], rewrite: { prefix: "/b/", to: "/wrong/" } },
      { rewrite: { regex: "^/b/(.*)$", to: "/c/$1" } },
    ]);
    engine.client(get("/a/x"));
    assert.equal(lineOf(engine.lastRequest), "GET /c/x HTTP/1.1", "conditions see the request as it came");
  });

  it("refuse what becomes too long", () => {
    const engine = engineWith([{ rewrite: { regex: "^(.*)$", to: `/${"$1".repeat(8)}` } }]);
    engine.client(get(`/${"x".repeat(1000)}`));
    assert.deepEqual(statuses(engine.record.toClient), [414]);
  });

  it("give the web server another host, and tell it the client's", () => {
    for (const target of ["/x", "http://a.test/x"]) {
      const engine = engineWith([{ rewrite: { host: "inner.test:81" } }]);
      engine.client(get(target));
      const fields = fieldsOf(engine.lastRequest);
      assert.deepEqual([fields.get("host"), fields.get("x-forwarded-host")], [["inner.test:81"], ["a.test"]]);
      assert.equal(lineOf(engine.lastRequest), "GET /x HTTP/1.1");
    }
  });

  it("take out, set and add headers, in whatever spelling", () => {
    const request_headers = {
      remove: ["X-User", "cookie"],
      set: [{ name: "X-Mode", value: "a b" }],
      add: [{ name: "Accept", value: "text/x" }],
    };
    const engine = engineWith([{ request_headers }]);
    engine.client(get("/", "x_user: 1\r\nX-USER: 2\r\nx-mode: c\r\nAccept: */*\r\nCookie: main=t1; k=v\r\n"));
    const fields = fieldsOf(engine.lastRequest);
    for (const name of ["x_user", "x-user", "cookie"]) assert.equal(fields.has(name), false, name);
    assert.deepEqual([fields.get("x-mode"), fields.get("accept")], [["a b"], ["*/*", "text/x"]]);
    assert.equal(engine.record.exchanges[0]!.server, 1, "the injected cookie is read all the same");
  });
});

describe("changes of responses", () => {
  it("take out, set and add headers; framing and our own lines stay", () => {
    const response_headers = {
      remove: ["Server", "Set-Cookie"],
      set: [{ name: "Cache-Control", value: "no-store" }],
      add: [{ name: "Vary", value: "Accept" }],
    };
    const engine = engineWith([{ response_headers }]);
    engine.client(get("/"));
    engine.server(
      "HTTP/1.1 200 OK\r\nserver: x\r\nSet-Cookie: a=b\r\nCache-Control: public\r\nVary: Origin\r\nContent-Length: 2\r\n\r\nok",
    );
    const fields = fieldsOf(engine.record.toClient);
    assert.equal(fields.has("server"), false);
    assert.deepEqual(fields.get("set-cookie"), ["main=t0"]);
    assert.deepEqual(fields.get("vary"), ["Origin", "Accept"]);
    assert.deepEqual(fields.get("content-length"), ["2"]);
    assert.ok(fields.get("cache-control")!.includes("no-store"));
  });

  it("are each request's own", () => {
    const engine = engineWith([
      { when: [{ of: "path", exact: ["/a"] }], response_headers: { set: [{ name: "X-A", value: "1" }] } },
    ]);
    engine.client(get("/a") + get("/b"));
    engine.server(OK);
    engine.server(OK);
    assert.equal(engine.record.toClient.split("X-A: 1\r\n").length, 2);
  });

  it("last over being written down and read back", () => {
    const engine = engineWith([{ response_headers: { set: [{ name: "X-A", value: "1" }] }, pool: "api" }], {
      revives: true,
    });
    engine.client(get("/a"));
    engine.server(OK);
    assert.match(engine.record.toClient, /X-A: 1\r\n/);
    assert.equal(engine.state.pool, 1);
  });
});
