/** Rules with real sockets: where requests go, and how often they may. */
import assert from "node:assert/strict";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { arrayKeyOf } from "../../../conf/keys.ts";
import { parseIp } from "../../../conf/address.ts";
import { openRateTable } from "../../../dlba-server/engine/rate-limits.ts";
import { takeFromRate } from "../../../dlba-server/rules/rate-table.ts";
import { exchange, startRig, webServer } from "./rig.ts";

/** Tells its name and what it was asked. */
const told = (name: string) =>
  webServer((request, response) => {
    response.setHeader("x-server", name);
    response.end(
      `${request.method} ${request.url} ${request.headers.host} ${String(request.headers["x-entrance"] ?? "-")}`,
    );
  });
const [main, other] = [await told("main"), await told("other")];
after(() => [main, other].forEach(({ server }) => server.close()));

const get = (path: string, host = "a.test"): string =>
  `GET ${path} HTTP/1.1\r\nHost: ${host}\r\nConnection: close\r\n\r\n`;

test("a request goes to the pool that its rule names, rewritten, and counts there", async (t) => {
  const rules = [
    {
      when: [{ of: "path", prefix: ["/api/"] }],
      rewrite: { prefix: "/api/", to: "/v1/", host: "inner.test" },
      request_headers: { set: [{ name: "X-Entrance", value: "front" }] },
      response_headers: { remove: ["X-Server"] },
      pool: "second",
    },
    {
      when: [
        { of: "client", in: ["127.0.0.0/8"] },
        { of: "path", exact: ["/local"] },
      ],
      deny: { status: 404 },
    },
  ];
  const second = {
    name: "second",
    cookie: "SECOND",
    servers: [{ id: "o1", address: "127.0.0.1", port: other.port }],
  };
  const rig = await startRig({ serverPorts: [main.port], vserver: { rules }, morePools: [second] });
  t.after(rig.stop);
  const api = await exchange(rig.httpPort, get("/api/x?y=/api/"));
  assert.match(api, /\r\n\r\nGET \/v1\/x\?y=\/api\/ inner\.test front$/);
  assert.doesNotMatch(api, /x-server/i);
  assert.match(api, /Set-Cookie: SECOND=/);
  const plain = await exchange(rig.httpPort, get("/x"));
  assert.match(plain, /x-server: main[^]*\r\n\r\nGET \/x a\.test -$/);
  assert.match(await exchange(rig.httpPort, get("/local")), /^HTTP\/1\.1 404 /);
  const hits = rig.worker.pools.map(({ name, servers }) => [name, servers[0]!.counters.hits]);
  assert.deepEqual(hits, [
    ["app", 1],
    ["second", 1],
  ]);
  const idle = rig.worker.pools.map(({ servers }) => servers[0]!.counters.open_connections);
  assert.deepEqual(idle, [1, 1], "each pool keeps its own connections");
});

test("a client that asks too often gets 429 until its rate allows more, on whichever connection", async (t) => {
  const rules = [{ when: [{ of: "path", prefix: ["/slow"] }], rate_limit: { requests: 2, per_s: 3600 } }];
  const rig = await startRig({ serverPorts: [main.port], vserver: { rules } });
  t.after(rig.stop);
  const statuses: string[] = [];
  for (let i = 0; i < 4; i++) statuses.push((await exchange(rig.httpPort, get("/slow"))).slice(9, 12));
  assert.deepEqual(statuses, ["200", "200", "429", "429"]);
  assert.match(await exchange(rig.httpPort, get("/slow")), /\r\nRetry-After: 1[78]\d\d\r\n/);
  assert.match(await exchange(rig.httpPort, get("/other")), /^HTTP\/1\.1 200 /);
  assert.equal(rig.worker.counters.own_answers.get(429), 3);
});

test("the workers of a node count together, and count on over a restart", async (t) => {
  const rules = [{ rate_limit: { requests: 3, per_s: 3600 } }];
  const rig = await startRig({ serverPorts: [main.port], vserver: { rules } });
  const runDir = mkdtempSync(join(tmpdir(), "dlba-rates-"));
  t.after(async () => {
    await rig.stop();
    rmSync(runDir, { recursive: true });
  });
  const runtimes = [...rig.worker.vservers];
  const tables = [1, 2, 3].map(() => openRateTable(runtimes, arrayKeyOf(Buffer.alloc(32, 7)), runDir)!);
  const limit = runtimes[0]!.env.rules!.list[0]!.rateLimit!;
  const client = parseIp("192.0.2.1")!;
  const waits = [0, 1, 2, 0, 1].map((table) => takeFromRate(tables[table]!, limit, client, 1000));
  assert.deepEqual(
    waits.map((wait_ms) => wait_ms > 0),
    [false, false, false, true, true],
  );
});

const proxied = (address: string): string => `PROXY TCP4 ${address} 192.0.2.1 4000 80\r\n${get("/")}`;

test("a PROXY header's client is the one that rules see", async (t) => {
  const rules = [{ when: [{ of: "client", in: ["203.0.113.0/24"] }], deny: {} }];
  const rig = await startRig({
    serverPorts: [main.port],
    vserver: { rules, proxy_protocol_from: ["127.0.0.0/8"] },
  });
  t.after(rig.stop);
  assert.match(await exchange(rig.httpPort, proxied("203.0.113.9")), /^HTTP\/1\.1 403 /);
  assert.match(await exchange(rig.httpPort, proxied("198.51.100.9")), /^HTTP\/1\.1 200 /);
});
