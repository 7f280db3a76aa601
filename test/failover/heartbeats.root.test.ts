/**
 * The failover processes of two nodes on one cable, in a network namespace of the test's own, with a data plane each.
 * Needs root.
 */
import assert from "node:assert/strict";
import { spawn, type ChildProcess } from "node:child_process";
import { once } from "node:events";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { before, test, type TestContext } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { deriveKey } from "../../conf/keys.ts";
import { HEARTBEAT_KEY_BYTES } from "../../net/heartbeat.ts";
import { readInterface } from "../../net/interface.ts";
import { detachDataPlane, openDataPlane, type DataPlane } from "../../scheduler/plane/data-plane.ts";
import { enterOwnNetwork, ip } from "../net/network-namespace.ts";
import { directory, pinDirectory, until } from "../scheduler/network.ts";

const MAIN = join(import.meta.dirname, "../../failover/main.ts");
const arrayKey = Buffer.alloc(32, 8);

before(() => {
  enterOwnNetwork();
  ip("link add name eth1 type veth peer name eth2");
  ip("link set eth1 up");
  ip("link set eth2 up");
});

function configIn(folder: string): string {
  const keyFile = join(folder, "array.key");
  writeFileSync(keyFile, arrayKey.toString("base64"));
  const configFile = join(folder, "dlba.yaml");
  writeFileSync(
    configFile,
    `array: { name: test, key_file: ${keyFile} }
nodes:
  - { number: 1, name: node1, address: 198.18.0.11, interface: eth1 }
  - { number: 2, name: node2, address: 198.18.0.12, interface: eth2 }
vservers:
  - { name: web, vips: [198.18.0.100], ports: [80], protocol: tcp }
`,
  );
  return configFile;
}

function planeOf(t: TestContext, number: number, pinDir: string): DataPlane {
  const name = `eth${number}`;
  const plane = openDataPlane({
    interfaces: [name],
    pinDir,
    tableSize: 1024,
    trafficRows: 64,
    mode: "generic",
  });
  t.after(() => {
    plane.close();
    detachDataPlane(pinDir);
  });
  plane.setNumber(number);
  plane.setHeartbeatKey(deriveKey(arrayKey, "heartbeat", HEARTBEAT_KEY_BYTES));
  plane.planes[0]!.setOwnMac(readInterface(name).mac);
  const other = 3 - number;
  const mac = readInterface(`eth${other}`).mac;
  const state = { isUp: true, isSelf: false, isReachable: true, isDraining: false };
  plane.planes[0]!.setNode(0, other, { mac, slot: 0, ...state });
  return plane;
}

function failover(t: TestContext, configFile: string, number: number, pinDir: string): ChildProcess {
  const places = ["--pin-dir", pinDir, "--run-dir", directory(t)];
  const child = spawn(
    process.execPath,
    [MAIN, "--config", configFile, "--node", `node${number}`, ...places],
    {
      stdio: ["ignore", "ignore", "pipe"],
    },
  );
  t.after(async () => {
    if (child.exitCode !== null || child.signalCode !== null) return;
    child.kill("SIGKILL");
    await once(child, "exit");
  });
  return child;
}

test("a node asks the scheduler's kernel as soon as there is a data plane; the scheduler does not ask from here", async (t) => {
  const configFile = configIn(directory(t));
  const pinDirs = [1, 2].map(() => pinDirectory(t));
  const [scheduling, other] = [1, 2].map((number) => failover(t, configFile, number, pinDirs[number - 1]!));
  assert.ok(scheduling && other);
  let said = "";
  other.stderr?.on("data", (chunk: Buffer) => (said += chunk.toString()));
  scheduling.stderr?.resume();
  // Mostly they run before there is a data plane; it must not matter.
  await sleep(1000);
  const [first, second] = [1, 2].map((number) => planeOf(t, number, pinDirs[number - 1]!));
  assert.ok(first && second);
  const { peers } = second.planes[0]!;
  await until("the scheduler has answered", () => peers.answered_ns(1) > 0n);
  const before = first.counters()["heartbeat_answered"] ?? 0;
  await sleep(1000);
  // 50 in a second on a machine that has time.
  assert.ok((first.counters()["heartbeat_answered"] ?? 0) - before >= 10);
  assert.equal(first.planes[0]!.peers.answered_ns(2), 0n);
  assert.equal(second.counters()["heartbeat_answered"], 0);

  other.kill("SIGTERM");
  await once(other, "close");
  assert.match(said, /"heartbeats":\{"sent":\d+,"failed":0\}/);
  assert.equal(other.exitCode, 0);
});
