/** What a worker keeps of traced requests. */
import assert from "node:assert/strict";
import { existsSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { SPANS_KEPT } from "../../../conf/limits.ts";
import type { RequestSpan } from "../../../conf/messages.ts";
import { createSpans, isTraced, noteSpan, takeSpans } from "../../../dlba-server/engine/spans.ts";
import { exchange, startRig, until, webServer } from "./rig.ts";

const TRACE = "4bf92f3577b34da6a3ce929d0e0e4736";
const PARENT = "00f067aa0ba902b7";

test("a request leaves a span, of its own trace or of the one that the client named", async (t) => {
  const seen: string[] = [];
  const { server, port } = await webServer((request, response) => {
    seen.push(String(request.headers["traceparent"]));
    response.writeHead(request.url?.startsWith("/bad") === true ? 500 : 200).end("ok");
  });
  const rig = await startRig({ serverPorts: [port], tracesOneIn: 1, vserver: { traceparent: true } });
  t.after(async () => {
    await rig.stop();
    server.close();
  });
  const get = (path: string, fields = ""): Promise<string> =>
    exchange(rig.httpPort, `GET ${path} HTTP/1.1\r\nHost: a\r\n${fields}Connection: close\r\n\r\n`);
  await get("/a%20b?secret=1");
  await get("/bad", `traceparent: 00-${TRACE}-${PARENT}-01\r\n`);
  await get("/unsampled", `traceparent: 00-${TRACE}-${PARENT}-00\r\n`);
  await until(() => rig.worker.spans?.kept.length === 2, "two spans");
  const { spans } = takeSpans(rig.worker.spans);
  const [own, named] = spans as [RequestSpan, RequestSpan];
  assert.equal(seen[0], `00-${own.trace_id}-${own.span_id}-01`);
  assert.deepEqual([own.parent_id, own.method, own.path], ["", "GET", "/a%20b"]);
  assert.deepEqual(
    [own.status, own.web_server, own.vserver, own.scheme, own.client, own.end],
    [200, "web1", "plain", "http", "127.0.0.1", "done"],
  );
  assert.ok(Math.abs(own.began_ms - Date.now()) < 60_000 && own.response_ms! <= own.total_ms);
  assert.deepEqual([named.trace_id, named.parent_id, named.status], [TRACE, PARENT, 500]);
  assert.match(named.span_id, /^[0-9a-f]{16}$/);
  assert.deepEqual(takeSpans(rig.worker.spans), { kind: "spans", spans: [], dropped: 0 });
});

test("traces make no vserver logged that is left out of the log", async (t) => {
  const { server, port } = await webServer((_request, response) => response.end("ok"));
  const directory = mkdtempSync(join(tmpdir(), "dlba-spans-"));
  const file = join(directory, "log");
  const rig = await startRig({
    serverPorts: [port],
    vserver: { traceparent: true, access_log: false },
    accessLog: { file, format: "json" },
    tracesOneIn: 1,
  });
  t.after(() => {
    server.close();
    rmSync(directory, { recursive: true });
  });
  await exchange(rig.httpPort, "GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
  await until(() => rig.worker.spans?.kept.length === 1, "a span");
  await rig.stop();
  assert.equal(existsSync(file), false);
  assert.deepEqual(takeSpans(undefined).spans, []);
});

const parentOf = (random: number): string =>
  `00-${"1".repeat(24)}${random.toString(16).padStart(8, "0")}-${PARENT}-01`;

test("one trace in so many is kept, the same ones everywhere", () => {
  const count = 10_000;
  const kept = Array.from({ length: count }, (_, i) =>
    isTraced(10, parentOf(Math.floor((i / count) * 2 ** 32))),
  );
  assert.ok(Math.abs(kept.filter((each) => each).length - count / 10) <= 1);
  assert.equal(isTraced(1, parentOf(2 ** 32 - 1)), true);
  assert.equal(isTraced(1, ""), false);
});

test("spans that nobody fetches are bounded, and those without room counted", () => {
  const spans = createSpans(1);
  const over = {
    request: null,
    traceparent: `00-${TRACE}-${PARENT}-01`,
    isNewTrace: false,
    began_ms: 0,
    total_ms: 1,
    response_ms: null,
    vserver: "v",
    scheme: "http",
    client: "192.0.2.1",
    status: 400,
    web_server: "",
    end: "done",
  } as const;
  for (let i = 0; i < SPANS_KEPT + 3; i++) noteSpan(spans, over);
  const taken = takeSpans(spans);
  assert.deepEqual([taken.spans.length, taken.dropped, taken.spans[0]?.method], [SPANS_KEPT, 3, ""]);
});
