/** WebSockets through a session: what is an upgrade, what is none, and how a tunnel ends. */
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { acceptValue } from "../../dlba-server/http/websocket.ts";
import { PHASE } from "../../dlba-server/session-port.ts";
import { createEngine, type EngineOptions, fieldsOf, statuses, testEnv, testPool } from "./recorder-port.ts";

const KEY = "dGhlIHNhbXBsZSBub25jZQ==";
const FIELDS = {
  Host: "a.test",
  Connection: "Upgrade",
  Upgrade: "websocket",
  "Sec-WebSocket-Version": "13",
  "Sec-WebSocket-Key": KEY,
} as const;

function asking(
  changes: Readonly<Record<string, string | undefined>> = {},
  line = "GET /chat HTTP/1.1",
): string {
  const fields = Object.entries<string | undefined>({ ...FIELDS, ...changes });
  return `${line}\r\n${fields.map(([name, value]) => (value === undefined ? "" : `${name}: ${value}\r\n`)).join("")}\r\n`;
}
function granting(changes: Readonly<Record<string, string | undefined>> = {}): string {
  const fields = {
    Connection: "upgrade",
    Upgrade: "WebSocket",
    "Sec-WebSocket-Accept": acceptValue(KEY),
    ...changes,
  };
  const lines = Object.entries<string | undefined>(fields).map(([name, value]) =>
    value === undefined ? "" : `${name}: ${value}\r\n`,
  );
  return `HTTP/1.1 101 Switching Protocols\r\n${lines.join("")}\r\n`;
}
const OK = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

function tunnel(options: EngineOptions = {}): ReturnType<typeof createEngine> {
  const engine = createEngine(options);
  engine.client(asking());
  engine.server(granting());
  return engine;
}

test("RFC 6455's own example of a key and its answer", () => {
  assert.equal(acceptValue(KEY), "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
});

describe("an upgrade", () => {
  test("goes on as one, is granted, and bytes go both ways", () => {
    const engine = createEngine();
    engine.client(asking());
    const asked = fieldsOf(engine.lastRequest);
    assert.deepEqual(
      ["connection", "upgrade", "sec-websocket-key", "sec-websocket-version"].map((name) => asked.get(name)),
      [["Upgrade"], ["websocket"], [KEY], ["13"]],
    );
    assert.equal(asked.get("x-forwarded-for")?.[0], "192.0.2.1");
    engine.server(`${granting()}hello`);
    const answered = fieldsOf(engine.record.toClient);
    assert.deepEqual(answered.get("connection"), ["Upgrade"]);
    assert.deepEqual(answered.get("upgrade"), ["websocket"]);
    assert.deepEqual(answered.get("sec-websocket-accept"), [acceptValue(KEY)]);
    assert.match(answered.get("set-cookie")?.[0] ?? "", /^DLBA=t0/);
    assert.ok(engine.record.toClient.endsWith("\r\n\r\nhello"));
    engine.client("\x81\x05world");
    assert.ok(engine.lastRequest.endsWith("\r\n\r\n\x81\x05world"));
    assert.deepEqual(engine.record.counts, ["request 0 1", "response 0 101", "tunnel"]);
    assert.equal(engine.state.phase, PHASE.tunnel);
  });

  test("is the same however its bytes are cut", () => {
    const whole = tunnel();
    const [toServer, toClient] = ["to the web server", "to the client"];
    whole.client(toServer);
    whole.server(toClient);
    for (const revives of [false, true]) {
      const engine = createEngine({ revives });
      for (const byte of asking()) engine.client(byte);
      for (const byte of granting() + toClient) engine.server(byte);
      for (const byte of toServer) engine.client(byte);
      assert.equal(engine.lastRequest, whole.lastRequest);
      assert.equal(engine.record.toClient, whole.record.toClient);
    }
  });

  test("what the client sends with its request waits for the 101", () => {
    const engine = createEngine({ readsAhead: true });
    engine.client(`${asking()}too early`);
    assert.ok(!engine.lastRequest.includes("too early"));
    engine.server(granting());
    assert.ok(engine.lastRequest.endsWith("\r\n\r\ntoo early"));
  });

  test("what follows one that is not granted is read as the next request", () => {
    for (const refusal of ["HTTP/1.1 426 Upgrade Required\r\nContent-Length: 0\r\n\r\n", OK]) {
      const engine = createEngine({ readsAhead: true });
      engine.client(`${asking()}GET /secret HTTP/1.1\r\nHost: a.test\r\nX-Forwarded-For: 127.0.0.1\r\n\r\n`);
      engine.server(refusal);
      const { exchanges } = engine.record;
      assert.equal(exchanges.length, 2);
      assert.ok(!exchanges[0]!.text.includes("/secret"));
      // As a request of this client's, and not as whatever it says it is.
      assert.match(exchanges[1]!.text, /^GET \/secret HTTP\/1\.1\r\n/);
      assert.deepEqual(fieldsOf(exchanges[1]!.text).get("x-forwarded-for"), ["192.0.2.1"]);
    }
  });
});

describe("no upgrade", () => {
  const plain: [string, string, EngineOptions?][] = [
    ["another protocol", asking({ Upgrade: "h2c" })],
    ["a list of protocols", asking({ Upgrade: "websocket, h2c" })],
    ["Upgrade twice", asking({ Upgrade: "websocket\r\nUpgrade: websocket" })],
    ["Connection does not say so", asking({ Connection: "keep-alive" })],
    ["no key", asking({ "Sec-WebSocket-Key": undefined })],
    ["a key of another length", asking({ "Sec-WebSocket-Key": "dGhlIHNhbXBsZQ==" })],
    ["two keys", asking({ "Sec-WebSocket-Key": `${KEY}\r\nSec-WebSocket-Key: ${KEY}` })],
    ["another version", asking({ "Sec-WebSocket-Version": "8" })],
    ["no version", asking({ "Sec-WebSocket-Version": undefined })],
    [
      "another method",
      asking({}, "POST /chat HTTP/1.1").replace("\r\n\r\n", "\r\nContent-Length: 0\r\n\r\n"),
    ],
    ["a body", `${asking({ "Content-Length": "2" })}hi`],
    ["Expect", asking({ Expect: "100-continue" })],
    ["HTTP/1.0", asking({}, "GET /chat HTTP/1.0")],
    ["a vserver that has none", asking(), { env: testEnv({ takesWebsockets: false }) }],
  ];
  for (const [what, text, options] of plain) {
    test(`${what}: the request goes on without it, and a 101 is not believed`, () => {
      const engine = createEngine(options);
      engine.client(text);
      const asked = fieldsOf(engine.lastRequest);
      assert.equal(asked.get("upgrade"), undefined);
      assert.notDeepEqual(asked.get("connection"), ["Upgrade"]);
      engine.server(granting());
      assert.deepEqual(statuses(engine.record.toClient), [502]);
      assert.equal(engine.record.exchanges[0]!.isReusable, false);
    });
  }

  const wrong: [string, string][] = [
    ["the answer to another key", granting({ "Sec-WebSocket-Accept": acceptValue("x") })],
    ["no answer to the key", granting({ "Sec-WebSocket-Accept": undefined })],
    ["another protocol", granting({ Upgrade: "h2c" })],
    ["no Upgrade", granting({ Upgrade: undefined })],
    ["no Connection", granting({ Connection: undefined })],
  ];
  for (const [what, text] of wrong) {
    test(`a 101 with ${what} is a 502, and no byte of the client's goes on`, () => {
      const engine = createEngine({ readsAhead: true });
      engine.client(`${asking()}hello`);
      engine.server(text);
      assert.equal(statuses(engine.record.toClient)[0], 502);
      assert.ok(!engine.record.exchanges[0]!.text.includes("hello"));
      assert.equal(engine.record.exchanges[0]!.isReusable, false);
    });
  }

  test("a second 101, inside of a tunnel, is only bytes", () => {
    const engine = tunnel();
    engine.server(granting());
    assert.ok(engine.record.toClient.endsWith(granting()));
  });
});

/** How the requests of an engine have ended. */
const ends = (engine: ReturnType<typeof createEngine>): string[] => engine.record.ends.map(({ end }) => end);

describe("a tunnel's end", () => {
  test("the client ends first: the web server hears of it, and its last words arrive", () => {
    const engine = tunnel();
    engine.clientEnd();
    assert.deepEqual(engine.record.halves, ["server"]);
    engine.server("last words");
    engine.serverEnd();
    assert.ok(engine.record.toClient.endsWith("last words"));
    assert.deepEqual([engine.record.end, ...ends(engine)], ["closed", "done"]);
    assert.equal(engine.record.exchanges[0]!.isReusable, false);
  });

  test("the web server ends first: the client hears of it, and its last words arrive", () => {
    const engine = tunnel();
    engine.serverEnd();
    assert.deepEqual(engine.record.halves, ["client"]);
    assert.equal(engine.record.end, "");
    engine.client("last words");
    assert.ok(engine.lastRequest.endsWith("last words"));
    engine.clientEnd();
    assert.deepEqual([engine.record.end, ...ends(engine)], ["closed", "done"]);
    assert.equal(engine.record.exchanges[0]!.isReusable, false);
  });

  test("the web server is lost: the client is cut off", () => {
    const engine = tunnel();
    engine.serverLost();
    assert.deepEqual([engine.record.end, ...ends(engine)], ["aborted", "cut"]);
    assert.ok(engine.record.counts.includes("failure 0"));
  });

  test("the client is lost: the web server's connection is closed", () => {
    const engine = tunnel();
    engine.clientLost();
    assert.deepEqual(ends(engine), ["lost"]);
    assert.equal(engine.record.exchanges[0]!.isReusable, false);
  });

  test("silence for too long: both are closed", () => {
    const engine = tunnel();
    engine.timeout();
    assert.deepEqual([engine.record.end, ...ends(engine)], ["closed", "cut"]);
    assert.equal(engine.record.exchanges[0]!.isReusable, false);
  });

  test("a worker that drains lets it go on", () => {
    const engine = tunnel();
    engine.drain();
    engine.client("more");
    assert.ok(engine.lastRequest.endsWith("more"));
    assert.equal(engine.record.end, "");
  });

  test("a pool that has no upgrades is not asked: 501, and nothing of the client's is read any more", () => {
    const engine = createEngine({ env: testEnv({ pools: [testPool({ takesUpgrades: false })] }) });
    engine.client(asking());
    assert.deepEqual(statuses(engine.record.toClient), [501]);
    assert.deepEqual(
      engine.record.refused.map(([, status, , isWhole]) => [status, isWhole]),
      [[501, true]],
    );
    assert.equal(engine.record.exchanges.length, 0);
    assert.equal(engine.record.end, "closed");
  });

  test("a web server that closes before its answer is another one's turn", () => {
    const engine = createEngine({ env: testEnv({ pools: [testPool({ serverKeepAlive: false })] }) });
    engine.client(asking());
    engine.serverEnd();
    engine.server(granting());
    assert.equal(engine.record.exchanges.length, 2);
    assert.equal(engine.state.phase, PHASE.tunnel);
  });
});
