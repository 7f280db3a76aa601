/**
 * Sends UDP datagrams one after the other, whole or in fragments of its own making, and waits for each one's answer.
 * Run as `node lab/datagrams.ts ORDER` on a host of the lab (ORDER is JSON, see packet-tools.ts); it ends with a line of
 * JSON.
 */
import { createHash, randomBytes, randomInt } from "node:crypto";
import { createSocket, type Socket } from "node:dgram";
import { once } from "node:events";
import { parseIp, parseMac } from "../conf/address.ts";
import { interfaceIndex } from "../net/interface.ts";
import { openPacketSocket, type PacketSocket, SEND_ONLY } from "../net/packet-socket.ts";
import type { DatagramOrder, DatagramResult, DatagramsOrder } from "./packet-tools.ts";
import { type FrameAddresses, udpFragments } from "./packets.ts";

async function exchange(
  order: DatagramsOrder,
  { payload_bytes, fragments }: DatagramOrder,
  addresses: FrameAddresses,
  raw: PacketSocket,
): Promise<DatagramResult> {
  const socket = createSocket(addresses.source.family === 4 ? "udp4" : "udp6");
  socket.bind({ address: order.source });
  await once(socket, "listening");
  const payload = randomBytes(payload_bytes);
  const answer = nextAnswer(socket, order.answer_within_ms);
  if (fragments === "kernel") socket.send(payload, order.port, order.vip);
  else {
    const ports = { sourcePort: socket.address().port, targetPort: order.port };
    const frames = udpFragments({ ...addresses, ...ports, payload, id: randomInt(1, 65_536) });
    if (fragments === "reversed") frames.reverse();
    for (const frame of frames) raw.send(frame);
  }
  const [host = "", length, hash] = (await answer).trim().split(" ");
  socket.close();
  const isWhole = Number(length) === payload_bytes;
  const isSame = hash === createHash("sha256").update(payload).digest("hex");
  return { payload_bytes, fragments, host, is_right: isWhole && isSame };
}

/** The next datagram as text; "" when none comes in time. */
async function nextAnswer(socket: Socket, within_ms: number): Promise<string> {
  try {
    const [bytes] = await once(socket, "message", { signal: AbortSignal.timeout(within_ms) });
    return String(bytes);
  } catch {
    return "";
  }
}

const order: DatagramsOrder = JSON.parse(process.argv[2] ?? "");
const sourceMac = parseMac(order.source_mac);
const targetMac = parseMac(order.target_mac);
const source = parseIp(order.source);
const target = parseIp(order.vip);
if (!sourceMac || !targetMac || !source || !target) throw new Error("wrong addresses");
const raw = openPacketSocket(interfaceIndex(order.interface), SEND_ONLY);
const results: DatagramResult[] = [];
for (const datagram of order.datagrams) {
  results.push(await exchange(order, datagram, { sourceMac, targetMac, source, target }, raw));
}
console.log(JSON.stringify(results));
process.exit(0);
