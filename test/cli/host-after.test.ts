import assert from "node:assert/strict";
import { test } from "node:test";
import { prepareAfter } from "../../cli/host-after.ts";
import { DlbaError } from "../../conf/errors.ts";
import { createLogger } from "../../status/log.ts";

const log = createLogger({ process: "test" }, "silent");

test("a host that is ready needs no word", async () => {
  assert.deepEqual(await prepareAfter(async () => {}, ["10.0.0.1"], log), []);
});

for (const error of [
  new DlbaError("COMMAND_FAILED", "ip addr del failed (2)"),
  new Error("EROFS: read-only"),
]) {
  test(`after the processes have the new configuration, ${error.name} is told as what it is`, async () => {
    const prepare = (): Promise<void> => Promise.reject(error);
    assert.deepEqual(await prepareAfter(prepare, ["10.0.0.1", "fd00::1"], log), [
      `the new configuration is in force, but VIPs on lo could not be brought into line: ${error.message}; take off what is left of 10.0.0.1, fd00::1`,
    ]);
  });
}
