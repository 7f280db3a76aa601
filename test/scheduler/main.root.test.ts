/** The scheduler and failover processes of three nodes on one segment, with real traffic. */
import assert from "node:assert/strict";
import { spawnSync, type ChildProcess } from "node:child_process";
import { randomBytes } from "node:crypto";
import { once } from "node:events";
import { writeFileSync } from "node:fs";
import { createServer, type Socket } from "node:net";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { test, type TestContext } from "node:test";
import type { PublishedBody } from "../../conf/messages.ts";
import { openLease } from "../../net/lease.ts";
import { detachDataPlane } from "../../scheduler/plane/data-plane.ts";
import { cable, directory, ip, mountBpf, namespace, pinDirectory, sh, startIn, until } from "./network.ts";

const ROOT = join(import.meta.dirname, "..", "..");
const VIP = "198.18.0.100";
const VIP6 = "fd00:18::100";
const NUMBERS = [1, 2, 3];

interface TestNode {
  readonly number: number;
  readonly netns: string;
  readonly pinDir: string;
  readonly runDir: string;
}
interface TestArray {
  readonly client: string;
  readonly configFile: string;
  readonly keyFile: string;
  readonly nodes: readonly TestNode[];
}

function inside(netns: string, command: string, ...args: string[]): string {
  return sh("nsenter", [`--net=/run/netns/${netns}`, command, ...args]);
}

function segment(t: TestContext): TestArray {
  const folder = directory(t);
  mountBpf();
  const net = namespace(t, "sw");
  ip("-n", net, "link add br0 type bridge mcast_snooping 0 forward_delay 0");
  ip("-n", net, "link set br0 up");
  const join1 = (name: string, host: number): string => {
    const netns = namespace(t, name);
    inside(netns, "sysctl", "-qw", "net.ipv6.conf.all.accept_dad=0", "net.ipv6.conf.default.accept_dad=0");
    cable([netns, "eth0", `02:00:00:00:18:0${host}`], [net, `p${host}`, `02:00:00:00:18:f${host}`]);
    ip("-n", net, "link set", `p${host}`, "master br0");
    ip("-n", netns, "addr add", `198.18.0.1${host}/24`, "dev eth0");
    ip("-n", netns, "addr add", `fd00:18::1${host}/64`, "dev eth0 nodad");
    return netns;
  };
  const client = join1("c", 9);
  const nodes = NUMBERS.map((number) => {
    const netns = join1("n", number);
    inside(netns, "sysctl", "-qw", "net.ipv4.conf.all.arp_ignore=1", "net.ipv4.conf.all.arp_announce=2");
    ip("-n", netns, "addr add", `${VIP}/32`, "dev lo");
    ip("-n", netns, "addr add", `${VIP6}/128`, "dev lo nodad");
    return { number, netns, pinDir: pinDirectory(t), runDir: directory(t) };
  });
  const keyFile = join(folder, "array.key");
  writeFileSync(keyFile, randomBytes(32).toString("base64"));
  const configFile = join(folder, "dlba.yaml");
  writeFileSync(configFile, configText(keyFile));
  t.after(() => nodes.forEach(({ pinDir }) => detachDataPlane(pinDir)));
  return { client, configFile, keyFile, nodes };
}

function configText(keyFile: string): string {
  const nodes = NUMBERS.map(
    (number) =>
      `  - { number: ${number}, name: node${number}, address: 198.18.0.1${number}, interface: eth0 }`,
  );
  return `array: { name: test, key_file: ${keyFile} }
nodes:
${nodes.join("\n")}
vservers:
  - { name: web, vips: [${VIP}, "${VIP6}"], ports: [80], protocol: tcp }
scheduler: { table_size: 256, bucket_timeout_s: 60, sweep_delay_ms: 100, sweep_timeout_ms: 2000, sweep_retries: 1, fill_s: 5 }
`;
}

function startDaemon(t: TestContext, array: TestArray, node: TestNode, folder: string): ChildProcess {
  const options = ["--config", array.configFile, "--node", `node${node.number}`];
  const places = ["--pin-dir", node.pinDir, "--run-dir", node.runDir];
  const child = startIn(t, node.netns, [join(ROOT, folder, "main.ts"), ...options, ...places]);
  child.stdout?.resume();
  child.stderr?.resume();
  return child;
}

/** A web page and status answers on a node. */
async function startStandIn(t: TestContext, array: TestArray, node: TestNode): Promise<ChildProcess> {
  const script = join(import.meta.dirname, "node-process.ts");
  const args = [`node${node.number}`, String(node.number), `198.18.0.1${node.number}`, "8470", array.keyFile];
  const child = startIn(t, node.netns, [script, ...args]);
  assert.ok(child.stdout);
  await once(child.stdout, "data");
  return child;
}

/** Which nodes answered `count` requests, each over a connection of its own; "" for one that failed. */
function answers(array: TestArray, count: number, address = VIP): string[] {
  const host = address.includes(":") ? `[${address}]` : address;
  return Array.from({ length: count }, () => {
    const curl = ["curl", "-s", "-m", "5", `http://${host}/`];
    const { stdout } = spawnSync("nsenter", [`--net=/run/netns/${array.client}`, ...curl], {
      encoding: "utf8",
    });
    return stdout.trim();
  });
}

type Kind = PublishedBody["kind"];
type ReportOf<K extends Kind> = Extract<PublishedBody, { kind: K }>;
const isKind = <K extends Kind>(body: PublishedBody, kind: K): body is ReportOf<K> => body.kind === kind;

/** Stands in for a node's status process: asks what publishes there, which may still be connecting. */
function statusDesk(t: TestContext, node: TestNode): <K extends Kind>(kind: K) => Promise<ReportOf<K>> {
  const sockets = new Set<Socket>();
  let bodies: PublishedBody[] = [];
  const server = createServer((socket) => {
    sockets.add(socket);
    socket.on("error", () => undefined);
    socket.on("close", () => sockets.delete(socket));
    createInterface({ input: socket }).on("line", (line) => {
      const { body } = JSON.parse(line);
      if (body !== undefined) bodies.push(body);
    });
  });
  server.listen(join(node.runDir, "publish.sock"));
  t.after(() => {
    for (const socket of sockets) socket.destroy();
    server.close();
  });
  return async (kind) => {
    bodies = [];
    const question = { id: 1, topic: kind === "buckets" ? "buckets" : "rows" };
    const report = () => bodies.find((body) => isKind(body, kind));
    await until(`a report of kind ${kind}`, async () => {
      for (const socket of sockets) socket.write(`${JSON.stringify(question)}\n`);
      await new Promise((resolve) => setTimeout(resolve, 100));
      return report() !== undefined;
    });
    const found = report();
    assert.ok(found);
    return found;
  };
}

async function stop(child: ChildProcess, signal: NodeJS.Signals): Promise<number | null> {
  child.kill(signal);
  await once(child, "exit");
  return child.exitCode;
}

test(
  "three nodes share one VIP, survive a failed node, and a killed scheduler process",
  { timeout: 180_000 },
  async (t) => {
    const array = segment(t);
    const [first, second] = array.nodes;
    assert.ok(first && second);
    const ask = statusDesk(t, first);
    const askSecond = statusDesk(t, second);
    const standIns = await Promise.all(array.nodes.map((node) => startStandIn(t, array, node)));
    const schedulers = array.nodes.map((node) => startDaemon(t, array, node, "scheduler"));
    const failovers = array.nodes.map((node) => startDaemon(t, array, node, "failover"));

    await until("all three nodes are up", async () => {
      return (await ask("scheduler")).nodes.every(({ state }) => state === "up");
    });
    await until("all three nodes answer", () =>
      new Set(answers(array, 10)).isSupersetOf(new Set(["node1", "node2", "node3"])),
    );
    // Announcements may have told the client; from here on it has to ask.
    ip("-n", array.client, "neigh flush all");
    const names = new Set(answers(array, 60));
    assert.deepEqual([...names].sort(), ["node1", "node2", "node3"]);
    assert.ok(!answers(array, 20, VIP6).includes(""), "IPv6 requests are answered");

    const report = await ask("scheduler");
    assert.equal(report.xdp_mode, "generic");
    assert.deepEqual(
      report.nodes.map(({ mac, failed }) => [mac, failed]),
      NUMBERS.map((number) => [`02:00:00:00:18:0${number}`, false]),
    );
    assert.ok(
      report.nodes.every(({ ip_groups }) => ip_groups > 5),
      "buckets are spread",
    );
    assert.ok((report.packets_to_node["2"] ?? 0) > 0 && (report.counters["arp_answered"] ?? 0) > 0);
    await until("the sweep has brought figures", async () => {
      return (await ask("scheduler")).nodes.every(({ hits, number }) => hits === number * 10);
    });
    const standby = await askSecond("scheduler");
    assert.deepEqual(
      standby.nodes.map(({ state }) => state),
      ["up", "up", "up"],
      "what the scheduler holds of the nodes is told to all",
    );
    await until("a node that does not schedule has the scheduler's table", async () => {
      const { owners: own, next: ownNext } = await ask("buckets");
      const { owners, next } = await askSecond("buckets");
      return owners === own && next === ownNext;
    });
    const failover = await ask("failover");
    assert.ok(failover.is_scheduler && failover.lease_renewals > 0 && failover.announcements > 0);

    // The process that decides is killed: packets go on, and its successor moves nothing.
    await stop(schedulers[0]!, "SIGKILL");
    assert.ok(!answers(array, 10).includes(""));
    schedulers[0] = startDaemon(t, array, first, "scheduler");
    const before = await ask("buckets");
    const owners = Buffer.from(before.owners, "base64");
    assert.ok(owners.filter((owner) => owner !== 255).length > 50, "the table was taken over");
    await until("its successor is followed", async () => {
      const { nodes, epoch } = await ask("scheduler");
      return epoch === report.epoch + 1 && nodes.every(({ state }) => state === "up");
    });
    assert.deepEqual(Buffer.from((await ask("buckets")).owners, "base64"), owners);

    // A node stops answering the sweep: its buckets go to the others.
    await stop(standIns[1]!, "SIGKILL");
    await until("the node counts as failed, and all its buckets have moved", async () => {
      const [, row] = (await ask("scheduler")).nodes;
      return row?.failed === true && row.ip_groups === 0;
    });
    const later = Buffer.from((await ask("buckets")).owners, "base64");
    owners.forEach((owner, i) => {
      if (owner !== 2 && owner !== 255) assert.equal(later[i], owner, "nobody else's bucket moved");
    });
    assert.deepEqual([...new Set(answers(array, 30))].sort(), ["node1", "node3"]);
    standIns[1] = await startStandIn(t, array, second);
    await until("the node is back", async () => (await ask("scheduler")).nodes[1]?.state === "up");
    await until("it gets a share again", () => answers(array, 10).includes("node2"));

    // All end cleanly; without the failover process nobody answers for the VIP.
    const lease = openLease(first.pinDir);
    assert.ok(lease.get() > process.hrtime.bigint());
    assert.deepEqual(await Promise.all(failovers.map((child) => stop(child, "SIGTERM"))), [0, 0, 0]);
    assert.equal(lease.get(), 0n);
    lease.close();
    assert.deepEqual(await Promise.all(schedulers.map((child) => stop(child, "SIGTERM"))), [0, 0, 0]);
    assert.match(ip("-n", first.netns, "-o link show eth0"), /xdpgeneric/, "the data plane stays");
  },
);
