/** The side of a process that is to lead a node in another one's place: it gets that one's listening sockets, and then the rest. */
import { DlbaError } from "../../conf/errors.ts";
import { UPGRADE_STEP_MS } from "../../conf/limits.ts";
import { productVersion } from "../../conf/version.ts";
import { closeOnExec } from "../../net/sockets.ts";
import type { Listening } from "../listening.ts";
import { exchange } from "./exchange.ts";
import { type FromPredecessor, type FromSuccessor, readFromPredecessor, SUCCEEDS } from "./messages.ts";

/** The process that has led the node. Each step rejects with DlbaError UPGRADE_FAILED when it is gone or does not answer. */
export interface Predecessor {
  readonly listening: Listening;
  /** What we listen on is open and our workers are ready. Settles when they are to accept. */
  readonly prepared: (places: readonly string[], workers: number) => Promise<void>;
  /** They do. Settles when everything else of the node is ours, too. */
  readonly serving: () => Promise<void>;
  /** All of it runs. Settles when the service manager knows us. */
  readonly running: () => Promise<void>;
  /** The node ends: what still drains in the predecessor is to end, too. Settles when it has. */
  readonly stop: (within_ms: number) => Promise<void>;
}

/** Undefined for a process that succeeds nobody. */
export async function predecessor(): Promise<Predecessor | undefined> {
  const isSuccessor = process.env[SUCCEEDS] === "1" && process.send !== undefined;
  delete process.env[SUCCEEDS];
  if (!isSuccessor) return undefined;
  const talk = exchange<FromPredecessor>("the process that leads this node");
  process.on("message", (message) => {
    const read = readFromPredecessor(message);
    if (read === undefined) talk.fail("speaks another language");
    else talk.hear(read);
  });
  process.once("disconnect", () => talk.fail("has ended"));
  // Whoever waits for a message has a time-out; whoever fails ends.
  process.channel?.unref();
  const { places } = await talk.next("offer", UPGRADE_STEP_MS);
  for (const fd of places.flatMap(({ fds }) => fds)) closeOnExec(fd);
  return {
    listening: new Map(places.map(({ key, fds }) => [key, fds])),
    prepared: async (places, workers) => {
      say({ kind: "prepared", places: [...places], workers });
      await talk.next("take-over", UPGRADE_STEP_MS);
    },
    serving: async () => {
      say({ kind: "serving" });
      await talk.next("yours", UPGRADE_STEP_MS);
    },
    running: async () => {
      say({ kind: "running", version: productVersion() });
      await talk.next("led", UPGRADE_STEP_MS);
    },
    stop: async (within_ms) => {
      if (!process.connected) return;
      const { promise: gone, resolve } = Promise.withResolvers<void>();
      const timer = setTimeout(resolve, within_ms);
      process.once("disconnect", resolve);
      say({ kind: "stop" });
      await gone;
      clearTimeout(timer);
    },
  };
}

function say(message: FromSuccessor): void {
  if (!process.connected) throw new DlbaError("UPGRADE_FAILED", "the process that leads this node has ended");
  process.send?.(message, () => undefined);
}
