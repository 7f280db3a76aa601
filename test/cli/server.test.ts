/** `dlba server` and `dlba weight` against a status process' socket that the test serves. */
import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, describe, test, type TestContext } from "node:test";
import { DlbaError } from "../../conf/errors.ts";
import { adminServer } from "../../net/admin-socket.ts";

const directory = mkdtempSync(join(tmpdir(), "dlba-server-command-"));
after(() => rmSync(directory, { recursive: true }));
const MAIN = join(import.meta.dirname, "../../cli/main.ts");
let made = 0;

interface Ended {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}
const dlba = (...args: readonly string[]): Promise<Ended> =>
  new Promise((resolve) => {
    const child = execFile(process.execPath, [MAIN, ...args], (_error, stdout, stderr) =>
      resolve({ code: child.exitCode ?? -1, stdout, stderr }),
    );
  });

/** A node whose status process answers so; what it was asked. */
async function node(t: TestContext, answer: string | DlbaError) {
  const runDir = mkdtempSync(join(directory, `${made++}`));
  const asked: string[] = [];
  const server = await adminServer({
    path: join(runDir, "servers.sock"),
    handle: async (line) => {
      asked.push(line);
      if (answer instanceof DlbaError) throw answer;
      return answer;
    },
  });
  t.after(() => server.close());
  return { runDir, asked };
}

describe("web servers are told", () => {
  test("their state and weight, on the array or here alone", async (t) => {
    const { runDir, asked } = await node(t, "web1 of pool shop drains");
    const at = ["--run-dir", runDir];
    assert.deepEqual(await dlba("server", "shop/web1", "drain", ...at), {
      code: 0,
      stdout: "web1 of pool shop drains\n",
      stderr: "",
    });
    await dlba("server", "shop/web1", "ready", "--here", ...at);
    const weighed = await dlba("weight", "shop/web1", "50", "--json", ...at);
    assert.deepEqual(JSON.parse(weighed.stdout), { done: "web1 of pool shop drains" });
    assert.deepEqual(asked, ["server shop/web1 drain", "here server shop/web1 ready", "weight shop/web1 50"]);
  });

  test("and what was refused, or not carried out everywhere, ends with 3", async (t) => {
    const unknown = new DlbaError("SERVER_UNKNOWN", "there is no web server 'shop/web9'");
    const { runDir } = await node(t, unknown);
    const refused = await dlba("server", "shop/web9", "drain", "--run-dir", runDir);
    assert.deepEqual([refused.code, refused.stderr], [3, `dlba: ${unknown.message}\n`]);
    const missed = new DlbaError("NODES_MISSED", "web1 drains, but not on node3 (no answer)");
    const other = await node(t, missed);
    const partly = await dlba("weight", "shop/web1", "0", "--run-dir", other.runDir);
    assert.deepEqual([partly.code, partly.stderr], [3, `dlba: ${missed.message}\n`]);
  });

  test("only what makes sense", async () => {
    for (const args of [
      ["server", "web1", "drain"],
      ["server", "shop/web1", "down"],
      ["weight", "shop/web1", "257"],
      ["weight", "shop/web1", "-1"],
    ])
      assert.equal((await dlba(...args)).code, 2, args.join(" "));
  });

  test("by a node that runs", async () => {
    const { code, stderr } = await dlba(
      "server",
      "shop/web1",
      "drain",
      "--run-dir",
      join(directory, "nowhere"),
    );
    assert.equal(code, 3);
    assert.match(stderr, /^dlba: no node runs here: nothing listens on .*servers\.sock/);
  });
});
