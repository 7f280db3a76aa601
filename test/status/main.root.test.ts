import assert from "node:assert/strict";
import { execFile, spawn, type ChildProcess } from "node:child_process";
import { randomBytes } from "node:crypto";
import { once } from "node:events";
import { existsSync, mkdtempSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test, type TestContext } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { promisify } from "node:util";
import type { NodeStatus } from "../../conf/messages.ts";
import { publish } from "../../status/publish.ts";
import { readExposition } from "./metrics/exposition-reader.ts";
import { quiet, worker } from "./samples.ts";

const ROOT = join(import.meta.dirname, "../..");
const directory = mkdtempSync(join(tmpdir(), "dlba-status-main-"));
after(() => rmSync(directory, { recursive: true }));
const run = promisify(execFile);

const keyFile = join(directory, "array.key");
writeFileSync(keyFile, randomBytes(32).toString("base64"));
const configFile = join(directory, "array.yaml");
writeFileSync(
  configFile,
  `array: {name: test, key_file: ${keyFile}}
nodes: [{number: 7, name: seven, address: 192.0.2.11, interface: eth0}]
vservers: [{name: web, vips: [192.0.2.10], ports: [80], protocol: tcp}]
status: {metrics: {address: 127.0.0.1}}
`,
);

/** The status process in a network namespace of its own, where the node's address is on lo. */
async function statusProcess(t: TestContext, runDir: string): Promise<ChildProcess> {
  const main = join(ROOT, "status/main.ts");
  const options = `--config ${configFile} --node seven --pin-dir ${directory} --run-dir ${runDir}`;
  const script = `ip link set lo up && ip address add 192.0.2.11/32 dev lo && exec ${process.execPath} ${main} ${options}`;
  const child = spawn("unshare", ["--net", "sh", "-c", script], {
    stdio: ["ignore", "inherit", "ignore", "ipc"],
  });
  t.after(() => child.kill("SIGKILL"));
  const gone = once(child, "exit").then(() => assert.fail("the status process ended"));
  gone.catch(() => undefined);
  await Promise.race([once(child, "message"), gone]);
  return child;
}

async function sweep(child: ChildProcess, key: string, line: string): Promise<string> {
  const code = `
    import { controlClient } from ${JSON.stringify(join(ROOT, "net/control-tls.ts"))};
    import { readArrayKey } from ${JSON.stringify(join(ROOT, "conf/keys.ts"))};
    const arrayKey = readArrayKey(${JSON.stringify(key)});
    console.log(await controlClient({ address: "192.0.2.11", port: 8470, arrayKey, line: ${JSON.stringify(line)}, timeout_ms: 10000 }));`;
  const args = [`--net=/proc/${child.pid}/ns/net`, process.execPath, "--input-type=module", "-e", code];
  return (await run("nsenter", args)).stdout;
}

const show = (runDir: string, ...args: string[]) =>
  run(join(ROOT, "bin/dlba"), ["show", ...args, "--run-dir", runDir]);

test("the status process serves tables and the sweep, and leaves nothing behind", async (t) => {
  const runDir = mkdtempSync(join(directory, "run-"));
  const child = await statusProcess(t, runDir);
  const publishSocket = join(runDir, "publish.sock");
  assert.equal(statSync(publishSocket).mode & 0o777, 0o600);
  assert.equal(statSync(join(runDir, "monitor.sock")).mode & 0o777, 0o660);

  const empty: NodeStatus = JSON.parse(await sweep(child, keyFile, "status"));
  assert.deepEqual([empty.number, empty.workers, empty.hits], [7, 0, 0]);

  const hello = { process: "dlba-server", worker: 0, pid: 1 } as const;
  const published = publish({ path: publishSocket, hello, answer: () => worker(), log: quiet });
  t.after(published.close);
  const info = async (): Promise<string> => (await show(runDir, "info")).stdout;
  for (let i = 0; i < 100 && !(await info()).includes("\nWorkers_answering: 1\n"); i++) await sleep(50);
  assert.match(await info(), /^Node: seven$/m);
  assert.match(await info(), /^Requests: 100$/m);
  assert.match((await show(runDir, "web")).stdout, /^from 1 worker of this node$/m);

  const status: NodeStatus = JSON.parse(await sweep(child, keyFile, "status"));
  assert.deepEqual([status.workers, status.hits, status.web_servers.length], [1, 100, 1]);
  assert.deepEqual([status.workers_accepting, status.open_by_vserver], [1, { "shop-http": 5 }]);
  const metrics = await run("nsenter", [
    `--net=/proc/${child.pid}/ns/net`,
    "curl",
    "-sS",
    "http://127.0.0.1:9470/metrics",
  ]);
  const families = readExposition(metrics.stdout, "prometheus");
  assert.equal(
    families.get("dlba_connections_accepted_total")?.samples.get("dlba_connections_accepted_total{}"),
    20,
  );

  published.close();
  for (let i = 0; i < 100 && !(await info()).includes("\nWorkers: 0\n"); i++) await sleep(50);
  const ended: NodeStatus = JSON.parse(await sweep(child, keyFile, "status"));
  assert.deepEqual([ended.workers, ended.workers_accepting, ended.hits], [0, 0, 100]);
  await assert.rejects(sweep(child, keyFile, "reboot"));
  const otherKey = join(directory, "other.key");
  writeFileSync(otherKey, randomBytes(32).toString("base64"));
  await assert.rejects(sweep(child, otherKey, "status"));

  child.kill("SIGTERM");
  await once(child, "exit");
  assert.equal(child.exitCode, 0);
  assert.equal(existsSync(publishSocket), false);
  assert.equal(existsSync(join(runDir, "monitor.sock")), false);
});

test("a killed status process is replaced by the next one", async (t) => {
  const runDir = mkdtempSync(join(directory, "run-"));
  const first = await statusProcess(t, runDir);
  first.kill("SIGKILL");
  await once(first, "exit");
  assert.ok(existsSync(join(runDir, "monitor.sock")));
  await statusProcess(t, runDir);
  assert.match((await show(runDir, "info")).stdout, /^Process_scheduler: not running$/m);
});
