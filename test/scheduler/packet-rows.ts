/** The table of the packet tests: what the XDP program does to each kind of frame. */
import { NOBODY } from "../../conf/limits.ts";
import { icmp6Checksum } from "../../net/frames.ts";
import * as f from "./frames.ts";

/** XDP verdicts. */
export const DROP = 1;
export const PASS = 2;
export const TX = 3;

/** What a row's bucket holds. */
export type Word = readonly [owner: number, next: number, previous?: number];

export interface Row {
  readonly name: string;
  readonly packet: Buffer;
  readonly verdict: typeof DROP | typeof PASS | typeof TX;
  /** What every bucket holds before; owner 2 and next 3 unless told. */
  readonly bucket?: Word;
  /** What the flow's bucket holds afterwards, when it has changed; no other may change. */
  readonly after?: Word;
  /** Frames that came before. */
  readonly before?: readonly Buffer[];
  /** The buckets are filled anew after those. */
  readonly isRefilled?: boolean;
  /** The node, or host, whose traffic grew. */
  readonly node?: number;
  /** Index of the virtual server that it grew for; that of TCP port 80 unless told. */
  readonly vserver?: number;
  /** The host is one of the direct pool. */
  readonly isDirect?: boolean;
  /** Counters that grew by one; no other may. */
  readonly counts?: readonly string[];
  /** Node 1, which has the program, schedules unless told; else node 2 does. Before that it was node 5. */
  readonly isScheduling?: boolean;
  /** Whether the table is whole; it is unless told. */
  readonly hasTable?: boolean;
  /** Whether the program has been told that some bucket has a previous node; it has unless told. */
  readonly hasPrevious?: boolean;
  readonly hasLease?: boolean;
  /** Nodes that may have connections of buckets that do not name them; none unless told. */
  readonly scattered?: readonly number[];
  /** Whether what is known of the others may be wrong; it is sure unless told. */
  readonly isInDoubt?: boolean;
  /** For answers and searches: what comes out. Else a frame that goes out has both MAC addresses rewritten, and no other byte. */
  readonly out?: Buffer;
}

/** Ports of virtual servers, and their indices. */
export const PORTS = { http: 80, dns: 53, addressOnly: 91, direct: 90, deaf: 443, uncounted: 92 } as const;
export const VSERVERS = { http: 5, dns: 6, addressOnly: 7, direct: 8, deaf: 9, uncounted: 10 } as const;
/** The client port with connections to port 80 and to the direct pool's, from either client address. */
export const CONNECTED_PORT = 5001;

export const v4 = (
  protocol: number,
  payload: Buffer,
  options: Parameters<typeof f.ip4>[2] = {},
  ends = {},
): Buffer => f.eth(f.IPV4, f.ip4(protocol, payload, options), ends);
export const v6 = (
  next: number,
  payload: Buffer,
  options: Parameters<typeof f.ip6>[2] = {},
  ends = {},
): Buffer => f.eth(f.IPV6, f.ip6(next, payload, options), ends);
export const syn = f.tcp(5000, 80);
const quoted4 = (options = 0): Buffer => f.ip4(6, f.tcp(80, 5000), { from: f.VIP, to: f.CLIENT, options });
const quoted6 = (payload = f.tcp(80, 5000), next = 6): Buffer =>
  f.ip6(next, payload, { from: f.VIP6, to: f.CLIENT6 });
const GROUP = "33:33:ff:00:01:00";
const answer4 = (target: string): Buffer => {
  const reply = f.arp(2, target, f.CLIENT, f.OWN_MAC);
  f.mac(f.CLIENT_MAC).copy(reply, 18);
  return reply;
};

/** As it goes out to a node. */
export function forwarded(packet: Buffer, node: number, isDirect = false): Buffer {
  const out = Buffer.from(packet);
  f.mac(isDirect ? macOfHost(node) : f.macOfNode(node)).copy(out, 0);
  f.mac(f.OWN_MAC).copy(out, 6);
  return out;
}
/** A host of the direct pool. */
export const macOfHost = (number: number): string => `02:00:00:00:01:1${number}`;

function answer6(target: string, option: Buffer, padding = 0): Buffer {
  const message = Buffer.concat([Buffer.of(136, 0, 0, 0, 0x60, 0, 0, 0), f.ip(target), option]);
  const packet = f.ip6(58, message, { from: target, to: f.CLIENT6, hops: 255 });
  packet.writeUInt16BE(icmp6Checksum(packet), 42);
  return f.eth(f.IPV6, Buffer.concat([packet, Buffer.alloc(padding)]), { to: f.CLIENT_MAC, from: f.OWN_MAC });
}
/** Another node schedules, and its table is this one's, too. */
const standby = { isScheduling: false, hasTable: true } as const;
const without = { isScheduling: false, hasTable: false } as const;
const targetOption = Buffer.concat([Buffer.of(2, 1), f.mac(f.OWN_MAC)]);

export const rows: readonly Row[] = [
  // Where a flow goes.
  { name: "TCP to another node's bucket goes out to it", packet: v4(6, syn), verdict: TX, node: 2 },
  {
    name: "a segment that is no SYN goes the same way",
    packet: v4(6, f.tcp(5000, 80, 0x18)),
    verdict: TX,
    node: 2,
  },
  {
    name: "UDP goes to the bucket's owner",
    packet: v4(17, f.udp(5000, 53)),
    verdict: TX,
    node: 2,
    vserver: VSERVERS.dns,
  },
  { name: "IPv6 TCP goes to the bucket's owner", packet: v6(6, syn), verdict: TX, node: 2 },
  {
    name: "IPv6 UDP goes to the bucket's owner",
    packet: v6(17, f.udp(5000, 53)),
    verdict: TX,
    node: 2,
    vserver: VSERVERS.dns,
  },
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
  {
    name: "a jumbo frame in several buffers goes whole",
    packet: v4(6, Buffer.concat([f.tcp(5000, 80, 0x10), Buffer.alloc(8900, 7)])),
    verdict: TX,
    node: 2,
  },
  {
    name: "a jumbo frame over IPv6 goes whole",
    packet: v6(6, Buffer.concat([f.tcp(5000, 80, 0x10), Buffer.alloc(8900, 7)])),
    verdict: TX,
    node: 2,
  },
  {
    name: "traffic to a row that is none is not counted",
    packet: v4(6, f.tcp(5000, PORTS.uncounted)),
    verdict: TX,
    out: forwarded(v4(6, f.tcp(5000, PORTS.uncounted)), 2),
  },
  {
    name: "a direct pool has nodes and buckets of its own",
    packet: v4(6, f.tcp(5000, PORTS.direct)),
    bucket: [NOBODY, 2],
    after: [2, 2],
    verdict: TX,
    node: 2,
    isDirect: true,
    vserver: VSERVERS.direct,
    counts: ["claimed"],
  },
  // Who gets a bucket.
  {
    name: "an unassigned bucket goes to its next",
    packet: v4(6, syn),
    bucket: [NOBODY, 3],
    after: [3, 3],
    verdict: TX,
    node: 3,
    counts: ["claimed"],
  },
  {
    name: "an unassigned bucket whose next is this node stays here",
    packet: v4(6, syn),
    bucket: [NOBODY, 1],
    after: [1, 1],
    verdict: PASS,
    node: 1,
    counts: ["claimed"],
  },
  {
    name: "a segment in the middle of a connection claims, too",
    packet: v4(6, f.tcp(5000, 80, 0x10)),
    bucket: [NOBODY, 3],
    after: [3, 3],
    verdict: TX,
    node: 3,
    counts: ["claimed"],
  },
  {
    name: "a dead node's bucket goes to its next at once",
    packet: v4(6, syn),
    bucket: [4, 3],
    after: [3, 3, 4],
    verdict: TX,
    node: 3,
    counts: ["followed"],
  },
  {
    name: "a node that is not up counts as dead even if its kernel lives",
    packet: v4(6, syn),
    bucket: [5, 3],
    after: [3, 3, 5],
    verdict: TX,
    node: 3,
    counts: ["followed"],
  },
  {
    name: "an older previous node stays when the owner dies",
    packet: v4(6, syn),
    bucket: [4, 3, 2],
    after: [3, 3, 2],
    verdict: TX,
    node: 3,
    counts: ["followed"],
  },
  {
    name: "an heir that was the previous node has no previous",
    packet: v4(6, syn),
    bucket: [4, 3, 3],
    after: [3, 3],
    verdict: TX,
    node: 3,
    counts: ["followed"],
  },
  {
    name: "an unassigned bucket keeps its previous node when it is claimed",
    packet: v4(6, syn),
    bucket: [NOBODY, 3, 2],
    after: [3, 3, 2],
    verdict: TX,
    node: 3,
    counts: ["claimed"],
  },
  {
    name: "a node that was never set is dead",
    packet: v4(6, syn),
    bucket: [77, 2],
    after: [2, 2, 77],
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
    vserver: VSERVERS.dns,
    counts: ["first_fragment"],
  },
  {
    name: "a later fragment follows its first",
    packet: v4(17, Buffer.alloc(64), { offset: 9, id: 5 }),
    before: [v4(17, f.udp(5000, 53, 64), { offset: 0x2000, id: 5 })],
    verdict: TX,
    node: 2,
    vserver: VSERVERS.dns,
    counts: ["later_fragment"],
  },
  {
    name: "a later fragment whose first was not seen waits in user space",
    packet: v4(17, Buffer.alloc(64), { offset: 9, id: 6 }),
    verdict: DROP,
    counts: ["fragment_held"],
  },
  {
    name: "a later fragment of TCP waits, too",
    packet: v4(6, Buffer.alloc(64), { offset: 9, id: 6 }),
    verdict: DROP,
    counts: ["fragment_held"],
  },
  {
    name: "an IPv6 later fragment of something behind options waits, too",
    packet: v6(44, f.fragment6(60, Buffer.alloc(64), 9, true, 6)),
    verdict: DROP,
    counts: ["fragment_held"],
  },
  {
    name: "a later fragment to no VIP is passed",
    packet: v4(17, Buffer.alloc(64), { offset: 9, id: 6, to: f.OTHER }),
    verdict: PASS,
    counts: ["no_vserver"],
  },
  {
    name: "a later fragment of an echo request is passed",
    packet: v4(1, Buffer.alloc(64), { offset: 9, id: 6 }),
    verdict: PASS,
    counts: ["other_protocol"],
  },
  {
    name: "fragments to a VIP's other ports are passed, the later ones like the first",
    packet: v4(17, Buffer.alloc(64), { offset: 9, id: 16 }),
    before: [v4(17, f.udp(5000, 54, 64), { offset: 0x2000, id: 16 })],
    verdict: PASS,
    counts: ["no_vserver"],
  },
  {
    name: "a first fragment to another address is not remembered",
    packet: v4(17, Buffer.alloc(64), { offset: 9, id: 17, to: f.OTHER }),
    before: [v4(17, f.udp(5000, 54, 64), { offset: 0x2000, id: 17, to: f.OTHER })],
    verdict: PASS,
    counts: ["no_vserver"],
  },
  {
    name: "a later fragment claims for its first when the bucket is unassigned again",
    packet: v4(17, Buffer.alloc(64), { offset: 9, id: 18 }),
    before: [v4(17, f.udp(5000, 53, 64), { offset: 0x2000, id: 18 })],
    isRefilled: true,
    bucket: [NOBODY, 3],
    after: [3, 3],
    verdict: TX,
    node: 3,
    vserver: VSERVERS.dns,
    counts: ["claimed", "later_fragment"],
  },
  {
    name: "a later fragment without a living node is dropped",
    packet: v4(17, Buffer.alloc(64), { offset: 9, id: 19 }),
    before: [v4(17, f.udp(5000, 53, 64), { offset: 0x2000, id: 19 })],
    isRefilled: true,
    bucket: [4, 4],
    verdict: DROP,
    counts: ["no_node"],
  },
  {
    name: "a first fragment of TCP may end before its header does",
    packet: v4(6, syn.subarray(0, 8), { offset: 0x2000 }),
    verdict: TX,
    node: 2,
    counts: ["first_fragment"],
  },
  {
    name: "a fragment that ends before the ports do is passed",
    packet: v4(6, syn.subarray(0, 7), { offset: 0x2000 }),
    verdict: PASS,
    counts: ["truncated"],
  },
  {
    name: "a whole packet that ends before the TCP header does is passed",
    packet: v4(6, syn.subarray(0, 19)),
    verdict: PASS,
    counts: ["truncated"],
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
    vserver: VSERVERS.dns,
    counts: ["first_fragment"],
  },
  {
    name: "an IPv6 later fragment follows its first",
    packet: v6(44, f.fragment6(17, Buffer.alloc(64), 9, false, 9)),
    before: [v6(44, f.fragment6(17, f.udp(5000, 53, 64), 0, true, 9))],
    verdict: TX,
    node: 2,
    vserver: VSERVERS.dns,
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
    vserver: VSERVERS.dns,
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
    name: "a node that does not schedule passes what members send",
    packet: v4(6, syn, {}, { from: f.macOfNode(3) }),
    isScheduling: false,
    verdict: PASS,
    counts: ["from_member"],
  },
  {
    name: "a node that neither schedules nor has a table drops what a client sends to a virtual server",
    packet: v4(6, syn),
    ...without,
    verdict: DROP,
    counts: ["standby"],
  },
  {
    name: "over IPv6 without a table, too",
    packet: v6(6, syn),
    ...without,
    verdict: DROP,
    counts: ["standby"],
  },
  {
    name: "without a table another port of the VIP is passed",
    packet: v4(6, f.tcp(5000, 81)),
    ...without,
    verdict: PASS,
    counts: ["no_vserver"],
  },
  {
    name: "without a table a later fragment is dropped",
    packet: v4(17, Buffer.alloc(64), { offset: 9, id: 23 }),
    ...without,
    verdict: DROP,
    counts: ["standby"],
  },
  {
    name: "without a table a later fragment to no VIP is passed",
    packet: v4(17, Buffer.alloc(64), { offset: 9, id: 24, to: f.OTHER }),
    ...without,
    verdict: PASS,
    counts: ["no_vserver"],
  },
  {
    name: "the scheduler needs nobody's word that its table is whole",
    packet: v4(6, syn),
    hasTable: false,
    verdict: TX,
    node: 2,
  },
  // What comes to a node that doesn't schedule past the scheduler, as from a client with an old ARP entry.
  { name: "a node with a table schedules it", packet: v4(6, syn), ...standby, verdict: TX, node: 2 },
  { name: "over IPv6, too", packet: v6(6, syn), ...standby, verdict: TX, node: 2 },
  {
    name: "a node with a table keeps it when the bucket is its own",
    packet: v4(6, syn),
    ...standby,
    bucket: [1, 2],
    verdict: PASS,
    node: 1,
  },
  {
    name: "a node with a table gives an unassigned bucket to its next, as the scheduler does",
    packet: v4(6, syn),
    ...standby,
    bucket: [NOBODY, 3],
    after: [3, 3],
    verdict: TX,
    node: 3,
    counts: ["claimed"],
  },
  {
    name: "a node with a table routes round a dead node, even if that was the scheduler",
    packet: v4(6, syn),
    ...standby,
    bucket: [4, 3],
    after: [3, 3, 4],
    verdict: TX,
    node: 3,
    counts: ["followed"],
  },
  {
    name: "a node with a table drops what nobody living can get",
    packet: v4(6, syn),
    ...standby,
    bucket: [4, 4],
    verdict: DROP,
    counts: ["no_node"],
  },
  {
    name: "a node with a table sends an ICMP error to the flow's owner",
    packet: v4(1, f.icmpError(3, quoted4())),
    ...standby,
    verdict: TX,
    node: 2,
    counts: ["icmp_error"],
  },
  {
    name: "a node with a table sends a later fragment after its first",
    packet: v4(17, Buffer.alloc(64), { offset: 9, id: 21 }),
    before: [v4(17, f.udp(5000, 53, 64), { offset: 0x2000, id: 21 })],
    ...standby,
    verdict: TX,
    node: 2,
    vserver: VSERVERS.dns,
    counts: ["later_fragment"],
  },
  {
    name: "a node with a table holds a later fragment that comes before its first",
    packet: v4(17, Buffer.alloc(64), { offset: 9, id: 22 }),
    ...standby,
    verdict: DROP,
    counts: ["fragment_held"],
  },
  {
    name: "a node with a table passes another port of the VIP",
    packet: v4(6, f.tcp(5000, 81)),
    ...standby,
    verdict: PASS,
    counts: ["no_vserver"],
  },
  {
    name: "a node with a table schedules no member's frame",
    packet: v4(6, syn, {}, { from: f.macOfNode(3) }),
    ...standby,
    verdict: PASS,
    counts: ["from_member"],
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
    name: "an ARP request is passed when another node schedules, though the lease's time lasts",
    packet: f.eth(f.ARP, f.arp(1, f.CLIENT, f.VIP), { to: f.BROADCAST }),
    isScheduling: false,
    verdict: PASS,
    counts: ["not_ip"],
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
    name: "a solicitation is passed when another node schedules, though the lease's time lasts",
    packet: v6(58, f.solicitation(f.VIP6), { hops: 255 }, { to: GROUP }),
    isScheduling: false,
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

/** As the program's `is_from_member`. */
function filterHash(mac: Buffer): number {
  return Math.imul(mac.readUInt32LE(2), 0x9e3779b1) >>> 22;
}

/** A MAC that is no member's but has a member's bit in the filter. */
function lookalike(): string {
  const wanted = filterHash(f.mac(f.macOfNode(2)));
  for (let i = 0; i < 65536; i++) {
    const text = `0a:bb:cc:dd:${(i >> 8).toString(16).padStart(2, "0")}:${(i & 255).toString(16).padStart(2, "0")}`;
    if (filterHash(f.mac(text)) === wanted) return text;
  }
  throw new Error("no such MAC");
}
