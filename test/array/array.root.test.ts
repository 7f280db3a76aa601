/** What must hold of a whole array: nothing fails, nothing is changed on the way, nothing leaks. Needs root. */
import assert from "node:assert/strict";
import { execFileSync, spawn, type ChildProcess } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { labArgv, labCut, labDown, labExec, labHeal, labKill, labStatus } from "../../lab/lab.ts";
import type { LabState } from "../../lab/state.ts";
import { labUp } from "../../lab/up.ts";
import { command } from "../../net/command.ts";

const LAB = `a${process.pid}`;
const DIR = mkdtempSync(join(tmpdir(), "dlba-array-"));
const SERVER_NAMES = ["www.lab.test", "shop.lab.test"];
const NODES = ["node1", "node2", "node3"];
const WITHIN_MS = 90_000;
/** What the JavaScript heap and the allocator may keep after a round, over what they had before it. */
const MEMORY_SLACK_BYTES = 24 << 20;

interface Counts {
  /** Open descriptors of all processes on the nodes. */
  readonly descriptors: Readonly<Record<string, number>>;
  /** TCP sockets on the nodes that are neither listening nor only waiting for their time to be over. */
  readonly sockets: Readonly<Record<string, number>>;
  readonly bpf: Readonly<Record<string, number>>;
  readonly memory_bytes: number;
}

async function workerPids(node: string): Promise<number[]> {
  const { hosts } = await labStatus(LAB);
  const processes = hosts.find(({ name }) => name === node)?.processes ?? [];
  return processes.filter((process) => process.command.includes("dlba-server/main.ts")).map(({ pid }) => pid);
}

async function bpfCount(kind: string): Promise<number> {
  const list: unknown[] = JSON.parse(await command("bpftool", ["-j", kind, "show"]));
  return list.length;
}

/** Connections to and from the VIPs and the web servers; the array's own (sweep, monitoring) come and go. */
async function trafficSockets(node: string): Promise<number> {
  const { stdout } = await labExec(LAB, node, ["ss", "-Htn", "exclude", "listening", "exclude", "time-wait"]);
  return stdout.split("\n").filter((line) => /(198\.18\.0\.100|fd00:198:18::100|198\.18\.2\.)/.test(line))
    .length;
}

async function counts(): Promise<Counts> {
  const descriptors: Record<string, number> = {};
  const sockets: Record<string, number> = {};
  let memory_bytes = 0;
  for (const node of NODES) {
    sockets[node] = await trafficSockets(node);
    descriptors[node] = 0;
    for (const pid of await workerPids(node)) {
      descriptors[node] += readdirSync(`/proc/${pid}/fd`).length;
      memory_bytes +=
        Number(/VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${pid}/status`, "utf8"))?.[1] ?? 0) * 1024;
    }
  }
  const bpf = { prog: await bpfCount("prog"), map: await bpfCount("map"), link: await bpfCount("link") };
  return { descriptors, sockets, bpf, memory_bytes };
}

async function eventually(what: string, isSo: () => Promise<boolean>): Promise<void> {
  const deadline_ms = performance.now() + WITHIN_MS;
  while (!(await isSo())) {
    assert.ok(performance.now() < deadline_ms, `waited for ${what}`);
    await sleep(200);
  }
}

const shape = ({ descriptors, sockets, bpf }: Counts): string =>
  JSON.stringify({ descriptors, sockets, bpf });

/** Does something that hurts, and waits until everything is as it was. */
async function leavesNothing(hurt: () => Promise<void>): Promise<void> {
  await idleConnectionsGone();
  const before = await counts();
  await hurt();
  let now = before;
  await eventually(`the counts to be again ${shape(before)}; they are ${shape(now)}`, async () => {
    now = await counts();
    return shape(now) === shape(before);
  }).catch((error: unknown) => {
    throw new Error(`before ${shape(before)}, after ${shape(now)}`, { cause: error });
  });
  const grown_bytes = now.memory_bytes - before.memory_bytes;
  assert.ok(grown_bytes < MEMORY_SLACK_BYTES, `the workers' memory grew by ${grown_bytes} bytes`);
}

/** Kept connections to web servers close by themselves; the counts start without them. */
async function idleConnectionsGone(): Promise<void> {
  await eventually("kept connections to close", async () => {
    for (const node of NODES) if ((await trafficSockets(node)) > 0) return false;
    return true;
  });
}

/** Starts curl on the client, slow enough for something to happen in between. */
function startTransfer(args: readonly string[]): ChildProcess {
  const [program = "", ...rest] = labArgv(LAB, "client", ["curl", "-s", "--limit-rate", "4M", ...args]);
  return spawn(program, rest, { stdio: ["ignore", "pipe", "ignore"] });
}

/** A download, once it is under way. */
async function slowDownload(url: string): Promise<ChildProcess> {
  const child = startTransfer([url]);
  assert.ok(child.stdout);
  await once(child.stdout, "data");
  child.stdout.resume();
  return child;
}

/** An upload that a node has taken: its workers have a connection more than before. */
async function slowUpload(args: readonly string[]): Promise<ChildProcess> {
  const before = await connectionsNow();
  const child = startTransfer(args);
  child.stdout?.resume();
  await eventually("the upload to begin", async () => (await connectionsNow()) > before);
  return child;
}

const connectionsNow = async (): Promise<number> => {
  const found = await Promise.all(NODES.map(workersConnections));
  return found.reduce((sum, count) => sum + count, 0);
};

async function gone(child: ChildProcess): Promise<void> {
  if (child.exitCode === null && child.signalCode === null) await once(child, "exit");
}

describe("an array of three nodes and three web servers", () => {
  let state: LabState;
  let vip = "";
  before(async () => {
    ({ state } = await labUp({ name: LAB, configFile: writeConfig() }));
    vip = state.vips[0]!;
  });
  after(async () => {
    await labDown(LAB);
    rmSync(DIR, { recursive: true });
  });

  test("100,000 requests over 64 kept connections: none fails", async () => {
    const load = ["h2load", "--h1", "-n100000", "-c64", "-t1", `http://${vip}/100b`];
    const { stdout } = await labExec(LAB, "client", load);
    assert.match(
      stdout,
      /requests: 100000 total, 100000 started, 100000 done, 100000 succeeded, 0 failed, 0 errored, 0 timeout/,
    );
    assert.match(stdout, /status codes: 100000 2xx, 0 3xx, 0 4xx, 0 5xx/);
  });

  test("2,000 new TLS connections: none fails", async () => {
    const load = ["h2load", "--h1", "-n2000", "-c2000", "-r200", "-t1", `https://${vip}/100b`];
    const { stdout } = await labExec(LAB, "client", load);
    assert.match(stdout, /2000 succeeded, 0 failed, 0 errored, 0 timeout/);
    assert.match(stdout, /status codes: 2000 2xx/);
  });

  test("bodies of 0 B to 50 MB arrive with the right SHA-256, up and down, plain and over TLS", async () => {
    for (const origin of [`http://${vip}`, `https://${vip}`]) {
      for (const { path, sha256 } of state.web_files) {
        const curl = "curl -sfk";
        const down = await labExec(LAB, "client", ["sh", "-c", `${curl} ${origin}${path} | sha256sum`]);
        assert.equal(down.stdout.slice(0, 64), sha256, `${origin}${path}`);
        const file = `${state.web_root}${path}`;
        for (const how of [`-T ${file}`, `-T - <${file}`]) {
          const up = await labExec(LAB, "client", [
            "sh",
            "-c",
            `${curl} -X POST ${how} ${origin}/app/sha256`,
          ]);
          assert.ok(up.stdout.includes(sha256), `${how} to ${origin}: ${up.stdout}${up.stderr}`);
        }
      }
    }
  });

  test("each of two names gets its own certificate (SNI); a foreign one gets the first", async () => {
    for (const [name, expected] of [
      ...SERVER_NAMES.map((name) => [name, name]),
      ["other.test", SERVER_NAMES[0]],
    ]) {
      const hello = ["openssl", "s_client", "-connect", `${vip}:443`, "-servername", name!];
      const { stdout } = await labExec(LAB, "client", hello);
      assert.match(stdout, new RegExp(`subject=.*CN = ${expected}`), name);
    }
  });

  test("a worker that is killed is started again, and leaves nothing behind", async () => {
    await leavesNothing(async () => {
      const download = await slowDownload(`http://${vip}/50m`);
      const killed: number[] = [];
      for (const node of NODES) killed.push(...(await workerPids(node)));
      for (const pid of killed) process.kill(pid, "SIGKILL");
      await gone(download);
      await eventually("the workers to be back", async () => {
        const pids = (await Promise.all(NODES.map(workerPids))).flat();
        return pids.length === killed.length && !pids.some((pid) => killed.includes(pid));
      });
      const [program = "", ...args] = labArgv(LAB, "client", [
        "curl",
        "-sf",
        "--retry",
        "20",
        "--retry-connrefused",
        `http://${vip}/100b`,
      ]);
      await command(program, args);
    });
  });

  test("a web server that is killed in the midst of its response leaves nothing behind", async () => {
    await leavesNothing(async () => {
      const downloads = await Promise.all([1, 2, 3].map(() => slowDownload(`http://${vip}/50m`)));
      await labKill(LAB, "web1");
      await Promise.all(["web2", "web3"].map((host) => labKill(LAB, host)));
      await Promise.all(downloads.map(gone));
      for (const { exitCode } of downloads)
        assert.notEqual(exitCode, 0, "a cut response was taken for a whole one");
      for (const host of ["web1", "web2", "web3"]) await labHeal(LAB, host);
    });
  });

  test("a client that goes in the midst of its upload leaves nothing behind", async () => {
    await leavesNothing(async () => {
      const uploads: ChildProcess[] = [];
      for (const scheme of ["http", "https"]) {
        const url = `${scheme}://${vip}/app/sha256`;
        uploads.push(await slowUpload(["-k", "-T", join(state.web_root, "50m"), url]));
      }
      for (const upload of uploads) upload.kill("SIGKILL");
      await Promise.all(uploads.map(gone));
    });
  });

  test("a client whose cable is pulled leaves nothing behind", async () => {
    await leavesNothing(async () => {
      const upload = await slowUpload(["-T", join(state.web_root, "50m"), `http://${vip}/app/sha256`]);
      await labCut(LAB, "client");
      // The node hears nothing, neither data nor an end: only its time-out ends the request.
      await eventually("the nodes to give up", async () => {
        const found = await Promise.all(NODES.map(workersConnections));
        return found.every((connections) => connections === 0);
      });
      upload.kill("SIGKILL");
      await labHeal(LAB, "client");
      await gone(upload);
    });
  });

  test("a slow reader leaves nothing behind", async () => {
    await leavesNothing(async () => {
      const readers = await Promise.all([1, 2, 3].map(() => slowDownload(`http://${vip}/50m`)));
      for (const reader of readers) reader.kill("SIGSTOP");
      await eventually("the nodes to drop them", async () => {
        const found = await Promise.all(NODES.map(workersConnections));
        return found.every((connections) => connections === 0);
      });
      for (const reader of readers) reader.kill("SIGKILL");
      await Promise.all(readers.map(gone));
    });
  });
});

/** Client connections that a node's workers hold, as they say themselves. */
async function workersConnections(node: string): Promise<number> {
  const { hosts } = await labStatus(LAB);
  const { run_dir } = hosts.find(({ name }) => name === node)!;
  const dlba = join(import.meta.dirname, "../../bin/dlba");
  const info = await command(dlba, ["show", "info", "--run-dir", run_dir]);
  return Number(/Connections_open: (\d+)/.exec(info)?.[1] ?? -1);
}

/** The default lab's shape with certificates for two names and time-outs short enough for a test. */
function writeConfig(): string {
  const certificates = SERVER_NAMES.map((name) => {
    const files = { certificate: join(DIR, `${name}.crt`), key: join(DIR, `${name}.key`) };
    const curve = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"];
    const subject = ["-subj", `/CN=${name}`, "-addext", `subjectAltName=DNS:${name}`, "-days", "2"];
    const out = ["-keyout", files.key, "-out", files.certificate];
    execFileSync("openssl", ["req", "-x509", ...curve, ...subject, ...out], { stdio: "ignore" });
    return files;
  });
  const servers = [1, 2, 3].map((i) => ({ id: `web${i}`, address: `198.18.2.${i}` }));
  const shared = { vips: ["198.18.0.100", "fd00:198:18::100"], pool: "web" };
  const file = join(DIR, "dlba.yaml");
  // JSON is YAML.
  const config = {
    array: { name: "acceptance", key_file: join(DIR, "made-by-the-lab.key") },
    nodes: [1, 2, 3].map((i) => ({
      number: i,
      name: `node${i}`,
      address: `198.18.1.${i}`,
      interface: "eth0",
    })),
    vservers: [
      { name: "http", ports: [80], protocol: "http", ...shared },
      { name: "https", ports: [443], protocol: "https", certificates, ...shared },
    ],
    pools: [{ name: "web", scheduling: "cookie", servers }],
    scheduler: { xdp: "generic" },
    timeouts: {
      // 2,000 clients that come at once are to be served, however long that takes a slow machine.
      tls_handshake_ms: 60_000,
      request_head_ms: 60_000,
      connect_ms: 20_000,
      request_body_ms: 3000,
      client_write_ms: 3000,
      server_idle_ms: 2000,
      linger_ms: 500,
    },
    limits: { workers: 1 },
  };
  writeFileSync(file, JSON.stringify(config, null, 2));
  return file;
}
