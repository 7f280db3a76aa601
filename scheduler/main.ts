/**
 * The scheduler process of a node. It prepares the data plane and decides; the packets need it for nothing: when
 * it ends, the program stays on the interface with its maps, and the next one takes them over. Whether this node
 * schedules or follows another one is what the lease page says, at any moment.
 */
import { join } from "node:path";
import { formatMac, parseIp } from "../conf/address.ts";
import { monotonic_ms, monotonic_ns } from "../conf/clock.ts";
import { counterOf, epochText, schedulerIn } from "../conf/epoch.ts";
import { describeError } from "../conf/errors.ts";
import { takeArrayKey } from "../conf/keys.ts";
import { FAILOVER_TICK_MS } from "../conf/limits.ts";
import { findNode } from "../conf/node.ts";
import { processOptions, type ProcessOptions } from "../conf/process-options.ts";
import { givenConfig } from "../conf/snapshot.ts";
import { adminServer } from "../net/admin-socket.ts";
import { heartbeatKeys } from "../net/heartbeat.ts";
import { exitWithParent, onOrder, reportReady, reportTaken } from "../net/parent-watch.ts";
import { createLogger } from "../status/log.ts";
import { publish } from "../status/publish.ts";
import { answerAdmin, type AdminDesk } from "./admin.ts";
import { createFollow } from "./feed/follow.ts";
import { startFollowing, type Following } from "./following.ts";
import { chooseSuccessor } from "./handing-over.ts";
import { holdFragments } from "./held/fragment-destinations.ts";
import type { HeldFragments } from "./held/held-fragments.ts";
import { openMachine, type Machine } from "./machine.ts";
import { learnMac, wantedAddresses, type Member } from "./nodes/members.ts";
import { createNeighbourFinder, type NeighbourFinder } from "./nodes/neighbours.ts";
import { bucketsReport, ownersReport, schedulerReport, sourcesOf, vserversReport } from "./report.ts";
import { createRoles, type Roles } from "./roles.ts";
import { startScheduling, type Scheduling } from "./scheduling.ts";
import { unitsOf } from "./table.ts";
import { createTrafficRates, type TrafficRates } from "./traffic-rates.ts";

const RATES_EVERY_MS = 1000;

interface Running {
  readonly machine: Machine;
  readonly rates: TrafficRates;
  readonly fragments: HeldFragments;
  readonly finders: NeighbourFinder[];
  readonly roles: Roles<Scheduling | Following>;
}

function start(machine: Machine): Running {
  const finders: NeighbourFinder[] = [];
  const { areas, node, plane, members } = machine;
  const roles = createRoles<Scheduling | Following>(
    {
      number: node.number,
      schedule: (epoch, left) => startScheduling(machine, { epoch, left, wantMacs: () => wantMacs(running) }),
      follow: (epoch, number, left) => {
        const scheduler = members.find(({ config }) => config.number === number)?.config;
        return startFollowing(machine, { epoch, scheduler, left });
      },
    },
    createFollow({ number: node.number, groups: areas }),
  );
  const running: Running = {
    machine,
    rates: createTrafficRates(),
    fragments: holdFragments(machine),
    finders,
    roles,
  };
  machine.segments.forEach((segment, index) => {
    const { interface: name, ifindex, mac, address } = segment;
    const { log } = machine;
    const onNeighbour = (found: { address: string; mac: Uint8Array }): void =>
      learn(running, index, found.address, found.mac);
    finders.push(createNeighbourFinder({ interface: name, ifindex, mac, address, log, onNeighbour }));
  });
  plane.setHandOverTo(undefined);
  plane.setMerging(false);
  wantMacs(running);
  turn(running);
  return running;
}

/** Every few milliseconds: the role that the lease page says, and what the failover process and the peers have to know. */
function turn({ machine, roles, fragments }: Running): void {
  const { plane, members, log } = machine;
  const epoch = plane.lease.epoch();
  if (roles.turn(epoch)) {
    const number = schedulerIn(epoch);
    const name = members.find(({ config }) => config.number === number)?.config.name;
    const facts = { epoch: epochText(epoch), scheduler: name };
    if (number !== undefined && name === undefined)
      log.warn(facts, "the node that schedules is not in the configuration");
    else log.info(facts, number === undefined ? "no node schedules yet" : "a node schedules");
  }
  plane.consumeHeld((fragment) => fragments.take(fragment));
  plane.setTableVersion(roles.current()?.tableVersion() ?? 0);
  plane.setTurned(monotonic_ns());
}

/** Asks for the MAC addresses that are missing, or may be others now. */
function wantMacs({ machine, finders }: Running): void {
  const { members, hosts } = machine;
  finders.forEach((finder, segment) => {
    const ofHosts = hosts.filter(({ isMacConfigured, macs, isGood }) => {
      return !isMacConfigured && (macs.every((mac) => mac === undefined) || isGood === false);
    });
    finder.want([...wantedAddresses(members, segment), ...ofHosts.map(({ address }) => address)]);
  });
}

/** A node or host has told its MAC address. */
function learn(running: Running, segment: number, address: string, mac: Uint8Array): void {
  const { machine, roles } = running;
  const { members, hosts, log } = machine;
  const member = learnMac(members, segment, address, mac);
  const known = hosts.filter((host) => parseIp(host.address)?.text === address && !host.isMacConfigured);
  const news = known.filter(({ macs }) => formatMac(macs[segment] ?? new Uint8Array(6)) !== formatMac(mac));
  for (const host of news) host.macs[segment] = mac;
  const names = [...(member === undefined ? [] : [member.config.name]), ...news.map(({ id }) => id)];
  if (names.length === 0) return;
  log.info({ peers: names, mac: formatMac(mac) }, "a MAC address is known");
  roles.current()?.changed();
  wantMacs(running);
}

function deskOf(running: Running): AdminDesk {
  const { machine, roles } = running;
  const scheduling = (): Scheduling | undefined => {
    const role = roles.current();
    return role?.kind === "scheduling" ? role : undefined;
  };
  return {
    members: machine.members,
    otherScheduler: () => {
      const role = roles.current();
      if (role?.kind !== "following") return "";
      return role.scheduler === undefined ? "no node schedules" : `${role.scheduler.name} is the scheduler`;
    },
    setDraining: (member, isDraining) => scheduling()?.setDraining(member, isDraining),
    stateOf: ({ config }) => scheduling()?.stateOf(config.number) ?? { state: "starting", buckets: 0 },
    handOver: (member) => handOver(running, scheduling(), member),
  };
}

async function handOver(
  { machine }: Running,
  role: Scheduling | undefined,
  wanted: Member | undefined,
): Promise<string> {
  const { plane, members } = machine;
  const candidates = members.map((member) => {
    const { number } = member.config;
    const flags = plane.planes.map(({ peers }) => peers.flags(number));
    return { member, judgement: role?.stateOf(number) ?? { state: "starting" as const }, flags };
  });
  await role?.handOver(chooseSuccessor(candidates, wanted?.config.number));
  const epoch = plane.lease.epoch();
  const name = members.find(({ config }) => config.number === schedulerIn(epoch))?.config.name;
  return `${name ?? "no node"} schedules, epoch ${counterOf(epoch)}`;
}

async function run(running: Running): Promise<void> {
  const { machine, rates, roles, fragments } = running;
  const { plane, log, options } = machine;
  const sample = (): void => rates.take(plane.trafficOfAll(), monotonic_ms());
  sample();
  const timers = [setInterval(sample, RATES_EVERY_MS), setInterval(() => turn(running), FAILOVER_TICK_MS)];
  const desk = deskOf(running);
  const admin = await adminServer({
    path: join(options.runDir, "admin.sock"),
    handle: (line) => answerAdmin(desk, line),
  });
  const publisher = publish({
    path: join(options.runDir, "publish.sock"),
    hello: { process: "scheduler", worker: 0, pid: process.pid },
    answer: (topic) => {
      if (topic === "buckets")
        return bucketsReport(machine.areas[0]!.table, unitsOf(process.hrtime.bigint()));
      if (topic === "owners") return ownersReport(machine.areas[0]!.table);
      const sources = sourcesOf({ machine, rates, fragments: fragments.counts() }, roles.current());
      return topic === "vservers" ? vserversReport(sources) : schedulerReport(sources);
    },
    log,
  });
  const stop = async (): Promise<void> => {
    for (const timer of timers) clearInterval(timer);
    publisher.close();
    await Promise.all([admin.close(), roles.stop()]);
    for (const finder of running.finders) finder.close();
    fragments.close();
    plane.close();
    log.info("stopped; the data plane goes on");
    process.exit(0);
  };
  process.once("SIGTERM", () => void stop());
  process.once("SIGINT", () => void stop());
  onOrder((order) => {
    if (order.kind === "key") takeKey(running, order);
  });
}

/** First the kernel hears the other key, then anything is asked under it. */
function takeKey({ machine, roles }: Running, { text, number }: { text: string; number: number }): void {
  takeArrayKey(machine.arrayKey, text);
  machine.plane.setHeartbeatKeys(heartbeatKeys(machine.arrayKey));
  const role = roles.current();
  if (role?.kind === "scheduling") role.keyChanged();
  reportTaken(number);
}

/** Runs the process until SIGTERM. */
export async function main(options: ProcessOptions): Promise<void> {
  exitWithParent();
  const config = givenConfig(options);
  const node = findNode(config, options.node);
  const log = createLogger({ node: node.name, process: "scheduler" });
  try {
    await run(start(openMachine(options, config, node, log)));
    reportReady();
  } catch (error) {
    log.fatal({ reason: describeError(error) }, "the scheduler can't start");
    process.exit(1);
  }
}

if (import.meta.main) await main(processOptions(process.argv.slice(2)));
