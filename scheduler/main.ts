/**
 * The scheduler process of a node. It prepares the data plane and decides; the packets need it for nothing: when
 * it ends, the program stays on the interface with its maps, and the next one takes them over.
 */
import { join } from "node:path";
import { formatMac, parseIp } from "../conf/address.ts";
import { monotonic_ms } from "../conf/clock.ts";
import { describeError } from "../conf/errors.ts";
import { loadConfig } from "../conf/load.ts";
import { findNode } from "../conf/node.ts";
import { processOptions, type ProcessOptions } from "../conf/process-options.ts";
import { schedulerOf } from "../conf/scheduler-role.ts";
import { adminServer } from "../net/admin-socket.ts";
import { exitWithParent, reportReady } from "../net/parent-watch.ts";
import { createLogger } from "../status/log.ts";
import { publish } from "../status/publish.ts";
import { answerAdmin } from "./admin.ts";
import { versionOf } from "./feed/feed.ts";
import { startFollowing, type Following } from "./following.ts";
import { openMachine, type Machine } from "./machine.ts";
import { learnMac, wantedAddresses } from "./nodes/members.ts";
import { createNeighbourFinder, type NeighbourFinder } from "./nodes/neighbours.ts";
import { bucketsReport, schedulerReport, vserversReport, type ReportSources } from "./report.ts";
import { isHostUp, startScheduling, type Scheduling } from "./scheduling.ts";
import { unitsOf } from "./table.ts";
import { createTrafficRates, type TrafficRates } from "./traffic-rates.ts";

const RATES_EVERY_MS = 1000;

type Role = Scheduling | Following;

interface Running {
  readonly machine: Machine;
  readonly rates: TrafficRates;
  readonly finders: NeighbourFinder[];
  role: Role | undefined;
}

async function start(machine: Machine): Promise<Running> {
  const running: Running = { machine, rates: createTrafficRates(), finders: [], role: undefined };
  machine.segments.forEach((segment, index) => {
    const { interface: name, ifindex, mac, address } = segment;
    const { log } = machine;
    const onNeighbour = (found: { address: string; mac: Uint8Array }): void =>
      learn(running, index, found.address, found.mac);
    running.finders.push(createNeighbourFinder({ interface: name, ifindex, mac, address, log, onNeighbour }));
  });
  wantMacs(running);
  const scheduler = schedulerOf(machine.config);
  running.role =
    scheduler.number === machine.node.number
      ? await startScheduling(machine, () => wantMacs(running))
      : startFollowing(machine, scheduler);
  running.role.changed();
  return running;
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
  const { machine, role } = running;
  const { members, hosts, log } = machine;
  const member = learnMac(members, segment, address, mac);
  const known = hosts.filter((host) => parseIp(host.address)?.text === address && !host.isMacConfigured);
  const news = known.filter(({ macs }) => formatMac(macs[segment] ?? new Uint8Array(6)) !== formatMac(mac));
  for (const host of news) host.macs[segment] = mac;
  const names = [...(member === undefined ? [] : [member.config.name]), ...news.map(({ id }) => id)];
  if (names.length === 0) return;
  log.info({ peers: names, mac: formatMac(mac) }, "a MAC address is known");
  role?.changed();
  wantMacs(running);
}

function sourcesOf({ machine, role, rates }: Running): ReportSources {
  const unknown = { state: "starting", reason: "" } as const;
  const common = { machine, rates, isHostUp };
  if (role?.kind === "scheduling") {
    const { feed } = role.steering;
    return {
      ...common,
      isScheduling: true,
      stateOf: (number) => role.stateOf(number),
      sweep: role.sweeper,
      epoch: feed.epoch,
      tableVersion: feed.version,
      versionOf: (number) => versionOf(feed, number),
    };
  }
  const position = role?.follow.position ?? { epoch: 0, version: 0 };
  return {
    ...common,
    isScheduling: false,
    stateOf: (number) => role?.stateOf(number) ?? unknown,
    sweep: undefined,
    epoch: position.epoch,
    tableVersion: position.version,
    versionOf: () => null,
  };
}

async function serveAdmin(running: Running): Promise<{ close: () => Promise<void> }> {
  const { machine } = running;
  const desk = {
    members: machine.members,
    otherScheduler: () => (running.role?.kind === "scheduling" ? "" : schedulerOf(machine.config).name),
    setDraining: (member: Machine["members"][number], isDraining: boolean) => {
      if (running.role?.kind === "scheduling") running.role.setDraining(member, isDraining);
    },
    stateOf: ({ config }: Machine["members"][number]) =>
      running.role?.kind === "scheduling"
        ? running.role.stateOf(config.number)
        : { state: "starting" as const, buckets: 0 },
  };
  return adminServer({
    path: join(machine.options.runDir, "admin.sock"),
    handle: (line) => Promise.resolve().then(() => answerAdmin(desk, line)),
  });
}

async function run(running: Running): Promise<void> {
  const { machine, rates } = running;
  const { plane, log, options } = machine;
  const sample = (): void => rates.take(plane.trafficOfAll(), monotonic_ms());
  sample();
  const timer = setInterval(sample, RATES_EVERY_MS);
  const admin = await serveAdmin(running);
  const publisher = publish({
    path: join(options.runDir, "publish.sock"),
    hello: { process: "scheduler", worker: 0, pid: process.pid },
    answer: (topic) => {
      if (topic === "buckets")
        return bucketsReport(machine.areas[0]!.table, unitsOf(process.hrtime.bigint()));
      const sources = sourcesOf(running);
      return topic === "vservers" ? vserversReport(sources) : schedulerReport(sources);
    },
    log,
  });
  const stop = async (): Promise<void> => {
    clearInterval(timer);
    publisher.close();
    await Promise.all([admin.close(), running.role?.stop()]);
    for (const finder of running.finders) finder.close();
    plane.close();
    log.info("stopped; the data plane goes on");
    process.exit(0);
  };
  process.once("SIGTERM", () => void stop());
  process.once("SIGINT", () => void stop());
}

/** Runs the process until SIGTERM. */
export async function main(options: ProcessOptions): Promise<void> {
  exitWithParent();
  const config = loadConfig(options.configFile);
  const node = findNode(config, options.node);
  const log = createLogger({ node: node.name, process: "scheduler" });
  try {
    await run(await start(openMachine(options, config, node, log)));
    reportReady();
  } catch (error) {
    log.fatal({ reason: describeError(error) }, "the scheduler can't start");
    process.exit(1);
  }
}

if (import.meta.main) await main(processOptions(process.argv.slice(2)));
