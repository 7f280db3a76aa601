/** Frames at random for the model test: every kind that the program knows, and what becomes of them when mangled. */
import { randomWords } from "../../conf/random.ts";
import * as f from "./frames.ts";
import { sipHash } from "./model-sums.ts";

/** Numbers from 0 up to `below`, the same for the same seed. */
export type Random = (below: number) => number;

export function randomFrom(seed: number): Random {
  const words = randomWords(seed);
  return (below) => Math.floor((words() / 2 ** 32) * below);
}

export const pick = <T>(random: Random, list: readonly T[]): T => list[random(list.length)]!;

/** What frames are made of. */
export interface Scene {
  readonly vips4: readonly string[];
  readonly vips6: readonly string[];
  readonly clients4: readonly string[];
  readonly clients6: readonly string[];
  /** Ports of clients, some of which have connections. */
  readonly clientPorts: readonly number[];
  /** Ports of vservers, and some that are none's. */
  readonly ports: readonly number[];
  readonly macs: readonly string[];
  /** The sender of most frames: the scheduler, where it is another node, else a client. */
  readonly sender: () => string;
  readonly numbers: readonly number[];
  /** The epoch that the program knows. */
  readonly epoch: () => number;
  readonly heartbeatKey: Buffer;
  readonly now_ns: () => bigint;
}

type Maker = (random: Random, scene: Scene) => Buffer;

/** One frame; one in four is mangled. */
export function randomFrame(random: Random, scene: Scene): Buffer {
  const frame = pick(random, KINDS)(random, scene);
  return random(4) === 0 ? mangled(random, frame) : frame;
}

const FLAGS = [2, 2, 0x10, 0x10, 0x18, 0x11, 0x04, 0x12, 0x14, 0x00, 0xff];

function ends(random: Random, scene: Scene): { to: string; from: string } {
  const to = random(12) === 0 ? pick(random, [...scene.macs, f.BROADCAST]) : f.OWN_MAC;
  const from = random(4) === 0 ? pick(random, [...scene.macs, f.CLIENT_MAC]) : scene.sender();
  return { to, from };
}

/** An Ethernet frame, at times with one to three VLAN tags. */
function inEthernet(random: Random, scene: Scene, type: number, payload: Buffer): Buffer {
  const tags = random(6) === 0 ? 1 + random(3) : 0;
  let inner = payload;
  // At times, as it comes from a member that has searched for its connection.
  const isSearched = random(12) === 0;
  let outer = isSearched ? f.SEARCH : type;
  for (let i = 0; i < tags; i++) {
    inner = f.vlan(random(4096), outer, inner);
    outer = pick(random, [f.VLAN, f.QINQ]);
  }
  const way = ends(random, scene);
  // Half of these have come back.
  if (isSearched && tags === 0 && random(2) === 0)
    inner = Buffer.concat([Buffer.of(inner[0]! | 0x80), inner.subarray(1)]);
  return f.eth(outer, inner, isSearched ? { ...way, from: pick(random, scene.macs) } : way);
}

function addresses(random: Random, scene: Scene, family: 4 | 6): { from: string; to: string } {
  const [clients, vips] = family === 4 ? [scene.clients4, scene.vips4] : [scene.clients6, scene.vips6];
  const other = family === 4 ? f.OTHER : f.OTHER6;
  return { from: pick(random, clients), to: random(12) === 0 ? other : pick(random, vips) };
}

function segment(random: Random, scene: Scene): { protocol: number; payload: Buffer } {
  const client = pick(random, scene.clientPorts);
  const port = pick(random, scene.ports);
  const body = Buffer.alloc(random(40), random(256));
  if (random(3) === 0) return { protocol: 17, payload: Buffer.concat([f.udp(client, port), body]) };
  return { protocol: 6, payload: Buffer.concat([f.tcp(client, port, pick(random, FLAGS)), body]) };
}

const whole4: Maker = (random, scene) => {
  const { protocol, payload } = segment(random, scene);
  const options = random(5) === 0 ? 1 + random(10) : 0;
  const packet = f.ip4(protocol, payload, { ...addresses(random, scene, 4), options });
  return inEthernet(random, scene, f.IPV4, packet);
};

const whole6: Maker = (random, scene) => {
  let { protocol, payload } = segment(random, scene);
  const count = random(4) === 0 ? 1 + random(7) : 0;
  for (let i = 0; i < count; i++) {
    payload = f.extension(protocol, payload, random(3));
    protocol = pick(random, [0, 43, 60]);
  }
  return inEthernet(random, scene, f.IPV6, f.ip6(protocol, payload, addresses(random, scene, 6)));
};

const fragment4: Maker = (random, scene) => {
  const { protocol, payload } = segment(random, scene);
  const isFirst = random(2) === 0;
  const ends = { ...addresses(random, scene, 4), id: random(40) };
  const packet = isFirst
    ? f.ip4(protocol, payload.subarray(0, random(3) === 0 ? 8 : payload.length), { ...ends, offset: 0x2000 })
    : f.ip4(random(9) === 0 ? 1 : protocol, Buffer.alloc(random(30) === 0 ? 2100 : 64), {
        ...ends,
        offset: 1 + random(0x1fff),
      });
  return inEthernet(random, scene, f.IPV4, packet);
};

const fragment6: Maker = (random, scene) => {
  const { protocol, payload } = segment(random, scene);
  const isFirst = random(2) === 0;
  const next = random(9) === 0 ? 60 : protocol;
  const inner = f.fragment6(
    next,
    isFirst ? payload : Buffer.alloc(64),
    isFirst ? 0 : 1 + random(99),
    true,
    random(40),
  );
  return inEthernet(random, scene, f.IPV6, f.ip6(44, inner, addresses(random, scene, 6)));
};

const icmp4: Maker = (random, scene) => {
  const { from, to } = addresses(random, scene, 4);
  const { protocol, payload } = quotedSegment(random, scene);
  const quoted = f.ip4(protocol, payload, {
    from: random(9) === 0 ? f.OTHER : to,
    to: from,
    options: random(5) === 0 ? random(11) : 0,
    offset: random(7) === 0 ? random(0x4000) : 0,
  });
  const packet = f.ip4(1, f.icmpError(pick(random, [3, 11, 12, 8, 0, 5]), quoted), { from: "11.9.9.9", to });
  return inEthernet(random, scene, f.IPV4, packet);
};

const icmp6: Maker = (random, scene) => {
  const { from, to } = addresses(random, scene, 6);
  const { protocol, payload } = quotedSegment(random, scene);
  const isFragment = random(4) === 0;
  const inner = isFragment ? f.fragment6(protocol, payload, random(2) * 9, true) : payload;
  const quoted = f.ip6(isFragment ? 44 : protocol, inner, {
    from: random(9) === 0 ? f.OTHER6 : to,
    to: from,
  });
  const packet = f.ip6(58, f.icmpError(pick(random, [1, 2, 3, 4, 0, 5, 128]), quoted), {
    from: "2001:db8::77",
    to,
  });
  return inEthernet(random, scene, f.IPV6, packet);
};

/** As a VIP sent it: the ports are the other way round. */
function quotedSegment(random: Random, scene: Scene): { protocol: number; payload: Buffer } {
  const client = pick(random, scene.clientPorts);
  const port = pick(random, scene.ports);
  if (random(3) === 0) return { protocol: 17, payload: f.udp(port, client) };
  return { protocol: 6, payload: f.tcp(port, client, 0x10).subarray(0, random(2) === 0 ? 8 : 20) };
}

const arp: Maker = (random, scene) => {
  const target = pick(random, [...scene.vips4, f.OTHER]);
  const sender = random(6) === 0 ? target : pick(random, scene.clients4);
  const payload = f.arp(
    random(4) === 0 ? 2 : 1,
    sender,
    target,
    f.CLIENT_MAC,
    random(9) === 0 ? 0x1234 : f.IPV4,
  );
  const to = random(3) === 0 ? pick(random, [...scene.macs, f.OWN_MAC]) : f.BROADCAST;
  return random(5) === 0 ? f.eth(f.VLAN, f.vlan(5, f.ARP, payload), { to }) : f.eth(f.ARP, payload, { to });
};

const solicitation: Maker = (random, scene) => {
  const target = pick(random, [...scene.vips6, f.OTHER6]);
  const option = pick(random, [
    f.sourceOption(),
    Buffer.alloc(0),
    Buffer.concat([f.sourceOption(), Buffer.alloc(8)]),
    Buffer.concat([Buffer.of(14, 1), Buffer.alloc(6)]),
  ]);
  const hops = random(9) === 0 ? 254 : 255;
  const packet = f.ip6(58, f.solicitation(target, option, random(9) === 0 ? 1 : 0), {
    from: pick(random, scene.clients6),
    to: random(2) === 0 ? target : "ff02::1:ff00:100",
    hops,
  });
  return f.eth(f.IPV6, packet, { to: pick(random, [f.OWN_MAC, "33:33:ff:00:01:00", ...scene.macs]) });
};

/** Mostly the epoch of the scene, or an older one; at times a later one, by who asks. */
function toldEpoch(random: Random, scene: Scene, asker: number): number {
  const present = scene.epoch();
  const counter = Math.max(1, (present >>> 8) - 1 + random(2));
  const kind = random(16);
  if (kind < 6) return present;
  if (kind < 12) return counter * 256 + pick(random, [asker, ...scene.numbers]);
  return kind < 15 ? random(1000) : ((present >>> 8) + 1) * 256 + asker;
}

const heartbeat: Maker = (random, scene) => {
  const beat = Buffer.alloc(46);
  beat[0] = random(9) === 0 ? random(256) : 1;
  beat[1] = random(9) === 0 ? random(256) : 1 + random(2);
  beat[2] = pick(random, scene.numbers);
  beat[3] = pick(random, scene.numbers);
  beat.writeUInt32LE(toldEpoch(random, scene, beat[2]), 4);
  beat.writeBigUInt64LE(BigInt(random(1_000_000)), 8);
  beat.writeUInt32LE(random(32), 16);
  beat.writeUInt32LE(random(9) === 0 ? random(9) : random(2), 20);
  // Some from the past, in any order, and some from the future.
  const ago_ns = BigInt(random(2_000_000_000)) - (random(9) === 0 ? 3_600_000_000_000n : 0n);
  const sent_ns = scene.now_ns() - ago_ns;
  beat.writeBigUInt64LE(sent_ns < 0n ? 0n : sent_ns, 24);
  if (random(9) !== 0) sipHash(scene.heartbeatKey, beat.subarray(0, 32)).copy(beat, 32);
  return f.eth(0x88b5, beat, ends(random, scene));
};

const other: Maker = (random, scene) =>
  random(2) === 0
    ? inEthernet(random, scene, pick(random, [0x88cc, 0x0001, 0x8847]), Buffer.alloc(46, random(256)))
    : inEthernet(
        random,
        scene,
        f.IPV4,
        f.ip4(random(256), Buffer.alloc(40, random(256)), addresses(random, scene, 4)),
      );

const noise: Maker = (random) =>
  Buffer.concat([
    f.mac(f.OWN_MAC),
    f.mac(f.CLIENT_MAC),
    Buffer.from(Array.from({ length: 2 + random(100) }, () => random(256))),
  ]);

const KINDS: readonly Maker[] = [
  whole4,
  whole4,
  whole4,
  whole6,
  whole6,
  fragment4,
  fragment4,
  fragment6,
  fragment6,
  icmp4,
  icmp6,
  arp,
  solicitation,
  solicitation,
  heartbeat,
  other,
  noise,
];

/** Cut, lengthened, or with some bytes changed. */
function mangled(random: Random, frame: Buffer): Buffer {
  const kind = random(3);
  if (kind === 0) return Buffer.from(frame.subarray(0, 14 + random(Math.max(1, frame.length - 14))));
  if (kind === 1) return Buffer.concat([frame, Buffer.alloc(1 + random(64), random(256))]);
  const changed = Buffer.from(frame);
  for (let i = 0; i <= random(4); i++) changed[random(changed.length)] = random(256);
  return changed;
}
