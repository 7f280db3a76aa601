/**
 * What the scheduler process of a node holds whatever its role: the data plane on all segments, what is known of the
 * other nodes and of direct pools' hosts, and where their tables stand.
 */
import { join } from "node:path";
import { formatMac, parseIp, parseMac } from "../conf/address.ts";
import { monotonic_ms } from "../conf/clock.ts";
import { type ArrayKey, deriveKey, readArrayKey } from "../conf/keys.ts";
import { NOBODY } from "../conf/limits.ts";
import type { ProcessOptions } from "../conf/process-options.ts";
import type { Config, NodeConfig } from "../conf/schema.ts";
import { vipsOf } from "../conf/vips.ts";
import { hearsFor_ns, heartbeatKeys } from "../net/heartbeat.ts";
import { readInterface } from "../net/interface.ts";
import type { Logger } from "../status/log.ts";
import { arrangeTables, directPoolsOf, placesFor, servicesOf, type TableArea } from "./arrangement.ts";
import { openDataPlane, type DataPlane } from "./plane/data-plane.ts";
import { beginAnew, createMember, type FormerNode, type Member } from "./nodes/members.ts";
import { HASH_KEY_BYTES, type NodeState } from "./plane/interface-maps.ts";
import { hostKey, NO_PLACES, readPlaces, rowsFor, writePlaces, type TrafficPlaces } from "./traffic-rows.ts";

/** One of the networks that the node is on. */
export interface Segment {
  readonly interface: string;
  readonly ifindex: number;
  readonly mac: Uint8Array;
  /** This node's address there. */
  readonly address: string;
}
/** A host of a direct pool. */
export interface DirectHost {
  readonly area: TableArea;
  readonly number: number;
  readonly id: string;
  readonly address: string;
  readonly weight: number;
  /** The service runs on this very node. */
  readonly isSelf: boolean;
  readonly isMacConfigured: boolean;
  /** By segment; it is on one of them. */
  readonly macs: (Uint8Array | undefined)[];
  /** What its check says; undefined before the first one. Always true without checks. */
  isGood: boolean | undefined;
  complaint: string;
}
export interface Machine {
  readonly config: Config;
  readonly node: NodeConfig;
  readonly options: ProcessOptions;
  readonly log: Logger;
  readonly arrayKey: ArrayKey;
  readonly hashKey: Uint8Array;
  readonly segments: readonly Segment[];
  readonly plane: DataPlane;
  readonly areas: readonly TableArea[];
  readonly places: TrafficPlaces;
  readonly members: readonly Member[];
  readonly hosts: readonly DirectHost[];
}

/** Makes or takes over the data plane. Throws DlbaError as `openDataPlane`, `readArrayKey` and `readInterface` do. */
export function openMachine(options: ProcessOptions, config: Config, node: NodeConfig, log: Logger): Machine {
  const arrayKey = readArrayKey(config.array.key_file);
  const segments = segmentsOf(node, log);
  const placesFile = join(options.runDir, "traffic.json");
  const noted = readPlaces(placesFile);
  const places = placesFor(config, noted);
  const plane = openDataPlane({
    interfaces: segments.map((segment) => segment.interface),
    pinDir: options.pinDir,
    tableSize: config.scheduler.table_size,
    trafficRows: rowsFor(places),
    mode: config.scheduler.xdp,
  });
  tellAdoption(plane, config, log);
  writePlaces(placesFile, plane.adoption.kind === "adopted" ? noted : NO_PLACES, places);
  const areas = arrangeTables(config, plane);
  const hashKey = deriveKey(arrayKey, "hash-seed", HASH_KEY_BYTES);
  const machine: Machine = {
    config,
    node,
    options,
    log,
    arrayKey,
    hashKey,
    segments,
    plane,
    areas,
    places,
    members: membersOf(config, node, segments, plane),
    hosts: hostsOf(config, areas, segments, plane),
  };
  writeFacts(machine);
  forgetOthers(machine);
  return machine;
}

function segmentsOf(node: NodeConfig, log: Logger): Segment[] {
  const links = [{ interface: node.interface, address: node.address, mac: node.mac }, ...node.interfaces];
  return links.map(({ interface: name, address, mac: configured }) => {
    const { mac, ifindex } = readInterface(name);
    if (configured !== undefined && configured.toLowerCase() !== formatMac(mac)) {
      log.warn(
        { interface: name, configured, found: formatMac(mac) },
        "the interface has another MAC address",
      );
    }
    return { interface: name, ifindex, mac, address };
  });
}

function tellAdoption(plane: DataPlane, config: Config, log: Logger): void {
  const { adoption, planes } = plane;
  for (const { interface: name, attachment } of planes) {
    log.info({ interface: name, xdp: attachment, table: adoption }, "the data plane is up");
  }
  if (adoption.kind === "replaced") {
    log.warn(
      { reason: adoption.reason },
      "the bucket table had to be made anew: connections to other nodes may be reset",
    );
  }
  if (adoption.kind !== "adopted" || adoption.keptTableSize === undefined) return;
  log.warn(
    { running: adoption.keptTableSize, configured: config.scheduler.table_size },
    "the table size is fixed while the array runs and stays as it was; another one needs a new epoch: stop all " +
      "nodes, run 'dlba detach' on each and start them again, which ends all connections that are open then",
  );
}

/** What does not change while the process runs. */
function writeFacts({ plane, node, segments, arrayKey, hashKey, config, areas, places }: Machine): void {
  plane.setNumber(node.number);
  plane.setHashKey(hashKey);
  plane.setHeartbeatKeys(heartbeatKeys(arrayKey));
  plane.setHears(hearsFor_ns(config.failover.heartbeat_ms));
  segments.forEach(({ mac }, i) => plane.planes[i]!.setOwnMac(mac));
  plane.setVips(vipsOf(config));
  plane.setServices(servicesOf(config, areas, places));
}

function membersOf(
  config: Config,
  node: NodeConfig,
  segments: readonly Segment[],
  plane: DataPlane,
): Member[] {
  const own = { number: node.number, macs: segments.map(({ mac }) => mac) };
  const now_ms = monotonic_ms();
  return config.nodes.map((config) => createMember(config, own, formerNode(plane, config.number), now_ms));
}

/** What the running data plane knows of a node; undefined when it was never set. */
function formerNode(plane: DataPlane, number: number): FormerNode | undefined {
  const rows = plane.planes.map((one) => one.readNode(0, number));
  const macs = rows.map(({ mac }) => (isSet(mac) ? mac : undefined));
  if (macs.every((mac) => mac === undefined)) return undefined;
  return {
    macs,
    isUp: rows.every(({ isUp }) => isUp),
    isReachable: rows.every(({ isReachable }) => isReachable),
    isDraining: rows.some(({ isDraining }) => isDraining),
  };
}

const isSet = (mac: Uint8Array): boolean => mac.some((byte) => byte !== 0);

function hostsOf(
  config: Config,
  areas: readonly TableArea[],
  segments: readonly Segment[],
  plane: DataPlane,
): DirectHost[] {
  const own = new Set(segments.map(({ address }) => parseIp(address)?.text));
  return directPoolsOf(config).flatMap(({ name, check, servers }) => {
    const area = areas.find((area) => area.name === name)!;
    return servers.flatMap(({ number, id, address, weight, mac }) => {
      if (number === undefined) return [];
      const isSelf = own.has(parseIp(address)?.text);
      const configured = mac === undefined ? undefined : parseMac(mac);
      const rows = plane.planes.map((one) => one.readNode(area.group, number));
      const macs = rows.map((row, i) =>
        isSelf ? segments[i]!.mac : (configured ?? (isSet(row.mac) ? row.mac : undefined)),
      );
      const isGood = check === undefined || wasHostUp(plane, area, number) ? true : undefined;
      const isMacConfigured = isSelf || configured !== undefined;
      return [{ area, number, id, address, weight, isSelf, isMacConfigured, macs, isGood, complaint: "" }];
    });
  });
}

const wasHostUp = (plane: DataPlane, { group }: TableArea, number: number): boolean =>
  plane.planes.some((one) => one.readNode(group, number).isUp);

/** Begins with what the data plane knows of nodes and hosts, as the scheduler before has told: this one judges now. */
export function forgetJudgements({ config, plane, members, hosts }: Machine, now_ms: number): void {
  for (const member of members) beginAnew(member, formerNode(plane, member.config.number), now_ms);
  const unchecked = new Set(directPoolsOf(config).flatMap(({ name, check }) => (check ? [] : [name])));
  for (const host of hosts) {
    const isGood = unchecked.has(host.area.name) || wasHostUp(plane, host.area, host.number);
    Object.assign(host, { isGood: isGood ? true : undefined, complaint: "" });
  }
}

/** Nodes and hosts that are no longer configured take no more frames. */
function forgetOthers({ plane, config, hosts, areas }: Machine): void {
  for (const { group, name } of areas) {
    const known = group === 0 ? config.nodes : hosts.filter(({ area }) => area.name === name);
    const numbers = new Set(known.map(({ number }) => number));
    for (let number = 0; number < NOBODY; number++) {
      if (!numbers.has(number)) for (const one of plane.planes) one.setNodeState(group, number, NOTHING);
    }
  }
}

const NOTHING: NodeState = { isUp: false, isSelf: false, isReachable: false, isDraining: false };

/** Tells the program the members' MAC addresses: frames from there are never scheduled again. */
export function writeMembers({ plane, members }: Machine): void {
  plane.planes.forEach((one, segment) => {
    one.setMembers(
      members.flatMap(({ links, config }) => {
        const mac = links[segment]?.mac;
        return mac === undefined ? [] : [{ mac, number: config.number }];
      }),
    );
  });
}

/** Writes a node's MAC addresses and state to all segments; one whose MAC is not known is not up there. */
export function writeNode(machine: Machine, member: Member, state: Omit<NodeState, "isSelf">): void {
  const { plane, places } = machine;
  const { number } = member.config;
  const slot = places.slots[hostKey("", number)] ?? 0;
  plane.planes.forEach((one, segment) => {
    const mac = member.links[segment]?.mac;
    if (mac !== undefined) one.setNode(0, number, { ...state, isSelf: member.isSelf, mac, slot });
  });
}

/**
 * Writes a node's MAC addresses; for the rest its state stays as the program knows it, but that it may be reachable or
 * scattered, too.
 */
export function writeMacs(
  machine: Machine,
  member: Member,
  { isReachable, isScattered }: Pick<NodeState, "isReachable" | "isScattered">,
): void {
  const { number } = member.config;
  const slot = machine.places.slots[hostKey("", number)] ?? 0;
  machine.plane.planes.forEach((one, segment) => {
    const mac = member.links[segment]?.mac;
    if (mac === undefined) return;
    const known = one.readNode(0, number);
    const change = { isReachable: known.isReachable || isReachable, isScattered };
    one.setNode(0, number, { ...known, ...change, mac, slot });
  });
}

/** Writes a direct pool's host, on the segments where it is. */
export function writeHost(machine: Machine, host: DirectHost, isUp: boolean): void {
  const { area, number, macs, isSelf } = host;
  const slot = machine.places.slots[hostKey(area.name, number)] ?? 0;
  const state = { isUp, isReachable: isUp, isDraining: false, isSelf };
  machine.plane.planes.forEach((one, segment) => {
    const mac = macs[segment];
    if (mac !== undefined) one.setNode(area.group, number, { ...state, mac, slot });
  });
}
