/** Workers are told how web servers stand, over real sockets and with parts that get lost. */
import assert from "node:assert/strict";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, describe, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { ORDERS_PER_LINE } from "../../conf/limits.ts";
import type { Question } from "../../conf/messages.ts";
import type { ServerOrder } from "../../conf/server-orders.ts";
import { collect } from "../../status/collector.ts";
import { publish } from "../../status/publish.ts";
import { createTelling } from "../../status/telling.ts";
import { quiet } from "./samples.ts";

const directory = mkdtempSync(join(tmpdir(), "dlba-telling-"));
after(() => rmSync(directory, { recursive: true }));

async function until(what: string, isSo: () => boolean): Promise<void> {
  for (let i = 0; i < 1000; i++) {
    if (isSo()) return;
    await sleep(10);
  }
  assert.fail(`not within 10 s: ${what}`);
}

const order = (i: number): ServerOrder => ({
  pool: "shop",
  id: `web${i}`,
  state: "drain",
  weight: null,
  complaint: "\u0001".repeat(160),
});
const manyOrders = (count: number): ServerOrder[] => Array.from({ length: count }, (_, i) => order(i));

describe("workers are told", () => {
  test("at once when they come, and of each change, in parts that fit into a line", async (t) => {
    const path = join(directory, "a.sock");
    let orders = manyOrders(2 * ORDERS_PER_LINE + 1);
    const telling = createTelling(() => orders);
    const collector = await collect(path, 20_000, { telling });
    t.after(() => collector.close());
    const heard: Question[] = [];
    const hello = { process: "dlba-server", worker: 0, pid: 1 } as const;
    let closings = 0;
    const published = publish({
      path,
      hello,
      log: quiet,
      onAway: () => closings++,
      answer: (_topic, question) => {
        heard.push(question);
        return { kind: "taken" };
      },
    });
    t.after(published.close);
    await until("all parts", () => heard.length === 3);
    assert.deepEqual(
      heard.map(({ orders: part, is_last }) => [part?.length, is_last]),
      [
        [ORDERS_PER_LINE, false],
        [ORDERS_PER_LINE, false],
        [1, true],
      ],
    );
    assert.deepEqual(
      heard.flatMap(({ orders: part }) => part),
      orders,
    );
    orders = [];
    assert.deepEqual(await telling.changed(), { told: 1, workers: 1 });
    assert.deepEqual([heard[3]?.orders, heard[3]?.is_last], [[], true]);
    await collector.close();
    await until("the status process is away", () => closings === 1);
    assert.deepEqual(await telling.changed(), { told: 0, workers: 0 });
  });

  test("no others than workers", async (t) => {
    const path = join(directory, "b.sock");
    const telling = createTelling(() => manyOrders(1));
    const collector = await collect(path, 20_000, { telling });
    t.after(() => collector.close());
    const heard: string[] = [];
    const published = publish({
      path,
      hello: { process: "scheduler", worker: 0, pid: 1 },
      log: quiet,
      answer: (topic) => {
        heard.push(topic);
        return { kind: "taken" };
      },
    });
    t.after(published.close);
    for (let i = 0; i < 1000 && !heard.includes("rows"); i++) {
      await collector.ask("rows");
      await sleep(10);
    }
    assert.equal(heard.includes("orders"), false);
  });

  test("again until they have taken all of it, and then the last word", async () => {
    let orders = manyOrders(1);
    const told: string[] = [];
    let tries = 0;
    const telling = createTelling(() => orders);
    const leave = telling.join(async (part) => {
      tries++;
      if (tries < 3) return false;
      told.push(part.map(({ id }) => id).join());
      return true;
    });
    await until("a try", () => tries === 1);
    orders = [order(7)];
    assert.deepEqual(await telling.changed(), { told: 0, workers: 1 });
    await until("it is told", () => told.length > 0);
    assert.deepEqual(told, ["web7"]);
    leave();
    assert.deepEqual(await telling.changed(), { told: 0, workers: 0 });
  });

  test("of what has changed while they were told, once", async () => {
    let orders = manyOrders(1);
    const told: string[] = [];
    const release: (() => void)[] = [];
    const telling = createTelling(() => orders);
    telling.join(async (part) => {
      told.push(part.map(({ id }) => id).join());
      await new Promise<void>((resolve) => void release.push(resolve));
      return true;
    });
    const changes = [1, 2, 3].map((i) => {
      orders = [order(i)];
      return telling.changed();
    });
    release.shift()!();
    await until("the second round", () => release.length === 1);
    release.shift()!();
    assert.deepEqual(
      await Promise.all(changes),
      Array.from({ length: 3 }, () => ({ told: 1, workers: 1 })),
    );
    assert.deepEqual(told, ["web0", "web3"]);
  });
});
