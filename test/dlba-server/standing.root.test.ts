/** A node's status process and a worker of it, as they are run: commands and checks reach the worker, and outlast both. */
import assert from "node:assert/strict";
import { execFile, spawn, type ChildProcess } from "node:child_process";
import { randomBytes } from "node:crypto";
import { once } from "node:events";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test, type TestContext } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { promisify } from "node:util";
import { WORKER_NODE_FLAGS } from "../../dlba-server/node-flags.ts";

const ROOT = join(import.meta.dirname, "../..");
const directory = mkdtempSync(join(tmpdir(), "dlba-standing-"));
after(() => rmSync(directory, { recursive: true }));
const run = promisify(execFile);

const keyFile = join(directory, "array.key");
writeFileSync(keyFile, randomBytes(32).toString("base64"));
const configFile = join(directory, "array.yaml");
writeFileSync(
  configFile,
  `array: {name: test, key_file: ${keyFile}}
nodes: [{number: 7, name: seven, address: 192.0.2.11, interface: lo}]
vservers: [{name: web, vips: [192.0.2.10], ports: [80], protocol: http, pool: shop}]
pools:
  - name: shop
    check: {type: http, path: /health, interval_ms: 100, timeout_ms: 10000, rise: 1, fall: 1}
    servers:
      - {id: web1, address: 192.0.2.21, port: 8080}
      - {id: web2, address: 192.0.2.22, port: 8080}
limits: {workers: 1}
`,
);
/** Two web servers that tell their names, and are ill when a file says so. */
const ill = join(directory, "ill");
const WEB = `
  const { createServer } = require("node:http");
  const { readFileSync } = require("node:fs");
  for (const [name, host] of [["web1", "192.0.2.21"], ["web2", "192.0.2.22"]])
    createServer((request, response) => {
      const isIll = request.url === "/health" && readFileSync(${JSON.stringify(ill)}, "utf8").includes(name);
      response.writeHead(isIll ? 503 : 200).end(name);
    }).listen(8080, host);
`;

const runDir = mkdtempSync(join(directory, "run-"));
const PLACES = ["--config", configFile, "--node", "seven", "--pin-dir", directory, "--run-dir", runDir];

async function until(what: string, isSo: () => Promise<boolean>): Promise<void> {
  for (let i = 0; i < 600; i++) {
    if (await isSo()) return;
    await sleep(50);
  }
  assert.fail(`not within 30 s: ${what}`);
}

/** A namespace in which nothing runs but a shell that waits; it has all addresses. */
async function network(t: TestContext): Promise<readonly string[]> {
  const addresses = ["10", "11", "21", "22"].map((last) => `ip address add 192.0.2.${last}/32 dev lo`);
  const script = `ip link set lo up && ${addresses.join(" && ")} && echo ready && exec sleep 600`;
  const shell = spawn("unshare", ["--net", "sh", "-c", script], { stdio: ["ignore", "pipe", "inherit"] });
  t.after(() => shell.kill("SIGKILL"));
  await once(shell.stdout, "data");
  return ["nsenter", `--net=/proc/${shell.pid}/ns/net`];
}

function start(t: TestContext, inside: readonly string[], args: readonly string[]): ChildProcess {
  const [program = "", ...words] = [...inside, process.execPath, ...args];
  const child = spawn(program, words, { stdio: ["ignore", "ignore", "ignore", "ipc"] });
  t.after(() => child.kill("SIGKILL"));
  return child;
}
const status = (t: TestContext, inside: readonly string[]): ChildProcess =>
  start(t, inside, [join(ROOT, "status/main.ts"), ...PLACES]);
const worker = (t: TestContext, inside: readonly string[]): ChildProcess => {
  const child = start(t, inside, [...WORKER_NODE_FLAGS, join(ROOT, "dlba-server/main.ts"), ...PLACES]);
  child.once("message", () => child.send({ kind: "serve" }));
  return child;
};

const dlba = async (...args: string[]): Promise<string> =>
  (await run(join(ROOT, "bin/dlba"), [...args, "--run-dir", runDir])).stdout;

test("what operators say and what checks find reaches a worker, and outlasts it", async (t) => {
  writeFileSync(ill, "");
  const inside = await network(t);
  start(t, inside, ["-e", WEB]);
  const first = status(t, inside);
  let serving = worker(t, inside);
  const ask = async (): Promise<string> => {
    const [program = "", ...words] = inside;
    const asked = run(program, [...words, "curl", "-s", "http://192.0.2.10/"]);
    return (await asked.catch(() => ({ stdout: "" }))).stdout;
  };
  const answers = async (): Promise<string> =>
    [await ask(), await ask(), await ask(), await ask()].toSorted().join();
  await until("both serve", async () => (await answers()) === "web1,web1,web2,web2");

  assert.equal(await dlba("server", "shop/web1", "drain"), "web1 of pool shop drains\n");
  assert.equal(await answers(), "web2,web2,web2,web2");
  assert.match(await dlba("show", "web"), /web1 .* drain /);

  serving.kill("SIGTERM");
  await once(serving, "exit");
  serving = worker(t, inside);
  await until("another worker serves", async () => (await ask()) !== "");
  assert.equal(await answers(), "web2,web2,web2,web2");

  first.kill("SIGKILL");
  await once(first, "exit");
  status(t, inside);
  await until("the status process is back", async () => {
    const shown = await dlba("show", "web").catch(() => "");
    return /web1 .* drain /.test(shown);
  });
  assert.equal(await dlba("server", "shop/web1", "ready"), "web1 of pool shop stands as configured\n");
  assert.equal(await answers(), "web1,web1,web2,web2");
  assert.equal(await dlba("weight", "shop/web1", "3"), "web1 of pool shop stands as configured, weight 3\n");
  assert.equal(await answers(), "web1,web1,web1,web2");

  writeFileSync(ill, "web1");
  await until("web1 is ill", async () => /web1 .* down \(status 503\)/.test(await dlba("show", "web")));
  assert.equal(await answers(), "web2,web2,web2,web2");
  writeFileSync(ill, "");
  await until("web1 is well", async () => !/ down /.test(await dlba("show", "web")));
  assert.equal(await answers(), "web1,web1,web1,web2");
});
