/**
 * What tells the node that schedules about the others, and them about its table: heartbeats, the sweep, looks at its own
 * connections, and the port of the table feed. All of it needs threads, sockets or time.
 */
import { setTimeout as sleep } from "node:timers/promises";
import { describeError } from "../conf/errors.ts";
import { FEED_RETRY_MAX_MS } from "../conf/limits.ts";
import { heartbeatKeys } from "../net/heartbeat.ts";
import { startHeartbeats, type HeartbeatSender } from "../net/heartbeat-sender.ts";
import { createWatch, type Watch } from "../net/heartbeat-watch.ts";
import { takeConnected, takeHeld, takeStep, takeSweep, type Deciding } from "./deciding.ts";
import { startFeedServer, type FeedServer } from "./feed/feed-server.ts";
import { startHeldRounds } from "./held/held-rounds.ts";
import { CHANNEL_SCHEDULER } from "./layout.ts";
import type { Machine } from "./machine.ts";
import { startSweeper, type Sweeper } from "./nodes/sweeper.ts";
import { bucketsWithPrevious, nodesTable, settleReady, type Told } from "./steering.ts";
import { ownerOf, readWord } from "./table.ts";

const now = (): bigint => process.hrtime.bigint();

/** Watches the other nodes' kernels. */
export function startWatch(machine: Machine): {
  readonly heartbeats: HeartbeatSender;
  readonly watch: Watch;
} {
  const { config, node, options, arrayKey, segments, members, plane } = machine;
  const { heartbeat_ms, dead_after_ms } = config.scheduler;
  const peers = members.filter(({ isSelf }) => !isSelf).map(({ config }) => config.number);
  const heartbeats = startHeartbeats({
    pinDir: options.pinDir,
    key: heartbeatKeys(arrayKey).key,
    number: node.number,
    channel: CHANNEL_SCHEDULER,
    interfaces: segments.map((segment) => segment.interface),
    peers,
    heartbeat_ms,
  });
  const watch = createWatch({
    peers,
    pages: plane.planes.map((one) => one.peers),
    sender: heartbeats,
    heartbeat_ms,
    dead_after_ms,
    phaseAtFirst: (slot, peer) => {
      const link = members.find((member) => member.config.number === peer)?.links[slot];
      return link?.isReachable === true ? "reachable" : "unknown";
    },
  });
  return { heartbeats, watch };
}

/** Sweeps the other nodes' status processes. */
export function startSweep({ config, members, arrayKey, log }: Machine, deciding: Deciding): Sweeper {
  const isProxy = config.vservers.some(({ protocol }) => protocol === "http" || protocol === "https");
  const unknown = members.filter(({ isSelf, isServing }) => !isSelf && isServing !== true);
  return startSweeper({
    nodes: config.nodes,
    failed: new Set(unknown.map(({ config }) => config.number)),
    port: config.status.port,
    retries: config.scheduler.sweep_retries,
    delay_ms: config.scheduler.sweep_delay_ms,
    timeout_ms: config.scheduler.sweep_timeout_ms,
    arrayKey,
    complaintOf: ({ workers_accepting }) =>
      isProxy && workers_accepting === 0 ? "no dlba-server worker accepts connections" : "",
    log,
    onChange: (change) => takeSweep(deciding, change, now()),
  });
}

/** Looks at this node's own connections. */
export function startRounds(machine: Machine, deciding: Deciding): { stop(): void } {
  const { steering, members } = deciding;
  const { number } = machine.node;
  return startHeldRounds({
    machine,
    isWanted: () =>
      bucketsWithPrevious(steering) > 0 ||
      deciding.scattering.numbers.has(number) ||
      members.some(({ isDraining }) => isDraining),
    version: () => steering.feed.version,
    isElsewhere: (bucket) => ownerOf(readWord(nodesTable(steering).policy.plan.table, bucket)) !== number,
    onHeld: ({ bits, connections }, version) => {
      if (bits !== undefined) takeHeld(deciding, number, { version, bits, connections }, now());
    },
  });
}

export interface FeedServing {
  /** The feed has something new, or others are living. */
  changed(): void;
  /** As `FeedServer` has it. */
  dropForgotten(): void;
  /** Ends all connections; resolves when the port is free. */
  close(): Promise<void>;
}
interface ServingOptions {
  readonly machine: Machine;
  readonly deciding: Deciding;
  /** Resolves when no role before has the port any more. */
  readonly isFree: Promise<unknown>;
  /** Whether another role is due: nothing more is settled then. */
  readonly isOver: () => boolean;
}

/** Tells other nodes the table, as soon as the port can be had. */
export function serveFeed(options: ServingOptions): FeedServing {
  const closing = new AbortController();
  let server: FeedServer | undefined;
  const opened = openFeed(options, closing.signal).then((opened) => (server = opened));
  return {
    changed: () => server?.changed(),
    dropForgotten: () => server?.dropForgotten(),
    close: async () => {
      closing.abort();
      await opened;
      await server?.close();
    },
  };
}

async function openFeed(options: ServingOptions, signal: AbortSignal): Promise<FeedServer | undefined> {
  let complaint = "";
  await options.isFree;
  while (!signal.aborted) {
    try {
      return await listen(options);
    } catch (error) {
      const reason = describeError(error);
      if (reason !== complaint)
        options.machine.log.warn({ reason }, "the table can't be told to other nodes");
      complaint = reason;
    }
    await sleep(FEED_RETRY_MAX_MS, undefined, { signal, ref: false }).catch(() => undefined);
  }
  return undefined;
}

function listen({ machine, deciding, isOver }: ServingOptions): Promise<FeedServer> {
  const { config, node, arrayKey, log } = machine;
  const { steering } = deciding;
  return startFeedServer<Told>({
    address: node.address,
    port: config.scheduler.port,
    arrayKey,
    nodeNumbers: new Set(config.nodes.map(({ number }) => number)),
    feed: steering.feed,
    onReady: (tokens) => {
      if (isOver()) return;
      settleReady(steering, tokens);
      deciding.effects.feedChanged();
    },
    onChange: (number) => takeStep(deciding, number, now()),
    onHeld: (number, held) => takeHeld(deciding, number, held, now()),
    onConnected: (number, bits) => takeConnected(deciding, number, bits, now()),
    log,
  });
}
