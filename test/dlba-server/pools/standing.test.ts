/** How web servers stand: operators' orders, checks' verdicts, outliers; what becomes of sessions; what the table says. */
import assert from "node:assert/strict";
import { after, describe, test } from "node:test";
import { arrayKeyOf, cookieToken } from "../../../conf/keys.ts";
import type { ServerOrder } from "../../../conf/server-orders.ts";
import { shareOf } from "../../../dlba-server/pools/create-pool.ts";
import { applyOrders, forgetComplaints } from "../../../dlba-server/pools/orders.ts";
import { workerReport } from "../../../dlba-server/report.ts";
import { exchange, startRig, until, webServer, type Rig, type RigOptions } from "../engine/rig.ts";

const cookieOf = (id: string): string =>
  `Cookie: DLBA=${cookieToken(arrayKeyOf(Buffer.alloc(32, 7)), "app", id)}\r\n`;
const get = (more = ""): string => `GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n${more}\r\n`;

let failing = new Set<string>();
const servers = await Promise.all(
  ["web1", "web2", "web3"].map((name) =>
    webServer((_request, response) => {
      response.statusCode = failing.has(name) ? 500 : 200;
      response.end(name);
    }),
  ),
);
after(() => servers.forEach(({ server }) => server.close()));

async function withRig(options: Partial<RigOptions>, act: (rig: Rig) => Promise<void>): Promise<void> {
  failing = new Set();
  const rig = await startRig({ serverPorts: servers.slice(0, 2).map(({ port }) => port), ...options });
  try {
    await act(rig);
  } finally {
    await rig.stop();
  }
}

/** Who answers how often. */
async function tally(rig: Rig, requests: number, more = ""): Promise<Record<string, number>> {
  const counts: Record<string, number> = {};
  for (let i = 0; i < requests; i++) {
    const name = /(web\d)$/.exec(await exchange(rig.httpPort, get(more)))?.[1] ?? "none";
    counts[name] = (counts[name] ?? 0) + 1;
  }
  return counts;
}

const order = (id: string, change: Partial<ServerOrder>): ServerOrder => ({
  pool: "app",
  id,
  state: null,
  weight: null,
  complaint: null,
  ...change,
});
const apply = (rig: Rig, ...orders: ServerOrder[]): void =>
  applyOrders(rig.worker.pools, orders, performance.now());
const rows = (rig: Rig): string[] =>
  workerReport(rig.worker).web_servers.map(({ state, reason, weight, is_up }) =>
    [state, reason, weight, is_up ? "up" : "not up"].join("|"),
  );

describe("a web server", () => {
  test("that drains gets no new sessions, and keeps those it has", async () => {
    await withRig({}, async (rig) => {
      apply(rig, order("web1", { state: "drain" }));
      assert.deepEqual(await tally(rig, 6), { web2: 6 });
      assert.deepEqual(await tally(rig, 3, cookieOf("web1")), { web1: 3 });
      assert.deepEqual(rows(rig), ["drain||1|up", "up||1|up"]);
      apply(rig);
      assert.deepEqual(await tally(rig, 6), { web1: 3, web2: 3 });
    });
  });

  test("in maintenance gets nothing; its sessions go elsewhere and are told so", async () => {
    await withRig({}, async (rig) => {
      apply(rig, order("web1", { state: "maint" }));
      const answer = await exchange(rig.httpPort, get(cookieOf("web1")));
      assert.match(
        answer,
        new RegExp(`Set-Cookie: ${cookieOf("web2").slice("Cookie: ".length).trim()};.*web2$`, "s"),
      );
      assert.deepEqual(await tally(rig, 4), { web2: 4 });
      assert.deepEqual(rows(rig), ["maint||1|not up", "up||1|up"]);
    });
  });

  test("may be so by configuration, and be called ready while it runs", async () => {
    await withRig({ servers: [{ state: "maint" }, { state: "drain" }] }, async (rig) => {
      assert.match(await exchange(rig.httpPort, get()), /^HTTP\/1\.1 503 .*Retry-After: \d+\r\n/s);
      assert.deepEqual(await tally(rig, 1, cookieOf("web2")), { web2: 1 });
      apply(rig, order("web1", { state: "ready" }), order("web2", { state: "ready" }));
      assert.deepEqual(await tally(rig, 4), { web1: 2, web2: 2 });
      apply(rig);
      assert.deepEqual(rows(rig), ["maint||1|not up", "drain||1|up"]);
    });
  });

  test("has the weight that it was given last", async () => {
    await withRig({ servers: [{ weight: 1 }, { weight: 1 }] }, async (rig) => {
      apply(rig, order("web1", { weight: 3 }));
      assert.deepEqual(await tally(rig, 8), { web1: 6, web2: 2 });
      apply(rig, order("web1", { weight: 0 }));
      assert.deepEqual(await tally(rig, 4), { web2: 4 });
      apply(rig);
      assert.deepEqual(await tally(rig, 4), { web1: 2, web2: 2 });
    });
  });

  test("that the checks complain of gets nothing, not even when it is the last", async () => {
    await withRig({}, async (rig) => {
      apply(rig, order("web1", { complaint: "status 503" }));
      assert.deepEqual(await tally(rig, 3, cookieOf("web1")), { web2: 3 });
      assert.deepEqual(rows(rig), ["down|status 503|1|not up", "up||1|up"]);
      apply(rig, order("web1", { complaint: "status 503" }), order("web2", { complaint: "refused" }));
      assert.match(await exchange(rig.httpPort, get()), /^HTTP\/1\.1 503 /);
      forgetComplaints(rig.worker.pools, performance.now());
      assert.deepEqual(await tally(rig, 4), { web1: 2, web2: 2 });
    });
  });

  test("that was away begins slowly, if the pool says so", async () => {
    await withRig({ pool: { slow_start_ms: 3_600_000 } }, async (rig) => {
      apply(rig, order("web1", { state: "maint" }));
      apply(rig);
      const { web1 = 0, web2 = 0 } = await tally(rig, 22);
      assert.ok(web1 <= 3 && web2 >= 19, `${web1} and ${web2}`);
    });
  });
});

describe("a web server that answers badly", () => {
  const outliers = { consecutive: 3, eject_ms: 100, window_ms: 100 };

  test("is left out for a while, with its sessions; the log and the table say why", async () => {
    await withRig(
      { pool: { outliers: { ...outliers, eject_ms: 3_600_000, eject_most_ms: 3_600_000 } } },
      async (rig) => {
        failing = new Set(["web1"]);
        await tally(rig, 6);
        assert.deepEqual(await tally(rig, 4), { web2: 4 });
        assert.deepEqual(await tally(rig, 2, cookieOf("web1")), { web2: 2 });
        assert.deepEqual(rows(rig), ["ejected|3 failures in a row|1|not up", "up||1|up"]);
      },
    );
  });

  test("is back after that", async () => {
    await withRig({ pool: { outliers } }, async (rig) => {
      failing = new Set(["web1"]);
      await tally(rig, 6);
      failing = new Set();
      const [state] = rig.worker.pools[0]!.state.servers;
      assert.notEqual(state!.ejectedUntil_ms, 0);
      await until(() => rig.worker.now_ms > state!.ejectedUntil_ms, "its time is up");
      assert.deepEqual(await tally(rig, 4), { web1: 2, web2: 2 });
    });
  });

  test("stays when half of the pool is out already, and where nobody wants it otherwise", async () => {
    await withRig(
      { pool: { outliers: { ...outliers, eject_ms: 3_600_000, eject_most_ms: 3_600_000 } } },
      async (rig) => {
        failing = new Set(["web1", "web2"]);
        await tally(rig, 12);
        assert.equal(rows(rig).filter((row) => row.startsWith("ejected")).length, 1);
        assert.match(await exchange(rig.httpPort, get()), /^HTTP\/1\.1 500 /);
      },
    );
    await withRig({}, async (rig) => {
      failing = new Set(["web1"]);
      await tally(rig, 20);
      assert.deepEqual(await tally(rig, 4), { web1: 2, web2: 2 });
    });
  });
});

const shares = (bound: number, count: number): number[] =>
  Array.from({ length: count }, (_, index) => shareOf(bound, { index, count }));

test("a node's bound is shared out to its workers, at least one to each", () => {
  assert.deepEqual(shares(10, 4), [3, 3, 2, 2]);
  assert.deepEqual(shares(8, 4), [2, 2, 2, 2]);
  assert.deepEqual(shares(2, 3), [1, 1, 1]);
  assert.deepEqual(shares(7, 1), [7]);
});
