import assert from "node:assert/strict";
import { writeFileSync } from "node:fs";
import { test } from "node:test";
import { answerReload } from "../../cli/reload-answer.ts";
import { DlbaError } from "../../conf/errors.ts";
import { createLogger } from "../../status/log.ts";

const log = createLogger({ node: "n", process: "supervisor" });

test("a reload that the system can't do is refused like one that the file can't do, and the node goes on", async () => {
  const refused = await answerReload(
    async () => Promise.reject(new DlbaError("X", "the file is bad")),
    "command",
    log,
  );
  assert.deepEqual(refused, { ok: false, lines: ["the file is bad"] });
  const full = await answerReload(async () => (writeFileSync("/dev/full", "x"), []), "SIGHUP", log);
  assert.equal(full.ok, false);
  assert.match(full.lines.join(), /ENOSPC/);
});

test("a fault of the program is no refusal", async () => {
  await assert.rejects(
    answerReload(async () => Promise.reject(new TypeError("a fault")), "command", log),
    TypeError,
  );
});
