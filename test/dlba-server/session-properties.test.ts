/**
 * What must hold for all byte streams: the pieces they come in make no difference, nor does writing the
 * session down in between; bodies arrive byte for byte; and rubbish is refused in bounded time and space.
 */
import assert from "node:assert/strict";
import { createServer } from "node:http";
import { Duplex } from "node:stream";
import { describe, it } from "node:test";
import * as fc from "fast-check";
import {
  createEngine,
  type Engine,
  type EngineOptions,
  fieldsOf,
  statuses,
  testEnv,
} from "./recorder-port.ts";

/** Byte arrays as latin1 text: what the engine's bytes look like as strings. */
const text = (maxLength: number): fc.Arbitrary<string> =>
  fc.uint8Array({ maxLength }).map((bytes) => Buffer.from(bytes).toString("latin1"));

const fieldValue = fc
  .string({ unit: fc.constantFrom(...Array.from('abcXYZ019 ,;="\t/\xe4\xff')), maxLength: 30 })
  .map((value) => value.trim());
const fieldLine = fc
  .tuple(
    fc.constantFrom("Accept", "X-A", "x-b", "Cookie", "User-Agent", "Te", "Keep-Alive", "Via"),
    fieldValue,
  )
  .map(([name, value]) => `${name}: ${value}\r\n`);
const trailers = fc.constantFrom("", "", "X-Sum: 1\r\n", "a:\r\nB: c d\r\n");
const sizeLine = (size: number, style: number): string =>
  (style & 1 ? "0".repeat(style & 3) : "") +
  (style & 2 ? size.toString(16).toUpperCase() : size.toString(16)) +
  (style & 4 ? ';name="v";x' : "");

interface Body {
  /** The header line that announces it, and its bytes on the wire. */
  readonly line: string;
  readonly wire: string;
  readonly plain: string;
}
const lengthBody: fc.Arbitrary<Body> = text(300).map((plain) => ({
  line: `Content-Length: ${plain.length}\r\n`,
  wire: plain,
  plain,
}));
const chunkedBody: fc.Arbitrary<Body> = fc
  .tuple(fc.array(fc.tuple(text(60), fc.nat(7)), { maxLength: 6 }), trailers)
  .map(([chunks, end]) => {
    const filled = chunks.filter(([data]) => data !== "");
    const wire = filled.map(([data, style]) => `${sizeLine(data.length, style)}\r\n${data}\r\n`).join("");
    return {
      line: "Transfer-Encoding: chunked\r\n",
      wire: `${wire}0\r\n${end}\r\n`,
      plain: filled.map(([data]) => data).join(""),
    };
  });
const noBody: fc.Arbitrary<Body> = fc.constant({ line: "", wire: "", plain: "" });

interface Message {
  readonly head: string;
  readonly body: Body;
}
const requestMessage: fc.Arbitrary<Message> = fc
  .record({
    method: fc.constantFrom("GET", "POST", "PUT", "DELETE", "OPTIONS", "PATCH"),
    target: fc.constantFrom("/", "/a?b=c", "http://h.test/x", "/%00~'"),
    fields: fc.array(fieldLine, { maxLength: 6 }),
    body: fc.oneof(noBody, lengthBody, chunkedBody),
  })
  .map(({ method, target, fields, body }) => ({
    head: `${method} ${target} HTTP/1.1\r\nHost: h.test\r\n${fields.join("")}${body.line}\r\n`,
    body,
  }));
const responseMessage: fc.Arbitrary<Message> = fc
  .record({
    interim: fc.constantFrom("", "", "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n"),
    status: fc.constantFrom("200 OK", "404 Not Found", "500 \xe4", "302"),
    fields: fc.array(
      fieldLine.filter((line) => !line.startsWith("Te")),
      { maxLength: 6 },
    ),
    body: fc.oneof(lengthBody, chunkedBody),
  })
  .map(({ interim, status, fields, body }) => ({
    head: `${interim}HTTP/1.1 ${status}\r\n${fields.join("")}${body.line}\r\n`,
    body,
  }));

/** Cuts bytes at places that `cuts` choose (fractions of what is left). */
function pieces(bytes: string, cuts: readonly number[]): string[] {
  const cut: string[] = [];
  let rest = bytes;
  for (const fraction of cuts) {
    const length = Math.max(1, Math.floor(fraction * Math.min(rest.length, 90)));
    if (rest.length === 0) break;
    cut.push(rest.slice(0, length));
    rest = rest.slice(length);
  }
  return rest.length > 0 ? [...cut, rest] : cut;
}
const single = (bytes: string): string[] => Array.from({ length: bytes.length }, (_, at) => bytes[at]!);
const cutsOf = fc.array(fc.double({ min: 0, max: 1, noNaN: true }), { maxLength: 40 });

/** Lets the web servers answer in turn, each when its request is whole, in pieces made by `cut`. */
function answerAll(engine: Engine, responses: readonly string[], cut: (bytes: string) => string[]): void {
  for (const response of responses) {
    if (!engine.isConnected || !engine.state.isRequestDone) return;
    const answering = engine.record.exchanges.length;
    for (const piece of cut(response)) {
      const isSame = engine.isConnected && engine.record.exchanges.length === answering;
      if (isSame) engine.server(piece);
    }
    if (engine.isConnected && engine.record.exchanges.length === answering) engine.serverEnd();
  }
}

interface Script {
  readonly client: string;
  readonly responses: readonly string[];
  readonly ends: boolean;
}

/** Everything that a client, the web servers and the tables get to see. */
function play(script: Script, options: EngineOptions, cut: (bytes: string) => string[]) {
  const engine = createEngine(options);
  for (const piece of cut(script.client)) engine.client(piece);
  if (script.ends) engine.clientEnd();
  answerAll(engine, script.responses, cut);
  const { toClient, end, counts, choices } = engine.record;
  // Whether bytes after a response come with it or later decides over reuse; nobody but the pool sees that.
  const exchanges = engine.record.exchanges.map(({ server, text: sent }) => ({ server, sent }));
  return { toClient, end, counts, choices, exchanges, phase: engine.state.phase };
}

const options = fc.record({ revives: fc.boolean(), readsAhead: fc.boolean(), hasIdle: fc.constant(true) });
const ENV = testEnv({
  limits: {
    request_head_bytes: 1024,
    request_target_bytes: 256,
    request_body_bytes: 2000,
    response_head_bytes: 1024,
  },
});

/** Well-formed streams, now and then with some bytes changed, taken out or put in. */
const mutation = fc.record({
  at: fc.double({ min: 0, max: 1, noNaN: true }),
  taken: fc.nat(3),
  put: fc.oneof(
    fc.constantFrom(
      "\r",
      "\n",
      "\r\n",
      " ",
      ":",
      ";",
      "\0",
      "0",
      ",",
      "\t",
      "chunked",
      "Content-Length: 3\r\n",
    ),
    text(3),
  ),
});
function mutated(bytes: string, mutations: readonly { at: number; taken: number; put: string }[]): string {
  return mutations.reduce((before, { at, taken, put }) => {
    const index = Math.floor(at * before.length);
    return before.slice(0, index) + put + before.slice(index + taken);
  }, bytes);
}
const wireOf = (message: Message): string => message.head + message.body.wire;
const script = fc
  .record({
    requests: fc.array(requestMessage, { minLength: 1, maxLength: 4 }),
    responses: fc.array(responseMessage, { minLength: 1, maxLength: 4 }),
    requestMutations: fc.array(mutation, { maxLength: 2 }),
    responseMutations: fc.array(mutation, { maxLength: 1 }),
    ends: fc.boolean(),
  })
  .map(({ requests, responses, requestMutations, responseMutations, ends }) => ({
    client: mutated(requests.map(wireOf).join(""), requestMutations),
    responses: responses.map((response) => mutated(wireOf(response), responseMutations)),
    ends,
  }));

describe("a session", () => {
  it("says the same however its bytes are cut, and whether it is revived in between", () => {
    fc.assert(
      fc.property(script, cutsOf, options, (played, cuts, chosen) => {
        const whole = play(played, { env: ENV, hasIdle: true }, (bytes) => [bytes]);
        assert.deepEqual(
          play(played, { env: ENV, ...chosen }, (bytes) => pieces(bytes, cuts)),
          whole,
        );
        assert.deepEqual(play(played, { env: ENV, ...chosen }, single), whole);
      }),
      { numRuns: 1500 },
    );
  });

  it("relays every well-formed exchange, bodies byte for byte", () => {
    fc.assert(
      fc.property(
        fc.array(fc.tuple(requestMessage, responseMessage), { minLength: 1, maxLength: 5 }),
        cutsOf,
        options,
        (messages, cuts, chosen) => {
          const engine = createEngine({ env: ENV, ...chosen });
          const cut = (bytes: string): string[] => pieces(bytes, cuts);
          for (const piece of cut(messages.map(([request]) => wireOf(request)).join("")))
            engine.client(piece);
          answerAll(
            engine,
            messages.map(([, response]) => wireOf(response)),
            cut,
          );
          assert.equal(engine.record.exchanges.length, messages.length);
          let seen = engine.record.toClient;
          for (const [index, [request, response]] of messages.entries()) {
            const { text: sent, isReusable } = engine.record.exchanges[index]!;
            assert.equal(sent.slice(sent.indexOf("\r\n\r\n") + 4), request.body.wire);
            assert.equal(isReusable, true);
            while (seen.startsWith("HTTP/1.1 103")) seen = seen.slice(seen.indexOf("\r\n\r\n") + 4);
            const body = seen.slice(seen.indexOf("\r\n\r\n") + 4);
            assert.ok(body.startsWith(response.body.wire));
            seen = body.slice(response.body.wire.length);
          }
          assert.equal(seen, "");
        },
      ),
      { numRuns: 500 },
    );
  });

  it("takes chunks off for HTTP/1.0 without a byte lost", () => {
    fc.assert(
      fc.property(chunkedBody, cutsOf, (body, cuts) => {
        const engine = createEngine({ env: ENV });
        engine.client("GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n");
        answerAll(engine, [`HTTP/1.1 200 OK\r\n${body.line}\r\n${body.wire}`], (bytes) =>
          pieces(bytes, cuts),
        );
        const { toClient, end } = engine.record;
        assert.equal(toClient.slice(toClient.indexOf("\r\n\r\n") + 4), body.plain);
        assert.equal(end, "closed");
      }),
    );
  });

  it("bears rubbish from both sides, and any order of events", () => {
    const rubbish = fc.oneof(
      text(200),
      fc
        .array(
          fc.constantFrom(
            "GET / HTTP/1.1\r\nHost: a\r\n\r\n",
            "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\n",
            "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n",
            "HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n",
            "HTTP/1.1 100 Continue\r\n\r\n",
            "HTTP/1.1 200 OK\r\n\r\n",
            "0\r\n\r\n",
            "3\r\nabc\r\n",
            "\r\n",
            "\r",
            "abc",
            "X: y\r\n",
          ),
          { maxLength: 6 },
        )
        .map((parts) => parts.join("")),
    );
    const event = fc.oneof(
      { weight: 6, arbitrary: fc.record({ kind: fc.constant("client" as const), bytes: rubbish }) },
      { weight: 5, arbitrary: fc.record({ kind: fc.constant("server" as const), bytes: rubbish }) },
      {
        weight: 2,
        arbitrary: fc.record({
          kind: fc.constantFrom("clientEnd" as const, "serverEnd", "timeout", "drain", "clientLost"),
          bytes: fc.constant(""),
        }),
      },
    );
    fc.assert(
      fc.property(fc.array(event, { maxLength: 25 }), options, (events, chosen) => {
        const engine = createEngine({ env: ENV, ...chosen });
        for (const { kind, bytes } of events) {
          if (engine.record.end !== "") break;
          if (kind === "client") engine.client(bytes);
          else if (kind === "server") {
            if (engine.isConnected && bytes !== "") engine.server(bytes);
          } else engine[kind]();
          if (kind === "clientLost") break;
        }
        if (engine.record.end !== "") assert.equal(engine.isConnected, false, "no web server is left behind");
        for (const status of statuses(engine.record.toClient)) assert.ok(status >= 100 && status < 600);
      }),
      { numRuns: 3000 },
    );
  });

  it("looks at the bytes of a slow head once each", () => {
    const env = testEnv({
      limits: { ...ENV.limits, request_head_bytes: 65_536, request_target_bytes: 65_000 },
    });
    const engine = createEngine({ env });
    let reads = 0;
    const counting = (bytes: Buffer): Buffer =>
      new Proxy(bytes, {
        get: (target, key) => {
          reads++;
          const value: unknown = Reflect.get(target, key, target);
          return typeof value === "function" ? value.bind(target) : value;
        },
      });
    const bytes = Buffer.from(`GET /${"a".repeat(3000)} HTTP/1.1\r\nHost: h\r\nA: ${"b".repeat(3000)}`);
    for (let end = 1; end <= bytes.length; end++) engine.offerOnly(counting(bytes.subarray(0, end)));
    assert.ok(reads < bytes.length * 8, `${reads} reads of ${bytes.length} bytes`);
  });
});

/** What Node's own strict parser makes of the bytes that a web server was sent. */
async function readByNode(bytes: string): Promise<{ requests: string[]; error: string }> {
  const requests: string[] = [];
  let error = "";
  const server = createServer({ keepAlive: true }, (request, response) => {
    let body = "";
    request.setEncoding("latin1");
    request.on("data", (data: string) => (body += data));
    request.on("end", () => {
      requests.push(`${request.method} ${request.url} ${body.length}`);
      response.end();
    });
  });
  server.on("clientError", (cause: NodeJS.ErrnoException) => (error = cause.code ?? cause.message));
  const socket = new Duplex({ read: () => undefined, write: (_chunk, _encoding, done) => done() });
  server.emit("connection", socket);
  socket.push(Buffer.from(bytes, "latin1"));
  for (let turn = 0; turn < 5; turn++) await new Promise(setImmediate);
  socket.destroy();
  return { requests, error };
}

describe("another parser behind the proxy", () => {
  it("reads exactly one request per exchange, with the same end", async () => {
    let compared = 0;
    await fc.assert(
      fc.asyncProperty(script, async (played) => {
        const engine = createEngine({ env: ENV, hasIdle: true });
        engine.client(played.client);
        answerAll(engine, played.responses, (bytes) => [bytes]);
        for (const { text: sent, isReusable } of engine.record.exchanges) {
          if (isReusable !== true) continue;
          const { requests, error } = await readByNode(sent);
          if (error === "HPE_INVALID_METHOD") continue; // It knows a fixed list of methods.
          assert.equal(error, "", sent);
          assert.equal(requests.length, 1, sent);
          assert.ok(fieldsOf(sent).has("host"));
          compared++;
        }
      }),
      { numRuns: 400 },
    );
    assert.ok(compared > 100, `${compared} exchanges compared`);
  });
});
