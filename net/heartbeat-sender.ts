/**
 * Sends heartbeats to peers on every interface, from a thread of its own: whatever else its process is busy with, they
 * go out on time. When each one went is known to the process without asking the thread.
 */
import { once } from "node:events";
import { Worker } from "node:worker_threads";
import { linkOf } from "./heartbeat-asker.ts";
import { heartbeatMemory, type HeartbeatCounts, type SentTimes } from "./heartbeat-memory.ts";
import { heartbeatOrders, type HeartbeatOrders } from "./heartbeat-orders.ts";
import type { Channel } from "./peers-page.ts";

export interface HeartbeatOptions {
  readonly pinDir: string;
  /** That of `heartbeatKeys`. */
  readonly key: Uint8Array;
  /** This node's number. */
  readonly number: number;
  /** Which process asks: the answers are noted in its rows. */
  readonly channel: Channel;
  /** Names, by slot. */
  readonly interfaces: readonly string[];
  /** Numbers of the nodes that are asked. */
  readonly peers: readonly number[];
  /** How often each is asked, unless told otherwise. */
  readonly heartbeat_ms: number;
  /** The thread runs before all ordinary work of the machine, if it may. */
  readonly isRealtime?: boolean;
}
export interface HeartbeatThreadData extends HeartbeatOptions {
  readonly shared: SharedArrayBuffer;
  readonly orders: SharedArrayBuffer;
}

export interface HeartbeatSender extends Pick<HeartbeatOrders, "setNews" | "setOffer" | "askNow" | "setKey"> {
  /** From now on the peer is asked this often; nothing for a peer that isn't asked. */
  setPace(peer: number, interval_ms: number): void;
  /** When a peer was asked on an interface; nothing for a peer that isn't. */
  read(slot: number, peer: number, into: SentTimes): void;
  counts(): HeartbeatCounts;
  /** Ends with the thread. */
  close(): Promise<void>;
}

/** Its heap is small and stays so: a bound here keeps an error from eating the machine's memory. */
const RESOURCES = { maxOldGenerationSizeMb: 32, maxYoungGenerationSizeMb: 4 };

/**
 * Starts the thread. It waits by itself for a data plane, and for MAC addresses. An error in it that is no system
 * call's is thrown in this process.
 */
export function startHeartbeats(options: HeartbeatOptions): HeartbeatSender {
  const { interfaces, peers } = options;
  const memory = heartbeatMemory(interfaces.length * peers.length);
  const orders = heartbeatOrders(peers.length);
  for (const index of peers.keys()) orders.setPace(index, options.heartbeat_ms);
  const indexOf = new Map(peers.map((number, i) => [number, i]));
  const thread = new Worker(new URL("heartbeat-thread.ts", import.meta.url), {
    name: "heartbeats",
    resourceLimits: RESOURCES,
    workerData: { ...options, shared: memory.shared, orders: orders.shared } satisfies HeartbeatThreadData,
  });
  thread.unref();
  const exited = once(thread, "exit");
  return {
    setNews: orders.setNews,
    setOffer: orders.setOffer,
    setKey: orders.setKey,
    setPace: (peer, interval_ms) => {
      const index = indexOf.get(peer);
      if (index !== undefined) orders.setPace(index, interval_ms);
    },
    askNow: orders.askNow,
    read: (slot, peer, into) => {
      const index = indexOf.get(peer);
      into.count = 0;
      if (index !== undefined && slot < interfaces.length)
        memory.read(linkOf(peers.length, slot, index), into);
    },
    counts: () => memory.counts(),
    close: async () => {
      thread.ref();
      orders.stop();
      await exited;
    },
  };
}
