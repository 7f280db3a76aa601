import assert from "node:assert/strict";
import { once } from "node:events";
import { connect } from "node:net";
import { test, type TestContext } from "node:test";
import { METRICS_HEAD_BYTES } from "../../../conf/limits.ts";
import type { Family } from "../../../status/metrics/exposition.ts";
import { metricsServer } from "../../../status/metrics/server.ts";
import { metricsService } from "../../../status/metrics/service.ts";
import { quiet } from "../samples.ts";
import { readExposition } from "./exposition-reader.ts";

const family: Family = {
  name: "dlba_x",
  type: "counter",
  help: "Of a test.",
  samples: [{ labels: {}, value: 3 }],
};

async function serverFor(t: TestContext, families: () => Promise<readonly Family[]> = async () => [family]) {
  const server = await metricsServer({ address: "127.0.0.1", port: 0, families, log: quiet });
  t.after(() => server.close());
  return server;
}

test("metrics are served in the format that is asked for", async (t) => {
  const { port } = await serverFor(t);
  const plain = await fetch(`http://127.0.0.1:${port}/metrics?x=1`);
  assert.equal(plain.headers.get("content-type"), "text/plain; version=0.0.4; charset=utf-8");
  assert.ok(readExposition(await plain.text(), "prometheus").has("dlba_x_total"));
  const accept = "application/openmetrics-text; version=1.0.0";
  const open = await fetch(`http://127.0.0.1:${port}/metrics`, { headers: { accept } });
  assert.equal(
    open.headers.get("content-type"),
    "application/openmetrics-text; version=1.0.0; charset=utf-8",
  );
  assert.ok(readExposition(await open.text(), "openmetrics").has("dlba_x"));
  const head = await fetch(`http://127.0.0.1:${port}/metrics`, { method: "HEAD" });
  assert.deepEqual([head.status, await head.text()], [200, ""]);
});

test("nothing else is, and what fails is told in the log alone", async (t) => {
  const { port } = await serverFor(t, async () => {
    throw new Error("secret");
  });
  const statuses: [path: string, method: string, status: number][] = [
    ["/", "GET", 404],
    ["/metrics/x", "GET", 404],
    ["/metrics", "POST", 405],
    ["/metrics", "GET", 500],
  ];
  for (const [path, method, status] of statuses) {
    const response = await fetch(`http://127.0.0.1:${port}${path}`, { method });
    assert.equal(response.status, status, `${method} ${path}`);
    assert.doesNotMatch(await response.text(), /secret/);
  }
});

test("a head that is too long is refused, and a client that vanishes leaves the others served", async (t) => {
  const { port } = await serverFor(t);
  const long = connect(port, "127.0.0.1");
  long.on("error", () => undefined);
  long.write(`GET /metrics HTTP/1.1\r\nHost: a\r\nX: ${"x".repeat(METRICS_HEAD_BYTES)}\r\n\r\n`);
  const [answer]: Buffer[] = await once(long, "data");
  assert.match(answer!.toString("latin1"), /^HTTP\/1\.1 431 /);
  for (let i = 0; i < 20; i++) {
    const gone = connect(port, "127.0.0.1");
    await once(gone, "connect");
    gone.write("GET /metrics HTTP/1.1\r\nHost: a\r\n\r\n");
    gone.destroy();
  }
  assert.equal((await fetch(`http://127.0.0.1:${port}/metrics`)).status, 200);
});

test("where it can't listen it says so", async (t) => {
  const { port } = await serverFor(t);
  await assert.rejects(metricsServer({ address: "127.0.0.1", port, families: async () => [], log: quiet }), {
    code: "METRICS_UNUSABLE",
    message: `no metrics can be served on 127.0.0.1 port ${port}`,
  });
});

const isServed = async (port: number): Promise<boolean> =>
  fetch(`http://127.0.0.1:${port}/metrics`).then(
    ({ status }) => status === 200,
    () => false,
  );

test("a reload serves them elsewhere, or no more", async () => {
  const service = metricsService(async () => [family], quiet);
  const { port: first } = await portFor();
  const { port: second } = await portFor();
  const apply = (port: number | undefined): Promise<void> =>
    service.apply(
      { status: { port: 8470, metrics: port === undefined ? undefined : { address: "127.0.0.1", port } } },
      { address: "192.0.2.1" },
    );
  try {
    await apply(first);
    await apply(first);
    assert.deepEqual([await isServed(first), await isServed(second)], [true, false]);
    await apply(second);
    assert.deepEqual([await isServed(first), await isServed(second)], [false, true]);
    await apply(undefined);
    assert.deepEqual([await isServed(first), await isServed(second)], [false, false]);
  } finally {
    await service.close();
  }
});

/** A port that nobody listens on at this moment. */
async function portFor(): Promise<{ port: number }> {
  const server = await metricsServer({ address: "127.0.0.1", port: 0, families: async () => [], log: quiet });
  await server.close();
  return server;
}
