/**
 * Heartbeats between two real kernels' programs: both ends of a cable in a network namespace of the test's own, each
 * with a data plane. This process is node 1's scheduler; no user space answers for node 2. Needs root.
 */
import assert from "node:assert/strict";
import { readdirSync, readFileSync } from "node:fs";
import { before, test, type TestContext } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { newSentTimes } from "../../net/heartbeat-memory.ts";
import { monotonic_ns } from "../../conf/clock.ts";
import { epochOf } from "../../conf/epoch.ts";
import { HEARTBEAT_HEARS, HEARTBEAT_LEASED, HEARTBEAT_SCHEDULING } from "../../net/heartbeat.ts";
import { startHeartbeats } from "../../net/heartbeat-sender.ts";
import { readInterface } from "../../net/interface.ts";
import { openPacketSocket, SEND_ONLY } from "../../net/packet-socket.ts";
import { openPeersPage } from "../../net/peers-page.ts";
import { detachDataPlane, openDataPlane, type DataPlane } from "../../scheduler/plane/data-plane.ts";
import { createWatch, JUDGE_EVERY_MS, type LivenessChange, type Watch } from "../../net/heartbeat-watch.ts";
import { enterOwnNetwork, ip } from "../net/network-namespace.ts";
import * as f from "./frames.ts";
import { pinDirectory, until } from "./network.ts";

const KEY = Buffer.alloc(16, 5);
const HEARTBEAT_MS = 20;
const DEAD_AFTER_MS = 100;
const SCHED_RR = 2;
const OWN = 1;
const PEER = 2;
const SCHEDULES = HEARTBEAT_SCHEDULING | HEARTBEAT_LEASED | HEARTBEAT_HEARS;
const STATE = { isUp: true, isSelf: false, isReachable: true, isDraining: false };

before(enterOwnNetwork);

function planeOn(t: TestContext, name: string, number: number, pinDir: string): DataPlane {
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
  plane.setHeartbeatKeys({ key: KEY, also: undefined });
  plane.planes[0]!.setOwnMac(readInterface(name).mac);
  return plane;
}

/** Two nodes on one cable; the first one knows the other's MAC address when told. */
function cable(t: TestContext) {
  ip("link add name eth0 type veth peer name eth1");
  t.after(() => ip("link del eth0"));
  ip("link set eth0 up");
  ip("link set eth1 up");
  const pinDir = pinDirectory(t);
  const sender = startHeartbeats({
    pinDir,
    key: KEY,
    number: OWN,
    channel: 1,
    interfaces: ["eth0"],
    peers: [PEER],
    heartbeat_ms: HEARTBEAT_MS,
  });
  t.after(async () => sender.close());
  const own = planeOn(t, "eth0", OWN, pinDir);
  const peer = planeOn(t, "eth1", PEER, pinDirectory(t));
  const mac = readInterface("eth1").mac;
  const meet = (): void => own.planes[0]!.setNode(0, PEER, { mac, slot: 0, ...STATE });
  return { sender, own, peer, pinDir, meet };
}

/** Looks as the scheduler does, until the test's end. */
function watching(t: TestContext, { sender, own }: ReturnType<typeof cable>) {
  const changes: { readonly phase: LivenessChange["phase"]; readonly at_ns: number }[] = [];
  const watch: Watch = createWatch({
    peers: [PEER],
    pages: own.planes.map(({ peers }) => peers),
    sender,
    heartbeat_ms: HEARTBEAT_MS,
    dead_after_ms: DEAD_AFTER_MS,
  });
  const look = (): void => {
    const at_ns = monotonic_ns();
    for (const { phase } of watch.look()) changes.push({ phase, at_ns });
  };
  const timer = setInterval(look, JUDGE_EVERY_MS);
  t.after(() => clearInterval(timer));
  const phases = (): string => changes.map(({ phase }) => phase).join(" ");
  return { watch, changes, phases };
}

test("a peer's kernel answers, and what it says of its node is there to be read", async (t) => {
  const { sender, peer, pinDir, meet } = cable(t);
  peer.lease.raiseEpoch(0, 7);
  peer.setTableVersion(2 ** 33);
  meet();
  const page = openPeersPage(pinDir, 0, 1);
  const failovers = openPeersPage(pinDir, 0, 0);
  t.after(() => [page, failovers].forEach((one) => one.close()));
  await until("it has answered", () => page.answered_ns(PEER) > 0n);
  assert.deepEqual([page.epoch(PEER), page.table_version(PEER)], [7, 2 ** 33]);
  assert.ok(page.heard_ns(PEER) >= page.answered_ns(PEER));
  assert.deepEqual(page.macOf(PEER), readInterface("eth1").mac);
  assert.equal(failovers.answered_ns(PEER), 0n, "the failover process has asked nothing");
  assert.ok(sender.counts().sent > 0);
  assert.equal(sender.counts().failed, 0);
});

test("a question of a later epoch's scheduler silences one whose processes stand still", async (t) => {
  const { sender, peer, pinDir, meet } = cable(t);
  const [former, later] = [epochOf(7, PEER), epochOf(8, OWN)];
  // Nobody acts for the peer from here on: its lease lasts for an hour.
  peer.setVips([f.VIP]);
  peer.lease.raiseEpoch(0, former);
  peer.lease.setUntil(process.hrtime.bigint() + 3_600_000_000_000n);
  meet();
  const page = openPeersPage(pinDir, 0, 1);
  t.after(() => page.close());
  const answers = (): number => peer.counters()["arp_answered"] ?? 0;
  const socket = openPacketSocket(readInterface("eth0").ifindex, SEND_ONLY);
  t.after(() => socket.close());
  const isAnswered = async (): Promise<boolean> => {
    const before = answers();
    for (let i = 0; i < 10 && answers() === before; i++) {
      socket.send(f.eth(f.ARP, f.arp(1, f.CLIENT, f.VIP), { to: f.BROADCAST }));
      await sleep(20);
    }
    return answers() > before;
  };
  sender.setNews({ epoch: former, isLeased: false });
  await until("it says that it schedules", () => page.flags(PEER) === SCHEDULES);
  assert.deepEqual([page.epoch(PEER), await isAnswered()], [former, true]);
  sender.setNews({ epoch: later, isLeased: false });
  await sleep(5 * HEARTBEAT_MS);
  assert.deepEqual([page.epoch(PEER), page.flags(PEER)], [former, SCHEDULES], "no lease, no scheduler");

  const asked_ns = monotonic_ns();
  sender.setNews({ epoch: later, isLeased: true });
  sender.askNow();
  while (page.epoch(PEER) !== later && monotonic_ns() - asked_ns < 20e9) await sleep(1);
  assert.equal(page.epoch(PEER), later);
  t.diagnostic(`told ${((Number(page.heard_ns(PEER)) - asked_ns) / 1e6).toFixed(2)} ms after the order`);
  assert.equal(page.flags(PEER), 0);
  assert.deepEqual([peer.lease.epoch(), peer.lease.former(), peer.lease.offered()], [later, former, 0]);
  assert.ok(peer.lease.until_ns() > process.hrtime.bigint(), "its lease's time was never touched");
  assert.equal(await isAnswered(), false);

  sender.setOffer(PEER);
  await until("it is offered", () => peer.lease.offered() === later);
  sender.setOffer(undefined);
});

test("orders to the thread are carried out without waiting for its next question", async (t) => {
  const { sender, meet } = cable(t);
  meet();
  await until("it sends", () => sender.counts().sent > 0);
  sender.setPace(PEER, 3_600_000);
  await until("the new pace holds", async () => {
    const { sent } = sender.counts();
    await sleep(5 * HEARTBEAT_MS);
    return sender.counts().sent === sent;
  });
  const before = sender.counts().sent;
  sender.askNow();
  await until("it has asked", () => sender.counts().sent === before + 1);
  await sleep(5 * HEARTBEAT_MS);
  assert.equal(sender.counts().sent, before + 1);
  sender.setPace(PEER, HEARTBEAT_MS);
  await until("it asks often again", () => sender.counts().sent > before + 5);
});

test("a node is reachable, silent when its program stops answering, and reachable again", async (t) => {
  const stage = cable(t);
  const { own, peer, meet } = stage;
  const { watch, changes, phases } = watching(t, stage);
  meet();
  await until("it is reachable", () => phases() === "reachable");
  await sleep(500);
  assert.equal(phases(), "reachable");
  // Another number: heartbeats to node 2 are refused there, as nobody is node 2 any more.
  peer.setNumber(9);
  await until("it is silent", () => phases() === "reachable silent");
  const took_ms = (changes[1]!.at_ns - Number(own.planes[0]!.peers.answered_ns(PEER))) / 1e6;
  t.diagnostic(`silent ${took_ms.toFixed(1)} ms after the last heartbeat that was answered`);
  assert.ok(took_ms >= DEAD_AFTER_MS - HEARTBEAT_MS, `${took_ms} ms`);
  peer.setNumber(PEER);
  await until("it is back", () => phases() === "reachable silent reachable");
  assert.equal(watch.phaseOf(0, PEER), "reachable");
});

test("heartbeats go out on time while the process is busy, and its own stall alarms nobody", async (t) => {
  const stage = cable(t);
  const { sender, meet } = stage;
  const { phases } = watching(t, stage);
  meet();
  await until("it is reachable", () => phases() === "reachable");
  const BUSY_MS = 600;
  const before = sender.counts().sent;
  const sentSince = (): number => sender.counts().sent - before;
  const from_ms = performance.now();
  const passed_ms = (): number => performance.now() - from_ms;
  // Where there is one core, or half of one, it takes longer.
  while (passed_ms() < BUSY_MS || (sentSince() < BUSY_MS / HEARTBEAT_MS / 2 && passed_ms() < 20_000));
  const sent = sentSince();
  assert.ok(sent >= BUSY_MS / HEARTBEAT_MS / 2, `${sent} sent in ${passed_ms()} ms`);
  const times = newSentTimes();
  sender.read(0, PEER, times);
  const gaps = Array.from(
    { length: times.count - 1 },
    (_, i) => (times.sent_ns[i + 1]! - times.sent_ns[i]!) / 1e6,
  );
  t.diagnostic(
    `${sent} sent; from one to the next ${Math.min(...gaps).toFixed(1)} to ${Math.max(...gaps).toFixed(1)} ms`,
  );
  await sleep(300);
  assert.equal(phases(), "reachable");
});

test("an interface that is down fails to send, and nobody is judged silent for that", async (t) => {
  const stage = cable(t);
  const { sender, meet } = stage;
  const { phases } = watching(t, stage);
  meet();
  await until("it is reachable", () => phases() === "reachable");
  ip("link set eth0 down");
  const { sent } = sender.counts();
  await until("sending fails", () => sender.counts().failed >= 20);
  // One may have been under way.
  assert.ok(sender.counts().sent - sent <= 1);
  assert.equal(phases(), "reachable");
  ip("link set eth0 up");
  await until("it sends again", () => sender.counts().sent > sent + 20);
  assert.equal(phases(), "reachable");
});

test("an interface that is made anew is found again", async (t) => {
  const { sender, meet } = cable(t);
  meet();
  await until("it sends", () => sender.counts().sent > 3);
  ip("link del eth0");
  await until("sending fails", () => sender.counts().failed > 0);
  ip("link add name eth0 type veth peer name eth1");
  ip("link set eth0 up");
  ip("link set eth1 up");
  const { sent } = sender.counts();
  await until("it sends again", () => sender.counts().sent > sent);
});

test("the thread ends when it is told to", async (t) => {
  const { sender, meet } = cable(t);
  meet();
  await until("it sends", () => sender.counts().sent > 0);
  await sender.close();
  const { sent } = sender.counts();
  await sleep(5 * HEARTBEAT_MS);
  assert.equal(sender.counts().sent, sent);
});

/** How many of this process's threads are realtime ones. */
const realtimeThreads = (): number =>
  readdirSync("/proc/self/task").filter((thread) => {
    const fields = readFileSync(`/proc/self/task/${thread}/stat`, "latin1").split(") ").at(-1)!.split(" ");
    return Number(fields[38]) === SCHED_RR;
  }).length;

test("the thread is a realtime one when it shall be, and nothing else is", async (t) => {
  const options = { pinDir: "/sys/fs/bpf/none", key: KEY, number: OWN, interfaces: ["lo"], peers: [PEER] };
  const start = (isRealtime: boolean) => {
    const sender = startHeartbeats({ ...options, channel: 0, heartbeat_ms: HEARTBEAT_MS, isRealtime });
    t.after(async () => sender.close());
    return sender;
  };
  start(true);
  await until("it is", () => realtimeThreads() === 1);
  const ordinary = start(false);
  await sleep(300);
  assert.equal(realtimeThreads(), 1);
  await ordinary.close();
});
