/** One socket for all that operators may change. */
import assert from "node:assert/strict";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { DlbaError } from "../../conf/errors.ts";
import { adminServer } from "../../net/admin-socket.ts";
import { operatorCommand } from "../../status/operator-desk.ts";

const directory = mkdtempSync(join(tmpdir(), "dlba-operator-"));
after(() => rmSync(directory, { recursive: true }));

const say = (line: string): Promise<string> =>
  operatorCommand(line, directory, async (command) => `web servers: ${command}`);

test("web servers, nodes and hand-overs are told in one dialect", async (t) => {
  const asked: string[] = [];
  const scheduler = await adminServer({
    path: join(directory, "admin.sock"),
    handle: async (line) => {
      asked.push(line);
      if (line.endsWith("node9")) throw new DlbaError("NODE_UNKNOWN", "there is no node 'node9'");
      return "done";
    },
  });
  t.after(() => scheduler.close());
  for (const line of [
    "set server shop/web1 state drain",
    "server shop/web1 ready",
    "here weight shop/web1 1",
  ])
    assert.equal(await say(line), `web servers: ${line}`);
  for (const line of [
    "drain node node2",
    "undrain 2",
    "drain-status node node2",
    "handover",
    "handover node1",
  ])
    assert.equal(await say(line), "done");
  assert.deepEqual(asked, ["drain node2", "undrain 2", "drain-status node2", "handover", "handover node1"]);
  await assert.rejects(say("drain node node9"), { code: "ADMIN_REFUSED", message: /no node 'node9'/ });
});

test("what is not known is answered with what may be meant, and help tells all", async () => {
  await assert.rejects(say("hand-over"), {
    code: "COMMAND_UNKNOWN",
    message: "unknown command 'hand-over'; did you mean 'handover'?",
  });
  const help = await say("help");
  for (const word of ["set server", "weight", "drain node", "undrain", "handover"])
    assert.ok(help.includes(word), word);
});

test("a scheduler process that is away is one clear error", async () => {
  await assert.rejects(say("handover"), { code: "NO_ANSWER", message: /can't be reached/ });
});
