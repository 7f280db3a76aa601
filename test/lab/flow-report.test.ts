import assert from "node:assert/strict";
import { test } from "node:test";
import { faultOf, figuresOf, type Flow, outage_ms } from "../../lab/flow-report.ts";

const flow = (parts: Partial<Flow>): Flow => ({
  group: "busy",
  node: "198.18.1.2",
  client_port: 40_000,
  opened_ms: 100,
  ended_ms: 200,
  answers: 3,
  slowest_ms: 5,
  slowest_at_ms: 150,
  error: null,
  ...parts,
});
const failed = (parts: Partial<Flow>): Flow => flow({ error: "read ECONNRESET", ...parts });

test("an error is a dead node's only when that very node died while the flow was", () => {
  const death = { node: "198.18.1.2", begun_ms: 150, done_ms: 155 };
  assert.equal(faultOf(flow({}), [death]), "none");
  assert.equal(faultOf(failed({}), [death]), "dead");
  assert.equal(faultOf(failed({ node: "198.18.1.3" }), [death]), "living");
  assert.equal(faultOf(failed({ opened_ms: 156 }), [death]), "living");
  assert.equal(faultOf(failed({ opened_ms: 153 }), [death]), "dead");
  assert.equal(faultOf(failed({ ended_ms: 149 }), [death]), "living");
  assert.equal(faultOf(failed({}), []), "living");
});

test("an error before the first answer is nobody's while a node died, and a living node's else", () => {
  const death = { node: "198.18.1.3", begun_ms: 150, done_ms: 155 };
  assert.equal(faultOf(failed({ node: "" }), [death]), "unknown");
  assert.equal(faultOf(failed({ node: "", opened_ms: 160 }), [death]), "living");
  assert.equal(faultOf(failed({ node: "" }), []), "living");
});

test("figures are counted by group; failed flows don't count for the slowest answer", () => {
  const death = { node: "198.18.1.2", begun_ms: 150, done_ms: 155 };
  const flows = [
    flow({}),
    flow({ slowest_ms: 7.6 }),
    failed({ slowest_ms: 9000 }),
    failed({ group: "new", node: "", answers: 0 }),
    failed({ group: "new", node: "198.18.1.1", answers: 0 }),
  ];
  assert.deepEqual(figuresOf(flows, [death]), {
    busy: { flows: 3, answers: 9, slowest_ms: 8, errors_living: 0, errors_dead: 1, errors_unknown: 0 },
    new: { flows: 2, answers: 0, slowest_ms: 0, errors_living: 1, errors_dead: 0, errors_unknown: 1 },
  });
});

test("an outage lasts until the last connection that failed or was slow; what was before does not count", () => {
  const flows = [
    failed({ opened_ms: 900 }),
    flow({ opened_ms: 1010, slowest_ms: 1040 }),
    failed({ opened_ms: 1080 }),
    flow({ opened_ms: 1200 }),
  ];
  assert.equal(outage_ms(flows, 1000), 80);
  assert.equal(outage_ms([flow({ opened_ms: 1200 })], 1000), 0);
});
