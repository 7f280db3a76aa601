/** A whole lab: up, used, hurt, healed, down. Needs root. */
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { isDeepStrictEqual } from "node:util";
import { curl } from "../../lab/client-tools.ts";
import { labBlock, labHealPartition, labPartition } from "../../lab/cuts.ts";
import {
  labArgv,
  labCut,
  labDown,
  labExec,
  labHeal,
  labKill,
  labSignal,
  labSignalProcess,
  labStartNode,
  labStatus,
  labStopNode,
  labWipeNode,
} from "../../lab/lab.ts";
import { labPlaces } from "../../lab/places.ts";
import type { LabState, LabStatus } from "../../lab/state.ts";
import { labHandover, labScheduler, labSchedulerSoon } from "../../lab/scheduler.ts";
import { namespacesOf } from "../../lab/topology.ts";
import { labUp } from "../../lab/up.ts";
import { isRunning, processIdentity, type ProcessIdentity } from "../../net/process-identity.ts";

const ROOT = join(import.meta.dirname, "../..");
const WITHIN_MS = 60_000;
const LAB = `t${process.pid}`;

async function eventually(what: string, isSo: () => boolean | Promise<boolean>): Promise<void> {
  const deadline_ms = performance.now() + WITHIN_MS;
  while (!(await isSo())) {
    assert.ok(performance.now() < deadline_ms, `waited for ${what}`);
    await sleep(50);
  }
}

function nothingLeft(name: string): void {
  const { dir, pinDir, namespacePrefix } = labPlaces(name);
  assert.deepEqual(namespacesOf(namespacePrefix), []);
  assert.deepEqual([existsSync(dir), existsSync(pinDir)], [false, false]);
}

function processOf(status: LabStatus, host: string, part: string): ProcessIdentity {
  const found = status.hosts
    .find(({ name }) => name === host)
    ?.processes.find(({ command }) => command.includes(part));
  const identity = found === undefined ? undefined : processIdentity(found.pid);
  assert.ok(identity !== undefined, `${part} runs on ${host}`);
  return identity;
}

async function allProcesses(name: string): Promise<ProcessIdentity[]> {
  const { hosts } = await labStatus(name);
  return hosts.flatMap(({ processes }) => processes.flatMap(({ pid }) => processIdentity(pid) ?? []));
}

/** Frames that a host of the lab has received. */
async function framesTo(host: string): Promise<number> {
  const { stdout } = await labExec(LAB, host, ["cat", "/proc/net/dev"]);
  return Number(/eth0: +\d+ +(\d+)/.exec(stdout)?.[1]);
}

async function asksInVain(host: string, url: string): Promise<boolean> {
  return (await labExec(LAB, host, ["curl", "-sf", "-m", "1", "-o", "/dev/null", url])).code !== 0;
}

/** Which web servers the clients reach: the first client's two, then the second one's. */
async function reached(): Promise<boolean[]> {
  const seen: boolean[] = [];
  for (const client of ["client", "client2"]) {
    for (const web of [1, 2]) seen.push(!(await asksInVain(client, `http://198.18.2.${web}/id`)));
  }
  return seen;
}

const OPTIONS = { name: LAB, nodes: 3, webs: 2, clients: 2, farMtu_bytes: 1400, idleNodes: [3] } as const;

describe("a lab of three nodes, one of them idle, two web servers, two clients and a far one", () => {
  let state: LabState;
  before(async () => {
    ({ state } = await labUp(OPTIONS));
  });
  after(async () => {
    await labDown(LAB);
    nothingLeft(LAB);
  });

  const url = (path: string): string => `http://${state.vips[0]}${path}`;
  const get = async (paths: readonly string[]): Promise<number[]> => {
    const answers = await curl(LAB, paths.map(url), { caFile: state.ca_file, keepAlive: false });
    return answers.map(({ status }) => status);
  };

  test("up again says that it is up; up differently is refused", async () => {
    assert.equal((await labUp(OPTIONS)).wasUp, true);
    await assert.rejects(labUp({ ...OPTIONS, webs: 3 }), { code: "LAB_DIFFERS" });
    assert.equal((await labStatus(LAB)).hosts.length, 9);
  });

  test("every file arrives with its SHA-256, over IPv4 and IPv6, HTTP and HTTPS", async () => {
    for (const vip of state.vips) {
      const host = vip.includes(":") ? `[${vip}]` : vip;
      for (const origin of [`http://${host}`, `https://${host}`]) {
        for (const { path, sha256 } of state.web_files) {
          const script = `curl -sfg --cacert ${state.ca_file} '${origin}${path}' | sha256sum`;
          const { stdout } = await labExec(LAB, "client", ["sh", "-c", script]);
          assert.equal(stdout.slice(0, 64), sha256, `${origin}${path}`);
        }
      }
    }
  });

  test("an upload arrives with its SHA-256", async () => {
    const file = state.web_files.find(({ path }) => path === "/1m");
    const upload = ["curl", "-s", "-T", join(state.web_root, "1m"), url("/app/sha256")];
    const { stdout } = await labExec(LAB, "client", upload);
    assert.deepEqual(JSON.parse(stdout), { size_bytes: file?.size_bytes, sha256: file?.sha256 });
  });

  test("certificates are chosen by name and signed by the lab's authority", async () => {
    for (const name of state.server_names) {
      const resolve = ["--resolve", `${name}:443:${state.vips[0]}`];
      const args = ["curl", "-s", "--cacert", state.ca_file, ...resolve, `https://${name}/id`];
      assert.match((await labExec(LAB, "client", args)).stdout, /^web[12]\n$/);
    }
  });

  test("exec passes output, input and exit code on; unknown hosts are told", async () => {
    const result = await labExec(LAB, "web1", ["sh", "-c", "cat; echo no >&2; exit 9"], "yes");
    assert.deepEqual(result, { code: 9, stdout: "yes", stderr: "no\n" });
    assert.throws(() => labArgv(LAB, "web3", ["true"]), { code: "UNKNOWN_HOST" });
  });

  test("the supervisor starts a killed worker again, and requests are answered as before", async () => {
    const worker = processOf(await labStatus(LAB), "node1", "dlba-server/main.ts");
    process.kill(worker.pid, "SIGKILL");
    await eventually("a new worker", async () => {
      const { hosts } = await labStatus(LAB);
      const { processes = [] } = hosts.find(({ name }) => name === "node1") ?? {};
      return processes.some(
        ({ pid, command }) => pid !== worker.pid && command.includes("dlba-server/main.ts"),
      );
    });
    const paths = Array.from({ length: 10 }, () => "/id");
    await eventually("all requests to be answered", async () =>
      (await get(paths)).every((code) => code === 200),
    );
  });

  test("the node's processes die with its supervisor; heal starts them again", async () => {
    const status = await labStatus(LAB);
    const supervisor = processOf(status, "node2", "cli/main.ts run");
    const children = ["scheduler", "failover", "dlba-server", "status"].map((folder) =>
      processOf(status, "node2", `${folder}/main.ts`),
    );
    process.kill(supervisor.pid, "SIGKILL");
    await eventually("the node's processes to end", () => !children.some(isRunning));
    await labHeal(LAB, "node2");
    processOf(await labStatus(LAB), "node2", "dlba-server/main.ts");
  });

  test("a killed web server's requests go to the other one; healed, it serves again", async () => {
    assert.ok((await labKill(LAB, "web1")) >= 2);
    const paths = Array.from({ length: 8 }, () => "/id");
    assert.deepEqual(
      await get(paths),
      Array.from({ length: 8 }, () => 200),
    );
    await labHeal(LAB, "web1");
    const direct = ["curl", "-s", "http://198.18.2.1/id"];
    assert.equal((await labExec(LAB, "client", direct)).stdout, "web1\n");
  });

  test("cut takes a host off the segment, heal puts it back", async () => {
    const direct = ["curl", "-s", "-m", "2", "-o", "/dev/null", "http://198.18.2.2/id"];
    await labCut(LAB, "web2");
    const { hosts } = await labStatus(LAB);
    assert.deepEqual(
      hosts.filter(({ is_cut }) => is_cut).map(({ name }) => name),
      ["web2"],
    );
    assert.notEqual((await labExec(LAB, "client", direct)).code, 0);
    await labHeal(LAB, "web2");
    await eventually("web2 to be reached", async () => (await labExec(LAB, "client", direct)).code === 0);
  });

  test("a partition keeps its sides apart, and nobody else; healed, all see all", async () => {
    try {
      for (const [sides, expected] of [
        [
          [["client", "web1"], ["client2"]],
          [true, true, false, true],
        ],
        [
          [["client"], ["web1", "web2"]],
          [false, false, true, true],
        ],
        [[], [true, true, true, true]],
      ] as const) {
        await labPartition(LAB, sides);
        // Who can be reached may be slow to answer on a busy machine; who can't be never is.
        await eventually(JSON.stringify([sides, expected]), async () =>
          isDeepStrictEqual(await reached(), expected),
        );
      }
    } finally {
      await labHealPartition(LAB);
    }
  });

  test("a blocked way drops what goes there and lets through what comes from there", async () => {
    try {
      await labBlock(LAB, ["web2"], ["client"]);
      const before = await framesTo("web2");
      assert.equal(await asksInVain("client", "http://198.18.2.2/id"), true);
      assert.ok((await framesTo("web2")) > before, "the questions arrive");
      await labHealPartition(LAB);
      await eventually(
        "web2 to be reached",
        async () => !(await asksInVain("client", "http://198.18.2.2/id")),
      );
    } finally {
      await labHealPartition(LAB);
    }
  });

  test("one kind of process of a node can be stopped by itself", async () => {
    const stopped = async (): Promise<string[]> => {
      const processes = (await labStatus(LAB)).hosts.find(({ name }) => name === "node2")?.processes ?? [];
      return processes.filter(({ is_stopped }) => is_stopped).map(({ command }) => command);
    };
    assert.equal(labSignalProcess(LAB, "node2", "failover", "SIGSTOP"), 1);
    await eventually("it to be stopped", async () => (await stopped()).length === 1);
    assert.match((await stopped()).join(), /failover\/main\.ts/);
    assert.equal(labSignalProcess(LAB, "node2", "failover", "SIGCONT"), 1);
    await eventually("it to go on", async () => (await stopped()).length === 0);
    assert.throws(() => labSignalProcess(LAB, "web1", "failover", "SIGCONT"), { code: "NOT_A_NODE" });
  });

  test("the scheduler is found by asking, and hands over when it is asked to", async () => {
    const former = await labSchedulerSoon(LAB);
    const other = former === "node1" ? "node2" : "node1";
    await eventually("the other node to schedule", async () => {
      // Refused while that node is only just starting.
      await labHandover(LAB, other).catch(() => "");
      return (await labScheduler(LAB)) === other;
    });
  });

  test("a far client is served through the router; its cable can be cut and put back", async () => {
    const [answer] = await curl(LAB, [url("/id")], { caFile: state.ca_file, keepAlive: false });
    assert.equal(answer?.status, 200);
    const fromFar = async (): Promise<boolean> => {
      const { code } = await labExec(LAB, "far", ["curl", "-sf", "-m", "2", "-o", "/dev/null", url("/id")]);
      return code === 0;
    };
    await eventually("far to be served", fromFar);
    await labCut(LAB, "far");
    assert.equal(await fromFar(), false);
    await labHeal(LAB, "far");
    await eventually("far to be served", fromFar);
  });

  test("an idle node runs when it is started, ends in order, and can be wiped", async () => {
    const processes = async (): Promise<number> =>
      (await labStatus(LAB)).hosts.find(({ name }) => name === "node3")?.processes.length ?? -1;
    const vipsOnLo = async (): Promise<boolean> =>
      (await labExec(LAB, "node3", ["ip", "addr", "show", "dev", "lo"])).stdout.includes(state.vips[0]!);
    assert.deepEqual([await processes(), await vipsOnLo()], [0, false]);
    await labStartNode(LAB, "node3");
    assert.deepEqual([(await processes()) >= 5, await vipsOnLo()], [true, true]);
    assert.equal(await labStopNode(LAB, "node3"), true);
    assert.deepEqual([await processes(), await vipsOnLo()], [0, true]);
    assert.equal(await labStopNode(LAB, "node3"), false);
    await labWipeNode(LAB, "node3");
    assert.equal(await vipsOnLo(), false);
    await assert.rejects(labStartNode(LAB, "web1"), { code: "NOT_A_NODE" });
  });

  test("stop and cont halt a host's processes and let them go on", async () => {
    const count = labSignal(LAB, "node2", "SIGSTOP");
    await eventually("all to be stopped", async () => {
      const { hosts } = await labStatus(LAB);
      const processes = hosts.find(({ name }) => name === "node2")?.processes ?? [];
      return processes.length === count && processes.every(({ is_stopped }) => is_stopped);
    });
    labSignal(LAB, "node2", "SIGCONT");
    await eventually("none to be stopped", async () => {
      const { hosts } = await labStatus(LAB);
      return hosts.every(({ processes }) => processes.every(({ is_stopped }) => !is_stopped));
    });
  });

  test("another lab beside it has the same addresses, and neither notices the other", async () => {
    const other = `${LAB}b`;
    try {
      const { state: beside } = await labUp({ name: other, nodes: 1, webs: 1 });
      assert.deepEqual(beside.vips, state.vips);
      const [answer] = await curl(other, [`http://${beside.vips[0]}/id`], {
        caFile: beside.ca_file,
        keepAlive: false,
      });
      assert.equal(answer?.web, "web1");
    } finally {
      await labDown(other);
    }
    nothingLeft(other);
    assert.deepEqual(await get(["/id"]), [200]);
  });

  test("down ends every process of the lab", async () => {
    const processes = await allProcesses(LAB);
    assert.ok(processes.length > 10);
    assert.equal(await labDown(LAB), true);
    assert.deepEqual(processes.filter(isRunning), []);
    nothingLeft(LAB);
    assert.equal(await labDown(LAB), false);
  });
});

test("up cleans first what an up that was killed left behind", async () => {
  const name = `${LAB}c`;
  const places = labPlaces(name);
  try {
    const first = spawn(join(ROOT, "bin/dlba"), ["lab", "up", "--name", name, "--nodes", "1", "--web", "1"], {
      stdio: "ignore",
    });
    await eventually("some namespaces", () => namespacesOf(places.namespacePrefix).length >= 2);
    first.kill("SIGKILL");
    await eventually("the first up to be dead", () => first.signalCode !== null || first.exitCode !== null);
    const { wasUp } = await labUp({ name, nodes: 1, webs: 1 });
    assert.equal(wasUp, false);
    assert.equal(JSON.parse(readFileSync(places.stateFile, "utf8")).state, "up");
  } finally {
    await labDown(name);
  }
  nothingLeft(name);
});

test("an interrupted up leaves nothing", async () => {
  const name = `${LAB}e`;
  const up = spawn(join(ROOT, "bin/dlba"), ["lab", "up", "--name", name], { stdio: "ignore" });
  const ended = once(up, "exit");
  await eventually("some namespaces", () => namespacesOf(labPlaces(name).namespacePrefix).length >= 2);
  up.kill("SIGINT");
  assert.deepEqual(await ended, [130, null]);
  nothingLeft(name);
});

const OPERATORS = `array: { name: prod, key_file: /nonexistent/array.key }
nodes:
  - { number: 5, name: lb-five, address: 10.77.0.5, interface: ens5 }
  - { number: 9, name: lb-nine, address: 10.77.0.9, interface: ens9, mac: "02:00:00:00:00:99" }
vservers:
  - name: shop
    vips: [203.0.113.80, "2001:db8:80::80"]
    ports: [8443]
    protocol: https
    hosts: [shop.example.org]
    certificates: [{ certificate: /nonexistent/shop.crt, key: /nonexistent/shop.key }]
    pool: app
pools:
  - name: app
    servers: [{ id: app1, address: 10.88.1.1, port: 8080 }, { id: app2, address: "2001:db8:88::2", port: 81 }]
limits: { workers: 1 }
`;

test("an operator's own file is run with its names, addresses, ports and interfaces", async () => {
  const name = `${LAB}f`;
  const dir = mkdtempSync(join(tmpdir(), "dlba-lab-"));
  try {
    const configFile = join(dir, "prod.yaml");
    writeFileSync(configFile, OPERATORS);
    const { state } = await labUp({ name, configFile });
    assert.equal(state.changes.length, 3);
    assert.match(await labSchedulerSoon(name), /^node[59]$/);
    for (const vip of state.vips) {
      const resolve = ["--resolve", `shop.example.org:8443:${vip}`];
      const curlArgs = [
        "curl",
        "-s",
        "--cacert",
        state.ca_file,
        ...resolve,
        "https://shop.example.org:8443/id",
      ];
      const seen = new Set<string>();
      for (let i = 0; i < 12; i++) seen.add((await labExec(name, "client", curlArgs)).stdout);
      assert.deepEqual([...seen].toSorted(), ["app1\n", "app2\n"], vip);
    }
    const links = await labExec(name, "lb-nine", ["ip", "-br", "link", "show", "ens9"]);
    assert.match(links.stdout, /02:00:00:00:00:99/);
  } finally {
    await labDown(name);
    rmSync(dir, { recursive: true });
  }
  nothingLeft(name);
});

test("an up that fails says why and leaves nothing", async () => {
  const name = `${LAB}d`;
  await assert.rejects(labUp({ name, nodes: 2, webs: 1, idleNodes: [3] }), { code: "LAB_IMPOSSIBLE" });
  nothingLeft(name);
  await assert.rejects(labUp({ name, configFile: "/nonexistent.yaml" }), { code: "CONFIG_UNREADABLE" });
  nothingLeft(name);
});
