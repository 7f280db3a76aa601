import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { connect as connectPlain, createServer as createPlain } from "node:net";
import { test, type TestContext } from "node:test";
import { controlClient, controlServer, type ControlService } from "../../net/control-tls.ts";

const arrayKey = randomBytes(32);
const ask = (port: number, line: string, key: Uint8Array = arrayKey, timeout_ms = 5000) =>
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
  await assert.rejects(ask(port, "status", randomBytes(32)), { code: "CONTROL_FAILED" });
  assert.equal(handled, 0);
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
