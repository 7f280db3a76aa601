import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { PHASE } from "../../dlba-server/session-port.ts";
import { createEngine, fieldsOf, OK, statuses, testEnv, testPool } from "./recorder-port.ts";

const GET = "GET / HTTP/1.1\r\nHost: a.test\r\n\r\n";

describe("a request and its response", () => {
  it("goes to a web server with who asked, how and for what, and comes back with the cookie and Via", () => {
    const engine = createEngine();
    engine.client("GET /a?b=c HTTP/1.1\r\nHost: a.test\r\nAccept: */*\r\n\r\n");
    assert.equal(
      engine.lastRequest,
      "GET /a?b=c HTTP/1.1\r\nHost: a.test\r\nAccept: */*\r\n" +
        "X-Forwarded-For: 192.0.2.1\r\nX-Forwarded-Proto: http\r\nX-Forwarded-Host: a.test\r\n" +
        "Forwarded: for=192.0.2.1;host=a.test;proto=http\r\nVia: 1.1 array\r\n\r\n",
    );
    engine.server(OK);
    assert.equal(
      engine.record.toClient,
      "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nVia: 1.1 array\r\n" +
        "Set-Cookie: DLBA=t0; Path=/; HttpOnly\r\nCache-Control: private\r\n\r\nok",
    );
    assert.equal(engine.record.exchanges[0]!.isReusable, true);
    assert.equal(engine.state.phase, PHASE.idle);
    assert.deepEqual(engine.record.counts, ["request 0 1", "response 0 200"]);
  });

  it("takes the cookies of the vserver's other pools out, too, and goes by its own alone", () => {
    for (const scheduling of ["cookie", "url-hash"] as const) {
      const pools = [testPool({ scheduling, otherCookies: ["THEIRS"] })];
      const engine = createEngine({ env: testEnv({ pools }) });
      engine.client("GET / HTTP/1.1\r\nHost: a\r\nCookie: a=1; THEIRS=t2; b=2\r\nCookie: THEIRS=t1\r\n\r\n");
      assert.deepEqual(fieldsOf(engine.lastRequest).get("cookie"), ["a=1; b=2"]);
      assert.equal(engine.record.choices[0]!.token, "");
    }
  });

  it("says that a response with the cookie is for one client, if it doesn't say so itself", () => {
    for (const [said, isAdded] of [
      ["", true],
      ["Cache-Control: public, max-age=60\r\n", true],
      ["Cache-Control: max-age=60, private-ish\r\n", true],
      ["Cache-Control: max-age=60, Private\r\n", false],
      ["Cache-Control: max-age=1\r\ncache-control: no-store\r\n", false],
      ['Cache-Control: private="x-user"\r\n', true],
      ['Cache-Control: private="x-user, Set-Cookie"\r\n', false],
    ] as const) {
      const engine = createEngine();
      engine.client("GET / HTTP/1.1\r\nHost: a.test\r\n\r\n");
      engine.server(`HTTP/1.1 200 OK\r\n${said}Content-Length: 2\r\n\r\nok`);
      assert.equal(engine.record.toClient.includes("Cache-Control: private\r\n\r\n"), isAdded, said);
      engine.client("GET / HTTP/1.1\r\nHost: a.test\r\nCookie: DLBA=t0\r\n\r\n");
      const before = engine.record.toClient.length;
      engine.server(OK);
      assert.ok(!engine.record.toClient.slice(before).includes("Cache-Control"), "no cookie, no word of it");
    }
  });

  it("takes pipelined requests one after the other, each with its own web server", () => {
    const engine = createEngine();
    engine.client(GET + GET.replace("Host", "Cookie: DLBA=t2\r\nHost"));
    assert.equal(engine.record.exchanges.length, 1);
    assert.ok(engine.state.hasUnread);
    engine.server(OK);
    assert.deepEqual(
      engine.record.exchanges.map(({ server }) => server),
      [0, 2],
    );
    engine.server(OK);
    assert.deepEqual(statuses(engine.record.toClient), [200, 200]);
    assert.equal(engine.record.end, "");
  });

  it("closes after Connection: close, among other options too", () => {
    for (const value of ["close", "Close", "foo, close", "keep-alive, close"]) {
      const engine = createEngine();
      engine.client(GET.replace("\r\n\r\n", `\r\nConnection: ${value}\r\n\r\n`));
      engine.server(OK);
      assert.deepEqual(fieldsOf(engine.record.toClient).get("connection"), ["close"]);
      assert.equal(engine.record.end, "closed");
      assert.equal(engine.record.exchanges[0]!.isReusable, true);
    }
  });

  it("answers a client that has ended after its request", () => {
    const engine = createEngine();
    engine.client(GET + GET);
    engine.clientEnd();
    engine.server(OK);
    engine.server(OK);
    assert.deepEqual(statuses(engine.record.toClient), [200, 200]);
    assert.equal(engine.record.end, "closed");
  });

  it("passes over empty lines before a request, up to a bound", () => {
    const engine = createEngine();
    engine.client(`\r\n\r\n${GET}`);
    engine.server(OK);
    assert.deepEqual(statuses(engine.record.toClient), [200]);
    for (let request = 0; request < 5; request++) {
      engine.client(`\r\n${GET}`);
      engine.server(OK);
    }
    engine.client("\r\n".repeat(5) + GET);
    assert.deepEqual(statuses(engine.record.toClient), [200, 200, 200, 200, 200, 200, 400]);
  });

  it("says Connection: close to web servers whose connections are not kept", () => {
    const engine = createEngine({ env: testEnv({ pools: [testPool({ serverKeepAlive: false })] }) });
    engine.client(GET);
    assert.deepEqual(fieldsOf(engine.lastRequest).get("connection"), ["close"]);
    assert.equal(engine.record.exchanges[0]!.mayReuse, false);
    engine.server(OK);
    assert.equal(engine.record.exchanges[0]!.isReusable, false);
    assert.equal(engine.record.end, "");
  });
});

describe("HTTP/1.0 clients", () => {
  it("get a Host for them, and a close", () => {
    const engine = createEngine({ env: testEnv({ localPort: 8080 }) });
    engine.client("GET /x HTTP/1.0\r\n\r\n");
    assert.match(engine.lastRequest, /^GET \/x HTTP\/1\.1\r\nHost: 192\.0\.2\.10:8080\r\n/);
    assert.deepEqual(fieldsOf(engine.lastRequest).get("via"), ["1.0 array"]);
    engine.server(OK);
    assert.deepEqual(fieldsOf(engine.record.toClient).get("connection"), ["close"]);
    assert.equal(engine.record.end, "closed");
  });

  it("are kept when they ask for it", () => {
    const engine = createEngine();
    engine.client("GET /x HTTP/1.0\r\nHost: h\r\nConnection: Keep-Alive\r\n\r\n");
    engine.server(OK);
    assert.deepEqual(fieldsOf(engine.record.toClient).get("connection"), ["keep-alive"]);
    assert.equal(engine.record.end, "");
  });

  it("get chunked responses without chunks, ended by the close", () => {
    const engine = createEngine();
    engine.client("GET /x HTTP/1.0\r\nConnection: keep-alive\r\n\r\n");
    engine.server(
      "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\nT: 1\r\n\r\n",
    );
    assert.ok(engine.record.toClient.endsWith("\r\n\r\nabcde"));
    const fields = fieldsOf(engine.record.toClient);
    assert.equal(fields.get("transfer-encoding"), undefined);
    assert.deepEqual(fields.get("connection"), ["close"]);
    assert.equal(engine.record.end, "closed");
  });

  it("are not told of interim responses, and their Expect is passed over", () => {
    const engine = createEngine();
    engine.client("POST /x HTTP/1.0\r\nExpect: 100-continue\r\nContent-Length: 1\r\n\r\nx");
    assert.equal(fieldsOf(engine.lastRequest).get("expect"), undefined);
    engine.server("HTTP/1.1 103 Early Hints\r\n\r\n" + OK);
    assert.deepEqual(statuses(engine.record.toClient), [200]);
  });
});

describe("what belongs to one hop", () => {
  it("is dropped from requests, with the fields that Connection names", () => {
    const engine = createEngine();
    engine.client(
      "GET / HTTP/1.1\r\nConnection: keep-alive, X-Private, Upgrade\r\nKeep-Alive: timeout=5\r\nHost: a\r\n" +
        "X-Private: 1\r\nProxy-Connection: keep-alive\r\nUpgrade: websocket\r\nTE: gzip\r\nX-Public: 2\r\n\r\n",
    );
    const names = [...fieldsOf(engine.lastRequest).keys()];
    assert.deepEqual(names, [
      "host",
      "x-public",
      "x-forwarded-for",
      "x-forwarded-proto",
      "x-forwarded-host",
      "forwarded",
      "via",
    ]);
  });

  it("is dropped from responses, with the fields that Connection names", () => {
    const engine = createEngine();
    engine.client(GET);
    engine.server(
      "HTTP/1.1 200 OK\r\nConnection: X-A, keep-alive\r\nX-A: 1\r\nKeep-Alive: timeout=5\r\n" +
        "Upgrade: h2\r\nX-B: 2\r\nContent-Length: 0\r\n\r\n",
    );
    const names = [...fieldsOf(engine.record.toClient).keys()];
    assert.deepEqual(names, ["x-b", "content-length", "via", "set-cookie", "cache-control"]);
    assert.equal(engine.record.end, "");
  });

  it("but TE: trailers is handed on, since trailers are", () => {
    const engine = createEngine();
    engine.client("GET / HTTP/1.1\r\nHost: a\r\nTE: trailers, deflate;q=0.5\r\nConnection: TE\r\n\r\n");
    const fields = fieldsOf(engine.lastRequest);
    assert.deepEqual(fields.get("te"), ["trailers"]);
    assert.deepEqual(fields.get("connection"), ["TE"]);
  });

  it("keeps authentication, which is not of one hop unless named", () => {
    const engine = createEngine();
    engine.client(`${GET.slice(0, -2)}Proxy-Authorization: x\r\n\r\n`);
    assert.deepEqual(fieldsOf(engine.lastRequest).get("proxy-authorization"), ["x"]);
  });
});

describe("who a request comes from", () => {
  const FORGED =
    "GET / HTTP/1.1\r\nHost: a:8080\r\nX-Forwarded-For: 1.1.1.1\r\nX-Forwarded-For: 2.2.2.2\r\nForwarded: for=1.1.1.1\r\n" +
    "X-Forwarded-Proto: https\r\nX-Forwarded-Host: other\r\nX-Forwarded-Port: 1\r\n\r\n";

  it("replaces what an untrusted client says of it", () => {
    const engine = createEngine();
    engine.client(FORGED);
    const fields = fieldsOf(engine.lastRequest);
    assert.deepEqual(fields.get("x-forwarded-for"), ["192.0.2.1"]);
    assert.deepEqual(fields.get("forwarded"), ['for=192.0.2.1;host="a:8080";proto=http']);
    assert.deepEqual(fields.get("x-forwarded-proto"), ["http"]);
    assert.deepEqual(fields.get("x-forwarded-host"), ["a:8080"]);
    assert.equal(fields.get("x-forwarded-port"), undefined);
  });

  it("adds to what a trusted proxy says, and quotes IPv6", () => {
    const engine = createEngine({ env: testEnv({ isTrustedProxy: true, clientAddress: "2001:db8::1" }) });
    engine.client(FORGED);
    const fields = fieldsOf(engine.lastRequest);
    assert.deepEqual(fields.get("x-forwarded-for"), ["1.1.1.1, 2.2.2.2, 2001:db8::1"]);
    assert.deepEqual(fields.get("forwarded"), ['for=1.1.1.1, for="[2001:db8::1]";host="a:8080";proto=http']);
    assert.deepEqual(fields.get("x-forwarded-proto"), ["https"]);
    assert.deepEqual(fields.get("x-forwarded-host"), ["other"]);
    assert.deepEqual(fields.get("x-forwarded-port"), ["1"]);
  });

  it("appends to Via instead of replacing it", () => {
    const engine = createEngine();
    engine.client(`${GET.slice(0, -2)}Via: 1.0 first\r\n\r\n`);
    assert.deepEqual(fieldsOf(engine.lastRequest).get("via"), ["1.0 first", "1.1 array"]);
  });
});

describe("targets", () => {
  const rows: [string, string, string][] = [
    ["http://b.test/p?q", "GET /p?q", "b.test"],
    ["HTTP://b.test:81/p", "GET /p", "b.test:81"],
    ["http://b.test", "GET /", "b.test"],
    ["http://b.test?q=1", "GET /?q=1", "b.test"],
    ["http://[2001:db8::1]:8/", "GET /", "[2001:db8::1]:8"],
    ["//double", "GET //double", "a.test"],
    ["/%2e%2e/a|b", "GET /%2e%2e/a|b", "a.test"],
  ];
  for (const [target, line, host] of rows) {
    it(`${target} becomes ${line} at ${host}`, () => {
      const engine = createEngine();
      engine.client(`GET ${target} HTTP/1.1\r\nHost: a.test\r\n\r\n`);
      assert.ok(engine.lastRequest.startsWith(`${line} HTTP/1.1\r\n`));
      assert.deepEqual(fieldsOf(engine.lastRequest).get("host"), [host]);
      assert.deepEqual(fieldsOf(engine.lastRequest).get("x-forwarded-host"), [host]);
    });
  }

  it("takes * for OPTIONS, whole URLs without a path too", () => {
    for (const target of ["*", "http://a.test"]) {
      const engine = createEngine();
      engine.client(`OPTIONS ${target} HTTP/1.1\r\nHost: a.test\r\n\r\n`);
      assert.ok(engine.lastRequest.startsWith("OPTIONS * HTTP/1.1\r\n"));
    }
  });

  it("hashes path and query alike in both forms", () => {
    const hashes = ["/p?q", "http://x/p?q", "http://x?q", "/?q"].map((target) => {
      const engine = createEngine({ env: testEnv({ pools: [testPool({ scheduling: "url-hash" })] }) });
      engine.client(`GET ${target} HTTP/1.1\r\nHost: a\r\n\r\n`);
      engine.server(OK);
      assert.equal(fieldsOf(engine.record.toClient).get("set-cookie"), undefined);
      assert.deepEqual(engine.record.counts[0], "request 0 2");
      return engine.record.choices[0]!.hash;
    });
    assert.equal(hashes[0], hashes[1]);
    assert.equal(hashes[2], hashes[3]);
    assert.notEqual(hashes[0], hashes[2]);
  });
});

describe("the injected cookie", () => {
  const rows: [string, string, string | undefined][] = [
    ["DLBA=t1", "t1", undefined],
    ["DLBA=t1; a=b", "t1", "a=b"],
    ["a=b; DLBA=t1", "t1", "a=b"],
    ["a=b; DLBA=t1; c=d", "t1", "a=b; c=d"],
    ["a=b;DLBA=t1;c=d", "t1", "a=b;c=d"],
    ["XDLBA=t1; a=b", "", "XDLBA=t1; a=b"],
    ["a=DLBA=t1", "", "a=DLBA=t1"],
    ["dlba=t1", "", "dlba=t1"],
    ["DLBA=t1; DLBA=t2", "t1", undefined],
    ["DLBA=", "", undefined],
    ["a=1;  b=2 ; DLBA=t1 ", "t1", "a=1;  b=2 "],
    ["DLBA=forged; a=1", "forged", "a=1"],
  ];
  for (const [sent, token, kept] of rows) {
    it(`is found in "${sent}" and taken out`, () => {
      const engine = createEngine();
      engine.client(`GET / HTTP/1.1\r\nHost: a\r\nCookie: ${sent}\r\nX: y\r\n\r\n`);
      assert.equal(engine.record.choices[0]!.token, token);
      assert.deepEqual(fieldsOf(engine.lastRequest).get("cookie"), kept === undefined ? undefined : [kept]);
      engine.server(OK);
      const named = token === "t1";
      assert.equal(fieldsOf(engine.record.toClient).has("set-cookie"), !named);
      assert.equal(engine.record.counts[0], named ? "request 1 0" : "request 0 1");
    });
  }

  it("is set anew when the web server that it names is not the one that answers", () => {
    const engine = createEngine({ refusing: [1] });
    engine.client("GET / HTTP/1.1\r\nHost: a\r\nCookie: DLBA=t1\r\n\r\n");
    engine.server(OK);
    assert.match(engine.record.toClient, /Set-Cookie: DLBA=t0;/);
  });

  it("is left alone where URLs are hashed", () => {
    const engine = createEngine({ env: testEnv({ pools: [testPool({ scheduling: "url-hash" })] }) });
    engine.client("GET / HTTP/1.1\r\nHost: a\r\nCookie: DLBA=t1\r\n\r\n");
    assert.deepEqual(fieldsOf(engine.lastRequest).get("cookie"), ["DLBA=t1"]);
  });
});

describe("host names", () => {
  const env = testEnv({ hosts: ["www.example.org", "*.example.com"] });
  const rows: [string, boolean][] = [
    ["www.example.org", true],
    ["WWW.Example.ORG:8080", true],
    ["www.example.org.", true],
    ["a.example.com", true],
    ["a.b.example.com", true],
    ["example.com", false],
    ["badexample.com", false],
    ["www.example.org.evil", false],
    [".example.com", false],
  ];
  for (const [host, isServed] of rows) {
    it(`${host} is ${isServed ? "served" : "not served"}`, () => {
      const engine = createEngine({ env });
      engine.client(`GET / HTTP/1.1\r\nHost: ${host}\r\n\r\n`);
      assert.deepEqual(statuses(engine.record.toClient), isServed ? [] : [404]);
      assert.equal(engine.isConnected, isServed);
    });
  }

  it("are taken from a whole URL before Host", () => {
    const engine = createEngine({ env });
    engine.client("GET http://x.example.com/ HTTP/1.1\r\nHost: other\r\n\r\n");
    assert.ok(engine.isConnected);
  });

  it("a 404 keeps the connection for the next request", () => {
    const engine = createEngine({ env });
    engine.client(`${GET}GET / HTTP/1.1\r\nHost: www.example.org\r\n\r\n`);
    engine.server(OK);
    assert.deepEqual(statuses(engine.record.toClient), [404, 200]);
  });

  it("a 404 that closes says whether there is more to read away", () => {
    for (const [behind, lingers] of [
      ["", false],
      [GET, true],
    ] as const) {
      const engine = createEngine({ env });
      engine.client(GET.replace("\r\n\r\n", "\r\nConnection: close\r\n\r\n") + behind);
      assert.equal(engine.record.end, "closed");
      assert.equal(engine.record.lingers, lingers);
      assert.equal(engine.offerOnly(Buffer.from(GET)), GET.length, "what comes after the end is taken");
    }
  });

  it("closes after a number of own answers, so that asking for them stays dear", () => {
    const engine = createEngine({ env });
    engine.client(GET.repeat(40));
    assert.equal(statuses(engine.record.toClient).length, 16);
    assert.equal(engine.record.end, "closed");
  });
});
