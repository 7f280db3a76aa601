import assert from "node:assert/strict";
import { globSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { EVENT_FACTS, EVENT_TEXT_CHARACTERS } from "../../conf/limits.ts";
import type { NodeEvent } from "../../conf/messages.ts";
import { endWatch } from "../../status/certificates.ts";
import { EVENT_KINDS, eventOf } from "../../status/event-kinds.ts";
import { eventRing } from "../../status/event-ring.ts";
import { eventsTable } from "../../status/events-table.ts";
import { createLogger, onLogLine } from "../../status/log.ts";

const ROOT = join(import.meta.dirname, "../..");
const AT_MS = Date.UTC(2026, 0, 2, 3, 4, 5, 678);

const event = (change: Partial<NodeEvent> = {}): NodeEvent => ({
  at_ms: AT_MS,
  kind: "web-server-down",
  severity: "warning",
  process: "dlba-server",
  worker: 0,
  text: "web server passed over",
  facts: { pool: "shop", web_server: "web1" },
  ...change,
});

test("every sentence that is an event is logged somewhere, and every kind is told in the documents", () => {
  const files = globSync("{scheduler,failover,dlba-server,status,cli}/**/*.ts", { cwd: ROOT });
  const sources = files
    .filter((file) => !file.endsWith("event-kinds.ts"))
    .map((file) => readFileSync(join(ROOT, file), "utf8"))
    .join("\n");
  const document = readFileSync(join(ROOT, "docs/operating.md"), "utf8");
  for (const [sentence, [kind]] of Object.entries(EVENT_KINDS)) {
    assert.ok(sources.includes(JSON.stringify(sentence)), `nobody logs: ${sentence}`);
    assert.ok(document.includes(`\`${kind}\``), `docs/operating.md does not tell of ${kind}`);
  }
});

test("kinds are each one sentence's", () => {
  const kinds = Object.values(EVENT_KINDS).map(([kind]) => kind);
  assert.equal(new Set(kinds).size, kinds.length);
});

test("an event has the line's short facts, and a bounded number of them", () => {
  const line = {
    pool: "shop",
    web_server: "web1",
    reason: "a\n  b",
    tries: 3,
    isLast: true,
    lines: ["x", "y", 5],
    object: { a: 1 },
    nothing: undefined,
    event: "kind",
    long: "x".repeat(EVENT_TEXT_CHARACTERS + 1),
  };
  const found = eventOf("web server passed over", line, "dlba-server", 3, AT_MS);
  assert.deepEqual(found, {
    ...event({ worker: 3 }),
    facts: {
      pool: "shop",
      web_server: "web1",
      reason: "a; b",
      tries: 3,
      isLast: "yes",
      lines: "x; y",
      long: "x".repeat(EVENT_TEXT_CHARACTERS),
    },
  });
  const many = Object.fromEntries(Array.from({ length: 100 }, (_, i) => [`k${i}`, i]));
  assert.equal(Object.keys(eventOf("reloaded", many, "supervisor", 0, 0)!.facts).length, EVENT_FACTS);
  for (const sentence of ["serving", "constructor", "__proto__", ""]) {
    assert.equal(eventOf(sentence, {}, "status", 0, 0), undefined);
  }
});

test("the logger lets those who want to hear what it says, and nobody else", () => {
  const heard: unknown[] = [];
  const log = createLogger({ process: "test" }, "silent");
  const deafen = onLogLine((sentence, line) => heard.push([sentence, line]));
  log.level = "info";
  // Its destination is standard error, which a test's report leaves alone.
  log.debug({ a: 0 }, "not at this level");
  log.info({ a: 1 }, "with facts");
  log.info("alone");
  deafen();
  log.info({ a: 2 }, "to nobody");
  assert.deepEqual(heard, [
    ["with facts", { a: 1 }],
    ["alone", {}],
  ]);
});

test("the ring keeps the last ones, and counts what comes again at once", () => {
  const ring = eventRing(3);
  ring.add(event());
  ring.add(event({ worker: 1, at_ms: AT_MS + 10 }));
  ring.add(event({ worker: 1, at_ms: AT_MS + 20, facts: { pool: "shop", web_server: "web2" } }));
  ring.add(event({ at_ms: AT_MS + 4000 }));
  ring.add(event({ at_ms: AT_MS + 5000 }));
  assert.deepEqual(
    ring
      .since(0)
      .map(({ sequence, count, last_at_ms, facts }) => [
        sequence,
        count,
        last_at_ms - AT_MS,
        facts["web_server"],
      ]),
    [
      [1, 3, 4000, "web1"],
      [2, 1, 20, "web2"],
      [3, 1, 5000, "web1"],
    ],
  );
  ring.add(event({ kind: "reloaded" }));
  assert.deepEqual(
    ring.since(0).map(({ sequence }) => sequence),
    [2, 3, 4],
  );
  assert.deepEqual(
    ring.since(3).map(({ kind }) => kind),
    ["reloaded"],
  );
  for (let i = 0; i < 10_000; i++) ring.add(event({ at_ms: AT_MS + i * 10_000 }));
  assert.equal(ring.since(0).length, 3);
});

test("events in lines, as CSV and as JSON", () => {
  const ring = eventRing(10);
  ring.add(event({ facts: { pool: "shop", reason: 'it said "no"' } }));
  ring.add(event({ at_ms: AT_MS + 1, worker: 1, facts: { pool: "shop", reason: 'it said "no"' } }));
  assert.equal(
    eventsTable(ring.since(0), "life", "text"),
    String.raw`2026-01-02T03:04:05.678Z warning web-server-down    dlba-server pool=shop reason="it said \"no\"" (2 times)` +
      "\n",
  );
  assert.equal(eventsTable([], "life", "text"), "Nothing has happened yet.\n");
  assert.deepEqual(JSON.parse(eventsTable(ring.since(0), "life", "json")), {
    life: "life",
    events: [
      {
        time: "2026-01-02T03:04:05.678Z",
        last_time: "2026-01-02T03:04:05.679Z",
        kind: "web-server-down",
        severity: "warning",
        process: "dlba-server",
        worker: 0,
        text: "web server passed over",
        facts: { pool: "shop", reason: 'it said "no"' },
        sequence: 1,
        count: 2,
      },
    ],
  });
  assert.equal(eventsTable(ring.since(0), "life", "csv").split("\n").length, 3);
});

test("a certificate's end is told once a day, from two weeks before", () => {
  const day_ms = 86_400_000;
  const ends = endWatch();
  const facts = [
    { file: "soon", not_after_ms: 10.5 * day_ms },
    { file: "later", not_after_ms: 15.5 * day_ms },
  ];
  assert.deepEqual(ends(facts, 0), [{ file: "soon", days_left: 10 }]);
  assert.deepEqual(ends(facts, 3_600_000), []);
  assert.deepEqual(ends(facts, 2 * day_ms), [
    { file: "soon", days_left: 8 },
    { file: "later", days_left: 13 },
  ]);
  assert.deepEqual(ends([{ file: "soon", not_after_ms: 100 * day_ms }], 2 * day_ms), []);
  assert.deepEqual(ends([{ file: "soon", not_after_ms: 2 * day_ms - 1 }], 2 * day_ms), [
    { file: "soon", days_left: -1 },
  ]);
});
