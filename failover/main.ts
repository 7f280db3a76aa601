/**
 * The failover process of a node: it holds the lease under which the data plane answers for the VIPs, and announces
 * them. When it dies or stalls, the answers stop by themselves. Nothing bulky runs here.
 */
import { join } from "node:path";
import { parseIp } from "../conf/address.ts";
import { monotonic_ms } from "../conf/clock.ts";
import { describeError, DlbaError } from "../conf/errors.ts";
import { LEASE_RENEWAL_MS } from "../conf/limits.ts";
import { loadConfig } from "../conf/load.ts";
import type { FailoverReport } from "../conf/messages.ts";
import { findNode } from "../conf/node.ts";
import { processOptions, type ProcessOptions } from "../conf/process-options.ts";
import { schedulerOf } from "../conf/scheduler-role.ts";
import type { Config, NodeConfig } from "../conf/schema.ts";
import { vipsOf } from "../conf/vips.ts";
import { announcements } from "../net/frames.ts";
import { readInterface } from "../net/interface.ts";
import type { HeartbeatSender } from "../net/heartbeat-sender.ts";
import { openLease, type Lease } from "../net/lease.ts";
import { openPacketSocket, SEND_ONLY, type PacketSocket } from "../net/packet-socket.ts";
import { exitWithParent, reportReady } from "../net/parent-watch.ts";
import { createLogger, type Logger } from "../status/log.ts";
import { publish } from "../status/publish.ts";
import { startOwnHeartbeats } from "./heartbeats.ts";
import { newRole, roleTick, type Role } from "./role.ts";

interface Running {
  readonly log: Logger;
  readonly pinDir: string;
  /** One per segment, with the announcements that go out there. */
  readonly voices: readonly { readonly socket: PacketSocket; readonly frames: readonly Buffer[] }[];
  /** To the scheduler; undefined on the scheduler itself. */
  readonly heartbeats: HeartbeatSender | undefined;
  role: Role;
  /** Undefined until the scheduler process has made the data plane. */
  lease: Lease | undefined;
  renewals: number;
  announcements: number;
}

function start(options: ProcessOptions, config: Config, node: NodeConfig, log: Logger): Running {
  const vips = vipsOf(config).flatMap((text) => parseIp(text) ?? []);
  const names = [node.interface, ...node.interfaces.map((further) => further.interface)];
  return {
    log,
    pinDir: options.pinDir,
    voices: names.map((name) => {
      const { mac, ifindex } = readInterface(name);
      const frames = vips.flatMap((vip) => announcements(mac, vip));
      return { socket: openPacketSocket(ifindex, SEND_ONLY), frames };
    }),
    heartbeats: startOwnHeartbeats(config, node, options.pinDir),
    role: newRole(schedulerOf(config).number === node.number, monotonic_ms()),
    lease: undefined,
    renewals: 0,
    announcements: 0,
  };
}

function tick(running: Running): void {
  const lease = (running.lease ??= findLease(running));
  if (lease === undefined) return;
  const { role, actions } = roleTick(running.role, monotonic_ms());
  running.role = role;
  lease.set(BigInt(actions.lease_until_ms) * 1_000_000n);
  if (actions.lease_until_ms > 0) running.renewals++;
  if (actions.isAnnouncing) announce(running);
}

/** The lease, once it is there. The role begins with it: who can't answer must not announce. */
function findLease(running: Running): Lease | undefined {
  try {
    const lease = openLease(running.pinDir);
    running.role = newRole(running.role.isScheduler, monotonic_ms());
    running.log.info({ isScheduler: running.role.isScheduler }, "the lease is held by this process");
    return lease;
  } catch (error) {
    if (error instanceof DlbaError && error.code === "NO_DATA_PLANE") return undefined;
    throw error;
  }
}

function announce(running: Running): void {
  running.announcements++;
  for (const { socket, frames } of running.voices) {
    try {
      for (const frame of frames) socket.send(frame);
    } catch (error) {
      running.log.warn({ reason: describeError(error) }, "the VIPs could not be announced on a segment");
    }
  }
}

function run(options: ProcessOptions, config: Config, running: Running): void {
  const timer = setInterval(() => tick(running), LEASE_RENEWAL_MS);
  tick(running);
  const publisher = publish({
    path: join(options.runDir, "publish.sock"),
    hello: { process: "failover", worker: 0, pid: process.pid },
    answer: (): FailoverReport => ({
      kind: "failover",
      is_scheduler: running.role.isScheduler,
      scheduler_number: schedulerOf(config).number,
      lease_renewals: running.renewals,
      announcements: running.announcements,
    }),
    log: running.log,
  });
  const stop = (): void => {
    clearInterval(timer);
    publisher.close();
    running.lease?.set(0n);
    running.lease?.close();
    for (const { socket } of running.voices) socket.close();
    running.log.info(
      { heartbeats: running.heartbeats?.counts() },
      "stopped; this node no longer answers for the VIPs",
    );
    process.exit(0);
  };
  process.once("SIGTERM", stop);
  process.once("SIGINT", stop);
}

/** Runs the process until SIGTERM. */
export function main(options: ProcessOptions): void {
  exitWithParent();
  const config = loadConfig(options.configFile);
  const node = findNode(config, options.node);
  const log = createLogger({ node: node.name, process: "failover" });
  try {
    run(options, config, start(options, config, node, log));
    reportReady();
  } catch (error) {
    log.fatal({ reason: describeError(error) }, "the failover process can't start");
    process.exit(1);
  }
}

if (import.meta.main) main(processOptions(process.argv.slice(2)));
