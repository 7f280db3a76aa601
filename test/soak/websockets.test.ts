import assert from "node:assert/strict";
import { test } from "node:test";
import { runEchoes } from "./echo-run.ts";

test("messages of 0 B to 1 MB come back unchanged, across a reload and a web server's death", async () => {
  const report = await runEchoes({ messages: 120, connections: 6, seed: 7, say: () => {} });
  assert.ok(report.ok, JSON.stringify(report));
});
