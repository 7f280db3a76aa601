/**
 * Rows of the packet table about second chance: frames of buckets that have moved, on a node that doesn't schedule and
 * on the scheduler itself. Client port `CONNECTED_PORT` has connections to this machine's ports 80 and of the direct pool,
 * port 5000 has none.
 */
import { NOBODY } from "../../conf/limits.ts";
import * as f from "./frames.ts";
import { CONNECTED_PORT, DROP, PASS, PORTS, syn, TX, v4, v6, VSERVERS, type Row } from "./packet-rows.ts";

/** The scheduler, and the one before it, as senders. */
const SCHEDULER = { from: f.macOfNode(2) };
const FORMER = { from: f.macOfNode(5) };
const ACK = 0x10;
const stray = f.tcp(5000, PORTS.http, ACK);
const own = f.tcp(CONNECTED_PORT, PORTS.http, ACK);
const quoted = (port: number): Buffer =>
  f.ip4(6, f.tcp(PORTS.http, port, ACK), { from: f.VIP, to: f.CLIENT });
const quoted6 = (port: number): Buffer =>
  f.ip6(6, f.tcp(PORTS.http, port, ACK), { from: f.VIP6, to: f.CLIENT6 });
const part = (id: number, from = f.CLIENT_MAC): Buffer =>
  v4(6, Buffer.alloc(64), { offset: 9, id }, { from });

/** A frame that the scheduler sent to this node, whose bucket has moved from node 3 to this one. */
const given = { isScheduling: false, bucket: [1, 2, 3], verdict: PASS, counts: ["from_scheduler"] } as const;
const handedOn = { ...given, verdict: TX, node: 3, counts: ["second_chance"] } as const;
/** A frame of the scheduler's own bucket, likewise. */
const kept = { bucket: [1, 2, 3], verdict: PASS, node: 1 } as const;
const handedOnByScheduler = { ...kept, verdict: TX, node: 3, counts: ["second_chance"] } as const;

/** A frame of the scheduler's own bucket that the former scheduler sent. */
const returned = { bucket: [1, 2, 3], verdict: PASS, counts: ["from_scheduler"] } as const;

const atReceiver: readonly Row[] = [
  {
    name: "what the scheduler sends is passed at once while no bucket has a previous node",
    packet: v4(6, stray, {}, SCHEDULER),
    ...given,
    hasPrevious: false,
  },
  { name: "a stray segment goes on to the previous node", packet: v4(6, stray, {}, SCHEDULER), ...handedOn },
  { name: "a stray IPv6 segment goes on", packet: v6(6, stray, {}, SCHEDULER), ...handedOn },
  {
    name: "a stray segment to a port without a listener goes on",
    packet: v4(6, f.tcp(5000, PORTS.deaf, ACK), {}, SCHEDULER),
    ...handedOn,
    vserver: VSERVERS.deaf,
  },
  { name: "a connection's segment stays", packet: v4(6, own, {}, SCHEDULER), ...given },
  { name: "a connection's IPv6 segment stays", packet: v6(6, own, {}, SCHEDULER), ...given },
  { name: "a SYN stays", packet: v4(6, syn, {}, SCHEDULER), ...given },
  {
    name: "a SYN with ACK is none, and goes on",
    packet: v4(6, f.tcp(5000, PORTS.http, 0x12), {}, SCHEDULER),
    ...handedOn,
  },
  {
    name: "a reset goes on",
    packet: v4(6, f.tcp(5000, PORTS.http, 4), {}, SCHEDULER),
    ...handedOn,
  },
  {
    name: "UDP stays",
    packet: v4(17, f.udp(5000, PORTS.dns), {}, SCHEDULER),
    ...given,
  },
  {
    name: "a bucket without a previous node: it stays",
    packet: v4(6, stray, {}, SCHEDULER),
    ...given,
    bucket: [1, 2],
  },
  {
    name: "it does not matter whose the bucket is in this node's own table: the scheduler's may be older or newer",
    packet: v4(6, stray, {}, SCHEDULER),
    ...handedOn,
    bucket: [2, 3, 3],
  },
  {
    name: "a bucket that is moving away from here goes on to its new owner, who may have had it before",
    packet: v4(6, stray, {}, SCHEDULER),
    ...handedOn,
    bucket: [3, 2, 1],
  },
  {
    name: "a bucket that moves away from here and has no owner stays",
    packet: v4(6, stray, {}, SCHEDULER),
    ...given,
    bucket: [NOBODY, 3, 1],
  },
  {
    name: "a bucket that this node has and has had before stays",
    packet: v4(6, stray, {}, SCHEDULER),
    ...given,
    bucket: [1, 3, 1],
  },
  {
    name: "an unassigned bucket's frame goes on to its previous node",
    packet: v4(6, stray, {}, SCHEDULER),
    ...handedOn,
    bucket: [NOBODY, 1, 3],
  },
  {
    name: "a dead node's bucket's frame goes on to its previous node",
    packet: v4(6, stray, {}, SCHEDULER),
    ...handedOn,
    bucket: [4, 1, 3],
  },
  {
    name: "a bucket that this node is the next of goes on to its previous node",
    packet: v4(6, stray, {}, SCHEDULER),
    ...handedOn,
    bucket: [2, 1, 3],
  },
  {
    name: "a previous node that is down gets nothing",
    packet: v4(6, stray, {}, SCHEDULER),
    ...given,
    bucket: [1, 2, 4],
  },
  {
    name: "a previous node that is not up but reachable gets it",
    packet: v4(6, stray, {}, SCHEDULER),
    ...handedOn,
    bucket: [1, 2, 5],
    node: 5,
  },
  {
    name: "a previous node that is this one gets nothing",
    packet: v4(6, stray, {}, SCHEDULER),
    ...given,
    bucket: [1, 2, 1],
  },
  {
    name: "another member's frames get no second chance",
    packet: v4(6, stray, {}, { from: f.macOfNode(3) }),
    ...given,
    counts: ["from_member"],
  },
  {
    name: "a client's frame gets none without a table",
    packet: v4(6, stray),
    ...given,
    hasTable: false,
    verdict: DROP,
    counts: ["standby"],
  },
  {
    name: "a client's frame gets one where there is a table, as from the scheduler",
    packet: v4(6, stray),
    ...handedOn,
  },
  { name: "what the former scheduler sends goes on, too", packet: v4(6, stray, {}, FORMER), ...handedOn },
  { name: "over IPv6, too", packet: v6(6, stray, {}, FORMER), ...handedOn },
  { name: "the former scheduler's SYN stays", packet: v4(6, syn, {}, FORMER), ...given },
  {
    name: "a connection's segment stays when it comes from the former scheduler",
    packet: v4(6, own, {}, FORMER),
    ...given,
  },
  {
    name: "what the former scheduler sends is passed at once while no bucket has a previous node",
    packet: v4(6, stray, {}, FORMER),
    ...given,
    hasPrevious: false,
  },
  {
    name: "a second chance does not need a whole table",
    packet: v4(6, stray, {}, SCHEDULER),
    ...handedOn,
    hasTable: false,
  },
  {
    name: "a later fragment of the former scheduler's is never held",
    packet: part(37, FORMER.from),
    ...given,
  },
  {
    name: "a direct pool's flow gets none",
    packet: v4(6, f.tcp(5000, PORTS.direct, ACK), {}, SCHEDULER),
    ...given,
  },
  {
    name: "the scheduler's frames to no virtual server are passed",
    packet: v4(6, f.tcp(5000, 81, ACK), {}, SCHEDULER),
    ...given,
    counts: ["no_vserver"],
  },
  {
    name: "a VLAN tag stays when a frame goes on",
    packet: f.eth(f.VLAN, f.vlan(7, f.IPV4, f.ip4(6, stray, { options: 3 })), SCHEDULER),
    ...handedOn,
  },
  {
    name: "an ICMP error about a stray segment goes on",
    packet: v4(1, f.icmpError(3, quoted(5000)), {}, SCHEDULER),
    ...handedOn,
  },
  {
    name: "an ICMP error about a connection stays",
    packet: v4(1, f.icmpError(3, quoted(CONNECTED_PORT)), {}, SCHEDULER),
    ...given,
  },
  {
    name: "an ICMPv6 error about a stray segment goes on",
    packet: v6(58, f.icmpError(2, quoted6(5000)), {}, SCHEDULER),
    ...handedOn,
  },
  {
    name: "an ICMPv6 error about a connection stays",
    packet: v6(58, f.icmpError(2, quoted6(CONNECTED_PORT)), {}, SCHEDULER),
    ...given,
  },
  {
    name: "a stray first fragment goes on",
    packet: v4(6, stray, { offset: 0x2000, id: 31 }, SCHEDULER),
    ...handedOn,
  },
  {
    name: "a stray first fragment that ends within the TCP header goes on",
    packet: v4(6, stray.subarray(0, 12), { offset: 0x2000, id: 32 }, SCHEDULER),
    ...handedOn,
  },
  {
    name: "a connection's first fragment stays",
    packet: v4(6, own.subarray(0, 12), { offset: 0x2000, id: 33 }, SCHEDULER),
    ...given,
  },
  {
    name: "a later fragment goes on after its first",
    packet: part(34, f.macOfNode(2)),
    before: [v4(6, stray, { offset: 0x2000, id: 34 }, SCHEDULER)],
    ...handedOn,
  },
  {
    name: "a later fragment stays after its first",
    packet: part(35, f.macOfNode(2)),
    before: [v4(6, own, { offset: 0x2000, id: 35 }, SCHEDULER)],
    ...given,
  },
  {
    name: "a later fragment of the scheduler's is never held",
    packet: part(36, f.macOfNode(2)),
    ...given,
  },
];

const atScheduler: readonly Row[] = [
  {
    name: "the scheduler hands on a stray segment that the former one has sent",
    packet: v4(6, stray, {}, FORMER),
    ...returned,
    verdict: TX,
    node: 3,
    counts: ["second_chance"],
  },
  {
    name: "the scheduler hands on what the former one has sent over IPv6, too",
    packet: v6(6, stray, {}, FORMER),
    ...returned,
    verdict: TX,
    node: 3,
    counts: ["second_chance"],
  },
  {
    name: "the scheduler keeps its connection's segment from the former one",
    packet: v4(6, own, {}, FORMER),
    ...returned,
  },
  { name: "the scheduler keeps a SYN from the former one", packet: v4(6, syn, {}, FORMER), ...returned },
  {
    name: "the scheduler gives the former one nothing back",
    packet: v4(6, stray, {}, FORMER),
    ...returned,
    bucket: [1, 2, 5],
  },
  {
    name: "the scheduler passes what the former one sends while no bucket has a previous node",
    packet: v4(6, stray, {}, FORMER),
    ...returned,
    hasPrevious: false,
    counts: ["from_member"],
  },
  {
    name: "the scheduler passes what any other member sends",
    packet: v4(6, stray, {}, { from: f.macOfNode(2) }),
    ...returned,
    counts: ["from_member"],
  },
  {
    name: "the scheduler hands on a stray segment of its own bucket",
    packet: v4(6, stray),
    ...handedOnByScheduler,
  },
  { name: "the scheduler keeps its own connection's segment", packet: v4(6, own), ...kept },
  { name: "the scheduler keeps a SYN", packet: v4(6, syn), ...kept },
  {
    name: "the scheduler keeps UDP",
    packet: v4(17, f.udp(5000, PORTS.dns)),
    ...kept,
    vserver: VSERVERS.dns,
  },
  {
    name: "the scheduler sends another node's stray segment to its owner",
    packet: v4(6, stray),
    bucket: [2, 3, 3],
    verdict: TX,
    node: 2,
  },
  {
    name: "a bucket that the scheduler inherits: its dead owner, whose kernel lives, gets the stray segment",
    packet: v4(6, stray),
    bucket: [5, 1],
    after: [1, 1, 5],
    verdict: TX,
    node: 5,
    counts: ["followed", "second_chance"],
  },
  {
    name: "the scheduler hands on an ICMP error about a stray segment",
    packet: v4(1, f.icmpError(3, quoted(5000))),
    ...handedOnByScheduler,
    counts: ["icmp_error", "second_chance"],
  },
  {
    name: "the scheduler keeps an ICMP error about its connection",
    packet: v4(1, f.icmpError(3, quoted(CONNECTED_PORT))),
    ...kept,
    counts: ["icmp_error"],
  },
  {
    name: "the scheduler hands on a stray first fragment",
    packet: v4(6, stray, { offset: 0x2000, id: 41 }),
    ...handedOnByScheduler,
    counts: ["first_fragment", "second_chance"],
  },
  {
    name: "the scheduler hands on a later fragment after its first",
    packet: part(42),
    before: [v4(6, stray, { offset: 0x2000, id: 42 })],
    ...handedOnByScheduler,
  },
  {
    name: "the scheduler keeps a later fragment after its first",
    packet: part(43),
    before: [v4(6, own, { offset: 0x2000, id: 43 })],
    ...kept,
    counts: ["later_fragment"],
  },
];

/** Frames that no member sent, of another node's bucket that was this node's before. `id` is the first of ten fragments'. */
const atFormerOwner = (who: string, role: Pick<Row, "isScheduling">, id: number): Row[] => {
  const moved = { ...role, bucket: [2, 3, 1] } as const;
  const stays = { ...moved, verdict: PASS, node: 1 } as const;
  const leaves = { ...moved, verdict: TX, node: 2 } as const;
  // A scheduler trusts its table; whose clients' frames come by an old ARP entry has its own connections first.
  const ofOthers =
    role.isScheduling === true
      ? ({ what: "sends the owner", end: leaves } as const)
      : ({ what: "keeps", end: stays } as const);
  const rows: Row[] = [
    { name: "keeps the segment of a connection that it still has", packet: v4(6, own), ...stays },
    { name: "keeps it over IPv6, too", packet: v6(6, own), ...stays },
    { name: "keeps it whatever the table is said to hold", packet: v4(6, own), ...stays, hasPrevious: false },
    {
      name: "keeps it when a dead owner's bucket is followed",
      packet: v4(6, own),
      ...stays,
      bucket: [4, 3, 1],
      after: [3, 3, 1],
      counts: ["followed"],
    },
    {
      name: "keeps it when the bucket is claimed",
      packet: v4(6, own),
      ...stays,
      bucket: [NOBODY, 3, 1],
      after: [3, 3, 1],
      counts: ["claimed"],
    },
    { name: "sends a segment of no connection here to the owner", packet: v4(6, stray), ...leaves },
    { name: "sends it over IPv6, too", packet: v6(6, stray), ...leaves },
    {
      name: "sends a SYN to the owner, though its connection is still here",
      packet: v4(6, f.tcp(CONNECTED_PORT, PORTS.http)),
      ...leaves,
    },
    {
      name: "sends UDP to the owner",
      packet: v4(17, f.udp(CONNECTED_PORT, PORTS.dns)),
      ...leaves,
      vserver: VSERVERS.dns,
    },
    {
      name: `${ofOthers.what} what is a connection's here, when another node had the bucket before`,
      packet: v4(6, own),
      ...ofOthers.end,
      bucket: [2, 3, 3],
    },
    {
      name: `${ofOthers.what} what is a connection's here, when nobody had the bucket before`,
      packet: v4(6, own),
      ...ofOthers.end,
      bucket: [2, 3],
    },
    {
      name: "sends a direct pool's frame to its host, whatever is here",
      packet: v4(6, f.tcp(CONNECTED_PORT, PORTS.direct, ACK)),
      ...leaves,
      isDirect: true,
      vserver: VSERVERS.direct,
    },
    {
      name: "keeps an ICMP error about a connection that it still has",
      packet: v4(1, f.icmpError(3, quoted(CONNECTED_PORT))),
      ...stays,
      counts: ["icmp_error"],
    },
    {
      name: "keeps an ICMPv6 error about a connection that it still has",
      packet: v6(58, f.icmpError(2, quoted6(CONNECTED_PORT))),
      ...stays,
      counts: ["icmp_error"],
    },
    {
      name: "sends an ICMP error about no connection here to the owner",
      packet: v4(1, f.icmpError(3, quoted(5000))),
      ...leaves,
      counts: ["icmp_error"],
    },
    {
      name: "keeps a connection's first fragment, though it ends within the TCP header",
      packet: v4(6, own.subarray(0, 12), { offset: 0x2000, id }),
      ...stays,
      counts: ["first_fragment"],
    },
    {
      name: "keeps a later fragment after its first",
      packet: part(id + 1),
      before: [v4(6, own, { offset: 0x2000, id: id + 1 })],
      ...stays,
    },
    {
      name: "keeps an IPv6 later fragment after its first",
      packet: v6(44, f.fragment6(6, Buffer.alloc(64), 9, false, id + 2)),
      before: [v6(44, f.fragment6(6, own, 0, true, id + 2))],
      ...stays,
    },
    {
      name: "sends a later fragment to the owner after its first",
      packet: part(id + 3),
      before: [v4(6, stray, { offset: 0x2000, id: id + 3 })],
      ...leaves,
      counts: ["later_fragment"],
    },
  ];
  return rows.map((row) => Object.assign(row, { name: `${who} that had the bucket before ${row.name}` }));
};

export const secondChanceRows: readonly Row[] = [
  ...atReceiver,
  ...atScheduler,
  ...atFormerOwner("the scheduler", { isScheduling: true }, 50),
  ...atFormerOwner("a node with a table", { isScheduling: false }, 60),
  {
    name: "a node without a table drops what no member sent, though it had the bucket before",
    packet: v4(6, own),
    isScheduling: false,
    hasTable: false,
    bucket: [2, 3, 1],
    verdict: DROP,
    counts: ["standby"],
  },
];
