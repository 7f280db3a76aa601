/** Nodes change their roles at run time: in order, by command, and after the network was cut in two. */
import assert from "node:assert/strict";
import type { ChildProcess } from "node:child_process";
import { once } from "node:events";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { test, type TestContext } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { epochOf } from "../../conf/epoch.ts";
import { NOBODY } from "../../conf/limits.ts";
import type { BucketsReport, SchedulerReport } from "../../conf/messages.ts";
import { mapShared } from "../../net/ffi.ts";
import { askAdmin } from "../../net/admin-socket.ts";
import { HEARTBEAT_STANDS } from "../../net/heartbeat.ts";
import { openPeersPage } from "../../net/peers-page.ts";
import { openControlPage, type ControlPage } from "../../net/control-page.ts";
import { usePinned } from "../../net/libbpf.ts";
import { nextOf, ownerOf, readWord, swapWord, WORDS_PER_BUCKET, wordOf } from "../../scheduler/table.ts";
import { ip, sh, startIn, until } from "./network.ts";
import {
  answers,
  claim,
  segment,
  startScheduler,
  startStandIn,
  statusDesk,
  VIP,
  withLease,
  type TestArray,
  type TestNode,
} from "./three-nodes.ts";

process.env["DLBA_LOG_LEVEL"] = "debug";

type Ask = ReturnType<typeof statusDesk>;
interface Running {
  readonly array: TestArray;
  readonly nodes: readonly [TestNode, TestNode, TestNode];
  readonly asks: readonly [Ask, Ask, Ask];
  /** Log lines of all nodes' scheduler processes: node, message and how a node that connected gets the table. */
  readonly lines: string[];
  readonly children: ChildProcess[];
  /** Web pages and status answers, by node. */
  readonly standIns: ChildProcess[];
}

/** Three nodes that are up; the first one schedules in the first epoch. */
async function start(t: TestContext): Promise<Running> {
  const array = segment(t);
  const [one, two, three] = array.nodes;
  assert.ok(one && two && three);
  const running: Running = {
    array,
    nodes: [one, two, three],
    asks: [statusDesk(t, one), statusDesk(t, two), statusDesk(t, three)],
    lines: [],
    children: [],
    standIns: [],
  };
  running.standIns.push(...(await Promise.all(array.nodes.map((node) => startStandIn(t, array, node)))));
  for (const node of array.nodes) listen(running, startScheduler(t, array, node));
  for (const ask of running.asks) await ask("scheduler");
  claim(array, 1, 1);
  await allUp(running, 0);
  return running;
}

function listen({ lines, children }: Running, child: ChildProcess): void {
  children.push(child);
  assert.ok(child.stderr);
  createInterface({ input: child.stderr }).on("line", (line) => {
    const { node, msg, peer = "", copy = "" } = JSON.parse(line);
    lines.push([node, msg, peer, copy].join(" ").trim());
  });
}

/** Waits until a node schedules, and all are up and have its table. */
async function allUp({ asks }: Running, index: 0 | 1 | 2): Promise<SchedulerReport> {
  let report = await asks[index]("scheduler");
  await until(`node${index + 1} schedules and all are in step`, async () => {
    report = await asks[index]("scheduler");
    const { nodes, table_version } = report;
    return nodes.every((node) => node.state === "up" && node.table_version === table_version);
  });
  return report;
}

const ownersOf = ({ owners }: BucketsReport): Buffer => Buffer.from(owners, "base64");
const idleOf = ({ idle_s }: BucketsReport): number[] => {
  const bytes = Buffer.from(idle_s, "base64");
  return Array.from({ length: bytes.length / 4 }, (_, bucket) => bytes.readUInt32LE(bucket * 4));
};

/** All have what the first node has told, and for a while it has told no more: its plans are carried out. */
async function allInStep({ asks }: Awaited<ReturnType<typeof start>>): Promise<void> {
  let last = -1;
  let calm = 0;
  while (calm < 5) {
    const { nodes, table_version: version } = await asks[0]("scheduler");
    const isCalm = version === last && nodes.every((node) => node.table_version === version);
    calm = isCalm ? calm + 1 : 0;
    last = version;
    await sleep(20);
  }
}

test(
  "another node takes over and gives back, without a copy of the table, and no bucket moves",
  { timeout: 120_000 },
  async (t) => {
    const running = await start(t);
    const { array, asks, nodes, lines } = running;
    assert.ok(!answers(array, 60).includes(""));
    const first = await allUp(running, 0);
    const before = await asks[1]("buckets");
    const owned = idleOf(before).filter((_, bucket) => ownersOf(before)[bucket] !== NOBODY);
    assert.ok(owned.length > 20);
    assert.ok(
      owned.every((idle_s) => idle_s === 0xffffffff),
      "node 2 has not seen a packet",
    );
    lines.length = 0;

    await allInStep(running);
    claim(array, 2, 2);
    const second = await allUp(running, 1);
    assert.equal(second.epoch, epochOf(2, 2));
    assert.ok(second.table_version >= first.table_version, "its versions go on from where it has followed");
    assert.ok(second.table_version < first.table_version + 2 ** 19);
    for (const number of [1, 3]) {
      assert.ok(lines.includes(`node2 a node connected ${number} continue`), `node ${number} needs no copy`);
    }
    const after = await asks[1]("buckets");
    assert.deepEqual(ownersOf(after), ownersOf(before));
    idleOf(after).forEach((idle_s, bucket) => {
      if (ownersOf(after)[bucket] !== NOBODY) assert.ok(idle_s < 60, `bucket ${bucket}: ${idle_s} s`);
    });
    assert.equal((await asks[0]("scheduler")).nodes[1]?.effective_weight, null, "node 1 follows now");
    await until("node 2 is who answers", () => {
      ip("-n", array.client, "neigh flush all");
      return !answers(array, 5).includes("");
    });
    for (const { pinDir } of nodes) {
      const page = openControlPage(pinDir, 0);
      const turned_ns = page.turned_ns();
      await until("it turns in either role", () => page.turned_ns() > turned_ns);
      assert.ok(page.table_version() > 0);
      page.close();
    }

    claim(array, 1, 3);
    const third = await allUp(running, 0);
    assert.equal(third.epoch, epochOf(3, 1));
    assert.ok(third.table_version >= second.table_version);
    assert.deepEqual(ownersOf(await asks[0]("buckets")), ownersOf(await asks[1]("buckets")));
    assert.ok(!answers(array, 10).includes(""));
  },
);

test(
  "an interface that goes down and comes back ends no scheduler process",
  { timeout: 120_000 },
  async (t) => {
    const running = await start(t);
    const { asks, nodes } = running;
    ip("-n", nodes[2].netns, "link set eth0 down");
    await until("the scheduler knows", async () => (await asks[0]("scheduler")).nodes[2]?.state === "down");
    ip("-n", nodes[2].netns, "link set eth0 up");
    await allUp(running, 0);
    assert.equal((await asks[2]("scheduler")).epoch, epochOf(1, 1));
    assert.deepEqual(
      running.children.map(({ exitCode }) => exitCode),
      [null, null, null],
    );
  },
);

const command = ({ runDir }: TestNode, line: string): Promise<string> =>
  askAdmin({ path: join(runDir, "admin.sock"), line, timeout_ms: 20_000 });

/** Stands in for the failover processes: when a node shall hand over, the other one claims, and tells it at once. */
async function obey({ array, nodes }: Running, page: ControlPage, counter: number): Promise<number> {
  let target: number | undefined;
  await until("a hand-over", () => (target = page.handOverTo()) !== undefined);
  assert.ok(target !== undefined && nodes.some(({ number }) => number === target));
  claim(array, target, counter);
  for (const node of nodes)
    withLease(node, (lease) => lease.raiseEpoch(lease.epoch(), epochOf(counter, target!)));
  return target;
}

test("an operator has another node take over, and hears how it went", { timeout: 120_000 }, async (t) => {
  const running = await start(t);
  const { array, asks, nodes } = running;
  const [one, two, three] = nodes;
  await assert.rejects(command(one, "handover"), /no other node can take over now/);
  await assert.rejects(command(two, "handover"), /node1 is the scheduler; run it there/);
  for (const node of [two, three]) withLease(node, (lease) => lease.tell({ stands: true, side: 0 }));
  await until("the scheduler knows that others stand", async () => {
    const answer = await command(one, "handover node1").catch(String);
    assert.match(answer, /node1 can't take over: it is the scheduler already/);
    const silent = await command(one, "handover node3").catch(String);
    return /node3 has not taken over in time; this node goes on/.test(silent);
  });
  const page = openControlPage(one.pinDir, 0);
  assert.equal(page.handOverTo(), undefined, "what was not taken is withdrawn");
  assert.ok(!answers(array, 60).includes(""));
  await allUp(running, 0);
  const before = ownersOf(await asks[0]("buckets"));

  const [answer, target] = await Promise.all([command(one, "handover node2"), obey(running, page, 7)]);
  assert.deepEqual([answer, target], ["node2 schedules, epoch 7", 2]);
  assert.equal(page.handOverTo(), undefined);
  page.close();
  await allUp(running, 1);
  assert.deepEqual(ownersOf(await asks[1]("buckets")), before);
  withLease(one, (lease) => lease.tell({ stands: true, side: 0 }));
  const back = openControlPage(two.pinDir, 0);
  const peers = openPeersPage(two.pinDir, 0, 1);
  await until("the best node is known to stand", () => (peers.flags(1) & HEARTBEAT_STANDS) !== 0);
  peers.close();
  const best = await Promise.all([command(two, "handover"), obey(running, back, 8)]);
  assert.deepEqual(best, ["node1 schedules, epoch 8", 1]);
  back.close();
});

/** A client that has sent half a request over each of so many connections; on SIGUSR2 it sends the rest. */
const HALF_REQUESTS = `
  const { connect } = require("node:net");
  const [address, count] = process.argv.slice(1);
  const sockets = Array.from({ length: Number(count) }, () => connect(80, address));
  let open = 0, answered = 0, ended = 0;
  const report = () => { if (++ended === sockets.length) console.log("answered " + answered); };
  for (const socket of sockets) {
    socket.on("connect", () => {
      socket.write("GET / HTTP/1.1\\r\\nHost: a\\r\\n");
      if (++open === sockets.length) console.log("open");
    });
    socket.once("data", () => answered++);
    socket.on("error", () => undefined);
    socket.on("close", report);
  }
  process.on("SIGUSR2", () => { for (const socket of sockets) socket.write("\\r\\n"); });
`;

test(
  "connections of both sides of a network that was cut live on when it heals",
  { timeout: 120_000 },
  async (t) => {
    const running = await start(t);
    const { array, asks, nodes } = running;
    const count = 40;
    // Most buckets have an owner on either side.
    assert.ok(!answers(array, 100).includes(""));
    // Node 2 is cut off, and schedules for itself; the client is on the others' side.
    ip("-n", array.bridge, "link set p2 down");
    withLease(nodes[1], (lease) => {
      lease.setUntil(process.hrtime.bigint() + 3_600_000_000_000n);
      assert.ok(lease.raiseEpoch(lease.epoch(), epochOf(2, 2)));
    });
    await until("node 2 is alone", async () => {
      const { nodes } = await asks[1]("scheduler");
      return nodes[0]?.state === "down" && nodes[2]?.state === "down";
    });
    await until("the others go on without it", async () => {
      return (await asks[0]("scheduler")).nodes[1]?.state === "down";
    });
    const client = startIn(t, array.client, ["-e", HALF_REQUESTS, VIP, String(count)]);
    assert.ok(client.stdout);
    const output = createInterface({ input: client.stdout });
    assert.deepEqual(await once(output, "line"), ["open"]);
    const winner = ownersOf(await asks[1]("buckets"));

    ip("-n", array.bridge, "link set p2 up");
    await until(
      "node 1 gives up",
      async () => (await asks[0]("scheduler")).nodes[0]?.effective_weight === null,
    );
    withLease(nodes[0], (lease) => lease.setUntil(0n));
    let merged = await asks[1]("scheduler");
    await until("the winner has merged the other table", async () => {
      merged = await asks[1]("scheduler");
      return merged.merged_buckets > 0 && merged.nodes[0]?.state === "up";
    });
    // The client asks anew who has the VIP.
    ip("-n", array.client, "neigh flush all");
    const answered = once(output, "line");
    client.kill("SIGUSR2");
    assert.deepEqual(await answered, [`answered ${count}`]);
    assert.equal(merged.crowded_buckets, 0);
    const after = ownersOf(await asks[1]("buckets"));
    const taken = winner.filter((owner, bucket) => owner !== NOBODY && after[bucket] === NOBODY);
    assert.equal(taken.length, 0);
    await allUp(running, 1);
  },
);

const after = (number: number): number => (number % 3) + 1;

/** Every bucket that somebody has becomes the next node's, in this node's own table, and names the one behind that as the previous. */
function misname({ pinDir }: TestNode): void {
  const size_bytes = 256 * WORDS_PER_BUCKET * 4;
  const mapping = usePinned(join(pinDir, "buckets"), (fd) => mapShared(fd, size_bytes));
  const table = new Int32Array(mapping.buffer, 0, 256 * WORDS_PER_BUCKET);
  for (let bucket = 0; bucket < 256; bucket++) {
    const word = readWord(table, bucket);
    const owner = after(ownerOf(word));
    if (ownerOf(word) !== NOBODY) swapWord(table, bucket, word, wordOf(owner, nextOf(word), after(owner)));
  }
  mapping.unmap();
}

/** The scheduler begins a later epoch: for ten seconds from now on all nodes are scattered, however slow the machine is. */
async function takeOverAgain(running: Running, index: 0 | 1 | 2, counter: number): Promise<void> {
  const { array, asks } = running;
  claim(array, index + 1, counter);
  await until(
    "the epoch is a later one",
    async () => (await asks[index]("scheduler")).epoch === epochOf(counter, index + 1),
  );
  await allUp(running, index);
}

test("connections are found though no node's table leads to them", { timeout: 120_000 }, async (t) => {
  const running = await start(t);
  const { array, asks, nodes } = running;
  const count = 40;
  const client = startIn(t, array.client, ["-e", HALF_REQUESTS, VIP, String(count)]);
  assert.ok(client.stdout);
  const output = createInterface({ input: client.stdout });
  assert.deepEqual(await once(output, "line"), ["open"]);
  await takeOverAgain(running, 0, 2);
  const { scattered_nodes } = await asks[0]("scheduler");
  assert.deepEqual(scattered_nodes, ["node1", "node2", "node3"], "node 1 has only just taken over");
  for (const node of nodes) misname(node);
  const answered = once(output, "line");
  client.kill("SIGUSR2");
  assert.deepEqual(await answered, [`answered ${count}`]);
  const searched = await Promise.all(
    asks.map(async (ask) => (await ask("scheduler")).counters["searched"] ?? 0),
  );
  assert.ok(searched.filter((frames) => frames > 0).length >= 2, `searched: ${searched.join(", ")}`);
});

test("they are found past a node whose processes have all been killed", { timeout: 120_000 }, async (t) => {
  const running = await start(t);
  const { array, asks, nodes, children } = running;
  claim(array, 2, 2);
  await allUp(running, 1);
  await until("node 2 is who answers", () => {
    ip("-n", array.client, "neigh flush all");
    return !answers(array, 5).includes("");
  });
  const count = 60;
  const client = startIn(t, array.client, ["-e", HALF_REQUESTS, VIP, String(count)]);
  assert.ok(client.stdout);
  const output = createInterface({ input: client.stdout });
  assert.deepEqual(await once(output, "line"), ["open"]);
  await takeOverAgain(running, 1, 3);
  const ofNode1 = connectionsAt(nodes[0]);
  for (const child of [children[0]!, running.standIns[0]!]) child.kill("SIGKILL");
  for (const node of nodes) misname(node);
  const answered = once(output, "line");
  client.kill("SIGUSR2");
  assert.deepEqual(await answered, [`answered ${count - ofNode1}`]);
  assert.ok(ofNode1 < count);
  const { counters } = await asks[1]("scheduler");
  assert.ok((counters["searched"] ?? 0) > 0);
});

/** Established connections to the VIP's port on a node. */
function connectionsAt({ netns }: TestNode): number {
  const listed = sh("nsenter", [
    `--net=/run/netns/${netns}`,
    "ss",
    "-Htn",
    "state",
    "established",
    `sport = :80`,
  ]);
  return listed.split("\n").filter((line) => line.includes(VIP)).length;
}
