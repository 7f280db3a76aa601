/** The array key is changed while the array runs, and nobody notices. Needs root. */
import assert from "node:assert/strict";
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { cpSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { parseArrayKey } from "../../conf/keys.ts";
import { labArgv, labDown, labExec, labShow } from "../../lab/lab.ts";
import type { LabHost } from "../../lab/state.ts";
import { labUp } from "../../lab/up.ts";
import { type CommandResult, tryCommand } from "../../net/command.ts";

const LAB = `k${process.pid}`;
const DIR = mkdtempSync(join(tmpdir(), "dlba-key-"));
const DLBA = join(import.meta.dirname, "../../bin/dlba");
const VIP = "198.18.0.100";
const WITHIN_MS = 90_000;
const KEYS = join(DIR, "keys");
const KEY_FILE = join(KEYS, "array.key");
const NODES = [1, 2, 3];

const CONFIG = JSON.stringify({
  array: { name: "keys", key_file: KEY_FILE },
  nodes: NODES.map((number) => ({
    number,
    name: `node${number}`,
    address: `198.18.1.${number}`,
    interface: "eth0",
  })),
  vservers: [
    { name: "http", vips: [VIP], ports: [80], protocol: "http", pool: "web" },
    {
      name: "https",
      vips: [VIP],
      ports: [443],
      protocol: "https",
      pool: "web",
      certificates: [{ certificate: join(DIR, "made.crt"), key: join(DIR, "made.key") }],
    },
  ],
  pools: [{ name: "web", servers: [{ id: "web1", address: "198.18.2.1" }] }],
  scheduler: { xdp: "generic" },
  limits: { workers: 1 },
});

async function eventually(what: string, isSo: () => boolean | Promise<boolean>): Promise<void> {
  const deadline_ms = performance.now() + WITHIN_MS;
  while (!(await isSo())) {
    assert.ok(performance.now() < deadline_ms, `waited for ${what}`);
    await sleep(50);
  }
}

/** wrk on the client, until it is told to end; resolves with what it says. */
function load(...more: string[]): { child: ChildProcess; said: Promise<string> } {
  const wrk = ["wrk", "-t1", "-c8", "-d60s", "--timeout", "30s", ...more];
  const [program = "", ...args] = labArgv(LAB, "client", wrk);
  const child = spawn(program, args, { stdio: ["ignore", "pipe", "inherit"] });
  let text = "";
  child.stdout.on("data", (data) => (text += String(data)));
  return { child, said: once(child, "close").then(() => text) };
}

const info = async (node: string, name: string): Promise<unknown> => {
  const shown = await labShow(LAB, node, "info").catch(() => ({}));
  return Reflect.get(Object(shown), name);
};

const allFollow = async (): Promise<boolean> => {
  const nodes = await labShow(LAB, "node1", "nodes").catch(() => ({ nodes: [] }));
  const states: unknown[] = Reflect.get(Object(nodes), "nodes");
  return states.length === 3 && states.every((row) => Reflect.get(Object(row), "state") === "up");
};

const keyOf = (node: string): string => readFileSync(join(DIR, node, "array.key"), "latin1");

describe("the array key", () => {
  let hosts: readonly LabHost[] = [];
  let configFile = "";
  const supervisors = new Map<string, ChildProcess>();
  const host = (name: string): LabHost => hosts.find((each) => each.name === name)!;

  /** Each node has a disk of its own, as far as the key goes: its directory is mounted over that of the configuration. */
  async function start(node: string): Promise<void> {
    const { run_dir, pin_dir, log_file } = host(node);
    mkdirSync(run_dir, { recursive: true });
    const places = ["--pin-dir", pin_dir ?? "", "--run-dir", run_dir];
    const run = [DLBA, "run", "--config", configFile, "--node", node, ...places];
    const script = 'mount --bind "$0" "$1" && log=$2 && shift 2 && exec "$@" >>"$log" 2>&1';
    const inside = ["unshare", "--mount", "sh", "-c", script, join(DIR, node), KEYS, log_file, ...run];
    const [program = "", ...args] = labArgv(LAB, node, inside);
    const child = spawn(program, args, { stdio: "ignore" });
    supervisors.set(node, child);
    writeFileSync(log_file, "");
    await eventually(`${node} to be ready`, () => {
      assert.equal(child.exitCode, null, readFileSync(log_file, "utf8"));
      return readFileSync(log_file, "utf8").includes('"msg":"ready"');
    });
  }

  async function kill(node: string): Promise<void> {
    const child = supervisors.get(node)!;
    child.kill("SIGKILL");
    if (child.exitCode === null && child.signalCode === null) await once(child, "exit");
  }

  const keyCommand = (node: string, ...args: string[]): Promise<CommandResult> => {
    const inside = ["-t", String(supervisors.get(node)!.pid), "-m", "-n", "--"];
    return tryCommand("nsenter", [...inside, DLBA, "key", ...args, "--config", configFile]);
  };

  before(async () => {
    const config = join(DIR, "dlba.yaml");
    writeFileSync(config, CONFIG);
    mkdirSync(KEYS);
    writeFileSync(KEY_FILE, `${Buffer.alloc(32, 9).toString("base64")}\n`, { mode: 0o600 });
    const { state } = await labUp({ name: LAB, configFile: config, idleNodes: NODES });
    ({ hosts, config_file: configFile } = state);
    for (const number of NODES) cpSync(KEYS, join(DIR, `node${number}`), { recursive: true });
    await Promise.all(NODES.map((number) => start(`node${number}`)));
    await eventually("all nodes to be up", allFollow);
  });
  after(async () => {
    await labDown(LAB);
    rmSync(DIR, { recursive: true });
  });

  test("is changed under load: no request fails, and nobody takes over", async () => {
    const epochs = await Promise.all(NODES.map((number) => info(`node${number}`, "Failover_epoch")));
    const loads = [
      load(`http://${VIP}/100b`),
      load(`https://${VIP}/100b`),
      load("-H", "Connection: close", `https://${VIP}/100b`),
    ];
    await sleep(500);
    const { code, stdout, stderr } = await keyCommand("node2", "rotate");
    assert.equal(code, 0, `${stdout}${stderr}`);
    await sleep(1500);
    for (const { child } of loads) child.kill("SIGINT");
    for (const said of await Promise.all(loads.map((each) => each.said))) {
      assert.match(said, /[1-9]\d* requests in/);
      assert.doesNotMatch(said, /Socket errors|Non-2xx/, said);
    }
    const texts = NODES.map((number) => keyOf(`node${number}`));
    const { also, seed } = parseArrayKey(texts[0]!, "");
    assert.equal(also, undefined);
    assert.deepEqual(texts, [texts[0], texts[0], texts[0]]);
    assert.deepEqual(seed, parseArrayKey(readFileSync(KEY_FILE, "latin1"), "").seed, "the seed stays");
    assert.ok(!texts[0]!.includes(Buffer.alloc(32, 9).toString("base64")), "the old key is forgotten");
    assert.deepEqual(
      await Promise.all(NODES.map((number) => info(`node${number}`, "Failover_epoch"))),
      epochs,
    );
    assert.ok(await allFollow(), "every node is up, by the new key");
    assert.ok(
      !/"level":(?:50|60)/.test(
        hosts
          .filter(({ kind }) => kind === "node")
          .map(({ log_file }) => readFileSync(log_file, "utf8"))
          .join(""),
      ),
    );
  });

  test("a change that is broken off waits for nobody, and any node carries it on when all are there", async () => {
    const before = keyOf("node1");
    // The command and a node die together when one node has the next key and speaks with it, or about then.
    const inside = ["-t", String(supervisors.get("node2")!.pid), "-m", "-n", "--"];
    const rotate = [...inside, DLBA, "key", "rotate", "--config", configFile];
    const command = spawn("nsenter", rotate, { stdio: ["ignore", "pipe", "ignore"] });
    const broken = once(command, "exit");
    command.stdout.once("data", () => {
      command.kill("SIGKILL");
      supervisors.get("node3")!.kill("SIGKILL");
    });
    await broken;
    await kill("node3");
    const away = await keyCommand("node2", "rotate");
    assert.equal(away.code, 1, away.stdout + away.stderr);
    assert.match(away.stderr, /node3 is away/);
    assert.match((await keyCommand("node1", "show")).stdout, /hears \w{16}, too|still hears \w{16}/);
    await start("node3");
    await eventually("node3 to be up", allFollow);
    const { code, stderr } = await keyCommand("node1", "rotate");
    assert.equal(code, 0, stderr);
    const shown = await keyCommand("node3", "show");
    assert.match(shown.stdout, /node1: key (\w{16})\nnode2: key \1\nnode3: key \1\n/);
    assert.notEqual(keyOf("node1"), before);
    assert.equal(keyOf("node3"), keyOf("node1"));
  });

  test("cookies of before the change still lead to their web server", async () => {
    const curl = ["curl", "-s", "-m", "5", "-D", "-", "-o", "/dev/null", `http://${VIP}/100b`];
    const said = async (): Promise<string> => (await labExec(LAB, "client", curl)).stdout;
    const before = /DLBA=([\w-]{22})/.exec(await said())?.[1];
    assert.ok(before !== undefined, await said());
    const { code, stderr } = await keyCommand("node1", "rotate");
    assert.equal(code, 0, stderr);
    assert.match(await said(), new RegExp(`DLBA=${before}`));
  });

  test("a node that was left behind is no node any more, until it has the new key", async () => {
    await kill("node3");
    const { code, stderr } = await keyCommand("node1", "rotate", "--without", "node3");
    assert.equal(code, 0, stderr);
    assert.match(stderr, /note: node3 has been left behind: to have it again, .* have it join/);
    await start("node3");
    const shown = await keyCommand("node3", "show");
    assert.match(
      shown.stdout,
      /node1: away: .* has another array key .*\nnode2: away: .*\nnode3: key \w{16}\n/,
    );
    assert.equal(await allFollow(), false);
    await kill("node3");
    cpSync(join(DIR, "node1"), join(DIR, "node3"), { recursive: true });
    await start("node3");
    await eventually("node3 to be up", allFollow);
  });
});
