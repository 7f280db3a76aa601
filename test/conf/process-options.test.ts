import assert from "node:assert/strict";
import { test } from "node:test";
import { processOptions } from "../../conf/process-options.ts";
import { schedulerOf } from "../../conf/scheduler-role.ts";
import { configSchema } from "../../conf/schema.ts";

const whole = ["--config", "/c.yaml", "--node", "n1", "--pin-dir", "/p", "--run-dir", "/r"];

test("the four options are read, and a worker's number", () => {
  const options = { configFile: "/c.yaml", node: "n1", pinDir: "/p", runDir: "/r", worker: 0 };
  assert.deepEqual(processOptions(whole), options);
  assert.deepEqual(processOptions([...whole, "--worker", "3"]), { ...options, worker: 3 });
});

test("missing, empty, unknown and malformed options are refused", () => {
  for (let i = 0; i < whole.length; i += 2) {
    assert.throws(() => processOptions(whole.toSpliced(i, 2)), { code: "OPTIONS_INVALID" });
  }
  assert.throws(() => processOptions([...whole, "--node", ""]), { code: "OPTIONS_INVALID" });
  assert.throws(() => processOptions([...whole, "--what", "x"]), { code: "OPTIONS_INVALID" });
  assert.throws(() => processOptions([...whole, "--worker", "-1"]), { code: "OPTIONS_INVALID" });
  assert.throws(() => processOptions([...whole, "--worker", "1e2"]), { code: "OPTIONS_INVALID" });
});

test("the scheduler is the first enabled node, or the first of all", () => {
  const nodes = [1, 2, 3].map((number) => ({
    number,
    name: `n${number}`,
    address: `192.0.2.${number}`,
    interface: "eth0",
  }));
  const pick = (enabled: readonly boolean[]): number => {
    const listed = nodes.map((node, i) =>
      configSchema.shape.nodes.element.parse({ ...node, enabled: enabled[i] }),
    );
    return schedulerOf({ nodes: listed }).number;
  };
  assert.equal(pick([true, true, true]), 1);
  assert.equal(pick([false, true, true]), 2);
  assert.equal(pick([false, false, false]), 1);
  assert.throws(() => schedulerOf({ nodes: [] }), { code: "NO_NODES" });
});
