/** The thread that sends heartbeats: entry of the worker that net/heartbeat-sender.ts starts. */
import { workerData } from "node:worker_threads";
import { createAsker, type HeartbeatLink } from "./heartbeat-asker.ts";
import { heartbeatMemory } from "./heartbeat-memory.ts";
import { heartbeatOrders } from "./heartbeat-orders.ts";
import { createPace } from "./heartbeat-pace.ts";
import { monotonic_ns } from "../conf/clock.ts";
import type { HeartbeatThreadData } from "./heartbeat-sender.ts";
import { readInterface } from "./interface.ts";
import { openPacketSocket, SEND_ONLY } from "./packet-socket.ts";
import { openPeersPage } from "./peers-page.ts";
import { runBeforeOthers } from "./realtime.ts";

const data: HeartbeatThreadData = workerData;

function openLink(slot: number): HeartbeatLink {
  const { mac, ifindex } = readInterface(data.interfaces[slot] ?? "");
  const page = openPeersPage(data.pinDir, slot, data.channel);
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
const orders = heartbeatOrders(peers.length, data.orders);
const key = Uint8Array.from(data.key);
const asker = createAsker({
  key,
  number: data.number,
  channel: data.channel,
  slots: interfaces.length,
  peers,
  memory: heartbeatMemory(interfaces.length * peers.length, data.shared),
  news: orders.news,
  openLink,
  now_ns: monotonic_ns,
});

if (data.isRealtime === true) runBeforeOthers();
const pace = createPace(peers.length);
let asked = orders.asked();
// It sleeps in the kernel, not in an event loop: on time to the microsecond, and awake at once when there are orders.
for (let seen = orders.orders(); !orders.isStopped(); seen = orders.orders()) {
  orders.takeKey(key);
  const asks = orders.asked();
  asker.ask(pace.take(monotonic_ns(), orders.interval_ns, asks !== asked));
  asked = asks;
  orders.sleep(seen, pace.next_ns() - monotonic_ns());
}
asker.close();
