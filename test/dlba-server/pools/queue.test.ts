/** Web servers with a bounded number of requests: who waits, in which order, how long, and who leaves. */
import assert from "node:assert/strict";
import type { ServerResponse } from "node:http";
import { connect } from "node:net";
import { describe, test } from "node:test";
import { arrayKeyOf, cookieToken } from "../../../conf/keys.ts";
import { applyOrders } from "../../../dlba-server/pools/orders.ts";
import { workerReport } from "../../../dlba-server/report.ts";
import { exchange, startRig, until, webServer, type Rig, type RigOptions } from "../engine/rig.ts";

interface Held {
  readonly url: string;
  readonly answer: () => void;
}

/** A web server whose answers the test gives. */
async function heldServer(name: string) {
  const held: Held[] = [];
  const { server, port } = await webServer((request, response: ServerResponse) => {
    const url = request.url ?? "";
    held.push({ url, answer: () => response.end(`${name}${url}`) });
  });
  return { held, server, port, urls: () => held.map(({ url }) => url) };
}

const get = (url: string, more = ""): string =>
  `GET ${url} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n${more}\r\n`;
const waiting = ({ worker }: Rig): number => workerReport(worker).requests_waiting;

async function withServers(
  count: number,
  options: Omit<RigOptions, "serverPorts">,
  act: (rig: Rig, servers: Awaited<ReturnType<typeof heldServer>>[]) => Promise<void>,
): Promise<void> {
  const servers = await Promise.all(Array.from({ length: count }, (_, i) => heldServer(`web${i + 1}`)));
  // However slow the machine is, nobody's time is up by accident.
  const pool = { queue: { timeout_ms: 600_000 }, ...options.pool };
  const rig = await startRig({ ...options, pool, serverPorts: servers.map(({ port }) => port) });
  try {
    await act(rig, servers);
  } finally {
    for (const { held, server } of servers) {
      for (const { answer } of held) answer();
      server.close();
    }
    await rig.stop();
  }
}

const ONE = { max_connections: 1 };
const cookieOf = (id: string): string =>
  `Cookie: DLBA=${cookieToken(arrayKeyOf(Buffer.alloc(32, 7)), "app", id)}\r\n`;

describe("a web server that has as many requests as it may", () => {
  test("gets the next one when one of them is answered", async () => {
    await withServers(1, { servers: [ONE] }, async (rig, [web]) => {
      const first = exchange(rig.httpPort, get("/1"));
      await until(() => web!.held.length === 1, "the first one is there");
      const second = exchange(rig.httpPort, get("/2"));
      await until(() => waiting(rig) === 1, "the second one waits");
      assert.deepEqual(web!.urls(), ["/1"]);
      web!.held[0]!.answer();
      assert.match(await first, /web1\/1$/);
      await until(() => web!.held.length === 2, "the second one is there");
      assert.equal(waiting(rig), 0);
      web!.held[1]!.answer();
      assert.match(await second, /web1\/2$/);
    });
  });

  test("holds nobody up while another one has room", async () => {
    await withServers(2, { servers: [ONE, ONE] }, async (rig, [one, other]) => {
      const both = ["/1", "/2"].map((url) => exchange(rig.httpPort, get(url)));
      await until(() => one!.held.length === 1 && other!.held.length === 1, "each has one");
      assert.equal(waiting(rig), 0);
      one!.held[0]!.answer();
      other!.held[0]!.answer();
      await Promise.all(both);
    });
  });

  test("lets its own sessions wait for it, and others pass them by", async () => {
    await withServers(2, { servers: [ONE, ONE] }, async (rig, [one, other]) => {
      const first = exchange(rig.httpPort, get("/bound", cookieOf("web1")));
      await until(() => one!.held.length === 1, "web1 is busy");
      const bound = exchange(rig.httpPort, get("/waits", cookieOf("web1")));
      await until(() => waiting(rig) === 1, "its session waits");
      assert.equal(workerReport(rig.worker).web_servers[0]!.waiting, 1);
      const free = exchange(rig.httpPort, get("/free"));
      await until(() => other!.held.length === 1, "another one goes to web2");
      other!.held[0]!.answer();
      assert.match(await free, /web2\/free$/);
      assert.deepEqual(one!.urls(), ["/bound"]);
      one!.held[0]!.answer();
      await first;
      await until(() => one!.held.length === 2, "the session goes on");
      one!.held[1]!.answer();
      assert.match(await bound, /web1\/waits$/);
    });
  });

  test("that is taken out sends those who wait for it elsewhere, with another cookie", async () => {
    await withServers(2, { servers: [ONE, ONE] }, async (rig, [one, other]) => {
      const first = exchange(rig.httpPort, get("/bound", cookieOf("web1")));
      await until(() => one!.held.length === 1, "web1 is busy");
      const bound = exchange(rig.httpPort, get("/waits", cookieOf("web1")));
      await until(() => waiting(rig) === 1, "its session waits");
      const order = { pool: "app", id: "web1", state: "maint", weight: null, complaint: null } as const;
      applyOrders(rig.worker.pools, [order], performance.now());
      await until(() => other!.held.length === 1, "web2 has it");
      other!.held[0]!.answer();
      assert.match(await bound, /Set-Cookie: DLBA=.*web2\/waits$/s);
      one!.held[0]!.answer();
      await first;
    });
  });
});

describe("who waits", () => {
  test("gets 503 when the time is up, and may ask again on the same connection", async () => {
    const options = { servers: [ONE], pool: { queue: { timeout_ms: 200 } } };
    await withServers(1, options, async (rig, [web]) => {
      const first = exchange(rig.httpPort, get("/1"));
      await until(() => web!.held.length === 1, "the web server is busy");
      const kept = get("/2").replace("Connection: close\r\n", "");
      const since_ms = performance.now();
      assert.match(await exchange(rig.httpPort, kept + get("/3")), /^HTTP\/1\.1 503 .*HTTP\/1\.1 503 /s);
      // Each has waited its time; the worker's clock is that of its turns.
      assert.ok(performance.now() - since_ms > 300);
      assert.deepEqual([waiting(rig), web!.held.length], [0, 1]);
      web!.held[0]!.answer();
      await first;
    });
  });

  test("is one of a bounded number: 503 for others at once", async () => {
    const options = { servers: [ONE], pool: { queue: { most: 1, timeout_ms: 600_000 } } };
    await withServers(1, options, async (rig, [web]) => {
      const first = exchange(rig.httpPort, get("/1"));
      await until(() => web!.held.length === 1, "the web server is busy");
      const second = exchange(rig.httpPort, get("/2"));
      await until(() => waiting(rig) === 1, "one waits");
      assert.match(await exchange(rig.httpPort, get("/3")), /^HTTP\/1\.1 503 /);
      web!.held[0]!.answer();
      await until(() => web!.held.length === 2, "the second one is there");
      web!.held[1]!.answer();
      assert.match(await second, /web1\/2$/);
      await first;
    });
  });

  test("and goes gives up the place", async () => {
    await withServers(1, { servers: [ONE] }, async (rig, [web]) => {
      const first = exchange(rig.httpPort, get("/1"));
      await until(() => web!.held.length === 1, "the web server is busy");
      const goers = [connect(rig.httpPort, "127.0.0.1"), connect(rig.httpPort, "127.0.0.1")];
      for (const socket of goers) socket.on("error", () => {}).write(get("/gone"));
      await until(() => waiting(rig) === 2, "both wait");
      goers[0]!.end();
      await until(() => waiting(rig) === 1, "who closes is out");
      goers[1]!.resetAndDestroy();
      await until(() => waiting(rig) === 0, "who resets is out");
      web!.held[0]!.answer();
      await first;
      const next = exchange(rig.httpPort, get("/2"));
      await until(() => web!.held.length === 2, "the next one is there");
      assert.deepEqual(web!.urls(), ["/1", "/2"]);
      web!.held[1]!.answer();
      await next;
    });
  });

  test("is answered still while the worker stops", async () => {
    await withServers(1, { servers: [ONE] }, async (rig, [web]) => {
      const first = exchange(rig.httpPort, get("/1"));
      await until(() => web!.held.length === 1, "the web server is busy");
      const second = exchange(rig.httpPort, get("/2"));
      await until(() => waiting(rig) === 1, "one waits");
      const drained = rig.drain();
      web!.held[0]!.answer();
      await until(() => web!.held.length === 2, "the second one is there");
      web!.held[1]!.answer();
      assert.match(await second, /web1\/2$/);
      await Promise.all([first, drained]);
    });
  });

  test("is served in turn with other clients, however many requests each has", async () => {
    const options = { servers: [ONE], vserver: { proxy_protocol_from: ["127.0.0.1/32"] } };
    await withServers(1, options, async (rig, [web]) => {
      const from = (address: string, url: string): Promise<string> =>
        exchange(rig.httpPort, `PROXY TCP4 ${address} 192.0.2.10 4000 80\r\n${get(url)}`);
      const all = [from("192.0.2.1", "/busy")];
      await until(() => web!.held.length === 1, "the web server is busy");
      for (const [index, url] of ["/a1", "/a2", "/a3"].entries()) {
        all.push(from("192.0.2.1", url));
        await until(() => waiting(rig) === index + 1, `${url} waits`);
      }
      all.push(from("192.0.2.2", "/b1"));
      await until(() => waiting(rig) === 4, "/b1 waits");
      for (let i = 0; i < 5; i++) {
        await until(() => web!.held.length === i + 1, `request ${i + 1} is there`);
        web!.held[i]!.answer();
      }
      await Promise.all(all);
      assert.deepEqual(web!.urls(), ["/busy", "/a1", "/b1", "/a2", "/a3"]);
    });
  });
});

test("when all web servers are gone, who waits is told so at once", async () => {
  await withServers(1, { servers: [ONE] }, async (rig, [web]) => {
    const first = exchange(rig.httpPort, get("/1"));
    await until(() => web!.held.length === 1, "the web server is busy");
    const second = exchange(rig.httpPort, get("/2"));
    await until(() => waiting(rig) === 1, "one waits");
    const order = { pool: "app", id: "web1", state: "maint", weight: null, complaint: null } as const;
    applyOrders(rig.worker.pools, [order], performance.now());
    assert.match(await second, /^HTTP\/1\.1 503 /);
    web!.held[0]!.answer();
    assert.match(await first, /web1\/1$/);
  });
});
