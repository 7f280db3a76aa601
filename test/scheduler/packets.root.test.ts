/**
 * What the XDP program does to each kind of frame: a table of packet in, verdict and packet out, run through
 * BPF_PROG_TEST_RUN against the committed object, and once more against a build that counts which way every `if`
 * went, so that no branch is left out.
 */
import assert from "node:assert/strict";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { Worker } from "node:worker_threads";
import * as fc from "fast-check";
import { NOBODY } from "../../conf/limits.ts";
import { mapShared } from "../../net/ffi.ts";
import { icmp6Checksum } from "../../net/frames.ts";
import { testRun } from "../../net/libbpf.ts";
import { compileBpf, OBJECT_FILE, SOURCE_FILE } from "../../scheduler/bpf/build.ts";
import { loadUnattached, type BucketEvent } from "../../scheduler/data-plane.ts";
import { LEASE } from "../../scheduler/layout.ts";
import { nextOf, ownerOf, wordOf } from "../../scheduler/table.ts";
import * as f from "./frames.ts";

const SIZE = 1024;
const DROP = 1;
const PASS = 2;
const TX = 3;
const COVERAGE_LINES = 1024;
type Loaded = ReturnType<typeof load>;

interface Row {
  readonly name: string;
  readonly packet: Buffer;
  readonly verdict: typeof DROP | typeof PASS | typeof TX;
  /** Owner and next of every bucket before; 2 and 3 unless told. */
  readonly bucket?: readonly [owner: number, next: number];
  /** Frames that came before. */
  readonly before?: readonly Buffer[];
  /** The node whose traffic grew. */
  readonly node?: number;
  /** Counters that grew by one; no other may. */
  readonly counts?: readonly string[];
  readonly isScheduling?: boolean;
  readonly hasLease?: boolean;
  /** For answers: what comes out. Else a frame that goes out has both MAC addresses rewritten, and no other byte. */
  readonly out?: Buffer;
}

const v4 = (
  protocol: number,
  payload: Buffer,
  options: Parameters<typeof f.ip4>[2] = {},
  ends = {},
): Buffer => f.eth(f.IPV4, f.ip4(protocol, payload, options), ends);
const v6 = (next: number, payload: Buffer, options: Parameters<typeof f.ip6>[2] = {}, ends = {}): Buffer =>
  f.eth(f.IPV6, f.ip6(next, payload, options), ends);
const syn = f.tcp(5000, 80);
const quoted4 = (options = 0): Buffer => f.ip4(6, f.tcp(80, 5000), { from: f.VIP, to: f.CLIENT, options });
const quoted6 = (payload = f.tcp(80, 5000), next = 6): Buffer =>
  f.ip6(next, payload, { from: f.VIP6, to: f.CLIENT6 });
const GROUP = "33:33:ff:00:01:00";
const answer4 = (target: string): Buffer => {
  const reply = f.arp(2, target, f.CLIENT, f.OWN_MAC);
  f.mac(f.CLIENT_MAC).copy(reply, 18);
  return reply;
};

function answer6(target: string, option: Buffer, padding = 0): Buffer {
  const message = Buffer.concat([Buffer.of(136, 0, 0, 0, 0x60, 0, 0, 0), f.ip(target), option]);
  const packet = f.ip6(58, message, { from: target, to: f.CLIENT6, hops: 255 });
  packet.writeUInt16BE(icmp6Checksum(packet), 42);
  return f.eth(f.IPV6, Buffer.concat([packet, Buffer.alloc(padding)]), { to: f.CLIENT_MAC, from: f.OWN_MAC });
}
const targetOption = Buffer.concat([Buffer.of(2, 1), f.mac(f.OWN_MAC)]);

const rows: readonly Row[] = [
  // Where a flow goes.
  { name: "TCP to another node's bucket goes out to it", packet: v4(6, syn), verdict: TX, node: 2 },
  {
    name: "a segment that is no SYN goes the same way",
    packet: v4(6, f.tcp(5000, 80, 0x18)),
    verdict: TX,
    node: 2,
  },
  { name: "UDP goes to the bucket's owner", packet: v4(17, f.udp(5000, 53)), verdict: TX, node: 2 },
  { name: "IPv6 TCP goes to the bucket's owner", packet: v6(6, syn), verdict: TX, node: 2 },
  { name: "IPv6 UDP goes to the bucket's owner", packet: v6(17, f.udp(5000, 53)), verdict: TX, node: 2 },
  {
    name: "the own bucket's frames go up the own stack",
    packet: v4(6, syn),
    bucket: [1, 2],
    verdict: PASS,
    node: 1,
  },
  { name: "IPv4 options are stepped over", packet: v4(6, syn, { options: 10 }), verdict: TX, node: 2 },
  { name: "a VLAN tag stays", packet: f.eth(f.VLAN, f.vlan(7, f.IPV4, f.ip4(6, syn))), verdict: TX, node: 2 },
  {
    name: "two VLAN tags stay",
    packet: f.eth(f.QINQ, f.vlan(7, f.VLAN, f.vlan(8, f.IPV6, f.ip6(6, syn)))),
    verdict: TX,
    node: 2,
  },
  // Who gets a bucket.
  {
    name: "an unassigned bucket goes to its next",
    packet: v4(6, syn),
    bucket: [NOBODY, 3],
    verdict: TX,
    node: 3,
    counts: ["claimed"],
  },
  {
    name: "an unassigned bucket whose next is this node stays here",
    packet: v4(6, syn),
    bucket: [NOBODY, 1],
    verdict: PASS,
    node: 1,
    counts: ["claimed"],
  },
  {
    name: "a segment in the middle of a connection claims, too",
    packet: v4(6, f.tcp(5000, 80, 0x10)),
    bucket: [NOBODY, 3],
    verdict: TX,
    node: 3,
    counts: ["claimed"],
  },
  {
    name: "a dead node's bucket goes to its next at once",
    packet: v4(6, syn),
    bucket: [4, 3],
    verdict: TX,
    node: 3,
    counts: ["followed"],
  },
  {
    name: "a node that was never set is dead",
    packet: v4(6, syn),
    bucket: [77, 2],
    verdict: TX,
    node: 2,
    counts: ["followed"],
  },
  {
    name: "without owner and next a frame is dropped",
    packet: v4(6, syn),
    bucket: [NOBODY, NOBODY],
    verdict: DROP,
    counts: ["no_node"],
  },
  {
    name: "with a dead owner and a dead next it is dropped",
    packet: v4(6, syn),
    bucket: [4, 4],
    verdict: DROP,
    counts: ["no_node"],
  },
  // IPv6 extension headers.
  {
    name: "destination options are stepped over",
    packet: v6(60, f.extension(6, syn, 1)),
    verdict: TX,
    node: 2,
  },
  {
    name: "a chain of hop-by-hop, routing and destination options is stepped over",
    packet: v6(0, f.extension(43, f.extension(60, f.extension(6, syn), 2))),
    verdict: TX,
    node: 2,
  },
  {
    name: "more extension headers than the bound are passed",
    packet: v6(
      60,
      Array.from({ length: 6 }).reduce<Buffer>((inner) => f.extension(60, inner), f.extension(6, syn)),
    ),
    verdict: PASS,
    counts: ["other_protocol"],
  },
  // Fragments.
  {
    name: "a first fragment is scheduled and remembered",
    packet: v4(17, f.udp(5000, 53, 64), { offset: 0x2000 }),
    verdict: TX,
    node: 2,
    counts: ["first_fragment"],
  },
  {
    name: "a later fragment follows its first",
    packet: v4(17, Buffer.alloc(64), { offset: 9, id: 5 }),
    before: [v4(17, f.udp(5000, 53, 64), { offset: 0x2000, id: 5 })],
    verdict: TX,
    node: 2,
    counts: ["later_fragment"],
  },
  {
    name: "a later fragment whose first was not seen is passed",
    packet: v4(17, Buffer.alloc(64), { offset: 9, id: 6 }),
    verdict: PASS,
    counts: ["fragment_unknown"],
  },
  {
    name: "a later fragment from a member is passed",
    packet: v4(17, Buffer.alloc(64), { offset: 9, id: 8 }, { from: f.macOfNode(2) }),
    before: [v4(17, f.udp(5000, 53, 64), { offset: 0x2000, id: 8 })],
    verdict: PASS,
    counts: ["from_member"],
  },
  {
    name: "an IPv6 first fragment is scheduled and remembered",
    packet: v6(44, f.fragment6(17, f.udp(5000, 53, 64), 0, true)),
    verdict: TX,
    node: 2,
    counts: ["first_fragment"],
  },
  {
    name: "an IPv6 later fragment follows its first",
    packet: v6(44, f.fragment6(17, Buffer.alloc(64), 9, false, 9)),
    before: [v6(44, f.fragment6(17, f.udp(5000, 53, 64), 0, true, 9))],
    verdict: TX,
    node: 2,
    counts: ["later_fragment"],
  },
  {
    name: "an IPv6 packet with a fragment header that is whole is none",
    packet: v6(44, f.fragment6(6, syn, 0, false)),
    verdict: TX,
    node: 2,
  },
  {
    name: "a fragment of something else is passed",
    packet: v4(1, Buffer.alloc(64), { offset: 0x2000 }),
    verdict: PASS,
    counts: ["other_protocol"],
  },
  // ICMP errors.
  {
    name: "fragmentation needed goes to the flow's owner",
    packet: v4(1, f.icmpError(3, quoted4()), { from: "11.9.9.9" }),
    verdict: TX,
    node: 2,
    counts: ["icmp_error"],
  },
  {
    name: "time exceeded about a packet with options goes to the flow's owner",
    packet: v4(1, f.icmpError(11, quoted4(2))),
    verdict: TX,
    node: 2,
    counts: ["icmp_error"],
  },
  {
    name: "parameter problem about the own flow goes up",
    packet: v4(1, f.icmpError(12, quoted4())),
    bucket: [1, 2],
    verdict: PASS,
    node: 1,
    counts: ["icmp_error"],
  },
  {
    name: "packet too big goes to the flow's owner",
    packet: v6(58, f.icmpError(2, quoted6()), { from: "2001:db8::77" }),
    verdict: TX,
    node: 2,
    counts: ["icmp_error"],
  },
  {
    name: "ICMPv6 about a first fragment goes to the flow's owner",
    packet: v6(58, f.icmpError(1, quoted6(f.fragment6(17, f.udp(53, 5000), 0, true), 44))),
    verdict: TX,
    node: 2,
    counts: ["icmp_error"],
  },
  {
    name: "an error about a flow that nobody owns claims nothing",
    packet: v4(1, f.icmpError(3, quoted4())),
    bucket: [NOBODY, 3],
    verdict: PASS,
    counts: ["icmp_unowned"],
  },
  {
    name: "an error about a dead node's flow is passed",
    packet: v6(58, f.icmpError(1, quoted6())),
    bucket: [4, 3],
    verdict: PASS,
    counts: ["icmp_unowned"],
  },
  {
    name: "an error from a member is passed",
    packet: v4(1, f.icmpError(3, quoted4()), {}, { from: f.macOfNode(3) }),
    verdict: PASS,
    counts: ["from_member"],
  },
  {
    name: "an echo request is passed",
    packet: v4(1, f.icmpError(8, quoted4())),
    verdict: PASS,
    counts: ["other_protocol"],
  },
  {
    name: "an ICMPv6 echo request is passed",
    packet: v6(58, f.icmpError(128, quoted6())),
    verdict: PASS,
    counts: ["other_protocol"],
  },
  {
    name: "an ICMPv6 type 0 is passed",
    packet: v6(58, f.icmpError(0, quoted6())),
    verdict: PASS,
    counts: ["other_protocol"],
  },
  {
    name: "an error that quotes another sender is passed",
    packet: v4(1, f.icmpError(3, f.ip4(6, f.tcp(80, 5000), { from: f.OTHER, to: f.CLIENT }))),
    verdict: PASS,
    counts: ["other_protocol"],
  },
  {
    name: "an ICMPv6 error that quotes another sender is passed",
    packet: v6(58, f.icmpError(1, f.ip6(6, f.tcp(80, 5000), { from: f.OTHER6, to: f.CLIENT6 }))),
    verdict: PASS,
    counts: ["other_protocol"],
  },
  {
    name: "an error about a later fragment is passed",
    packet: v4(1, f.icmpError(3, f.ip4(17, f.udp(53, 5000), { from: f.VIP, to: f.CLIENT, offset: 9 }))),
    verdict: PASS,
    counts: ["other_protocol"],
  },
  {
    name: "an ICMPv6 error about a later fragment is passed",
    packet: v6(58, f.icmpError(1, quoted6(f.fragment6(17, f.udp(53, 5000), 9, true), 44))),
    verdict: PASS,
    counts: ["other_protocol"],
  },
  {
    name: "an error that quotes a header of less than twenty bytes is passed",
    packet: v4(1, f.icmpError(3, Buffer.concat([Buffer.of(0x44), quoted4().subarray(1)]))),
    verdict: PASS,
    counts: ["truncated"],
  },
  {
    name: "ICMPv6 in IPv4 is passed",
    packet: v4(58, f.icmpError(1, quoted6())),
    verdict: PASS,
    counts: ["other_protocol"],
  },
  {
    name: "ICMP in IPv6 is passed",
    packet: v6(1, f.icmpError(3, quoted4())),
    verdict: PASS,
    counts: ["other_protocol"],
  },
  // What is not ours.
  {
    name: "another port of the VIP is passed",
    packet: v4(6, f.tcp(5000, 81)),
    verdict: PASS,
    counts: ["no_vserver"],
  },
  {
    name: "TCP to a UDP vserver's port is passed",
    packet: v4(6, f.tcp(5000, 53)),
    verdict: PASS,
    counts: ["no_vserver"],
  },
  {
    name: "another address is passed",
    packet: v4(6, syn, { to: f.OTHER }),
    verdict: PASS,
    counts: ["no_vserver"],
  },
  { name: "another protocol is passed", packet: v4(132, syn), verdict: PASS, counts: ["other_protocol"] },
  {
    name: "an IPv6 packet whose address begins like an IPv4 VIP is passed",
    packet: v6(6, syn, { to: "c612:64::" }),
    verdict: PASS,
    counts: ["no_vserver"],
  },
  {
    name: "neither IP nor ARP is passed",
    packet: f.eth(0x88cc, Buffer.alloc(46)),
    verdict: PASS,
    counts: ["not_ip"],
  },
  {
    name: "three VLAN tags are passed",
    packet: f.eth(f.VLAN, f.vlan(1, f.VLAN, f.vlan(2, f.VLAN, f.vlan(3, f.IPV4, f.ip4(6, syn))))),
    verdict: PASS,
    counts: ["not_ip"],
  },
  {
    name: "a header of less than twenty bytes is passed",
    packet: f.eth(f.IPV4, Buffer.concat([Buffer.of(0x44), f.ip4(6, syn).subarray(1)])),
    verdict: PASS,
    counts: ["truncated"],
  },
  {
    name: "a frame that a switch floods (another MAC) is passed",
    packet: v4(6, syn, {}, { to: f.macOfNode(2) }),
    verdict: PASS,
    counts: ["other_mac"],
  },
  {
    name: "a broadcast frame is passed",
    packet: v4(17, f.udp(5000, 53), {}, { to: f.BROADCAST }),
    verdict: PASS,
    counts: ["other_mac"],
  },
  {
    name: "a frame from a member is not scheduled again",
    packet: v4(6, syn, {}, { from: f.macOfNode(2) }),
    verdict: PASS,
    counts: ["from_member"],
  },
  {
    name: "a MAC that only looks like a member's in the filter is scheduled",
    packet: v4(6, syn, {}, { from: lookalike() }),
    verdict: TX,
    node: 2,
  },
  {
    name: "a node that does not schedule passes all",
    packet: v4(6, syn),
    isScheduling: false,
    verdict: PASS,
    counts: ["standby"],
  },
  // ARP.
  {
    name: "an ARP request for a VIP is answered under a lease",
    packet: f.eth(f.ARP, f.arp(1, f.CLIENT, f.VIP), { to: f.BROADCAST }),
    verdict: TX,
    counts: ["arp_answered"],
    out: f.eth(f.ARP, answer4(f.VIP), { to: f.CLIENT_MAC, from: f.OWN_MAC }),
  },
  {
    name: "an ARP request to our own MAC is answered, a VLAN tag kept",
    packet: f.eth(f.VLAN, f.vlan(5, f.ARP, f.arp(1, f.CLIENT, f.VIP))),
    verdict: TX,
    counts: ["arp_answered"],
    out: f.eth(f.VLAN, f.vlan(5, f.ARP, answer4(f.VIP)), { to: f.CLIENT_MAC, from: f.OWN_MAC }),
  },
  {
    name: "a node that does not schedule answers under a lease, too",
    packet: f.eth(f.ARP, f.arp(1, f.CLIENT, f.VIP), { to: f.BROADCAST }),
    isScheduling: false,
    verdict: TX,
    counts: ["arp_answered"],
    out: f.eth(f.ARP, answer4(f.VIP), { to: f.CLIENT_MAC, from: f.OWN_MAC }),
  },
  {
    name: "without a lease an ARP request is passed",
    packet: f.eth(f.ARP, f.arp(1, f.CLIENT, f.VIP), { to: f.BROADCAST }),
    hasLease: false,
    verdict: PASS,
    counts: ["not_ip"],
  },
  {
    name: "an ARP request for another address is passed",
    packet: f.eth(f.ARP, f.arp(1, f.CLIENT, f.OTHER), { to: f.BROADCAST }),
    verdict: PASS,
    counts: ["not_ip"],
  },
  {
    name: "an ARP request that a switch floods is passed",
    packet: f.eth(f.ARP, f.arp(1, f.CLIENT, f.VIP), { to: f.macOfNode(3) }),
    verdict: PASS,
    counts: ["other_mac"],
  },
  {
    name: "an announcement of the VIP is no question",
    packet: f.eth(f.ARP, f.arp(1, f.VIP, f.VIP), { to: f.BROADCAST }),
    verdict: PASS,
    counts: ["not_ip"],
  },
  {
    name: "an ARP reply is passed",
    packet: f.eth(f.ARP, f.arp(2, f.CLIENT, f.VIP)),
    verdict: PASS,
    counts: ["not_ip"],
  },
  {
    name: "ARP for another protocol is passed",
    packet: f.eth(f.ARP, f.arp(1, f.CLIENT, f.VIP, f.CLIENT_MAC, 0x1234), { to: f.BROADCAST }),
    verdict: PASS,
    counts: ["not_ip"],
  },
  // Neighbour solicitations.
  {
    name: "a solicitation for a VIP is answered under a lease",
    packet: v6(58, f.solicitation(f.VIP6), { to: "ff02::1:ff00:100", hops: 255 }, { to: GROUP }),
    verdict: TX,
    counts: ["neighbour_answered"],
    out: answer6(f.VIP6, targetOption),
  },
  {
    name: "a unicast solicitation without an option is answered without one",
    packet: v6(58, f.solicitation(f.VIP6, Buffer.alloc(0)), { hops: 255 }),
    verdict: TX,
    counts: ["neighbour_answered"],
    out: answer6(f.VIP6, Buffer.alloc(0)),
  },
  {
    name: "options behind the first become padding",
    packet: v6(58, f.solicitation(f.VIP6, Buffer.concat([f.sourceOption(), Buffer.alloc(8)])), { hops: 255 }),
    verdict: TX,
    counts: ["neighbour_answered"],
    out: answer6(f.VIP6, targetOption, 8),
  },
  {
    name: "a probe for duplicates is not answered",
    packet: v6(
      58,
      f.solicitation(f.VIP6, Buffer.alloc(0)),
      { from: "::", to: "ff02::1:ff00:100", hops: 255 },
      { to: GROUP },
    ),
    verdict: PASS,
    counts: ["other_mac"],
  },
  {
    name: "a solicitation whose first option is another is passed",
    packet: v6(58, f.solicitation(f.VIP6, Buffer.concat([Buffer.of(14, 1), Buffer.alloc(6)])), { hops: 255 }),
    verdict: PASS,
    counts: ["other_protocol"],
  },
  {
    name: "without a lease a solicitation is passed",
    packet: v6(58, f.solicitation(f.VIP6), { hops: 255 }, { to: GROUP }),
    hasLease: false,
    verdict: PASS,
    counts: ["other_mac"],
  },
  {
    name: "a solicitation for another address is passed",
    packet: v6(58, f.solicitation(f.OTHER6), { hops: 255 }, { to: GROUP }),
    verdict: PASS,
    counts: ["other_mac"],
  },
  {
    name: "a solicitation that crossed a router is passed",
    packet: v6(58, f.solicitation(f.VIP6), { hops: 254 }, { to: GROUP }),
    verdict: PASS,
    counts: ["other_mac"],
  },
  {
    name: "a solicitation with a code is passed",
    packet: v6(58, f.solicitation(f.VIP6, f.sourceOption(), 1), { hops: 255 }, { to: GROUP }),
    verdict: PASS,
    counts: ["other_mac"],
  },
  {
    name: "a solicitation that a switch floods is passed",
    packet: v6(58, f.solicitation(f.VIP6), { hops: 255 }, { to: f.macOfNode(2) }),
    verdict: PASS,
    counts: ["other_mac"],
  },
];

/** A MAC that is no member's but has a member's bit in the filter. */
function lookalike(): string {
  const hash = (mac: Buffer): number => Math.imul(mac.readUInt32LE(2), 0x9e3779b1) >>> 22;
  const wanted = hash(f.mac(f.macOfNode(2)));
  for (let i = 0; i < 65536; i++) {
    const text = `0a:bb:cc:dd:${(i >> 8).toString(16).padStart(2, "0")}:${(i & 255).toString(16).padStart(2, "0")}`;
    if (hash(f.mac(text)) === wanted) return text;
  }
  throw new Error("no such MAC");
}

function load(objectFile: string) {
  const plane = loadUnattached(SIZE, objectFile);
  plane.setOwnMac(f.mac(f.OWN_MAC));
  plane.setHashKey(Buffer.from(Array.from({ length: 48 }, (_, i) => (i * 73 + 41) & 255)));
  plane.setVips([f.VIP, f.VIP6]);
  plane.setServices(
    [f.VIP, f.VIP6].flatMap((address) => [
      { address, port: 80, transport: "tcp", vserver: 5 } as const,
      { address, port: 53, transport: "udp", vserver: 6 } as const,
    ]),
  );
  plane.setMembers([1, 2, 3, 4].map((number) => f.mac(f.macOfNode(number))));
  for (const number of [1, 2, 3, 4]) {
    plane.setNode(number, f.mac(f.macOfNode(number)), { isUp: number !== 4, isSelf: number === 1 });
  }
  const lease = mapShared(plane.object.mapFd(".data.lease"), LEASE.size);
  const words = new BigUint64Array(lease.buffer, 0, 1);
  return {
    ...plane,
    setLease: (isHeld: boolean) => (words[0] = isHeld ? process.hrtime.bigint() + 3_600_000_000_000n : 0n),
    close: () => {
      lease.unmap();
      plane.close();
    },
  };
}

function fill(plane: Loaded, [owner, next]: readonly [number, number]): void {
  for (let i = 0; i < plane.buckets.length; i += 2) plane.buckets[i] = wordOf(owner, next);
}
function set(plane: Loaded, row: Row): void {
  fill(plane, row.bucket ?? [2, 3]);
  plane.setScheduling(row.isScheduling ?? true);
  plane.setLease(row.hasLease ?? true);
  for (const packet of row.before ?? []) testRun(plane.programFd, packet);
}

function expected(row: Row): Buffer {
  if (row.out !== undefined) return row.out;
  if (row.verdict !== TX) return row.packet;
  const out = Buffer.from(row.packet);
  f.mac(f.macOfNode(row.node ?? 0)).copy(out, 0);
  f.mac(f.OWN_MAC).copy(out, 6);
  return out;
}

function grown(before: Record<string, number>, after: Record<string, number>): string[] {
  return Object.keys(after).filter((name) => after[name] !== before[name]);
}

function check(plane: Loaded, row: Row): void {
  set(plane, row);
  const before = plane.counters();
  const traffic = row.node === undefined ? undefined : plane.trafficOf(row.node);
  const { verdict, out } = testRun(plane.programFd, row.packet);
  assert.equal(verdict, row.verdict);
  assert.equal(out.toString("hex"), expected(row).toString("hex"));
  assert.deepEqual(grown(before, plane.counters()), row.counts ?? []);
  if (row.node === undefined || traffic === undefined) return;
  const { packets, bytes } = plane.trafficOf(row.node);
  assert.deepEqual([packets - traffic.packets, bytes - traffic.bytes], [1, row.packet.length]);
}

/** All there is to be tried against one build of the program. */
function suite(name: string, makeObject: () => string, hasCoverage: boolean): void {
  describe(name, () => {
    let plane: Loaded;
    before(() => (plane = load(makeObject())));
    after(() => plane.close());

    for (const row of rows) test(row.name, () => check(plane, row));

    test("a frame cut at any length is passed untouched, or treated as the whole one", () => {
      for (const row of rows) {
        let isWhole = false;
        for (let length = 14; length < row.packet.length; length++) {
          set(plane, row);
          const cut = row.packet.subarray(0, length);
          const { verdict, out } = testRun(plane.programFd, cut);
          const where = `${row.name}, ${length} of ${row.packet.length} bytes`;
          if (verdict === PASS && row.verdict !== PASS) {
            assert.equal(isWhole, false, where);
            assert.equal(out.toString("hex"), cut.toString("hex"), where);
          } else {
            assert.equal(verdict, row.verdict, where);
            isWhole = true;
          }
        }
      }
    });

    test("nonsense is never forwarded, and changed frames only when they are for a VIP", () => {
      fill(plane, [2, 3]);
      plane.setScheduling(true);
      plane.setLease(true);
      const noise = fc.uint8Array({ minLength: 2, maxLength: 200 }).map((bytes) => {
        return Buffer.concat([f.mac(f.OWN_MAC), f.mac(f.CLIENT_MAC), Buffer.from(bytes)]);
      });
      const change = fc.tuple(fc.nat(199), fc.integer({ min: 0, max: 255 }));
      const changed = fc
        .tuple(fc.constantFrom(...rows), fc.array(change, { maxLength: 4 }))
        .map(([row, changes]) => {
          const packet = Buffer.from(row.packet);
          for (const [at, value] of changes) packet[at % packet.length] = value;
          return packet;
        });
      fc.assert(
        fc.property(
          fc.oneof({ arbitrary: noise, weight: 1 }, { arbitrary: changed, weight: 3 }),
          (packet) => {
            const { verdict, out } = testRun(plane.programFd, packet);
            if (verdict === PASS) assert.equal(out.toString("hex"), packet.toString("hex"));
            else assert.ok(isForVip(packet), `verdict ${verdict} for ${packet.toString("hex")}`);
          },
        ),
        { numRuns: 5000 },
      );
    });

    test("a claim is told with bucket, owner, former owner and vserver, once", () => {
      plane.consumeEvents(() => undefined);
      fill(plane, [NOBODY, 3]);
      testRun(plane.programFd, v4(6, syn));
      testRun(plane.programFd, v4(6, syn));
      const events: BucketEvent[] = [];
      assert.equal(
        plane.consumeEvents((event) => events.push(event)),
        1,
      );
      const [event] = events;
      assert.ok(event);
      assert.deepEqual({ ...event, bucket: 0 }, { bucket: 0, owner: 3, previous: NOBODY, vserver: 5 });
      const word = plane.buckets[event.bucket * 2] ?? 0;
      assert.deepEqual([ownerOf(word), nextOf(word)], [3, 3]);
      assert.ok((plane.buckets[event.bucket * 2 + 1] ?? 0) > 0, "the access is noted");
    });

    test("flows spread over all buckets, and both families", () => {
      for (const makePacket of [
        (i: number) => v4(6, f.tcp(1024 + i, 80)),
        (i: number) => v4(6, syn, { from: `11.0.${i >> 8}.${i & 255}` }),
        (i: number) => v6(6, f.tcp(1024 + i, 80)),
        (i: number) => v6(6, syn, { from: `2001:db8::${i.toString(16)}` }),
        (i: number) => v6(6, syn, { from: `2001:db8:${i.toString(16)}::1` }),
      ]) {
        fill(plane, [NOBODY, 2]);
        for (let i = 0; i < SIZE * 2; i++) testRun(plane.programFd, makePacket(i));
        const used = Array.from({ length: SIZE }, (_, i) => plane.buckets[i * 2]).filter(
          (word) => word !== wordOf(NOBODY, 2),
        );
        // Random throws would hit 1 - 1/e² = 86 % of the buckets.
        assert.ok(used.length > SIZE * 0.75, `${used.length} of ${SIZE} buckets`);
      }
      plane.consumeEvents(() => undefined);
    });

    test("a full ring loses events, counts them, and schedules on", () => {
      const before = plane.counters()["event_lost"] ?? 0;
      const packet = v4(6, syn);
      for (let i = 0; i < 40_000 && plane.counters()["event_lost"] === before; i += 1000) {
        for (let j = 0; j < 1000; j++) {
          fill1(plane, packet);
          assert.equal(testRun(plane.programFd, packet).verdict, TX);
        }
      }
      assert.ok((plane.counters()["event_lost"] ?? 0) > before);
      assert.ok(plane.consumeEvents(() => undefined) > 1000);
    });

    test("when two are at a bucket, one decision counts", async () => {
      fill(plane, [NOBODY, 1]);
      const packet = v4(6, syn);
      const bucket = bucketOf(plane, packet);
      const hammer = new Worker(join(import.meta.dirname, "hammer.ts"), {
        workerData: { programFd: plane.programFd, packet },
      });
      const ended = new Promise<number>((resolve) => hammer.once("message", resolve));
      let isOver = false;
      void ended.then(() => (isOver = true));
      while (!isOver) {
        // The program finds an unassigned bucket and, at times, another word than the one it had read.
        for (let i = 0; i < 200_000; i++)
          plane.buckets[bucket * 2] = i & 1 ? wordOf(NOBODY, 1) : wordOf(1, 1);
        plane.consumeEvents(() => undefined);
        await new Promise((resolve) => setImmediate(resolve));
      }
      assert.equal(await ended, PASS);
      await hammer.terminate();
    });

    if (hasCoverage) test("every branch has gone both ways", () => assert.deepEqual(missed(plane), []));
  });
}

/** The bucket of a packet's flow. */
function bucketOf(plane: Loaded, packet: Buffer): number {
  fill(plane, [NOBODY, 1]);
  testRun(plane.programFd, packet);
  for (let i = 0; i < SIZE; i++) if (plane.buckets[i * 2] === wordOf(1, 1)) return i;
  throw new Error("no bucket was claimed");
}

let lastBucket: { packet: Buffer; bucket: number } | undefined;
/** Unassigns the one bucket of a packet. */
function fill1(plane: Loaded, packet: Buffer): void {
  if (lastBucket?.packet !== packet) lastBucket = { packet, bucket: bucketOf(plane, packet) };
  plane.buckets[lastBucket.bucket * 2] = wordOf(NOBODY, 3);
}

/** A second, simple reader of frames: addressed to a VIP, or asking for one. */
function isForVip(frame: Buffer): boolean {
  let at = 12;
  for (let tags = 0; tags < 2 && [f.VLAN, f.QINQ].includes(frame.readUInt16BE(at)); tags++) at += 4;
  const type = frame.readUInt16BE(at);
  const has = (address: string, offset: number): boolean => {
    const bytes = f.ip(address);
    return frame.subarray(at + 2 + offset, at + 2 + offset + bytes.length).equals(bytes);
  };
  if (type === f.ARP) return has(f.VIP, 24);
  if (type === f.IPV4) return has(f.VIP, 16);
  return type === f.IPV6 && (has(f.VIP6, 24) || has(f.VIP6, 48));
}

/** Source lines whose `if` never went one way; those that only the verifier asks for are left out. */
function missed(plane: Loaded): string[] {
  const mapping = mapShared(plane.object.mapFd(".data.coverage"), COVERAGE_LINES * 8);
  const counts = Uint32Array.from(new Uint32Array(mapping.buffer, 0, COVERAGE_LINES * 2));
  mapping.unmap();
  const lines = readFileSync(SOURCE_FILE, "utf8").split("\n");
  assert.ok(lines.length < COVERAGE_LINES);
  const branches = lines.flatMap((line, i) =>
    /\bif \(/.test(line) && !line.includes("for the verifier") ? [i + 1] : [],
  );
  assert.ok(branches.length > 50);
  return branches.flatMap((line) =>
    [0, 1].flatMap((way) => {
      const text = lines[line - 1]?.trim() ?? "";
      return counts[line * 2 + way] === 0 ? [`${line}: ${text} never ${way === 1 ? "true" : "false"}`] : [];
    }),
  );
}

const folder = mkdtempSync(join(tmpdir(), "dlba-coverage-"));
after(() => rmSync(folder, { recursive: true }));
suite("the committed object", () => OBJECT_FILE, false);
suite(
  "a build that counts its branches",
  () => {
    const object = join(folder, "coverage.bpf.o");
    compileBpf(SOURCE_FILE, object, ["DLBA_COVERAGE"]);
    return object;
  },
  true,
);
