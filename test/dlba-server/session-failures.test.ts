import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { MAX_TRIES } from "../../conf/limits.ts";
import { createEngine, fieldsOf, OK, statuses } from "./recorder-port.ts";

const GET = "GET / HTTP/1.1\r\nHost: a.test\r\n\r\n";
const POST = "POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: 4\r\n\r\n";
const PUT = POST.replace("POST", "PUT");

const servers = (engine: ReturnType<typeof createEngine>): number[] =>
  engine.record.exchanges.map(({ server }) => server);

describe("a web server that can't be connected", () => {
  it("is passed over, also for requests that may not be sent twice", () => {
    for (const request of [GET, `${POST}body`]) {
      const engine = createEngine({ refusing: [0, 1] });
      engine.client(request);
      assert.deepEqual(servers(engine), [2]);
      if (request !== GET) assert.ok(engine.lastRequest.endsWith("\r\n\r\nbody"));
      engine.server(OK);
      assert.deepEqual(statuses(engine.record.toClient), [200]);
    }
  });

  it("with a body that nobody takes: 503, and the connection closes", () => {
    const engine = createEngine({ refusing: [0, 1, 2] });
    engine.client(`${POST}body`);
    assert.deepEqual(statuses(engine.record.toClient), [503]);
    assert.deepEqual(fieldsOf(engine.record.toClient).get("connection"), ["close"]);
    assert.equal(engine.record.end, "closed");
  });

  it("is told of by the page that there is for it", () => {
    const page = "<h1>Zur\u00c3\u00bcck um 9</h1>";
    const pages = new Map([[503, page]]);
    const engine = createEngine({ refusing: [0, 1, 2], pages });
    engine.client(GET);
    const { toClient } = engine.record;
    assert.ok(toClient.endsWith(`\r\n\r\n${page}`));
    assert.deepEqual(fieldsOf(toClient).get("content-type"), ["text/html; charset=utf-8"]);
    assert.deepEqual(fieldsOf(toClient).get("content-length"), [String(page.length)]);
    const other = createEngine({ pages });
    other.client("GET / HTTP/9.9\r\n\r\n");
    assert.deepEqual(fieldsOf(other.record.toClient).get("content-type"), ["text/plain"]);
  });

  it("is passed over a bounded number of times", () => {
    const refusing = Array.from({ length: 20 }, (_, server) => server);
    const engine = createEngine({ servers: 20, refusing });
    engine.client(GET);
    assert.equal(engine.record.choices.length, MAX_TRIES);
    assert.deepEqual(statuses(engine.record.toClient), [503]);
  });

  it("or whose time-out reaches the session, is passed over too", () => {
    const engine = createEngine({ isConnectHeld: true });
    engine.client(GET);
    engine.timeout();
    engine.connected();
    assert.deepEqual(servers(engine), [1]);
  });
});

describe("a connected web server that closes without an answer", () => {
  it("is asked anew on a new connection when the connection was reused", () => {
    const engine = createEngine({ hasIdle: true });
    engine.client(GET);
    engine.serverEnd();
    assert.deepEqual(servers(engine), [0, 0]);
    assert.deepEqual(
      engine.record.exchanges.map(({ mayReuse }) => mayReuse),
      [true, false],
    );
    assert.equal(engine.record.exchanges[1]!.text, engine.record.exchanges[0]!.text);
    engine.server(OK);
    assert.deepEqual(statuses(engine.record.toClient), [200]);
    assert.deepEqual(engine.record.counts, ["request 0 1", "response 0 200"]);
  });

  it("is left for another one when the connection was new", () => {
    const engine = createEngine();
    engine.client(GET);
    engine.serverEnd();
    assert.deepEqual(servers(engine), [0, 1]);
    engine.server(OK);
    assert.match(engine.record.toClient, /DLBA=t1/);
  });

  it("costs an idempotent request a 502 when all have done so", () => {
    const engine = createEngine();
    engine.client(GET);
    for (let server = 0; server < 3; server++) engine.serverEnd();
    assert.deepEqual(servers(engine), [0, 1, 2]);
    assert.deepEqual(statuses(engine.record.toClient), [502]);
    assert.equal(engine.record.end, "");
  });

  it("costs any other request a 502 at once", () => {
    for (const request of [`${POST}body`, `${PUT}body`, POST.replace("4", "0")]) {
      const engine = createEngine({ hasIdle: true });
      engine.client(request);
      engine.serverEnd();
      assert.deepEqual(servers(engine), [0]);
      assert.deepEqual(statuses(engine.record.toClient), [502]);
    }
  });

  it("gets a PUT whose body has not begun sent again, with its body", () => {
    const engine = createEngine();
    engine.client(PUT);
    engine.serverEnd();
    engine.client("body");
    assert.deepEqual(servers(engine), [0, 1]);
    assert.ok(engine.lastRequest.endsWith("\r\n\r\nbody"));
  });

  it("after an interim response gets no second request", () => {
    const engine = createEngine();
    engine.client(GET);
    engine.server("HTTP/1.1 103 Early Hints\r\n\r\n");
    engine.serverEnd();
    assert.deepEqual(statuses(engine.record.toClient), [103, 502]);
  });
});

describe("time-outs", () => {
  it("of an idle or silent connection close it without a word", () => {
    const fresh = createEngine();
    fresh.timeout();
    assert.deepEqual([fresh.record.toClient, fresh.record.end], ["", "closed"]);
    const idle = createEngine();
    idle.client(GET);
    idle.server(OK);
    const before = idle.record.toClient;
    idle.timeout();
    assert.deepEqual([idle.record.toClient, idle.record.end], [before, "closed"]);
    assert.equal(idle.state.isRequestDone, true, "nothing is left to read away");
  });

  it("of a half request head: 408", () => {
    const engine = createEngine();
    engine.client("GET / HTTP/1.1\r\nHo");
    engine.timeout();
    assert.deepEqual(statuses(engine.record.toClient), [408]);
    assert.equal(engine.record.end, "closed");
  });

  it("of a half request body: 408, and the web server's connection is not reused", () => {
    const engine = createEngine();
    engine.client(`${POST}bo`);
    engine.timeout();
    assert.deepEqual(statuses(engine.record.toClient), [408]);
    assert.equal(engine.record.exchanges[0]!.isReusable, false);
    assert.equal(engine.record.end, "closed");
  });

  it("of a response head: 504, and the client is kept when its request was whole", () => {
    for (const [request, end] of [
      [GET, ""],
      [`${POST}body`, ""],
    ] as const) {
      const engine = createEngine();
      engine.client(request);
      engine.timeout();
      assert.deepEqual(statuses(engine.record.toClient), [504]);
      assert.equal(engine.record.end, end);
      assert.equal(engine.record.exchanges[0]!.isReusable, false);
    }
  });
});

describe("a client that goes", () => {
  it("in the middle of a head: 400 for those who can still hear it", () => {
    const engine = createEngine();
    engine.client("GET / HT");
    engine.clientEnd();
    assert.deepEqual(statuses(engine.record.toClient), [400]);
    assert.equal(engine.record.end, "closed");
  });

  it("before any: no word", () => {
    const engine = createEngine();
    engine.clientEnd();
    assert.deepEqual([engine.record.toClient, engine.record.end], ["", "closed"]);
  });

  it("in the middle of a body: 400, the web server sees it broken off", () => {
    for (const readsAhead of [false, true]) {
      const engine = createEngine({ readsAhead });
      engine.client(`${POST}bo`);
      engine.clientEnd();
      assert.deepEqual(statuses(engine.record.toClient), [400]);
      assert.equal(engine.record.exchanges[0]!.isReusable, false);
    }
  });

  it("in the middle of a body whose response has begun: cut", () => {
    const engine = createEngine();
    engine.client(`${POST}bo`);
    engine.server("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n");
    engine.clientEnd();
    assert.equal(engine.record.end, "aborted");
  });

  it("while a web server is being connected, its whole request read ahead: answered", () => {
    const engine = createEngine({ isConnectHeld: true, readsAhead: true });
    engine.client(`${POST}body`);
    engine.clientEnd();
    engine.connected();
    engine.server(OK);
    assert.deepEqual(statuses(engine.record.toClient), [200]);
    assert.equal(engine.record.end, "closed");
  });

  it("with a pipelined half request behind: answered, then 400", () => {
    for (const readsAhead of [false, true]) {
      const engine = createEngine({ readsAhead });
      engine.client(`${GET}GET /half`);
      engine.clientEnd();
      engine.server(OK);
      assert.deepEqual(statuses(engine.record.toClient), [200, 400]);
      assert.equal(engine.record.end, "closed");
    }
  });

  it("by a reset: the web server's connection is closed, and late inputs do nothing", () => {
    for (const isConnectHeld of [false, true]) {
      const engine = createEngine({ isConnectHeld });
      engine.client(GET);
      engine.clientLost();
      assert.equal(engine.record.toClient, "");
      assert.equal(engine.isConnected, false);
      if (!isConnectHeld) assert.equal(engine.record.exchanges[0]!.isReusable, false);
      engine.clientLost();
      engine.clientEnd();
      engine.timeout();
      engine.serverEnd();
      assert.equal(engine.record.toClient, "");
    }
  });
});
