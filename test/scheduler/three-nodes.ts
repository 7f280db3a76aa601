/** Three nodes on one segment with their scheduler processes: what tests of the process begin with. */
import assert from "node:assert/strict";
import { spawnSync, type ChildProcess } from "node:child_process";
import { randomBytes } from "node:crypto";
import { once } from "node:events";
import { writeFileSync } from "node:fs";
import { createServer, type Socket } from "node:net";
import { join } from "node:path";
import { createInterface } from "node:readline";
import type { TestContext } from "node:test";
import { epochOf } from "../../conf/epoch.ts";
import type { PublishedBody } from "../../conf/messages.ts";
import { openLease, type Lease } from "../../net/lease.ts";
import { detachDataPlane } from "../../scheduler/plane/data-plane.ts";
import { cable, directory, ip, mountBpf, namespace, pinDirectory, sh, startIn, until } from "./network.ts";

const HOUR_NS = 3_600_000_000_000n;
const ROOT = join(import.meta.dirname, "..", "..");
export const VIP = "198.18.0.100";
export const VIP6 = "fd00:18::100";
export const NUMBERS = [1, 2, 3];

export interface TestNode {
  readonly number: number;
  readonly netns: string;
  readonly pinDir: string;
  readonly runDir: string;
}
export interface TestArray {
  readonly client: string;
  /** The bridge's namespace; a node's port there is `p` and its number. */
  readonly bridge: string;
  readonly configFile: string;
  readonly keyFile: string;
  readonly nodes: readonly TestNode[];
}

function inside(netns: string, command: string, ...args: string[]): string {
  return sh("nsenter", [`--net=/run/netns/${netns}`, command, ...args]);
}

/** Three nodes and a client on one bridge; nothing runs on them yet. */
export function segment(t: TestContext): TestArray {
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
  return { client, bridge: net, configFile, keyFile, nodes };
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

/** A node's scheduler process. */
export function startScheduler(t: TestContext, array: TestArray, node: TestNode): ChildProcess {
  const options = ["--config", array.configFile, "--node", `node${node.number}`];
  const places = ["--pin-dir", node.pinDir, "--run-dir", node.runDir];
  const child = startIn(t, node.netns, [join(ROOT, "scheduler/main.ts"), ...options, ...places]);
  child.stdout?.resume();
  child.stderr?.resume();
  return child;
}

/** A web page and status answers on a node. */
export async function startStandIn(t: TestContext, array: TestArray, node: TestNode): Promise<ChildProcess> {
  const script = join(import.meta.dirname, "node-process.ts");
  const args = [`node${node.number}`, String(node.number), `198.18.0.1${node.number}`, "8470", array.keyFile];
  const child = startIn(t, node.netns, [script, ...args]);
  assert.ok(child.stdout);
  await once(child.stdout, "data");
  return child;
}

/** Which nodes answered `count` requests, each over a connection of its own; "" for one that failed. */
export function answers(array: TestArray, count: number, address = VIP): string[] {
  const host = address.includes(":") ? `[${address}]` : address;
  return Array.from({ length: count }, () => {
    const curl = ["curl", "-s", "-m", "5", `http://${host}/`];
    const { stdout } = spawnSync("nsenter", [`--net=/run/netns/${array.client}`, ...curl], {
      encoding: "utf8",
    });
    return stdout.trim();
  });
}

/**
 * A node schedules in a new epoch, and answers for the VIP: a test stands in for the failover processes. The others' kernels
 * hear of it by the heartbeats of its scheduler process.
 */
export function claim(array: TestArray, number: number, counter: number): void {
  for (const node of array.nodes) if (node.number !== number) withLease(node, (lease) => lease.setUntil(0n));
  const claimer = array.nodes.find((node) => node.number === number)!;
  withLease(claimer, (lease) => {
    lease.setUntil(process.hrtime.bigint() + HOUR_NS);
    assert.ok(lease.raiseEpoch(lease.epoch(), epochOf(counter, number)));
  });
}

/** What the page of a node says, or is to say. */
export function withLease<T>(node: TestNode, use: (lease: Lease) => T): T {
  const lease = openLease(node.pinDir);
  try {
    return use(lease);
  } finally {
    lease.close();
  }
}

type Kind = PublishedBody["kind"];
type ReportOf<K extends Kind> = Extract<PublishedBody, { kind: K }>;
const isKind = <K extends Kind>(body: PublishedBody, kind: K): body is ReportOf<K> => body.kind === kind;

/** Stands in for a node's status process: asks what publishes there, which may still be connecting. */
export function statusDesk(
  t: TestContext,
  node: TestNode,
): <K extends Kind>(kind: K) => Promise<ReportOf<K>> {
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

/** Ends a process; resolves with its exit code. */
export async function stop(child: ChildProcess, signal: NodeJS.Signals): Promise<number | null> {
  child.kill(signal);
  await once(child, "exit");
  return child.exitCode;
}
