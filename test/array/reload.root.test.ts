/** A running node takes a new configuration and new certificates, and no client notices. Needs root. */
import assert from "node:assert/strict";
import { type ChildProcess, execFileSync, spawn } from "node:child_process";
import { once } from "node:events";
import { copyFileSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { labArgv, labDown, labExec, labStartNode, labStatus } from "../../lab/lab.ts";
import type { LabState, LabStatus } from "../../lab/state.ts";
import { labUp } from "../../lab/up.ts";
import { tryCommand, type CommandResult } from "../../net/command.ts";
import { processIdentity } from "../../net/process-identity.ts";

const LAB = `r${process.pid}`;
const DIR = mkdtempSync(join(tmpdir(), "dlba-reload-"));
const DLBA = join(import.meta.dirname, "../../bin/dlba");
const VIP = "198.18.0.100";
const WITHIN_MS = 90_000;

const certificate = { certificate: join(DIR, "used.crt"), key: join(DIR, "used.key") };

function makeCertificate(name: string): void {
  const curve = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"];
  const subject = ["-subj", `/CN=${name}`, "-addext", "subjectAltName=DNS:www.lab.test", "-days", "2"];
  const out = ["-keyout", join(DIR, `${name}.key`), "-out", join(DIR, `${name}.crt`)];
  execFileSync("openssl", ["req", "-x509", ...curve, ...subject, ...out], { stdio: "ignore" });
}

function useCertificate(name: string): void {
  copyFileSync(join(DIR, `${name}.crt`), certificate.certificate);
  copyFileSync(join(DIR, `${name}.key`), certificate.key);
}

/** The configuration of one node, with changes. JSON is YAML. */
function configText(
  changes: {
    readonly ports?: number[];
    readonly timeouts?: object;
    readonly nodes?: object;
    readonly pools?: readonly object[];
  } = {},
): string {
  const shared = { vips: [VIP, "fd00:198:18::100"], pool: "web" };
  return JSON.stringify({
    array: { name: "reload", key_file: join(DIR, "made-by-the-lab.key") },
    nodes: [{ number: 1, name: "node1", address: "198.18.1.1", interface: "eth0", ...changes.nodes }],
    vservers: [
      { name: "http", ports: changes.ports ?? [80], protocol: "http", ...shared },
      { name: "https", ports: [443], protocol: "https", certificates: [certificate], ...shared },
    ],
    pools: [{ name: "web", servers: [{ id: "web1", address: "198.18.2.1" }] }, ...(changes.pools ?? [])],
    scheduler: { xdp: "generic" },
    timeouts: { keep_alive_ms: 3000, ...changes.timeouts },
    limits: { workers: 2 },
  });
}

async function eventually(what: string, isSo: () => boolean | Promise<boolean>): Promise<void> {
  const deadline_ms = performance.now() + WITHIN_MS;
  while (!(await isSo())) {
    assert.ok(performance.now() < deadline_ms, `waited for ${what}`);
    await sleep(100);
  }
}

/** wrk on the client; resolves with what it says when it has ended. */
function load(seconds: number, ...more: string[]): { child: ChildProcess; said: Promise<string> } {
  const wrk = ["wrk", "-t1", "-c16", `-d${seconds}s`, "--timeout", "30s", ...more];
  const [program = "", ...args] = labArgv(LAB, "client", wrk);
  const child = spawn(program, args, { stdio: ["ignore", "pipe", "inherit"] });
  let text = "";
  child.stdout.on("data", (data) => (text += String(data)));
  return { child, said: once(child, "close").then(() => text) };
}

function assertGood(said: string): void {
  assert.match(said, /[1-9]\d* requests in/);
  assert.doesNotMatch(said, /Socket errors|Non-2xx/);
}

async function supervised(): Promise<LabStatus["hosts"][number]["processes"]> {
  return (await labStatus(LAB)).hosts.find(({ name }) => name === "node1")!.processes;
}

async function onLo(): Promise<string[]> {
  const shown = await labExec(LAB, "node1", ["ip", "-o", "addr", "show", "dev", "lo"]);
  return [...shown.stdout.matchAll(/inet6? ([0-9a-f.:]+)\//g)].map(([, address = ""]) => address);
}

async function workers(): Promise<number[]> {
  return (await supervised())
    .filter(({ command }) => command.includes("dlba-server/main.ts"))
    .map(({ pid }) => pid);
}

/** Kills the first worker, whenever it is there. */
async function killFirst(): Promise<void> {
  for (const { pid, command } of await supervised()) {
    const isFirst = command.includes("dlba-server/main.ts") && / --worker 0( |$)/.test(command);
    // It may have ended since.
    if (isFirst && processIdentity(pid) !== undefined) process.kill(pid, "SIGKILL");
  }
}

async function status(port: number): Promise<string> {
  const url = `http://${VIP}:${port}/100b`;
  const curl = ["curl", "-s", "-m", "5", "-o", "/dev/null", "-w", "%{http_code}", url];
  return (await labExec(LAB, "client", curl)).stdout;
}

/** The common name of the certificate that a client gets. */
async function subject(): Promise<string> {
  const client = ["openssl", "s_client", "-connect", `${VIP}:443`, "-servername", "www.lab.test"];
  return /CN\s*=\s*(\w+)/.exec((await labExec(LAB, "client", client)).stdout)?.[1] ?? "";
}

describe("a node that runs", () => {
  let state: LabState;
  let key = "";
  const node = (): LabState["hosts"][number] => state.hosts.find(({ name }) => name === "node1")!;
  const write = (text: string): void =>
    writeFileSync(state.config_file, text.replaceAll(join(DIR, "made-by-the-lab.key"), key));
  const reload = async (): Promise<CommandResult> =>
    tryCommand(DLBA, ["reload", "--run-dir", node().run_dir]);
  const log = (): string => readFileSync(node().log_file, "utf8");

  before(async () => {
    for (const name of ["first", "second"]) makeCertificate(name);
    useCertificate("first");
    const configFile = join(DIR, "dlba.yaml");
    writeFileSync(configFile, configText());
    ({ state } = await labUp({ name: LAB, configFile, nodes: 1, webs: 1 }));
    key = /key_file"?: "?([^",\n]+)/.exec(readFileSync(state.config_file, "utf8"))![1]!;
  });
  after(async () => {
    await labDown(LAB);
    rmSync(DIR, { recursive: true });
  });

  test("takes new configurations under load, and no request fails: on kept connections, on new ones, over TLS", async () => {
    const loads = [
      load(12, `http://${VIP}/100b`),
      load(12, "-H", "Connection: close", `http://${VIP}/100b`),
      load(12, `https://${VIP}/100b`),
    ];
    await sleep(500);
    write(configText({ ports: [80, 81], timeouts: { response_head_ms: 20_000 } }));
    const first = await reload();
    assert.match(
      first.stdout,
      /^reloaded: 2 workers have a successor\nthe scheduler process is started again\n$/,
    );
    await eventually("the new port to be served", async () => (await status(81)) === "200");
    write(configText());
    assert.equal((await reload()).code, 0);
    await eventually("the port to be closed again", async () => (await status(81)) === "000");
    for (const { said } of loads) assertGood(await said);
    await eventually("the workers of before to end", async () => (await workers()).length === 2);
  });

  test("a configuration with errors, or one that needs a restart, changes nothing and says why", async () => {
    const before = await workers();
    write(configText().replace('"workers":2', '"workers":"many"'));
    const wrong = await reload();
    assert.equal(wrong.code, 1);
    assert.match(
      wrong.stderr,
      /nothing was changed:\n.*dlba\.yaml:1:\d+: limits\.workers is "many"; expected/s,
    );
    write(configText({ nodes: { interface: "eth9" } }));
    assert.match((await reload()).stderr, /a running node can't change nodes\[0\]\.interface/);
    rmSync(state.config_file);
    assert.match((await reload()).stderr, /can't be read/);
    write(configText({ timeouts: { drain_ms: 9000 } }));
    rmSync(certificate.key);
    assert.match((await reload()).stderr, /dlba\.yaml:1:\d+: the key .*used\.key can't be read/);
    useCertificate("first");
    write(configText());
    assert.deepEqual(await workers(), before);
    assert.equal(await status(80), "200");
  });

  test("certificates that change are taken by themselves, by the workers that there are", async () => {
    const before = await workers();
    assert.equal(await subject(), "first");
    // Half of a change is no change.
    copyFileSync(join(DIR, "second.crt"), certificate.certificate);
    await eventually("it to be refused", () => log().includes("does not belong to the certificate"));
    assert.equal(await subject(), "first");
    copyFileSync(join(DIR, "second.key"), certificate.key);
    await eventually("the new one to be used", async () => (await subject()) === "second");
    assert.deepEqual(await workers(), before);
  });

  test("a certificate that web servers are shown, too, is taken for that by a reload, whoever has taken it before", async () => {
    const servers = [{ id: "web1", address: "198.18.2.1" }];
    const shared = [{ name: "secure", tls: { verify: false, ...certificate }, servers }];
    write(configText({ pools: shared }));
    assert.match((await reload()).stdout, /^reloaded: 2 workers/);
    assert.match((await reload()).stdout, /^nothing has changed/);
    useCertificate("first");
    await eventually("it to be taken for clients", async () => (await subject()) === "first");
    assert.match((await reload()).stdout, /^reloaded: 2 workers/);
    assert.match((await reload()).stdout, /^nothing has changed/);
    write(configText());
    assert.equal((await reload()).code, 0);
    await eventually("the workers of before to end", async () => (await workers()).length === 2);
  });

  test("a worker that dies is started again with what all have, whatever has become of the files", async () => {
    rmSync(certificate.certificate);
    rmSync(state.config_file);
    const before = await workers();
    for (const pid of before) process.kill(pid, "SIGKILL");
    // Who connects meanwhile waits in the queue of a socket that the supervisor holds.
    const curl = ["curl", "-s", "-m", "60", "-o", "/dev/null", "-w", "%{http_code}"];
    const asked = Array.from({ length: 8 }, async () =>
      labExec(LAB, "client", [...curl, `http://${VIP}/100b`]),
    );
    assert.deepEqual(
      (await Promise.all(asked)).map(({ stdout }) => stdout),
      asked.map(() => "200"),
    );
    await eventually("both workers to be there", async () => (await workers()).length === 2);
    assert.equal(await subject(), "first");
    useCertificate("first");
    write(configText());
  });

  test("what comes to a worker that never gets up again is taken by another one meanwhile", async () => {
    const killing = setInterval(() => void killFirst(), 50);
    await eventually("the other one to stand in", () => log().includes("stands in for another worker"));
    const curl = ["curl", "-s", "-m", "30", "-o", "/dev/null", "-w", "%{http_code}"];
    // The kernel gives half of them to the one that is not there.
    const asked = Array.from({ length: 24 }, async () =>
      labExec(LAB, "client", [...curl, `http://${VIP}/100b`]),
    );
    const answers = await Promise.all(asked);
    clearInterval(killing);
    assert.deepEqual(
      answers.map(({ stdout }) => stdout),
      answers.map(() => "200"),
    );
    await eventually("both workers to be there", async () => (await workers()).length === 2);
  });

  test("a successor that is killed before it is ready is started again, and the reload goes on", async () => {
    const before = new Set(await workers());
    write(configText({ timeouts: { drain_ms: 8000 } }));
    const answer = reload();
    let victim = 0;
    await eventually("a successor", async () => {
      victim = (await workers()).find((pid) => !before.has(pid)) ?? 0;
      return victim !== 0;
    });
    process.kill(victim, "SIGKILL");
    assert.match((await answer).stdout, /^reloaded: 2 workers/);
    await eventually("the workers of before to end", async () => (await workers()).length === 2);
    assert.equal(await status(80), "200");
  });

  test("a supervisor that is killed in the midst of a reload leaves nothing, and the node starts again", async () => {
    const usual = await onLo();
    const bigger = configText({ ports: [80, 81] }).replaceAll(
      '"198.18.0.100"',
      '"198.18.0.100","198.18.0.101"',
    );
    // Before, while, and after successors get ready and take over.
    for (const moment_ms of [20, 400, 900]) {
      write(bigger);
      const answer = reload();
      await sleep(moment_ms);
      const main = (await supervised()).find(({ command }) => command.includes("cli/main.ts run"))!;
      process.kill(main.pid, "SIGKILL");
      await answer;
      await eventually("all of its processes to end", async () => (await supervised()).length === 0);
      write(configText());
      await labStartNode(LAB, "node1");
      assert.equal(await status(80), "200", `killed after ${moment_ms} ms`);
      assert.equal(await status(81), "000");
      assert.deepEqual((await onLo()).toSorted(), usual.toSorted());
      assert.equal((await workers()).length, 2);
    }
  });
});
