import assert from "node:assert/strict";
import { test } from "node:test";
import { healthOf, type Looked, worsened } from "../../../cli/push/health.ts";
import type { Health } from "../../../cli/push/messages.ts";

const health = (change: Partial<Health> = {}): Health => ({
  requests: 1000,
  failures: 10,
  workers_accepting: 2,
  web_servers: { "shop/web1": true },
  ...change,
});
const look = (...nodes: (Health | null)[]): Looked => new Map(nodes.map((each, i) => [`node${i + 1}`, each]));
const BEFORE = look(health());
/** In between 1,000 requests and 10 failures. */
const EARLIER = look(health({ requests: 0, failures: 0 }));

const rows: [what: string, after: Looked, reasons: RegExp[]][] = [
  ["nothing has changed", look(health()), []],
  ["as many failures as before", look(health({ requests: 2000, failures: 20 })), []],
  ["three times as many, but few", look(health({ requests: 2000, failures: 40 })), []],
  [
    "many more failures",
    look(health({ requests: 2000, failures: 110 })),
    [/^10\.0 % of 1000 requests ended in a 5xx, and 1\.0 % before$/],
  ],
  ["failures of few requests mean nothing", look(health({ requests: 1010, failures: 20 })), []],
  [
    "counters that began anew are counted",
    look(health({ requests: 500, failures: 400 })),
    [/^80\.0 % of 500/],
  ],
  ["no worker accepts", look(health({ workers_accepting: 0 })), [/^node1 accepts no connections any more$/]],
  [
    "a web server is lost",
    look(health({ web_servers: { "shop/web1": false } })),
    [/^node1: web server shop\/web1 is up no longer$/],
  ],
  [
    "a new one is not up",
    look(health({ web_servers: { "new/a": false } })),
    [/^node1: web server new\/a is not up$/],
  ],
  ["a web server is gone by configuration", look(health({ web_servers: {} })), []],
  ["a node that says nothing is nobody's fault", look(null), []],
];
for (const [what, after, reasons] of rows) {
  test(`worse or not: ${what}`, () => {
    const found = worsened(EARLIER, BEFORE, after);
    assert.equal(found.length, reasons.length, found.join());
    for (const [i, reason] of reasons.entries()) assert.match(found[i]!, reason);
  });
}

test("a web server that was down before is no news", () => {
  const before = look(health({ web_servers: { "shop/web1": false } }));
  assert.deepEqual(worsened(EARLIER, before, before), []);
});

test("it is read from what the status process shows", () => {
  const info = {
    Requests: 50,
    Responses_2xx: 40,
    Responses_5xx: 3,
    Own_answers_502: 2,
    Own_answers_404: 9,
    Workers_accepting: 1,
  };
  const web = {
    web_servers: [
      ["a", "up"],
      ["b", "passed over, refused"],
      ["c", "maint"],
    ].map(([id, state]) => ({ pool: "p", id, state })),
  };
  assert.deepEqual(healthOf(info, web), {
    requests: 50,
    failures: 5,
    workers_accepting: 1,
    web_servers: { "p/a": true, "p/b": false, "p/c": true },
  });
  assert.equal(healthOf("", web), null);
});
