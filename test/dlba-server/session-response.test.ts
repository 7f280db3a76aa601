import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { PHASE } from "../../dlba-server/session-port.ts";
import { createEngine, fieldsOf, OK, statuses, testEnv } from "./recorder-port.ts";

const GET = "GET / HTTP/1.1\r\nHost: a.test\r\n\r\n";
const HEAD = GET.replace("GET", "HEAD");

/** What a client gets for a request when the web server sends `response` (and then ends, if told so). */
function relay(response: string, request = GET, ends = false) {
  const engine = createEngine();
  engine.client(request);
  engine.server(response);
  if (ends) engine.serverEnd();
  return engine;
}

describe("where a response ends", () => {
  const rows: { name: string; request?: string; response: string; body: string; isKept: boolean }[] = [
    { name: "after its length", response: OK, body: "ok", isKept: true },
    {
      name: "after a length of 0",
      response: "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
      body: "",
      isKept: true,
    },
    {
      name: "after its last chunk",
      response: "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2;a=b\r\nok\r\n0\r\nX-T: 1\r\n\r\n",
      body: "2;a=b\r\nok\r\n0\r\nX-T: 1\r\n\r\n",
      isKept: true,
    },
    {
      name: "after the head for HEAD with a length",
      request: HEAD,
      response: "HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n",
      body: "",
      isKept: true,
    },
    {
      name: "after the head for HEAD with chunks",
      request: HEAD,
      response: "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
      body: "",
      isKept: true,
    },
    {
      name: "after the head for HEAD with nothing",
      request: HEAD,
      response: "HTTP/1.1 200 OK\r\n\r\n",
      body: "",
      isKept: true,
    },
    { name: "after the head for 204", response: "HTTP/1.1 204 No Content\r\n\r\n", body: "", isKept: true },
    {
      name: "after the head for 304",
      response: "HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n",
      body: "",
      isKept: true,
    },
    {
      name: "without a reason",
      response: "HTTP/1.1 200\r\nContent-Length: 1\r\n\r\nx",
      body: "x",
      isKept: true,
    },
  ];
  for (const { name, request, response, body, isKept } of rows) {
    it(name, () => {
      const engine = relay(response, request);
      assert.equal(engine.record.toClient.slice(engine.record.toClient.indexOf("\r\n\r\n") + 4), body);
      assert.equal(engine.record.exchanges[0]!.isReusable, isKept);
      assert.equal(engine.state.phase, PHASE.idle);
    });
  }

  it("with the connection, when nothing else says so", () => {
    const engine = relay("HTTP/1.1 200 OK\r\n\r\nsome", GET);
    engine.server(" more");
    assert.equal(engine.record.end, "");
    engine.serverEnd();
    assert.ok(engine.record.toClient.endsWith("\r\n\r\nsome more"));
    assert.deepEqual(fieldsOf(engine.record.toClient).get("connection"), ["close"]);
    assert.equal(engine.record.end, "closed");
  });

  it("a 204 loses its length, which it may not have", () => {
    const engine = relay("HTTP/1.1 204 No Content\r\nContent-Length: 0\r\n\r\n");
    assert.equal(fieldsOf(engine.record.toClient).get("content-length"), undefined);
  });

  it("a web server that sends more than its response is not used again", () => {
    for (const more of ["x", OK]) {
      const engine = relay(OK + more);
      assert.deepEqual(statuses(engine.record.toClient), [200]);
      assert.equal(engine.record.exchanges[0]!.isReusable, false);
    }
  });

  it("a web server that closes, or speaks HTTP/1.0, is not used again", () => {
    for (const response of [
      "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 0\r\n\r\n",
      "HTTP/1.0 200 OK\r\nContent-Length: 0\r\n\r\n",
    ]) {
      const engine = relay(response);
      assert.equal(engine.record.exchanges[0]!.isReusable, false);
      assert.equal(engine.record.end, "");
      assert.ok(engine.record.toClient.startsWith("HTTP/1.1 200 OK\r\n"));
    }
    const kept = relay("HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 0\r\n\r\n");
    assert.equal(kept.record.exchanges[0]!.isReusable, true);
    assert.deepEqual(fieldsOf(kept.record.toClient).get("via"), ["1.0 array"]);
  });
});

describe("a response that can't be relayed gets its client a 502", () => {
  const rows: [string, string][] = [
    ["no HTTP", "SSH-2.0-OpenSSH_9.2\r\n"],
    ["a bare LF", "HTTP/1.1 200 OK\nContent-Length: 0\n\n"],
    ["two lengths", "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\nx"],
    ["a list of lengths", "HTTP/1.1 200 OK\r\nContent-Length: 1, 1\r\n\r\nx"],
    [
      "length and chunks",
      "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    ],
    ["another coding", "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n"],
    ["chunks over HTTP/1.0", "HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"],
    ["an upgrade nobody asked for", "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\r\n"],
    ["a folded line", "HTTP/1.1 200 OK\r\nA: b\r\n c\r\n\r\n"],
    ["a space before the colon", "HTTP/1.1 200 OK\r\nContent-Length : 0\r\n\r\n"],
    ["a NUL", "HTTP/1.1 200 OK\r\nA: \0\r\n\r\n"],
    ["a status of 600", "HTTP/1.1 600 Odd\r\n\r\n"],
    ["a status of 20", "HTTP/1.1 20 Odd\r\n\r\n"],
    ["HTTP/2.0", "HTTP/2.0 200 OK\r\n\r\n"],
    [
      "Connection: Content-Length",
      "HTTP/1.1 200 OK\r\nConnection: content-length\r\nContent-Length: 0\r\n\r\n",
    ],
    ["a head without end", `HTTP/1.1 200 OK\r\nA: ${"x".repeat(9000)}`],
    ["too many fields", `HTTP/1.1 200 OK\r\n${"A: b\r\n".repeat(129)}\r\n`],
    ["too many interim responses", "HTTP/1.1 103 Hints\r\n\r\n".repeat(17)],
  ];
  for (const [name, response] of rows) {
    it(name, () => {
      const engine = relay(response);
      assert.equal(statuses(engine.record.toClient).at(-1), 502);
      assert.equal(engine.record.exchanges[0]!.isReusable, false);
      assert.equal(engine.record.end, "", "the client is kept: its request was whole");
      assert.ok(engine.record.counts.includes("failure 0"));
      const inPieces = createEngine();
      inPieces.client(GET);
      for (const byte of Buffer.from(response, "latin1")) {
        if (inPieces.isConnected) inPieces.server(Buffer.from([byte]));
      }
      assert.equal(inPieces.record.toClient, engine.record.toClient);
    });
  }

  it("an end in the middle of the head", () => {
    const engine = relay("HTTP/1.1 200 OK\r\nConte", GET, true);
    assert.deepEqual(statuses(engine.record.toClient), [502]);
    engine.client(GET);
    engine.server(OK);
    assert.deepEqual(statuses(engine.record.toClient), [502, 200], "the half head is forgotten");
  });
});

describe("a response that breaks off is cut, so that it can't pass for whole", () => {
  const rows: [string, string][] = [
    ["within its length", "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc"],
    ["within a chunk", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nab"],
    ["before the last chunk", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n"],
    ["within trailers", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nA: b\r\n"],
  ];
  for (const [name, response] of rows) {
    it(name, () => {
      const engine = relay(response, GET, true);
      assert.equal(engine.record.end, "aborted");
      assert.equal(engine.record.exchanges[0]!.isReusable, false);
    });
  }

  it("at a chunk that is none", () => {
    const engine = relay("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nabX");
    assert.equal(engine.record.end, "aborted");
  });

  it("at its time-out", () => {
    const engine = relay("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc");
    engine.timeout();
    assert.equal(engine.record.end, "aborted");
  });
});

describe("interim responses", () => {
  const POST = "POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 4\r\n\r\n";

  it("100 lets the body come", () => {
    const engine = createEngine();
    engine.client(POST);
    assert.deepEqual(fieldsOf(engine.lastRequest).get("expect"), ["100-continue"]);
    assert.equal(engine.state.phase, PHASE.responseHead);
    engine.server("HTTP/1.1 100 Continue\r\n\r\n");
    assert.equal(engine.record.toClient, "HTTP/1.1 100 Continue\r\nVia: 1.1 array\r\n\r\n");
    assert.equal(engine.state.phase, PHASE.requestBody);
    engine.client("body");
    assert.ok(engine.lastRequest.endsWith("\r\n\r\nbody"));
    assert.equal(engine.state.phase, PHASE.responseHead);
    engine.server(OK);
    assert.deepEqual(statuses(engine.record.toClient), [100, 200]);
    assert.equal(engine.record.end, "");
  });

  it("a final response instead of 100 closes, since the body is unread", () => {
    const engine = createEngine();
    engine.client(POST);
    engine.server("HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n");
    assert.deepEqual(fieldsOf(engine.record.toClient).get("connection"), ["close"]);
    assert.equal(engine.record.end, "closed");
    assert.equal(engine.record.exchanges[0]!.isReusable, false);
  });

  it("a body that comes without waiting for 100 goes on", () => {
    const engine = createEngine();
    engine.client(`${POST}bo`);
    assert.equal(engine.state.phase, PHASE.requestBody);
    engine.client("dy");
    engine.server("HTTP/1.1 100 Continue\r\n\r\n" + OK);
    assert.deepEqual(statuses(engine.record.toClient), [100, 200]);
    assert.equal(engine.record.exchanges[0]!.isReusable, true);
  });

  it("103 passes, several times", () => {
    const hint = "HTTP/1.1 103 Early Hints\r\nLink: </a.css>\r\n\r\n";
    const engine = relay(hint + hint + OK);
    assert.deepEqual(statuses(engine.record.toClient), [103, 103, 200]);
    assert.equal(
      engine.record.toClient.match(/Set-Cookie/g)?.length,
      1,
      "the cookie comes with the final response",
    );
  });
});

describe("a response that comes before the request is whole", () => {
  const POST = "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 6\r\n\r\n";

  it("goes on beside the body; the connection closes after it", () => {
    const engine = createEngine();
    engine.client(`${POST}abc`);
    engine.server("HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\n123");
    assert.deepEqual(fieldsOf(engine.record.toClient).get("connection"), ["close"]);
    engine.client("def");
    assert.ok(engine.lastRequest.endsWith("abcdef"));
    engine.server("456");
    assert.ok(engine.record.toClient.endsWith("123456"));
    assert.equal(engine.record.end, "closed");
    assert.equal(engine.record.exchanges[0]!.isReusable, true);
  });

  it("and ends first: what is left of the request is nobody's", () => {
    const engine = createEngine();
    engine.client(`${POST}abc`);
    engine.server("HTTP/1.1 413 Content Too Large\r\nContent-Length: 0\r\n\r\n");
    assert.equal(engine.record.end, "closed");
    assert.equal(engine.record.exchanges[0]!.isReusable, false);
    assert.equal(engine.state.isRequestDone, false, "so the engine reads the rest away");
  });
});

describe("draining", () => {
  it("closes an idle connection at once, and one in a request after the answer", () => {
    const engine = createEngine();
    engine.client(GET);
    engine.server(OK);
    engine.drain();
    assert.equal(engine.record.end, "closed");
    const busy = createEngine();
    busy.client(GET + GET);
    busy.drain();
    busy.server(OK);
    assert.deepEqual(fieldsOf(busy.record.toClient).get("connection"), ["close"]);
    assert.equal(busy.record.end, "closed");
    assert.equal(busy.record.exchanges.length, 1);
  });

  it("gives a half request and a new connection their one answer", () => {
    for (const before of ["GET / HT", ""]) {
      const engine = createEngine();
      engine.client(before);
      engine.drain();
      engine.client(GET.slice(before.length));
      engine.server(OK);
      assert.deepEqual(statuses(engine.record.toClient), [200]);
      assert.equal(engine.record.end, "closed");
    }
  });

  it("closes after a response whose head was already out", () => {
    const engine = createEngine();
    engine.client(GET);
    engine.server("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n");
    engine.drain();
    engine.server("ok");
    assert.equal(engine.record.end, "closed");
  });
});

describe("own answers", () => {
  it("are whole responses, without a body for HEAD", () => {
    const env = testEnv({ hosts: ["b"] });
    const engine = createEngine({ env });
    engine.client(GET);
    const [head, body] = engine.record.toClient.split("\r\n\r\n");
    assert.equal(fieldsOf(`${head}\r\n\r\n`).get("content-length")![0], String(body!.length));
    assert.deepEqual(fieldsOf(engine.record.toClient).get("content-type"), ["text/plain"]);
    for (const request of [HEAD, "HEAD / HTTP/9.9\r\n\r\n", "HEAD /\x01 HTTP/1.1\r\n\r\n"]) {
      const forHead = createEngine({ env });
      forHead.client(request);
      assert.ok(forHead.record.toClient.endsWith("\r\n\r\n"));
    }
  });

  it("503 says when to come back", () => {
    const engine = createEngine({ refusing: [0, 1, 2] });
    engine.client(GET);
    assert.deepEqual(statuses(engine.record.toClient), [503]);
    assert.ok(fieldsOf(engine.record.toClient).has("retry-after"));
    assert.deepEqual(engine.record.choices.at(-1)!.tried, [0, 1, 2]);
    assert.equal(engine.record.end, "");
  });
});
