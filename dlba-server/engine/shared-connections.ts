/** Clients' connections, counted for a node: each of its workers tells the others what it has. */
import { type ArrayKey, deriveKey } from "../../conf/keys.ts";
import { CONNECTION_ENTRIES, CONNECTION_PARTS } from "../../conf/limits.ts";
import type { Logger } from "../../status/log.ts";
import { tellAll } from "../rules/client-connections.ts";
import {
  beat,
  claimPart,
  createNodeConnections,
  leavePart,
  nodeConnections_bytes,
} from "../rules/node-connections.ts";
import type { VserverRuntime } from "./runtime.ts";
import { SHARED_CLOCK_AHEAD_MS, sharedMemory } from "./shared-memory.ts";

const BEAT_MS = 500;
const clock_ms = (): number => performance.now() + SHARED_CLOCK_AHEAD_MS;

/** From now on the vservers that bound clients' connections bound them for the node. Returns what ends it. */
export function shareClientConnections(
  vservers: readonly VserverRuntime[],
  arrayKey: ArrayKey,
  runDir: string,
  log: Logger,
): () => void {
  const bounded = vservers.flatMap(({ clientConnections }) => clientConnections ?? []);
  if (bounded.length === 0) return () => undefined;
  const bytes = nodeConnections_bytes(CONNECTION_PARTS, CONNECTION_ENTRIES);
  const memory = sharedMemory(runDir, "connections", bytes);
  const key = new Uint8Array(deriveKey(arrayKey, "rates", 16, "connections"));
  const table = createNodeConnections(memory, CONNECTION_PARTS, CONNECTION_ENTRIES, key);
  const claim = (): void => {
    if (!claimPart(table, process.pid, clock_ms())) {
      log.warn({ parts: CONNECTION_PARTS }, "too many workers: other workers don't see this one's clients");
    }
    for (const each of bounded) tellAll(each);
  };
  for (const each of bounded) each.elsewhere = { table, clock_ms };
  claim();
  const timer = setInterval(() => {
    // A process that was stopped for long has lost its part.
    if (table.part !== -1 && !beat(table, process.pid, clock_ms())) claim();
  }, BEAT_MS);
  timer.unref();
  return () => {
    clearInterval(timer);
    leavePart(table, process.pid);
  };
}
