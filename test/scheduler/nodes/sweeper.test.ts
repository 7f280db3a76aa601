/** The sweep's edge: what a refused connection does to a node. */
import assert from "node:assert/strict";
import { once } from "node:events";
import { createServer } from "node:net";
import { test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { arrayKeyOf } from "../../../conf/keys.ts";
import type { NodeConfig } from "../../../conf/schema.ts";
import { controlServer } from "../../../net/control-tls.ts";
import type { SweepChange } from "../../../scheduler/nodes/sweep.ts";
import { startSweeper, type Sweeper } from "../../../scheduler/nodes/sweeper.ts";
import { createLogger } from "../../../status/log.ts";

const ADDRESS = "127.0.0.1";
const arrayKey = arrayKeyOf(Buffer.alloc(32, 5));
const node: NodeConfig = {
  number: 2,
  name: "node2",
  address: ADDRESS,
  interface: "lo",
  interfaces: [],
  enabled: true,
  weight: 1,
  priority: 100,
};
const status = {
  number: 2,
  avg_response_time_us: null,
  hits: 0,
  open_connections: 0,
  open_by_vserver: {},
  workers: 1,
  workers_accepting: 1,
  web_servers: [],
};

const handleIdle = (): Promise<string> =>
  Promise.resolve(JSON.stringify({ ...status, workers_accepting: 0 }));
const handle = (): Promise<string> => Promise.resolve(JSON.stringify(status));

async function freePort(): Promise<number> {
  const server = createServer().listen(0, ADDRESS);
  await once(server, "listening");
  const { port } = server.address() as { port: number };
  server.close();
  await once(server, "close");
  return port;
}

function sweepOf(port: number, changes: SweepChange[], failed = new Set<number>()): Sweeper {
  return startSweeper({
    nodes: [node],
    failed,
    port,
    retries: 2,
    delay_ms: 50,
    timeout_ms: 1000,
    arrayKey,
    log: createLogger({ process: "scheduler" }, "silent"),
    complaintOf: ({ workers_accepting }) => (workers_accepting === 0 ? "no worker accepts" : ""),
    onChange: (change) => changes.push(change),
  });
}

test("a node whose status process is only being started again does not count as failed", async () => {
  const port = await freePort();
  const changes: SweepChange[] = [];
  const sweeper = sweepOf(port, changes);
  // Refused meanwhile, at once: that must not use the tries up.
  await sleep(500);
  const server = await controlServer({ address: ADDRESS, port, arrayKey, handle });
  await sleep(3500);
  sweeper.stop();
  await server.close();
  assert.deepEqual(changes, []);
});

test("a node that stays away counts as failed after all tries, not before", async () => {
  const changes: SweepChange[] = [];
  const started_ms = performance.now();
  const sweeper = sweepOf(await freePort(), changes);
  while (changes.length === 0 && performance.now() - started_ms < 30_000) await sleep(20);
  sweeper.stop();
  assert.deepEqual(changes, [{ node: 2, failed: true, reason: "it does not answer the sweep" }]);
  assert.ok(performance.now() - started_ms >= 2950, "three tries of a second each");
});

test("a node that answers but accepts nothing counts as failed after all tries", async () => {
  const server = await controlServer({ address: ADDRESS, port: 0, arrayKey, handle: handleIdle });
  const changes: SweepChange[] = [];
  const started_ms = performance.now();
  const sweeper = sweepOf(server.port, changes);
  while (changes.length === 0 && performance.now() - started_ms < 30_000) await sleep(20);
  sweeper.stop();
  await server.close();
  assert.deepEqual(changes, [{ node: 2, failed: true, reason: "no worker accepts" }]);
  assert.ok(performance.now() - started_ms >= 2950, "three tries of a second each");
});

test("a node that counts as failed is back with its first answer, and a round can be hurried", async () => {
  const server = await controlServer({ address: ADDRESS, port: 0, arrayKey, handle });
  const changes: SweepChange[] = [];
  const sweeper = sweepOf(server.port, changes, new Set([2]));
  while (changes.length === 0) await sleep(5);
  assert.deepEqual(changes, [{ node: 2, failed: false, reason: "" }]);
  const first_at_ms = sweeper.last_sweep_at_ms;
  while (sweeper.last_sweep_at_ms === first_at_ms) {
    sweeper.hurry();
    await sleep(5);
  }
  sweeper.stop();
  await server.close();
});
