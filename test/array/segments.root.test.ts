/** An array on two segments: the VIP is answered for on both, frames leave by the segment that they came in by. */
import assert from "node:assert/strict";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { labDown, labExec, labShow } from "../../lab/lab.ts";
import { labPlaces } from "../../lab/places.ts";
import { labSchedulerSoon } from "../../lab/scheduler.ts";
import { labUp } from "../../lab/up.ts";
import { command } from "../../net/command.ts";

const LAB = `g${process.pid}`;
const DIR = mkdtempSync(join(tmpdir(), "dlba-segments-"));
const VIP = "198.18.0.100";
const SEGMENTS = ["eth0", "eth1"] as const;
const WITHIN_MS = 60_000;

function configFile(): string {
  const nodes = [1, 2, 3].map((number) => ({
    number,
    name: `node${number}`,
    address: `198.18.1.${number}`,
    interface: "eth0",
    interfaces: [{ interface: "eth1", address: `198.19.1.${number}` }],
  }));
  const config = {
    array: { name: "segments", key_file: join(DIR, "made-by-the-lab.key") },
    nodes,
    vservers: [{ name: "http", vips: [VIP], ports: [80], protocol: "http", pool: "web" }],
    pools: [{ name: "web", servers: [{ id: "web1", address: "198.18.2.1" }] }],
    scheduler: { xdp: "generic" },
    limits: { workers: 1 },
  };
  const file = join(DIR, "dlba.yaml");
  writeFileSync(file, JSON.stringify(config));
  return file;
}

/** The nodes that answer new connections of the client, made on one of its interfaces; "" for none. */
async function whoAnswers(segment: (typeof SEGMENTS)[number], count: number): Promise<Set<string>> {
  const url = `url = "http://${VIP}/id"\noutput = "/dev/null"\n`;
  const general = `interface = "${segment}"\nsilent\nnoproxy = "*"\nmax-time = 20\nheader = "Connection: close"\n`;
  const form = 'write-out = "%header{x-asked-by}\\n"\n';
  const { stdout } = await labExec(LAB, "client", ["curl", "-K", "-"], general + form + url.repeat(count));
  return new Set(stdout.split("\n").slice(0, count));
}

interface Row {
  readonly name: string;
  readonly state: string;
  readonly reason: string;
}
/** Undefined also when the scheduler's processes are busy, or only just starting. */
async function rowOf(name: string): Promise<Row | undefined> {
  const table = await labShow(LAB, await labSchedulerSoon(LAB), "nodes").catch(() => ({ nodes: [] }));
  const { nodes } = table as { nodes: readonly Row[] };
  return nodes.find((row) => row.name === name);
}

async function untilState(name: string, state: string): Promise<Row> {
  const deadline_ms = performance.now() + WITHIN_MS;
  for (;;) {
    const row = await rowOf(name);
    if (row?.state === state) return row;
    assert.ok(performance.now() < deadline_ms, `${name} is ${row?.state} and not ${state}`);
    await sleep(50);
  }
}

/** Takes one of a node's two cables out of its switch, or puts it back. */
async function setSecondCable(host: string, state: "up" | "down"): Promise<void> {
  await command("ip", ["-n", `${labPlaces(LAB).namespacePrefix}switch2`, "link", "set", "dev", host, state]);
}

describe("an array on two segments", () => {
  before(async () => {
    await labUp({ name: LAB, configFile: configFile() });
    for (const name of ["node1", "node2", "node3"]) await untilState(name, "up");
  });
  after(async () => {
    await labDown(LAB);
    rmSync(DIR, { recursive: true });
  });

  test("all nodes answer on both", async () => {
    for (const segment of SEGMENTS) {
      const names = await whoAnswers(segment, 60);
      assert.equal(names.size, 3, `${segment}: ${[...names].join(", ")}`);
      assert.ok(!names.has(""));
    }
  });

  test("a node that loses one of them is routed round on both, and is back with it", async () => {
    const scheduler = await labSchedulerSoon(LAB);
    const number = scheduler === "node2" ? 3 : 2;
    const victim = `node${number}`;
    await setSecondCable(victim, "down");
    const { reason } = await untilState(victim, "down");
    assert.ok(reason.includes(`198.19.1.${number} is silent`), reason);
    for (const segment of SEGMENTS) {
      const names = await whoAnswers(segment, 60);
      assert.ok(!names.has(`198.18.1.${number}`) && !names.has(""), `${segment}: ${[...names].join(", ")}`);
    }
    await setSecondCable(victim, "up");
    await untilState(victim, "up");
  });

  test("a scheduler that loses one of them is taken over from, and all is served on both", async () => {
    const former = await labSchedulerSoon(LAB);
    await setSecondCable(former, "down");
    const deadline_ms = performance.now() + WITHIN_MS;
    for (let now = former; now === former; now = await labSchedulerSoon(LAB)) {
      assert.ok(performance.now() < deadline_ms, `${former} still schedules`);
      await sleep(50);
    }
    await untilState(former, "down");
    for (const segment of SEGMENTS) {
      const names = await whoAnswers(segment, 60);
      assert.ok(names.size === 2 && !names.has(""), `${segment}: ${[...names].join(", ")}`);
    }
    await setSecondCable(former, "up");
    await untilState(former, "up");
  });
});
