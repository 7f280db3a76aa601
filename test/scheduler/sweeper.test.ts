/** The sweep's edge: what a refused connection does to a node. */
import assert from "node:assert/strict";
import { once } from "node:events";
import { createServer } from "node:net";
import { test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import type { NodeConfig } from "../../conf/schema.ts";
import { controlServer } from "../../net/control-tls.ts";
import type { SweepChange } from "../../scheduler/sweep.ts";
import { startSweeper } from "../../scheduler/sweeper.ts";
import { createLogger } from "../../status/log.ts";

const ADDRESS = "127.0.0.1";
const arrayKey = Buffer.alloc(32, 5);
const node: NodeConfig = {
  number: 2,
  name: "node2",
  address: ADDRESS,
  interface: "lo",
  enabled: true,
  weight: 1,
};
const status = {
  number: 2,
  avg_response_time_us: null,
  hits: 0,
  open_connections: 0,
  workers: 1,
  web_servers: [],
};

const handle = (): Promise<string> => Promise.resolve(JSON.stringify(status));

async function freePort(): Promise<number> {
  const server = createServer().listen(0, ADDRESS);
  await once(server, "listening");
  const { port } = server.address() as { port: number };
  server.close();
  await once(server, "close");
  return port;
}

function sweepOf(port: number, changes: SweepChange[]): { stop: () => void } {
  return startSweeper({
    nodes: [node],
    failed: new Set(),
    port,
    retries: 2,
    delay_ms: 50,
    timeout_ms: 1000,
    arrayKey,
    log: createLogger({ process: "scheduler" }, "silent"),
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
  assert.deepEqual(changes, [{ node: 2, failed: true }]);
  assert.ok(performance.now() - started_ms >= 2950, "three tries of a second each");
});
