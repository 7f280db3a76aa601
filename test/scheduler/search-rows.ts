/**
 * Rows of the packet table about the search for a connection: nodes 3 and 5 are scattered, this is node 1. Client port
 * `CONNECTED_PORT` has connections to this machine's port 80, port 5000 has none.
 */
import * as f from "./frames.ts";
import { CONNECTED_PORT, DROP, forwarded, PASS, PORTS, syn, TX, v4, v6, type Row } from "./packet-rows.ts";

const SCHEDULER = { from: f.macOfNode(2) };
const FORMER = { from: f.macOfNode(5) };
const MEMBER = { from: f.macOfNode(3) };
const ACK = 0x10;
const stray = f.tcp(5000, PORTS.http, ACK);
const own = f.tcp(CONNECTED_PORT, PORTS.http, ACK);

/** As it is on its way from node to node. */
function searched(packet: Buffer, at = 12): Buffer {
  const frame = Buffer.from(packet);
  frame.writeUInt16BE(f.SEARCH, at);
  return frame;
}

/** Likewise, back from a node that has not got the connection. */
function notHere(packet: Buffer, at = 12): Buffer {
  const frame = searched(packet, at);
  frame[at + 2]! |= 0x80;
  return frame;
}

/** This node sends the packet on, as one that is searched. */
const sent = (packet: Buffer, node: number, at?: number) =>
  ({ packet, verdict: TX, out: forwarded(searched(packet, at), node), counts: ["searched"] }) as const;
/** This node was given the frame; nobody had its bucket before. */
const given = { isScheduling: false, bucket: [1, 2], scattered: [3, 5] } as const;
const stays = { ...given, verdict: PASS, counts: ["from_scheduler"] } as const;
const handed = { ...given, verdict: PASS, counts: ["from_member"] } as const;
/** Its ethertype is its own again. */
const arrives = (packet: Buffer, at?: number) => ({ ...handed, packet: searched(packet, at), out: packet });
const cut = (packet: Buffer, bytes: number): Buffer => packet.subarray(0, bytes);

const atOwner: readonly Row[] = [
  { name: "a stray segment is searched for", ...given, ...sent(v4(6, stray, {}, SCHEDULER), 3) },
  { name: "a stray IPv6 segment is searched for", ...given, ...sent(v6(6, stray, {}, SCHEDULER), 3) },
  {
    name: "a stray segment under a VLAN tag is searched for",
    ...given,
    ...sent(f.eth(f.VLAN, f.vlan(7, f.IPV4, f.ip4(6, stray)), SCHEDULER), 3, 16),
  },
  {
    name: "it is searched for though no bucket has a previous node",
    ...given,
    ...sent(v4(6, stray, {}, SCHEDULER), 3),
    hasPrevious: false,
  },
  {
    name: "nothing is searched for while no node is scattered",
    packet: v4(6, stray, {}, SCHEDULER),
    ...stays,
    scattered: [],
  },
  {
    name: "a scattered node that is silent is not searched",
    packet: v4(6, stray, {}, SCHEDULER),
    ...stays,
    scattered: [4],
  },
  {
    name: "this node need not be searched, scattered or not",
    packet: v4(6, stray, {}, SCHEDULER),
    ...stays,
    scattered: [1],
  },
  {
    name: "the previous node comes first",
    ...given,
    ...sent(v4(6, stray, {}, SCHEDULER), 5),
    bucket: [1, 2, 5],
    node: 5,
    counts: ["second_chance"],
  },
  {
    name: "a fragment for the previous node is not asked for",
    packet: v4(6, stray, { offset: 0x2000, id: 54 }, SCHEDULER),
    ...given,
    bucket: [1, 2, 5],
    verdict: TX,
    node: 5,
    counts: ["second_chance"],
  },
  { name: "a connection's segment is not searched for", packet: v4(6, own, {}, SCHEDULER), ...stays },
  { name: "a SYN is not searched for", packet: v4(6, syn, {}, SCHEDULER), ...stays },
  { name: "UDP is not searched for", packet: v4(17, f.udp(5000, PORTS.dns), {}, SCHEDULER), ...stays },
  {
    name: "a direct pool's flow is not searched for",
    packet: v4(6, f.tcp(5000, PORTS.direct, ACK), {}, SCHEDULER),
    ...stays,
  },
  {
    name: "a fragment is not searched for",
    packet: v4(6, stray, { offset: 0x2000, id: 51 }, SCHEDULER),
    ...stays,
  },
  {
    name: "an ICMP error about a stray segment is searched for",
    ...given,
    ...sent(
      v4(
        1,
        f.icmpError(3, f.ip4(6, f.tcp(PORTS.http, 5000, ACK), { from: f.VIP, to: f.CLIENT })),
        {},
        SCHEDULER,
      ),
      3,
    ),
  },
];

const atScheduler: readonly Row[] = [
  {
    name: "the scheduler searches for a stray segment of its own bucket",
    ...sent(v4(6, stray), 3),
    bucket: [1, 2],
    scattered: [3, 5],
    node: 1,
  },
  {
    name: "the scheduler searches for what the former one has sent, who has no connection of it either",
    ...sent(v4(6, stray, {}, FORMER), 3),
    bucket: [1, 2, 5],
    scattered: [3, 5],
  },
  {
    name: "the scheduler sends another node's stray segment to its owner",
    packet: v4(6, stray),
    bucket: [2, 3],
    scattered: [3, 5],
    verdict: TX,
    node: 2,
  },
  {
    name: "the scheduler keeps its connection's segment",
    packet: v4(6, own),
    bucket: [1, 2],
    scattered: [3, 5],
    verdict: PASS,
    node: 1,
  },
];

/** This node was asked by node 3, and has not got the connection. */
const sentBack = (packet: Buffer, at?: number) =>
  ({
    ...given,
    packet: searched(packet, at),
    verdict: TX,
    out: forwarded(notHere(packet, at), 3),
    counts: ["not_here"],
  }) as const;
/** This node has asked, and the frame is back from that node. */
const back = (packet: Buffer, at?: number) => ({ ...given, packet: notHere(packet, at) }) as const;
/** It asks the next one. */
const asksNext = (packet: Buffer, node: number, at?: number) =>
  ({
    ...back(packet, at),
    verdict: TX,
    out: forwarded(searched(packet, at), node),
    counts: ["searched"],
  }) as const;

const FROM5 = { from: f.macOfNode(5) };

const onTheWay: readonly Row[] = [
  {
    name: "what another member hands on in vain is searched for",
    ...given,
    ...sent(v4(6, stray, {}, MEMBER), 3),
  },
  {
    name: "what another member hands on to the scheduler in vain is searched for",
    ...given,
    ...sent(v6(6, stray, {}, MEMBER), 3),
    isScheduling: true,
  },
  {
    name: "what another member hands on goes to the previous node first",
    ...given,
    ...sent(v4(6, stray, {}, MEMBER), 5),
    bucket: [1, 2, 5],
    node: 5,
    counts: ["second_chance"],
  },
  {
    name: "what the previous node hands on is searched for on others",
    ...given,
    ...sent(v4(6, stray, {}, MEMBER), 5),
    bucket: [1, 2, 3],
  },
  { name: "another member's frame for a connection here stays", packet: v4(6, own, {}, MEMBER), ...handed },
  {
    name: "another member's later fragment stays",
    packet: v4(6, Buffer.alloc(64), { offset: 9, id: 52 }, MEMBER),
    ...handed,
  },
  { name: "what is asked for in vain goes back", ...sentBack(v4(6, stray, {}, MEMBER)) },
  { name: "an IPv6 segment that is asked for in vain goes back", ...sentBack(v6(6, stray, {}, MEMBER)) },
  {
    name: "what is asked for in vain goes back under its VLAN tag",
    ...sentBack(f.eth(f.VLAN, f.vlan(7, f.IPV4, f.ip4(6, stray)), MEMBER), 16),
  },
  {
    name: "it goes back in whatever epoch, without a table, and though nobody is scattered",
    ...sentBack(v4(6, stray, {}, MEMBER)),
    isScheduling: true,
    hasTable: false,
    scattered: [],
  },
  { name: "a search ends where the connection is", ...arrives(v4(6, own, {}, MEMBER)) },
  { name: "a search for IPv6 ends where the connection is", ...arrives(v6(6, own, {}, MEMBER)) },
  {
    name: "a search under a VLAN tag ends where the connection is",
    ...arrives(f.eth(f.VLAN, f.vlan(7, f.IPV4, f.ip4(6, own)), MEMBER), 16),
  },
  { name: "what is back goes on to the next number", ...asksNext(v4(6, stray, {}, MEMBER), 5) },
  { name: "an IPv6 segment that is back goes on", ...asksNext(v6(6, stray, {}, MEMBER), 5) },
  {
    name: "what is back goes on under its VLAN tag",
    ...asksNext(f.eth(f.VLAN, f.vlan(7, f.IPV4, f.ip4(6, stray)), MEMBER), 5, 16),
  },
  {
    name: "what is back from the previous node goes on to the lowest number",
    ...asksNext(v4(6, stray, {}, FROM5), 3),
    bucket: [1, 2, 5],
  },
  {
    name: "the previous node is not asked again",
    ...back(v4(6, stray, {}, MEMBER)),
    bucket: [1, 2, 5],
    verdict: PASS,
    out: v4(6, stray, {}, MEMBER),
    counts: ["from_member"],
  },
  {
    name: "what is back from the last one stays",
    ...back(v4(6, stray, {}, FROM5)),
    verdict: PASS,
    out: v4(6, stray, {}, FROM5),
    counts: ["from_member"],
  },
  {
    name: "what is back stays when its connection is here by now",
    ...back(v6(6, own, {}, MEMBER)),
    verdict: PASS,
    out: v6(6, own, {}, MEMBER),
    counts: ["from_member"],
  },
  {
    name: "a searched fragment goes nowhere",
    packet: searched(v4(6, Buffer.alloc(64), { offset: 9, id: 53 }, MEMBER)),
    ...handed,
  },
  {
    name: "a search by nobody of the array is none",
    packet: searched(v4(6, stray)),
    ...handed,
    counts: ["not_ip"],
  },
  {
    name: "a search that came by flooding is none",
    packet: searched(v4(6, stray, {}, { ...MEMBER, to: f.macOfNode(2) })),
    ...handed,
    counts: ["not_ip"],
  },
  {
    name: "a search without a packet is none",
    packet: cut(searched(v4(6, stray, {}, MEMBER)), 14),
    ...handed,
    counts: ["not_ip"],
  },
  {
    name: "a search for what is no IP is none",
    packet: searched(f.eth(f.ARP, f.arp(1, f.CLIENT, f.VIP), MEMBER)),
    ...handed,
    counts: ["not_ip"],
  },
  {
    name: "a search never asks for an address",
    packet: searched(f.eth(f.IPV6, f.ip6(58, f.solicitation(f.VIP6), { hops: 255 }), MEMBER)),
    ...handed,
    isScheduling: true,
    counts: ["other_protocol"],
  },
  {
    name: "what is back never asks for an address",
    packet: notHere(f.eth(f.IPV6, f.ip6(58, f.solicitation(f.VIP6), { hops: 255 }), MEMBER)),
    ...handed,
    isScheduling: true,
    counts: ["other_protocol"],
  },
  {
    name: "a search for a port that is no virtual server's is none",
    packet: searched(v4(6, f.tcp(5000, 81, ACK), {}, MEMBER)),
    ...handed,
    counts: ["no_vserver"],
  },
];

/** What would stay here though nobody is to be searched. */
const doubted = { ...given, scattered: [], isInDoubt: true, verdict: DROP, counts: ["in_doubt"] } as const;

const inDoubt: readonly Row[] = [
  { name: "a stray segment is dropped", packet: v4(6, stray, {}, SCHEDULER), ...doubted },
  { name: "a stray IPv6 segment is dropped", packet: v6(6, stray, {}, SCHEDULER), ...doubted },
  { name: "a stray segment that a member hands on is dropped", packet: v4(6, stray, {}, MEMBER), ...doubted },
  { name: "a search in vain is dropped", packet: notHere(v4(6, stray, {}, MEMBER)), ...doubted },
  {
    name: "what the previous node may have is asked for there",
    ...given,
    ...sent(v4(6, stray, {}, SCHEDULER), 5),
    bucket: [1, 2, 5],
    scattered: [],
    isInDoubt: true,
    node: 5,
    counts: ["second_chance"],
  },
  {
    name: "a client's stray segment of an own bucket is dropped",
    packet: v4(6, stray),
    ...doubted,
    node: 1,
  },
  {
    name: "a stray segment is searched for first",
    ...given,
    ...sent(v4(6, stray, {}, SCHEDULER), 3),
    isInDoubt: true,
  },
  {
    name: "a connection's segment stays",
    packet: v4(6, own, {}, SCHEDULER),
    ...doubted,
    verdict: PASS,
    counts: ["from_scheduler"],
  },
  {
    name: "a SYN stays",
    packet: v4(6, syn, {}, SCHEDULER),
    ...doubted,
    verdict: PASS,
    counts: ["from_scheduler"],
  },
];

export const searchRows: readonly Row[] = [
  ...atOwner.map((row) =>
    Object.assign(row, { name: `where nodes are scattered, at the owner: ${row.name}` }),
  ),
  ...atScheduler.map((row) => Object.assign(row, { name: `where nodes are scattered: ${row.name}` })),
  ...inDoubt.map((row) =>
    Object.assign(row, { name: `while it is in doubt who has connections ${row.name}` }),
  ),
  ...onTheWay.map((row) =>
    Object.assign(row, { name: `where nodes are scattered, on the way: ${row.name}` }),
  ),
];
