import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { configSchema, type Config } from "../../conf/schema.ts";
import { COMPLAINT_CHARACTERS } from "../../conf/limits.ts";
import {
  commandOverride,
  createOrderBook,
  noteHealth,
  noteOverride,
  ordersOf,
} from "../../status/order-book.ts";

const config: Config = configSchema.parse({
  array: { name: "a", key_file: "unused" },
  nodes: [{ number: 1, name: "n", address: "192.0.2.1", interface: "eth0" }],
  vservers: [{ name: "web", vips: ["192.0.2.10"], ports: [80], protocol: "http", pool: "shop" }],
  pools: [
    {
      name: "shop",
      servers: [
        { id: "web1", address: "192.0.2.21", weight: 5 },
        { id: "web2", address: "192.0.2.22", state: "drain" },
      ],
    },
  ],
});
const shop = (id: string): { pool: string; id: string } => ({ pool: "shop", id });

describe("an order book", () => {
  test("has nothing to tell while all stand as configured", () => {
    assert.deepEqual(ordersOf(createOrderBook([])), []);
  });

  test("tells states and weights that operators gave, each until the other says more", () => {
    const book = createOrderBook([]);
    noteOverride(book, commandOverride(book, config, { ...shop("web1"), state: "drain" }, 1000));
    noteOverride(book, commandOverride(book, config, { ...shop("web1"), weight: 50 }, 2000));
    assert.deepEqual(ordersOf(book), [{ ...shop("web1"), state: "drain", weight: 50, complaint: null }]);
  });

  test("says no more of what is as configured again", () => {
    const book = createOrderBook([]);
    for (const command of [{ state: "maint" }, { weight: 1 }, { state: "ready" }, { weight: 5 }] as const)
      noteOverride(book, commandOverride(book, config, { ...shop("web1"), ...command }, 1000));
    assert.deepEqual(ordersOf(book), []);
    noteOverride(book, commandOverride(book, config, { ...shop("web2"), state: "ready" }, 1000));
    assert.deepEqual(ordersOf(book), [{ ...shop("web2"), state: "ready", weight: null, complaint: null }]);
    noteOverride(book, commandOverride(book, config, { ...shop("web2"), state: "drain" }, 1000));
    assert.deepEqual(ordersOf(book), []);
  });

  test("believes what was said later, and a later command whatever the clock says", () => {
    const book = createOrderBook([]);
    const drained = { ...shop("web1"), state: "drain", weight: null, at_ms: 5000 } as const;
    assert.equal(noteOverride(book, drained), true);
    assert.equal(noteOverride(book, { ...drained, state: "maint", at_ms: 4000 }), false);
    assert.equal(noteOverride(book, drained), false);
    const ready = commandOverride(book, config, { ...shop("web1"), state: "ready" }, 1000);
    assert.equal(ready.at_ms, 5001);
    assert.equal(noteOverride(book, ready), true);
    assert.deepEqual(ordersOf(book), []);
  });

  test("tells what the checks complain of, in few words, until they don't", () => {
    const book = createOrderBook([]);
    noteHealth(book, "shop", "web1", "x".repeat(1000));
    assert.deepEqual(ordersOf(book), [
      { ...shop("web1"), state: null, weight: null, complaint: "x".repeat(COMPLAINT_CHARACTERS) },
    ]);
    noteHealth(book, "shop", "web1", "");
    assert.deepEqual(ordersOf(book), []);
  });
});
