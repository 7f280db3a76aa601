/** HAProxy's own public clients read our socket as they are. */
import assert from "node:assert/strict";
import { execFile, spawn } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test, type TestContext } from "node:test";
import { promisify } from "node:util";
import { answerCommand, parseCommand } from "../../../status/commands.ts";
import { eventRing } from "../../../status/event-ring.ts";
import { monitor } from "../../../status/monitor.ts";
import { quiet } from "../samples.ts";
import { facts, servedNode } from "./node.ts";

const run = promisify(execFile);
const directory = mkdtempSync(join(tmpdir(), "dlba-hatop-"));
after(() => rmSync(directory, { recursive: true }));

/** A node's monitoring socket. */
async function monitorSocket(t: TestContext): Promise<string> {
  const { published, observed } = servedNode();
  const collector = { ask: async () => published, absent: () => [], close: async () => undefined };
  const events = eventRing(10);
  const path = join(directory, `${t.name.replaceAll(/\W+/g, "-").slice(0, 20)}.sock`);
  const server = await monitor({
    path,
    answer: async (command) =>
      answerCommand(parseCommand(command), { facts, collector, observed, events, life: "1" }),
    idle_ms: 20_000,
    answer_ms: 20_000,
    log: quiet,
  });
  t.after(() => server.close());
  return path;
}

test("hatop shows our vservers and web servers on a terminal", async (t) => {
  const path = await monitorSocket(t);
  const command = `stty rows 40 cols 160; exec hatop -s ${path}`;
  const hatop = spawn("script", ["-qec", command, "/dev/null"], {
    env: { ...process.env, TERM: "xterm", LC_ALL: "C.UTF-8" },
  });
  t.after(() => hatop.kill("SIGKILL"));
  let screen = "";
  const { promise: shown, resolve, reject } = Promise.withResolvers<void>();
  hatop.stdout.on("data", (bytes: Buffer) => {
    screen += bytes.toString("latin1");
    if (["shop-http", "web1", "web2", "spare", "img"].every((name) => screen.includes(name))) resolve();
  });
  const ended = new Promise<void>((done) => hatop.once("exit", () => done()));
  void ended.then(() => reject(new Error(`hatop ended: ${screen}`)));
  await shown;
  hatop.stdin.write("q");
  await ended;
  assert.match(screen, /DLBA|HATop/);
});

test("hatop's parsers take our answers whole", async (t) => {
  const path = await monitorSocket(t);
  const program = `
import importlib.machinery, importlib.util, json, sys
loader = importlib.machinery.SourceFileLoader("hatop", "/usr/bin/hatop")
spec = importlib.util.spec_from_loader("hatop", loader)
hatop = importlib.util.module_from_spec(spec)
loader.exec_module(hatop)
s = hatop.Socket(sys.argv[1])
s.connect()
s.send(b"show info")
info = hatop.parse_info(s.recv())
s.send(b"show stat")
stat, proxies, services = hatop.parse_stat(s.recv())
s.close()
print(json.dumps({"info": info, "proxies": proxies, "services": services, "web1": stat[4][1]}))`;
  const { stdout } = await run("python3", ["-B", "-c", program, path]);
  const { info, proxies, services, web1 } = JSON.parse(stdout);
  assert.deepEqual([info.software_name, info.node, info.maxconn], ["DLBA", "node1", "40000"]);
  assert.deepEqual([proxies, services], [4, 8]);
  assert.deepEqual([web1.svname, web1.status, web1.stot, web1.bout], ["web1", "UP 1/2", 200, 800_000]);
});
