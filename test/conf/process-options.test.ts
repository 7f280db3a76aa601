import assert from "node:assert/strict";
import { test } from "node:test";
import { processOptions } from "../../conf/process-options.ts";

const whole = ["--config", "/c.yaml", "--node", "n1", "--pin-dir", "/p", "--run-dir", "/r"];

test("the four options are read, and a worker's number", () => {
  const options = {
    configFile: "/c.yaml",
    node: "n1",
    pinDir: "/p",
    runDir: "/r",
    stateDir: "/r",
    worker: 0,
    snapshotFd: undefined,
    listenFd: undefined,
    otherListenFd: undefined,
  };
  assert.deepEqual(processOptions(whole), options);
  assert.deepEqual(processOptions([...whole, "--worker", "3"]), { ...options, worker: 3 });
  assert.deepEqual(processOptions([...whole, "--state-dir", "/s"]), { ...options, stateDir: "/s" });
  const inherited = ["--snapshot-fd", "4", "--listen-fd", "5"];
  assert.deepEqual(processOptions([...whole, ...inherited]), { ...options, snapshotFd: 4, listenFd: 5 });
  assert.deepEqual(processOptions(whole, { DLBA_OTHER_LISTEN_FD: "9" }), { ...options, otherListenFd: 9 });
});

test("missing, empty, unknown and malformed options are refused", () => {
  for (let i = 0; i < whole.length; i += 2) {
    assert.throws(() => processOptions(whole.toSpliced(i, 2)), { code: "OPTIONS_INVALID" });
  }
  assert.throws(() => processOptions([...whole, "--node", ""]), { code: "OPTIONS_INVALID" });
  assert.throws(() => processOptions([...whole, "--what", "x"]), { code: "OPTIONS_INVALID" });
  assert.throws(() => processOptions([...whole, "--worker", "-1"]), { code: "OPTIONS_INVALID" });
  assert.throws(() => processOptions([...whole, "--listen-fd", "x"]), { code: "OPTIONS_INVALID" });
  assert.throws(() => processOptions(whole, { DLBA_OTHER_LISTEN_FD: "x" }), { code: "OPTIONS_INVALID" });
  assert.throws(() => processOptions([...whole, "--worker", "1e2"]), { code: "OPTIONS_INVALID" });
});
