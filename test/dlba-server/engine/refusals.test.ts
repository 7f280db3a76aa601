/** What a worker keeps of requests and responses that it refuses. */
import assert from "node:assert/strict";
import { connect } from "node:net";
import { test, type TestContext } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { createRefusals, noteRefusal } from "../../../dlba-server/engine/refusals.ts";
import { exchange, rawServer, readAll, type Rig, startRig } from "./rig.ts";

async function started(t: TestContext, response: string): Promise<Rig> {
  const { server, port } = await rawServer((socket) =>
    socket.once("data", () => socket.end(response, "latin1")),
  );
  const rig = await startRig({ serverPorts: [port] });
  t.after(async () => {
    await rig.stop();
    server.close();
  });
  return rig;
}

const textOf = ({ bytes }: { readonly bytes: string }): string =>
  Buffer.from(bytes, "base64").toString("latin1");

test("a refused request is kept with the byte that made it one, also when it came in pieces", async (t) => {
  const rig = await started(t, "");
  const { kept } = rig.worker.refusals;
  for (const [text, bad_at] of [
    ["GET / HTTP/1.1\r\nHost: a\r\nBad\x01Name: 1\r\n\r\n", 28],
    ["GET  / HTTP/1.1\r\n\r\n", 4],
    // A line feed is looked at together with what follows.
    ["GET / HTTP/1.1\r\nHost: a\nX: 1\r\n\r\n", 24],
  ] as const) {
    const bytes = Buffer.from(text, "latin1");
    const pieces = [bytes.subarray(0, 3), bytes.subarray(3, bad_at - 1), bytes.subarray(bad_at - 1)];
    for (const parts of [[bytes], pieces]) {
      const before = kept.length;
      const socket = connect(rig.httpPort, "127.0.0.1").setNoDelay(true);
      const answer = readAll(socket);
      for (const part of parts) {
        if (!socket.destroyed) socket.write(part);
        await sleep(20);
      }
      await answer;
      assert.equal(kept.length, before + 1);
      const last = kept.at(-1)!;
      const facts = [last.kind, last.status, last.vserver, last.web_server];
      assert.deepEqual(facts, ["request", 400, "plain", null]);
      assert.equal(last.bad_at, bad_at, JSON.stringify([text, parts.length]));
      assert.ok(text.startsWith(textOf(last)));
    }
  }
});

test("what is wrong as a whole has no bad byte, and an unknown host is no error", async (t) => {
  const rig = await started(t, "");
  const { kept } = rig.worker.refusals;
  await exchange(rig.httpPort, "GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\nrest");
  assert.deepEqual([kept.length, kept[0]?.bad_at], [1, null]);
  assert.equal(textOf(kept[0]!), "GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n");
});

test("a refused response names its web server", async (t) => {
  const rig = await started(t, "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n");
  await exchange(rig.httpPort, "GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
  const [last] = rig.worker.refusals.kept;
  assert.deepEqual(
    [last?.kind, last?.status, last?.web_server, last?.bad_at],
    ["response", 502, "web1", null],
  );
});

test("what is kept is bounded, in number, length and time", () => {
  const refusals = createRefusals();
  const bytes = Buffer.alloc(5000, "x");
  const facts = { at_ms: 0, vserver: "v", client: "c", client_port: 1, web_server: null, status: 400 };
  const note = (now_ms: number): void => {
    const refused = {
      kind: "request",
      bytes,
      start: 0,
      end: bytes.length,
      isWhole: true,
      maxTarget: 100,
    } as const;
    noteRefusal(refusals, refused, facts, now_ms);
  };
  for (let i = 0; i < 100; i++) note(5);
  assert.equal(refusals.kept.length, 20);
  for (let second = 1; second < 10; second++) note(second * 2000);
  for (let i = 0; i < 100; i++) note(100_000);
  assert.equal(refusals.kept.length, 32);
  assert.equal(textOf(refusals.kept[0]!).length, 2048);
  assert.equal(refusals.kept[0]?.length, 5000);
});
