import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { connect as connectPlain, createServer as createPlain } from "node:net";
import { test, type TestContext } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { connect as connectTls } from "node:tls";
import { DlbaError } from "../../conf/errors.ts";
import { type ArrayKey, arrayKeyOf, deriveKey, keyId } from "../../conf/keys.ts";
import {
  controlClient,
  controlServer,
  controlStream,
  controlStreamServer,
  type ControlService,
  type ControlStream,
  type StreamEvents,
} from "../../net/control-tls.ts";

const arrayKey = arrayKeyOf(randomBytes(32));
const ask = (port: number, line: string, key: ArrayKey = arrayKey, timeout_ms = 5000) =>
  controlClient({ address: "127.0.0.1", port, arrayKey: key, line, timeout_ms });

async function serve(t: TestContext, handle: ControlService["handle"]): Promise<number> {
  const server = await controlServer({ address: "127.0.0.1", port: 0, arrayKey, handle });
  t.after(() => server.close());
  return server.port;
}

test("a node that holds the array key gets its answer, however long", async (t) => {
  const long = "x".repeat(1_000_000);
  const port = await serve(t, async (line) => (line === "status" ? long : `no such question: ${line}`));
  assert.equal(await ask(port, "status"), long);
  assert.equal(await ask(port, "else"), "no such question: else");
});

test("a node with another key is neither answered nor believed", async (t) => {
  let handled = 0;
  const port = await serve(t, async () => `${++handled}`);
  await assert.rejects(ask(port, "status", arrayKeyOf(randomBytes(32))), {
    code: "CONTROL_FAILED",
    message: `127.0.0.1 port ${port} has another array key`,
  });
  assert.equal(handled, 0);
});

test("while the key is being changed, both keys are heard, and one is spoken with", async (t) => {
  const [old, young] = [randomBytes(32), randomBytes(32)];
  const { seed } = arrayKeyOf(old);
  const [before, prepared, used, after] = [
    { current: old, also: undefined, isAlsoNext: false, seed },
    { current: old, also: young, isAlsoNext: true, seed },
    { current: young, also: old, isAlsoNext: false, seed },
    { current: young, also: undefined, isAlsoNext: false, seed },
  ];
  const held: ArrayKey = { ...before };
  const server = await controlServer({
    address: "127.0.0.1",
    port: 0,
    arrayKey: held,
    handle: async () => "yes",
  });
  t.after(() => server.close());
  const hears = async (key: ArrayKey): Promise<boolean> =>
    ask(server.port, "status", key).then(
      () => true,
      (error: DlbaError) => {
        assert.equal(error.code, "CONTROL_FAILED");
        return false;
      },
    );
  const rows: [here: ArrayKey, hearsOld: boolean, hearsYoung: boolean][] = [
    [before, true, false],
    [prepared, true, true],
    [used, true, true],
    [after, false, true],
  ];
  // What the server holds changes under it, as it does when a running process takes another key.
  for (const [here, hearsOld, hearsYoung] of rows) {
    Object.assign(held, here);
    assert.deepEqual([await hears(prepared), await hears(used)], [hearsOld, hearsYoung]);
  }
});

test("a line that exceeds the bound closes the connection unread", async (t) => {
  const port = await serve(t, async () => "never");
  await assert.rejects(ask(port, "y".repeat(300)), (error: { code: string }) =>
    ["CONTROL_NO_ANSWER", "CONTROL_FAILED"].includes(error.code),
  );
});

test("a handler that throws closes without an answer, and the next question is answered", async (t) => {
  const port = await serve(t, async (line) => {
    if (line === "bad") throw new Error("on purpose");
    return "good";
  });
  await assert.rejects(ask(port, "bad"), { code: "CONTROL_NO_ANSWER" });
  assert.equal(await ask(port, "ok"), "good");
});

test("a peer that accepts and stays silent runs into the time-out", async (t) => {
  const silent = createPlain(() => undefined);
  await new Promise<void>((resolve) => void silent.listen(0, "127.0.0.1", resolve));
  t.after(() => silent.close());
  const bound = silent.address();
  assert.ok(bound !== null && typeof bound === "object");
  await assert.rejects(ask(bound.port, "status", arrayKey, 100), { code: "CONTROL_TIMEOUT" });
});

test("plain text on the port is refused without harm", async (t) => {
  const port = await serve(t, async () => "fine");
  await new Promise<void>((resolve) => {
    const plain = connectPlain(port, "127.0.0.1", () => plain.write("GET / HTTP/1.1\r\n\r\n"));
    plain.on("error", () => undefined);
    plain.on("close", () => resolve());
    plain.resume();
  });
  assert.equal(await ask(port, "status"), "fine");
});

interface Side {
  readonly lines: string[];
  /** Reasons of the stream's end: one for each time that it is told. */
  readonly ends: (DlbaError | undefined)[];
}
const side = (): Side => ({ lines: [], ends: [] });
const listenAs = ({ lines, ends }: Side): StreamEvents => ({
  onLine: (line) => {
    if (line === "no") throw new DlbaError("NOT_LIKED", "no is no answer");
    lines.push(line);
  },
  onClose: (reason) => void ends.push(reason),
});

interface Both {
  readonly port: number;
  /** What the server's end of each stream hears. */
  readonly there: Side;
  readonly streams: ControlStream[];
  readonly close: () => Promise<void>;
}
async function serveStreams(t: TestContext, connections = 10): Promise<Both> {
  const there = side();
  const streams: ControlStream[] = [];
  const server = await controlStreamServer({
    address: "127.0.0.1",
    port: 0,
    arrayKey,
    line_bytes: 1000,
    connections,
    onStream: (stream) => {
      streams.push(stream);
      return listenAs(there);
    },
  });
  t.after(() => server.close());
  return { port: server.port, there, streams, close: () => server.close() };
}
function streamTo(t: TestContext, port: number, here: Side, key: ArrayKey = arrayKey): ControlStream {
  const stream = controlStream(
    { address: "127.0.0.1", port, arrayKey: key, line_bytes: 1000, connect_timeout_ms: 10_000 },
    listenAs(here),
  );
  t.after(() => stream.destroy());
  return stream;
}
async function until(isSo: () => boolean): Promise<void> {
  const end_ms = performance.now() + 60_000;
  while (!isSo()) {
    assert.ok(performance.now() < end_ms, "it comes to pass within 60 s");
    await sleep(5);
  }
}

test("a stream carries lines both ways until one side ends it", async (t) => {
  const { port, there, streams } = await serveStreams(t);
  const here = side();
  const stream = streamTo(t, port, here);
  stream.send("one\ntwo\n");
  await until(() => there.lines.length === 2);
  let isTaken = false;
  streams[0]?.send("three\n", () => (isTaken = true));
  await until(() => here.lines.length === 1);
  await until(() => isTaken);
  stream.end("last\n");
  await until(() => here.ends.length === 1 && there.ends.length === 1);
  assert.deepEqual(there, { lines: ["one", "two", "last"], ends: [undefined] });
  assert.deepEqual(here, { lines: ["three"], ends: [undefined] });
  assert.match(stream.where, /^127\.0\.0\.1 port \d+$/);
  assert.match(streams[0]?.where ?? "", /^127\.0\.0\.1 port \d+$/);
  stream.send("after the end\n");
});

test("lines that come after a stream was ended here are not heard", async (t) => {
  const { port, streams } = await serveStreams(t);
  const here = side();
  const stream = streamTo(t, port, here);
  stream.send("hello\n");
  await until(() => streams.length === 1);
  stream.end();
  streams[0]?.send("too late\n");
  await until(() => here.ends.length === 1);
  assert.deepEqual(here.lines, []);
});

test("a line of the other side that is too long, or not liked, ends a stream with the reason", async (t) => {
  const { port, there } = await serveStreams(t);
  for (const [text, code] of [
    [`${"x".repeat(1001)}\n`, "CONTROL_TOO_LONG"],
    ["yes\nno\nyes\n", "NOT_LIKED"],
  ] as const) {
    const here = side();
    streamTo(t, port, here).send(text);
    await until(() => here.ends.length === 1);
    await until(() => there.ends.at(-1)?.code === code);
  }
  assert.equal(there.ends.length, 2);
  assert.deepEqual(there.lines, ["yes"]);
});

test("a stream without the array key, or to where nobody is, ends with a reason", async (t) => {
  const { port, there, streams, close } = await serveStreams(t);
  const here = side();
  streamTo(t, port, here, arrayKeyOf(randomBytes(32))).send("hello\n");
  await until(() => here.ends.length === 1);
  assert.deepEqual([there.lines, streams], [[], []]);
  await close();
  streamTo(t, port, here).send("hello\n");
  await until(() => here.ends.length === 2);
  for (const reason of here.ends) assert.equal(reason?.code, "CONTROL_FAILED");
});

test("a stream that can't be opened in time ends with a reason", async (t) => {
  const silent = createPlain(() => undefined);
  await new Promise<void>((resolve) => void silent.listen(0, "127.0.0.1", resolve));
  t.after(() => silent.close());
  const bound = silent.address();
  assert.ok(bound !== null && typeof bound === "object");
  const here = side();
  const target = { address: "127.0.0.1", port: bound.port, arrayKey, line_bytes: 1000 };
  controlStream({ ...target, connect_timeout_ms: 100 }, listenAs(here));
  const alive = setInterval(() => undefined, 1000);
  await until(() => here.ends.length === 1);
  clearInterval(alive);
  assert.equal(here.ends[0]?.code, "CONTROL_TIMEOUT");
});

test("what the other side does not read waits, and is counted", async (t) => {
  const { port, streams } = await serveStreams(t);
  const psk = deriveKey(arrayKey, "control", 32);
  const deaf = connectTls({
    host: "127.0.0.1",
    port,
    minVersion: "TLSv1.2",
    maxVersion: "TLSv1.2",
    ciphers: "ECDHE-PSK-CHACHA20-POLY1305",
    pskCallback: () => ({ psk, identity: `dlba/${keyId(arrayKey.current)}` }),
    checkServerIdentity: () => undefined,
  });
  t.after(() => deaf.destroy());
  deaf.on("error", () => undefined).pause();
  await until(() => streams.length === 1);
  const stream = streams[0]!;
  assert.equal(stream.queued_bytes(), 0);
  let isTaken = false;
  stream.send(`${"x".repeat(50_000_000)}\n`, () => (isTaken = true));
  await sleep(200);
  assert.ok(stream.queued_bytes() > 1_000_000);
  assert.ok(!isTaken);
  stream.destroy();
  await sleep(50);
  assert.ok(!isTaken);
});

test("closing ends all streams, also those that never end their handshake", async (t) => {
  const { port, there, streams, close } = await serveStreams(t);
  const here = side();
  streamTo(t, port, here).send("hello\n");
  await until(() => streams.length === 1);
  const plain = connectPlain(port, "127.0.0.1").on("error", () => undefined);
  await new Promise((resolve) => plain.once("connect", resolve));
  await sleep(50);
  const begun_ms = performance.now();
  await close();
  assert.ok(performance.now() - begun_ms < 4000, "not when the handshake's time is over");
  await until(() => here.ends.length === 1 && there.ends.length === 1);
  plain.destroy();
});

test("no more streams are open at once than allowed", async (t) => {
  const { port, streams } = await serveStreams(t, 1);
  const here = side();
  streamTo(t, port, here).send("first\n");
  await until(() => streams.length === 1);
  const other = side();
  streamTo(t, port, other).send("second\n");
  await until(() => other.ends.length === 1);
  assert.deepEqual([streams.length, here.ends], [1, []]);
});
