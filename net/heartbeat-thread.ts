/** The thread that sends heartbeats: entry of the worker that net/heartbeat-sender.ts starts. */
import { parentPort, workerData } from "node:worker_threads";
import { createAsker, type HeartbeatLink } from "./heartbeat-asker.ts";
import { heartbeatMemory } from "./heartbeat-memory.ts";
import { monotonic_ns } from "../conf/clock.ts";
import type { HeartbeatThreadData } from "./heartbeat-sender.ts";
import { readInterface } from "./interface.ts";
import { openPacketSocket, SEND_ONLY } from "./packet-socket.ts";
import { openPeersPage } from "./peers-page.ts";

const data: HeartbeatThreadData = workerData;

function openLink(slot: number): HeartbeatLink {
  const { mac, ifindex } = readInterface(data.interfaces[slot] ?? "");
  const page = openPeersPage(data.pinDir, slot);
  try {
    const socket = openPacketSocket(ifindex, SEND_ONLY);
    const close = (): void => {
      socket.close();
      page.close();
    };
    return { mac, macOf: (peer) => page.macOf(peer), send: (frame) => socket.send(frame), close };
  } catch (error) {
    page.close();
    throw error;
  }
}

const { interfaces, peers } = data;
const asker = createAsker({
  key: data.key,
  number: data.number,
  slots: interfaces.length,
  peers,
  memory: heartbeatMemory(interfaces.length * peers.length, data.shared),
  openLink,
  now_ns: monotonic_ns,
});

let due_ms = performance.now();
let timer: NodeJS.Timeout;
/** Timers are late by some time each; the next one makes up for it, but not by two rounds on each other's heels. */
function round(): void {
  asker.ask();
  const now_ms = performance.now();
  due_ms = Math.max(due_ms + data.heartbeat_ms, now_ms + data.heartbeat_ms / 2);
  timer = setTimeout(round, due_ms - now_ms);
}
round();

parentPort?.once("message", () => {
  clearTimeout(timer);
  asker.close();
});
