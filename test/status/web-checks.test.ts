/** A node checks the web servers of its proxied pools: real ones on loopback, plain and over TLS. */
import assert from "node:assert/strict";
import { once } from "node:events";
import { readFileSync } from "node:fs";
import { createServer, type RequestListener } from "node:http";
import { createServer as createHttps } from "node:https";
import type { AddressInfo, Server } from "node:net";
import { describe, test, type TestContext } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { configSchema, type Config } from "../../conf/schema.ts";
import { createOrderBook, ordersOf, type OrderBook } from "../../status/order-book.ts";
import { startWebChecks } from "../../status/web-checks.ts";
import { makeCa, makeSelfSigned, makeSigned, type KeyPair } from "../certificates.ts";
import { quiet } from "./samples.ts";

async function until(what: string, isSo: () => boolean): Promise<void> {
  for (let i = 0; i < 1500; i++) {
    if (isSo()) return;
    await sleep(10);
  }
  assert.fail(`not within 15 s: ${what}`);
}

async function listening(t: TestContext, server: Server): Promise<number> {
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  t.after(() => server.close());
  return (server.address() as AddressInfo).port;
}
const https = ({ certificate, key }: KeyPair, listener: RequestListener): Server =>
  createHttps({ cert: readFileSync(certificate), key: readFileSync(key) }, listener).on(
    "tlsClientError",
    () => {},
  );

function configOf(pool: object, ports: readonly number[]): Config {
  return configSchema.parse({
    array: { name: "a", key_file: "unused" },
    nodes: [{ number: 1, name: "n", address: "192.0.2.1", interface: "eth0" }],
    vservers: [{ name: "web", vips: ["192.0.2.10"], ports: [80], protocol: "http", pool: "shop" }],
    pools: [
      {
        name: "shop",
        ...pool,
        servers: ports.map((port, i) => ({ id: `web${i + 1}`, address: "127.0.0.1", port })),
      },
    ],
  });
}
const ok: RequestListener = (_request, response) => response.end();
const QUICK = { interval_ms: 50, timeout_ms: 5000, rise: 2, fall: 2 };

function start(t: TestContext, config: Config): OrderBook {
  const book = createOrderBook([]);
  const checks = startWebChecks(config, book, quiet, () => {});
  t.after(() => checks.stop());
  return book;
}
const complaints = (book: OrderBook): Record<string, string | null> =>
  Object.fromEntries(ordersOf(book).map(({ id, complaint }) => [id, complaint]));

describe("web servers are asked", () => {
  test("by HTTP: one that falls ill is told of, and that it is well again", async (t) => {
    let status = 200;
    const asked = new Set<string>();
    const ill = createServer((request, response) => {
      asked.add(`${request.url} ${request.headers.host}`);
      response.writeHead(status).end();
    });
    const well = createServer((_request, response) => response.end());
    const ports = [await listening(t, ill), await listening(t, well)];
    const check = { type: "http", path: "/health", host: "shop.test", ...QUICK };
    const book = start(t, configOf({ check }, ports));
    await until("it is asked", () => asked.size > 0);
    assert.deepEqual([...asked], ["/health shop.test"]);
    status = 503;
    await until("it is ill", () => complaints(book)["web1"] === "status 503");
    assert.deepEqual(Object.keys(complaints(book)), ["web1"]);
    status = 200;
    await until("it is well", () => Object.keys(complaints(book)).length === 0);
  });

  test("over TLS where requests go over TLS, with the same proof", async (t) => {
    const ca = makeCa();
    const ports = [
      await listening(t, https(makeSigned(ca, "DNS:web.test"), ok)),
      await listening(t, https(makeSelfSigned("DNS:web.test"), ok)),
      await listening(t, https(makeSigned(ca, "DNS:other.test"), ok)),
      await listening(t, createServer(ok)),
    ];
    const tls = { ca: ca.certificate, server_name: "web.test" };
    for (const type of ["http", "tcp"]) {
      const book = start(t, configOf({ tls, check: { type, ...QUICK } }, ports));
      await until("three are refused", () => Object.keys(complaints(book)).length === 3);
      const told = complaints(book);
      assert.deepEqual(Object.keys(told).toSorted(), ["web2", "web3", "web4"], type);
      assert.match(told["web2"]!, /self-signed/);
      assert.match(told["web3"]!, /other\.test/);
    }
    const anyone = start(t, configOf({ tls: { verify: false }, check: { type: "http", ...QUICK } }, ports));
    await until("only who speaks no TLS is refused", () => "web4" in complaints(anyone));
    assert.deepEqual(Object.keys(complaints(anyone)), ["web4"]);
  });

  test("not at all where nothing of checks is configured", (t) => {
    const book = start(t, configOf({}, [1, 2]));
    assert.deepEqual(ordersOf(book), []);
  });
});

test("checks that begin anew have forgotten what others have found", async (t) => {
  const server = createServer((_request, response) => response.writeHead(500).end());
  const port = await listening(t, server);
  const book = createOrderBook([]);
  let changes = 0;
  const check = { type: "http", ...QUICK };
  const first = startWebChecks(configOf({ check }, [port]), book, quiet, () => changes++);
  await until("it is ill", () => "web1" in complaints(book));
  first.stop();
  const before = changes;
  const second = startWebChecks(configOf({}, [port]), book, quiet, () => changes++);
  assert.deepEqual([ordersOf(book), changes], [[], before + 1]);
  second.stop();
});
