/**
 * The scheduler process of a node. It prepares the data plane and decides; the packets need it for nothing: when
 * it ends, the program stays on the interface with its maps, and the next one takes them over.
 */
import { join } from "node:path";
import { formatMac } from "../conf/address.ts";
import { describeError } from "../conf/errors.ts";
import { deriveKey, readArrayKey } from "../conf/keys.ts";
import { loadConfig } from "../conf/load.ts";
import { findNode } from "../conf/node.ts";
import { processOptions, type ProcessOptions } from "../conf/process-options.ts";
import { schedulerOf } from "../conf/scheduler-role.ts";
import type { Config, NodeConfig } from "../conf/schema.ts";
import { vipsOf } from "../conf/vips.ts";
import type { Neighbour } from "../net/frames.ts";
import { readInterface } from "../net/interface.ts";
import { exitWithParent, reportReady } from "../net/parent-watch.ts";
import { createLogger, type Logger } from "../status/log.ts";
import { publish } from "../status/publish.ts";
import { HASH_KEY_BYTES, openDataPlane, type DataPlane, type Service } from "./data-plane.ts";
import {
  createMembers,
  learnMac,
  policyNodes,
  wantedAddresses,
  writeMembers,
  type Member,
} from "./members.ts";
import { createNeighbourFinder, type NeighbourFinder } from "./neighbours.ts";
import { bucketMoved, createPolicy, freeIdle, handOver, nodesChanged, type Policy } from "./policy.ts";
import { bucketsReport, schedulerReport } from "./report.ts";
import type { SweepChange } from "./sweep.ts";
import { startSweeper, type Sweeper } from "./sweeper.ts";
import { unitsOf, unitsOfSeconds } from "./table.ts";

const EVENTS_EVERY_MS = 10;
const IDLE_EVERY_MS = 1000;

/** All that a running scheduler holds. */
interface Running {
  readonly config: Config;
  readonly node: NodeConfig;
  readonly log: Logger;
  readonly plane: DataPlane;
  readonly members: readonly Member[];
  readonly policy: Policy;
  finder: NeighbourFinder | undefined;
  sweeper: Sweeper | undefined;
  lostEvents: number;
}

/** Every address, port and transport that is scheduled. */
export function servicesOf(config: Pick<Config, "vservers">): Service[] {
  return config.vservers.flatMap(({ vips, ports, protocol }, vserver) => {
    const transport = protocol === "udp" ? "udp" : "tcp";
    return vips.flatMap((address) => ports.map((port) => ({ address, port, transport, vserver }) as const));
  });
}

function start(options: ProcessOptions, config: Config, node: NodeConfig, log: Logger): Running {
  const arrayKey = readArrayKey(config.array.key_file);
  const { mac, ifindex } = readInterface(node.interface);
  const plane = openDataPlane({
    interface: node.interface,
    pinDir: options.pinDir,
    tableSize: config.scheduler.table_size,
    mode: config.scheduler.xdp,
  });
  log.info(
    { interface: node.interface, xdp: plane.attachment, table: plane.adoption },
    "the data plane is up",
  );
  if (node.mac !== undefined && node.mac.toLowerCase() !== formatMac(mac)) {
    log.warn({ configured: node.mac, found: formatMac(mac) }, "the interface has another MAC address");
  }
  plane.setOwnMac(mac);
  plane.setHashKey(deriveKey(arrayKey, "hash-seed", HASH_KEY_BYTES));
  plane.setVips(vipsOf(config));
  plane.setServices(servicesOf(config));
  const members = createMembers(config.nodes, node, mac, plane);
  writeMembers(plane, members);
  const policy = createPolicy(plane.buckets, policyNodes(members));
  const running: Running = {
    config,
    node,
    log,
    plane,
    members,
    policy,
    finder: undefined,
    sweeper: undefined,
    lostEvents: plane.counters()["event_lost"] ?? 0,
  };
  abandonUnknownOwners(running);
  running.finder = createNeighbourFinder({
    interface: node.interface,
    ifindex,
    mac,
    address: node.address,
    log,
    onNeighbour: (neighbour) => learn(running, neighbour),
  });
  running.finder.want(wantedAddresses(members));
  const isScheduler = schedulerOf(config).number === node.number;
  plane.setScheduling(isScheduler);
  if (isScheduler) running.sweeper = sweep(running, arrayKey);
  return running;
}

/** Buckets of nodes that are no longer configured go to their nexts. */
function abandonUnknownOwners({ policy, members }: Running): void {
  const known = new Set(members.map(({ config }) => config.number));
  for (let number = 0; number < 255; number++) {
    if (!known.has(number) && policy.groups[number] !== 0) handOver(policy, number);
  }
}

function sweep(running: Running, arrayKey: Uint8Array): Sweeper {
  const { config, members, log } = running;
  const failed = new Set(members.filter(({ isFailed }) => isFailed).map(({ config }) => config.number));
  return startSweeper({
    nodes: config.nodes,
    failed,
    port: config.status.port,
    retries: config.scheduler.sweep_retries,
    delay_ms: config.scheduler.sweep_delay_ms,
    timeout_ms: config.scheduler.sweep_timeout_ms,
    arrayKey,
    log,
    onChange: (change) => judge(running, change),
  });
}

/** A node has told its MAC address. */
function learn(running: Running, { address, mac }: Neighbour): void {
  const member = learnMac(running.members, address, mac);
  if (member === undefined) return;
  running.log.info({ peer: member.config.name, mac: formatMac(mac) }, "a node's MAC address is known");
  nodesAreNews(running);
}

/** The sweep has found a node failed, or back. The own node is never given up: its packets stay here. */
function judge(running: Running, { node, failed }: SweepChange): void {
  const member = running.members.find(({ config }) => config.number === node);
  if (member === undefined || member.isSelf) return;
  member.isFailed = failed;
  nodesAreNews(running);
  const moved = failed ? handOver(running.policy, node) : 0;
  if (failed) running.log.warn({ peer: member.config.name, buckets: moved }, "a node has failed");
  else running.log.info({ peer: member.config.name }, "a node is back");
}

/** First the program (its nodes' flags decide at once), then the buckets' nexts. */
function nodesAreNews({ plane, members, policy, finder }: Running): void {
  writeMembers(plane, members);
  nodesChanged(policy, policyNodes(members));
  finder?.want(wantedAddresses(members));
}

function takeEvents({ plane, policy }: Running): void {
  plane.consumeEvents(({ bucket }) => bucketMoved(policy, bucket));
}

function tendIdle(running: Running): void {
  const { plane, policy, config, log } = running;
  const lost = plane.counters()["event_lost"] ?? 0;
  if (lost !== running.lostEvents) nodesChanged(policy, policy.nodes);
  running.lostEvents = lost;
  const freed = freeIdle(
    policy,
    unitsOf(process.hrtime.bigint()),
    unitsOfSeconds(config.scheduler.bucket_timeout_s),
  );
  if (freed > 0) log.debug({ buckets: freed }, "idle buckets were freed");
}

function run(options: ProcessOptions, running: Running): void {
  const { plane, members, policy, node, log } = running;
  const timers = [
    setInterval(() => takeEvents(running), EVENTS_EVERY_MS),
    setInterval(() => tendIdle(running), IDLE_EVERY_MS),
  ];
  const publisher = publish({
    path: join(options.runDir, "publish.sock"),
    hello: { process: "scheduler", worker: 0, pid: process.pid },
    answer: (topic) => {
      if (topic === "buckets") return bucketsReport(plane.buckets, unitsOf(process.hrtime.bigint()));
      takeEvents(running);
      const { attachment } = plane;
      const sources = { maps: plane, attachment, interface: node.interface, members, policy };
      return schedulerReport({ ...sources, sweep: running.sweeper });
    },
    log,
  });
  const stop = (): void => {
    for (const timer of timers) clearInterval(timer);
    publisher.close();
    running.sweeper?.stop();
    running.finder?.close();
    plane.close();
    log.info("stopped; the data plane goes on");
    process.exit(0);
  };
  process.once("SIGTERM", stop);
  process.once("SIGINT", stop);
}

/** Runs the process until SIGTERM. Throws DlbaError when it can't start. */
export function main(options: ProcessOptions): void {
  exitWithParent();
  const config = loadConfig(options.configFile);
  const node = findNode(config, options.node);
  const log = createLogger({ node: node.name, process: "scheduler" });
  try {
    run(options, start(options, config, node, log));
    reportReady();
  } catch (error) {
    log.fatal({ reason: describeError(error) }, "the scheduler can't start");
    process.exit(1);
  }
}

if (import.meta.main) main(processOptions(process.argv.slice(2)));
