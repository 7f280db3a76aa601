/** Traces as a collector gets them, and what happens when it is away, slow or refuses them. */
import assert from "node:assert/strict";
import { once } from "node:events";
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import { text } from "node:stream/consumers";
import { test, type TestContext } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { pino } from "pino";
import { TRACES_WAITING } from "../../../conf/limits.ts";
import type { RequestSpan } from "../../../conf/messages.ts";
import { exportTraces } from "../../../status/traces/exporter.ts";
import { otlpJson } from "../../../status/traces/otlp.ts";

const resource = { array: "shop", node: "node1", version: "1.2.3" };
const span = (change: Partial<RequestSpan> = {}): RequestSpan => ({
  trace_id: "4bf92f3577b34da6a3ce929d0e0e4736",
  span_id: "00f067aa0ba902b7",
  parent_id: "",
  began_ms: 1_700_000_000_000.25,
  total_ms: 12.5,
  response_ms: 10,
  vserver: "web",
  scheme: "https",
  client: "192.0.2.1",
  method: "GET",
  path: "/a",
  status: 200,
  web_server: "web1",
  end: "done",
  ...change,
});

test("spans are told in OTLP's JSON, with the names of the semantic conventions", () => {
  const { resourceSpans } = JSON.parse(
    otlpJson([span(), span({ parent_id: "1111111111111111", status: 502, response_ms: null })], resource),
  );
  const [{ resource: told, scopeSpans }] = resourceSpans;
  assert.deepEqual(told.attributes[0], { key: "service.name", value: { stringValue: "dlba" } });
  const [good, bad] = scopeSpans[0].spans;
  assert.deepEqual(
    [good.traceId, good.spanId, good.parentSpanId, good.name, good.kind, good.status],
    ["4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7", undefined, "GET", 2, {}],
  );
  assert.deepEqual(
    [good.startTimeUnixNano, good.endTimeUnixNano, good.events[0].timeUnixNano],
    ["1700000000000250000", "1700000000012750000", "1700000000010250000"],
  );
  assert.ok(
    good.attributes.some(
      ({ key, value }: { key: string; value: { intValue?: string } }) =>
        key === "http.response.status_code" && value.intValue === "200",
    ),
  );
  assert.deepEqual([bad.parentSpanId, bad.status, bad.events], ["1111111111111111", { code: 2 }, []]);
});

/** A collector that answers with these statuses one after the other, the last one for ever. */
async function collector(t: TestContext, statuses: number[]): Promise<{ url: string; got: string[][] }> {
  const got: string[][] = [];
  const take = async (request: IncomingMessage, response: ServerResponse): Promise<void> => {
    const body = JSON.parse(await text(request));
    const status = statuses.length > 1 ? statuses.shift()! : statuses[0]!;
    const { spans } = body.resourceSpans[0].scopeSpans[0];
    if (status === 200) got.push(spans.map(({ name }: { name: string }) => name));
    response.writeHead(status).end("{}");
  };
  const server = createServer((request, response) => void take(request, response)).listen(0, "127.0.0.1");
  await once(server, "listening");
  t.after(() => server.close());
  const address = server.address();
  assert.ok(typeof address === "object" && address !== null);
  return { url: `http://127.0.0.1:${address.port}/v1/traces`, got };
}

/** Sends these spans, one more at each look. */
function sends(t: TestContext, endpoint: () => string | undefined, methods: string[]) {
  const logged: string[] = [];
  const log = pino({}, { write: (line) => logged.push(String(JSON.parse(line).msg)) });
  let looks = 0;
  const exporter = exportTraces({
    endpoint,
    resource,
    take: async () => {
      const method = methods[looks++];
      return [{ kind: "spans", spans: method === undefined ? [] : [span({ method })], dropped: 0 }];
    },
    log,
    every_ms: 5,
  });
  t.after(() => exporter.close());
  return { logged, looks: () => looks };
}

async function until(isSo: () => boolean): Promise<void> {
  while (!isSo()) await sleep(5);
}

test("what a collector can't take now is sent again, in order; what it refuses is given up, and both are told", async (t) => {
  const { url, got } = await collector(t, [503, 429, 200, 400, 200]);
  const { logged } = sends(t, () => url, ["A", "B", "C", "D", "E"]);
  await until(() => got.flat().length >= 4);
  const taken = got.flat();
  assert.deepEqual(taken, taken.toSorted());
  assert.equal(new Set(taken).size, taken.length);
  assert.equal(logged[0], "traces can't be sent: some are lost");
  await until(() => logged.filter((line) => line === "traces are sent again").length === 2);
});

test("nobody is asked when traces go nowhere, and a collector that is away costs a bounded number of spans", async (t) => {
  const nowhere = sends(t, () => undefined, []);
  await sleep(60);
  assert.equal(nowhere.looks(), 0);
  const { url, got } = await collector(t, [200]);
  let endpoint = "http://127.0.0.1:1/v1/traces";
  let looks = 0;
  const log = pino({ level: "silent" });
  const many = Array.from({ length: TRACES_WAITING }, () => span());
  const exporter = exportTraces({
    endpoint: () => endpoint,
    resource,
    take: async () => [{ kind: "spans", spans: looks++ < 3 ? many : [], dropped: 0 }],
    log,
    every_ms: 5,
  });
  t.after(() => exporter.close());
  await until(() => looks >= 4);
  endpoint = url;
  await until(() => got.flat().length >= TRACES_WAITING);
  await sleep(50);
  assert.equal(got.flat().length, TRACES_WAITING);
});
