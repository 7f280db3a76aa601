/**
 * Runs random frames through the XDP program and its model, and compares everything: verdict, frame, counters, traffic,
 * table, events. To be started in a network namespace of its own, as it adds addresses and opens connections.
 * Arguments: seed, number of frames, frames between two looks at the counters. Prints one line of JSON at the end; a disagreement ends it with its story.
 */
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { once } from "node:events";
import { connect, createServer } from "node:net";
import { NOBODY } from "../../conf/limits.ts";
import { epochOf } from "../../conf/epoch.ts";
import { mapShared } from "../../net/ffi.ts";
import { testRun } from "../../net/libbpf.ts";
import { loadUnattached } from "../../scheduler/plane/data-plane.ts";
import { clientHash } from "../../scheduler/hash.ts";
import { CHANNEL_COUNT, NODE_COUNT, PEER, REASONS } from "../../scheduler/layout.ts";
import type { Service, VserverEntry } from "../../scheduler/plane/shared-maps.ts";
import { ownerOf, nextOf, previousOf, wordOf } from "../../scheduler/table.ts";
import { ROWS_PER_VSERVER } from "../../scheduler/traffic-rows.ts";
import * as f from "./frames.ts";
import { pick, randomFrame, randomFrom, type Scene } from "./model-frames.ts";
import { setEpochs } from "./packet-plane.ts";
import { nextSequence } from "./receive-window.ts";
import {
  isScheduling,
  modelRun,
  vserverKey,
  type ModelNode,
  type ModelVserver,
  type Outcome,
  type World,
} from "./model.ts";

const SIZE = 256;
/** Frames for which table, nodes and role stay as they are, but for what the program does. */
const FRAMES_PER_WORLD = 500;
/** Some have lower numbers, some higher ones. */
const OWN = 3;
const NODES = [1, 2, 3, 4, 5, 6];
const HOSTS = [1, 2, 3];
const CLIENTS4 = ["11.0.0.1", "11.0.0.2", "11.200.3.4"];
const CLIENTS6 = ["2001:db8::c", "2001:db8::d", "2001:db8:1::1"];
/** The first of these have connections, from the first client of each family. */
const CONNECTED_PORTS = [5000, 5001, 5002];
const PORTS = [...CONNECTED_PORTS, 5003, 40_000, 65_535, 1];
const VIP_B = "198.18.0.101";
const AN_HOUR_NS = 3_600_000_000_000n;

let world: World | undefined;
const [seed = 1, frames = 1000, stride = 20] = process.argv.slice(2).map(Number);
const random = randomFrom(seed);
const chance = (of: number): boolean => random(of) === 0;
const bytes = (count: number): Buffer => Buffer.from(Array.from({ length: count }, () => random(256)));

const hashKey = bytes(48);
const heartbeatKey = bytes(16);
const macOfHost = (number: number): string => `02:00:00:00:01:1${number}`;

const VSERVERS: readonly { entry: VserverEntry; ports: readonly number[]; transport: "tcp" | "udp" }[] = [
  { entry: entryOf(0, {}), ports: [80], transport: "tcp" },
  { entry: entryOf(1, { isAddressOnly: true }), ports: [443], transport: "tcp" },
  { entry: entryOf(2, {}), ports: [53], transport: "udp" },
  { entry: entryOf(3, { group: 1, tableBase: SIZE }), ports: [7000], transport: "tcp" },
  { entry: entryOf(4, { group: 1, tableBase: SIZE, isAddressOnly: true }), ports: [7000], transport: "udp" },
];

function entryOf(index: number, change: Partial<VserverEntry>): VserverEntry {
  const trafficBase = index * ROWS_PER_VSERVER;
  return { index, tableBase: 0, tableSize: SIZE, group: 0, trafficBase, isAddressOnly: false, ...change };
}

const vips = [f.VIP, VIP_B, f.VIP6];
const services = VSERVERS.flatMap(({ entry: vserver, ports, transport }) =>
  vips.flatMap((address) => ports.map((port): Service => ({ address, port, transport, vserver }))),
);
const scene: Scene = {
  vips4: [f.VIP, VIP_B],
  vips6: [f.VIP6],
  clients4: CLIENTS4,
  clients6: CLIENTS6,
  clientPorts: PORTS,
  ports: [80, 80, 443, 53, 7000, 81],
  macs: [...NODES.map(f.macOfNode), macOfHost(1), "0a:bb:cc:dd:ee:ff"],
  numbers: NODES,
  sender: () => (world === undefined || isScheduling(world) ? f.CLIENT_MAC : senderToStandby(world)),
  epoch: () => world?.epochs.epoch ?? 0,
  heartbeatKey,
  now_ns: () => process.hrtime.bigint(),
};

const hexOf = (text: string): string => f.ip(text).toString("hex");
const ip = (words: string): unknown => execFileSync("ip", words.split(" "));

/** The sequence number that each connection expects next, by client, port and VIP. */
const nexts = new Map<string, number>();

/** Real connections, so that the program finds sockets. */
async function openConnections(): Promise<() => void> {
  ip("link set lo up");
  for (const address of [...vips, CLIENTS4[0]!, CLIENTS6[0]!]) {
    ip(address.includes(":") ? `addr add ${address}/128 dev lo nodad` : `addr add ${address}/32 dev lo`);
  }
  const closing: (() => void)[] = [];
  for (const [vip, client] of [
    [f.VIP, CLIENTS4[0]!],
    [f.VIP6, CLIENTS6[0]!],
  ] as const) {
    const server = createServer((socket) => void closing.push(() => socket.destroy())).listen(80, vip);
    await once(server, "listening");
    closing.push(() => server.close());
    for (const localPort of CONNECTED_PORTS) {
      const socket = connect({ host: vip, port: 80, localAddress: client, localPort });
      const [[accepted]] = await Promise.all([once(server, "connection"), once(socket, "connect")]);
      closing.push(() => socket.destroy());
      nexts.set(`${hexOf(client)} ${localPort} ${hexOf(vip)}`, nextSequence(accepted));
    }
  }
  return () => closing.forEach((close) => close());
}

const plane = loadUnattached(SIZE, { trafficRows: VSERVERS.length * ROWS_PER_VSERVER });
const peersMap = mapShared(plane.object.mapFd("peers"), CHANNEL_COUNT * NODE_COUNT * PEER.size);
const peerLongs = new BigUint64Array(peersMap.buffer);
plane.setNumber(OWN);
plane.setOwnMac(f.mac(f.OWN_MAC));
plane.setHashKey(hashKey);
plane.setHeartbeatKeys({ key: heartbeatKey, also: undefined });
plane.setVips(vips);
plane.setServices(services);
const memberMacs = NODES.map((number) => f.mac(f.macOfNode(number)));
plane.setMembers(NODES.map((number) => ({ number, mac: f.mac(f.macOfNode(number)) })));

const modelVservers = new Map(
  services.map(({ address, port, transport, vserver }): [string, ModelVserver] => {
    const bytes = f.ip(address);
    const key = vserverKey(bytes.length === 4 ? 4 : 6, bytes, port, transport === "tcp" ? 6 : 17);
    const { index, tableBase, tableSize, group, isAddressOnly } = vserver;
    return [
      key,
      { index, tableBase, tableSize, nodeBase: group * NODE_COUNT, isAddressOnly, isDirect: group > 0 },
    ];
  }),
);

/** Most of what comes to a node that doesn't schedule is from the scheduler or the former one, or strays from a client. */
const senderToStandby = ({ epochs }: World): string =>
  pick(random, [f.macOfNode(epochs.epoch % 256 || 2), f.macOfNode(epochs.former % 256 || 3), f.CLIENT_MAC]);

function randomEpochs(offer: World["epochs"]["offer"]): World["epochs"] {
  const counter = 2 + random(100);
  const scheduler = pick(random, [OWN, OWN, ...NODES]);
  const epoch = chance(12) ? 0 : epochOf(counter, scheduler);
  const former = chance(4) ? 0 : epochOf(counter - 1, pick(random, NODES));
  setEpochs(plane.lease, epoch, former);
  plane.lease.clearOffered();
  return { epoch, former, offered: 0, offer };
}

/** The times of answers to the failover process: long ago, or to come, so that the frames may take their time. */
function randomHeard(): World["heard"] {
  const heard = new Set(NODES.filter(() => chance(2)));
  for (const number of NODES) stampHeard(number, heard.has(number));
  return heard;
}

function stampHeard(number: number, isHeard: boolean): void {
  const heard_ns = isHeard ? process.hrtime.bigint() + AN_HOUR_NS : 0n;
  Atomics.store(peerLongs, (number * PEER.size + PEER.heard_ns) / 8, heard_ns);
}

/** Nodes, table and role at random, in the program's maps and in the model. */
function nextWorld(former: World | undefined): World {
  const [hasTime, stands, side] = [chance(2), chance(2), random(256)];
  const [hasTable, hasPrevious, isInDoubt] = [random(4) > 0, random(5) > 0, chance(4)];
  const tableVersion = BigInt(random(1_000_000));
  plane.setHasTable(hasTable);
  plane.setHasPrevious(hasPrevious);
  plane.setInDoubt(isInDoubt);
  plane.setTableVersion(Number(tableVersion));
  plane.lease.tell({ stands, side });
  plane.lease.setUntil(hasTime ? process.hrtime.bigint() + AN_HOUR_NS : 0n);
  return {
    ownMac: f.mac(f.OWN_MAC),
    ownNumber: OWN,
    epochs: randomEpochs(former?.epochs.offer ?? { epoch: 0, sent_ns: 0n }),
    hasTable,
    hasPrevious,
    isInDoubt,
    hasTime,
    stands,
    side,
    tableVersion,
    heartbeatKey,
    members: new Set(memberMacs.map((mac) => mac.toString("hex"))),
    vips: new Set(vips.map(hexOf)),
    vservers: modelVservers,
    nodes: randomNodes(),
    buckets: randomBuckets(),
    fragments: former?.fragments ?? new Map(),
    answered_ns: former?.answered_ns ?? new Map(),
    heard: randomHeard(),
    hashOf: (address) => clientHash(hashKey, address, address.length === 4 ? 4 : 6),
    socketOf: (client, port, vip, vipPort, sequence) => {
      if (vipPort !== 80) return "none";
      const next = nexts.get(`${client.toString("hex")} ${port} ${vip.toString("hex")}`);
      if (next === undefined) return "listener";
      // Frames at random are either right there or anywhere: how wide the window is does not matter.
      const isNear = sequence === undefined || (sequence - next + 2 ** 26) >>> 0 <= 2 ** 26 + 2 ** 20;
      return isNear ? "connection" : "none";
    },
    now_ns: 0n,
  };
}

function randomNodes(): Map<number, ModelNode> {
  const nodes = new Map<number, ModelNode>();
  const hasScattered = chance(2);
  const set = (group: number, number: number, mac: string, isSelf: boolean): void => {
    const isUp = random(4) > 0;
    const isScattered = hasScattered && group === 0 && chance(2);
    const state = { isUp, isSelf, isReachable: isUp || chance(2), isDraining: chance(4), isScattered };
    plane.setNode(group, number, { ...state, mac: f.mac(mac), slot: number });
    nodes.set(group * NODE_COUNT + number, { ...state, mac: f.mac(mac), number });
  };
  for (const number of NODES) set(0, number, f.macOfNode(number), number === OWN);
  for (const number of HOSTS) set(1, number, macOfHost(number), number === 3);
  return nodes;
}

const numberIn = (numbers: readonly number[]): number => (chance(6) ? NOBODY : pick(random, numbers));

function randomBuckets(): World["buckets"] {
  return Array.from({ length: SIZE * 2 }, (_, index) => {
    const numbers = index < SIZE ? NODES : HOSTS;
    const [owner, next, previous] = [
      numberIn(numbers),
      numberIn(numbers),
      // Often this node: with a connection here, too, a frame is rare enough.
      chance(2) ? NOBODY : numberIn([OWN, OWN, OWN, ...numbers]),
    ];
    plane.buckets[index * 2] = wordOf(owner, next, previous);
    plane.buckets[index * 2 + 1] = 0;
    return { owner, next, previous, isTouched: false };
  });
}

/** Where program and model disagree is said with what led there. */
function compare(what: string, index: number, frame: Buffer, actual: unknown, expected: unknown): void {
  try {
    assert.deepEqual(actual, expected);
  } catch {
    const story = [
      `seed ${seed}, frame ${index}: ${what} differ (again: model-process.ts ${seed} ${index + 1} 1)`,
      `  frame    ${frame.toString("hex")}`,
      `  program  ${JSON.stringify(actual)}`,
      `  model    ${JSON.stringify(expected)}`,
    ];
    console.error(story.join("\n"));
    process.exit(1);
  }
}

const counted = Object.fromEntries(REASONS.map((reason) => [reason, 0]));
const expectedTraffic = new Map<number, { packets: number; bytes: number; connections: number }>();
const verdicts = { 1: 0, 2: 0, 3: 0 };

function note(outcome: Outcome, frame: Buffer): void {
  verdicts[outcome.verdict]++;
  for (const reason of outcome.counts) counted[reason]!++;
  for (const { vserver, row, isOpening } of outcome.traffic) {
    const place = vserver * ROWS_PER_VSERVER + (row % NODE_COUNT);
    const sum = expectedTraffic.get(place) ?? { packets: 0, bytes: 0, connections: 0 };
    const { packets, bytes, connections } = sum;
    expectedTraffic.set(place, {
      packets: packets + 1,
      bytes: bytes + frame.length,
      connections: connections + Number(isOpening),
    });
  }
}

/** Most segments of a connection have the number that it expects next. */
function inSequence(frame: Buffer): Buffer {
  for (const [key, next] of nexts) {
    const [client = "", port = ""] = key.split(" ");
    const at = frame.indexOf(f.tcp(Number(port), 80).subarray(0, 8));
    if (at === -1 || !frame.includes(Buffer.from(client, "hex")) || chance(4)) continue;
    frame.writeUInt32BE(next, at + 4);
  }
  return frame;
}

function runFrame(world: World, index: number): void {
  const frame = inSequence(randomFrame(random, scene));
  const outcome = modelRun({ ...world, now_ns: process.hrtime.bigint() }, frame);
  const { verdict, out } = testRun(plane.programFd, frame);
  compare("verdicts", index, frame, verdict, outcome.verdict);
  compare("frames", index, frame, out.toString("hex"), outcome.out.toString("hex"));
  note(outcome, frame);
  for (const number of world.heard) stampHeard(number, true);
  const { lease } = plane;
  const { epoch, former, offered } = world.epochs;
  const epochs = { epoch: lease.epoch(), former: lease.former(), offered: lease.offered() };
  compare("epochs", index, frame, epochs, { epoch, former, offered });
  // These take a system call each; a disagreement among them is found by running with a stride of 1.
  if (index % stride === stride - 1) compare("counters", index, frame, plane.counters(), counted);
  const events: unknown[] = [];
  plane.consumeEvents((event) => events.push(event));
  compare("events", index, frame, events, outcome.events);
  const held: string[] = [];
  plane.consumeHeld((fragment) => held.push(Buffer.from(fragment.frame).toString("hex")));
  compare("held fragments", index, frame, held, outcome.isHeld ? [frame.toString("hex")] : []);
  if (index % 100 === 99) compareTables(world, index, frame);
}

function compareTables(world: World, index: number, frame: Buffer): void {
  const table = world.buckets.map((_, i) => {
    const word = plane.buckets[i * 2]!;
    return [ownerOf(word), nextOf(word), previousOf(word), plane.buckets[i * 2 + 1] !== 0];
  });
  const expected = world.buckets.map(({ owner, next, previous, isTouched }) => [
    owner,
    next,
    previous,
    isTouched,
  ]);
  compare("tables", index, frame, table, expected);
  for (const [row, sum] of expectedTraffic)
    compare(`traffic of row ${row}`, index, frame, plane.traffic(row), sum);
  for (const channel of [0, 1]) {
    for (const number of NODES) {
      const row = channel * NODE_COUNT + number;
      const answered_ns = peerLongs[(row * PEER.size + PEER.answered_ns) / 8];
      const expected = String(world.answered_ns.get(row) ?? 0n);
      compare(`answers of node ${number} to ${channel}`, index, frame, String(answered_ns), expected);
    }
  }
}

const close = await openConnections();
for (let index = 0; index < frames; index++) {
  if (world === undefined || index % FRAMES_PER_WORLD === 0) world = nextWorld(world);
  runFrame(world, index);
}
close();
peersMap.unmap();
plane.close();
console.log(JSON.stringify({ seed, frames, verdicts, counted }));
process.exit(0);
