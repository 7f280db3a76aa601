/**
 * Floods a port with SYNs from random addresses of 10.0.0.0/8 and random ports, as fast as it can. Run as
 * `node lab/syn-flood.ts FLOOD` on a host of the lab (FLOOD is JSON, see packet-tools.ts); it ends with a line of JSON.
 */
import { parseIp, parseMac } from "../conf/address.ts";
import { interfaceIndex } from "../net/interface.ts";
import { openPacketSocket, type PacketSocket, SEND_ONLY } from "../net/packet-socket.ts";
import type { FloodOrder, FloodResult } from "./packet-tools.ts";
import { synWriter } from "./packets.ts";
import { randomWords } from "../conf/random.ts";

const SOURCES = 0x0a000000;
const SOURCE_MASK = 0x00ffffff;
/** Frames that the kernel refuses (its queue is full) are sent again, but not for ever. */
const MAX_REFUSED = 10_000_000;
/** Ports below are seldom a client's. */
const LEAST_PORT = 1024;

function flood(order: FloodOrder): FloodResult {
  const sourceMac = parseMac(order.source_mac);
  const targetMac = parseMac(order.target_mac);
  const target = parseIp(order.vip);
  const source = parseIp("10.0.0.0");
  if (!sourceMac || !targetMac || !source || target?.family !== 4) throw new Error("wrong addresses");
  const socket = openPacketSocket(interfaceIndex(order.interface), SEND_ONLY);
  const { frame, write } = synWriter({ sourceMac, targetMac, source, target }, order.port);
  const random = randomWords(order.seed);
  let refused = 0;
  const started_ms = performance.now();
  for (let sent = 0; sent < order.count; sent++) {
    const ports = random();
    write(SOURCES | (random() & SOURCE_MASK), LEAST_PORT + (ports % (65_536 - LEAST_PORT)), random());
    while (!isSent(socket, frame)) if (++refused > MAX_REFUSED) throw new Error("no frame goes out");
  }
  const took_ms = performance.now() - started_ms;
  socket.close();
  return { sent: order.count, refused, took_ms, per_second: (order.count / took_ms) * 1000 };
}

function isSent(socket: PacketSocket, frame: Uint8Array): boolean {
  try {
    socket.send(frame);
    return true;
  } catch (error) {
    if (error instanceof Error && "code" in error && error.code === "ENOBUFS") return false;
    throw error;
  }
}

const order: FloodOrder = JSON.parse(process.argv[2] ?? "");
console.log(JSON.stringify(flood(order)));
