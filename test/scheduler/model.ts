/**
 * A slow, obvious model of the XDP program: frame and world in, verdict, frame out and the changed world back. It is
 * written from the rules (scheduler/README.md), not from the program: where both agree, they are probably right.
 */
import { NOBODY } from "../../conf/limits.ts";
import { internetChecksum, sipHash } from "./model-sums.ts";

export const DROP = 1;
export const PASS = 2;
export const TX = 3;

export interface ModelNode {
  readonly mac: Buffer;
  readonly isUp: boolean;
  readonly isSelf: boolean;
  readonly isReachable: boolean;
  readonly isScattered: boolean;
  readonly number: number;
}
export interface ModelVserver {
  readonly index: number;
  readonly tableBase: number;
  readonly tableSize: number;
  readonly nodeBase: number;
  readonly isAddressOnly: boolean;
  readonly isDirect: boolean;
}
export interface ModelBucket {
  owner: number;
  next: number;
  previous: number;
  isTouched: boolean;
}
interface Remembered {
  /** Undefined: the first fragment was for no vserver. */
  readonly bucket: number | undefined;
  readonly vserver: ModelVserver | undefined;
  /** Row of the previous node that the first fragment went to instead of the owner; this node's own one, too. */
  readonly handedOnTo: number | undefined;
}
/** What a socket look-up finds. */
export type Socket = "connection" | "listener" | "none";

/** An epoch's low byte is the number of the node that schedules in it; 0: none. */
export interface Epochs {
  epoch: number;
  former: number;
  offered: number;
  /** The latest one that counted. */
  offer: { readonly epoch: number; readonly sent_ns: bigint };
}

export interface World {
  readonly ownMac: Buffer;
  readonly ownNumber: number;
  /** Who schedules: the program changes it when it is told. */
  readonly epochs: Epochs;
  readonly hasTable: boolean;
  readonly hasPrevious: boolean;
  /** What is known of the others may be wrong. */
  readonly isInDoubt: boolean;
  /** The lease's time lies in the future. */
  readonly hasTime: boolean;
  readonly stands: boolean;
  /** How many nodes follow this one, as user space says. */
  readonly side: number;
  readonly tableVersion: bigint;
  readonly heartbeatKey: Buffer;
  readonly members: ReadonlySet<string>;
  readonly vips: ReadonlySet<string>;
  /** By `${family} ${address in hex} ${port} ${protocol}`. */
  readonly vservers: ReadonlyMap<string, ModelVserver>;
  /** By row. */
  readonly nodes: ReadonlyMap<number, ModelNode>;
  readonly buckets: ModelBucket[];
  readonly fragments: Map<string, Remembered>;
  /** Latest answered heartbeat by row: channel * 256 + number. */
  readonly answered_ns: Map<number, bigint>;
  /** Nodes that have just answered the failover process. */
  readonly heard: Set<number>;
  readonly hashOf: (address: Buffer) => number;
  /** `sequence` of the segment, if it is known: one that can't be of this connection finds none. */
  readonly socketOf: (
    client: Buffer,
    clientPort: number,
    vip: Buffer,
    vipPort: number,
    sequence: number | undefined,
  ) => Socket;
  readonly now_ns: bigint;
}

export interface Outcome {
  readonly verdict: typeof DROP | typeof PASS | typeof TX;
  readonly out: Buffer;
  readonly counts: readonly string[];
  /** Rows of (vserver, node number) that got this frame, each with whether it opens a connection. */
  readonly traffic: readonly { vserver: number; row: number; isOpening: boolean }[];
  /** Buckets that the program gave away by itself, and whose they were. */
  readonly events: readonly { bucket: number; owner: number; previous: number; vserver: number }[];
  readonly isHeld: boolean;
}

/** What is known of a frame on its way. */
interface Way {
  /** Asked: another node searches. Back: this one does, and had asked the sender. Both under an ethertype that says so. */
  comes: "straight" | "handed on" | "asked" | "back";
  readonly world: World;
  readonly frame: Buffer;
  readonly counts: string[];
  readonly traffic: { vserver: number; row: number; isOpening: boolean }[];
  readonly events: { bucket: number; owner: number; previous: number; vserver: number }[];
}

interface Flow {
  readonly family: 4 | 6;
  /** By the scheduler, to this node, which doesn't schedule it again. */
  readonly isGiven: boolean;
  /** No member sent it, and this node does not schedule. */
  readonly isStray: boolean;
  /** Another member has sent it here, to look for its connection. */
  readonly comes: Way["comes"];
  protocol: number;
  client: Buffer;
  readonly vip: Buffer;
  clientPort: number;
  vipPort: number;
  isIcmpError: boolean;
  fragment: "none" | "first" | "later";
  fragmentId: number;
  /** Where the transport header begins. */
  at: number;
  /** TCP flags and sequence number; undefined when the frame has no whole TCP header. */
  flags: number | undefined;
  sequence: number | undefined;
}

const ARP = 0x0806;
const IPV4 = 0x0800;
const IPV6 = 0x86dd;
const VLAN = 0x8100;
const QINQ = 0x88a8;
const HEARTBEAT = 0x88b5;
const SEARCH = 0x88b6;
const TCP = 6;
const UDP = 17;
const SYN = 2;
const ACK = 16;

/** Sends a frame through the model; the world's buckets, fragments and answers change with it. */
export function modelRun(world: World, frame: Buffer): Outcome {
  const way: Way = {
    comes: "straight",
    world,
    frame: Buffer.from(frame),
    counts: [],
    traffic: [],
    events: [],
  };
  const { verdict, isHeld = false } = runFrame(way);
  return {
    verdict,
    out: way.frame,
    counts: way.counts,
    traffic: way.traffic,
    events: way.events,
    isHeld,
  };
}

interface End {
  readonly verdict: typeof DROP | typeof PASS | typeof TX;
  readonly isHeld?: boolean;
}

function pass(way: Way, reason: string): End {
  way.counts.push(reason);
  return { verdict: PASS };
}

function runFrame(way: Way): End {
  const { frame } = way;
  let at = 12;
  let type = frame.readUInt16BE(at);
  at += 2;
  if (type === HEARTBEAT) return heartbeat(way);
  for (let tags = 0; tags < 2 && (type === VLAN || type === QINQ); tags++) {
    if (frame.length < at + 4) return pass(way, "truncated");
    type = frame.readUInt16BE(at + 2);
    at += 4;
  }
  if (type === SEARCH) {
    const version = ((frame[at] ?? 0) >> 4) & 7;
    if (!isToUs(way) || !isFromMember(way) || (version !== 4 && version !== 6)) return pass(way, "not_ip");
    type = version === 4 ? IPV4 : IPV6;
    way.comes = (frame[at]! & 0x80) === 0 ? "asked" : "back";
  }
  if (type === ARP) return answerArp(way, at);
  if (type === IPV4) return ipv4(way, at);
  if (type === IPV6) return ipv6(way, at);
  return pass(way, "not_ip");
}

const isToUs = ({ frame, world }: Way): boolean => frame.subarray(0, 6).equals(world.ownMac);
const isFromMember = ({ frame, world }: Way): boolean =>
  world.members.has(frame.subarray(6, 12).toString("hex"));

const schedulerIn = (epoch: number): number | undefined => (epoch === 0 ? undefined : epoch % 256);
/** Whether this node schedules. */
export const isScheduling = ({ epochs, ownNumber }: World): boolean =>
  schedulerIn(epochs.epoch) === ownNumber;
const hasLease = (world: World): boolean => isScheduling(world) && world.hasTime;

function isFromSchedulerOf({ frame, world }: Way, epoch: number): boolean {
  const mac = world.nodes.get(schedulerIn(epoch) ?? NOBODY)?.mac;
  return mac !== undefined && !mac.equals(Buffer.alloc(6)) && frame.subarray(6, 12).equals(mac);
}

const isFromFormer = (way: Way): boolean => isFromSchedulerOf(way, way.world.epochs.former);
/** The scheduler's frames, or those of the one before it. */
const isGiven = (way: Way): boolean => isFromSchedulerOf(way, way.world.epochs.epoch) || isFromFormer(way);

function swapMacs({ frame, world }: Way): void {
  frame.copy(frame, 0, 6, 12);
  world.ownMac.copy(frame, 6);
}

function heartbeat(way: Way): End {
  const { frame, world } = way;
  if (!isToUs(way)) return pass(way, "other_mac");
  const refuse = (): End => drop(way, "heartbeat_refused");
  if (frame.length < 14 + 40) return refuse();
  const body = frame.subarray(14, 54);
  const [version, kind, asker, asked] = body;
  const channel = body.readUInt32LE(20);
  const sent_ns = body.readBigUInt64LE(24);
  if (
    version !== 1 ||
    asker === asked ||
    channel > 1 ||
    !sipHash(world.heartbeatKey, body.subarray(0, 32)).equals(body.subarray(32))
  ) {
    return refuse();
  }
  if (kind === 1 && asked === world.ownNumber) {
    takeNews(world, {
      asker: asker!,
      epoch: body.readUInt32LE(4),
      flags: body.readUInt32LE(16),
      sent_ns,
    });
    swapMacs(way);
    body[1] = 2;
    body.writeUInt32LE(world.epochs.epoch, 4);
    body.writeBigUInt64LE(world.tableVersion, 8);
    body.writeUInt32LE(flagsOf(world), 16);
    sipHash(world.heartbeatKey, body.subarray(0, 32)).copy(body, 32);
    way.counts.push("heartbeat_answered");
    return { verdict: TX };
  }
  const row = channel * 256 + asked!;
  const isNew = sent_ns > (world.answered_ns.get(row) ?? 0n) && sent_ns <= world.now_ns;
  if (kind !== 2 || asker !== world.ownNumber || !isNew) return refuse();
  world.answered_ns.set(row, sent_ns);
  if (channel === 0) world.heard.add(asked!);
  way.counts.push("heartbeat_heard");
  return { verdict: DROP };
}

/** What who asks tells of itself: it is believed when it is the scheduler of the epoch that it tells. */
function takeNews(
  { epochs }: World,
  { asker, epoch, flags, sent_ns }: { asker: number; epoch: number; flags: number; sent_ns: bigint },
): void {
  if (asker !== epoch % 256) return;
  const [isLeased, isOffer] = [(flags & 2) !== 0, (flags & 16) !== 0];
  if (isLeased && epoch > epochs.epoch) {
    epochs.former = epochs.epoch;
    epochs.epoch = epoch;
  }
  if (!isOffer || epoch !== epochs.epoch) return;
  // Told again, it is nothing new.
  const { offer } = epochs;
  if (offer.epoch === epoch && sent_ns <= offer.sent_ns) return;
  epochs.offer = { epoch, sent_ns };
  epochs.offered = epoch;
}

const isStandby = ({ world }: Way, { isStray }: Flow): boolean => isStray && !world.hasTable;

function flagsOf(world: World): number {
  const scheduler = schedulerIn(world.epochs.epoch);
  const hears = isScheduling(world) || (scheduler !== undefined && world.heard.has(scheduler));
  const own = (isScheduling(world) ? 1 : 0) + (hasLease(world) ? 2 : 0) + (hears ? 4 : 0);
  return own + (world.stands ? 8 : 0) + world.side * 256;
}

function mayAskUs(way: Way): boolean {
  return (way.frame[0]! & 1) === 1 || isToUs(way);
}

function answerArp(way: Way, at: number): End {
  const { frame, world } = way;
  if (frame.length < at + 28) return pass(way, "truncated");
  const isRequest = frame.readUInt16BE(at + 6) === 1 && frame.readUInt16BE(at + 2) === IPV4;
  if (!isRequest || !hasLease(world)) return pass(way, "not_ip");
  if (!mayAskUs(way)) return pass(way, "other_mac");
  const senderMac = Buffer.from(frame.subarray(at + 8, at + 14));
  const sender = Buffer.from(frame.subarray(at + 14, at + 18));
  const target = Buffer.from(frame.subarray(at + 24, at + 28));
  if (sender.equals(target) || !world.vips.has(target.toString("hex"))) return pass(way, "not_ip");
  frame.writeUInt16BE(2, at + 6);
  world.ownMac.copy(frame, at + 8);
  target.copy(frame, at + 14);
  senderMac.copy(frame, at + 18);
  sender.copy(frame, at + 24);
  swapMacs(way);
  way.counts.push("arp_answered");
  return { verdict: TX };
}

/** What is done with frames of this sender: looked at further to schedule them, or as given to this node; else their end. */
function admit(way: Way): End | "schedule" | "given" {
  const { world } = way;
  if (!isToUs(way)) return pass(way, "other_mac");
  if (way.comes !== "straight") return "given";
  const isSearching = searches(world);
  const looksAtGiven = world.hasPrevious || isSearching;
  if (isScheduling(world) && isFromFormer(way) && isFromMember(way) && looksAtGiven) return "given";
  if (!isScheduling(world) && isGiven(way)) return looksAtGiven ? "given" : pass(way, "from_scheduler");
  if (isFromMember(way)) {
    if (!isSearching) return pass(way, "from_member");
    way.comes = "handed on";
    return "given";
  }
  return "schedule";
}

function ipv4(way: Way, at: number): End {
  const { frame } = way;
  if (frame.length < at + 20) return pass(way, "truncated");
  const headerBytes = (frame[at]! & 15) * 4;
  if (headerBytes < 20) return pass(way, "truncated");
  const admitted = admit(way);
  if (typeof admitted !== "string") return admitted;
  const fragmentation = frame.readUInt16BE(at + 6);
  const offset = fragmentation & 0x1fff;
  const isFragment = (fragmentation & 0x3fff) !== 0;
  return transport(way, {
    family: 4,
    isGiven: admitted === "given",
    isStray: admitted === "schedule" && !isScheduling(way.world),
    comes: way.comes,
    protocol: frame[at + 9]!,
    client: Buffer.from(frame.subarray(at + 12, at + 16)),
    vip: Buffer.from(frame.subarray(at + 16, at + 20)),
    clientPort: 0,
    vipPort: 0,
    isIcmpError: false,
    fragment: !isFragment ? "none" : offset === 0 ? "first" : "later",
    fragmentId: frame.readUInt16BE(at + 4),
    at: at + headerBytes,
    flags: undefined,
    sequence: undefined,
  });
}

const EXTENSIONS = new Set([0, 43, 60, 44]);

function ipv6(way: Way, at: number): End {
  const { frame } = way;
  if (frame.length < at + 40) return pass(way, "truncated");
  const isSearch = way.comes === "asked" || way.comes === "back";
  if (frame[at + 6] === 58 && !isSearch && answerNeighbour(way, at)) return { verdict: TX };
  const admitted = admit(way);
  if (typeof admitted !== "string") return admitted;
  const flow: Flow = {
    family: 6,
    isGiven: admitted === "given",
    isStray: admitted === "schedule" && !isScheduling(way.world),
    comes: way.comes,
    protocol: frame[at + 6]!,
    client: Buffer.from(frame.subarray(at + 8, at + 24)),
    vip: Buffer.from(frame.subarray(at + 24, at + 40)),
    clientPort: 0,
    vipPort: 0,
    isIcmpError: false,
    fragment: "none",
    fragmentId: 0,
    at: at + 40,
    flags: undefined,
    sequence: undefined,
  };
  for (let i = 0; i < 6 && EXTENSIONS.has(flow.protocol); i++) {
    if (frame.length < flow.at + 8) return pass(way, "truncated");
    const isFragmentHeader = flow.protocol === 44;
    flow.protocol = frame[flow.at]!;
    if (!isFragmentHeader) {
      flow.at += 8 + frame[flow.at + 1]! * 8;
      continue;
    }
    const fragmentation = frame.readUInt16BE(flow.at + 2);
    if ((fragmentation & 0xfff9) !== 0) {
      flow.fragment = (fragmentation & 0xfff8) === 0 ? "first" : "later";
      flow.fragmentId = frame.readUInt32BE(flow.at + 4);
    }
    flow.at += 8;
    if (flow.fragment === "later") break;
  }
  return transport(way, flow);
}

function answerNeighbour(way: Way, at: number): boolean {
  const { frame, world } = way;
  const ask = at + 40;
  if (frame.length < ask + 24 || frame[ask] !== 135 || frame[ask + 1] !== 0 || frame[at + 7] !== 255)
    return false;
  if (!hasLease(world) || !mayAskUs(way)) return false;
  const target = Buffer.from(frame.subarray(ask + 8, ask + 24));
  if (!world.vips.has(target.toString("hex"))) return false;
  const length = frame.readUInt16BE(at + 4);
  const hasOption =
    length >= 32 && frame.length >= ask + 32 && frame[ask + 24] === 1 && frame[ask + 25] === 1;
  if (!hasOption && (length !== 24 || !isToUs(way))) return false;
  const answerBytes = hasOption ? 32 : 24;
  frame.writeUInt16BE(answerBytes, at + 4);
  frame.copy(frame, at + 24, at + 8, at + 24);
  target.copy(frame, at + 8);
  frame[ask] = 136;
  frame.writeUInt32BE(0x60000000, ask + 4);
  if (hasOption) {
    frame[ask + 24] = 2;
    world.ownMac.copy(frame, ask + 26);
  }
  frame.writeUInt16BE(0, ask + 2);
  const pseudo = Buffer.alloc(8);
  pseudo.writeUInt32BE(answerBytes, 0);
  pseudo.writeUInt32BE(58, 4);
  const sum = internetChecksum([
    frame.subarray(at + 8, at + 40),
    pseudo,
    frame.subarray(ask, ask + answerBytes),
  ]);
  frame.writeUInt16BE(sum, ask + 2);
  swapMacs(way);
  way.counts.push("neighbour_answered");
  return true;
}

function transport(way: Way, flow: Flow): End {
  const { frame } = way;
  if (flow.fragment === "later") return laterFragment(way, flow);
  if (flow.protocol === TCP || flow.protocol === UDP) {
    // A first fragment may end after eight bytes of TCP header.
    const isShort = flow.protocol === TCP && flow.fragment === "none";
    if (frame.length < flow.at + (isShort ? 20 : 8)) return pass(way, "truncated");
    flow.clientPort = frame.readUInt16BE(flow.at);
    flow.vipPort = frame.readUInt16BE(flow.at + 2);
    if (flow.protocol === TCP && frame.length >= flow.at + 20) {
      flow.flags = frame[flow.at + 13]!;
      // Without any flag it is not looked at.
      if (flow.flags !== 0) flow.sequence = frame.readUInt32BE(flow.at + 4);
    }
    return schedule(way, flow);
  }
  if (flow.fragment !== "none") return pass(way, "other_protocol");
  if (flow.protocol === 1 && flow.family === 4) return icmpError4(way, flow);
  if (flow.protocol === 58 && flow.family === 6) return icmpError6(way, flow);
  return pass(way, "other_protocol");
}

function quotedPorts(way: Way, flow: Flow, at: number): End {
  if (way.frame.length < at + 4) return pass(way, "truncated");
  flow.vipPort = way.frame.readUInt16BE(at);
  flow.clientPort = way.frame.readUInt16BE(at + 2);
  flow.isIcmpError = true;
  return schedule(way, flow);
}

function icmpError4(way: Way, flow: Flow): End {
  const { frame } = way;
  if (frame.length < flow.at + 8) return pass(way, "truncated");
  if (![3, 11, 12].includes(frame[flow.at]!)) return pass(way, "other_protocol");
  const quoted = flow.at + 8;
  const headerBytes = frame.length < quoted + 20 ? 0 : (frame[quoted]! & 15) * 4;
  if (headerBytes < 20) return pass(way, "truncated");
  const isOurs = frame.subarray(quoted + 12, quoted + 16).equals(flow.vip);
  if (!isOurs || (frame.readUInt16BE(quoted + 6) & 0x1fff) !== 0) return pass(way, "other_protocol");
  flow.protocol = frame[quoted + 9]!;
  flow.client = Buffer.from(frame.subarray(quoted + 16, quoted + 20));
  return quotedPorts(way, flow, quoted + headerBytes);
}

function icmpError6(way: Way, flow: Flow): End {
  const { frame } = way;
  if (frame.length < flow.at + 8) return pass(way, "truncated");
  const type = frame[flow.at]!;
  if (type < 1 || type > 4) return pass(way, "other_protocol");
  const quoted = flow.at + 8;
  if (frame.length < quoted + 40) return pass(way, "truncated");
  if (!frame.subarray(quoted + 8, quoted + 24).equals(flow.vip)) return pass(way, "other_protocol");
  flow.protocol = frame[quoted + 6]!;
  flow.client = Buffer.from(frame.subarray(quoted + 24, quoted + 40));
  let at = quoted + 40;
  if (flow.protocol === 44) {
    if (frame.length < at + 8) return pass(way, "truncated");
    if ((frame.readUInt16BE(at + 2) & 0xfff8) !== 0) return pass(way, "other_protocol");
    flow.protocol = frame[at]!;
    at += 8;
  }
  return quotedPorts(way, flow, at);
}

function fragmentKey({ family, client, vip, fragmentId, protocol }: Flow): string {
  return [
    family,
    client.toString("hex"),
    vip.toString("hex"),
    fragmentId,
    family === 4 ? protocol : "any",
  ].join(" ");
}

function laterFragment(way: Way, flow: Flow): End {
  const { world } = way;
  if (flow.comes !== "straight") return pass(way, "from_member");
  const first = world.fragments.get(fragmentKey(flow));
  if (first?.handedOnTo !== undefined) {
    return handOn(way, flow, first.vserver!, first.handedOnTo);
  }
  if (flow.isGiven) return pass(way, "from_scheduler");
  if (isStandby(way, flow))
    return world.vips.has(flow.vip.toString("hex")) ? drop(way, "standby") : pass(way, "no_vserver");
  if (first === undefined) return unknownFragment(way, flow);
  if (first.vserver === undefined) return pass(way, "no_vserver");
  const owner = ownerAfter(way, first.vserver, first.bucket!);
  if (owner === undefined) return drop(way, "no_node");
  way.counts.push("later_fragment");
  return giveTo(way, flow, first.vserver, owner);
}

function unknownFragment(way: Way, flow: Flow): End {
  const { world, frame } = way;
  if (!world.vips.has(flow.vip.toString("hex"))) return pass(way, "no_vserver");
  const mayBeOurs = [TCP, UDP].includes(flow.protocol) || EXTENSIONS.has(flow.protocol);
  if (!mayBeOurs) return pass(way, "other_protocol");
  if (frame.length > 2048) return pass(way, "fragment_unknown");
  way.counts.push("fragment_held");
  return { verdict: DROP, isHeld: true };
}

export function vserverKey(family: number, vip: Buffer, port: number, protocol: number): string {
  return `${family} ${vip.toString("hex")} ${port} ${protocol}`;
}

function schedule(way: Way, flow: Flow): End {
  const { world } = way;
  const vserver = world.vservers.get(vserverKey(flow.family, flow.vip, flow.vipPort, flow.protocol));
  if (vserver === undefined) {
    const isRemembered = flow.fragment === "first" && world.vips.has(flow.vip.toString("hex"));
    if (isRemembered) remember(way, flow, undefined, undefined, undefined);
    return pass(way, "no_vserver");
  }
  if (isStandby(way, flow)) return drop(way, "standby");
  if (flow.comes === "asked") return answerSearch(way, flow, vserver);
  const bucket = bucketOf(world, flow, vserver);
  if (flow.comes === "back") return searchOn(way, flow, vserver, bucket);
  return flow.isGiven ? onNode(way, flow, vserver, bucket) : scheduleBucket(way, flow, vserver, bucket);
}

function bucketOf(world: World, flow: Flow, vserver: ModelVserver): number {
  // The port's digits in base 2, as many as a bucket's number has, with the last three moved to the front.
  const port = flow.clientPort % vserver.tableSize;
  const rotated = Math.floor(port / 8) + (port % 8) * (vserver.tableSize / 8);
  const hash = world.hashOf(flow.client) + (vserver.isAddressOnly ? 0 : rotated);
  // Both are below 2^33: exact; a table's size is a power of two.
  return vserver.tableBase + (hash % vserver.tableSize);
}

const isUp = (node: ModelNode | undefined): node is ModelNode => node?.isUp === true;

function nodeAt(world: World, vserver: ModelVserver, number: number): ModelNode | undefined {
  return number === NOBODY ? undefined : world.nodes.get(vserver.nodeBase + number);
}

function remember(
  way: Way,
  flow: Flow,
  vserver: ModelVserver | undefined,
  bucket: number | undefined,
  handedOnTo: number | undefined,
): void {
  if (flow.fragment === "first") way.world.fragments.set(fragmentKey(flow), { bucket, vserver, handedOnTo });
}

function drop(way: Way, reason: string): End {
  way.counts.push(reason);
  return { verdict: DROP };
}

/** The living owner of a bucket, after the kernel's own move where that is due. Notes the access. */
function ownerAfter(way: Way, vserver: ModelVserver, index: number): ModelNode | undefined {
  const bucket = way.world.buckets[index]!;
  if (!isUp(nodeAt(way.world, vserver, bucket.owner)) && !followNext(way, vserver, index)) return undefined;
  bucket.isTouched = true;
  return nodeAt(way.world, vserver, bucket.owner);
}

/** To the bucket's owner, or to its next when nobody living has it. */
function scheduleBucket(way: Way, flow: Flow, vserver: ModelVserver, index: number): End {
  const { world } = way;
  const bucket = world.buckets[index]!;
  if (flow.isIcmpError) {
    if (!isUp(nodeAt(world, vserver, bucket.owner))) return pass(way, "icmp_unowned");
    way.counts.push("icmp_error");
  }
  const owner = flow.isIcmpError ? nodeAt(world, vserver, bucket.owner) : ownerAfter(way, vserver, index);
  if (owner === undefined) return drop(way, "no_node");
  const row = owner.isSelf
    ? secondChance(way, flow, vserver, bucket.previous)
    : stayingHere(way, flow, vserver, bucket.previous);
  remember(way, flow, vserver, index, row);
  if (flow.fragment === "first") way.counts.push("first_fragment");
  if (row !== undefined) return handOn(way, flow, vserver, row);
  const end = giveTo(way, flow, vserver, owner);
  return owner.isSelf ? (search(way, flow, vserver, -1, otherHolder(world, bucket)) ?? end) : end;
}

function giveTo(way: Way, flow: Flow, vserver: ModelVserver, owner: ModelNode): End {
  way.traffic.push({
    vserver: vserver.index,
    row: vserver.nodeBase + owner.number,
    isOpening: isOpening(flow),
  });
  if (owner.isSelf) return { verdict: PASS };
  owner.mac.copy(way.frame, 0);
  way.world.ownMac.copy(way.frame, 6);
  return { verdict: TX };
}

const isOpening = ({ protocol, flags, isIcmpError }: Flow): boolean =>
  protocol === TCP && !isIcmpError && flags !== undefined && (flags & (SYN | ACK)) === SYN;

/** The kernel's own move: an unassigned bucket, or a dead node's, goes to its next. */
function followNext(way: Way, vserver: ModelVserver, index: number): boolean {
  const { world } = way;
  const bucket = world.buckets[index]!;
  if (!isUp(nodeAt(world, vserver, bucket.next))) return false;
  const former = bucket.owner;
  bucket.owner = bucket.next;
  if (bucket.previous === bucket.next) bucket.previous = NOBODY;
  else if (bucket.previous === NOBODY && former !== bucket.next) bucket.previous = former;
  way.counts.push(former === NOBODY ? "claimed" : "followed");
  way.events.push({ bucket: index, owner: bucket.owner, previous: former, vserver: vserver.index });
  return true;
}

/** What the scheduler gave to this node stays, or gets its second chance. */
function onNode(way: Way, flow: Flow, vserver: ModelVserver, index: number): End {
  const { world } = way;
  const bucket = world.buckets[index]!;
  const first = otherHolder(world, bucket);
  const other = secondChance(way, flow, vserver, first);
  // Who has handed it on, or is the former scheduler, has looked already.
  const isSender = other !== undefined && way.frame.subarray(6, 12).equals(world.nodes.get(other)!.mac);
  const isHandedOn = flow.comes === "handed on";
  const row = (isScheduling(world) || isHandedOn) && isSender ? undefined : other;
  remember(way, flow, vserver, index, row);
  if (row !== undefined) return handOn(way, flow, vserver, row);
  return search(way, flow, vserver, -1, first) ?? pass(way, isHandedOn ? "from_member" : "from_scheduler");
}

/** The row of a node that may have a frame's connection, when there is none of it here. */
function secondChance({ world }: Way, flow: Flow, vserver: ModelVserver, number: number): number | undefined {
  if (vserver.isDirect || flow.protocol !== TCP || isOpening(flow)) return undefined;
  const other = nodeAt(world, vserver, number);
  if (other === undefined || !other.isReachable || other.isSelf) return undefined;
  const socket = world.socketOf(flow.client, flow.clientPort, flow.vip, flow.vipPort, flow.sequence);
  return socket === "connection" ? undefined : vserver.nodeBase + number;
}

/** This node's own row when it is the bucket's previous node, or the frame a stray one, and it has the connection: it keeps the frame. */
function stayingHere({ world }: Way, flow: Flow, vserver: ModelVserver, number: number): number | undefined {
  if (!(flow.isStray || number === world.ownNumber) || vserver.isDirect) return undefined;
  if (flow.protocol !== TCP || isOpening(flow)) return undefined;
  const socket = world.socketOf(flow.client, flow.clientPort, flow.vip, flow.vipPort, flow.sequence);
  return socket === "connection" ? vserver.nodeBase + world.ownNumber : undefined;
}

/** While there may be connections anywhere it is asked for, so that it comes back if it is not there. */
function handOn(way: Way, flow: Flow, vserver: ModelVserver, row: number): End {
  const node = way.world.nodes.get(row)!;
  way.traffic.push({ vserver: vserver.index, row, isOpening: false });
  if (node.isSelf) return { verdict: PASS };
  way.counts.push("second_chance");
  node.mac.copy(way.frame, 0);
  way.world.ownMac.copy(way.frame, 6);
  if (searches(way.world) && flow.fragment === "none") mark(way, SEARCH, "asked");
  return { verdict: TX };
}

/** Who may have connections of a bucket beside this node: while it moves away from here, its owner. */
const otherHolder = ({ ownNumber }: World, { owner, previous }: ModelBucket): number =>
  previous === ownNumber ? owner : previous;

/** Scattered nodes that can be reached, but for this one. */
function scatteredNodes({ nodes, ownNumber }: World): number[] {
  return Array.from({ length: NOBODY }, (_, number) => number).filter((number) => {
    const node = nodes.get(number);
    return number !== ownNumber && node?.isScattered === true && node.isReachable;
  });
}

const searches = (world: World): boolean => world.isInDoubt || scatteredNodes(world).length > 0;

/** Whether a frame may belong to a connection that is elsewhere. */
function isMissing({ world }: Way, flow: Flow, vserver: ModelVserver): boolean {
  if (flow.fragment !== "none" || vserver.isDirect || flow.protocol !== TCP || isOpening(flow)) return false;
  return world.socketOf(flow.client, flow.clientPort, flow.vip, flow.vipPort, flow.sequence) !== "connection";
}

/** Asks the next node above a number, but for the one that came first; undefined: the frame stays here. */
function search(way: Way, flow: Flow, vserver: ModelVserver, above: number, first: number): End | undefined {
  const { world, frame } = way;
  if (!isMissing(way, flow, vserver)) return undefined;
  const next = scatteredNodes(world).find((number) => number > above && number !== first);
  if (next === undefined) return world.isInDoubt ? drop(way, "in_doubt") : undefined;
  world.nodes.get(next)!.mac.copy(frame, 0);
  world.ownMac.copy(frame, 6);
  mark(way, SEARCH, "asked");
  way.counts.push("searched");
  return { verdict: TX };
}

/** It was not where this node has asked. */
function searchOn(way: Way, flow: Flow, vserver: ModelVserver, index: number): End {
  const { world, frame } = way;
  const first = otherHolder(world, world.buckets[index]!);
  const sender = frame.toString("hex", 6, 12);
  const asked = [...world.members].indexOf(sender) + 1;
  const end = search(way, flow, vserver, asked === first ? -1 : asked, first);
  return end ?? arrive(way, flow);
}

/** Another node asks. */
function answerSearch(way: Way, flow: Flow, vserver: ModelVserver): End {
  if (!isMissing(way, flow, vserver)) return arrive(way, flow);
  swapMacs(way);
  mark(way, SEARCH, "back");
  way.counts.push("not_here");
  return { verdict: TX };
}

/** It stays, and goes up as what it is. */
function arrive(way: Way, { family }: Flow): End {
  mark(way, family === 4 ? IPV4 : IPV6, "asked");
  return pass(way, "from_member");
}

function mark({ frame }: Way, type: number, way: "asked" | "back"): void {
  let at = 12;
  while (frame.readUInt16BE(at) === VLAN || frame.readUInt16BE(at) === QINQ) at += 4;
  frame.writeUInt16BE(type, at);
  frame[at + 2] = (frame[at + 2]! & 0x7f) | (way === "back" ? 0x80 : 0);
}
