/**
 * Floods a port with SYNs from random addresses of 10.0.0.0/8 and random ports, as fast as it can or at a rate. Run as
 * `node lab/syn-flood.ts FLOOD` on a host of the lab (FLOOD is JSON, see packet-tools.ts); it ends with a line of JSON.
 */
import { readFileSync } from "node:fs";
import { setTimeout as sleep } from "node:timers/promises";
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

/** At a rate, so many frames go out at once at most, however late the timer was. */
const MAX_BURST = 1000;
const PACE_MS = 2;

async function flood(order: FloodOrder): Promise<FloodResult> {
  const socket = openPacketSocket(interfaceIndex(order.interface), SEND_ONLY);
  const { frame, next } = synSource(order);
  let refused = 0;
  const send = (): void => {
    next();
    while (!isSent(socket, frame)) if (++refused > MAX_REFUSED) throw new Error("no frame goes out");
  };
  const started_ms = performance.now();
  if (order.per_second === undefined) for (let sent = 0; sent < order.count; sent++) send();
  else await atRate(order.count, order.per_second, send, () => followVip(frame, order));
  const took_ms = performance.now() - started_ms;
  socket.close();
  return { sent: order.count, refused, took_ms, per_second: (order.count / took_ms) * 1000 };
}

/** A frame, and what makes it the SYN of another connection. */
function synSource(order: FloodOrder): { readonly frame: Buffer; readonly next: () => void } {
  const sourceMac = parseMac(order.source_mac);
  const targetMac = parseMac(order.target_mac);
  const target = parseIp(order.vip);
  const source = parseIp("10.0.0.0");
  if (!sourceMac || !targetMac || !source || target?.family !== 4) throw new Error("wrong addresses");
  const { frame, write } = synWriter({ sourceMac, targetMac, source, target }, order.port);
  const random = randomWords(order.seed);
  const next = (): void => {
    const ports = random();
    write(SOURCES | (random() & SOURCE_MASK), LEAST_PORT + (ports % (65_536 - LEAST_PORT)), random());
  };
  return { frame, next };
}

async function atRate(
  count: number,
  per_second: number,
  send: () => void,
  beforeEach: () => void,
): Promise<void> {
  const started_ms = performance.now();
  for (let sent = 0; sent < count;) {
    await sleep(PACE_MS);
    beforeEach();
    const due = Math.min(count, ((performance.now() - started_ms) * per_second) / 1000);
    for (const end = Math.min(due, sent + MAX_BURST); sent < end; sent++) send();
  }
}

/** Sends to where this host's ARP cache has the VIP, as its real connections do. */
function followVip(frame: Buffer, { vip }: FloodOrder): void {
  const line = readFileSync("/proc/net/arp", "latin1")
    .split("\n")
    .find((line) => line.startsWith(`${vip} `));
  const mac = parseMac(line?.split(/ +/)[3] ?? "");
  if (mac !== undefined) frame.set(mac, 0);
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
console.log(JSON.stringify(await flood(order)));
