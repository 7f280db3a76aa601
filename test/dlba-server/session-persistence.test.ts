/** Where requests stick beyond the injected cookie as it is: the application's own session, its ids, and other keys. */
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { createLearnedSessions, type Persistence, type SessionIds } from "../../dlba-server/persistence.ts";
import {
  createEngine,
  type Engine,
  fieldsOf,
  OK,
  PLAIN,
  testEnv,
  testPool,
  TOKENS,
} from "./recorder-port.ts";

const engineWith = (
  persistence: Partial<Persistence>,
  scheduling: "cookie" | "url-hash" = "cookie",
): Engine =>
  createEngine({
    env: testEnv({
      pools: [testPool({ scheduling, persistence: { ...PLAIN, isPlain: false, ...persistence } })],
    }),
    hasIdle: true,
  });

const get = (fields = "", target = "/"): string => `GET ${target} HTTP/1.1\r\nHost: h\r\n${fields}\r\n`;
const answerWith = (fields: string): string => `HTTP/1.1 200 OK\r\n${fields}Content-Length: 0\r\n\r\n`;

/** The Set-Cookie lines of the response to a request, and its Cache-Control. */
function told(engine: Engine, request: string, response: string): { cookies: string[]; caches: string[] } {
  const before = engine.record.toClient.length;
  engine.client(request);
  engine.server(response);
  const fields = fieldsOf(engine.record.toClient.slice(before));
  return { cookies: fields.get("set-cookie") ?? [], caches: fields.get("cache-control") ?? [] };
}

describe("with the application's session cookie named", () => {
  const sessionCookie = "SID";
  const attributes = [
    "",
    "; Path=/",
    "; Path=/shop; HttpOnly; Secure; SameSite=Strict",
    "; Max-Age=1800; Domain=example.org",
    "; Expires=Wed, 09 Jun 2027 10:18:14 GMT; path=/",
    ";Partitioned;x=y",
  ];
  for (const attribute of attributes) {
    it(`the injected one has its attributes: ${attribute || "none"}`, () => {
      const engine = engineWith({ sessionCookie });
      const { cookies, caches } = told(engine, get(), answerWith(`Set-Cookie: SID=1${attribute}\r\n`));
      assert.deepEqual(cookies, [`SID=1${attribute}`, `DLBA=t0${attribute}`]);
      assert.deepEqual(caches, ["private"]);
    });
  }

  it("it is not set before a session begins, nor again while that lasts", () => {
    const engine = engineWith({ sessionCookie });
    assert.deepEqual(told(engine, get(), OK), { cookies: [], caches: [] });
    assert.deepEqual(
      told(engine, get(), answerWith("Set-Cookie: other=1\r\nSet-Cookie: XSID=1\r\n")).cookies,
      ["other=1", "XSID=1"],
    );
    assert.deepEqual(told(engine, get("Cookie: SID=1; DLBA=t0\r\n"), OK), { cookies: [], caches: [] });
  });

  it("it is deleted with the session, and set again with its end", () => {
    const engine = engineWith({ sessionCookie });
    const asked = get("Cookie: SID=1; DLBA=t0\r\n");
    const gone = "; Max-Age=0; Path=/";
    assert.deepEqual(told(engine, asked, answerWith(`Set-Cookie: SID=${gone}\r\n`)).cookies, [
      `SID=${gone}`,
      `DLBA=t0${gone}`,
    ]);
    const longer = "; Max-Age=3600";
    const both = `Set-Cookie: SID=deleted; Max-Age=0\r\nset-cookie: SID =2${longer}\r\n`;
    assert.deepEqual(told(engine, asked, answerWith(both)).cookies, [
      "SID=deleted; Max-Age=0",
      `SID =2${longer}`,
      "DLBA=t0; Max-Age=0",
      `DLBA=t0${longer}`,
    ]);
  });

  it("a session that goes on at another web server is told so", () => {
    const engine = createEngine({
      env: testEnv({ pools: [testPool({ persistence: { ...PLAIN, isPlain: false, sessionCookie } })] }),
      refusing: [1],
    });
    const { cookies } = told(engine, get("Cookie: SID=1; DLBA=t1\r\n"), OK);
    assert.deepEqual(cookies, ["DLBA=t0; Path=/; HttpOnly"]);
  });
});

function idsWith(overrides: Partial<SessionIds>): SessionIds {
  const routes = new Map(TOKENS.map((token, i) => [`web${i}`, token]));
  return { cookie: "", pathParameter: "", query: "", routes, learned: createLearnedSessions(), ...overrides };
}
const choiceOf = (engine: Engine, request: string): { token: string; hash: number } => {
  engine.client(request);
  const { token, hash } = engine.record.choices.at(-1)!;
  if (engine.isConnected) engine.server(OK);
  return { token, hash };
};

describe("a session id", () => {
  const all = { cookie: "JSESSIONID", pathParameter: "jsessionid", query: "sid" };
  const routed: [string, string][] = [
    ["in a cookie", get("Cookie: a=1; JSESSIONID=abc.web2\r\n")],
    ["in the path", get("", "/shop;jsessionid=abc.web2")],
    ["in the path before more of it", get("", "/shop;v=1;jsessionid=abc.web2/cart;x=1?sid=other.web1")],
    ["in the query", get("", "/shop?a=b&sid=abc.web2&c=d")],
    ["in the cookie before the path", get("Cookie: JSESSIONID=abc.web2\r\n", "/;jsessionid=abc.web1")],
    ["in a whole URL", get("", "http://h/shop;jsessionid=abc.web2")],
  ];
  for (const [name, request] of routed) {
    it(`${name} leads to the web server that its route names`, () => {
      const engine = engineWith({ sessionIds: idsWith(all) });
      assert.equal(choiceOf(engine, request).token, "t2");
      assert.ok(!engine.record.toClient.includes("Set-Cookie"), "the id says it: no cookie is needed");
    });
  }

  it("without a route is hashed: the same id, the same hash, wherever it stands and on whatever node", () => {
    const hashes = [
      get("Cookie: JSESSIONID=abc\r\n"),
      get("", "/x;jsessionid=abc"),
      get("", "/y?sid=abc"),
    ].map((request) => choiceOf(engineWith({ sessionIds: idsWith(all) }), request));
    assert.equal(new Set(hashes.map(({ hash }) => hash)).size, 1);
    assert.notEqual(hashes[0]!.hash, 0);
    assert.deepEqual(new Set(hashes.map(({ token }) => token)), new Set([""]));
    const other = choiceOf(engineWith({ sessionIds: idsWith(all) }), get("", "/y?sid=abd"));
    assert.notEqual(other.hash, hashes[0]!.hash);
  });

  it("with a route that nobody has is hashed, and so is one whose web server is gone", () => {
    const engine = engineWith({ sessionIds: idsWith(all) });
    const { token, hash } = choiceOf(engine, get("", "/?sid=abc.web9"));
    assert.deepEqual([token, hash === 0], ["", false]);
  });

  it("the injected cookie goes before it", () => {
    const engine = engineWith({ sessionIds: idsWith(all) });
    assert.deepEqual(choiceOf(engine, get("Cookie: DLBA=t1; JSESSIONID=abc.web2\r\n")), {
      token: "t1",
      hash: 0,
    });
    assert.equal(choiceOf(engine, get("Cookie: DLBA=forged; JSESSIONID=abc.web2\r\n")).token, "t2");
  });

  it("none, an empty one and one too long are none", () => {
    for (const target of [
      "/",
      "/;jsessionid=",
      "/?sid=",
      `/?sid=${"a".repeat(257)}`,
      "/?xsid=1",
      "/jsessionid=1",
    ]) {
      const engine = engineWith({ sessionIds: idsWith(all) });
      assert.deepEqual(choiceOf(engine, get("", target)), { token: "", hash: 0 }, target);
    }
  });

  it("that a web server has set leads back to it, on the worker that saw it", () => {
    const sessionIds = idsWith(all);
    const engine = engineWith({ sessionIds });
    told(engine, get(), answerWith("Set-Cookie: JSESSIONID=made; Path=/\r\n"));
    const later = engineWith({ sessionIds });
    assert.equal(choiceOf(later, get("", "/;jsessionid=made")).token, "t0");
    assert.equal(choiceOf(engineWith({ sessionIds: idsWith(all) }), get("", "/;jsessionid=made")).token, "");
  });

  it("what is remembered of sessions is bounded: who has been away longest is forgotten", () => {
    const learned = createLearnedSessions(2);
    learned.note("a", "t0");
    learned.note("b", "t1");
    assert.equal(learned.recall("a"), "t0");
    learned.note("c", "t2");
    assert.deepEqual(["a", "b", "c"].map(learned.recall), ["t0", "", "t2"]);
    learned.note("x".repeat(257), "t0");
    assert.equal(learned.recall("x".repeat(257)), "");
  });
});

const hashOf = (hashKey: Persistence["hashKey"], request: string): number =>
  choiceOf(engineWith({ hashKey }, "url-hash"), request).hash;

describe("what is hashed", () => {
  it("is the path alone, whatever the query", () => {
    const path = { kind: "path", name: "" } as const;
    assert.equal(hashOf(path, get("", "/a?b=1")), hashOf(path, get("", "/a?b=2")));
    assert.equal(hashOf(path, get("", "/a")), hashOf(path, get("", "http://h/a?x")));
    assert.notEqual(hashOf(path, get("", "/a")), hashOf(path, get("", "/b")));
  });

  it("is path and query, as a plain pool hashes it", () => {
    const both = { kind: "path-and-query", name: "" } as const;
    const plain = createEngine({ env: testEnv({ pools: [testPool({ scheduling: "url-hash" })] }) });
    assert.equal(hashOf(both, get("", "/a?b=1")), choiceOf(plain, get("", "/a?b=1")).hash);
    assert.notEqual(hashOf(both, get("", "/a?b=1")), hashOf(both, get("", "/a?b=2")));
  });

  it("is a header, in any case of its name, all its lines", () => {
    const tenant = { kind: "header", name: "x-tenant" } as const;
    assert.equal(
      hashOf(tenant, get("X-Tenant: a\r\n", "/1")),
      hashOf(tenant, get("x-tenant:  a \r\n", "/2")),
    );
    assert.notEqual(hashOf(tenant, get("X-Tenant: a\r\n")), hashOf(tenant, get("X-Tenant: b\r\n")));
    assert.equal(
      hashOf(tenant, get("X-Tenant: a\r\nX-Tenant: b\r\n")),
      hashOf(tenant, get("X-Tenant: a, b\r\n")),
    );
  });

  it("is a cookie", () => {
    const user = { kind: "cookie", name: "user" } as const;
    assert.equal(
      hashOf(user, get("Cookie: a=1; user=x\r\n", "/1")),
      hashOf(user, get("Cookie: user=x\r\n", "/2")),
    );
    assert.notEqual(hashOf(user, get("Cookie: user=x\r\n")), hashOf(user, get("Cookie: user=y\r\n")));
  });

  it("is nothing without that header or cookie: the pool's balance decides", () => {
    assert.equal(hashOf({ kind: "header", name: "x-tenant" }, get()), 0);
    assert.equal(hashOf({ kind: "cookie", name: "user" }, get("Cookie: users=1\r\n")), 0);
  });
});
