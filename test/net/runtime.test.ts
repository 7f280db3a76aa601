import assert from "node:assert/strict";
import { test } from "node:test";
import { checkRuntime, runtimeProblem, type RuntimeFacts } from "../../net/runtime.ts";

const good: RuntimeFacts = {
  version: "24.21.0",
  pinnedVersion: "24.21.0",
  platform: "linux",
  arch: "x64",
  missingSymbols: [],
};

test("the binary that runs the tests is the pinned one", () => {
  assert.doesNotThrow(checkRuntime);
});

test("each thing wrong with a Node binary gets one sentence and what to do", () => {
  assert.equal(runtimeProblem(good), undefined);
  const version = runtimeProblem({ ...good, version: "22.1.0" });
  assert.equal(version?.code, "RUNTIME_WRONG_VERSION");
  assert.match(version.message, /this is Node 22\.1\.0, DLBA was tested with 24\.21\.0/);
  assert.match(version.hint ?? "", /bin\/dlba/);
  const foreign = runtimeProblem({ ...good, missingSymbols: ["SSL_new"] });
  assert.equal(foreign?.code, "RUNTIME_FOREIGN");
  assert.match(foreign.message, /lacks SSL_new/);
  assert.equal(runtimeProblem({ ...good, platform: "darwin" })?.code, "PLATFORM_UNSUPPORTED");
  assert.equal(runtimeProblem({ ...good, arch: "riscv64", pinnedVersion: "" })?.code, "PLATFORM_UNSUPPORTED");
});
