/** Two workers of a node, as they are run, count a client's connections together, and forget what a killed one had. */
import assert from "node:assert/strict";
import { spawn, type ChildProcess } from "node:child_process";
import { randomBytes } from "node:crypto";
import { once } from "node:events";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test, type TestContext } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { WORKER_NODE_FLAGS } from "../../dlba-server/node-flags.ts";

const ROOT = join(import.meta.dirname, "../..");
const directory = mkdtempSync(join(tmpdir(), "dlba-shared-"));
after(() => rmSync(directory, { recursive: true }));
const MOST = 12;

const keyFile = join(directory, "array.key");
writeFileSync(keyFile, randomBytes(32).toString("base64"), { mode: 0o600 });
const configFile = join(directory, "array.yaml");
writeFileSync(
  configFile,
  `array: {name: test, key_file: ${keyFile}}
nodes: [{number: 1, name: one, address: 192.0.2.11, interface: lo}]
vservers:
  - {name: web, vips: [192.0.2.10], ports: [80], protocol: http, pool: p, max_connections_per_client: ${MOST}}
pools: [{name: p, servers: [{id: web1, address: 192.0.2.21, port: 8080}]}]
limits: {workers: 2}
timeouts: {keep_alive_ms: 600000}
`,
);
const PLACES = ["--config", configFile, "--node", "one", "--pin-dir", directory, "--run-dir", directory];

/** A web server, and a client that holds what it gets: asked to, it opens connections until eight in a row are not served. */
const OTHERS = `
  const { createServer } = require("node:http");
  const { connect } = require("node:net");
  createServer((request, response) => response.end("ok")).listen(8080, "192.0.2.21");
  let held = [];
  const ask = () => new Promise((resolve) => {
    const socket = connect(80, "192.0.2.10");
    socket.on("error", () => {});
    socket.once("data", (data) => resolve({ socket, isServed: data.toString().startsWith("HTTP/1.1 200") }));
    socket.once("close", () => resolve({ socket, isServed: false }));
    socket.write("GET / HTTP/1.1\\r\\nHost: a\\r\\n\\r\\n");
  });
  process.on("message", async () => {
    held = held.filter((socket) => !socket.destroyed);
    for (let refused = 0; refused < 8; ) {
      const { socket, isServed } = await ask();
      if (isServed) held.push(socket);
      else socket.destroy();
      refused = isServed ? 0 : refused + 1;
    }
    process.send(held.length);
  });
`;

/** A namespace in which nothing runs but a shell that waits; it has all addresses. */
async function network(t: TestContext): Promise<readonly string[]> {
  const addresses = ["10", "11", "21"].map((last) => `ip address add 192.0.2.${last}/32 dev lo`);
  const script = `ip link set lo up && ${addresses.join(" && ")} && echo ready && exec sleep 600`;
  const shell = spawn("unshare", ["--net", "sh", "-c", script], { stdio: ["ignore", "pipe", "inherit"] });
  t.after(() => shell.kill("SIGKILL"));
  await once(shell.stdout, "data");
  return ["nsenter", `--net=/proc/${shell.pid}/ns/net`];
}

function start(t: TestContext, inside: readonly string[], args: readonly string[]): ChildProcess {
  const [program = "", ...words] = [...inside, process.execPath, ...args];
  const child = spawn(program, words, { stdio: ["ignore", "ignore", "inherit", "ipc"] });
  t.after(() => child.kill("SIGKILL"));
  return child;
}

/** A worker that listens. */
async function worker(t: TestContext, inside: readonly string[], index: number): Promise<ChildProcess> {
  const main = [...WORKER_NODE_FLAGS, join(ROOT, "dlba-server/main.ts"), ...PLACES];
  const child = start(t, inside, [...main, "--worker", String(index)]);
  await once(child, "message");
  child.send({ kind: "serve" });
  return child;
}

test("a client has so many connections to all workers together, and after a worker's death again", async (t) => {
  const inside = await network(t);
  const client = start(t, inside, ["-e", OTHERS]);
  const fill = async (): Promise<number> => {
    client.send("fill");
    const [count] = (await once(client, "message")) as [number];
    return count;
  };
  const workers = [await worker(t, inside, 0), await worker(t, inside, 1)];
  assert.equal(await fill(), MOST);
  workers[0]!.kill("SIGKILL");
  await once(workers[0]!, "exit");
  // Its connections are gone at once, and its count when it has been silent for some seconds.
  for (let tries = 0; (await fill()) !== MOST; tries++) {
    assert.ok(tries < 100, "what the killed one had is not forgotten");
    await sleep(200);
  }
});
