/**
 * The failover process of a node: it watches the scheduler's kernel, takes part in the election, and holds the lease under
 * which the data plane answers for the VIPs. When it dies or stalls, the answers stop by themselves. Nothing bulky runs
 * here: a tick reads some mapped pages, decides (elector.ts), and writes.
 */
import { networkInterfaces } from "node:os";
import { join } from "node:path";
import { parseIp, type IpAddress } from "../conf/address.ts";
import { monotonic_ns } from "../conf/clock.ts";
import { schedulerIn } from "../conf/epoch.ts";
import { describeError } from "../conf/errors.ts";
import { parseArrayKey, readArrayKey } from "../conf/keys.ts";
import { FAILOVER_TICK_MS, PEER_HEARTBEAT_MS, STOP_GRACE_MS } from "../conf/limits.ts";
import type { FailoverReport } from "../conf/messages.ts";
import { findNode } from "../conf/node.ts";
import { processOptions, type ProcessOptions } from "../conf/process-options.ts";
import { givenConfig } from "../conf/snapshot.ts";
import type { Config, NodeConfig } from "../conf/schema.ts";
import { vipsOf } from "../conf/vips.ts";
import { announcements } from "../net/frames.ts";
import { heartbeatKeys } from "../net/heartbeat.ts";
import { startHeartbeats, type HeartbeatSender } from "../net/heartbeat-sender.ts";
import { openIcmpSocket } from "../net/icmp-socket.ts";
import { readInterface, type InterfaceFacts } from "../net/interface.ts";
import { openPacketSocket, SEND_ONLY } from "../net/packet-socket.ts";
import { exitWithParent, onOrder, reportReady, reportTaken } from "../net/parent-watch.ts";
import { runBeforeOthers } from "../net/realtime.ts";
import { createLogger, type Logger } from "../status/log.ts";
import { publish } from "../status/publish.ts";
import { announce, carryOut, newTally, type Tally, type Tools, type Voice } from "./deeds.ts";
import { createEchoes, type Echoes } from "./echoes.ts";
import { createElector, tick, type Elector, type ElectorSettings } from "./elector.ts";
import { openEpochFile, type EpochFile } from "./epoch-file.ts";
import { CHANNEL, openSenses, type Senses } from "./senses.ts";
import { watchVips, type VipWatch } from "./vip-watch.ts";

/** A hand-over at the end may take this long; then this process ends all the same. */
const STOP_WITHIN_NS = (STOP_GRACE_MS * 1e6) / 2;

interface Running extends Tools {
  readonly log: Logger;
  readonly senses: Senses;
  readonly sender: HeartbeatSender;
  readonly voices: readonly Voice[];
  /** Of the interfaces of all segments. */
  readonly facts: readonly InterfaceFacts[];
  readonly echoes: Echoes;
  readonly epochs: EpochFile;
  watch: VipWatch;
  readonly tally: Tally;
  elector: Elector;
  ticked_ns: number;
  longestStall_ns: number;
  /** Since when it is to end. */
  stopping_ns: number | undefined;
}

function start(options: ProcessOptions, config: Config, node: NodeConfig, log: Logger): Running {
  const vips = addressesOfVips(config);
  const interfaces = [node, ...node.interfaces].map((link) => link.interface);
  const others = config.nodes.filter(({ number }) => number !== node.number);
  const facts = interfaces.map(readInterface);
  const sender = startHeartbeats({
    pinDir: options.pinDir,
    key: heartbeatKeys(readArrayKey(config.array.key_file)).key,
    number: node.number,
    channel: CHANNEL,
    interfaces,
    peers: others.map(({ number }) => number),
    heartbeat_ms: PEER_HEARTBEAT_MS,
    isRealtime: true,
  });
  const epochs = openEpochFile(options.stateDir, log);
  return {
    log,
    sender,
    epochs,
    senses: openSenses({ pinDir: options.pinDir, interfaces, others, sender }),
    voices: facts.map(({ mac, ifindex }) => ({
      socket: openPacketSocket(ifindex, SEND_ONLY),
      frames: vips.flatMap((vip) => announcements(mac, vip)),
    })),
    echoes: createEchoes(others, openIcmpSocket()),
    facts,
    watch: watchOf(facts, node, vips),
    tally: newTally(),
    elector: createElector(settingsOf(config, node, epochs.floor)),
    ticked_ns: monotonic_ns(),
    longestStall_ns: 0,
    stopping_ns: undefined,
  };
}

const addressesOfVips = (config: Config): IpAddress[] =>
  vipsOf(config).flatMap((text) => parseIp(text) ?? []);

function watchOf(facts: readonly InterfaceFacts[], node: NodeConfig, vips: readonly IpAddress[]): VipWatch {
  const links = [node, ...node.interfaces];
  const segments = facts.map(({ ifindex, mac, name }, i) => ({
    ifindex,
    mac,
    addresses: addressesOf(name, links[i]!.address),
  }));
  return watchVips(segments, vips);
}

/** After a reload: these are the VIPs that are announced and watched. All else of this process stays as it is. */
function takeVips(running: Running, config: Config, node: NodeConfig): void {
  const vips = addressesOfVips(config);
  running.voices.forEach((voice, i) => {
    voice.frames = vips.flatMap((vip) => announcements(running.facts[i]!.mac, vip));
  });
  running.watch.close();
  running.watch = watchOf(running.facts, node, vips);
  // One that was elsewhere until now may still be in somebody's table.
  if (reportOf(running, node.number).is_scheduler) announce(running, running.tally);
}

function settingsOf(config: Config, node: NodeConfig, floorCounter: number): ElectorSettings {
  const nodes = config.nodes.map(({ number, priority }) => ({ number, priority }));
  return { number: node.number, nodes, ...config.failover, floorCounter };
}

/** One of each family, the configured one first. */
function addressesOf(name: string, configured: string): IpAddress[] {
  const texts = [configured, ...(networkInterfaces()[name] ?? []).map(({ address }) => address)];
  const all = texts.flatMap((text) => parseIp(text) ?? []);
  return [4, 6].flatMap((family) => all.find((address) => address.family === family) ?? []);
}

/** The next tick, where the elector wants it before the ordinary one. */
const SOON_MS = 1;

/** Looks, decides, acts. */
function turn(running: Running): { readonly isOver: boolean; readonly isSoon: boolean } {
  const now_ns = monotonic_ns();
  const { senses, watch, tally } = running;
  running.longestStall_ns = Math.max(running.longestStall_ns, now_ns - running.ticked_ns);
  running.ticked_ns = now_ns;
  const sensed = senses.read(now_ns);
  const lease = senses.lease();
  const heard = watch.turn(now_ns / 1e6);
  if (sensed === undefined || lease === undefined)
    return { isOver: running.stopping_ns !== undefined, isSoon: false };
  const { state, actions } = tick(running.elector, {
    now_ns,
    ...sensed,
    echoes: running.echoes.answered_ns,
    vipClaims: heard.map((claim) => senses.whose(claim)),
    reservedCounter: running.epochs.reserved,
    isStopping: running.stopping_ns !== undefined,
  });
  running.elector = state;
  carryOut(running, lease, tally, actions, now_ns);
  const isOver = running.stopping_ns !== undefined && now_ns - running.stopping_ns > STOP_WITHIN_NS;
  return { isOver: actions.canStop || isOver, isSoon: actions.soon };
}

function reportOf(
  { elector, senses, tally, sender, longestStall_ns }: Running,
  number: number,
): FailoverReport {
  const lease = senses.lease();
  const epoch = lease?.epoch() ?? 0;
  const scheduler = schedulerIn(epoch);
  const isLeased = Number(lease?.until_ns() ?? 0n) > monotonic_ns();
  const { sent, failed } = sender.counts();
  return {
    kind: "failover",
    state: elector.role.kind,
    epoch,
    is_scheduler: scheduler === number && isLeased,
    scheduler_number: scheduler ?? null,
    cannot_stand: tally.cannotStand,
    lease_renewals: tally.renewals,
    announcements: tally.announcements,
    takeovers: tally.takeovers,
    yields: tally.yields,
    foreign_claims: tally.foreignClaims,
    foreign_mac: tally.foreignMac,
    heartbeats_sent: sent,
    heartbeats_failed: failed,
    longest_stall_ms: Math.round(longestStall_ns / 1e6),
  };
}

function run(options: ProcessOptions, node: NodeConfig, running: Running): void {
  const { log } = running;
  const publisher = publish({
    path: join(options.runDir, "publish.sock"),
    hello: { process: "failover", worker: 0, pid: process.pid },
    answer: () => reportOf(running, node.number),
    log,
  });
  const end = (): void => {
    clearInterval(timer);
    publisher.close();
    running.senses.lease()?.setUntil(0n);
    running.senses.close();
    running.watch.close();
    running.echoes.close();
    for (const { socket } of running.voices) socket.close();
    log.info({ heartbeats: running.sender.counts() }, "stopped; this node no longer answers for the VIPs");
    process.exit(0);
  };
  const tick = (): void => {
    const { isOver, isSoon } = turn(running);
    if (isOver) end();
    else if (isSoon) setTimeout(tick, SOON_MS);
  };
  const timer = setInterval(tick, FAILOVER_TICK_MS);
  onOrder((order) => {
    if (order.kind === "configure") takeVips(running, order.config, node);
    if (order.kind === "key") {
      running.sender.setKey(heartbeatKeys(parseArrayKey(order.text, "that was sent")).key);
      reportTaken(order.number);
    }
  });
  for (const signal of ["SIGTERM", "SIGINT"] as const) {
    process.once(signal, () => (running.stopping_ns = monotonic_ns()));
  }
}

/** Runs the process until SIGTERM. */
export function main(options: ProcessOptions): void {
  exitWithParent();
  const config = givenConfig(options);
  const node = findNode(config, options.node);
  const log = createLogger({ node: node.name, process: "failover" });
  try {
    run(options, node, start(options, config, node, log));
    log.info({ precedence: runBeforeOthers() }, "takes part in the election");
    reportReady();
  } catch (error) {
    log.fatal({ reason: describeError(error) }, "the failover process can't start");
    process.exit(1);
  }
}

if (import.meta.main) main(processOptions(process.argv.slice(2)));
